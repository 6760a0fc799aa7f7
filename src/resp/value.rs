//! Replies decoded into values: for tests, and for connections on which this server is the client.
//!
//! Not for the serving path: every value allocates, and a reply that arrives in pieces is decoded anew with each.

use crate::base::number::{parse_f64, parse_i64};

/// Aggregates nested deeper are refused instead of exhausting the stack.
const DEPTH_MAX: usize = 128;

/// A decoded reply of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `_`, and RESP2's `$-1`.
    Null,
    /// RESP2's `*-1`.
    NullArray,
    /// `+`
    Simple(Vec<u8>),
    /// `-`, without the minus sign, or RESP3's `!`.
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `*`
    Array(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`, its digits.
    BigNumber(Vec<u8>),
    /// `=`, the format and the text.
    Verbatim([u8; 3], Vec<u8>),
    /// `|`, the attributes and the value that they belong to.
    Attributed(Vec<(Value, Value)>, Box<Value>),
}

impl Value {
    /// The bytes of a string, simple or not.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn as_elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text of an error.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Value::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// Why bytes are no reply, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply at byte {at}: {what}")]
pub struct DecodeError {
    /// The position in the input.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Decodes the reply at the start of `input` and returns it with its length, or `None` if it is not complete.
pub fn decode(input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
    let mut decoder = Decoder { input, at: 0 };
    match decoder.value(0) {
        Ok(value) => Ok(Some((value, decoder.at))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(error)) => Err(error),
    }
}

/// Decodes all replies of `input`, which ends with the last of them.
pub fn decode_all(input: &[u8]) -> Result<Vec<Value>, DecodeError> {
    let mut values = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let incomplete = DecodeError {
            at,
            what: "the reply is incomplete",
        };
        let (value, len) = decode(&input[at..])?.ok_or(incomplete)?;
        values.push(value);
        at += len;
    }
    Ok(values)
}

enum Stop {
    Incomplete,
    Malformed(DecodeError),
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn malformed<T>(&self, what: &'static str) -> Result<T, Stop> {
        Err(Stop::Malformed(DecodeError { at: self.at, what }))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > DEPTH_MAX {
            return self.malformed("nested too deeply");
        }
        let kind = *self.input.get(self.at).ok_or(Stop::Incomplete)?;
        let text = self.line()?;
        Ok(match kind {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => match parse_i64(text) {
                Some(number) => Value::Int(number),
                None => return self.malformed("not an integer"),
            },
            b'(' => Value::BigNumber(text.to_vec()),
            b',' => match (text, parse_f64(text)) {
                (b"nan" | b"-nan", _) => Value::Double(f64::NAN),
                (_, Some(number)) => Value::Double(number),
                _ => return self.malformed("not a double"),
            },
            b'#' => match text {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return self.malformed("not a boolean"),
            },
            b'_' => Value::Null,
            b'$' | b'!' | b'=' => self.text(kind, text)?,
            b'*' if text == b"-1" => Value::NullArray,
            b'*' => Value::Array(self.values(text, depth)?),
            b'~' => Value::Set(self.values(text, depth)?),
            b'>' => Value::Push(self.values(text, depth)?),
            b'%' => Value::Map(self.pairs(text, depth)?),
            b'|' => {
                let attributes = self.pairs(text, depth)?;
                Value::Attributed(attributes, Box::new(self.value(depth + 1)?))
            }
            _ => return self.malformed("unknown type"),
        })
    }

    /// The text between the type and the line end.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.input[self.at..];
        let end = memchr::memchr(b'\r', rest).ok_or(Stop::Incomplete)?;
        match rest.get(end + 1) {
            None => Err(Stop::Incomplete),
            Some(b'\n') => {
                self.at += end + 2;
                Ok(&rest[1..end])
            }
            Some(_) => self.malformed("a carriage return without a line feed"),
        }
    }

    fn count(&self, text: &[u8]) -> Result<usize, Stop> {
        match parse_i64(text).and_then(|number| usize::try_from(number).ok()) {
            Some(count) => Ok(count),
            None => self.malformed("not a length"),
        }
    }

    fn text(&mut self, kind: u8, header: &[u8]) -> Result<Value, Stop> {
        if kind == b'$' && header == b"-1" {
            return Ok(Value::Null);
        }
        let len = self.count(header)?;
        let rest = &self.input[self.at..];
        if rest.len() < len.saturating_add(2) {
            return Err(Stop::Incomplete);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return self.malformed("a string without line end");
        }
        let text = &rest[..len];
        let value = match (kind, text) {
            (b'$', _) => Value::Bulk(text.to_vec()),
            (b'!', _) => Value::Error(text.to_vec()),
            (_, [a, b, c, b':', text @ ..]) => Value::Verbatim([*a, *b, *c], text.to_vec()),
            _ => return self.malformed("a verbatim string without format"),
        };
        self.at += len + 2;
        Ok(value)
    }

    fn values(&mut self, header: &[u8], depth: usize) -> Result<Vec<Value>, Stop> {
        (0..self.count(header)?)
            .map(|_| self.value(depth + 1))
            .collect()
    }

    fn pairs(&mut self, header: &[u8], depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        (0..self.count(header)?)
            .map(|_| Ok((self.value(depth + 1)?, self.value(depth + 1)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_type_is_decoded() {
        let input = b"+OK\r\n-ERR no\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n*2\r\n:1\r\n*0\r\n%1\r\n$1\r\nk\r\n#t\r\n~1\r\n#f\r\n\
            >1\r\n(123\r\n,1.5\r\n,-inf\r\n=5\r\ntxt:x\r\n!3\r\nERR\r\n|1\r\n+a\r\n:1\r\n:2\r\n";
        let values = decode_all(input).unwrap();
        let expect = [
            Value::Simple(b"OK".to_vec()),
            Value::Error(b"ERR no".to_vec()),
            Value::Int(-5),
            bulk("a\r\n"),
            Value::Null,
            Value::NullArray,
            Value::Null,
            Value::Array(vec![Value::Int(1), Value::Array(vec![])]),
            Value::Map(vec![(bulk("k"), Value::Boolean(true))]),
            Value::Set(vec![Value::Boolean(false)]),
            Value::Push(vec![Value::BigNumber(b"123".to_vec())]),
            Value::Double(1.5),
            Value::Double(f64::NEG_INFINITY),
            Value::Verbatim(*b"txt", b"x".to_vec()),
            Value::Error(b"ERR".to_vec()),
            Value::Attributed(
                vec![(Value::Simple(b"a".to_vec()), Value::Int(1))],
                Box::new(Value::Int(2)),
            ),
        ];
        assert_eq!(values, expect);
        let mut start = 0;
        while start < input.len() {
            let (_, len) = decode(&input[start..]).unwrap().unwrap();
            for end in start..start + len {
                assert_eq!(decode(&input[start..end]), Ok(None), "{start}..{end}");
            }
            start += len;
        }
    }

    #[test]
    fn malformed_replies_are_errors() {
        for input in [
            "x\r\n",
            ":a\r\n",
            "$a\r\n",
            "$-2\r\n",
            "*-2\r\n",
            "$1\r\nabc",
            "#x\r\n",
            ",x\r\n",
            "=2\r\nab\r\n",
            "+a\rb",
            "%-1\r\n",
        ] {
            assert!(decode(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(decode("*1\r\n".repeat(100_000).as_bytes()).is_err());
        assert_eq!(decode(b"*99999999999\r\n"), Ok(None));
    }
}
