//! What a follower and its leader say to each other before data flows.
//!
//! ```text
//!   PING                                        +PONG
//!   AUTH, REPLCONF listening-port, capa …       +OK each; only AUTH must succeed
//!   PSYNC id offset                             +CONTINUE [id]: the stream goes on, or
//!                                               +FULLRESYNC id offset, then $length or $EOF:mark, then all data
//! ```
//!
//! Empty lines are signs of life. Every refusal ends the connection, and the next try comes a second later.

use std::collections::VecDeque;

use super::incoming::Framing;
use crate::command::replication::CAPA_RDB_12;
use crate::resp::encode_line;

/// No line of a leader is longer.
const LINE_BYTES_MAX: usize = 4096;

/// What a follower says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Hello {
    /// For AUTH: the user, which may be empty, and the password.
    pub(super) auth: Option<(String, String)>,
    /// The port that it listens on.
    pub(super) port: u16,
    /// The address under which it wants to be known; empty: the one it comes from.
    pub(super) ip: String,
    /// The id of the stream that it has, and the next byte that it wants; `None` when it has nothing.
    pub(super) from: Option<(String, u64)>,
    /// The leader is to become one now.
    pub(super) failover: bool,
}

/// A line whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Ping,
    Auth,
    Conf(&'static str),
    Psync,
    /// Nothing: what follows +FULLRESYNC is the head of the data.
    Full,
}

/// How it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All data will come, and then the stream from this offset on.
    Full {
        /// The stream's id.
        id: String,
        /// The offset at which the data is.
        offset: u64,
    },
    /// All data comes now.
    Data(Framing),
    /// The stream goes on, with another id if one was said.
    Continue(Option<String>),
}

/// The talk under way. Lives on the replication shard.
#[derive(Debug)]
pub(super) struct Handshake {
    hello: Hello,
    awaited: VecDeque<Sent>,
    line: Vec<u8>,
}

impl Handshake {
    /// Begins it: `out` goes to the leader.
    pub(super) fn begin(hello: Hello, out: &mut Vec<u8>) -> Handshake {
        encode_line(&[b"PING"], out);
        Handshake {
            hello,
            awaited: VecDeque::from([Sent::Ping]),
            line: Vec::new(),
        }
    }

    /// Takes bytes of the leader, up to the end of the line that decides something. An error is for the log, and the end.
    pub(super) fn read(
        &mut self,
        data: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Outcome>, String> {
        while let Some(end) = data.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&data[..end]);
            *data = &data[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() {
                continue;
            }
            if let Some(outcome) = self.heard(&line, out)? {
                return Ok(Some(outcome));
            }
        }
        self.line.extend_from_slice(data);
        *data = &[];
        if self.line.len() > LINE_BYTES_MAX {
            return Err("Bad protocol from MASTER: a line without end".into());
        }
        Ok(None)
    }

    fn heard(&mut self, line: &str, out: &mut Vec<u8>) -> Result<Option<Outcome>, String> {
        let Some(sent) = self.awaited.pop_front() else {
            return Err(format!("Unexpected reply from master: {line}"));
        };
        match sent {
            Sent::Ping => {
                let known = ["-NOAUTH", "-NOPERM", "-ERR operation not permitted"];
                if !line.starts_with('+') && !known.iter().any(|start| line.starts_with(start)) {
                    return Err(format!("Error reply to PING from master: '{line}'"));
                }
                tracing::info!("Master replied to PING, replication can continue...");
                self.introduce(out);
            }
            Sent::Auth if !line.starts_with('+') => {
                return Err(format!("Unable to AUTH to MASTER: {line}"));
            }
            Sent::Conf(what) if line.starts_with('-') => {
                tracing::info!("(Non critical) Master does not understand REPLCONF {what}: {line}");
            }
            Sent::Auth | Sent::Conf(_) => {}
            Sent::Psync => return self.decided(line).map(Some),
            Sent::Full => return framing(line).map(|framing| Some(Outcome::Data(framing))),
        }
        if self.awaited.is_empty() {
            self.ask(out);
        }
        Ok(None)
    }

    /// Says who it is, in one go.
    fn introduce(&mut self, out: &mut Vec<u8>) {
        let hello = &self.hello;
        if let Some((user, password)) = &hello.auth {
            let words: [&[u8]; 3] = [b"AUTH", user.as_bytes(), password.as_bytes()];
            match user.is_empty() {
                true => encode_line(&[words[0], words[2]], out),
                false => encode_line(&words, out),
            }
            self.awaited.push_back(Sent::Auth);
        }
        let port = hello.port.to_string();
        encode_line(&[b"REPLCONF", b"listening-port", port.as_bytes()], out);
        self.awaited.push_back(Sent::Conf("listening-port"));
        if !hello.ip.is_empty() {
            encode_line(&[b"REPLCONF", b"ip-address", hello.ip.as_bytes()], out);
            self.awaited.push_back(Sent::Conf("ip-address"));
        }
        let capas: [&[u8]; 3] = [b"eof", b"psync2", CAPA_RDB_12];
        let words = capas.iter().flat_map(|capa| [b"capa", *capa]);
        let words: Vec<&[u8]> = std::iter::once(&b"REPLCONF"[..]).chain(words).collect();
        encode_line(&words, out);
        self.awaited.push_back(Sent::Conf("capa"));
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        let (id, offset) = match &self.hello.from {
            Some((id, offset)) => (id.as_str(), offset.to_string()),
            None => ("?", "-1".into()),
        };
        match &self.hello.from {
            Some(_) => {
                tracing::info!("Trying a partial resynchronization (request {id}:{offset}).")
            }
            None => tracing::info!("Partial resynchronization not possible (no cached master)"),
        }
        let words: [&[u8]; 4] = [b"PSYNC", id.as_bytes(), offset.as_bytes(), b"FAILOVER"];
        encode_line(&words[..3 + usize::from(self.hello.failover)], out);
        self.awaited.push_back(Sent::Psync);
    }

    fn decided(&mut self, line: &str) -> Result<Outcome, String> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        match first {
            "+FULLRESYNC" => {
                let id = words.next().and_then(checked_id);
                let offset = words.next().and_then(|offset| offset.parse().ok());
                let (Some(id), Some(offset)) = (id, offset) else {
                    return Err(format!(
                        "Master replied with wrong +FULLRESYNC syntax: {line}"
                    ));
                };
                self.awaited.push_back(Sent::Full);
                Ok(Outcome::Full { id, offset })
            }
            "+CONTINUE" => match words.next() {
                None => Ok(Outcome::Continue(None)),
                Some(id) => match checked_id(id) {
                    Some(id) => Ok(Outcome::Continue(Some(id))),
                    None => Err(format!("Master replied with a wrong id: {line}")),
                },
            },
            "-LOADING" | "-NOMASTERLINK" => Err(format!(
                "Master is currently unable to PSYNC but should be in the future: {line}"
            )),
            _ => Err(format!("Unexpected reply to PSYNC from master: {line}")),
        }
    }
}

/// An id is forty characters, as a rule hexadecimal digits.
fn checked_id(id: &str) -> Option<String> {
    (id.len() == 40 && id.is_ascii()).then(|| id.to_owned())
}

/// The line before the data.
fn framing(line: &str) -> Result<Framing, String> {
    if line.starts_with('-') {
        return Err(format!("MASTER aborted replication with an error: {line}"));
    }
    let framing = line
        .strip_prefix('$')
        .and_then(|length| match length.strip_prefix("EOF:") {
            Some(mark) => mark.as_bytes().try_into().ok().map(Framing::Mark),
            None => length.parse().ok().map(Framing::Length),
        });
    framing.ok_or(format!(
        "Bad protocol from MASTER, the first byte is not '$' (we received '{line}'), are you sure the host and port are right?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a leader's lines, cut into pieces of so many bytes; returns what was said, and how it came out.
    fn play(hello: Hello, lines: &str, piece: usize) -> (String, Result<Vec<Outcome>, String>) {
        let mut out = Vec::new();
        let mut handshake = Handshake::begin(hello, &mut out);
        let mut outcomes = Vec::new();
        for mut data in lines.as_bytes().chunks(piece) {
            while !data.is_empty() {
                match handshake.read(&mut data, &mut out) {
                    Ok(outcome) => outcomes.extend(outcome),
                    Err(error) => return (shown(&out), Err(error)),
                }
            }
        }
        (shown(&out), Ok(outcomes))
    }

    fn shown(out: &[u8]) -> String {
        String::from_utf8_lossy(out).replace("\r\n", "|")
    }

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn a_full_synchronisation_is_announced_with_its_framing() {
        let lines =
            format!("\n+PONG\r\n+OK\r\n-ERR what\r\n\n\n+FULLRESYNC {ID} 77\r\n\n\n$1234\r\n");
        for piece in [1, 2, 7, 1000] {
            let hello = Hello {
                port: 7,
                ..Hello::default()
            };
            let (out, outcomes) = play(hello, &lines, piece);
            let full = Outcome::Full {
                id: ID.into(),
                offset: 77,
            };
            let data = Outcome::Data(Framing::Length(1234));
            assert_eq!(outcomes, Ok(vec![full, data]));
            assert_eq!(
                out,
                "*1|$4|PING|*3|$8|REPLCONF|$14|listening-port|$1|7|\
                 *7|$8|REPLCONF|$4|capa|$3|eof|$4|capa|$6|psync2|$4|capa|$6|rdb-12|*3|$5|PSYNC|$1|?|$2|-1|"
            );
        }
    }

    #[test]
    fn the_stream_goes_on_with_or_without_a_new_id() {
        let hello = || Hello {
            auth: Some((String::new(), "secret".into())),
            ip: "10.0.0.1".into(),
            from: Some((ID.into(), 100)),
            failover: true,
            port: 1,
        };
        let lines = "-NOAUTH x\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
        let (out, outcomes) = play(hello(), &format!("{lines}+CONTINUE\r\n"), 5);
        assert_eq!(outcomes, Ok(vec![Outcome::Continue(None)]));
        assert!(out.contains("*2|$4|AUTH|$6|secret|"), "{out}");
        assert!(
            out.ends_with(&format!("*4|$5|PSYNC|$40|{ID}|$3|100|$8|FAILOVER|")),
            "{out}"
        );
        let (_, outcomes) = play(hello(), &format!("{lines}+CONTINUE {ID}\r\n"), 5);
        assert_eq!(outcomes, Ok(vec![Outcome::Continue(Some(ID.into()))]));
    }

    #[test]
    fn refusals_and_nonsense_are_errors() {
        let hello = || Hello {
            auth: Some(("u".into(), "p".into())),
            ..Hello::default()
        };
        for (lines, error) in [
            ("-ERR no\r\n", "Error reply to PING"),
            ("+PONG\r\n-WRONGPASS x\r\n", "Unable to AUTH"),
            ("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n-LOADING x\r\n", "-LOADING"),
            (
                "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+WHAT\r\n",
                "Unexpected reply",
            ),
            (
                "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC a 1\r\n",
                "wrong +FULLRESYNC",
            ),
            (&"x".repeat(5000), "a line without end"),
        ] {
            let (_, outcome) = play(hello(), lines, 3);
            let text = outcome.expect_err(lines);
            assert!(text.contains(error), "{text}");
        }
        assert!(framing("$EOF:short").is_err());
        assert!(framing("$-1").is_err());
        assert!(framing("-ERR x").is_err());
        assert_eq!(
            framing(&format!("$EOF:{ID}")),
            Ok(Framing::Mark(ID.as_bytes().try_into().expect("forty")))
        );
    }
}
