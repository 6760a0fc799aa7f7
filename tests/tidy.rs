//! The source test: reads the sources and holds the rules that the compiler does not know.
//!
//! - Layers: a module names only modules above it in [`LAYERS`]; a module that is not in the list fails.
//! - Purity: the modules in [`PURE`] know no async, clock, file, socket or thread.
//! - Every file opens with `//!` and stays under [`LINES_MAX`] lines, without tabs or trailing blanks.
//! - `unsafe` only in the modules in [`UNSAFE`].
//! - Calls in [`BANNED`] appear nowhere; those in [`BANNED_OUTSIDE_MAIN`] only in `src/main.rs`.
//!
//! The rules look at code with comments and literals blanked out, so that a sentence about a banned call
//! is no finding. What is right for one file alone stands in [`EXCEPTIONS`] with its reason.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// From the bottom up: a module may name itself and what stands before it.
const LAYERS: &[&str] = &[
    "base",
    "stats",
    "config",
    "rt",
    "resp",
    "structures",
    "keyspace",
    "rdb",
    "log",
    "pubsub",
    "tracking",
    "command",
    "acl",
    "mesh",
    "shard",
    "txn",
    "script",
    "persist",
    "replication",
    "admin",
    "session",
    "server",
];

/// Modules that a seed can replay in one thread. `mesh` is among them as its batches and outboxes are plain
/// data: what carries them between threads is `rt`.
const PURE: &[&str] = &[
    "base",
    "stats",
    "config",
    "resp",
    "structures",
    "keyspace",
    "rdb",
    "log",
    "command",
    "acl",
    "mesh",
    "shard",
    "txn",
    "pubsub",
    "tracking",
    "script",
];

/// Modules that may hold `unsafe`.
const UNSAFE: &[&str] = &["rt", "structures"];

const LINES_MAX: usize = 1000;

/// What a pure module may not name. `std::time::Duration` is plain data and allowed.
const IMPURE: &[&str] = &[
    "async",
    ".await",
    "glommio",
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "std::os",
    "Instant",
    "SystemTime",
    "rustix",
    "libc",
    "socket2",
    "tokio",
];

const BANNED: &[&str] = &[
    "todo!",
    "unimplemented!",
    "dbg!",
    "thread::sleep",
    "#[ignore",
    "#[should_panic",
];

const BANNED_OUTSIDE_MAIN: &[&str] = &["println!", "print!", "process::exit"];

/// Findings that are right where they are: path, rule's needle, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "tests/server/harness.rs",
        "thread::sleep",
        "the one pause between two looks at a condition that has a deadline",
    ),
    (
        "src/rt/sys.rs",
        "thread::sleep",
        "DEBUG SLEEP is there to block the server",
    ),
];

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// A source file with what the rules need to know of it.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
    /// The text with comments, strings and characters blanked out; same length, same line ends.
    code: String,
    /// Byte ranges of `code` that only exist under `cfg(test)`.
    tests: Vec<std::ops::Range<usize>>,
}

impl<'a> Source<'a> {
    fn new(path: &'a str, text: &'a str, all_test: bool) -> Source<'a> {
        let code = blank(text);
        let tests = if all_test {
            std::iter::once(0..code.len()).collect()
        } else {
            test_ranges(&code)
        };
        Source {
            path,
            text,
            code,
            tests,
        }
    }

    fn in_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    fn finding(&self, at: usize, rule: String) -> Finding {
        let line = self.code[..at].matches('\n').count() + 1;
        Finding {
            path: self.path.to_owned(),
            line,
            rule,
        }
    }

    /// The layer of a file under `src`; none for `lib.rs`, `main.rs` and files elsewhere.
    fn module(&self) -> Option<&'a str> {
        let rest = self.path.strip_prefix("src/")?;
        match rest.split_once('/') {
            Some((module, _)) => Some(module),
            None => rest
                .strip_suffix(".rs")
                .filter(|name| !matches!(*name, "lib" | "main")),
        }
    }

    /// How many modules lie between the crate's root and the file's own code.
    fn depth(&self) -> usize {
        let rest = self.path.strip_prefix("src/").unwrap_or(self.path);
        let parts = rest.split('/').count();
        if rest.ends_with("/mod.rs") || matches!(rest, "lib.rs" | "main.rs") {
            parts - 1
        } else {
            parts
        }
    }
}

/// Replaces comments, string and character literals by blanks, byte for byte.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    let erase = |out: &mut [u8], from: usize, to: usize| {
        for byte in &mut out[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    while at < bytes.len() {
        let from = at;
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            erase(&mut out, from, at);
        } else if rest.starts_with(b"/*") {
            let mut depth = 0;
            while at < bytes.len() {
                if bytes[at..].starts_with(b"/*") {
                    depth += 1;
                    at += 2;
                } else if bytes[at..].starts_with(b"*/") {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    at += 1;
                }
            }
            erase(&mut out, from, at);
        } else if let Some(hashes) = raw_string(bytes, at) {
            let open = bytes[at..].iter().position(|b| *b == b'"').unwrap_or(0) + 1;
            let close: Vec<u8> = std::iter::once(b'"')
                .chain(std::iter::repeat_n(b'#', hashes))
                .collect();
            let body = at + open;
            at = find(&bytes[body..], &close).map_or(bytes.len(), |end| body + end + close.len());
            erase(&mut out, from, at);
        } else if bytes[at] == b'"' {
            at = string_end(bytes, at);
            erase(&mut out, from, at);
        } else if bytes[at] == b'\'' {
            match char_end(bytes, at) {
                Some(end) => {
                    at = end;
                    erase(&mut out, from, at);
                }
                None => at += 1,
            }
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).expect("blanks are ASCII and replace whole characters")
}

/// The number of hashes when a raw string literal starts at `at`.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    if at > 0 && is_word(bytes[at - 1]) {
        return None;
    }
    let mut rest = &bytes[at..];
    if let [b'b' | b'c', tail @ ..] = rest {
        rest = tail;
    }
    let [b'r', tail @ ..] = rest else { return None };
    let hashes = tail.iter().take_while(|b| **b == b'#').count();
    (tail.get(hashes) == Some(&b'"')).then_some(hashes)
}

fn string_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal, or `None` when the quote starts a lifetime.
fn char_end(bytes: &[u8], open: usize) -> Option<usize> {
    if bytes.get(open + 1) == Some(&b'\\') {
        let close = bytes[open + 3..].iter().position(|b| *b == b'\'')?;
        return Some(open + 3 + close + 1);
    }
    let text = std::str::from_utf8(&bytes[open + 1..]).ok()?;
    let first = text.chars().next()?;
    let close = open + 1 + first.len_utf8();
    (bytes.get(close) == Some(&b'\'')).then_some(close + 1)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `needle` stands in `code` as a word of its own: no letter continues it on a side where it has one.
fn words(code: &str, needle: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let first = needle.as_bytes()[0];
    let last = needle.as_bytes()[needle.len() - 1];
    code.match_indices(needle)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = at.checked_sub(1).map(|at| bytes[at]);
            let after = bytes.get(at + needle.len()).copied();
            !(is_word(first) && before.is_some_and(is_word)
                || is_word(last) && after.is_some_and(is_word))
        })
        .collect()
}

/// The bodies of the items under `#[cfg(test)]`.
fn test_ranges(code: &str) -> Vec<std::ops::Range<usize>> {
    code.match_indices("#[cfg(test)]")
        .filter_map(|(from, _)| {
            let open = from + code[from..].find(['{', ';'])?;
            if code.as_bytes()[open] == b';' {
                return Some(from..open);
            }
            Some(from..block_end(code, open))
        })
        .collect()
}

/// One past the brace that closes the one at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The names that a path starting at `crate::` (ending at `at`) reaches in the crate's root.
fn root_names(code: &str, at: usize) -> Vec<String> {
    let rest = code[at..].trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        let name: String = rest.chars().take_while(|c| is_word(*c as u8)).collect();
        // A macro lives in the root whatever module defines it.
        let is_macro = rest[name.len()..].starts_with('!');
        return if name.is_empty() || is_macro {
            vec![]
        } else {
            vec![name]
        };
    };
    let mut names = vec![];
    let mut depth = 0;
    let mut item_start = true;
    let mut name = String::new();
    for c in group.chars() {
        if depth == 0 && item_start && is_word(c as u8) {
            name.push(c);
            continue;
        }
        if !name.is_empty() {
            item_start = false;
            names.push(std::mem::take(&mut name));
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => item_start = true,
            _ => {}
        }
    }
    names
}

fn check_layers(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let Some(module) = source.module() else {
        return;
    };
    let Some(rank) = LAYERS.iter().position(|layer| *layer == module) else {
        findings.push(source.finding(0, format!("module `{module}` is not in the list of layers")));
        return;
    };
    for at in words(&source.code, "crate::") {
        for name in root_names(&source.code, at + "crate::".len()) {
            match LAYERS.iter().position(|layer| *layer == name) {
                None => findings.push(
                    source.finding(at, format!("`crate::{name}` is not in the list of layers")),
                ),
                Some(other) if other > rank => findings.push(source.finding(
                    at,
                    format!("`{module}` names `{name}`, which is a layer above it"),
                )),
                Some(_) => {}
            }
        }
    }
    for (at, supers) in super_chains(&source.code) {
        let depth = source.depth() + inline_modules_around(&source.code, at);
        if supers >= depth {
            findings.push(
                source.finding(
                    at,
                    "`super` reaches the crate's root: write `crate::` so that the layer shows"
                        .to_owned(),
                ),
            );
        }
    }
}

/// Each `super::super::…` with its place and the number of steps up.
fn super_chains(code: &str) -> Vec<(usize, usize)> {
    words(code, "super::")
        .into_iter()
        .filter(|at| !code[..*at].ends_with("super::"))
        .map(|at| {
            let mut supers = 0;
            let mut rest = &code[at..];
            while let Some(tail) = rest.strip_prefix("super::") {
                supers += 1;
                rest = tail;
            }
            (at, supers)
        })
        .collect()
}

/// How many `mod name { … }` blocks of this file enclose the place.
fn inline_modules_around(code: &str, place: usize) -> usize {
    words(code, "mod")
        .into_iter()
        .filter(|at| {
            let Some(open) = code[*at..].find(['{', ';']).map(|offset| at + offset) else {
                return false;
            };
            code.as_bytes()[open] == b'{'
                && (open..block_end(code, open)).contains(&place)
                && code[at + 3..open].trim().bytes().all(is_word)
        })
        .count()
}

fn check_purity(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if !source.module().is_some_and(|module| PURE.contains(&module)) {
        return;
    }
    for needle in IMPURE {
        for at in words(&source.code, needle) {
            if !source.in_test(at) {
                findings.push(source.finding(
                    at,
                    format!("`{needle}` in a pure module: no clock, I/O or thread"),
                ));
            }
        }
    }
    for at in words(&source.code, "crate::") {
        for name in root_names(&source.code, at + "crate::".len()) {
            if LAYERS.contains(&name.as_str()) && !PURE.contains(&name.as_str()) {
                findings.push(
                    source.finding(at, format!("a pure module names `{name}`, which is not")),
                );
            }
        }
    }
    for at in words(&source.code, "std::{") {
        let end = at + source.code[at..].find(';').unwrap_or(0);
        for needle in ["net", "fs", "thread", "process", "env", "os"] {
            if !source.in_test(at) && !words(&source.code[at..end], needle).is_empty() {
                findings.push(source.finding(
                    at,
                    format!("`std::{needle}` in a pure module: no clock, I/O or thread"),
                ));
            }
        }
    }
}

fn check_unsafe(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let allowed = source
        .module()
        .is_some_and(|module| UNSAFE.contains(&module));
    if allowed {
        return;
    }
    for at in words(&source.code, "unsafe") {
        findings.push(source.finding(at, format!("`unsafe` outside {}", UNSAFE.join(" and "))));
    }
}

fn check_form(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if !source.text.starts_with("//!") {
        findings.push(source.finding(0, "the file does not open with a `//!` head".to_owned()));
    }
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        findings.push(source.finding(0, format!("{lines} lines; a file has at most {LINES_MAX}")));
    }
    let mut at = 0;
    for line in source.text.split_inclusive('\n') {
        let content = line.trim_end_matches('\n');
        if content.contains('\t') {
            findings.push(source.finding(at, "a tab".to_owned()));
        }
        if content.ends_with([' ', '\t', '\r']) {
            findings.push(source.finding(at, "blanks at the end of the line".to_owned()));
        }
        at += line.len();
    }
}

fn check_calls(source: &Source<'_>, findings: &mut Vec<Finding>) {
    for needle in BANNED {
        for at in words(&source.code, needle) {
            findings.push(source.finding(at, format!("`{needle}` is banned")));
        }
    }
    if source.path == "src/main.rs" || source.path.starts_with("tests/") {
        return;
    }
    for needle in BANNED_OUTSIDE_MAIN {
        for at in words(&source.code, needle) {
            if !source.in_test(at) {
                findings.push(source.finding(at, format!("`{needle}` outside `src/main.rs`")));
            }
        }
    }
}

/// All rules on one file; `all_test` says that the whole file exists only under `cfg(test)`.
fn check(path: &str, text: &str, all_test: bool) -> Vec<Finding> {
    let source = Source::new(path, text, all_test);
    let mut findings = vec![];
    check_form(&source, &mut findings);
    check_calls(&source, &mut findings);
    check_unsafe(&source, &mut findings);
    check_layers(&source, &mut findings);
    check_purity(&source, &mut findings);
    findings.retain(|finding| {
        !EXCEPTIONS
            .iter()
            .any(|(path, needle, _)| finding.path == *path && finding.rule.contains(needle))
    });
    findings
}

/// All `.rs` files below `dir`, sorted.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    for entry in entries {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Paths (without `.rs`) that a `#[cfg(test)] mod name;` in `path` declares.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let code = blank(text);
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    let own = match file.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => dir.to_owned(),
        name => format!("{dir}/{name}"),
    };
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, needle)| {
            let rest = code[at + needle.len()..].trim_start();
            let name = rest.strip_prefix("mod ")?.split([';', '{']).next()?;
            rest[4 + name.len()..]
                .starts_with(';')
                .then(|| format!("{own}/{}", name.trim()))
        })
        .collect()
}

#[test]
fn sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![];
    for top in ["src", "tests"] {
        for path in rust_files(&root.join(top)) {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let name = path.strip_prefix(root).expect("below the root");
            sources.push((name.to_string_lossy().into_owned(), text));
        }
    }
    let test_only: BTreeSet<String> = sources
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let mut findings = vec![];
    for (path, text) in &sources {
        let all_test = test_only.iter().any(|module| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
        findings.extend(check(path, text, all_test));
    }
    let report: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{report}",
        findings.len()
    );
}

/// The rules broken by a snippet at `path`; the head is added.
fn rules(path: &str, snippet: &str) -> Vec<String> {
    let text = format!("//! Head.\n{snippet}\n");
    check(path, &text, false)
        .into_iter()
        .map(|finding| finding.to_string())
        .collect()
}

#[track_caller]
fn broken(path: &str, snippet: &str, expected: &str) {
    let found = rules(path, snippet);
    assert!(
        found.iter().any(|rule| rule.contains(expected)),
        "{snippet:?} in {path}: expected {expected:?}, found {found:?}"
    );
}

#[track_caller]
fn kept(path: &str, snippet: &str) {
    let found = rules(path, snippet);
    assert!(found.is_empty(), "{snippet:?} in {path}: {found:?}");
}

#[test]
fn a_module_names_only_layers_above_it() {
    broken(
        "src/resp/line.rs",
        "use crate::session::Session;",
        "src/resp/line.rs:2: `resp` names `session`",
    );
    broken(
        "src/resp.rs",
        "fn f() { crate::server::stop() }",
        "`resp` names `server`",
    );
    broken(
        "src/shard/mod.rs",
        "use crate::{base::glob, txn::{Plan, session}};",
        "`shard` names `txn`",
    );
    broken(
        "src/resp/mod.rs",
        "use crate::surprise::X;",
        "`crate::surprise` is not in the list",
    );
    broken("src/surprise/mod.rs", "", "`surprise` is not in the list");
    kept(
        "src/session/mod.rs",
        "use crate::{base::glob, txn::{Plan, server}};",
    );
    kept(
        "src/session/mod.rs",
        "use crate::session::gate::Gate;\nuse crate::resp::Line;",
    );
    kept("src/command/string.rs", "crate::rows! {}");
    kept("src/lib.rs", "pub mod server;");
}

#[test]
fn super_does_not_hide_a_layer() {
    broken(
        "src/resp/mod.rs",
        "use super::session::Session;",
        "`super` reaches the crate's root",
    );
    broken(
        "src/resp/line.rs",
        "use super::super::session::Session;",
        "`super` reaches",
    );
    broken(
        "src/resp/mod.rs",
        "mod tests { use super::super::session::S; }",
        "`super` reaches",
    );
    kept("src/resp/line.rs", "use super::Span;");
    kept("src/resp/mod.rs", "mod tests {\n    use super::*;\n}");
}

#[test]
fn pure_modules_have_no_clock_io_or_thread() {
    broken(
        "src/keyspace/mod.rs",
        "async fn get() {}",
        "`async` in a pure module",
    );
    broken(
        "src/keyspace/mod.rs",
        "use std::time::Instant;",
        "`Instant` in a pure module",
    );
    broken(
        "src/command/mod.rs",
        "use std::time::{Duration, SystemTime};",
        "`SystemTime`",
    );
    broken(
        "src/shard/mod.rs",
        "use std::{fs, mem};",
        "`std::fs` in a pure module",
    );
    broken(
        "src/shard/mod.rs",
        "fn f() { std::thread::spawn(|| ()); }",
        "`std::thread`",
    );
    broken(
        "src/resp/mod.rs",
        "fn f() { libc::getpid(); }",
        "`libc` in a pure module",
    );
    kept(
        "src/keyspace/mod.rs",
        "use std::time::Duration;\n// Not async, by design.",
    );
    kept("src/keyspace/mod.rs", "const DOC: &str = \"async\";");
    kept(
        "src/keyspace/mod.rs",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    );
    kept("src/rt/mod.rs", "use std::time::Instant;");
}

#[test]
fn unsafe_stays_in_its_modules() {
    broken(
        "src/session/mod.rs",
        "fn f() { unsafe { g() } }",
        "`unsafe` outside rt and structures",
    );
    kept("src/structures/table.rs", "fn f() { unsafe { g() } }");
    kept("src/session/mod.rs", "#![forbid(unsafe_code)]");
}

#[test]
fn files_have_a_head_and_a_size() {
    let headless = check("src/base/mod.rs", "fn f() {}\n", false);
    assert!(headless[0].rule.contains("`//!` head"), "{headless:?}");
    let long = format!("//! Head.\n{}", "fn f() {}\n".repeat(LINES_MAX));
    let long = check("src/base/mod.rs", &long, false);
    assert!(long[0].rule.contains("1001 lines"), "{long:?}");
    broken("src/base/mod.rs", "fn f() {} ", ":2: blanks at the end");
    broken("src/base/mod.rs", "\tfn f() {}", ":2: a tab");
}

#[test]
fn banned_calls_are_found_in_code_only() {
    broken(
        "src/session/mod.rs",
        "fn f() { todo!() }",
        "`todo!` is banned",
    );
    broken(
        "src/session/mod.rs",
        "fn f() { unimplemented!() }",
        "`unimplemented!` is banned",
    );
    broken(
        "src/session/mod.rs",
        "fn f() { dbg!(1); }",
        "`dbg!` is banned",
    );
    broken(
        "src/rt/mod.rs",
        "fn f() { std::thread::sleep(d); }",
        "`thread::sleep` is banned",
    );
    broken(
        "src/rt/mod.rs",
        "fn f() { println!(); }",
        "`println!` outside",
    );
    broken(
        "src/rt/mod.rs",
        "fn f() { std::process::exit(1); }",
        "`process::exit` outside",
    );
    broken(
        "tests/server/x.rs",
        "#[test]\n#[ignore]\nfn f() {}",
        ":3: `#[ignore` is banned",
    );
    broken(
        "tests/server/x.rs",
        "#[should_panic]\nfn f() {}",
        "`#[should_panic` is banned",
    );
    broken(
        "tests/server/x.rs",
        "fn f() { thread::sleep(d); }",
        "`thread::sleep` is banned",
    );
    kept(
        "src/main.rs",
        "fn main() { println!(); std::process::exit(1); }",
    );
    kept(
        "src/rt/mod.rs",
        "// todo!() and println!() in a sentence\nfn f() { eprintln!(); }",
    );
    kept(
        "src/rt/mod.rs",
        "const A: &str = r#\"todo!(\"x\")\"#; const B: char = '\"'; /* dbg!() */",
    );
    kept("src/rt/mod.rs", "fn f<'a>(x: &'a str) -> &'a str { x }");
}

#[test]
fn test_modules_in_files_of_their_own_are_known() {
    let text = "//! Head.\n#[cfg(test)]\nmod model;\nmod table;\n";
    assert_eq!(
        test_modules("src/structures/mod.rs", text),
        ["src/structures/model"]
    );
    assert_eq!(
        test_modules("src/keyspace.rs", text),
        ["src/keyspace/model"]
    );
}
