//! Reading a file that arrives in pieces.
//!
//! ```text
//!   feed ──▶ buffer ──▶ scan (where does the record end?) ──▶ decode ──▶ next
//! ```
//!
//! Memory is that of the record under way, the bytes fed since, and of what was handed out. A record is decoded when all
//! of its bytes are there; how far it was scanned is remembered, so that the work is linear in the bytes however they are cut.

use super::VERSION_READ_MAX;
use super::cursor::Cursor;
use super::decode::{self, Limits};
use super::error::{Error, Problem};
use super::grammar::{is_value, opcode};
use super::scan::Scan;
use crate::base::crc::crc64;
use crate::keyspace::{OwnedEntry, Usage};

const SIGNATURE: &[u8] = b"REDIS";
const HEADER_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 8;
/// Files of earlier versions end without a checksum.
const VERSION_WITH_CHECKSUM: u32 = 5;
/// What was read is cut off the buffer when it is this much, and more than what is left.
const CUT_BYTES_MIN: usize = 64 * 1024;

/// A buffer larger than this is not kept for good.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// What a file holds.
#[derive(Debug)]
pub enum Item {
    /// The file begins.
    Header {
        /// Of the format.
        version: u32,
    },
    /// A fact.
    Aux {
        /// Its name.
        key: Vec<u8>,
        /// What it is.
        value: Vec<u8>,
    },
    /// Entries of a database follow.
    SelectDb(usize),
    /// How many keys the database has: a hint, which may be wrong.
    ResizeDb {
        /// All keys.
        keys: u64,
        /// Keys with an expiry.
        expiries: u64,
    },
    /// A key with its value and expiry. Its access clock is zero.
    Key {
        /// The database.
        db: usize,
        /// Key, value and expiry.
        entry: OwnedEntry,
        /// When it was used.
        usage: Usage,
    },
    /// The source of a function library.
    Function(Vec<u8>),
    /// Data of a module that no key holds: passed over.
    ModuleAux {
        /// The module's type, nine characters.
        name: String,
    },
    /// The end.
    End {
        /// There was a checksum and it was right; false when the file has none.
        checked: bool,
    },
}

/// Where the reader is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Records,
    Checksum,
    End,
}

/// See the head of the file.
pub struct Reader {
    limits: Limits,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    at: usize,
    /// How much of the buffer is in the checksum.
    checked: usize,
    /// Where the buffer begins in the file.
    origin: u64,
    checksum: u64,
    /// The checksum is compared (`rdbchecksum`).
    check: bool,
    version: u32,
    stage: Stage,
    scan: Scan,
    db: usize,
    expiry: Option<i64>,
    usage: Usage,
    empty_keys: u64,
}

impl Reader {
    /// At the start of a file; `check` compares the checksum at its end, unless the file has none. Collections get the form
    /// that `limits` say.
    pub fn new(check: bool, limits: Limits) -> Reader {
        Reader {
            limits,
            buffer: Vec::new(),
            at: 0,
            checked: 0,
            origin: 0,
            checksum: 0,
            check,
            version: 0,
            stage: Stage::Header,
            scan: Scan::default(),
            db: 0,
            expiry: None,
            usage: Usage::Unknown,
            empty_keys: 0,
        }
    }

    /// Takes the next bytes of the file. All items that are whole should be taken out before: the reader keeps what is fed.
    pub fn feed(&mut self, bytes: &[u8]) {
        let unread = self.buffer.len() - self.at;
        if self.at >= CUT_BYTES_MIN && self.at >= unread || unread == 0 {
            self.sum_up();
            self.buffer.drain(..self.at);
            self.origin += self.at as u64;
            self.at = 0;
            self.checked = 0;
            // A large value needed more than what comes now does.
            self.buffer
                .shrink_to(BUFFER_BYTES_KEPT.max(2 * self.buffer.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, `None` when more bytes are needed for it, or after the end. An error is for good.
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        match self.stage {
            Stage::Header => self.header(),
            Stage::Records => self.record(),
            Stage::Checksum => self.end(),
            Stage::End => Ok(None),
        }
    }

    /// The file has ended: an error when bytes are missing.
    pub fn finish(&self) -> Result<(), Error> {
        match self.stage {
            Stage::End => Ok(()),
            _ => Err(Error {
                offset: self.origin + self.buffer.len() as u64,
                problem: Problem::CutShort,
            }),
        }
    }

    /// The end was read.
    pub fn is_at_end(&self) -> bool {
        self.stage == Stage::End
    }

    /// Bytes that were fed and not read: after the end, what follows the file.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.origin + self.at as u64
    }

    /// Keys with empty collections, which were passed over.
    pub fn empty_keys(&self) -> u64 {
        self.empty_keys
    }

    fn error(&self, problem: Problem) -> Error {
        Error {
            offset: self.offset(),
            problem,
        }
    }

    /// Brings the checksum up to what was read.
    fn sum_up(&mut self) {
        if self.check {
            self.checksum = crc64(self.checksum, &self.buffer[self.checked..self.at]);
        }
        self.checked = self.at;
    }

    fn header(&mut self) -> Result<Option<Item>, Error> {
        let there = self.unread();
        let compared = there.len().min(SIGNATURE.len());
        if there[..compared] != SIGNATURE[..compared] {
            return Err(self.error(Problem::NotRdb));
        }
        let Some(header) = there.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let digits = &header[SIGNATURE.len()..];
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(self.error(Problem::NotRdb));
        }
        let version = digits
            .iter()
            .fold(0, |version, digit| version * 10 + u32::from(digit - b'0'));
        if !(1..=VERSION_READ_MAX).contains(&version) {
            return Err(self.error(Problem::Version(version)));
        }
        self.version = version;
        self.at += HEADER_BYTES;
        self.stage = Stage::Records;
        Ok(Some(Item::Header { version }))
    }

    fn record(&mut self) -> Result<Option<Item>, Error> {
        loop {
            let length = match self.scan.run(&self.buffer[self.at..]) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(None),
                Err(problem) => {
                    return Err(Error {
                        offset: self.offset() + self.scan.at(),
                        problem,
                    });
                }
            };
            let start = self.at;
            // An error leaves the reader where it is: it says the same again.
            let item = self.decode(start, start + length)?;
            self.at = start + length;
            match item {
                Some(item) => return Ok(Some(item)),
                None if self.stage == Stage::Records => {}
                None => return self.end(),
            }
        }
    }

    /// Decodes the record from `start` to `end` in the buffer; `None` for those that only prepare the next.
    fn decode(&mut self, start: usize, end: usize) -> Result<Option<Item>, Error> {
        let record = &self.buffer[start..end];
        let mut cursor = Cursor::new(record, self.origin + start as u64);
        let first = cursor.byte()?;
        if is_value(first) {
            let key = cursor.text()?.into_bytes();
            let decoded = decode::entry(first, &key, self.expiry, &mut cursor, &self.limits);
            let entry = match decoded {
                Err(error) if matches!(error.problem, Problem::Empty(_)) => None,
                decoded => Some(decoded?),
            };
            self.expiry = None;
            let usage = std::mem::take(&mut self.usage);
            let Some(entry) = entry else {
                self.empty_keys += 1;
                return Ok(None);
            };
            return Ok(Some(Item::Key {
                db: self.db,
                entry,
                usage,
            }));
        }
        Ok(match first {
            opcode::AUX => Some(Item::Aux {
                key: cursor.text()?.into_bytes().into_owned(),
                value: cursor.text()?.into_bytes().into_owned(),
            }),
            opcode::SELECT_DB => {
                let db = cursor.length()?;
                self.db =
                    u32::try_from(db).map_err(|_| cursor.error(Problem::Length(db)))? as usize;
                Some(Item::SelectDb(self.db))
            }
            opcode::RESIZE_DB => Some(Item::ResizeDb {
                keys: cursor.length()?,
                expiries: cursor.length()?,
            }),
            opcode::FUNCTION => Some(Item::Function(cursor.text()?.into_bytes().into_owned())),
            opcode::MODULE_AUX => Some(Item::ModuleAux {
                name: module_name(cursor.length()?),
            }),
            opcode::EXPIRY_MS => {
                self.expiry = Some(cursor.i64_le()?);
                None
            }
            opcode::EXPIRY => {
                let seconds = i32::from_le_bytes(cursor.chunk()?);
                self.expiry = Some(i64::from(seconds) * 1000);
                None
            }
            opcode::IDLE => {
                self.usage = Usage::Idle(cursor.length()?);
                None
            }
            opcode::FREQUENCY => {
                self.usage = Usage::Frequency(cursor.byte()?);
                None
            }
            opcode::END => {
                self.stage = Stage::Checksum;
                None
            }
            // The keys of a cluster's slots are found by themselves.
            _ => None,
        })
    }

    fn end(&mut self) -> Result<Option<Item>, Error> {
        let mut checked = false;
        if self.version >= VERSION_WITH_CHECKSUM {
            self.sum_up();
            let Some(found) = self.unread().first_chunk::<CHECKSUM_BYTES>() else {
                return Ok(None);
            };
            let found = u64::from_le_bytes(*found);
            // Zero says that whoever wrote the file made no checksum.
            checked = self.check && found != 0;
            if checked && found != self.checksum {
                return Err(self.error(Problem::Checksum {
                    expected: self.checksum,
                    found,
                }));
            }
            self.at += CHECKSUM_BYTES;
            self.checked = self.at;
        }
        self.stage = Stage::End;
        Ok(Some(Item::End { checked }))
    }
}

/// The name of a module's type: nine characters of six bits each above ten bits of a version.
fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9)
        .map(|index| char::from(CHARACTERS[(id >> (58 - 6 * index) & 0x3F) as usize]))
        .collect()
}

#[cfg(test)]
mod tests;
