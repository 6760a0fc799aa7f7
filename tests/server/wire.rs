//! A client that shows every byte: sends what it is told to and decodes one reply at a time.
//!
//! It shares no code with the server, so that it can judge it. Every read has a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::Socket;

/// How long a reply may take before a test fails: generous, as a debug build may share its CPU.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A decoded reply, RESP2 and RESP3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` and `_`.
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// Attributes and the reply that they stand before.
    Attributed(Vec<(Value, Value)>, Box<Value>),
    /// As it was written.
    Double(String),
    Bool(bool),
    BigNumber(String),
    /// With its three-letter format.
    Verbatim(Vec<u8>),
}

impl Value {
    /// The value with the elements of every array, set and map in a fixed order.
    pub fn sorted(self) -> Value {
        let all = |values: Vec<Value>| {
            let mut values: Vec<Value> = values.into_iter().map(Value::sorted).collect();
            values.sort();
            values
        };
        match self {
            Value::Array(values) => Value::Array(all(values)),
            Value::Set(values) => Value::Set(all(values)),
            Value::Push(values) => Value::Push(all(values)),
            Value::Map(pairs) => {
                let mut pairs: Vec<(Value, Value)> = pairs
                    .into_iter()
                    .map(|(key, value)| (key.sorted(), value.sorted()))
                    .collect();
                pairs.sort();
                Value::Map(pairs)
            }
            other => other,
        }
    }

    /// The types of the value and of what it holds, without the contents.
    pub fn shape(&self) -> String {
        let all = |values: &[Value]| {
            values
                .iter()
                .map(Value::shape)
                .collect::<Vec<_>>()
                .join(" ")
        };
        match self {
            Value::Simple(_) => "simple".into(),
            Value::Error(_) => "error".into(),
            Value::Int(_) => "int".into(),
            Value::Bulk(_) => "bulk".into(),
            Value::Null => "null".into(),
            Value::Array(values) => format!("[{}]", all(values)),
            Value::Set(values) => format!("set[{}]", all(values)),
            Value::Push(values) => format!("push[{}]", all(values)),
            Value::Map(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!("{}:{}", key.shape(), value.shape()))
                    .collect();
                format!("map[{}]", pairs.join(" "))
            }
            Value::Attributed(_, value) => format!("attributed {}", value.shape()),
            Value::Double(_) => "double".into(),
            Value::Bool(_) => "bool".into(),
            Value::BigNumber(_) => "number".into(),
            Value::Verbatim(_) => "verbatim".into(),
        }
    }

    /// The text of a string of any kind or of an error; panics on other values.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) => text.clone(),
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Verbatim(bytes) => String::from_utf8_lossy(&bytes[4..]).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The integer; panics on other values.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(value) => *value,
            other => panic!("no integer: {other:?}"),
        }
    }

    /// The elements of an array, set or push; panics on other values.
    #[track_caller]
    pub fn elements(&self) -> &[Value] {
        match self {
            Value::Array(values) | Value::Set(values) | Value::Push(values) => values,
            other => panic!("no array: {other:?}"),
        }
    }

    /// This is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// Decodes the first reply of `data`: the value and its length, or `None` while it is not whole.
pub fn decode(data: &[u8]) -> Option<(Value, usize)> {
    let line_end = data.windows(2).position(|pair| pair == b"\r\n")?;
    let header = String::from_utf8_lossy(&data[1..line_end]).into_owned();
    let mut at = line_end + 2;
    let number = || -> i64 {
        header
            .parse()
            .unwrap_or_else(|_| panic!("not a number in a reply: {header:?}"))
    };
    let value = match data[0] {
        b'+' => Value::Simple(header),
        b'-' => Value::Error(header),
        b':' => Value::Int(number()),
        b'_' => Value::Null,
        b',' => Value::Double(header),
        b'#' => Value::Bool(header == "t"),
        b'(' => Value::BigNumber(header),
        b'$' | b'=' | b'!' => {
            let len = number();
            if len < 0 {
                return Some((Value::Null, at));
            }
            let end = at + len as usize;
            if data.len() < end + 2 {
                return None;
            }
            assert_eq!(&data[end..end + 2], b"\r\n", "a string ends with CR LF");
            let bytes = data[at..end].to_vec();
            at = end + 2;
            match data[0] {
                b'$' => Value::Bulk(bytes),
                b'=' => Value::Verbatim(bytes),
                _ => Value::Error(String::from_utf8_lossy(&bytes).into_owned()),
            }
        }
        b'*' | b'~' | b'>' => {
            let len = number();
            if len < 0 {
                return Some((Value::Null, at));
            }
            let mut values = Vec::new();
            for _ in 0..len {
                let (value, used) = decode(&data[at..])?;
                values.push(value);
                at += used;
            }
            match data[0] {
                b'*' => Value::Array(values),
                b'~' => Value::Set(values),
                _ => Value::Push(values),
            }
        }
        b'%' | b'|' => {
            let mut pairs = Vec::new();
            for _ in 0..number() {
                let (key, used) = decode(&data[at..])?;
                at += used;
                let (value, used) = decode(&data[at..])?;
                at += used;
                pairs.push((key, value));
            }
            if data[0] == b'%' {
                Value::Map(pairs)
            } else {
                let (value, used) = decode(&data[at..])?;
                at += used;
                Value::Attributed(pairs, Box::new(value))
            }
        }
        other => panic!(
            "not the start of a reply: {:?} in {:?}",
            other as char,
            String::from_utf8_lossy(&data[..data.len().min(60)])
        ),
    };
    Some((value, at))
}

/// The bytes of one command line as clients send it.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// One connection.
pub struct Wire {
    socket: Socket,
    /// Received and not yet decoded, from `start` on.
    received: Vec<u8>,
    start: usize,
}

impl Wire {
    /// Connects to a port on the loopback address.
    #[track_caller]
    pub fn connect(port: u16) -> Wire {
        Wire::connect_to("127.0.0.1", port)
    }

    /// Connects to a port on `address`.
    #[track_caller]
    pub fn connect_to(address: &str, port: u16) -> Wire {
        let stream = TcpStream::connect((address, port))
            .unwrap_or_else(|error| panic!("connecting to {address}:{port}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Wire::over(stream.into())
    }

    /// Connects to a unix socket.
    #[track_caller]
    pub fn unix(path: &Path) -> Wire {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connecting to {path:?}: {error}"));
        Wire::over(stream.into())
    }

    /// A connection that somebody made.
    pub fn over(fd: OwnedFd) -> Wire {
        let socket = Socket::from(fd);
        socket
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a read timeout");
        socket
            .set_write_timeout(Some(REPLY_TIMEOUT))
            .expect("a write timeout");
        Wire {
            socket,
            received: Vec::new(),
            start: 0,
        }
    }

    /// Sends the bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .unwrap_or_else(|error| panic!("sending {} bytes: {error}", bytes.len()));
    }

    /// Sends the bytes as they are; an error says that the server has closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Value {
        self.reply_raw().0
    }

    /// The next reply and its bytes.
    #[track_caller]
    pub fn reply_raw(&mut self) -> (Value, Vec<u8>) {
        self.try_reply_raw()
            .unwrap_or_else(|| panic!("the server closed the connection instead of replying"))
    }

    /// The next reply and its bytes, or `None` when the server has closed.
    #[track_caller]
    pub fn try_reply_raw(&mut self) -> Option<(Value, Vec<u8>)> {
        // A value of many megabytes is not looked at again after each piece of it.
        let mut look_at = 0;
        loop {
            let data = &self.received[self.start..];
            if data.len() >= look_at && !data.is_empty() {
                if let Some((value, used)) = decode(data) {
                    let raw = data[..used].to_vec();
                    self.start += used;
                    return Some((value, raw));
                }
                look_at = bulk_bytes(data);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Sends a command and returns its reply.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(&encode(args));
        self.reply()
    }

    /// Sends a command given as words and returns its reply.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Value {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.call(&args)
    }

    /// All bytes until the server closes. A reset counts as a close.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        self.received.split_off(self.start)
    }

    /// All bytes up to and including `end`.
    #[track_caller]
    pub fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let data = &self.received[self.start..];
            if let Some(at) = data.windows(end.len()).position(|part| part == end) {
                let bytes = data[..at + end.len()].to_vec();
                self.start += bytes.len();
                return bytes;
            }
            assert!(
                self.fill(),
                "closed before {:?}; received {:?}",
                String::from_utf8_lossy(end),
                String::from_utf8_lossy(&self.received[self.start..])
            );
        }
    }

    /// Nothing arrives within `span`, and the connection stays open.
    #[track_caller]
    pub fn assert_silent(&mut self, span: Duration) {
        self.socket.set_read_timeout(Some(span)).expect("a timeout");
        let mut byte = [0];
        let result = (&self.socket).read(&mut byte);
        self.socket
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a timeout");
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("expected silence, got {other:?} ({byte:?})"),
        }
    }

    /// A second handle that sends on this connection while replies are read from it.
    pub fn sender(&self) -> Socket {
        self.socket
            .try_clone()
            .expect("a second handle of the socket")
    }

    /// The connection vanishes at its end without leaving its port waiting (a reset instead of a close).
    pub fn reset_at_end(&self) {
        self.socket
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER");
    }

    /// Bytes received that make no whole reply.
    pub fn leftover(&self) -> &[u8] {
        &self.received[self.start..]
    }

    /// Tells the server that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Receives some bytes; false when the server has closed.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.start > 1 << 20 {
            self.received.drain(..self.start);
            self.start = 0;
        }
        let from = Instant::now();
        let len = self.received.len();
        // Room for what is outstanding anyway doubles with what has arrived.
        let room = len.clamp(64 << 10, 4 << 20);
        self.received.resize(len + room, 0);
        let result = (&self.socket).read(&mut self.received[len..]);
        let got = match result {
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!(
                "no reply after {:?}: {error}; received so far {:?}",
                from.elapsed(),
                String::from_utf8_lossy(&self.received[self.start..len.min(self.start + 200)])
            ),
        };
        self.received.truncate(len + got);
        got > 0
    }
}

/// The bytes needed before looking at `data` again makes sense: the whole string when it starts with one.
fn bulk_bytes(data: &[u8]) -> usize {
    if data[0] != b'$' {
        return 0;
    }
    let Some(end) = data.windows(2).position(|pair| pair == b"\r\n") else {
        return 0;
    };
    std::str::from_utf8(&data[1..end])
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
        .map_or(0, |len| end + 2 + len + 2)
}

#[test]
fn decodes_each_kind_of_reply() {
    let wire = b"%1\r\n+a\r\n*3\r\n:1\r\n$1\r\nx\r\n_\r\n";
    let (value, used) = decode(wire).expect("whole");
    assert_eq!(used, wire.len());
    assert_eq!(value.shape(), "map[simple:[int bulk null]]");
    for end in 0..wire.len() {
        assert_eq!(decode(&wire[..end]), None, "first {end} bytes");
    }
}
