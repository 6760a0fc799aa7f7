//! Saves of simulated nodes: whatever the delivery, a file holds one moment, and loading it gives that moment's data.

use shardine::base::random::Random;
use shardine::config::Config;
use shardine::keyspace::KeyHasher;
use shardine::rdb::{Item, Limits, Reader};
use shardine::resp::encode_line;

use super::lines::args;
use super::node::{Delivery, Node, NodeOptions};
use super::with_seeds;

const ACCOUNTS: usize = 12;
const AMOUNT: i64 = 100;

fn bytes(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let words = args(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode_line(&words, &mut bytes);
    }
    bytes
}

/// What the accounts in a file add up to, and how many keys it has.
fn sum(file: &[u8]) -> (i64, usize) {
    let limits = Limits::new(&Config::default(), &KeyHasher::from_seeds([1, 2, 3, 4]));
    let mut reader = Reader::new(true, limits);
    reader.feed(file);
    let (mut sum, mut keys) = (0, 0);
    while let Some(item) = reader.next_item().expect("the file is right") {
        if let Item::Key { entry, .. } = item {
            keys += 1;
            let value = entry.string().expect("a string");
            let text = value.with_bytes(&mut itoa::Buffer::new()).to_vec();
            sum += String::from_utf8(text)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .expect("a number");
        }
    }
    assert!(reader.is_at_end());
    (sum, keys)
}

/// Plays one seed. Returns how many files were saved.
fn a_file_is_one_moment(seed: u64) -> usize {
    let mut random = Random::new(seed ^ 0x5a7e);
    let shards = [1, 2, 3, 4][random.index(4)];
    let mut node = Node::new(NodeOptions {
        shards,
        delivery: Delivery::Random(seed),
        link_messages_max: [1, 2, 8, 1024][random.index(4)],
        ..NodeOptions::default()
    });
    let clients: Vec<_> = (0..4).map(|n| node.connect(n % shards)).collect();
    let open: Vec<String> = (0..ACCOUNTS)
        .map(|account| format!("SET account{account} {AMOUNT}"))
        .collect();
    node.send(clients[0], &bytes(&open));
    node.settle();
    let mut files = 0;
    for step in 0..200 {
        let client = clients[random.index(clients.len())];
        let (from, to) = (random.index(ACCOUNTS), random.index(ACCOUNTS));
        let lines: Vec<String> = match random.index(8) {
            0 => vec![["SAVE", "BGSAVE"][random.index(2)].into()],
            1 if from != to => vec![
                "MULTI".into(),
                format!("RENAME account{from} moving"),
                format!("DECRBY moving {step}"),
                format!("INCRBY account{to} {step}"),
                format!("RENAME moving account{from}"),
                "EXEC".into(),
            ],
            _ => vec![
                "MULTI".into(),
                format!("DECRBY account{from} {step}"),
                format!("INCRBY account{to} {step}"),
                "EXEC".into(),
            ],
        };
        node.disk_fails = random.one_in(10);
        node.send(client, &bytes(&lines));
        for _ in 0..random.index(60) {
            node.step();
        }
        if let Some(file) = node.file.take() {
            assert_eq!(sum(&file), (AMOUNT * ACCOUNTS as i64, ACCOUNTS), "{seed}");
            files += 1;
        }
    }
    node.settle();
    node.assert_quiet();
    files
}

#[test]
fn a_save_in_any_delivery_is_one_moment() {
    let mut files = 0;
    with_seeds(60, |seed| files += a_file_is_one_moment(seed));
    assert!(files > 0, "nothing was saved");
}
