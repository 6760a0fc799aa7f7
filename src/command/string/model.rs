//! Random string and bitmap commands against a plain model: a map of byte strings, worked on bit by bit.
//!
//! A failing run prints its seed; `SEED=` replays it, `ROUNDS=` makes the run that many times longer.

use std::collections::BTreeMap;

use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command::testkit::{Kit, escape};
use crate::command::{bitmap, string};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const OVERFLOW: &str = "-ERR increment or decrement would overflow";

/// The keys: a value and, where it has one, its expiry.
#[derive(Default)]
struct Model {
    keys: BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>,
}

fn simple(text: impl std::fmt::Display) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn bulk_or_null(bytes: Option<&[u8]>) -> Vec<u8> {
    bytes.map_or(b"$-1\r\n".to_vec(), bulk)
}

fn bit_at(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at / 8)
        .is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn set_bit(bytes: &mut Vec<u8>, at: usize, bit: bool) {
    grow(bytes, at / 8 + 1);
    bytes[at / 8] &= !(0x80 >> (at % 8));
    bytes[at / 8] |= u8::from(bit) << (7 - at % 8);
}

fn grow(bytes: &mut Vec<u8>, len: usize) {
    bytes.resize(bytes.len().max(len), 0);
}

/// The positions of a range; none when both ends are negative and in the wrong order.
fn positions(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    clamped_positions(start, end, len)
}

/// The positions of a range whose ends are first brought into the string.
fn clamped_positions(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let place = |at: i64| if at < 0 { at + len as i64 } else { at };
    let first = place(start).max(0) as usize;
    let last = place(end).clamp(0, len.max(1) as i64 - 1) as usize;
    if len == 0 || first > last {
        0..0
    } else {
        first..last + 1
    }
}

/// The length of the longest common subsequence by the textbook's table.
fn lcs_len(a: &[u8], b: &[u8]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (column, y) in b.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[column])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

impl Model {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.keys.get(key).map(|(value, _)| value.as_slice())
    }

    fn bytes(&self, key: &[u8]) -> &[u8] {
        self.value(key).unwrap_or_default()
    }

    /// The value for a change; the expiry stays.
    fn edit(&mut self, key: &[u8]) -> &mut Vec<u8> {
        &mut self.keys.entry(key.to_vec()).or_default().0
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.keys.insert(key.to_vec(), (value.to_vec(), None));
    }

    fn advance_to(&mut self, now_ms: i64) {
        self.keys
            .retain(|_, (_, expiry)| expiry.is_none_or(|at| now_ms <= at));
    }

    /// Runs a line that the generator made, and says its reply.
    fn run(&mut self, args: &[Vec<u8>], now_ms: i64) -> Vec<u8> {
        let name = std::str::from_utf8(&args[0]).expect("a name");
        let number = |index: usize| parse_i64(&args[index]).expect("the generator's number");
        let key = args.get(1).map(Vec::as_slice).unwrap_or_default();
        match name {
            "GET" => bulk_or_null(self.value(key)),
            "STRLEN" => simple(format_args!(":{}", self.bytes(key).len())),
            "SET" => {
                self.set(key, &args[2]);
                if args.len() == 5 {
                    self.keys.get_mut(key).expect("just set").1 = Some(now_ms + number(4));
                }
                simple("+OK")
            }
            "SETNX" => {
                let missing = self.value(key).is_none();
                if missing {
                    self.set(key, &args[2]);
                }
                simple(format_args!(":{}", u8::from(missing)))
            }
            "GETSET" => {
                let reply = bulk_or_null(self.value(key));
                self.set(key, &args[2]);
                reply
            }
            "GETDEL" => {
                let reply = bulk_or_null(self.value(key));
                self.keys.remove(key);
                reply
            }
            "MGET" => {
                let values = args[1..].iter().map(|key| bulk_or_null(self.value(key)));
                let values: Vec<u8> = values.flatten().collect();
                [simple(format_args!("*{}", args.len() - 1)), values].concat()
            }
            "MSETNX" => {
                let free = args[1..]
                    .chunks(2)
                    .all(|pair| self.value(&pair[0]).is_none());
                if free {
                    args[1..]
                        .chunks(2)
                        .for_each(|pair| self.set(&pair[0], &pair[1]));
                }
                simple(format_args!(":{}", u8::from(free)))
            }
            "APPEND" => {
                self.edit(key).extend_from_slice(&args[2]);
                simple(format_args!(":{}", self.bytes(key).len()))
            }
            "SETRANGE" => {
                let (offset, text) = (number(2) as usize, &args[3]);
                if !text.is_empty() {
                    let value = self.edit(key);
                    grow(value, offset + text.len());
                    value[offset..offset + text.len()].copy_from_slice(text);
                }
                simple(format_args!(":{}", self.bytes(key).len()))
            }
            "GETRANGE" => {
                let value = self.bytes(key);
                bulk(&value[positions(number(2), number(3), value.len())])
            }
            "INCRBY" => {
                let Some(old) = self.value(key).map_or(Some(0), parse_i64) else {
                    return simple(NOT_INTEGER);
                };
                let Some(sum) = old.checked_add(number(2)) else {
                    return simple(OVERFLOW);
                };
                *self.edit(key) = sum.to_string().into_bytes();
                simple(format_args!(":{sum}"))
            }
            "SETBIT" => {
                let (at, old) = (
                    number(2) as usize,
                    bit_at(self.bytes(key), number(2) as usize),
                );
                set_bit(self.edit(key), at, number(3) == 1);
                simple(format_args!(":{}", u8::from(old)))
            }
            "GETBIT" => simple(format_args!(
                ":{}",
                u8::from(bit_at(self.bytes(key), number(2) as usize))
            )),
            "BITCOUNT" => {
                let bits = self.bits(key, args, 2, positions);
                simple(format_args!(
                    ":{}",
                    bits.filter(|&at| bit_at(self.bytes(key), at)).count()
                ))
            }
            "BITPOS" => {
                let wanted = number(2) == 1;
                let mut bits = self.bits(key, args, 3, clamped_positions);
                let after = bits.end as i64;
                let found = bits.find(|&at| bit_at(self.bytes(key), at) == wanted);
                simple(match found {
                    _ if self.value(key).is_none() => format!(":{}", -i64::from(wanted)),
                    Some(at) => format!(":{at}"),
                    None if !wanted && after > 0 && args.len() < 5 => format!(":{after}"),
                    None => ":-1".into(),
                })
            }
            "BITOP" => self.bitop(args),
            "BITFIELD" => self.bitfield(args),
            "LCS" => simple(format_args!(
                ":{}",
                lcs_len(self.bytes(&args[1]), self.bytes(&args[2]))
            )),
            other => panic!("no model of {other}"),
        }
    }

    /// The bits of the range that begins at the argument `at`.
    fn bits(
        &self,
        key: &[u8],
        args: &[Vec<u8>],
        at: usize,
        positions: fn(i64, i64, usize) -> std::ops::Range<usize>,
    ) -> std::ops::Range<usize> {
        let len = self.bytes(key).len();
        let number = |index: usize, default| {
            args.get(index)
                .map_or(default, |text| parse_i64(text).expect("a number"))
        };
        let (start, end) = (number(at, 0), number(at + 1, -1));
        if args.get(at + 2).is_some_and(|unit| unit == b"BIT") {
            return positions(start, end, len * 8);
        }
        let bytes = positions(start, end, len);
        bytes.start * 8..bytes.end * 8
    }

    fn bitop(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let sources: Vec<&[u8]> = args[3..].iter().map(|key| self.bytes(key)).collect();
        let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let mut result = vec![0; len];
        for (index, byte) in result.iter_mut().enumerate() {
            let bytes = sources
                .iter()
                .map(|source| source.get(index).copied().unwrap_or(0));
            *byte = match args[1].as_slice() {
                b"AND" => bytes.fold(0xff, |a, b| a & b),
                b"OR" => bytes.fold(0, |a, b| a | b),
                b"XOR" => bytes.fold(0, |a, b| a ^ b),
                _ => !bytes.fold(0, |a, b| a | b),
            };
        }
        if len == 0 {
            self.keys.remove(&args[2]);
        } else {
            self.set(&args[2], &result);
        }
        simple(format_args!(":{len}"))
    }

    /// `BITFIELD key OVERFLOW how INCRBY type offset by`.
    fn bitfield(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let signed = args[5][0] == b'i';
        let bits = parse_i64(&args[5][1..]).expect("a width") as usize;
        let offset = parse_i64(&args[6]).expect("an offset") as usize;
        let by = i128::from(parse_i64(&args[7]).expect("an increment"));
        let value = self.edit(&args[1]);
        grow(value, (offset + bits).div_ceil(8));
        let unsigned =
            (offset..offset + bits).fold(0i128, |sum, at| sum * 2 + i128::from(bit_at(value, at)));
        let modulus = 1i128 << bits;
        let (min, max) = if signed {
            (-modulus / 2, modulus / 2 - 1)
        } else {
            (0, modulus - 1)
        };
        let old = if unsigned > max {
            unsigned - modulus
        } else {
            unsigned
        };
        let sum = old + by;
        let new = match args[3].as_slice() {
            _ if (min..=max).contains(&sum) => sum,
            b"SAT" => sum.clamp(min, max),
            b"WRAP" => (sum - min).rem_euclid(modulus) + min,
            _ => return b"*1\r\n$-1\r\n".to_vec(),
        };
        for (place, at) in (offset..offset + bits).enumerate() {
            set_bit(value, at, new >> (bits - 1 - place) & 1 == 1);
        }
        simple(format_args!("*1\r\n:{new}"))
    }
}

/// Makes lines over few keys and mostly small numbers, so that they meet.
struct Generator(Random);

impl Generator {
    fn key(&mut self) -> String {
        format!("k{}", self.0.below(6))
    }

    fn number(&mut self, from: i64, to: i64) -> String {
        (from + self.0.below((to - from) as u64) as i64).to_string()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = [0, 1, 8, 40, 300, 2000][self.0.index(6)];
        let mut value = vec![0; self.0.index(len + 1)];
        match self.0.below(5) {
            0 => return self.number(-1000, 1000).into_bytes(),
            1 => {
                return [i64::MAX, i64::MIN, 0][self.0.index(3)]
                    .to_string()
                    .into_bytes();
            }
            2 => value.fill([0, 0xff][self.0.index(2)]),
            3 => value
                .iter_mut()
                .for_each(|byte| *byte = b'a' + self.0.below(3) as u8),
            _ => self.0.fill(&mut value),
        }
        value
    }

    fn line(&mut self) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let name = [
            "GET", "STRLEN", "SET", "SETNX", "GETSET", "GETDEL", "MGET", "MSETNX", "APPEND",
            "SETRANGE", "GETRANGE", "INCRBY", "SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITOP",
            "BITFIELD", "LCS",
        ][self.0.index(19)];
        words.push(name.into());
        if name != "BITOP" {
            words.push(self.key().into());
        }
        let push = |words: &mut Vec<Vec<u8>>, word: String| words.push(word.into_bytes());
        match name {
            "SET" => {
                words.push(self.value());
                if self.0.one_in(3) {
                    push(&mut words, "PX".into());
                    push(&mut words, self.number(1, 500));
                }
            }
            "SETNX" | "GETSET" | "APPEND" => words.push(self.value()),
            "MGET" => push(&mut words, self.key()),
            "MSETNX" => {
                words.push(self.value());
                push(&mut words, self.key());
                words.push(self.value());
            }
            "SETRANGE" => {
                push(&mut words, self.number(0, 3000));
                words.push(self.value());
            }
            "GETRANGE" => {
                push(&mut words, self.number(-400, 400));
                push(&mut words, self.number(-400, 400));
            }
            "INCRBY" => push(&mut words, self.number(-10, 10)),
            "SETBIT" => {
                push(&mut words, self.number(0, 5000));
                push(&mut words, self.number(0, 2));
            }
            "GETBIT" => push(&mut words, self.number(0, 5000)),
            "BITCOUNT" | "BITPOS" => {
                if name == "BITPOS" {
                    push(&mut words, self.number(0, 2));
                }
                let all = if name == "BITPOS" {
                    [0, 1, 2, 3]
                } else {
                    [0, 2, 2, 3]
                };
                let count = all[self.0.index(4)];
                for _ in 0..count.min(2) {
                    push(&mut words, self.number(-900, 900));
                }
                if count == 3 {
                    push(&mut words, ["BIT", "BYTE"][self.0.index(2)].into());
                }
            }
            "BITOP" => {
                let operation = ["AND", "OR", "XOR", "NOT"][self.0.index(4)];
                push(&mut words, operation.into());
                let sources = if operation == "NOT" {
                    1
                } else {
                    1 + self.0.index(3)
                };
                for _ in 0..1 + sources {
                    push(&mut words, self.key());
                }
            }
            "BITFIELD" => {
                let (sign, bits_max) = [("i", 65), ("u", 64)][self.0.index(2)];
                push(&mut words, "OVERFLOW".into());
                push(&mut words, ["WRAP", "SAT", "FAIL"][self.0.index(3)].into());
                push(&mut words, "INCRBY".into());
                let bits = self.number(1, bits_max);
                push(&mut words, format!("{sign}{bits}"));
                push(&mut words, self.number(0, 200));
                let by = [
                    self.number(-300, 300),
                    i64::MAX.to_string(),
                    i64::MIN.to_string(),
                ];
                push(&mut words, by[self.0.index(3)].clone());
            }
            "LCS" => {
                push(&mut words, self.key());
                push(&mut words, "LEN".into());
            }
            _ => {}
        }
        words
    }
}

#[test]
fn random_lines_do_what_the_model_does() {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => ahash::RandomState::new().hash_one(0),
    };
    println!("SEED={seed}");
    let longer: usize =
        std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let mut generator = Generator(Random::new(seed));
    let mut kit = Kit::new(&[string::TABLE, bitmap::TABLE]);
    let mut model = Model::default();
    for round in 0..longer * 4000 {
        if generator.0.one_in(20) {
            kit.advance_ms(generator.0.below(100) as i64);
            model.advance_to(kit.now_ms);
        }
        let line = generator.line();
        let args: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
        let expected = model.run(&line, kit.now_ms);
        let reply = kit.run(&args);
        assert_eq!(
            escape(&reply),
            escape(&expected),
            "round {round}: {}",
            escape(&line.join(&b' '))
        );
    }
    for key in (0..6).map(|index| format!("k{index}")) {
        assert_eq!(
            kit.run(&[b"GET", key.as_bytes()]),
            bulk_or_null(model.value(key.as_bytes()))
        );
    }
}
