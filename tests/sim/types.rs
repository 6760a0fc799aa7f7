//! Random lines over all types, few keys and few elements, so that wrong types, emptied keys and changes of form are common.

use shardine::base::random::Random;
use shardine::config::Config;

use super::lines::{Args, args};

/// Makes lines about all types. None depends on another maker's numbers: a seed gives the same lines again.
pub struct TypeMaker {
    pub random: Random,
    keys: usize,
    serial: usize,
    /// One in so many lines is about a key of any type.
    strange_one_in: u64,
}

/// The kinds that keys have by their names, so that most lines meet a key of their type.
const KINDS: [&str; 8] = ["s", "l", "h", "t", "z", "x", "p", "g"];

/// A configuration whose collections, in one of two seeds, leave their small forms early.
pub fn config(seed: u64) -> Config {
    let mut text = String::from("enable-debug-command yes\n");
    if seed % 2 == 1 {
        for (name, value) in [
            ("hash-max-listpack-entries", 3),
            ("hash-max-listpack-value", 8),
            ("list-max-listpack-size", 3),
            ("set-max-intset-entries", 3),
            ("set-max-listpack-entries", 5),
            ("set-max-listpack-value", 8),
            ("zset-max-listpack-entries", 3),
            ("zset-max-listpack-value", 8),
            ("stream-node-max-entries", 3),
        ] {
            text.push_str(&format!("{name} {value}\n"));
        }
    }
    let mut config = Config::default();
    shardine::config::parse_file(&text, "test", &mut config, &mut |_| Ok(Vec::new()))
        .expect("parameters");
    config
}

impl TypeMaker {
    pub fn new(seed: u64) -> TypeMaker {
        let mut random = Random::new(seed ^ 0x7e9e);
        TypeMaker {
            keys: 1 + random.index(3),
            strange_one_in: [3, 10, 40][random.index(3)],
            random,
            serial: 0,
        }
    }

    /// A key of the kind, or now and then of any.
    fn key(&mut self, kind: &str) -> String {
        let strange = self.random.below(self.strange_one_in) == 0;
        let kind = if strange { self.one(&KINDS) } else { kind };
        let number = self.random.index(self.keys);
        if number == 1 {
            format!("{{tag}}{kind}{number}")
        } else {
            format!("{kind}{number}")
        }
    }

    fn keys(&mut self, kind: &str) -> String {
        let count = 1 + self.random.index(3);
        let keys: Vec<String> = (0..count).map(|_| self.key(kind)).collect();
        keys.join(" ")
    }

    /// Keys with their number in front.
    fn counted(&mut self, kind: &str) -> String {
        let keys = self.keys(kind);
        format!("{} {keys}", keys.split(' ').count())
    }

    fn any(&mut self) -> String {
        let kind = self.one(&KINDS);
        self.key(kind)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.index(of.len())]
    }

    /// An element that others are likely to use as well: a small number or a short or long word.
    fn element(&mut self) -> String {
        match self.random.index(8) {
            0..4 => format!("{}", self.random.index(12)),
            4..7 => format!("w{}", self.random.index(8)),
            _ => format!("longer-than-small-forms-hold-{}", self.random.index(4)),
        }
    }

    fn elements(&mut self) -> String {
        let count = 1 + self.random.index(5);
        let elements: Vec<String> = (0..count).map(|_| self.element()).collect();
        elements.join(" ")
    }

    /// Texts of the two makers side by side, some times over.
    fn pairs(&mut self, first: fn(&mut Self) -> String) -> String {
        let count = 1 + self.random.index(4);
        let pairs: Vec<String> = (0..count)
            .map(|_| format!("{} {}", first(self), self.element()))
            .collect();
        pairs.join(" ")
    }

    fn score(&mut self) -> String {
        let odd = ["inf", "-inf", "0.1", "-0", "1e300", "2.5"];
        if self.random.one_in(5) {
            self.one(&odd).into()
        } else {
            format!("{}", self.random.index(9))
        }
    }

    fn place(&mut self) -> String {
        let degrees = self.random.index(6);
        format!("1{degrees}.3613 3{degrees}.1155")
    }

    /// A number about the ends of a short collection.
    fn index(&mut self) -> i64 {
        self.random.index(9) as i64 - 4
    }

    fn count(&mut self) -> usize {
        self.random.index(4)
    }

    fn end(&mut self) -> &'static str {
        self.one(&["LEFT", "RIGHT"])
    }

    fn timeout(&mut self) -> &'static str {
        self.one(&["0.01", "0.05", "0.3"])
    }

    /// Milliseconds that pass in a run, or do not.
    fn ms(&mut self) -> &'static str {
        self.one(&["1", "60", "400", "100000"])
    }

    fn id(&mut self) -> String {
        format!("{}-{}", 1 + self.random.index(30), self.random.index(3))
    }

    /// The next id of all streams of a run.
    fn next_id(&mut self) -> String {
        self.serial += 1;
        format!("{}-*", self.serial)
    }

    fn group(&mut self) -> &'static str {
        self.one(&["g1", "g2"])
    }

    fn consumer(&mut self) -> &'static str {
        self.one(&["c1", "c2", "c3"])
    }

    /// A line of a client on the database `db` (0 or 1), which may wait if `waits`.
    pub fn line(&mut self, db: usize, waits: bool) -> Args {
        let text = match self.random.index(12) {
            0 => self.string(),
            1 | 2 => self.list(waits),
            3 | 4 => self.hash(),
            5 => self.set(),
            6 | 7 => self.sorted_set(waits),
            8 | 9 => self.stream(waits),
            10 => self.sketch_or_place(),
            _ => self.generic(1 - db),
        };
        args(&text)
    }

    fn string(&mut self) -> String {
        let key = self.key("s");
        match self.random.index(12) {
            0 => format!("SET {key} {} PX {}", self.element(), self.ms()),
            1 => format!("SET {key} {} GET KEEPTTL", self.element()),
            2 => format!("INCRBYFLOAT {key} 1.1"),
            3 => format!("APPEND {key} {}", self.element()),
            4 => format!("GETEX {key} PX {}", self.ms()),
            5 => format!("GETEX {key} PERSIST"),
            6 => format!("SETRANGE {key} {} {}", self.count(), self.element()),
            7 => format!(
                "BITFIELD {key} INCRBY u8 {} 200 OVERFLOW FAIL SET i5 0 9",
                self.count()
            ),
            8 => format!(
                "MSET {key} {} {} {}",
                self.element(),
                self.key("s"),
                self.element()
            ),
            9 => format!("BITOP XOR {key} {}", self.keys("s")),
            10 => format!("GETDEL {key}"),
            _ => format!("INCR {key}"),
        }
    }

    fn list(&mut self, waits: bool) -> String {
        let key = self.key("l");
        match self.random.index(if waits { 20 } else { 14 }) {
            0..3 => format!("RPUSH {key} {}", self.elements()),
            3 => format!("LPUSH {key} {}", self.elements()),
            4 => format!(
                "{} {key} {}",
                self.one(&["LPUSHX", "RPUSHX"]),
                self.elements()
            ),
            5 => format!("{} {key}", self.one(&["LPOP", "RPOP"])),
            6 => format!("{} {key} {}", self.one(&["LPOP", "RPOP"]), self.count()),
            7 => {
                let side = self.one(&["BEFORE", "AFTER"]);
                format!("LINSERT {key} {side} {} {}", self.element(), self.element())
            }
            8 => format!("LREM {key} {} {}", self.index(), self.element()),
            9 => format!("LSET {key} {} {}", self.index(), self.element()),
            10 => format!("LTRIM {key} {} {}", self.index(), self.index()),
            11 => format!(
                "LMOVE {key} {} {} {}",
                self.key("l"),
                self.end(),
                self.end()
            ),
            12 => format!(
                "LMPOP {} {} COUNT {}",
                self.counted("l"),
                self.end(),
                1 + self.count()
            ),
            13 => format!("RPOPLPUSH {key} {}", self.key("l")),
            14 | 15 => {
                let name = self.one(&["BLPOP", "BRPOP"]);
                format!("{name} {} {}", self.keys("l"), self.timeout())
            }
            16 | 17 => {
                let (to, timeout) = (self.key("l"), self.timeout());
                format!("BLMOVE {key} {to} {} {} {timeout}", self.end(), self.end())
            }
            18 => format!("BRPOPLPUSH {key} {} {}", self.key("l"), self.timeout()),
            _ => format!(
                "BLMPOP {} {} {} COUNT 2",
                self.timeout(),
                self.counted("l"),
                self.end()
            ),
        }
    }

    fn hash(&mut self) -> String {
        let key = self.key("h");
        match self.random.index(17) {
            0..3 => format!("HSET {key} {}", self.pairs(Self::element)),
            3 => format!("HDEL {key} {}", self.elements()),
            4 => format!("HSETNX {key} {} {}", self.element(), self.element()),
            5 => format!("HINCRBY {key} {} {}", self.element(), self.index()),
            6 => format!("HINCRBYFLOAT {key} {} 0.1", self.element()),
            7..10 => {
                let how = self.one(&["", " NX", " XX", " GT", " LT"]);
                format!(
                    "HPEXPIRE {key} {}{how} FIELDS 2 {} {}",
                    self.ms(),
                    self.element(),
                    self.element()
                )
            }
            10 => format!("HPERSIST {key} FIELDS 1 {}", self.element()),
            11 => format!(
                "HGETDEL {key} FIELDS 2 {} {}",
                self.element(),
                self.element()
            ),
            12 => format!(
                "HGETEX {key} PX {} FIELDS 2 {} {}",
                self.ms(),
                self.element(),
                self.element()
            ),
            13 => {
                let how = self.one(&["", "FNX ", "FXX "]);
                format!(
                    "HSETEX {key} {how}PX {} FIELDS 1 {} {}",
                    self.ms(),
                    self.element(),
                    self.element()
                )
            }
            14 => format!(
                "HSETEX {key} KEEPTTL FIELDS 1 {} {}",
                self.element(),
                self.element()
            ),
            15 => format!("HEXPIRE {key} 0 FIELDS 1 {}", self.element()),
            _ => format!("HGETALL {key}"),
        }
    }

    fn set(&mut self) -> String {
        let key = self.key("t");
        match self.random.index(11) {
            0..4 => format!("SADD {key} {}", self.elements()),
            4 => format!("SREM {key} {}", self.elements()),
            5 => format!("SPOP {key}"),
            6 => format!("SPOP {key} {}", self.count()),
            7 => format!("SMOVE {key} {} {}", self.key("t"), self.element()),
            8 => format!("SRANDMEMBER {key} {}", self.index()),
            _ => {
                let name = self.one(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                format!("{name} {key} {}", self.keys("t"))
            }
        }
    }

    fn sorted_set(&mut self, waits: bool) -> String {
        let key = self.key("z");
        match self.random.index(if waits { 18 } else { 15 }) {
            0..4 => format!("ZADD {key} {}", self.pairs(Self::score)),
            4 => {
                let how = self.one(&["NX", "XX", "GT", "LT", "XX GT CH"]);
                format!("ZADD {key} {how} {}", self.pairs(Self::score))
            }
            5 => format!("ZADD {key} INCR {} {}", self.score(), self.element()),
            6 => format!("ZINCRBY {key} {} {}", self.score(), self.element()),
            7 => format!("ZREM {key} {}", self.elements()),
            8 => format!(
                "{} {key} {}",
                self.one(&["ZPOPMIN", "ZPOPMAX"]),
                self.count()
            ),
            9 => format!(
                "ZMPOP {} {} COUNT 2",
                self.counted("z"),
                self.one(&["MIN", "MAX"])
            ),
            10 => format!("ZREMRANGEBYRANK {key} {} {}", self.index(), self.index()),
            11 => format!("ZREMRANGEBYSCORE {key} ({} {}", self.score(), self.score()),
            // Among members of different scores only the whole is the same range in every form of a set.
            12 => format!("ZREMRANGEBYLEX {key} - +"),
            13 => format!(
                "ZRANGESTORE {key} {} {} {}",
                self.key("z"),
                self.index(),
                self.index()
            ),
            14 => {
                let kind = self.one(&["z", "z", "t"]);
                let from = self.counted(kind);
                match self.one(&["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]) {
                    "ZDIFFSTORE" => format!("ZDIFFSTORE {key} {from}"),
                    name => {
                        let how = self.one(&["SUM", "MIN", "MAX"]);
                        format!("{name} {key} {from} AGGREGATE {how}")
                    }
                }
            }
            15 | 16 => {
                let name = self.one(&["BZPOPMIN", "BZPOPMAX"]);
                format!("{name} {} {}", self.keys("z"), self.timeout())
            }
            _ => format!(
                "BZMPOP {} {} MIN COUNT 2",
                self.timeout(),
                self.counted("z")
            ),
        }
    }

    fn stream(&mut self, waits: bool) -> String {
        let key = self.key("x");
        let (group, consumer) = (self.group(), self.consumer());
        match self.random.index(26) {
            0..4 => format!(
                "XADD {key} {} {}",
                self.next_id(),
                self.pairs(Self::element)
            ),
            4 if self.random.one_in(8) => format!("XADD {key} * {}", self.pairs(Self::element)),
            5 => {
                let how = self.one(&["MAXLEN 3", "MAXLEN ~ 3", "MINID = 9", "MAXLEN ~ 2 LIMIT 3"]);
                format!(
                    "XADD {key} {how} {} {}",
                    self.next_id(),
                    self.pairs(Self::element)
                )
            }
            6 => format!("XADD {key} NOMKSTREAM {} a b", self.next_id()),
            7 => format!("XDEL {key} {} {}", self.id(), self.id()),
            8 => format!(
                "XTRIM {key} {}",
                self.one(&["MAXLEN 2", "MAXLEN ~ 2", "MINID 7", "MAXLEN = 0"])
            ),
            9..12 => {
                let from = self.one(&["0", "$", "5"]);
                format!("XGROUP CREATE {key} {group} {from} MKSTREAM")
            }
            12 => format!(
                "XGROUP SETID {key} {group} {} ENTRIESREAD {}",
                self.id(),
                self.count()
            ),
            13 => format!("XGROUP CREATECONSUMER {key} {group} {consumer}"),
            14 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            15 if self.random.one_in(3) => format!("XGROUP DESTROY {key} {group}"),
            16 => format!("XACK {key} {group} {} {}", self.id(), self.id()),
            17 => {
                let how = self.one(&["", " JUSTID", " FORCE", " RETRYCOUNT 7", " IDLE 5 FORCE"]);
                format!(
                    "XCLAIM {key} {group} {consumer} 0 {} {}{how}",
                    self.id(),
                    self.id()
                )
            }
            18 => {
                let how = self.one(&["", " JUSTID", " COUNT 2"]);
                format!(
                    "XAUTOCLAIM {key} {group} {consumer} {} 0{how}",
                    self.count()
                )
            }
            19 => format!("XSETID {key} {}-5", 100 + self.random.index(5)),
            20..22 if waits => {
                let ms = self.one(&["5", "60"]);
                format!("XREADGROUP GROUP {group} {consumer} BLOCK {ms} STREAMS {key} >")
            }
            22 => format!("XREADGROUP GROUP {group} {consumer} STREAMS {key} 0"),
            23 => format!("XREADGROUP GROUP {group} {consumer} NOACK STREAMS {key} >"),
            24 => {
                let other = self.key("x");
                format!("XREADGROUP GROUP {group} {consumer} COUNT 2 STREAMS {key} {other} > >")
            }
            _ => format!("XREADGROUP GROUP {group} {consumer} COUNT 2 STREAMS {key} >"),
        }
    }

    fn sketch_or_place(&mut self) -> String {
        match self.random.index(8) {
            0..2 => format!("PFADD {} {}", self.key("p"), self.elements()),
            2 => format!("PFMERGE {}", self.keys("p")),
            3 => format!("PFCOUNT {}", self.keys("p")),
            4..6 => format!(
                "GEOADD {} {} {}",
                self.key("g"),
                self.place(),
                self.element()
            ),
            6 => {
                let (to, from) = (self.key("g"), self.key("g"));
                let how = self.one(&["", " STOREDIST", " COUNT 1", " COUNT 1 ANY"]);
                format!(
                    "GEOSEARCHSTORE {to} {from} FROMLONLAT {} BYRADIUS 300 km{how}",
                    self.place()
                )
            }
            _ => {
                let how = self.one(&["STORE", "STOREDIST"]);
                format!(
                    "GEORADIUS {} {} 300 km {how} {}",
                    self.key("g"),
                    self.place(),
                    self.key("g")
                )
            }
        }
    }

    fn generic(&mut self, other_db: usize) -> String {
        let key = self.any();
        match self.random.index(20) {
            0 => format!("DEL {}", self.any()),
            1 => format!("UNLINK {key} {}", self.any()),
            2 => format!("RENAME {key} {}", self.any()),
            3 => format!("RENAMENX {key} {}", self.any()),
            4 => format!("COPY {key} {} REPLACE", self.any()),
            5 => format!("COPY {key} {} DB {other_db} REPLACE", self.any()),
            6 => format!("MOVE {key} {other_db}"),
            7..10 => format!("PEXPIRE {key} {}", self.ms()),
            10 => format!(
                "PEXPIRE {key} {} {}",
                self.ms(),
                self.one(&["NX", "XX", "GT", "LT"])
            ),
            11 => format!("PERSIST {key}"),
            12 => format!("EXPIRE {key} -1"),
            13..16 => {
                let kind = self.one(&["l", "t", "z"]);
                let from = self.key(kind);
                let how = self.one(&["", " LIMIT 1 2", " DESC", " BY nosort", " GET # GET s*"]);
                format!("SORT {from}{how} ALPHA STORE {}", self.key("l"))
            }
            16 => "SWAPDB 0 1".into(),
            17 if self.random.one_in(6) => self.one(&["FLUSHDB", "FLUSHALL"]).into(),
            18 => format!("TOUCH {key}"),
            _ => format!("TYPE {key}"),
        }
    }
}
