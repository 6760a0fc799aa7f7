//! Lanes, merge and stream together: random transactions over lanes against an oracle.

use super::*;
use crate::base::random::Random;

fn line(text: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    crate::resp::encode_line(&words, &mut bytes);
    bytes
}

fn append(lane: &mut Lane, db: u16, text: &str) {
    lane.append(db, |bytes| bytes.extend(line(text)));
}

/// The stream's lines as text.
fn text(stream: &Stream) -> Vec<String> {
    let bytes: Vec<u8> = stream.pieces(stream.first()).flatten().copied().collect();
    let mut words = Vec::new();
    let mut lines = Vec::new();
    for part in String::from_utf8(bytes).unwrap().split("\r\n") {
        match part.as_bytes().first() {
            Some(b'*') => {
                if !words.is_empty() {
                    lines.push(words.join(" "));
                }
                words.clear();
            }
            Some(b'$') | None => {}
            _ => words.push(part.to_string()),
        }
    }
    lines.push(words.join(" "));
    lines
}

#[test]
fn select_goes_before_a_line_of_another_database() {
    let (mut lane, mut merge, mut stream) = (Lane::default(), Merge::new(1), Stream::default());
    append(&mut lane, 0, "SET lost 1");
    assert!(lane.take().is_none());
    lane.switch(true);
    append(&mut lane, 0, "SET a 1");
    append(&mut lane, 3, "SET b 1");
    append(&mut lane, NO_DB, "PUBLISH c d");
    append(&mut lane, 3, "SET b 2");
    merge.push(0, lane.take().unwrap(), &mut stream);
    assert_eq!(
        text(&stream),
        [
            "SELECT 0",
            "SET a 1",
            "SELECT 3",
            "SET b 1",
            "PUBLISH c d",
            "SET b 2"
        ]
    );
    assert_eq!(merge.position(0), 4);
    assert_eq!(lane.position(), 4);
}

#[test]
fn units_are_wrapped_when_they_have_several_lines() {
    let (mut lane, mut merge, mut stream) = (Lane::default(), Merge::new(1), Stream::default());
    lane.switch(true);
    lane.begin_unit();
    append(&mut lane, 0, "SET a 1");
    lane.end_unit();
    lane.begin_unit();
    lane.end_unit();
    let both = [line("SET b 1"), line("SET c 1")].concat();
    lane.append_encoded(0, &both);
    lane.append_encoded(0, &line("SET d 1"));
    merge.push(0, lane.take().unwrap(), &mut stream);
    assert_eq!(
        text(&stream),
        [
            "SELECT 0", "SET a 1", "MULTI", "SET b 1", "SET c 1", "EXEC", "SET d 1"
        ]
    );
}

#[test]
fn what_waits_keeps_its_place() {
    let (mut lane, mut merge, mut stream) = (Lane::default(), Merge::new(2), Stream::default());
    lane.switch(true);
    let txn = TxnId { core: 0, number: 7 };
    merge.ordered(txn, 2);
    let part = lane.open(Some(txn));
    append(&mut lane, 0, "SET a 1");
    let waiting = lane.open(None);
    append(&mut lane, 0, "SET b 1");
    assert!(lane.take().is_none());
    lane.enter(part, LogStep::of(2));
    append(&mut lane, 0, "SET t 1");
    lane.leave();
    lane.close(part);
    merge.push(0, lane.take().unwrap(), &mut stream);
    assert_eq!(stream.end(), 0);
    lane.enter(waiting, LogStep::of(0));
    append(&mut lane, 0, "SET t 2");
    lane.leave();
    lane.close(waiting);
    assert!(
        lane.is_empty()
            || lane.take().is_some_and(|chunk| {
                merge.push(0, chunk, &mut stream);
                true
            })
    );
    let mut other = Lane::default();
    other.switch(true);
    let part = other.open(Some(txn));
    other.enter(part, LogStep::of(1));
    append(&mut other, 0, "SET u 1");
    other.leave();
    other.close(part);
    merge.push(1, other.take().unwrap(), &mut stream);
    assert_eq!(
        text(&stream),
        [
            "MULTI", "SELECT 0", "SET u 1", "SET t 1", "EXEC", "SET a 1", "SET t 2", "SET b 1"
        ]
    );
    assert!(merge.is_drained());
}

#[test]
fn the_stream_keeps_what_is_asked_for() {
    let mut stream = Stream::starting_at(100);
    let bytes: Vec<u8> = (0..300_000u32).map(|byte| byte as u8).collect();
    for piece in bytes.chunks(777) {
        stream.append(piece);
    }
    assert_eq!((stream.first(), stream.end()), (100, 300_100));
    let from = |stream: &Stream, offset: u64| -> Vec<u8> {
        stream.pieces(offset).flatten().copied().collect()
    };
    for offset in [100, 101, 65_636, 65_637, 299_999, 300_100] {
        assert_eq!(from(&stream, offset), bytes[offset as usize - 100..]);
    }
    stream.trim(140_000);
    assert_eq!(stream.first(), 100 + 2 * 65_536);
    assert_eq!(from(&stream, 140_000), bytes[140_000 - 100..]);
    assert_eq!(from(&stream, 300_100), b"");
    stream.append(b"more");
    assert_eq!(stream.piece(300_100), b"more");
}

/// Lanes fed with random lines and transactions, whose slots close in random order and whose chunks arrive at random: the
/// stream holds every lane's entries in order, and the parts of each transaction together.
#[test]
fn random_lanes_merge_completely() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut below = |bound: u64| random.next_u64() % bound;
        let lanes_count = 1 + below(4) as usize;
        let mut lanes: Vec<Lane> = (0..lanes_count).map(|_| Lane::default()).collect();
        let mut merge = Merge::new(lanes_count);
        let mut stream = Stream::default();
        lanes.iter_mut().for_each(|lane| lane.switch(true));
        let mut open: Vec<(usize, Option<SlotId>, Option<u64>)> = Vec::new();
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); lanes_count];
        let mut parts_of = std::collections::HashMap::new();
        for number in 0..60 {
            match below(5) {
                0 | 1 => {
                    let lane = below(lanes_count as u64) as usize;
                    append(&mut lanes[lane], 0, &format!("SET l{lane} {number}"));
                    expected[lane].push(format!("SET l{lane} {number}"));
                }
                2 => {
                    let parts: Vec<usize> = (0..lanes_count).filter(|_| below(2) == 0).collect();
                    if parts.is_empty() {
                        continue;
                    }
                    let txn = TxnId { core: 0, number };
                    merge.ordered(txn, parts.len() as u16);
                    parts_of.insert(number, parts.len());
                    for lane in parts {
                        let slot = lanes[lane].open(Some(txn));
                        open.push((lane, slot, Some(number)));
                        expected[lane].push(format!("PART {number} {lane}"));
                    }
                }
                3 => {
                    let lane = below(lanes_count as u64) as usize;
                    if let Some(chunk) = lanes[lane].take() {
                        merge.push(lane, chunk, &mut stream);
                    }
                }
                _ => {
                    if !open.is_empty() {
                        let (lane, slot, txn) = open.swap_remove(below(open.len() as u64) as usize);
                        finish(&mut lanes[lane], lane, slot, txn);
                    }
                }
            }
        }
        for (lane, slot, txn) in open {
            finish(&mut lanes[lane], lane, slot, txn);
        }
        for (index, lane) in lanes.iter_mut().enumerate() {
            if let Some(chunk) = lane.take() {
                merge.push(index, chunk, &mut stream);
            }
            assert!(lane.is_empty());
        }
        assert!(merge.is_drained(), "seed {seed}");
        let lines = text(&stream);
        for (lane, expected) in expected.iter().enumerate() {
            let found: Vec<&String> = lines
                .iter()
                .filter(|line| {
                    line.ends_with(&format!(" {lane}")) && line.starts_with("PART")
                        || line.starts_with(&format!("SET l{lane} "))
                })
                .collect();
            assert_eq!(found, expected.iter().collect::<Vec<_>>(), "seed {seed}");
        }
        let mut inside = None;
        for line in &lines {
            match line.as_str() {
                "MULTI" => inside = Some(Vec::new()),
                "EXEC" => {
                    let numbers: Vec<u64> = inside.take().unwrap();
                    assert_eq!(parts_of[&numbers[0]], numbers.len(), "seed {seed}");
                    assert!(numbers.iter().all(|number| *number == numbers[0]));
                }
                line if line.starts_with("PART") => {
                    let number = line.split(' ').nth(1).unwrap().parse().unwrap();
                    match &mut inside {
                        Some(numbers) => numbers.push(number),
                        None => assert_eq!(parts_of[&number], 1, "seed {seed}"),
                    }
                }
                _ => {}
            }
        }
    }
}

fn finish(lane: &mut Lane, index: usize, slot: Option<SlotId>, txn: Option<u64>) {
    lane.enter(slot, LogStep::of(0));
    append(lane, 0, &format!("PART {} {index}", txn.unwrap()));
    lane.leave();
    lane.close(slot);
}
