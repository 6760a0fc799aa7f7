//! Random lines at the command layer: strings and keys against the model, everything else against what must always hold.

use shardine::command::Run;
use shardine::resp::{Value, decode, encode_line};

use super::lines::{Args, LineMaker, args};
use super::model::Model;
use super::node::{ConnectionId, Node, NodeOptions};

/// Lines of one run.
const LINES: usize = 400;

/// A node and one client, which sends line after line; another ends its waiting when it waits for keys.
struct Talk {
    node: Node,
    client: ConnectionId,
    waker: ConnectionId,
}

impl Talk {
    fn new(shards: usize, seed: u64) -> Talk {
        let mut node = Node::new(NodeOptions {
            shards,
            ..NodeOptions::default()
        });
        let client = node.connect(seed as usize % shards);
        let waker = node.connect(0);
        Talk {
            node,
            client,
            waker,
        }
    }

    /// All replies to a line.
    fn send(&mut self, args: &Args) -> Vec<Value> {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        encode_line(&words, &mut bytes);
        self.node.send(self.client, &bytes);
        self.node.settle();
        if self.node.connection(self.client).received.is_empty() {
            let mut bytes = Vec::new();
            encode_line(&[b"CLIENT", b"UNBLOCK", b"1"], &mut bytes);
            self.node.send(self.waker, &bytes);
            self.node.settle();
        }
        let received = std::mem::take(&mut self.node.connection(self.client).received);
        let mut replies = Vec::new();
        let mut rest = received.as_slice();
        while let Some((reply, len)) = decode(rest).expect("replies are well formed") {
            replies.push(reply);
            rest = &rest[len..];
        }
        assert!(rest.is_empty(), "half a reply to {}", shown(args));
        replies
    }

    /// The one reply to a line.
    fn ask(&mut self, args: &Args) -> Value {
        let mut replies = self.send(args);
        assert_eq!(replies.len(), 1, "{}: {replies:?}", shown(args));
        replies.remove(0)
    }
}

fn shown(args: &Args) -> String {
    let words: Vec<String> = args
        .iter()
        .map(|arg| arg.escape_ascii().to_string())
        .collect();
    words.join(" ")
}

/// A line with garbage in it, behind it, or without its last argument.
fn spoiled(maker: &mut LineMaker, mut line: Args) -> Args {
    match maker.random.index(4) {
        0 => line.push(garbage(maker)),
        1 if line.len() > 1 => {
            line.pop();
        }
        _ => {
            let at = maker.random.index(line.len());
            if at > 0 {
                line[at] = garbage(maker);
            }
        }
    }
    line
}

/// A word that many commands have an opinion about. Numbers are small or absurd: those between would only allocate.
fn garbage(maker: &mut LineMaker) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "",
        "0",
        "1",
        "-1",
        "2",
        "16",
        "100",
        "007",
        "-0",
        "1.5",
        "inf",
        "nan",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "8589934592",
        "x",
        "*",
        "key0",
        "key1",
        "key2",
        "NX",
        "XX",
        "GET",
        "EX",
        "PX",
        "KEEPTTL",
        "PERSIST",
        "LEN",
        "IDX",
        "WITHMATCHLEN",
        "MATCH",
        "COUNT",
        "TYPE",
        "string",
        "BYTE",
        "BIT",
        "AND",
        "NOT",
        "u8",
        "i64",
        "u64",
        "#1",
        "OVERFLOW",
        "SAT",
        "FAIL",
        "INCRBY",
        "REPLACE",
        "DB",
        "SYNC",
        "ASYNC",
        "LT",
        "GT",
        "WITHVALUES",
        "all",
        "normal",
        "no",
        "yes",
        "[",
        "\\",
        "\r\n",
        "\0",
    ];
    match maker.random.index(12) {
        0 => {
            let mut bytes = vec![0; maker.random.index(40)];
            maker.random.fill(&mut bytes);
            bytes
        }
        _ => WORDS[maker.random.index(WORDS.len())].into(),
    }
}

/// Every line is answered as the model says, on whatever shards its keys are, and the shards hold the model's keys.
fn against_the_model(shards: usize, seed: u64) {
    let mut talk = Talk::new(shards, seed);
    let mut maker = LineMaker::new(seed);
    let mut model = Model::default();
    let mut db = 0;
    for _ in 0..LINES {
        if maker.random.one_in(30) {
            db = 1 - db;
            talk.ask(&args(&format!("SELECT {db}")));
        }
        if maker.random.one_in(40) {
            let ms = 50 * (1 + maker.random.below(20));
            talk.node.advance_ms(ms);
        }
        let mut line = maker.known(db);
        if maker.random.one_in(12) {
            let wrong = match maker.random.index(3) {
                0 => "INCRBY key0 x",
                1 => "SETRANGE key0 -1 x",
                _ => "MSET key0 1 key1",
            };
            line = args(wrong);
        }
        if maker.random.one_in(15) {
            let end_ms = talk.node.now_ms() + 50 * (1 + maker.random.below(20) as i64);
            line = args(&format!("PEXPIREAT key{} {end_ms}", maker.random.index(3)));
        }
        let reply = talk.ask(&line);
        let now_ms = talk.node.now_ms();
        let expected = model
            .apply(db, &line, now_ms)
            .unwrap_or_else(|| panic!("the model does not know {}", shown(&line)));
        assert!(
            expected.admits(&reply),
            "{} in database {db}: expected {expected:?}, got {reply:?}",
            shown(&line)
        );
        for db in [0, 1] {
            assert_eq!(talk.node.keys_count(db), model.len(db), "{}", shown(&line));
        }
    }
    talk.node.assert_quiet();
}

/// Every command, with arguments that may be anything, gets one reply, and DBSIZE is the number of keys.
fn against_what_always_holds(shards: usize, seed: u64) {
    // Lines that end the connection or the node, hand it over, change the node's role, make it wait, or have no reply or several.
    const APART: &[&str] = &[
        "client|kill",
        "client|pause",
        "client|reply",
        "config|set",
        "failover",
        "monitor",
        "multi",
        "psync",
        "quit",
        "replconf",
        "replicaof",
        "shutdown",
        "slaveof",
        "sync",
        "wait",
    ];
    let mut talk = Talk::new(shards, seed);
    let mut maker = LineMaker::new(seed);
    let registry = shardine::admin::registry();
    for _ in 0..LINES {
        let line = if maker.random.one_in(3) {
            let line = maker.known(0);
            spoiled(&mut maker, line)
        } else {
            let command = registry.all()[maker.random.index(registry.all().len())].command;
            if APART.contains(&command.name)
                || command.name.ends_with("subscribe")
                || matches!(command.run, Run::Container)
            {
                continue;
            }
            let mut line: Args = command.name.split('|').map(Into::into).collect();
            let least = command.arity.unsigned_abs() as usize;
            let most = least + maker.random.index(4);
            while line.len() < most {
                line.push(garbage(&mut maker));
            }
            line
        };
        let reply = talk.ask(&line);
        if talk.node.connection(talk.client).is_closed() {
            panic!("{} closed its connection: {reply:?}", shown(&line));
        }
        talk.ask(&args("HELLO 2"));
        talk.ask(&args("SELECT 0"));
        let keys = talk.node.keys_count(0) as i64;
        assert_eq!(talk.ask(&args("DBSIZE")), Value::Int(keys));
    }
    talk.node.assert_quiet();
}

#[test]
fn known_lines_are_answered_as_the_model_says() {
    super::with_seeds(20, |seed| {
        for shards in [1, 4] {
            against_the_model(shards, seed);
        }
    });
}

#[test]
fn every_line_gets_one_reply() {
    super::with_seeds(20, |seed| {
        for shards in [1, 4] {
            against_what_always_holds(shards, seed);
        }
    });
}
