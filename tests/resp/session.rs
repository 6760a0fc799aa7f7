//! What a session does with the parser, without a socket.

use shardine::resp::{Arguments, Limits, Parsed, Parser, ProtocolError};

/// How a large argument's bytes reach the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BigBy {
    /// As part of the next input.
    Input,
    /// Handed over from the read buffer.
    Feed,
    /// Written into its own buffer.
    Target,
}

/// One connection's receiving side; collects the lines.
#[derive(Default)]
pub struct Session {
    pub parser: Parser,
    pub tail: Vec<u8>,
    pub lines: Vec<Vec<Vec<u8>>>,
    args: Arguments,
}

impl Session {
    pub fn receive(
        &mut self,
        bytes: &[u8],
        by: BigBy,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        let mut bytes = bytes;
        match by {
            BigBy::Input => {}
            BigBy::Feed => bytes = &bytes[self.parser.feed_big(bytes)..],
            BigBy::Target => {
                while let Some((buffer, remaining)) = self.parser.big_target() {
                    let room = buffer.capacity() - buffer.len();
                    let (now, later) = bytes.split_at(bytes.len().min(remaining).min(room));
                    if now.is_empty() {
                        break;
                    }
                    buffer.extend_from_slice(now);
                    bytes = later;
                }
            }
        }
        self.args.clear();
        let mut at = 0;
        if self.parser.is_partial() {
            self.tail.extend_from_slice(bytes);
            parse(
                &mut self.parser,
                &self.tail,
                &mut at,
                limits,
                &mut self.args,
                &mut self.lines,
            )?;
            self.parser.compact(&mut self.tail, at);
        } else {
            assert!(self.tail.is_empty());
            parse(
                &mut self.parser,
                bytes,
                &mut at,
                limits,
                &mut self.args,
                &mut self.lines,
            )?;
            self.parser.keep(bytes, at, &mut self.tail);
        }
        Ok(())
    }
}

/// Parses all whole lines, then looks at their arguments, as a batch does.
fn parse(
    parser: &mut Parser,
    input: &[u8],
    at: &mut usize,
    limits: &Limits,
    args: &mut Arguments,
    lines: &mut Vec<Vec<Vec<u8>>>,
) -> Result<(), ProtocolError> {
    let mut ranges = Vec::new();
    let outcome = loop {
        let begin = args.spans.len();
        match parser.next(input, at, limits, args) {
            Ok(Parsed::Line) => ranges.push(begin..args.spans.len()),
            Ok(Parsed::Empty) => assert_eq!(args.spans.len(), begin),
            Ok(Parsed::Incomplete) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    for range in ranges {
        let line = args.line(input, range);
        lines.push(line.args().map(<[u8]>::to_vec).collect());
    }
    outcome
}

/// All lines of `input`, received in pieces of `piece` bytes, and the error that ended it.
pub fn lines_of(
    input: &[u8],
    piece: usize,
    by: BigBy,
    limits: &Limits,
) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut session = Session::default();
    for bytes in input.chunks(piece) {
        if let Err(error) = session.receive(bytes, by, limits) {
            return (session.lines, Some(error));
        }
    }
    (session.lines, None)
}
