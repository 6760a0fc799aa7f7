//! The same lines to the real Redis and to the server under test: the replies must be equal, byte for byte.
//!
//! The lines stand in the `.txt` files beside this one. `## name` starts a section: a fresh connection, empty
//! databases. `## name | needs COMMAND` starts one that is passed over as long as the server has no such command. At its
//! end both servers must hold the same data (`DEBUG DIGEST`). A line is sent as redis-cli would read it (`"…"`
//! with `\n`, `\xHH` and so on, `'…'`), and may begin with one of
//!
//! | mark | compared |
//! |---|---|
//! | `sorted:` | elements in any order, at every depth |
//! | `shape:` | types only: values that depend on time, memory or identity |
//! | `code:` | of errors the first word, of others as `shape:` |
//! | `any:` | nothing |
//! | `scan:` | SCAN repeated until its cursor is 0: all elements, in any order |
//! | `new REPLY \| ` | with REPLY, as the peer does not have it: Redis 7.2 differs from 7.0 here |
//!
//! `NAME> LINE` sends a line over a connection of its own, and goes on when the server has that client wait; `NAME< ` compares
//! its next reply, and `NAME< sorted: ` and so on as above.
//!
//! The peer is Debian's Redis 7.0.15, the semantics to meet are those of 7.2: each difference is named by a `new` line.

use std::collections::HashMap;

use super::harness::{Server, judging_the_tests, wait_until};
use super::wire::{REPLY_TIMEOUT, Value, Wire, encode};
use super::{SHARDS, peers};

/// The most differences that one failure shows.
const SHOWN_MAX: usize = 60;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How<'a> {
    Exact,
    Sorted,
    Shape,
    Code,
    Any,
    Scan,
    /// Equal to this, after unquoting and with CR LF added.
    New(&'a str),
}

/// Splits a line as redis-cli does.
fn split(line: &str) -> Vec<Vec<u8>> {
    let bytes = line.as_bytes();
    let mut args = vec![];
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at == bytes.len() {
            return args;
        }
        let mut arg = vec![];
        while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
            match bytes[at] {
                b'"' => at = double_quoted(line, at + 1, &mut arg),
                b'\'' => {
                    let end = at + 1 + line[at + 1..].find('\'').expect("a closing quote");
                    arg.extend_from_slice(&bytes[at + 1..end]);
                    at = end + 1;
                }
                byte => {
                    arg.push(byte);
                    at += 1;
                }
            }
        }
        args.push(arg);
    }
}

/// Unquotes from `at` to the closing quote; returns the place behind it.
fn double_quoted(line: &str, mut at: usize, arg: &mut Vec<u8>) -> usize {
    let bytes = line.as_bytes();
    loop {
        match *bytes
            .get(at)
            .unwrap_or_else(|| panic!("no closing quote: {line}"))
        {
            b'"' => return at + 1,
            b'\\' if bytes[at + 1] == b'x' => {
                let code = &line[at + 2..at + 4];
                arg.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits"));
                at += 4;
            }
            b'\\' => {
                arg.push(match bytes[at + 1] {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                });
                at += 2;
            }
            byte => {
                arg.push(byte);
                at += 1;
            }
        }
    }
}

/// The mark and the rest of a line.
fn mark(line: &str) -> (How<'_>, &str) {
    for (prefix, how) in [
        ("sorted: ", How::Sorted),
        ("shape: ", How::Shape),
        ("code: ", How::Code),
        ("any: ", How::Any),
        ("scan: ", How::Scan),
    ] {
        if let Some(rest) = line.strip_prefix(prefix) {
            return (how, rest);
        }
    }
    if let Some(rest) = line.strip_prefix("new ") {
        let (reply, rest) = rest.split_once(" | ").expect("`new REPLY | LINE`");
        return (How::New(reply), rest);
    }
    (How::Exact, line)
}

/// What is compared of a reply.
fn seen(how: How<'_>, value: Value, raw: Vec<u8>) -> String {
    match how {
        How::Exact | How::New(_) => raw.escape_ascii().to_string(),
        How::Sorted | How::Scan => format!("{:?}", value.sorted()),
        How::Shape => value.shape(),
        How::Code => match &value {
            Value::Error(text) => text.split(' ').next().unwrap_or_default().to_owned(),
            other => other.shape(),
        },
        How::Any => String::new(),
    }
}

/// Sends a line and returns what is compared of its reply.
fn ask(wire: &mut Wire, how: How<'_>, args: &[Vec<u8>]) -> String {
    if how != How::Scan {
        wire.send(&encode(args));
        let (value, raw) = wire.reply_raw();
        return seen(how, value, raw);
    }
    let mut args = args.to_vec();
    let mut found = vec![];
    for _ in 0..10_000 {
        let reply = wire.call(&args);
        let Value::Array(parts) = &reply else {
            return format!("{reply:?}");
        };
        found.extend_from_slice(parts[1].elements());
        args[1] = parts[0].text().into_bytes();
        if args[1] == b"0" {
            // An element may be reported twice.
            found.sort();
            found.dedup();
            return format!("{found:?}");
        }
    }
    "SCAN did not end".to_owned()
}

/// One side: a server and its connections.
struct Side<'a> {
    control: Wire,
    server: &'a Server,
}

impl<'a> Side<'a> {
    fn new(server: &'a Server, password: Option<&str>) -> Side<'a> {
        let mut control = server.wire();
        if let Some(password) = password {
            control.call(&["AUTH", password]);
        }
        Side { control, server }
    }

    /// A connection for a section, on empty databases.
    fn section(&mut self, hello: bool) -> Wire {
        let flushed = self.control.run("FLUSHALL");
        assert!(!flushed.is_error(), "{flushed:?}");
        self.connect(hello)
    }

    fn connect(&mut self, hello: bool) -> Wire {
        let mut wire = self.server.wire();
        if hello {
            let reply = wire.run("HELLO 3");
            assert!(!reply.is_error(), "{reply:?}");
        }
        wire
    }
}

/// A client that waits beside the one that sends the lines.
struct Waiter {
    wire: Wire,
    id: String,
}

impl Waiter {
    fn new(side: &mut Side<'_>, hello: bool) -> Waiter {
        let mut wire = side.connect(hello);
        let id = wire.run("CLIENT ID").int().to_string();
        Waiter { wire, id }
    }

    /// Sends a line and waits until the server has the client wait.
    fn send(&mut self, side: &mut Side<'_>, args: &[Vec<u8>]) {
        self.wire.send(&encode(args));
        let line = ["CLIENT", "LIST", "ID", &self.id];
        wait_until("the client waits", REPLY_TIMEOUT, || {
            side.control.call(&line).text().contains(" flags=b ")
        });
    }

    fn receive(&mut self, how: How<'_>) -> String {
        let (value, raw) = self.wire.reply_raw();
        seen(how, value, raw)
    }
}

/// A line for a waiting client: its name, whether it is to send, and the rest.
fn named(line: &str) -> Option<(&str, bool, &str)> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let sends = word.ends_with('>');
    let name = word.strip_suffix(['<', '>'])?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    plain.then_some((name, sends, rest))
}

/// Runs all sections of `script` on both sides and returns the differences.
fn differences(
    script: &str,
    peer: &mut Side<'_>,
    ours: &mut Side<'_>,
    resp3: bool,
    digest: bool,
) -> Vec<String> {
    let mut found = vec![];
    for section in script.split("\n## ").skip(1) {
        let (name, lines) = section.split_once('\n').unwrap_or((section, ""));
        if let Some((_, command)) = name.split_once(" | needs ")
            && ours.control.run(&format!("COMMAND INFO {command}"))
                == Value::Array(vec![Value::Null])
        {
            continue;
        }
        let mut wires = (peer.section(resp3), ours.section(resp3));
        let mut waiters: HashMap<&str, (Waiter, Waiter)> = HashMap::new();
        for line in lines.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((name, sends, rest)) = named(line) {
                let (theirs, own) = waiters
                    .entry(name)
                    .or_insert_with(|| (Waiter::new(peer, resp3), Waiter::new(ours, resp3)));
                if sends {
                    theirs.send(peer, &split(rest));
                    own.send(ours, &split(rest));
                    continue;
                }
                let (how, _) = mark(rest);
                let (expected, got) = (theirs.receive(how), own.receive(how));
                if expected != got {
                    found.push(format!(
                        "[{name}] {line}\n    expected {expected}\n    got      {got}"
                    ));
                }
                continue;
            }
            let (how, rest) = mark(line);
            let args = split(rest);
            let expected = match how {
                How::New(reply) => {
                    let reply: Vec<u8> = split(&format!("\"{reply}\"")).concat();
                    format!("{}\\r\\n", reply.escape_ascii())
                }
                _ => ask(&mut wires.0, how, &args),
            };
            if matches!(how, How::New(_)) && judging_the_tests() {
                continue;
            }
            let got = ask(&mut wires.1, how, &args);
            if expected != got {
                found.push(format!(
                    "[{name}] {line}\n    expected {expected}\n    got      {got}"
                ));
            }
        }
        if digest {
            let expected = peer.control.run("DEBUG DIGEST");
            let got = ours.control.run("DEBUG DIGEST");
            if expected != got {
                found.push(format!(
                    "[{name}] other data at the end: {expected:?}, {got:?}"
                ));
            }
        }
    }
    found
}

/// Compares `script` with the peer: all numbers of shards, both protocols.
#[track_caller]
fn compare(script: &str, args: &[&str]) {
    let script = format!("\n{script}");
    let Some(peer) = Server::redis(args) else {
        return;
    };
    let password = args
        .iter()
        .position(|arg| *arg == "--requirepass")
        .map(|at| args[at + 1]);
    let digest = args.contains(&"--enable-debug-command");
    for shards in SHARDS {
        let count = shards.to_string();
        let mut all = vec!["--shards", &count];
        all.extend(args);
        let server = Server::start(&all);
        for resp3 in [false, true] {
            // Without the password HELLO 3 is refused: such a script switches by itself.
            if resp3 && password.is_some() {
                continue;
            }
            let mut peer = Side::new(&peer, password);
            let mut ours = Side::new(&server, password);
            let found = differences(&script, &mut peer, &mut ours, resp3, digest);
            assert!(
                found.is_empty(),
                "{} differences with {shards} shards, RESP{}:\n{}",
                found.len(),
                if resp3 { 3 } else { 2 },
                found[..found.len().min(SHOWN_MAX)].join("\n")
            );
        }
    }
}

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

#[test]
fn strings() {
    compare(include_str!("strings.txt"), DEBUG);
}

#[test]
fn bitmaps() {
    compare(include_str!("bitmaps.txt"), DEBUG);
}

#[test]
fn keys() {
    compare(include_str!("keys.txt"), DEBUG);
}

#[test]
fn lists() {
    compare(include_str!("lists.txt"), DEBUG);
}

#[test]
fn hashes() {
    compare(include_str!("hashes.txt"), DEBUG);
}

#[test]
fn sets() {
    compare(include_str!("sets.txt"), DEBUG);
}

#[test]
fn sorted_sets() {
    compare(include_str!("sorted_sets.txt"), DEBUG);
}

#[test]
fn streams() {
    compare(include_str!("streams.txt"), DEBUG);
}

#[test]
fn hyperloglogs() {
    compare(include_str!("hyperloglogs.txt"), DEBUG);
}

#[test]
fn places() {
    compare(include_str!("places.txt"), DEBUG);
}

#[test]
fn error_texts() {
    compare(include_str!("texts.txt"), DEBUG);
}

#[test]
fn sorting() {
    compare(include_str!("sorting.txt"), DEBUG);
}

#[test]
fn dumps() {
    compare(include_str!("dumps.txt"), DEBUG);
}

#[test]
fn saves() {
    compare(include_str!("saving.txt"), DEBUG);
}

#[test]
fn blocking() {
    compare(include_str!("blocking.txt"), DEBUG);
}

#[test]
fn expiry() {
    compare(include_str!("expiry.txt"), DEBUG);
}

#[test]
fn replication() {
    compare(include_str!("replication.txt"), DEBUG);
}

#[test]
fn connections() {
    compare(include_str!("connections.txt"), &[]);
}

#[test]
fn transactions() {
    compare(include_str!("transactions.txt"), DEBUG);
}

#[test]
fn administration() {
    compare(include_str!("administration.txt"), DEBUG);
}

#[test]
fn publish_and_subscribe() {
    compare(include_str!("pubsub.txt"), &[]);
}

#[test]
fn passwords() {
    compare(include_str!("passwords.txt"), &["--requirepass", "secret"]);
}

/// A byte stream that is no proper pipeline, and whether the server closes after it.
struct Stream {
    name: &'static str,
    bytes: Vec<u8>,
    closes: bool,
}

fn stream(name: &'static str, bytes: impl Into<Vec<u8>>, closes: bool) -> Stream {
    Stream {
        name,
        bytes: bytes.into(),
        closes,
    }
}

/// Sends the stream and returns all that comes back, up to the close or to a marker behind the stream.
fn answer(server: &Server, stream: &Stream) -> Vec<u8> {
    let mut wire = server.wire();
    if stream.closes {
        // The server may close before it has read everything.
        let _ = wire.try_send(&stream.bytes);
        return wire.read_to_end();
    }
    wire.send(&stream.bytes);
    wire.send(&encode(&["ECHO", "-marker-"]));
    wire.read_until(b"$8\r\n-marker-\r\n")
}

#[track_caller]
fn compare_streams(streams: &[Stream], args: &[&str]) {
    let Some(peer) = Server::redis(args) else {
        return;
    };
    for shards in SHARDS {
        let count = shards.to_string();
        let mut all = vec!["--shards", &count];
        all.extend(args);
        let server = Server::start(&all);
        let mut found = vec![];
        for stream in streams {
            let expected = answer(&peer, stream);
            let got = answer(&server, stream);
            if expected != got {
                found.push(format!(
                    "{}\n    expected {}\n    got      {}",
                    stream.name,
                    expected.escape_ascii(),
                    got.escape_ascii()
                ));
            }
        }
        assert!(
            found.is_empty(),
            "with {shards} shards:\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn broken_streams_are_answered_alike() {
    let long = vec![b'a'; 70_000];
    let mut digits = b"*".to_vec();
    digits.extend(vec![b'1'; 70_000]);
    let mut bulk_digits = b"*1\r\n$".to_vec();
    bulk_digits.extend(vec![b'1'; 70_000]);
    compare_streams(
        &[
            stream("count is no number", "*abc\r\n", true),
            stream("count with blank", "* 1\r\n", true),
            stream("count with plus", "*+1\r\n", true),
            stream("count with leading zero", "*01\r\n$4\r\nPING\r\n", true),
            stream("count too large", "*2147483648\r\n", true),
            stream("count far too large", "*99999999999999999999\r\n", true),
            stream("count zero", "*0\r\n", false),
            stream("count minus one", "*-1\r\n", false),
            stream("count very negative", "*-2147483649\r\n", false),
            stream("count empty", "*\r\n", true),
            stream("no dollar", "*1\r\n:4\r\n", true),
            stream("a letter for the dollar", "*1\r\nPING\r\n", true),
            stream("a line end for the dollar", "*1\r\n\r\n", true),
            stream(
                "second argument without dollar",
                "*2\r\n$4\r\nECHO\r\n4\r\n",
                true,
            ),
            stream("length is no number", "*1\r\n$x\r\n", true),
            stream("length negative", "*1\r\n$-1\r\n", true),
            stream("length empty", "*1\r\n$\r\n", true),
            stream("length too large", "*1\r\n$536870913\r\n", true),
            stream(
                "length far too large",
                "*1\r\n$99999999999999999999\r\n",
                true,
            ),
            stream("length with plus", "*1\r\n$+4\r\nPING\r\n", true),
            stream("count line too long", digits, true),
            stream("length line too long", bulk_digits, true),
            stream("inline too long", long.clone(), true),
            stream(
                "inline just short enough",
                [&long[..65_000], b"\r\n"].concat(),
                false,
            ),
            stream("open double quote", "SET a \"b\r\n", true),
            stream("open single quote", "SET a 'b\r\n", true),
            stream("text after a closing quote", "SET a \"b\"c\r\n", true),
            stream("HTTP post", "POST / HTTP/1.1\r\n", true),
            stream("HTTP host", "Host: localhost\r\n", true),
            stream("HTTP post in small letters", "post / HTTP/1.1\r\n", true),
            stream("HTTP get", "GET / HTTP/1.1\r\n", false),
            stream(
                "replies before the error",
                "PING\r\n*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n",
                true,
            ),
            stream(
                "QUIT closes",
                "*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
                true,
            ),
            stream("inline QUIT", "PING\r\nQUIT\r\nPING\r\n", true),
            stream("inline", "PING\r\n", false),
            stream("inline, line feed only", "PING\nECHO a\n", false),
            stream("inline, empty lines", "\r\n\r\n\nPING\r\n", false),
            stream("inline, blanks", "   PING   \r\n   \r\n", false),
            stream(
                "inline, quoted",
                "ECHO \"a\\x41\\n\\\"b\"\r\nECHO 'it\\'s'\r\n",
                false,
            ),
            stream("inline, empty argument", "ECHO \"\"\r\n", false),
            stream("inline, binary", "ECHO \"\\x00\\xff\"\r\n", false),
            stream("inline, unknown", "NOSUCH a b\r\n", false),
            stream("empty name", "*1\r\n$0\r\n\r\n", false),
            stream(
                "name with bytes",
                b"*1\r\n$3\r\n\x00\xff\n\r\n".as_slice(),
                false,
            ),
            stream("mixed", "PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", false),
            stream(
                "wrong end of a string",
                "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
                false,
            ),
        ],
        &[],
    );
}

#[test]
fn streams_before_authentication_have_tighter_limits() {
    compare_streams(
        &[
            stream(
                "ten arguments",
                "*10\r\n".to_owned() + &"$1\r\na\r\n".repeat(10),
                false,
            ),
            stream("eleven arguments", "*11\r\n", true),
            stream(
                "sixteen KiB",
                [b"*1\r\n$16384\r\n".as_slice(), &[b'a'; 16384], b"\r\n"].concat(),
                false,
            ),
            stream("more than sixteen KiB", "*1\r\n$16385\r\n", true),
            stream(
                "password and more",
                "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*11\r\n".to_owned()
                    + &"$1\r\na\r\n".repeat(11),
                false,
            ),
        ]
        .map(|mut stream| {
            // The marker is only echoed to a client that is let in.
            if !stream.closes {
                stream.bytes.extend(encode(&["AUTH", "secret"]));
            }
            stream
        }),
        &["--requirepass", "secret"],
    );
}

#[test]
fn debug_and_protected_parameters_are_guarded() {
    compare(
        "## debug\nDEBUG SLEEP 0\nDEBUG JMAP\nDEBUG\nDEBUG HELP\nCONFIG SET enable-debug-command yes\n\
         CONFIG SET dir /\nCONFIG SET dbfilename x\nCONFIG SET enable-protected-configs yes\n\
         CONFIG GET enable-debug-command\n",
        &[],
    );
    compare(
        "## debug\nDEBUG SLEEP 0\nnew :0 | DEBUG STRINGMATCH-LEN 2 x\nDEBUG\n",
        &["--enable-debug-command", "local"],
    );
}

#[test]
fn lines_split_as_redis_cli_splits_them() {
    assert_eq!(
        split(r#" a  "b c" 'd e' "" "#),
        [b"a".as_slice(), b"b c", b"d e", b""]
    );
    assert_eq!(split(r#""\x00\n\"" x"#), [b"\0\n\"".as_slice(), b"x"]);
    assert!(peers::require("sh").is_some());
}
