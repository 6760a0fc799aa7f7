//! The options of SET and GETEX, and the moments that they and SETEX name.

use super::Condition;
use crate::base::number::parse_i64;
use crate::command::Fault;
use crate::resp::Line;

/// What becomes of the key's expiry; a time is the argument at the index given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX.
    InSeconds(usize),
    /// PX.
    InMilliseconds(usize),
    /// EXAT.
    AtSeconds(usize),
    /// PXAT.
    AtMilliseconds(usize),
}

impl Expiry {
    /// The moment, milliseconds since 1970. KEEPTTL and PERSIST name none.
    pub(super) fn deadline(
        self,
        line: &Line<'_>,
        now_ms: i64,
        command: &str,
    ) -> Result<i64, Fault> {
        let (at, unit_ms, base_ms) = match self {
            Expiry::InSeconds(at) => (at, 1000, now_ms),
            Expiry::InMilliseconds(at) => (at, 1, now_ms),
            Expiry::AtSeconds(at) => (at, 1000, 0),
            Expiry::AtMilliseconds(at) => (at, 1, 0),
            Expiry::Keep | Expiry::Persist => unreachable!("{self:?} has no time"),
        };
        let time = parse_i64(line.arg(at)).ok_or(Fault::NotInteger)?;
        let moment = (time > 0)
            .then(|| time.checked_mul(unit_ms)?.checked_add(base_ms))
            .flatten();
        moment.ok_or_else(|| Fault::text(format!("ERR invalid expire time in '{command}' command")))
    }
}

/// The options behind the key and the value.
#[derive(Default)]
pub(super) struct Options {
    pub(super) condition: Option<Condition>,
    pub(super) get: bool,
    pub(super) expiry: Option<Expiry>,
}

impl Options {
    pub(super) fn of_set(line: &Line<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut at = 3;
        while at < line.len() {
            if line.is(at, "nx") {
                options.condition(Condition::Missing)?;
            } else if line.is(at, "xx") {
                options.condition(Condition::Existing)?;
            } else if line.is(at, "ifeq") && at + 1 < line.len() {
                at += 1;
                options.condition(Condition::Equal(at))?;
            } else if line.is(at, "get") {
                options.get = true;
            } else if line.is(at, "keepttl") {
                options.expiry(Expiry::Keep)?;
            } else {
                options.time(line, at)?;
                at += 1;
            }
            at += 1;
        }
        Ok(options)
    }

    pub(super) fn of_getex(line: &Line<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut at = 2;
        while at < line.len() {
            if line.is(at, "persist") {
                options.expiry(Expiry::Persist)?;
            } else {
                options.time(line, at)?;
                at += 1;
            }
            at += 1;
        }
        Ok(options)
    }

    fn condition(&mut self, condition: Condition) -> Result<(), Fault> {
        if self.condition.is_some_and(|before| before != condition) {
            return Err(Fault::Syntax);
        }
        self.condition = Some(condition);
        Ok(())
    }

    /// The option at `at` with its time behind it.
    fn time(&mut self, line: &Line<'_>, at: usize) -> Result<(), Fault> {
        if at + 1 >= line.len() {
            return Err(Fault::Syntax);
        }
        if line.is(at, "ex") {
            self.expiry(Expiry::InSeconds(at + 1))
        } else if line.is(at, "px") {
            self.expiry(Expiry::InMilliseconds(at + 1))
        } else if line.is(at, "exat") {
            self.expiry(Expiry::AtSeconds(at + 1))
        } else if line.is(at, "pxat") {
            self.expiry(Expiry::AtMilliseconds(at + 1))
        } else {
            Err(Fault::Syntax)
        }
    }

    /// One kind of expiry excludes the others; the same kind may come again, and the last one holds.
    fn expiry(&mut self, expiry: Expiry) -> Result<(), Fault> {
        let kind = std::mem::discriminant(&expiry);
        if self
            .expiry
            .is_some_and(|before| std::mem::discriminant(&before) != kind)
        {
            return Err(Fault::Syntax);
        }
        self.expiry = Some(expiry);
        Ok(())
    }
}
