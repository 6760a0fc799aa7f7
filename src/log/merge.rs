//! The lanes of all shards become one stream.

use std::collections::{HashMap, VecDeque};

use super::chunk::{Chunk, Mark};
use super::{LogStep, NO_DB, Stream, TxnId};

/// One lane's chunks that were not merged yet.
#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    /// The next head of the first chunk, and where its bytes begin.
    head: usize,
    at: usize,
    /// The lane has come to a transaction whose other parts are not there.
    blocked: bool,
    /// Entries merged.
    position: u64,
}

/// A transaction that some lane has come to.
#[derive(Debug)]
struct Meeting {
    /// Lanes that have a part of it.
    parts: u16,
    /// Lanes that have come to it.
    met: Vec<u16>,
}

/// Takes the lanes' chunks and appends them to the stream. Lives on the replication shard.
#[derive(Debug)]
pub struct Merge {
    lanes: Vec<Queue>,
    meetings: HashMap<TxnId, Meeting>,
    /// Lanes that can go on.
    ready: Vec<usize>,
    /// The database of the stream's last `SELECT`.
    db: Option<u16>,
}

impl Merge {
    /// A merge of so many lanes.
    pub fn new(lanes: usize) -> Merge {
        Merge {
            lanes: (0..lanes).map(|_| Queue::default()).collect(),
            meetings: HashMap::new(),
            ready: Vec::new(),
            db: None,
        }
    }

    /// The orderer passed a transaction on that writes on `parts` shards. Called in the orderer's order, while lanes are on.
    pub fn ordered(&mut self, txn: TxnId, parts: u16) {
        self.meetings.insert(
            txn,
            Meeting {
                parts,
                met: Vec::new(),
            },
        );
    }

    /// The stream goes on with a `SELECT`: a follower has just been given all data, or the leader has changed.
    pub fn forget_db(&mut self) {
        self.db = None;
    }

    /// The database that the stream has selected.
    pub fn db(&self) -> Option<u16> {
        self.db
    }

    /// The database that the stream has selected, as another leader's bytes left it.
    pub fn set_db(&mut self, db: Option<u16>) {
        self.db = db;
    }

    /// Entries of a lane that are in the stream.
    pub fn position(&self, lane: usize) -> u64 {
        self.lanes[lane].position
    }

    /// Every lane's entries are in the stream.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.chunks.is_empty())
    }

    /// Lanes are switched off: what did not leave is dropped.
    pub fn clear(&mut self) {
        self.meetings.clear();
        for lane in &mut self.lanes {
            let position = lane.position;
            *lane = Queue {
                position,
                ..Queue::default()
            };
        }
    }

    /// A lane sent its next entries.
    pub fn push(&mut self, lane: usize, chunk: Chunk, stream: &mut Stream) {
        self.lanes[lane].chunks.push_back(chunk);
        debug_assert!(self.ready.is_empty());
        self.ready.push(lane);
        while let Some(lane) = self.ready.pop() {
            self.drain(lane, stream);
        }
    }

    /// Merges a lane up to a transaction that others have not come to.
    fn drain(&mut self, lane: usize, stream: &mut Stream) {
        loop {
            let queue = &mut self.lanes[lane];
            if queue.blocked {
                return;
            }
            let Some(chunk) = queue.chunks.front() else {
                return;
            };
            let Some(head) = chunk.heads.get(queue.head).copied() else {
                queue.chunks.pop_front();
                (queue.head, queue.at) = (0, 0);
                continue;
            };
            match head.mark {
                Mark::Entry => {
                    queue.head += 1;
                    let start = queue.at;
                    queue.at += head.len as usize;
                    queue.position += 1;
                    select(stream, &mut self.db, head.db);
                    stream.append(&chunk.bytes[start..queue.at]);
                }
                Mark::Unit(count) => {
                    queue.head += 1;
                    let mut entries = Vec::new();
                    take_entries(queue, count, &mut entries);
                    emit(&self.lanes, &mut self.db, stream, &entries, lane);
                }
                Mark::Part(txn, _) => {
                    self.lanes[lane].blocked = true;
                    let meeting = self.meetings.get_mut(&txn);
                    let meeting = meeting.expect("a transaction is ordered before its parts come");
                    meeting.met.push(lane as u16);
                    if meeting.met.len() == meeting.parts as usize {
                        self.leave_together(txn, stream);
                    }
                    return;
                }
            }
        }
    }

    /// All lanes have come to a transaction: its parts leave, and the lanes can go on.
    fn leave_together(&mut self, txn: TxnId, stream: &mut Stream) {
        let Some(meeting) = self.meetings.remove(&txn) else {
            return;
        };
        let mut entries: Vec<(usize, Place)> = Vec::new();
        for &lane in &meeting.met {
            let queue = &mut self.lanes[lane as usize];
            queue.blocked = false;
            let chunk = queue.chunks.front().expect("the lane stands at its part");
            let Mark::Part(_, count) = chunk.heads[queue.head].mark else {
                unreachable!("the lane stands at its part");
            };
            queue.head += 1;
            let mut own = Vec::new();
            take_entries(queue, count, &mut own);
            entries.extend(own.into_iter().map(|place| (lane as usize, place)));
        }
        entries.sort_by_key(|(_, place)| place.step);
        let several = entries.len() > 1;
        if several {
            stream.append(MULTI);
        }
        for (lane, place) in &entries {
            select(stream, &mut self.db, place.db);
            stream.append(place.bytes(&self.lanes[*lane]));
        }
        if several {
            stream.append(EXEC);
        }
        self.ready.extend(meeting.met.into_iter().map(usize::from));
    }
}

/// Where an entry lies in the first chunk of its lane.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    len: usize,
    db: u16,
    step: LogStep,
}

impl Place {
    fn bytes<'a>(&self, queue: &'a Queue) -> &'a [u8] {
        let chunk = queue
            .chunks
            .front()
            .expect("entries lie in the first chunk");
        &chunk.bytes[self.start..self.start + self.len]
    }
}

/// Takes the next `count` entries of a lane, which lie in one chunk. Their bytes stay where they are until the lane goes on.
fn take_entries(queue: &mut Queue, count: u32, places: &mut Vec<Place>) {
    let chunk = queue
        .chunks
        .front()
        .expect("a mark is not the end of its chunk");
    for _ in 0..count {
        let head = chunk.heads[queue.head];
        debug_assert_eq!(head.mark, Mark::Entry);
        queue.head += 1;
        places.push(Place {
            start: queue.at,
            len: head.len as usize,
            db: head.db,
            step: head.step,
        });
        queue.at += head.len as usize;
        queue.position += 1;
    }
}

fn emit(
    lanes: &[Queue],
    db: &mut Option<u16>,
    stream: &mut Stream,
    entries: &[Place],
    lane: usize,
) {
    stream.append(MULTI);
    for place in entries {
        select(stream, db, place.db);
        stream.append(place.bytes(&lanes[lane]));
    }
    stream.append(EXEC);
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Appends a `SELECT` when the entry that follows is of another database than the one before.
fn select(stream: &mut Stream, selected: &mut Option<u16>, db: u16) {
    if db == NO_DB || *selected == Some(db) {
        return;
    }
    *selected = Some(db);
    let mut digits = itoa::Buffer::new();
    let db = digits.format(db);
    stream.append(b"*2\r\n$6\r\nSELECT\r\n$");
    stream.append(itoa::Buffer::new().format(db.len()).as_bytes());
    stream.append(b"\r\n");
    stream.append(db.as_bytes());
    stream.append(b"\r\n");
}
