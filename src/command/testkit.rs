//! A shard of its own for tests of handlers: text lines in, replies as text out, a clock that the test moves.
//!
//! A line goes through the registry, the arity check and its keys handler, as on a node of one shard. Replies are
//! compared in an escaped form: `|` stands for CRLF, `\|` and `\\` for themselves, `\xNN` for bytes that are not
//! printable.

use bytes::Bytes;

use super::{Command, Write};
use super::{Cx, Effects, Place, Registry, Run, Switches};
use crate::base::random::Random;
use crate::config::Config;
use crate::keyspace::{KeyHasher, Keyspace};
use crate::resp::{BIG_ARGUMENT_BYTES_MIN, Line, Output, Proto, Reply, Span, encode_line};

/// One shard with everything that a handler needs.
pub struct Kit {
    registry: Registry,
    /// The shard's data.
    pub keyspace: Keyspace,
    /// The parameters, for tests that need others than the defaults.
    pub config: Config,
    /// What the last line did.
    pub effects: Effects,
    /// The selected database.
    pub db: usize,
    /// The clock, milliseconds since 1970.
    pub now_ms: i64,
    proto: Proto,
    random: Random,
    switches: Switches,
}

impl Kit {
    /// An empty shard that knows the commands of `tables`.
    pub fn new(tables: &[&'static [Command]]) -> Kit {
        let config = Config::default();
        let mut kit = Kit {
            registry: Registry::new(tables),
            keyspace: Keyspace::new(16, KeyHasher::from_seeds([1, 2, 3, 4]), 5),
            config,
            effects: Effects {
                listening: true,
                logging: true,
                ..Effects::default()
            },
            db: 0,
            now_ms: 0,
            proto: Proto::Resp2,
            random: Random::new(5),
            switches: Switches::default(),
        };
        kit.advance_ms(1_700_000_000_000);
        kit
    }

    /// Moves the clock.
    pub fn advance_ms(&mut self, ms: i64) {
        self.now_ms += ms;
        self.keyspace.set_now(self.now_ms);
    }

    /// Replies come in RESP3 from now on.
    pub fn resp3(&mut self) {
        self.proto = Proto::Resp3;
    }

    /// Runs a line of arguments and returns its reply as it would be sent.
    #[track_caller]
    pub fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let (mut buffer, mut spans, mut big) = (Vec::new(), Vec::new(), Vec::new());
        for &arg in args {
            if arg.len() >= BIG_ARGUMENT_BYTES_MIN {
                spans.push(Span::big(big.len(), arg.len()));
                big.push(Bytes::copy_from_slice(arg));
            } else {
                spans.push(Span::inline(buffer.len(), arg.len()));
                buffer.extend_from_slice(arg);
            }
        }
        let line = Line::new(&buffer, &spans, &big);
        let id = self
            .registry
            .resolve(&line)
            .expect("the command is in the kit's tables");
        let command = self.registry.get(id).command;
        let mut keys = Vec::new();
        command.find_keys(&line, &mut keys);
        let hash = keys
            .first()
            .map_or(0, |key| self.keyspace.hasher().hash(line.arg(key.arg)));
        self.effects.reset();
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, self.proto);
        if !command.arity_holds(line.len()) {
            reply.error(format!(
                "ERR wrong number of arguments for '{}' command",
                command.name
            ));
            return out.to_vec();
        }
        let Run::Keys(handler, _) = command.run else {
            panic!("{} is no keys command", command.name);
        };
        let mut cx = Cx {
            line,
            reply,
            keyspace: &mut self.keyspace,
            db: self.db,
            hash,
            now_ms: self.now_ms,
            config: &self.config,
            effects: &mut self.effects,
            random: &mut self.random,
            place: Place { index: 0, count: 1 },
            switches: &mut self.switches,
            may_block: true,
            woken_by: None,
        };
        if let Err(fault) = handler(&mut cx) {
            assert!(
                cx.reply.is_empty(),
                "{} wrote a reply and failed",
                command.name
            );
            assert_eq!(
                cx.effects.dirty, 0,
                "{} changed something and failed",
                command.name
            );
            cx.reply.error(fault.as_bytes());
        }
        if self.effects.dirty > 0 && !self.effects.rewritten {
            encode_line(args, &mut self.effects.log);
        }
        out.to_vec()
    }

    /// Runs a line, split as redis-cli does, and returns the escaped reply.
    #[track_caller]
    pub fn run_line(&mut self, line: &str) -> String {
        let args = split(line);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        escape(&self.run(&args))
    }

    /// Runs a line, split as redis-cli does, and compares the escaped reply.
    #[track_caller]
    pub fn expect(&mut self, line: &str, reply: &str) {
        assert_eq!(self.run_line(line), reply, "{line}");
    }

    /// Compares what the last line logs, in escaped form; empty when that is nothing.
    #[track_caller]
    pub fn logged(&self, log: &str) {
        assert_eq!(escape(&self.effects.log), log);
    }

    /// Compares the events of the last line, as `event key` joined by commas.
    #[track_caller]
    pub fn events(&self, events: &str) {
        let event = |write: &Write| format!("{} {}", write.event, write.key.escape_ascii());
        let seen: Vec<String> = self.effects.writes.iter().map(event).collect();
        assert_eq!(seen.join(","), events);
    }
}

/// Splits a line into arguments: blanks between, `"…"` with `\n \r \t \a \b \xNN`, `'…'` with `\'` only.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut rest, mut args) = (line.trim_start().as_bytes(), Vec::new());
    while !rest.is_empty() {
        let (mut arg, mut quote) = (Vec::new(), None);
        loop {
            let (byte, used) = match (quote, rest) {
                (None, [] | [b' ', ..]) => break,
                (None, [mark @ (b'"' | b'\''), ..]) => {
                    (quote, rest) = (Some(*mark), &rest[1..]);
                    continue;
                }
                (Some(mark), [byte, ..]) if *byte == mark => {
                    (quote, rest) = (None, &rest[1..]);
                    continue;
                }
                (Some(b'"'), [b'\\', b'x', hex @ ..]) => {
                    let digits = std::str::from_utf8(&hex[..2]).expect("hex digits");
                    (u8::from_str_radix(digits, 16).expect("hex digits"), 4)
                }
                (Some(b'"'), [b'\\', byte, ..]) => {
                    let at = b"nrtab".iter().position(|letter| letter == byte);
                    (at.map_or(*byte, |at| b"\n\r\t\x07\x08"[at]), 2)
                }
                (Some(b'\''), [b'\\', b'\'', ..]) => (b'\'', 2),
                (_, [byte, ..]) => (*byte, 1),
                (Some(_), []) => panic!("an open quote: {line}"),
            };
            arg.push(byte);
            rest = &rest[used..];
        }
        args.push(arg);
        rest = rest.trim_ascii_start();
    }
    args
}

/// A reply in escaped form.
pub fn escape(reply: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = reply;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\r' if after.first() == Some(&b'\n') => {
                text.push('|');
                rest = &after[1..];
            }
            b'|' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}
