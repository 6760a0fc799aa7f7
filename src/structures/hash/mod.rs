//! A hash: fields with a value each, any of which may expire by itself.
//!
//! ```text
//!   small   one listpack:  field value field value …                       "listpack"
//!   timed   one listpack:  field value expiry field value expiry …         "listpackex", 0 for no expiry
//!   full    a table of pairs                                               "hashtable"
//! ```
//!
//! A hash starts small. It becomes timed with its first expiry, full when it outgrows the [`Limits`], and never goes back.
//!
//! Who asks for fields says since when expired ones do not count: those whose expiry is before `now` are not seen,
//! whether or not they were removed already. With [`SEE_ALL`] they are fields like any other.
//!
//! Lives in an entry on a shard.

mod timed;

use super::entry::{Collection, Type, allocated};
use super::listpack::{Corrupt, Element, Listpack};
use super::pairs::{Pair, Pairs};
use crate::base::random::Random;
use timed::Timed;

/// As `now`: fields that expired count like any other.
pub const SEE_ALL: i64 = i64::MIN;

/// Up to where a hash stays in one listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most fields: `hash-max-listpack-entries`.
    pub entries: usize,
    /// The longest field or value: `hash-max-listpack-value`.
    pub value_bytes: usize,
}

/// A field as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: Element<'a>,
    /// The value.
    pub value: Element<'a>,
    /// When it expires, milliseconds since 1970.
    pub expiry: Option<i64>,
}

impl Field<'_> {
    /// It is there at `now`.
    #[inline]
    fn lives(&self, now: i64) -> bool {
        self.expiry.is_none_or(|at| at >= now)
    }
}

/// What setting a field found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No such field.
    Nothing,
    /// One that had expired and that nobody had removed yet: it counts as a new one.
    Expired,
    /// The field.
    Field,
}

/// What becomes of a field's expiry when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The field never expires.
    Clear,
    /// As it was.
    Keep,
}

#[derive(Clone)]
enum Form {
    Small(Listpack),
    Timed(Box<Timed>),
    Full(Box<Pairs>),
}

/// A hash: fields with a value each.
#[derive(Clone)]
pub struct Hash(Form);

impl Default for Hash {
    fn default() -> Hash {
        Hash(Form::Small(Listpack::new()))
    }
}

impl Hash {
    /// A hash of the pairs of a listpack, in the form that the limits ask for. A field without a value or one that is there
    /// twice is corrupt.
    pub fn from_listpack(pack: Listpack, limits: Limits) -> Result<Hash, Corrupt> {
        let count = pack.len();
        if !count.is_multiple_of(2) {
            return Err(Corrupt);
        }
        let fits = count / 2 <= limits.entries
            && pack
                .iter()
                .all(|element| element.byte_len() <= limits.value_bytes);
        let mut pairs = Pairs::new();
        for Field { name, value, .. } in pairs_of(&pack) {
            let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
            let value: &[u8] = if fits { b"" } else { value.to_bytes(&mut b) };
            if !pairs.insert(name.to_bytes(&mut a), value) {
                return Err(Corrupt);
            }
        }
        if fits {
            Ok(Hash(Form::Small(pack)))
        } else {
            Ok(Hash(Form::Full(Box::new(pairs))))
        }
    }

    /// Adds a field while a hash is built; false when it is there already.
    pub fn insert_new(
        &mut self,
        name: &[u8],
        value: &[u8],
        expiry: Option<i64>,
        limits: Limits,
    ) -> bool {
        if self.set(name, value, Ttl::Keep, SEE_ALL, limits) != Found::Nothing {
            return false;
        }
        if expiry.is_some() {
            self.set_expiry(name, expiry);
        }
        true
    }

    /// The listpack of a hash that is one, without any expiry.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Small(pack) => Some(pack),
            _ => None,
        }
    }

    /// It is a table, which keeps names and values as bytes and finds a random field at once.
    #[inline]
    pub fn is_table(&self) -> bool {
        matches!(self.0, Form::Full(_))
    }

    /// The number of fields, those that expired and were not removed yet among them.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(pack) => pack.len() / 2,
            Form::Timed(timed) => timed.len(),
            Form::Full(pairs) => pairs.len(),
        }
    }

    /// The number of fields at `now`.
    #[inline]
    pub fn live_len(&self, now: i64) -> usize {
        let due = match &self.0 {
            Form::Small(_) => 0,
            Form::Timed(timed) => timed.due(now),
            Form::Full(pairs) => pairs.due(now),
        };
        self.len() - due
    }

    /// No field is there at `now`.
    pub fn is_spent(&self, now: i64) -> bool {
        match &self.0 {
            Form::Small(pack) => pack.is_empty(),
            Form::Timed(timed) => timed.due(now) == timed.len(),
            Form::Full(pairs) => pairs.is_spent(now),
        }
    }

    /// The field `name` as it is at `now`.
    #[inline]
    pub fn field(&self, name: &[u8], now: i64) -> Option<Field<'_>> {
        let field = match &self.0 {
            Form::Small(pack) => {
                let at = pack.find(pack.first()?, name, 1)?;
                Field {
                    name: pack.get(at),
                    value: pack.get(pack.next(at)?),
                    expiry: None,
                }
            }
            Form::Timed(timed) => timed.field(name)?,
            Form::Full(pairs) => field_of(pairs.get(name)?),
        };
        field.lives(now).then_some(field)
    }

    /// The value of the field `name` at `now`.
    #[inline]
    pub fn get(&self, name: &[u8], now: i64) -> Option<Element<'_>> {
        self.field(name, now).map(|field| field.value)
    }

    /// All fields at `now`, in no order that matters.
    pub fn iter(&self, now: i64) -> impl Iterator<Item = Field<'_>> {
        let (small, timed, full) = match &self.0 {
            Form::Small(pack) => (Some(pack), None, None),
            Form::Timed(timed) => (None, Some(timed), None),
            Form::Full(pairs) => (None, None, Some(pairs)),
        };
        let small = small.into_iter().flat_map(pairs_of);
        let timed = timed.into_iter().flat_map(|timed| timed.iter());
        let full = full
            .into_iter()
            .flat_map(|pairs| pairs.iter().map(field_of));
        small
            .chain(timed)
            .chain(full)
            .filter(move |field| field.lives(now))
    }

    /// A random field, each as likely as any other, expired ones among them.
    pub fn random(&self, random: &mut Random) -> Option<Field<'_>> {
        let mut nth = |len: usize| (len > 0).then(|| random.index(len));
        match &self.0 {
            Form::Small(pack) => pairs_of(pack).nth(nth(pack.len() / 2)?),
            Form::Timed(timed) => timed.iter().nth(nth(timed.len())?),
            Form::Full(pairs) => pairs.random(random).map(field_of),
        }
    }

    /// Emits about `count` fields from `cursor` on, those that are there at `now`; returns the cursor to go on from, 0 at the end.
    /// A listpack is emitted as a whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        now: i64,
        emit: &mut dyn FnMut(Field<'_>),
    ) -> u64 {
        let Form::Full(pairs) = &self.0 else {
            self.iter(now).for_each(emit);
            return 0;
        };
        pairs.scan(cursor, count, &mut |pair| {
            let field = field_of(pair);
            if field.lives(now) {
                emit(field);
            }
        })
    }

    /// Makes the hash fit for `fields` more fields whose names and values are at most `longest_bytes` long and `bytes` together:
    /// it becomes full at once when it would sooner or later.
    pub fn prepare(&mut self, fields: usize, longest_bytes: usize, bytes: usize, limits: Limits) {
        let fits = match &self.0 {
            Form::Small(pack) => pack.would_fit(bytes),
            Form::Timed(timed) => timed.would_fit(bytes),
            Form::Full(_) => true,
        };
        if fields > limits.entries || longest_bytes > limits.value_bytes || !fits {
            self.fill();
        }
    }

    /// Sets a field's value; one that expired before `now` is a new one.
    pub fn set(&mut self, name: &[u8], value: &[u8], ttl: Ttl, now: i64, limits: Limits) -> Found {
        self.prepare(
            1,
            name.len().max(value.len()),
            name.len() + value.len(),
            limits,
        );
        let found = match &mut self.0 {
            Form::Small(pack) => {
                let found = pack.first().and_then(|first| pack.find(first, name, 1));
                match found.and_then(|at| pack.next(at)) {
                    Some(value_at) => {
                        pack.replace(value_at, value);
                        Found::Field
                    }
                    None => {
                        pack.push_back(name);
                        pack.push_back(value);
                        Found::Nothing
                    }
                }
            }
            Form::Timed(timed) => timed.set(name, value, ttl, now),
            Form::Full(pairs) => return set_pair(pairs, name, value, ttl, now),
        };
        if self.len() > limits.entries {
            self.fill();
        }
        found
    }

    /// Removes a field, expired or not; says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Form::Small(pack) => {
                let found = pack.first().and_then(|first| pack.find(first, name, 1));
                if let Some(at) = found {
                    pack.remove_range(at, 2);
                }
                found.is_some()
            }
            Form::Timed(timed) => timed.remove(name),
            Form::Full(pairs) => pairs.remove(name),
        }
    }

    /// Sets or removes the expiry of a field; says whether the field is there.
    pub fn set_expiry(&mut self, name: &[u8], expiry: Option<i64>) -> bool {
        if let Form::Small(pack) = &mut self.0 {
            let found = pack.first().and_then(|first| pack.find(first, name, 1));
            if found.is_none() || expiry.is_none() {
                return found.is_some();
            }
            self.0 = Form::Timed(Box::new(Timed::from_pairs(pack)));
        }
        match &mut self.0 {
            Form::Small(_) => unreachable!("a hash with an expiry is timed or full"),
            Form::Timed(timed) => timed.set_expiry(name, expiry),
            Form::Full(pairs) => pairs.set_expiry(name, expiry),
        }
    }

    /// The moment before which no field expires; `None` when none does. May be too early, never too late.
    #[inline]
    pub fn deadline(&self) -> Option<i64> {
        match &self.0 {
            Form::Small(_) => None,
            Form::Timed(timed) => timed.deadline(),
            Form::Full(pairs) => pairs.deadline(),
        }
    }

    /// Removes fields whose expiry is before `now`, hands each one's name to `expired`, and takes what it cost off `budget`
    /// (about one per field). Ends with the budget, or when nothing is due any more.
    pub fn expire(&mut self, now: i64, budget: &mut usize, mut expired: impl FnMut(&[u8])) {
        match &mut self.0 {
            Form::Small(_) => {}
            Form::Timed(timed) => timed.expire(now, budget, expired),
            Form::Full(pairs) => pairs.expire(now, budget, |pair| expired(pair.key())),
        }
    }

    /// Becomes full.
    fn fill(&mut self) {
        if matches!(self.0, Form::Full(_)) {
            return;
        }
        let mut pairs = Pairs::new();
        for field in self.iter(SEE_ALL) {
            let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (name, value) = (field.name.to_bytes(&mut a), field.value.to_bytes(&mut b));
            pairs.insert_pair(Pair::new(name, value, field.expiry));
        }
        self.0 = Form::Full(Box::new(pairs));
    }
}

fn set_pair(pairs: &mut Pairs, name: &[u8], value: &[u8], ttl: Ttl, now: i64) -> Found {
    if pairs.insert(name, value) {
        return Found::Nothing;
    }
    if pairs.expiring() == 0 {
        return Found::Field;
    }
    let Some(at) = pairs.get(name).and_then(Pair::expiry) else {
        return Found::Field;
    };
    if at < now || ttl == Ttl::Clear {
        pairs.set_expiry(name, None);
    }
    if at < now {
        Found::Expired
    } else {
        Found::Field
    }
}

/// The fields of a listpack of pairs.
fn pairs_of(pack: &Listpack) -> impl Iterator<Item = Field<'_>> {
    let mut elements = pack.iter();
    std::iter::from_fn(move || {
        Some(Field {
            name: elements.next()?,
            value: elements.next()?,
            expiry: None,
        })
    })
}

#[inline]
fn field_of(pair: &Pair) -> Field<'_> {
    Field {
        name: Element::Bytes(pair.key()),
        value: Element::Bytes(pair.value()),
        expiry: pair.expiry(),
    }
}

impl Collection for Hash {
    const TYPE: Type = Type::Hash;

    fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(pack) => pack.memory_bytes(),
            Form::Timed(timed) => allocated(size_of::<Timed>()) + timed.memory_bytes(),
            Form::Full(pairs) => allocated(size_of::<Pairs>()) + pairs.memory_bytes(),
        }
    }

    fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Timed(_) => "listpackex",
            Form::Full(_) => "hashtable",
        }
    }

    fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Small(pack) => pack.is_empty(),
            Form::Timed(timed) => timed.is_empty(),
            Form::Full(pairs) => pairs.is_empty(),
        }
    }

    fn free_effort(&self) -> usize {
        match &self.0 {
            Form::Small(_) | Form::Timed(_) => 1,
            Form::Full(pairs) => pairs.len(),
        }
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Small(_) | Form::Timed(_) => 0,
            Form::Full(pairs) => pairs.free_some(budget),
        }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter(SEE_ALL)).finish()
    }
}
