//! Runs the scripts `tests/commands/*.txt` on nodes of 1, 2 and 4 shards.
//!
//! One step a line, arguments split as redis-cli does:
//!
//! ```text
//! SET a 1 => +OK|                  the reply as it is sent; `|` is CRLF, `\xNN` other bytes, `\|` and `\\` themselves
//! CLIENT REPLY OFF =>              no reply
//! KEYS * =>* *2|$1|a|$1|b|         an array, its elements in any order
//! TTL a =~ :[0-9]*|                a glob pattern over the escaped reply
//! @advance 1500                    the clock goes on by milliseconds
//! @client b                        the lines that follow come from this client
//! @read b => :1|                   what this client has received beside replies, compared in any of the three ways
//! @resp 3                          the client says HELLO
//! @flush                           a new node; all clients are gone
//! @start enable-debug-command yes  a new node with these parameters
//! ```
//!
//! Clients sit on different cores. A step is over when the node is at rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use shardine::base::glob;
use shardine::command::Run as RunsAs;
use shardine::config::parse_file;
use shardine::resp::{Arguments, Limits, Parsed, Parser, Value, decode, encode_line};

use crate::sim::node::{ConnectionId, Delivery, Node, NodeOptions};

/// How a reply is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Exactly,
    InAnyOrder,
    AsPattern,
}

/// One step of a script.
#[derive(Debug)]
enum Step {
    Line(Vec<Vec<u8>>, Compare, String),
    Read(String, Compare, String),
    Advance(u64),
    Client(String),
    Resp(String),
    Start(Vec<String>),
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the scripts' folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    scripts
}

/// The steps of a script with their line numbers and texts.
fn parse(path: &Path) -> Vec<(usize, String, Step)> {
    let text = std::fs::read_to_string(path).expect("a script is readable");
    let mut steps = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let step = parse_step(line).unwrap_or_else(|why| {
            panic!("{}:{}: {why}: {line}", path.display(), index + 1);
        });
        steps.push((index + 1, line.to_string(), step));
    }
    steps
}

fn parse_step(line: &str) -> Result<Step, String> {
    if let Some(directive) = line.strip_prefix('@')
        && !directive.starts_with("read ")
    {
        let mut words = directive.split_whitespace();
        let name = words.next().ok_or("an empty directive")?;
        let words: Vec<String> = words.map(String::from).collect();
        return match (name, words.as_slice()) {
            ("advance", [ms]) => Ok(Step::Advance(ms.parse().map_err(|_| "not milliseconds")?)),
            ("client", [name]) => Ok(Step::Client(name.clone())),
            ("resp", [version]) => Ok(Step::Resp(version.clone())),
            ("flush", []) => Ok(Step::Start(Vec::new())),
            ("start", words) if words.len() % 2 == 0 => Ok(Step::Start(words.to_vec())),
            _ => Err("an unknown directive".into()),
        };
    }
    let (arguments, compare, reply) = [
        (" =>* ", Compare::InAnyOrder),
        (" => ", Compare::Exactly),
        (" =~ ", Compare::AsPattern),
    ]
    .into_iter()
    .filter_map(|(mark, compare)| {
        let at = line.find(mark)?;
        Some((at, compare, &line[at + mark.len()..]))
    })
    .min_by_key(|(at, ..)| *at)
    .map(|(at, compare, reply)| (&line[..at], compare, reply.trim_end()))
    .or_else(|| {
        let arguments = line.trim_end().strip_suffix(" =>")?;
        Some((arguments, Compare::Exactly, ""))
    })
    .ok_or("no reply is given")?;
    if let Some(name) = arguments.strip_prefix("@read ") {
        return Ok(Step::Read(name.trim().into(), compare, reply.into()));
    }
    let arguments = split(arguments).ok_or("arguments that cannot be split")?;
    Ok(Step::Line(arguments, compare, reply.into()))
}

/// Splits a line into arguments: what the server does with an inline line is what redis-cli does.
fn split(line: &str) -> Option<Vec<Vec<u8>>> {
    let input = format!("{line}\n");
    let mut arguments = Arguments::default();
    match Parser::default().next(input.as_bytes(), &mut 0, &Limits::default(), &mut arguments) {
        Ok(Parsed::Line) => {}
        _ => return None,
    }
    let spans = 0..arguments.spans.len();
    let line = arguments.line(input.as_bytes(), spans);
    Some(line.args().map(<[u8]>::to_vec).collect())
}

/// A reply in the escaped form of the scripts.
fn escape(reply: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = reply;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\r' if after.first() == Some(&b'\n') => {
                text.push('|');
                rest = &after[1..];
            }
            b'|' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            other => write!(text, "\\x{other:02x}").expect("a string takes all"),
        }
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'|', _) => bytes.extend_from_slice(b"\r\n"),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hex digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hex digits"));
                rest = &after[3..];
            }
            (b'\\', [escaped, ..]) => {
                bytes.push(*escaped);
                rest = &after[1..];
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

/// The elements of an aggregate in a fixed order, anything else as it is.
fn sorted(reply: &[u8]) -> Option<Vec<String>> {
    let (value, len) = decode(reply).ok()??;
    if len != reply.len() {
        return None;
    }
    let mut elements: Vec<String> = match value {
        Value::Array(elements) | Value::Set(elements) => {
            elements.iter().map(|value| format!("{value:?}")).collect()
        }
        Value::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        _ => return None,
    };
    elements.sort();
    elements.push(char::from(reply[0]).into());
    Some(elements)
}

fn agrees(compare: Compare, expected: &str, got: &[u8]) -> bool {
    let escaped = escape(got);
    match compare {
        Compare::Exactly => escaped == expected,
        Compare::AsPattern => glob::matches(expected.as_bytes(), escaped.as_bytes(), false),
        Compare::InAnyOrder => {
            let sorted_got = sorted(got);
            sorted_got.is_some() && sorted_got == sorted(&unescape(expected))
        }
    }
}

/// A script on its way through a node.
struct Run {
    options: NodeOptions,
    node: Node,
    clients: BTreeMap<String, ConnectionId>,
    current: String,
}

impl Run {
    fn new(options: &NodeOptions) -> Run {
        Run {
            options: options.clone(),
            node: Node::new(options.clone()),
            clients: BTreeMap::new(),
            current: "a".into(),
        }
    }

    /// A new node with these parameters.
    fn start(&mut self, words: &[String]) {
        let lines: Vec<String> = words.chunks(2).map(|pair| pair.join(" ")).collect();
        let mut options = self.options.clone();
        let mut include = |_: &str| Err("a script includes nothing".into());
        parse_file(
            &lines.join("\n"),
            "@start",
            &mut options.config,
            &mut include,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        self.node = Node::new(options);
        self.clients.clear();
        self.current = "a".into();
    }

    /// The connection of a client; clients sit on the cores in turn, and come back after they were closed.
    fn connection(&mut self, name: &str) -> ConnectionId {
        let known = self.clients.get(name).copied();
        if let Some(id) = known
            && !self.node.connection(id).is_closed()
        {
            return id;
        }
        let core = self.clients.len() % self.options.shards;
        let id = self.node.connect(core);
        self.clients.insert(name.into(), id);
        id
    }

    /// Sends a line and returns what the client got by the time that the node is at rest.
    fn send(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let name = self.current.clone();
        let id = self.connection(&name);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        encode_line(&args, &mut bytes);
        self.node.send(id, &bytes);
        self.node.settle();
        std::mem::take(&mut self.node.connection(id).received)
    }

    /// What is wrong with a step, if something is: what was expected and what came.
    fn step(&mut self, step: &Step) -> Option<(String, String)> {
        let (compare, expected, got) = match step {
            Step::Line(args, compare, expected) => (*compare, expected, self.send(args)),
            Step::Read(name, compare, expected) => {
                let id = self.connection(name);
                let got = std::mem::take(&mut self.node.connection(id).received);
                (*compare, expected, got)
            }
            Step::Advance(ms) => {
                self.node.advance_ms(*ms);
                return None;
            }
            Step::Client(name) => {
                self.connection(name);
                self.current = name.clone();
                return None;
            }
            Step::Resp(version) => {
                let got = self.send(&[b"HELLO".to_vec(), version.clone().into_bytes()]);
                return (got.first() == Some(&b'-')).then(|| ("no error".into(), escape(&got)));
            }
            Step::Start(words) => {
                self.start(words);
                return None;
            }
        };
        if agrees(compare, expected, &got) {
            return None;
        }
        let how = match compare {
            Compare::Exactly => "",
            Compare::InAnyOrder => " (in any order)",
            Compare::AsPattern => " (a pattern)",
        };
        Some((format!("{expected}{how}"), escape(&got)))
    }
}

/// Runs all scripts on nodes of these options and lists every step that goes wrong.
#[track_caller]
fn run_all(options: &NodeOptions) {
    let mut wrong = String::new();
    for path in scripts() {
        let name = path.file_name().expect("a file").to_string_lossy();
        let mut run = Run::new(options);
        for (number, line, step) in parse(&path) {
            if let Some((expected, got)) = run.step(&step) {
                write!(
                    wrong,
                    "tests/commands/{name}:{number}: {line}\n  expected {expected}\n  got      {got}\n"
                )
                .expect("a string takes all");
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "with {} shards, {:?}:\n{wrong}",
        options.shards,
        options.delivery
    );
}

#[test]
fn scripts_hold_on_one_shard() {
    run_all(&NodeOptions::default());
}

#[test]
fn scripts_hold_on_two_shards() {
    run_all(&NodeOptions {
        shards: 2,
        ..NodeOptions::default()
    });
}

#[test]
fn scripts_hold_on_four_shards() {
    run_all(&NodeOptions {
        shards: 4,
        ..NodeOptions::default()
    });
}

#[test]
fn scripts_hold_in_random_delivery() {
    run_all(&NodeOptions {
        shards: 3,
        delivery: Delivery::Random(1),
        link_messages_max: 2,
        ..NodeOptions::default()
    });
}

#[test]
fn every_command_is_in_a_script() {
    let registry = shardine::admin::registry();
    let mut missing: BTreeMap<&str, ()> = registry
        .all()
        .iter()
        .filter(|registered| !matches!(registered.command.run, RunsAs::Container))
        .map(|registered| (registered.command.name, ()))
        .collect();
    for path in scripts() {
        for (_, _, step) in parse(&path) {
            let Step::Line(args, ..) = step else {
                continue;
            };
            let args: Vec<String> = args
                .iter()
                .map(|arg| String::from_utf8_lossy(arg).to_lowercase())
                .collect();
            missing.remove(args[0].as_str());
            if args.len() > 1 {
                missing.remove(format!("{}|{}", args[0], args[1]).as_str());
            }
        }
    }
    let missing: Vec<&str> = missing.into_keys().collect();
    assert!(
        missing.is_empty(),
        "commands that no script runs: {}",
        missing.join(" ")
    );
}
