//! Looks for one order of all lines of a run that explains every reply: strict serialisability.
//!
//! An order explains a run when the [`Model`], taking the lines one after the other, answers each as its client was answered,
//! and when it keeps what must come before what:
//! - a line that was answered before another arrived comes before it;
//! - of two lines of one session, the earlier comes first when they share a key, or when one of them needs several shards.
//!
//! A MULTI with its lines and its EXEC is one element of the order: nothing comes between its lines.
//!
//! A line whose client went away before the reply may stand anywhere behind its arrival, or nowhere.
//!
//! The search is depth first, with the sets of lines and states that lead nowhere remembered. Reads that fit are taken at
//! once: they change nothing, so an order with a read later is an order with it now.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use shardine::resp::Value;

use super::model::Model;

/// States that a search looks at before it gives up.
const STATES_MAX: usize = 20_000;

/// One line of a run.
#[derive(Clone, Debug)]
pub struct Operation {
    pub session: usize,
    pub db: usize,
    pub args: Vec<Vec<u8>>,
    /// The lines that an EXEC runs; empty for all other lines.
    pub block: Vec<Vec<Vec<u8>>>,
    /// The model is not asked: the line changes no data, and its reply says nothing.
    pub opaque: bool,
    /// It changes no data.
    pub reads: bool,
    /// Database and key.
    pub keys: Vec<(usize, Vec<u8>)>,
    /// It starts when the lines before it are answered, and the next starts when it is.
    pub alone: bool,
    /// The step in which it arrived.
    pub invoked: usize,
    /// The step in which its reply arrived, and the reply.
    pub answered: Option<(usize, Value)>,
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An order that explains the run.
    Order(Vec<usize>),
    /// There is none. The longest explained beginning is given.
    None(Vec<usize>),
    /// The search gave up.
    TooLong,
}

impl Operation {
    /// What runs: the line itself, or those of an EXEC.
    fn lines(&self) -> impl Iterator<Item = &Vec<Vec<u8>>> {
        let own = self.block.is_empty().then_some(&self.args);
        own.into_iter().chain(&self.block)
    }

    /// The reply to each of them; nothing when the whole is no EXEC's reply.
    fn replies<'a>(&self, reply: &'a Value) -> Option<Vec<&'a Value>> {
        match reply {
            _ if self.block.is_empty() => Some(vec![reply]),
            Value::Array(replies) if replies.len() == self.block.len() => {
                Some(replies.iter().collect())
            }
            _ => None,
        }
    }

    fn before(&self, other: &Operation, earlier_line: bool) -> bool {
        if let Some((step, _)) = &self.answered
            && *step < other.invoked
        {
            return true;
        }
        self.session == other.session
            && earlier_line
            && (self.alone || other.alone || self.keys.iter().any(|key| other.keys.contains(key)))
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} db {}:", self.session, self.db)?;
        for (at, line) in self.lines().enumerate() {
            write!(f, "{}", if at > 0 { " |" } else { "" })?;
            for arg in line {
                let shown = &arg[..arg.len().min(40)];
                write!(f, " {}", shown.escape_ascii())?;
            }
        }
        match &self.answered {
            Some((step, reply)) => {
                let reply: String = format!("{reply:?}").chars().take(300).collect();
                write!(f, "   [{}..{step}] => {reply}", self.invoked)
            }
            None => write!(f, "   [{}..", self.invoked),
        }
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    /// For each line, the lines that come before it.
    before: Vec<Vec<u64>>,
    /// Lines by when they were answered: the likeliest next come first.
    tried_in_order: Vec<usize>,
    seen: HashSet<(Vec<u64>, u64)>,
    order: Vec<usize>,
    longest: Vec<usize>,
    now_ms: i64,
}

/// Looks for an order of `operations`, of which those of one session stand in the order of its lines.
pub fn find_order(operations: &[Operation], now_ms: i64) -> Verdict {
    let words = operations.len().div_ceil(64);
    let before = operations
        .iter()
        .enumerate()
        .map(|(at, operation)| {
            let mut before = vec![0; words];
            for (other, earlier) in operations.iter().enumerate() {
                if other != at && earlier.before(operation, other < at) {
                    before[other / 64] |= 1 << (other % 64);
                }
            }
            before
        })
        .collect();
    let mut tried_in_order: Vec<usize> = (0..operations.len()).collect();
    tried_in_order.sort_by_key(|&at| {
        let operation = &operations[at];
        let answered = operation.answered.as_ref().map(|(step, _)| *step);
        (answered.unwrap_or(usize::MAX), operation.invoked, at)
    });
    let mut search = Search {
        operations,
        before,
        tried_in_order,
        seen: HashSet::new(),
        order: Vec::new(),
        longest: Vec::new(),
        now_ms,
    };
    if search.go_on(vec![0; words], Model::default()) {
        return Verdict::Order(search.order);
    }
    if search.seen.len() >= STATES_MAX {
        return Verdict::TooLong;
    }
    Verdict::None(search.longest)
}

fn has(done: &[u64], at: usize) -> bool {
    done[at / 64] & (1 << (at % 64)) != 0
}

impl Search<'_> {
    fn may_come(&self, done: &[u64], at: usize) -> bool {
        let mut before = self.before[at].iter().zip(done);
        !has(done, at) && before.all(|(before, done)| before & !done == 0)
    }

    /// The state after the line, if its reply is what the client got.
    fn try_line(&self, at: usize, model: &Model) -> Option<Model> {
        let operation = &self.operations[at];
        let mut model = model.clone();
        if operation.opaque {
            return Some(model);
        }
        let replies = match &operation.answered {
            Some((_, reply)) => Some(operation.replies(reply)?),
            None => None,
        };
        for (at, line) in operation.lines().enumerate() {
            let expected = model
                .apply(operation.db, line, self.now_ms)
                .unwrap_or_else(|| panic!("the model does not know {operation}"));
            if let Some(replies) = &replies
                && !expected.admits(replies[at])
            {
                return None;
            }
        }
        Some(model)
    }

    fn go_on(&mut self, mut done: Vec<u64>, model: Model) -> bool {
        let len = self.order.len();
        let mut taken = true;
        while taken {
            taken = false;
            for index in 0..self.tried_in_order.len() {
                let at = self.tried_in_order[index];
                let operation = &self.operations[at];
                if (operation.reads || operation.opaque)
                    && self.may_come(&done, at)
                    && self.try_line(at, &model).is_some()
                {
                    done[at / 64] |= 1 << (at % 64);
                    self.order.push(at);
                    taken = true;
                }
            }
        }
        if self.order.len() > self.longest.len() {
            self.longest = self.order.clone();
        }
        let finished = (0..self.operations.len())
            .all(|at| has(&done, at) || self.operations[at].answered.is_none());
        if finished {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        if self.seen.len() < STATES_MAX && self.seen.insert((done.clone(), hasher.finish())) {
            for index in 0..self.tried_in_order.len() {
                let at = self.tried_in_order[index];
                if !self.may_come(&done, at) {
                    continue;
                }
                let Some(next) = self.try_line(at, &model) else {
                    continue;
                };
                let mut with = done.clone();
                with[at / 64] |= 1 << (at % 64);
                self.order.push(at);
                if self.go_on(with, next) {
                    return true;
                }
                self.order.pop();
            }
        }
        self.order.truncate(len);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(session: usize, line: &str, steps: (usize, usize), reply: Value) -> Operation {
        let args: Vec<Vec<u8>> = line.split(' ').map(|arg| arg.as_bytes().to_vec()).collect();
        Operation {
            session,
            db: 0,
            keys: vec![(0, args[1].clone())],
            reads: line.contains("GET"),
            args,
            block: Vec::new(),
            opaque: false,
            alone: false,
            invoked: steps.0,
            answered: Some((steps.1, reply)),
        }
    }

    fn text(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    fn ok() -> Value {
        Value::Simple(b"OK".to_vec())
    }

    #[test]
    fn overlapping_lines_may_come_in_any_order() {
        let run = [
            operation(0, "SET a 1", (1, 9), ok()),
            operation(1, "SET a 2", (1, 9), ok()),
            operation(2, "GET a", (2, 5), text("2")),
            operation(2, "GET a", (6, 8), text("1")),
        ];
        assert_eq!(find_order(&run, 0), Verdict::Order(vec![1, 2, 0, 3]));
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_found() {
        let run = [
            operation(0, "SET a 1", (1, 2), ok()),
            operation(0, "SET a 2", (3, 4), ok()),
            operation(1, "GET a", (5, 6), text("1")),
        ];
        assert!(matches!(find_order(&run, 0), Verdict::None(_)));
    }

    #[test]
    fn half_of_a_line_over_several_keys_is_found() {
        let run = [
            operation(0, "MSET a 1 b 1", (1, 9), ok()),
            operation(
                1,
                "MGET a b",
                (2, 3),
                Value::Array(vec![text("1"), Value::Null]),
            ),
        ];
        assert!(matches!(find_order(&run, 0), Verdict::None(_)));
    }

    #[test]
    fn a_line_between_two_of_an_exec_is_found() {
        let line = |text: &str| -> Vec<Vec<u8>> {
            text.split(' ').map(|arg| arg.as_bytes().to_vec()).collect()
        };
        let run = |seen: &str| {
            let mut exec = operation(0, "EXEC x", (1, 9), Value::Array(vec![ok(), ok()]));
            exec.block = vec![line("SET a 1"), line("SET a 2")];
            exec.keys = vec![(0, b"a".to_vec())];
            [exec, operation(1, "GET a", (2, 3), text(seen))]
        };
        assert!(matches!(find_order(&run("1"), 0), Verdict::None(_)));
        assert_eq!(find_order(&run("2"), 0), Verdict::Order(vec![0, 1]));
    }

    #[test]
    fn a_line_without_reply_may_have_run() {
        let mut run = vec![
            operation(0, "SET a 1", (1, 2), ok()),
            operation(1, "GET a", (5, 6), text("1")),
            operation(1, "GET a", (7, 8), Value::Null),
        ];
        assert!(matches!(find_order(&run, 0), Verdict::None(_)));
        let mut gone = operation(2, "DEL a", (3, 4), Value::Int(1));
        gone.answered = None;
        run.push(gone);
        assert!(matches!(find_order(&run, 0), Verdict::Order(_)));
    }
}
