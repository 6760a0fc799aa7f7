//! A fuzzer for the parser: pipelines cut anywhere, and bytes that only look like one.
//!
//! `SHARDINE_FUZZ_ROUNDS` sets the number of rounds, `SEED` the first seed; a failure names its own.

use shardine::base::random::Random;
use shardine::resp::{BIG_ARGUMENT_BYTES_MIN, Limits, ProtocolError};

use super::session::{BigBy, Session};

fn from_env(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

fn each_seed(rounds: u64, mut round: impl FnMut(u64, &mut Random)) {
    let first = from_env("SEED", 1);
    let rounds = from_env("SHARDINE_FUZZ_ROUNDS", rounds);
    println!("seeds {first} to {}", first + rounds - 1);
    for seed in first..first + rounds {
        round(seed, &mut Random::new(seed));
    }
}

fn argument(random: &mut Random) -> Vec<u8> {
    let len = match random.index(40) {
        0 => BIG_ARGUMENT_BYTES_MIN - 1 + random.index(3),
        1 => random.index(100_000),
        2..6 => random.index(2000),
        _ => random.index(12),
    };
    let mut text = vec![0; len];
    random.fill(&mut text);
    text
}

/// Appends a random line, or one that counts for nothing, and what it means to `lines`.
fn push_line(random: &mut Random, input: &mut Vec<u8>, lines: &mut Vec<Vec<Vec<u8>>>) {
    match random.index(10) {
        0 => input.extend_from_slice(
            [&b"*0\r\n"[..], b"*-1\r\n", b"\r\n", b"\n", b"  \t\r\n"][random.index(5)],
        ),
        1 | 2 => {
            let words: Vec<Vec<u8>> = (0..1 + random.index(4))
                .map(|_| {
                    argument(random)
                        .into_iter()
                        .filter(u8::is_ascii_alphanumeric)
                        .take(2_000)
                        .collect()
                })
                .collect();
            for word in &words {
                match random.index(3) {
                    0 if !word.is_empty() => input.extend_from_slice(word),
                    1 => input.extend_from_slice(&[b"'", &word[..], b"'"].concat()),
                    _ => {
                        input.push(b'"');
                        input.extend(
                            word.iter()
                                .flat_map(|byte| format!("\\x{byte:02x}").into_bytes()),
                        );
                        input.push(b'"');
                    }
                }
                input.extend_from_slice(if random.one_in(2) { b" " } else { b"\t " });
            }
            input.extend_from_slice(if random.one_in(2) { b"\r\n" } else { b"\n" });
            lines.push(words);
        }
        _ => {
            let count = if random.one_in(30) {
                200
            } else {
                1 + random.index(6)
            };
            let line: Vec<Vec<u8>> = (0..count).map(|_| argument(random)).collect();
            input.extend_from_slice(format!("*{count}\r\n").as_bytes());
            for arg in &line {
                input.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                input.extend_from_slice(arg);
                input.extend_from_slice(b"\r\n");
            }
            lines.push(line);
        }
    }
}

/// Receives `input` in random pieces.
fn receive_in_pieces(random: &mut Random, input: &[u8]) -> (Session, Option<ProtocolError>) {
    let mut session = Session::default();
    let limits = Limits::default();
    let piece_max = [2, 30, 1000, 20_000, 200_000][random.index(5)];
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + random.index(piece_max)).min(rest.len()));
        rest = later;
        let by = [BigBy::Input, BigBy::Feed, BigBy::Target][random.index(3)];
        if let Err(error) = session.receive(now, by, &limits) {
            return (session, Some(error));
        }
    }
    (session, None)
}

fn receive_at_once(input: &[u8]) -> (Session, Option<ProtocolError>) {
    let mut session = Session::default();
    let error = session
        .receive(input, BigBy::Input, &Limits::default())
        .err();
    (session, error)
}

#[test]
fn a_pipeline_cut_anywhere_gives_the_same_lines() {
    each_seed(60, |seed, random| {
        let (mut input, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..random.index(25) {
            push_line(random, &mut input, &mut lines);
        }
        for (session, error) in [receive_at_once(&input), receive_in_pieces(random, &input)] {
            assert_eq!(error, None, "seed {seed}");
            assert!(session.lines == lines, "seed {seed}");
            assert!(
                session.tail.is_empty() && !session.parser.is_partial(),
                "seed {seed}"
            );
        }
    });
}

#[test]
fn damaged_input_gives_the_same_result_however_it_is_cut() {
    const LIKELY: &[u8] = b"**$$\r\n\r\n\r\n0123-\"'\\x a\0\xff";
    each_seed(400, |seed, random| {
        let mut input = Vec::new();
        if random.one_in(2) {
            for _ in 0..random.index(200) {
                input.push(LIKELY[random.index(LIKELY.len())]);
            }
        } else {
            for _ in 0..1 + random.index(6) {
                push_line(random, &mut input, &mut Vec::new());
            }
            for _ in 0..1 + random.index(3) {
                let at = random.index(input.len());
                match random.index(3) {
                    0 => input[at] = LIKELY[random.index(LIKELY.len())],
                    1 => drop(input.remove(at)),
                    _ => input.insert(at, LIKELY[random.index(LIKELY.len())]),
                }
                if input.is_empty() {
                    return;
                }
            }
        }
        let (whole, whole_error) = receive_at_once(&input);
        let (cut, cut_error) = receive_in_pieces(random, &input);
        assert_eq!(cut_error, whole_error, "seed {seed}");
        assert!(cut.lines == whole.lines, "seed {seed}");
    });
}
