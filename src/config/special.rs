//! The types of parameters that are neither a number, a switch, a choice nor text.

use super::choice::one_of;
use super::quote::{quote, word};
use super::setting::{Lines, Setting, Shape, Source, format_memory, parse_memory};
use crate::base::{double, number};

/// What a termination signal does, as the options of SHUTDOWN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownOptions {
    /// Save first, even without save points.
    pub save: bool,
    /// Do not save, even with save points.
    pub nosave: bool,
    /// Do not wait for followers.
    pub now: bool,
    /// Go even if saving fails.
    pub force: bool,
}

impl Setting for ShutdownOptions {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        let mut options = Self::default();
        let names = ["default", "save", "nosave", "now", "force"];
        if words.is_empty() {
            return Err(one_of(names.into_iter()));
        }
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "default" => {}
                "save" => options.save = true,
                "nosave" => options.nosave = true,
                "now" => options.now = true,
                "force" => options.force = true,
                _ => return Err(one_of(names.into_iter())),
            }
        }
        if options.save && options.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(options)
    }

    fn show(&self, _: &Shape) -> String {
        let names = [
            (self.save, "save"),
            (self.nosave, "nosave"),
            (self.now, "now"),
            (self.force, "force"),
        ];
        let set: Vec<_> = names
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
            .collect();
        if set.is_empty() {
            "default".into()
        } else {
            set.join(" ")
        }
    }

    fn describe(_: &Shape) -> String {
        "any of default, save, nosave, now, force".into()
    }
}

/// The memory that all clients may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientsMemory {
    /// So many bytes; 0 means without limit.
    Bytes(u64),
    /// So many hundredths of `maxmemory`.
    Percent(u8),
}

impl Setting for ClientsMemory {
    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        const BYTES_MAX: u64 = i64::MAX as u64;
        if let Some(bytes) = parse_memory(words[0]) {
            return if bytes <= BYTES_MAX {
                Ok(Self::Bytes(bytes))
            } else {
                Err(format!(
                    "argument must be between -100 and {BYTES_MAX} inclusive"
                ))
            };
        }
        let percent = words[0]
            .strip_suffix('%')
            .and_then(|text| number::parse_i64(text.as_bytes()))
            .filter(|percent| *percent >= 0);
        match percent.ok_or("argument must be a memory or percent value")? {
            // Redis keeps percents as negative bytes, so that its 0% is 0 bytes.
            0 => Ok(Self::Bytes(0)),
            percent @ 1..=100 => Ok(Self::Percent(percent as u8)),
            _ => Err("percentage argument must be less or equal to 100".into()),
        }
    }

    fn show(&self, _: &Shape) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }

    fn lines(&self, default: &Self, shape: &Shape) -> Lines {
        let text = match self {
            Self::Bytes(bytes) => format_memory(*bytes),
            Self::Percent(_) => self.show(shape),
        };
        Lines::one(text, self != default)
    }

    fn describe(_: &Shape) -> String {
        "bytes, or percent of maxmemory".into()
    }
}

/// One condition under which the data are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// So many seconds after the last save …
    pub seconds: u64,
    /// … if at least so many changes were made.
    pub changes: u64,
}

impl Setting for Vec<SavePoint> {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], source: Source) -> Result<Self, String> {
        if words == [""] {
            return Ok(Vec::new());
        }
        let invalid = || "Invalid save parameters".to_string();
        if !words.len().is_multiple_of(2) {
            return Err(invalid());
        }
        let mut points = if source == Source::Further {
            self.clone()
        } else {
            Vec::new()
        };
        for pair in words.chunks_exact(2) {
            let seconds = pair[0]
                .parse::<u64>()
                .ok()
                .filter(|seconds| *seconds >= 1)
                .ok_or_else(invalid)?;
            let changes = pair[1].parse::<u32>().map_err(|_| invalid())?;
            points.push(SavePoint {
                seconds,
                changes: changes.into(),
            });
        }
        Ok(points)
    }

    fn show(&self, _: &Shape) -> String {
        let points: Vec<_> = self
            .iter()
            .map(|point| format!("{} {}", point.seconds, point.changes))
            .collect();
        points.join(" ")
    }

    fn lines(&self, default: &Self, _: &Shape) -> Lines {
        if self.is_empty() {
            return Lines::one("\"\"".into(), self != default);
        }
        let lines = self
            .iter()
            .map(|point| format!("{} {}", point.seconds, point.changes))
            .collect();
        Lines::Together(lines, self != default)
    }

    fn describe(_: &Shape) -> String {
        "pairs of seconds and changes, or \"\"".into()
    }
}

/// How much output one client may leave unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Cut off at once beyond this; 0 means never.
    pub hard_bytes: u64,
    /// Cut off when beyond this for `soft_seconds`; 0 means never.
    pub soft_bytes: u64,
    /// How long the output may stay beyond `soft_bytes`.
    pub soft_seconds: u64,
}

/// The limits of each class of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimits {
    /// Ordinary clients, MONITOR included.
    pub normal: OutputBufferLimit,
    /// Followers.
    pub replica: OutputBufferLimit,
    /// Subscribers.
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    /// The classes with the name that CONFIG GET shows and the one that CONFIG REWRITE writes.
    fn classes(&self) -> [(&'static str, &'static str, OutputBufferLimit); 3] {
        [
            ("normal", "normal", self.normal),
            ("slave", "replica", self.replica),
            ("pubsub", "pubsub", self.pubsub),
        ]
    }
}

impl Default for OutputBufferLimits {
    fn default() -> Self {
        let limit = |hard_mb: u64, soft_mb: u64, soft_seconds| OutputBufferLimit {
            hard_bytes: hard_mb << 20,
            soft_bytes: soft_mb << 20,
            soft_seconds,
        };
        Self {
            normal: limit(0, 0, 0),
            replica: limit(256, 64, 60),
            pubsub: limit(32, 8, 60),
        }
    }
}

impl Setting for OutputBufferLimits {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        let mut limits = *self;
        let words = if words == [""] { &[] } else { words };
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for group in words.chunks_exact(4) {
            let class = match group[0].to_ascii_lowercase().as_str() {
                "normal" => &mut limits.normal,
                "slave" | "replica" => &mut limits.replica,
                "pubsub" => &mut limits.pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    );
                }
            };
            let invalid =
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            *class = OutputBufferLimit {
                hard_bytes: parse_memory(group[1]).ok_or(invalid)?,
                soft_bytes: parse_memory(group[2]).ok_or(invalid)?,
                soft_seconds: group[3].parse::<u32>().map_err(|_| invalid)?.into(),
            };
        }
        Ok(limits)
    }

    fn show(&self, _: &Shape) -> String {
        let classes = self.classes().map(|(name, _, limit)| {
            format!(
                "{name} {} {} {}",
                limit.hard_bytes, limit.soft_bytes, limit.soft_seconds
            )
        });
        classes.join(" ")
    }

    fn lines(&self, default: &Self, _: &Shape) -> Lines {
        let lines = self.classes().into_iter().zip(default.classes()).map(
            |((_, name, limit), (_, _, usual))| {
                let (hard, soft) = (
                    format_memory(limit.hard_bytes),
                    format_memory(limit.soft_bytes),
                );
                (
                    format!("{name} {hard} {soft} {}", limit.soft_seconds),
                    limit != usual,
                )
            },
        );
        Lines::Each(lines.collect())
    }

    fn describe(_: &Shape) -> String {
        "class (normal, replica, pubsub), hard bytes, soft bytes, soft seconds; any number of them"
            .into()
    }
}

/// The scores that the kernel's out-of-memory killer gets for a leader, a follower and a saving child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomScoreAdjValues(pub [i32; 3]);

impl Setting for OomScoreAdjValues {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        let words: [&str; 3] = words.try_into().map_err(|_| "wrong number of arguments")?;
        let mut values = [0; 3];
        for (value, word) in values.iter_mut().zip(words) {
            let number = word
                .parse()
                .ok()
                .filter(|number| (-2000..=2000).contains(number));
            *value = number
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(Self(values))
    }

    fn show(&self, _: &Shape) -> String {
        self.0.map(|value| value.to_string()).join(" ")
    }

    fn describe(_: &Shape) -> String {
        "three integers -2000 to 2000".into()
    }
}

/// The classes of keyspace events that are published, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyspaceEvents(pub u32);

impl KeyspaceEvents {
    /// `K`: publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: u32 = 1 << 0;
    /// `E`: publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: u32 = 1 << 1;
    /// `g`: commands of any type.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const ZSET: u32 = 1 << 7;
    /// `x`: keys that expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: keys that were evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: keys that were asked for and are not there.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `d`: modules.
    pub const MODULE: u32 = 1 << 13;
    /// `n`: new keys.
    pub const NEW: u32 = 1 << 14;
    /// `A`: what `A` stands for, which is all but `m` and `n`.
    pub const ALL: u32 = Self::GENERIC
        | Self::STRING
        | Self::LIST
        | Self::SET
        | Self::HASH
        | Self::ZSET
        | Self::EXPIRED
        | Self::EVICTED
        | Self::STREAM
        | Self::MODULE;

    /// The classes in the order in which they are shown; those that `A` stands for come first.
    const LETTERS: [(char, u32); 14] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
        ('n', Self::NEW),
        ('K', Self::KEYSPACE),
        ('E', Self::KEYEVENT),
        ('m', Self::KEY_MISS),
    ];

    /// Whether any of the classes is published.
    pub fn any(self, classes: u32) -> bool {
        self.0 & classes != 0
    }
}

impl Setting for KeyspaceEvents {
    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        let mut bits = 0;
        for letter in words[0].chars() {
            bits |= match Self::LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, bit)) => *bit,
                None if letter == 'A' => Self::ALL,
                None => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            };
        }
        Ok(Self(bits))
    }

    fn show(&self, _: &Shape) -> String {
        let all = self.0 & Self::ALL == Self::ALL;
        let shown = Self::LETTERS.iter().filter(|(_, bit)| {
            // Redis forgets the `n` beside an `A`, which CONFIG REWRITE would then lose: it comes last here.
            self.0 & bit != 0 && !(all && bit & (Self::ALL | Self::NEW) != 0)
        });
        let mut text: String = all
            .then_some('A')
            .into_iter()
            .chain(shown.map(|(letter, _)| *letter))
            .collect();
        if all && self.any(Self::NEW) {
            text.push('n');
        }
        text
    }

    fn lines(&self, default: &Self, shape: &Shape) -> Lines {
        Lines::one(quote(&self.show(shape)), self != default)
    }

    fn describe(_: &Shape) -> String {
        "letters of KEg$lshzxetdmnA".into()
    }
}

/// The addresses to listen on. A leading `-` means that an address may be missing on this machine.
impl Setting for Vec<String> {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        /// As many as Redis binds at most.
        const ADDRESSES_MAX: usize = 16;
        if words.len() > ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        if words == [""] {
            return Ok(Vec::new());
        }
        Ok(words.iter().map(|word| word.to_string()).collect())
    }

    fn show(&self, _: &Shape) -> String {
        self.join(" ")
    }

    fn lines(&self, default: &Self, _: &Shape) -> Lines {
        if self == default {
            return Lines::Remove;
        }
        let words: Vec<_> = self.iter().map(|address| word(address)).collect();
        Lines::one(
            if words.is_empty() {
                "\"\"".into()
            } else {
                words.join(" ")
            },
            true,
        )
    }

    fn describe(_: &Shape) -> String {
        "addresses".into()
    }
}

/// The leader to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaOf {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Setting for Option<ReplicaOf> {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        // What CONFIG GET shows for a leader has to be readable again.
        if words == [""] {
            return Ok(None);
        }
        let [host, port] = words.try_into().map_err(|_| "wrong number of arguments")?;
        if host.eq_ignore_ascii_case("no") && port.eq_ignore_ascii_case("one") {
            return Ok(None);
        }
        let port = port.parse().map_err(|_| "Invalid master port")?;
        Ok(Some(ReplicaOf {
            host: host.into(),
            port,
        }))
    }

    fn show(&self, _: &Shape) -> String {
        self.as_ref().map_or_else(String::new, |leader| {
            format!("{} {}", leader.host, leader.port)
        })
    }

    fn lines(&self, _: &Self, _: &Shape) -> Lines {
        self.as_ref().map_or(Lines::Remove, |leader| {
            Lines::one(format!("{} {}", word(&leader.host), leader.port), true)
        })
    }

    fn describe(_: &Shape) -> String {
        "host and port, or \"no one\"".into()
    }
}

/// Percentiles that INFO shows.
impl Setting for Vec<f64> {
    const SEVERAL: bool = true;

    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        if words == [""] {
            return Ok(Vec::new());
        }
        let mut percentiles = Vec::with_capacity(words.len());
        for word in words {
            let number = double::parse_f64(word.as_bytes());
            let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .into(),
                );
            }
            percentiles.push(number);
        }
        Ok(percentiles)
    }

    fn show(&self, _: &Shape) -> String {
        let texts = self.iter().map(|percentile| {
            let text = format!("{percentile:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    fn lines(&self, default: &Self, shape: &Shape) -> Lines {
        let text = if self.is_empty() {
            "\"\"".into()
        } else {
            self.show(shape)
        };
        Lines::one(text, self != default)
    }

    fn describe(_: &Shape) -> String {
        "numbers 0 to 100".into()
    }
}
