//! A set: distinct members.
//!
//! ```text
//!   ints    sorted integers                     "intset"
//!   pack    one listpack, as they came          "listpack"
//!   full    a table of pairs without values     "hashtable"
//! ```
//!
//! | file | what |
//! |---|---|
//! | `mod` | the set in any form, and when it goes from one to another |
//! | `ints` | the sorted integers |
//! | `sample` | random members |
//! | `algebra` | intersection, union, difference of several sets |
//!
//! Invariant: a set takes the form that Redis 7.2 gives it. What is added may make it larger a form, never smaller; only taking
//! most of a large set's members leaves a small one.
//!
//! Lives in an entry on a shard.

pub mod algebra;
mod ints;
mod sample;

pub use ints::Ints;

use std::collections::HashSet;

use super::entry::{Collection, Type, allocated};
use super::listpack::{Builder, Corrupt, Element, Listpack, element_bytes_max};
use super::pairs::{Pair, Pairs, hash_state};

/// Redis's sorted integers hold no more, whatever the parameter says.
const INTS_MAX: usize = 1 << 30;

/// The digits of the longest integer, with its sign.
const INT_BYTES_MAX: usize = 20;

/// Up to where a set stays in a small form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most integers: `set-max-intset-entries`.
    pub ints: usize,
    /// The most members of a listpack: `set-max-listpack-entries`.
    pub entries: usize,
    /// The longest member of a listpack: `set-max-listpack-value`.
    pub value_bytes: usize,
}

/// A set: distinct members.
#[derive(Clone)]
pub struct Set(Form);

#[derive(Clone)]
enum Form {
    Ints(Ints),
    Pack(Listpack),
    Full(Box<Pairs>),
}

impl Default for Set {
    fn default() -> Set {
        Set(Form::Ints(Ints::default()))
    }
}

impl Set {
    /// A set of the elements of a listpack, in the form that the limits ask for. One that is there twice is corrupt.
    pub fn from_listpack(pack: Listpack, limits: Limits) -> Result<Set, Corrupt> {
        let mut seen = HashSet::with_capacity_and_hasher(pack.len(), hash_state());
        if !pack.iter().all(|element| seen.insert(canonical(element))) {
            return Err(Corrupt);
        }
        let mut set = Set(Form::Pack(pack));
        if set.len() > limits.entries {
            set.fill();
        }
        Ok(set)
    }

    /// A set of the integers of Redis's serialised form, in the form that the limits ask for.
    pub fn from_ints(bytes: &[u8], limits: Limits) -> Result<Set, Corrupt> {
        let mut set = Set(Form::Ints(Ints::from_bytes(bytes)?));
        set.fill_too_many_ints(limits);
        Ok(set)
    }

    /// An empty set that begins as a listpack.
    pub fn new_pack() -> Set {
        Set(Form::Pack(Listpack::new()))
    }

    /// The listpack of a set that is one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Pack(pack) => Some(pack),
            _ => None,
        }
    }

    /// The integers of a set that is kept as such.
    pub fn as_ints(&self) -> Option<&Ints> {
        match &self.0 {
            Form::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The number of members. Whether there are any, [`Collection::is_empty`] says.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.len(),
            Form::Pack(pack) => pack.len(),
            Form::Full(pairs) => pairs.len(),
        }
    }

    /// All members. Only those of a full set may be integers in the form of bytes.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let (ints, pack, full) = match &self.0 {
            Form::Ints(ints) => (Some(ints), None, None),
            Form::Pack(pack) => (None, Some(pack), None),
            Form::Full(pairs) => (None, None, Some(pairs)),
        };
        let ints = ints.into_iter().flat_map(Ints::iter).map(Element::Int);
        let pack = pack.into_iter().flat_map(Listpack::iter);
        let full = full.into_iter().flat_map(|pairs| pairs.iter());
        ints.chain(pack).chain(full.map(member_of))
    }

    /// The member is in.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Ints(ints) => parse(member).is_some_and(|value| ints.contains(value)),
            Form::Pack(pack) => find(pack, member).is_some(),
            Form::Full(pairs) => pairs.contains(member),
        }
    }

    /// The member, as another set has it, is in.
    #[inline]
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        match (&self.0, member) {
            (Form::Ints(ints), Element::Int(value)) => ints.contains(value),
            _ => self.contains(member.to_bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Emits about `count` members from `cursor` on; returns the cursor to go on from, 0 at the end. A small set is emitted as
    /// a whole.
    pub fn scan(&self, cursor: u64, count: usize, emit: &mut dyn FnMut(Element<'_>)) -> u64 {
        let Form::Full(pairs) = &self.0 else {
            self.iter().for_each(emit);
            return 0;
        };
        pairs.scan(cursor, count, &mut |pair| emit(member_of(pair)))
    }

    /// Makes the set fit for `count` members, of which `first` is the first: an empty one takes the form that suits them, another
    /// becomes full at once when they alone are too many.
    pub fn prepare(&mut self, first: &[u8], count: usize, limits: Limits) {
        match &self.0 {
            Form::Full(_) => {}
            Form::Ints(_) | Form::Pack(_) if self.is_empty() => {
                self.0 = if count <= limits.ints && parse(first).is_some() {
                    Form::Ints(Ints::default())
                } else if count <= limits.entries {
                    Form::Pack(Listpack::new())
                } else {
                    Form::Full(Box::default())
                };
            }
            Form::Ints(_) if count > limits.ints => self.fill(),
            Form::Pack(_) if count > limits.entries => self.fill(),
            Form::Ints(_) | Form::Pack(_) => {}
        }
    }

    /// Adds a member; says whether it is new.
    pub fn insert(&mut self, member: &[u8], limits: Limits) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => {
                if let Some(value) = parse(member) {
                    let new = ints.insert(value);
                    self.fill_too_many_ints(limits);
                    return new;
                }
                self.mix(member.len(), limits);
            }
            Form::Pack(pack) => {
                if find(pack, member).is_some() {
                    return false;
                }
                let fits = pack.len() < limits.entries
                    && member.len() <= limits.value_bytes
                    && pack.would_fit(member.len());
                if !fits {
                    self.fill();
                }
            }
            Form::Full(_) => {}
        }
        match &mut self.0 {
            Form::Ints(_) => unreachable!("what is no integer has made it another form"),
            Form::Pack(pack) => {
                pack.push_back(member);
                true
            }
            Form::Full(pairs) => pairs.insert(member, b""),
        }
    }

    /// Adds a member as another set has it; says whether it is new.
    pub fn insert_element(&mut self, member: Element<'_>, limits: Limits) -> bool {
        if let (Form::Ints(ints), Element::Int(value)) = (&mut self.0, member) {
            let new = ints.insert(value);
            self.fill_too_many_ints(limits);
            return new;
        }
        self.insert(member.to_bytes(&mut itoa::Buffer::new()), limits)
    }

    /// Removes a member; says whether it was in.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => parse(member).is_some_and(|value| ints.remove(value)),
            Form::Pack(pack) => {
                let found = find(pack, member);
                if let Some(at) = found {
                    pack.remove(at);
                }
                found.is_some()
            }
            Form::Full(pairs) => pairs.remove(member),
        }
    }

    /// Becomes sorted integers when all members are integers, and not too many.
    pub fn become_ints(&mut self, limits: Limits) {
        if matches!(self.0, Form::Ints(_)) || self.len() > limits.ints.min(INTS_MAX) {
            return;
        }
        let mut ints = Ints::default();
        for member in self.iter() {
            let Some(value) = member.to_int() else {
                return;
            };
            ints.insert(value);
        }
        self.0 = Form::Ints(ints);
    }

    /// Sorted integers become what can take a member of `bytes` bytes besides.
    fn mix(&mut self, bytes: usize, limits: Limits) {
        let Form::Ints(ints) = &self.0 else { return };
        let len = ints.len();
        let digits = |value: i64| Element::Int(value).byte_len();
        let longest_int = ints
            .bounds()
            .map_or(0, |(first, last)| digits(first).max(digits(last)));
        let room = len.saturating_mul(element_bytes_max(INT_BYTES_MAX));
        let fits = len < limits.entries
            && longest_int.max(bytes) <= limits.value_bytes
            && Listpack::new().would_fit(room.saturating_add(bytes));
        if !fits {
            return self.fill();
        }
        let mut pack = Builder::with_capacity(ints.as_bytes().len() + 3 * len);
        ints.iter().for_each(|value| pack.push_int(value));
        self.0 = Form::Pack(pack.finish());
    }

    fn fill_too_many_ints(&mut self, limits: Limits) {
        if matches!(&self.0, Form::Ints(ints) if ints.len() > limits.ints.min(INTS_MAX)) {
            self.fill();
        }
    }

    /// Becomes full.
    fn fill(&mut self) {
        let mut pairs = Pairs::new();
        for member in self.iter() {
            pairs.insert(member.to_bytes(&mut itoa::Buffer::new()), b"");
        }
        self.0 = Form::Full(Box::new(pairs));
    }
}

#[inline]
fn parse(member: &[u8]) -> Option<i64> {
    crate::base::number::parse_i64(member)
}

#[inline]
fn find(pack: &Listpack, member: &[u8]) -> Option<usize> {
    pack.find(pack.first()?, member, 0)
}

#[inline]
fn member_of(pair: &Pair) -> Element<'_> {
    Element::Bytes(pair.key())
}

/// The one form of a member that has several: an integer where it is one.
#[inline]
fn canonical(member: Element<'_>) -> Element<'_> {
    member.to_int().map_or(member, Element::Int)
}

impl Collection for Set {
    const TYPE: Type = Type::Set;

    fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.memory_bytes(),
            Form::Pack(pack) => pack.memory_bytes(),
            Form::Full(pairs) => allocated(size_of::<Pairs>()) + pairs.memory_bytes(),
        }
    }

    fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Ints(_) => "intset",
            Form::Pack(_) => "listpack",
            Form::Full(_) => "hashtable",
        }
    }

    fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Ints(ints) => ints.is_empty(),
            Form::Pack(pack) => pack.is_empty(),
            Form::Full(pairs) => pairs.is_empty(),
        }
    }

    fn free_effort(&self) -> usize {
        match &self.0 {
            Form::Ints(_) | Form::Pack(_) => 1,
            Form::Full(pairs) => pairs.len(),
        }
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Ints(_) | Form::Pack(_) => 0,
            Form::Full(pairs) => pairs.free_some(budget),
        }
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
