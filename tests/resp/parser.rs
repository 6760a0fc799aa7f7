//! What the parser makes of particular inputs; the expected errors are Redis's own answers.

use shardine::resp::{BIG_ARGUMENT_BYTES_MIN, Limits, Parser, ProtocolError};

use super::session::{BigBy, Session, lines_of};

/// Checks the lines (arguments joined by `|`) and the error's text, however the input is cut.
fn check_with(limits: &Limits, input: &[u8], lines: &[&str], error: Option<&str>) {
    for piece in [1, 2, 3, 5, 1000, usize::MAX] {
        let (got, failed) = lines_of(input, piece, BigBy::Input, limits);
        let got: Vec<String> = got
            .iter()
            .map(|line| String::from_utf8_lossy(&line.join(&b'|')).into_owned())
            .collect();
        let shown = input[..input.len().min(60)].escape_ascii();
        assert_eq!(got, lines, "{shown} in pieces of {piece}");
        let text = failed.map(|error| String::from_utf8_lossy(&error.message()).into_owned());
        assert_eq!(text.as_deref(), error, "{shown} in pieces of {piece}");
    }
}

fn check(input: &[u8], lines: &[&str], error: Option<&str>) {
    check_with(&Limits::default(), input, lines, error);
}

#[test]
fn lines_of_both_kinds() {
    check(b"*1\r\n$4\r\nPING\r\n", &["PING"], None);
    check(
        b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\0\xff\r\n*1\r\n$0\r\n\r\n",
        &["ECHO|\r\n\0\u{fffd}", ""],
        None,
    );
    check(b"*0\r\n*-1\r\n*-5\r\nPING\r\n", &["PING"], None);
    check(b"\r\n\n \r\nPING\n", &["PING"], None);
    check(
        b"  set  a 'b c' \"\\x41\"\"\r\n",
        &[],
        Some("ERR Protocol error: unbalanced quotes in request"),
    );
    check(
        b"  set  a 'b c' \"\\x41\"\r\nGET a\r\n",
        &["set|a|b c|A", "GET|a"],
        None,
    );
    check(b"\"\"\r\n", &[""], None);
    // The bytes where line ends belong are not looked at but for the carriage return.
    check(
        b"*1\rX$4\rYPINGab*1\r\n$4\r\nPING\r\n",
        &["PING", "PING"],
        None,
    );
}

#[test]
fn malformed_lengths() {
    let multibulk = Some("ERR Protocol error: invalid multibulk length");
    for input in [
        "*a\r\n",
        "*\r\n",
        "*01\r\n",
        "*+1\r\n",
        "*2147483648\r\n",
        "*1\n$4\r\nPING\r\n",
        "*1 \r\n",
        "*-01\r\n",
    ] {
        check(input.as_bytes(), &[], multibulk);
    }
    let bulk = Some("ERR Protocol error: invalid bulk length");
    for input in [
        "$\r\n",
        "$-1\r\n",
        "$a\r\n",
        "$536870913\r\n",
        "$04\r\nPING\r\n",
        "$99999999999999999999\r\n",
        "$1 \r\n",
    ] {
        check(format!("PING\r\n*1\r\n{input}").as_bytes(), &["PING"], bulk);
    }
    check(b"*1\r\n$536870912\r\n", &[], None);
    check(b"*2147483647\r\n", &[], None);
}

#[test]
fn another_byte_instead_of_the_dollar() {
    check(b"*1\r\nxyz", &[], None);
    check(
        b"*1\r\nxyz\r\n",
        &[],
        Some("ERR Protocol error: expected '$', got 'x'"),
    );
    check(
        b"*1\r\n\r\n",
        &[],
        Some("ERR Protocol error: expected '$', got '\r'"),
    );
    assert_eq!(
        ProtocolError::ExpectedBulk(0xff).message(),
        b"ERR Protocol error: expected '$', got '\xff'"
    );
}

#[test]
fn lines_without_an_end_are_cut_off() {
    for (prefix, error) in [
        ("", "ERR Protocol error: too big inline request"),
        ("*", "ERR Protocol error: too big mbulk count string"),
        ("*1\r\n", "ERR Protocol error: too big bulk count string"),
    ] {
        let longest = [prefix.as_bytes(), &[b'1'; 65536][prefix.len() % 2..]].concat();
        let limits = Limits::default();
        assert_eq!(
            lines_of(&longest, 16384, BigBy::Input, &limits),
            (vec![], None),
            "{prefix:?}"
        );
        let (_, failed) = lines_of(
            &[&longest[..], b"11"].concat(),
            16384,
            BigBy::Input,
            &limits,
        );
        assert_eq!(failed.unwrap().message(), error.as_bytes());
    }
}

#[test]
fn less_is_allowed_before_authentication() {
    let limits = Limits {
        unauthenticated: true,
        ..Limits::default()
    };
    check_with(&limits, b"*10\r\n", &[], None);
    check_with(
        &limits,
        b"*11\r\n",
        &[],
        Some("ERR Protocol error: unauthenticated multibulk length"),
    );
    check_with(
        &limits,
        b"*2147483648\r\n",
        &[],
        Some("ERR Protocol error: invalid multibulk length"),
    );
    check_with(&limits, b"*1\r\n$16384\r\n", &[], None);
    check_with(
        &limits,
        b"*1\r\n$16385\r\n",
        &[],
        Some("ERR Protocol error: unauthenticated bulk length"),
    );
}

#[test]
fn a_line_of_very_many_arguments_in_small_pieces() {
    let count = 300_000;
    let mut input = format!("*{count}\r\n").into_bytes();
    for index in 0..count {
        let text = index.to_string();
        input.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
    for piece in [100, 16384] {
        let (lines, failed) = lines_of(&input, piece, BigBy::Input, &Limits::default());
        assert_eq!(failed, None);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0]
                .iter()
                .enumerate()
                .all(|(index, arg)| *arg == index.to_string().as_bytes())
        );
    }
}

#[test]
fn large_arguments_do_not_stay_in_the_tail() {
    let count = 40;
    let value = vec![b'v'; 3 * BIG_ARGUMENT_BYTES_MIN + 5];
    let mut input = format!("*{}\r\n$4\r\nMSET\r\n", 2 * count + 1).into_bytes();
    for index in 0..count {
        input.extend_from_slice(format!("$3\r\nk{index:02}\r\n${}\r\n", value.len()).as_bytes());
        input.extend_from_slice(&value);
        input.extend_from_slice(b"\r\n");
    }
    for by in [BigBy::Input, BigBy::Feed, BigBy::Target] {
        for piece in [1000, 16384, 200_000] {
            let mut session = Session::default();
            for bytes in input.chunks(piece) {
                session.receive(bytes, by, &Limits::default()).unwrap();
                assert!(
                    session.tail.len() < 2000,
                    "{by:?} in pieces of {piece}: {}",
                    session.tail.len()
                );
            }
            let line = &session.lines[0];
            assert_eq!(line.len(), 2 * count + 1);
            for index in 0..count {
                assert_eq!(line[1 + 2 * index], format!("k{index:02}").as_bytes());
                assert!(line[2 + 2 * index] == value);
            }
            assert!(!session.parser.is_partial());
            assert_eq!(session.parser.memory_bytes(), 0);
        }
    }
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    let mut session = Session::default();
    let limits = Limits::default();
    session
        .receive(
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc",
            BigBy::Input,
            &limits,
        )
        .unwrap();
    assert_eq!(session.parser.big_remaining(), 536870912 - 3);
    assert!(session.parser.memory_bytes() < 2 << 20);
    let mut session = Session::default();
    session
        .receive(b"*2147483647\r\n$1\r\nk\r\n", BigBy::Input, &limits)
        .unwrap();
    assert!(session.parser.memory_bytes() < 1000);
    assert!(size_of::<Parser>() <= 16);
}
