//! A hash of few small fields, some of which expire: one listpack of triples.
//!
//! The order of the triples means nothing: the earliest expiry is kept beside them. Redis sorts its own by expiry; whoever
//! writes its format from here has to sort.

use super::{Field, Found, Ttl};
use crate::structures::listpack::{Builder, Element, Listpack, Pos};

/// Elements of a triple.
const TRIPLE: usize = 3;

/// The third element of a field that never expires.
const NEVER: i64 = 0;

/// More than the third element takes.
const EXPIRY_BYTES_MAX: usize = 16;

/// No field expires.
const NO_DEADLINE: i64 = i64::MAX;

/// Fields, values and expiries in one listpack.
#[derive(Clone)]
pub(super) struct Timed {
    pack: Listpack,
    /// No field expires before this; may be too early.
    deadline: i64,
}

impl Timed {
    /// The pairs of a hash without expiries.
    pub(super) fn from_pairs(pairs: &Listpack) -> Timed {
        let mut builder = Builder::with_capacity(pairs.bytes_len() + pairs.len());
        let mut elements = pairs.iter();
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            builder.push_element(name);
            builder.push_element(value);
            builder.push_int(NEVER);
        }
        Timed {
            pack: builder.finish(),
            deadline: NO_DEADLINE,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pack.len() / TRIPLE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pack.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pack.memory_bytes()
    }

    pub(super) fn would_fit(&self, bytes: usize) -> bool {
        self.pack.would_fit(bytes.saturating_add(EXPIRY_BYTES_MAX))
    }

    pub(super) fn deadline(&self) -> Option<i64> {
        (self.deadline != NO_DEADLINE).then_some(self.deadline)
    }

    /// The number of fields whose expiry is before `now`.
    pub(super) fn due(&self, now: i64) -> usize {
        if self.deadline >= now {
            return 0;
        }
        self.iter().filter(|field| !field.lives(now)).count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let mut elements = self.pack.iter();
        std::iter::from_fn(move || {
            Some(Field {
                name: elements.next()?,
                value: elements.next()?,
                expiry: expiry_of(elements.next()?),
            })
        })
    }

    pub(super) fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        let [name, value, expiry] = self.find(name)?;
        Some(Field {
            name: self.pack.get(name),
            value: self.pack.get(value),
            expiry: expiry_of(self.pack.get(expiry)),
        })
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], ttl: Ttl, now: i64) -> Found {
        let Some([_, value_at, expiry_at]) = self.find(name) else {
            self.pack.push_back(name);
            self.pack.push_back(value);
            self.pack.push_back_int(NEVER);
            return Found::Nothing;
        };
        let expired = expiry_of(self.pack.get(expiry_at)).is_some_and(|at| at < now);
        if expired || ttl == Ttl::Clear {
            // Behind the value, whose place it does not change.
            self.pack.replace_int(expiry_at, NEVER);
        }
        self.pack.replace(value_at, value);
        if expired {
            Found::Expired
        } else {
            Found::Field
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let found = self.find(name);
        if let Some([at, ..]) = found {
            self.pack.remove_range(at, TRIPLE);
        }
        found.is_some()
    }

    pub(super) fn set_expiry(&mut self, name: &[u8], expiry: Option<i64>) -> bool {
        let Some([.., expiry_at]) = self.find(name) else {
            return false;
        };
        // A moment of 0 would read as none; both it and 1 have long passed.
        let at = expiry.map_or(NEVER, |at| at.max(1));
        self.pack.replace_int(expiry_at, at);
        if expiry.is_some() {
            self.deadline = self.deadline.min(at);
        }
        true
    }

    /// Removes fields whose expiry is before `now`, and makes the deadline exact: one pass, whatever the budget.
    pub(super) fn expire(&mut self, now: i64, budget: &mut usize, mut expired: impl FnMut(&[u8])) {
        if self.deadline >= now {
            return;
        }
        let due = self.due(now);
        if due > 0 {
            let mut builder = Builder::with_capacity(self.pack.bytes_len());
            for field in self.iter() {
                if field.lives(now) {
                    builder.push_element(field.name);
                    builder.push_element(field.value);
                    builder.push_int(field.expiry.unwrap_or(NEVER));
                } else {
                    expired(field.name.to_bytes(&mut itoa::Buffer::new()));
                }
            }
            self.pack = builder.finish();
        }
        *budget = budget.saturating_sub(due + 1);
        let first = self.iter().filter_map(|field| field.expiry).min();
        self.deadline = first.unwrap_or(NO_DEADLINE);
    }

    /// Where a field's three elements are.
    fn find(&self, name: &[u8]) -> Option<[Pos; TRIPLE]> {
        let name = self.pack.find(self.pack.first()?, name, TRIPLE - 1)?;
        let value = self.pack.next(name)?;
        Some([name, value, self.pack.next(value)?])
    }
}

fn expiry_of(element: Element<'_>) -> Option<i64> {
    element.to_int().filter(|&at| at != NEVER)
}
