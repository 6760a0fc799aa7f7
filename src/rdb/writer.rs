//! Making a file: header, facts, databases, entries that shards encoded, checksum.
//!
//! The writer owns no bytes: it appends to the caller's buffer, which may be sent or written and emptied between any two calls,
//! and keeps the checksum of all that went by.

use super::encode::{Encoder, Version, push_length};
use super::grammar::opcode;
use crate::base::crc::crc64;

/// What a file says of itself. What is `None` is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The version of Redis that the server claims to be.
    pub redis_version: &'a str,
    /// When it was made, seconds since 1970.
    pub created_s: i64,
    /// Memory in use, bytes.
    pub used_memory_bytes: u64,
    /// Where the write log stands: its database, id and offset.
    pub log: Option<LogPosition<'a>>,
    /// The file is the base of an append-only file.
    pub aof_base: bool,
}

/// Where the write log stands at the moment of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition<'a> {
    /// The database that the log's next line belongs to.
    pub db: usize,
    /// 40 hex digits.
    pub id: &'a str,
    /// Bytes of the log that the file holds.
    pub offset: i64,
}

/// See the head of the file.
pub struct Writer {
    encoder: Encoder,
    /// `None` when no checksum is wanted (`rdbchecksum`): the file then ends with zeros.
    checksum: Option<u64>,
}

impl Writer {
    /// A writer for a file of `version`, with or without a checksum.
    pub fn new(version: Version, checksum: bool) -> Writer {
        Writer {
            encoder: Encoder::new(version, false),
            checksum: checksum.then_some(0),
        }
    }

    /// Appends the header and the facts.
    pub fn begin(&mut self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        let version = self.encoder.version().number();
        out.extend_from_slice(format!("REDIS{version:04}").as_bytes());
        self.fact("redis-ver", facts.redis_version, out);
        self.fact("redis-bits", "64", out);
        self.fact("ctime", &facts.created_s.to_string(), out);
        self.fact("used-mem", &facts.used_memory_bytes.to_string(), out);
        if let Some(log) = facts.log {
            self.fact("repl-stream-db", &log.db.to_string(), out);
            self.fact("repl-id", log.id, out);
            self.fact("repl-offset", &log.offset.to_string(), out);
        }
        self.fact("aof-base", if facts.aof_base { "1" } else { "0" }, out);
        self.passed(&out[from..]);
    }

    /// Appends the source of a function library.
    pub fn function(&mut self, code: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.push(opcode::FUNCTION);
        self.encoder.string(code, out);
        self.passed(&out[from..]);
    }

    /// Appends that the entries from here on belong to database `db`, which has about `keys` keys, `expiries` of them with an
    /// expiry.
    pub fn select(&mut self, db: usize, keys: u64, expiries: u64, out: &mut Vec<u8>) {
        let from = out.len();
        out.push(opcode::SELECT_DB);
        push_length(db as u64, out);
        out.push(opcode::RESIZE_DB);
        push_length(keys, out);
        push_length(expiries, out);
        self.passed(&out[from..]);
    }

    /// Takes note of bytes that belong to the file and that others made: entries.
    pub fn passed(&mut self, bytes: &[u8]) {
        if let Some(checksum) = &mut self.checksum {
            *checksum = crc64(*checksum, bytes);
        }
    }

    /// Appends the end.
    pub fn end(mut self, out: &mut Vec<u8>) {
        out.push(opcode::END);
        self.passed(&[opcode::END]);
        out.extend(self.checksum.unwrap_or(0).to_le_bytes());
    }

    fn fact(&mut self, key: &str, value: &str, out: &mut Vec<u8>) {
        out.push(opcode::AUX);
        self.encoder.string(key.as_bytes(), out);
        self.encoder.string(value.as_bytes(), out);
    }
}
