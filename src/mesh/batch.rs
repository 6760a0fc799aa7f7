//! A batch of lines for one shard, which comes back with their replies.
//!
//! Layout: the arguments of all lines lie one behind the other in `bytes`; `spans` holds their places, line by line; a
//! head per line says how many spans are its own. Big arguments travel by reference.

use bytes::Bytes;

use super::Ticket;
use crate::command::CommandId;
use crate::resp::{Line, Output, Span};
use crate::stats::SlowEntry;

/// In [`Batch::reply_lens`]: the reply comes later, in a [`Late`].
pub const REPLIED_LATER: usize = usize::MAX;

/// What a shard must know of a line besides its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Where the reply goes.
    pub ticket: Ticket,
    /// The command.
    pub command: CommandId,
    /// The client's database.
    pub db: u16,
    /// The reply is RESP3.
    pub resp3: bool,
    /// Reads leave the access clock alone.
    pub no_touch: bool,
    /// The client is told when what it reads changes.
    pub tracks: bool,
    /// It may wait for keys: it is no line of an EXEC.
    pub may_block: bool,
    /// The leader's line on a follower: keys do not expire for it.
    pub leader: bool,
    /// The number of arguments, the name included.
    pub args: u32,
    /// Hash of the first key; 0 without keys.
    pub hash: u64,
}

/// Lines of one core's sessions for one shard.
#[derive(Default)]
pub struct Batch {
    /// One per line.
    pub heads: Vec<Head>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    big: Vec<Bytes>,
    /// The replies, in the order of the lines.
    pub replies: Output,
    /// Bytes of each line's reply in `replies`, or [`REPLIED_LATER`].
    pub reply_lens: Vec<usize>,
    /// Lines that took long, by their index: what the slow log keeps of them.
    pub slow: Vec<(usize, SlowEntry)>,
}

impl Batch {
    /// Adds a line.
    #[inline]
    pub fn push(&mut self, head: Head, line: &Line<'_>) {
        debug_assert_eq!(head.args as usize, line.len());
        self.heads.push(head);
        append(line, &mut self.bytes, &mut self.spans, &mut self.big);
    }

    /// No lines.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of arguments, the big ones included.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + self.big.iter().map(Bytes::len).sum::<usize>()
    }

    /// Splits the borrow: the lines for reading, the replies for writing.
    #[inline]
    pub fn parts(&mut self) -> (BatchLines<'_>, BatchReplies<'_>) {
        (
            BatchLines {
                heads: &self.heads,
                bytes: &self.bytes,
                spans: &self.spans,
                big: &self.big,
            },
            BatchReplies {
                out: &mut self.replies,
                lens: &mut self.reply_lens,
                slow: &mut self.slow,
            },
        )
    }

    /// All lines in order, each with its head.
    pub fn lines(&self) -> impl Iterator<Item = (&Head, Line<'_>)> {
        let mut first = 0;
        self.heads.iter().map(move |head| {
            let spans = &self.spans[first..first + head.args as usize];
            first += spans.len();
            (head, Line::new(&self.bytes, spans, &self.big))
        })
    }

    /// Empties the lines, which have run; the replies stay.
    pub fn clear_lines(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.big.clear();
    }

    /// Empties everything for the next use. What one burst of traffic grew is given back.
    pub fn recycle(&mut self) {
        const KEEP_BYTES_MAX: usize = 256 * 1024;
        self.clear_lines();
        self.heads.clear();
        self.reply_lens.clear();
        self.replies.clear();
        self.slow.clear();
        if self.bytes.capacity() > KEEP_BYTES_MAX {
            *self = Batch::default();
        }
    }
}

/// The replies of a batch, borrowed for writing.
pub struct BatchReplies<'a> {
    /// The bytes.
    pub out: &'a mut Output,
    /// Each line's share of them.
    pub lens: &'a mut Vec<usize>,
    /// Lines that took long.
    pub slow: &'a mut Vec<(usize, SlowEntry)>,
}

/// The lines of a batch, borrowed for running.
#[derive(Clone, Copy)]
pub struct BatchLines<'a> {
    /// One per line.
    pub heads: &'a [Head],
    bytes: &'a [u8],
    spans: &'a [Span],
    big: &'a [Bytes],
}

impl<'a> BatchLines<'a> {
    /// The line whose arguments begin at the span `first`.
    #[inline]
    pub fn line(&self, first: usize, args: usize) -> Line<'a> {
        Line::new(self.bytes, &self.spans[first..first + args], self.big)
    }
}

/// Appends a line's arguments to shared buffers.
#[inline]
fn append(line: &Line<'_>, bytes: &mut Vec<u8>, spans: &mut Vec<Span>, big: &mut Vec<Bytes>) {
    for index in 0..line.len() {
        match line.shared(index) {
            Some(shared) => {
                spans.push(Span::big(big.len(), shared.len()));
                big.push(shared.clone());
            }
            None => {
                let arg = line.arg(index);
                spans.push(Span::inline(bytes.len(), arg.len()));
                bytes.extend_from_slice(arg);
            }
        }
    }
}

/// A line that owns its arguments: it waits, or travels on its own.
#[derive(Clone, Debug)]
pub struct OwnedLine {
    /// What a shard must know of it.
    pub head: Head,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    big: Vec<Bytes>,
}

impl OwnedLine {
    /// A copy of `line`; big arguments are shared.
    pub fn new(mut head: Head, line: &Line<'_>) -> OwnedLine {
        let mut owned = OwnedLine {
            head,
            bytes: Vec::with_capacity(
                line.args()
                    .map(<[u8]>::len)
                    .filter(|len| *len < 1 << 14)
                    .sum(),
            ),
            spans: Vec::with_capacity(line.len()),
            big: Vec::new(),
        };
        head.args = line.len() as u32;
        owned.head = head;
        append(line, &mut owned.bytes, &mut owned.spans, &mut owned.big);
        owned
    }

    /// A copy of a line with some arguments replaced, which are given in their order.
    pub fn replacing(head: Head, line: &Line<'_>, replace: &[(usize, Vec<u8>)]) -> OwnedLine {
        if replace.is_empty() {
            return OwnedLine::new(head, line);
        }
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        let mut replace = replace.iter().peekable();
        for (index, arg) in line.args().enumerate() {
            let replaced = replace.next_if(|(at, _)| *at == index);
            let arg = replaced.map_or(arg, |(_, arg)| arg);
            spans.push(Span::inline(bytes.len(), arg.len()));
            bytes.extend_from_slice(arg);
        }
        OwnedLine::new(head, &Line::new(&bytes, &spans, &[]))
    }

    /// The line of only these arguments of `line`, in this order.
    pub fn pick(head: Head, line: &Line<'_>, args: impl Iterator<Item = usize>) -> OwnedLine {
        let picked: Vec<Span> = args.map(|index| line.spans()[index]).collect();
        OwnedLine::new(head, &line.with_spans(&picked))
    }

    /// The line.
    pub fn line(&self) -> Line<'_> {
        Line::new(&self.bytes, &self.spans, &self.big)
    }

    /// Memory it holds, big arguments included.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.big.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The lines of an EXEC whose keys have one owner, on their way to it and back.
pub struct ExecLines {
    /// Where the reply goes.
    pub ticket: Ticket,
    /// EXEC.
    pub command: CommandId,
    /// When it started, by its session's core's clock.
    pub ticks: u64,
    /// The replies are RESP3.
    pub resp3: bool,
    /// The client's id when it watches keys of this owner.
    pub watcher: Option<u64>,
    /// A watched key had changed: nothing was run.
    pub broken: bool,
    /// The lines, then their replies.
    pub lines: Box<Batch>,
    /// EXEC itself as it was sent, when monitors want to see it.
    pub shown: Option<Box<OwnedLine>>,
}

impl std::fmt::Debug for ExecLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExecLines({})", self.lines.heads.len())
    }
}

/// Replies of lines that had to wait.
#[derive(Default)]
pub struct Late {
    /// Whose, and how many bytes of `out`, in order.
    pub replies: Vec<(Ticket, usize)>,
    /// The bytes.
    pub out: Output,
    /// What the slow log keeps of those that took long.
    pub slow: Vec<(Ticket, SlowEntry)>,
}
