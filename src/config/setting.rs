//! How the type of a field is read from text and shown as text.
//!
//! [`Setting`] is implemented by every type that a field of `Config` may have; the row adds a [`Shape`], which
//! holds what differs between parameters of one type (bounds, unit). The error texts are those of Redis, since
//! clients and test suites compare them.

use super::quote::quote;
use crate::base::number;

/// What a row says about its value beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// The type says it all.
    Plain,
    /// A decimal integer between the two bounds, inclusive.
    Integer(i128, i128),
    /// As `Integer(0, i32::MAX)`, then moved into the two bounds instead of refused.
    Clamped(i128, i128),
    /// Bytes, with the units of [`parse_memory`], between the two bounds, inclusive.
    Memory(u64, u64),
    /// As `Memory(1, i64::MAX)`, but never less than so many bytes: fewer are raised to them.
    MemoryFloor(u64),
    /// An octal integer between the two bounds, inclusive.
    Octal(i128, i128),
    /// Text whose empty form means "not set": CONFIG REWRITE writes no line for it.
    Unset,
    /// Text that the function accepts, or says what is wrong with it.
    Checked(fn(&str) -> Result<(), &'static str>),
    /// Only the default is possible here; the text says why.
    Fixed(&'static str),
}

/// What CONFIG REWRITE writes for a parameter.
#[derive(Debug, PartialEq)]
pub(super) enum Lines {
    /// No line; those there are removed.
    Remove,
    /// Each text takes the place of an old line; where none is left, only those marked `true` are appended.
    Each(Vec<(String, bool)>),
    /// All texts are written if the flag is set or any old line is there.
    Together(Vec<String>, bool),
}

impl Lines {
    /// The one line of a simple parameter, appended where it is not the default.
    pub(super) fn one(text: String, force: bool) -> Lines {
        Lines::Each(vec![(text, force)])
    }
}

/// Where the words of a value come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The whole value, which replaces the old one.
    Whole,
    /// A further line of the same file or command line: lists that are written over several lines grow.
    Further,
}

/// A type that a parameter may have.
pub(super) trait Setting: Sized + Clone + PartialEq {
    /// Whether the value consists of any number of words; other types get exactly one.
    const SEVERAL: bool = false;

    /// Reads the value from its words. `self` is the value so far.
    fn parse(&self, shape: &Shape, words: &[&str], source: Source) -> Result<Self, String>;

    /// The text that CONFIG GET answers.
    fn show(&self, shape: &Shape) -> String;

    /// The lines that CONFIG REWRITE writes.
    fn lines(&self, default: &Self, shape: &Shape) -> Lines {
        Lines::one(self.show(shape), self != default)
    }

    /// The type in words, for the manual.
    fn describe(shape: &Shape) -> String;
}

/// Reads an amount of memory: digits and a unit, of which `k` `m` `g` count in thousands and `kb` `mb` `gb` in
/// 1,024; `b` or none means bytes. Units in either case. The empty text is 0, as in Redis.
pub fn parse_memory(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    number::parse_memory(text.as_bytes())
}

/// Bytes as a configuration file has them: in the largest unit of 1,024 that divides them.
pub fn format_memory(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn out_of_bounds(min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

/// Reads a number within the bounds of its shape.
fn parse_number(shape: &Shape, text: &str) -> Result<i128, String> {
    let no_integer = || "argument couldn't be parsed into an integer".to_string();
    match *shape {
        Shape::Memory(min, max) => {
            let bytes = parse_memory(text).ok_or("argument must be a memory value")?;
            if !(min..=max).contains(&bytes) {
                return Err(out_of_bounds(min, max));
            }
            Ok(bytes.into())
        }
        Shape::MemoryFloor(floor) => {
            let bytes = parse_number(&Shape::Memory(1, i64::MAX as u64), text)?;
            Ok(bytes.max(floor.into()))
        }
        Shape::Octal(min, max) => {
            let value = i64::from_str_radix(text, 8)
                .map_err(|_| "argument couldn't be parsed as an octal number")?;
            if !(min..=max).contains(&value.into()) {
                return Err(format!(
                    "argument must be between {min:o} and {max:o} inclusive"
                ));
            }
            Ok(value.into())
        }
        Shape::Integer(min, max) => {
            let value = number::parse_i64(text.as_bytes())
                .ok_or_else(no_integer)?
                .into();
            if (min..=max).contains(&value) {
                Ok(value)
            } else {
                Err(out_of_bounds(min, max))
            }
        }
        Shape::Clamped(low, high) => {
            Ok(parse_number(&Shape::Integer(0, i32::MAX.into()), text)?.clamp(low, high))
        }
        _ => Ok(number::parse_i64(text.as_bytes())
            .ok_or_else(no_integer)?
            .into()),
    }
}

/// An upper bound as a reader wants it: unlimited ones are left out.
fn describe_number(shape: &Shape) -> String {
    let range = |kind: &str, min: String, max: String, open: bool| {
        if open {
            format!("{kind} from {min}")
        } else {
            format!("{kind} {min} to {max}")
        }
    };
    match *shape {
        Shape::Memory(min, max) => {
            let unit = range(
                "bytes",
                format_memory(min),
                format_memory(max),
                max >= i64::MAX as u64,
            );
            if unit == "bytes from 0" {
                "bytes".into()
            } else {
                unit
            }
        }
        Shape::MemoryFloor(floor) => format!("bytes from {}", format_memory(floor)),
        Shape::Octal(min, max) => format!("octal {min:o} to {max:o}"),
        Shape::Integer(min, max) if min == i128::from(i32::MIN) && max == i128::from(i32::MAX) => {
            "integer".into()
        }
        Shape::Integer(min, max) => range(
            "integer",
            min.to_string(),
            max.to_string(),
            max >= i128::from(i32::MAX),
        ),
        Shape::Clamped(min, max) => format!("integer {min} to {max}"),
        Shape::Fixed(_) | Shape::Plain | Shape::Unset | Shape::Checked(_) => "integer".into(),
    }
}

macro_rules! number_setting {
    ($($type:ty)+) => {$(
        impl Setting for $type {
            fn parse(&self, shape: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
                let number = parse_number(shape, words[0])?;
                <$type>::try_from(number).map_err(|_| out_of_bounds(<$type>::MIN, <$type>::MAX))
            }

            fn show(&self, shape: &Shape) -> String {
                match shape {
                    Shape::Octal(..) => format!("{self:o}"),
                    _ => self.to_string(),
                }
            }

            fn lines(&self, default: &Self, shape: &Shape) -> Lines {
                let text = match shape {
                    Shape::Memory(..) | Shape::MemoryFloor(_) => format_memory(*self as u64),
                    _ => self.show(shape),
                };
                Lines::one(text, self != default)
            }

            fn describe(shape: &Shape) -> String {
                describe_number(shape)
            }
        }
    )+};
}
number_setting!(u16 u32 u64 i64);

impl Setting for bool {
    fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        match words[0] {
            yes if yes.eq_ignore_ascii_case("yes") => Ok(true),
            no if no.eq_ignore_ascii_case("no") => Ok(false),
            _ => Err("argument must be 'yes' or 'no'".into()),
        }
    }

    fn show(&self, _: &Shape) -> String {
        if *self { "yes" } else { "no" }.into()
    }

    fn describe(_: &Shape) -> String {
        "yes or no".into()
    }
}

impl Setting for String {
    fn parse(&self, shape: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
        if let Shape::Checked(check) = shape {
            check(words[0])?;
        }
        Ok(words[0].into())
    }

    fn show(&self, _: &Shape) -> String {
        self.clone()
    }

    fn lines(&self, default: &Self, shape: &Shape) -> Lines {
        if self.is_empty() && matches!(shape, Shape::Unset) {
            return Lines::Remove;
        }
        Lines::one(quote(self), self != default)
    }

    fn describe(_: &Shape) -> String {
        "text".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units_of_both_kinds() {
        for (text, bytes) in [
            ("0", 0),
            ("", 0),
            ("5", 5),
            ("5b", 5),
            ("1k", 1000),
            ("1kb", 1024),
            ("1KB", 1024),
            ("3m", 3_000_000),
            ("3Mb", 3 << 20),
            ("2g", 2_000_000_000),
            ("5gB", 5 << 30),
        ] {
            assert_eq!(parse_memory(text), Some(bytes), "{text}");
        }
        for text in [
            "-1",
            "+5",
            " 5",
            "1x",
            "1tb",
            "1.5gb",
            "kb",
            "é",
            "99999999999999999999gb",
        ] {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }

    #[test]
    fn memory_is_written_in_its_largest_unit() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1kb"),
            (20 << 20, "20mb"),
            (3 << 30, "3gb"),
        ] {
            assert_eq!(format_memory(bytes), text);
            assert_eq!(parse_memory(text), Some(bytes));
        }
    }
}
