//! What a core has to say to one other core and has not handed to the transport yet.
//!
//! Invariants:
//! - Messages leave in the order in which they were put in: lines gathered so far go out before any other message.
//! - The outbox itself is not bounded, what feeds it is: replies are bounded by the lines that the peer sent, and lines
//!   stop when the outbox [is full](Outbox::is_full): the sessions that feed it are not read from until it drains. So two cores
//!   whose rings are full towards each other still take each other's messages.

use std::collections::VecDeque;

use super::{Batch, Head, Late, Message, Ticket};
use crate::pubsub::Publication;
use crate::resp::{Line, Output};
use crate::stats::SlowEntry;

/// An outbox with this many messages left over from earlier turns takes no more lines.
pub const OUTBOX_MESSAGES_MAX: usize = 64;
/// A batch of this many bytes is closed, and counts as a message of its own.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Batches kept for reuse.
const SPARE_MAX: usize = 8;

/// Messages on their way to one core.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Message>,
    lines: Option<Box<Batch>>,
    lines_bytes: usize,
    late: Option<Box<Late>>,
    publications: Vec<Publication>,
    publications_bytes: usize,
    #[expect(
        clippy::vec_box,
        reason = "a batch travels as a box, which is reused with it"
    )]
    spare: Vec<Box<Batch>>,
}

impl Outbox {
    /// Adds a line to the batch of this turn.
    #[inline]
    pub fn push_line(&mut self, head: Head, line: &Line<'_>) {
        let batch = self
            .lines
            .get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        batch.push(head, line);
        if batch.heads.len() & 0xff == 0 || line.len() > 64 {
            self.lines_bytes = batch.bytes_len();
            if self.lines_bytes > BATCH_BYTES_MAX {
                self.close_batch();
            }
        }
    }

    /// Adds the reply of a line that had waited: `range` of `out`.
    pub fn push_late(&mut self, ticket: Ticket, out: &Output, range: std::ops::Range<usize>) {
        let late = self.late.get_or_insert_default();
        late.replies.push((ticket, range.len()));
        late.out.append_range(out, range);
    }

    /// Adds what the slow log keeps of a line whose reply was added just before.
    pub fn push_late_slow(&mut self, ticket: Ticket, entry: SlowEntry) {
        self.late.get_or_insert_default().slow.push((ticket, entry));
    }

    /// Adds a publication to those of this turn.
    pub fn push_publication(&mut self, publication: Publication) {
        const OVERHEAD_BYTES: usize = 128;
        self.publications_bytes += publication.payload.len() + OVERHEAD_BYTES;
        self.publications.push(publication);
        if self.publications_bytes > BATCH_BYTES_MAX {
            self.close_batch();
        }
    }

    /// Adds a message behind what is there.
    pub fn push(&mut self, message: Message) {
        self.close_batch();
        self.queue.push_back(message);
    }

    /// An empty batch for lines that travel in a message of their own.
    pub fn spare(&mut self) -> Box<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// A batch came back and can be used again.
    pub fn recycle(&mut self, mut batch: Box<Batch>) {
        if self.spare.len() < SPARE_MAX {
            batch.recycle();
            self.spare.push(batch);
        }
    }

    fn close_batch(&mut self) {
        if let Some(late) = self.late.take() {
            self.queue.push_back(Message::Late(late));
        }
        if !self.publications.is_empty() {
            self.publications_bytes = 0;
            let publications = std::mem::take(&mut self.publications);
            self.queue.push_back(Message::Publications(publications));
        }
        if let Some(batch) = self.lines.take() {
            self.lines_bytes = 0;
            self.queue.push_back(Message::Lines(batch));
        }
    }

    /// Takes no more lines for now.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= OUTBOX_MESSAGES_MAX
    }

    /// Nothing to hand over.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.lines.is_none()
            && self.late.is_none()
            && self.publications.is_empty()
    }

    /// Hands everything to `send`, in order, until it gives a message back because the transport is full. True when
    /// all is gone.
    pub fn flush(&mut self, mut send: impl FnMut(Message) -> Result<(), Message>) -> bool {
        self.close_batch();
        while let Some(message) = self.queue.pop_front() {
            if let Err(message) = send(message) {
                self.queue.push_front(message);
                return false;
            }
        }
        true
    }
}
