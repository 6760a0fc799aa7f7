//! Random lines, and what the tests must know of them: keys, shards, whether they change data.

use shardine::base::random::Random;
use shardine::command::{Registered, Run, Spread, flag};
use shardine::resp::{Line, Span};

/// A line's arguments.
pub type Args = Vec<Vec<u8>>;

/// The arguments of a line in words.
pub fn args(line: &str) -> Args {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// Makes lines that the model knows, over few keys, each with values that no other line has.
pub struct LineMaker {
    pub random: Random,
    keys: usize,
    /// Values so long that they travel apart from their lines.
    large: bool,
    serial: usize,
}

impl LineMaker {
    pub fn new(seed: u64) -> LineMaker {
        let mut random = Random::new(seed);
        LineMaker {
            keys: 2 + random.index(6),
            large: random.one_in(8),
            random,
            serial: 0,
        }
    }

    /// All keys that lines are about.
    pub fn all_keys(&self) -> Vec<String> {
        (0..self.keys).map(|at| format!("key{at}")).collect()
    }

    fn key(&mut self) -> String {
        format!("key{}", self.random.index(self.keys))
    }

    /// Some keys with a blank between; a key may come twice.
    fn some_keys(&mut self) -> String {
        let count = 1 + self.random.index(self.keys.min(4));
        let keys: Vec<String> = (0..count).map(|_| self.key()).collect();
        keys.join(" ")
    }

    /// Some different keys.
    fn different_keys(&mut self) -> Vec<String> {
        let mut keys = self.all_keys();
        self.random.shuffle(&mut keys);
        keys.truncate(1 + self.random.index(keys.len()));
        keys
    }

    /// A value that was never used before: a number or a text.
    fn value(&mut self) -> String {
        self.serial += 1;
        match self.random.index(8) {
            0..=2 => format!("{}", self.serial * 100),
            3 if self.large => format!("{}-{}", "x".repeat(17_000), self.serial),
            _ => format!("<{}>", self.serial),
        }
    }

    fn pairs(&mut self) -> String {
        let keys = self.different_keys();
        let value = self.value();
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key} {value}")).collect();
        pairs.join(" ")
    }

    /// A line that the model knows, for a client on the database `db` (0 or 1).
    pub fn known(&mut self, db: usize) -> Args {
        let other_db = 1 - db;
        let line = match self.random.index(60) {
            0..=5 => format!("GET {}", self.key()),
            6..=9 => format!("SET {} {}", self.key(), self.value()),
            10 => format!("SET {} {} NX GET", self.key(), self.value()),
            11 => format!("SET {} {} XX KEEPTTL", self.key(), self.value()),
            12..=14 => format!("INCR {}", self.key()),
            15 => format!("INCRBY {} {}", self.key(), self.random.below(1000)),
            16..=18 => format!("APPEND {} {}", self.key(), self.value()),
            19 => format!("GETSET {} {}", self.key(), self.value()),
            20 => format!("GETDEL {}", self.key()),
            21 => format!("SETRANGE {} 2 {}", self.key(), self.value()),
            22 => format!("STRLEN {}", self.key()),
            23 => format!("SETNX {} {}", self.key(), self.value()),
            24 => {
                self.serial += 1;
                let end_ms = 2_000_000_000_000 + self.serial;
                format!("PEXPIREAT {} {end_ms}", self.key())
            }
            25 => format!("PEXPIRETIME {}", self.key()),
            26 => format!("PERSIST {}", self.key()),
            27 => format!("EXPIRE {} -1", self.key()),
            28 => format!("SETBIT {} {} 1", self.key(), self.random.below(64)),
            29 => format!("MOVE {} {other_db}", self.key()),
            30..=35 => format!("MGET {}", self.some_keys()),
            36..=40 => format!("MSET {}", self.pairs()),
            41 | 42 => format!("MSETNX {}", self.pairs()),
            43 | 44 => format!("DEL {}", self.some_keys()),
            45 => format!("EXISTS {}", self.some_keys()),
            46 | 47 => format!("RENAME {} {}", self.key(), self.key()),
            48 => format!("RENAMENX {} {}", self.key(), self.key()),
            49 => format!("COPY {} {} REPLACE", self.key(), self.key()),
            50 => format!("COPY {} {}", self.key(), self.key()),
            51 => format!("COPY {} {} DB {other_db} REPLACE", self.key(), self.key()),
            52 => {
                let how = ["AND", "OR", "XOR"][self.random.index(3)];
                format!("BITOP {how} {} {}", self.key(), self.some_keys())
            }
            53 => format!("BITOP NOT {} {}", self.key(), self.key()),
            // Its time is the product of the lengths.
            54 if !self.large => format!("LCS {} {} LEN", self.key(), self.key()),
            55 => "DBSIZE".into(),
            56 => "KEYS *".into(),
            57 => "SWAPDB 0 1".into(),
            58 if self.random.one_in(2) => "FLUSHDB".into(),
            59 if self.random.one_in(4) => "FLUSHALL".into(),
            _ => format!("TYPE {}", self.key()),
        };
        args(&line)
    }

    /// A line that changes no data and whose reply the model does not know; many of them visit all cores.
    pub fn opaque(&mut self) -> Args {
        let line = match self.random.index(10) {
            0 => "INFO everything",
            1 => "CLIENT LIST",
            2 => "CONFIG GET *",
            3 => "SCAN 0 COUNT 100",
            4 => "SLOWLOG GET",
            5 => "RANDOMKEY",
            6 => "MEMORY STATS",
            7 => "COMMAND COUNT",
            8 => "LATENCY HISTOGRAM",
            _ => "CLIENT INFO",
        };
        args(line)
    }
}

/// What a test must know of a line.
pub struct Facts {
    /// The database and the key of each key.
    pub keys: Vec<(usize, Vec<u8>)>,
    /// It changes no data.
    pub reads: bool,
    /// It runs on the shards of its keys; else on the session's core, with visits.
    pub has_shards: bool,
    /// It needs all shards.
    pub whole: bool,
}

/// Finds the facts of a line of a client on the database `db`.
pub fn facts(args: &Args, db: usize) -> Facts {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for arg in args {
        spans.push(Span::inline(bytes.len(), arg.len()));
        bytes.extend_from_slice(arg);
    }
    let line = Line::new(&bytes, &spans, &[]);
    let registry = shardine::admin::registry();
    let id = registry.resolve(&line).expect("a known command");
    let registered: &Registered = registry.get(id);
    let mut found = Vec::new();
    registered.command.find_keys(&line, &mut found);
    let keys = found
        .iter()
        .map(|key| (key.db.unwrap_or(db), args[key.arg].clone()))
        .collect();
    Facts {
        keys,
        reads: !registered.command.has(flag::WRITE),
        has_shards: matches!(registered.command.run, Run::Keys(..)),
        whole: matches!(
            registered.command.run,
            Run::Keys(_, Spread::All(_) | Spread::Route(_))
        ),
    }
}

#[test]
fn a_line_reserves_its_key_in_both_databases_that_it_changes() {
    let key = |db| (db, b"a".to_vec());
    assert_eq!(facts(&args("MOVE a 1"), 0).keys, [key(0), key(1)]);
    assert_eq!(facts(&args("COPY a a DB 3"), 2).keys, [key(2), key(3)]);
    assert_eq!(facts(&args("MOVE a x"), 0).keys, [key(0)]);
}
