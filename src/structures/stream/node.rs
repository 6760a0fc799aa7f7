//! A node: some records of a stream in one listpack, in the exact form of Redis's stream nodes.
//!
//! ```text
//!   head    | records | deleted | n | field 1 | … | field n | 0 |
//!   record  | flags | ms | seq | value 1 | … | value n | elements |                         SAME_FIELDS
//!           | flags | ms | seq | m | field 1 | value 1 | … | field m | value m | elements |  otherwise
//! ```
//!
//! The fields of the first record stand in the head, and records with the same fields leave them out. `ms` and `seq` count
//! from the node's master id, under which the stream keeps it. `elements` counts what stands before it in its record, so that
//! records can be walked backwards; the head's 0 ends that walk. A deleted record keeps its place and is flagged.
//!
//! Nodes from outside pass [`check`]; what reads them here trusts their form, and at worst sees other records than
//! there are.

use super::StreamId;
use crate::structures::listpack::{Corrupt, Element, Iter, Listpack, Pos};

/// The record was deleted.
const DELETED: i64 = 1;
/// The record's fields are the node's.
const SAME_FIELDS: i64 = 2;

/// Elements of a record before its values, or before the number of its fields.
const FIXED_ELEMENTS: usize = 3;

/// What can be read in a node without looking at its records.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    listpack: &'a Listpack,
    master: StreamId,
    /// Records that are not deleted.
    pub(super) live: i64,
    /// Records that are.
    pub(super) deleted: i64,
    fields: usize,
    fields_at: Pos,
}

/// A record in its node.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Where its flags are.
    at: Pos,
    pub(super) id: StreamId,
    pub(super) deleted: bool,
    same_fields: bool,
    fields: usize,
    /// Its first value, or field.
    values_at: Pos,
}

impl<'a> Node<'a> {
    #[inline]
    pub(super) fn new(master: StreamId, listpack: &'a Listpack) -> Node<'a> {
        let mut node = Node {
            listpack,
            master,
            live: 0,
            deleted: 0,
            fields: 0,
            fields_at: 0,
        };
        let mut at = listpack.first().unwrap_or(listpack.end());
        node.live = node.take_int(&mut at);
        node.deleted = node.take_int(&mut at);
        node.fields = node.take_count(&mut at);
        node.fields_at = at;
        node
    }

    /// The first record, deleted or not.
    #[inline]
    pub(super) fn first(&self) -> Option<Place> {
        self.place(self.skip(self.fields_at, self.fields + 1))
    }

    /// The record behind another.
    #[inline]
    pub(super) fn next(&self, place: &Place) -> Option<Place> {
        let values = if place.same_fields {
            place.fields
        } else {
            2 * place.fields
        };
        self.place(self.skip(place.values_at, values + 1))
    }

    /// The last record, deleted or not.
    #[inline]
    pub(super) fn last(&self) -> Option<Place> {
        self.place_before(self.listpack.end())
    }

    /// The record before another.
    #[inline]
    pub(super) fn previous(&self, place: &Place) -> Option<Place> {
        self.place_before(place.at)
    }

    /// The record with this id, unless it is deleted.
    pub(super) fn find(&self, id: StreamId) -> Option<Place> {
        let mut place = self.first();
        while let Some(found) = place {
            if found.id == id {
                return (!found.deleted).then_some(found);
            }
            if found.id > id {
                return None;
            }
            place = self.next(&found);
        }
        None
    }

    /// What a record holds.
    #[inline]
    pub(super) fn record(&self, place: &Place) -> Record<'a> {
        Record {
            id: place.id,
            left: place.fields,
            fields: place
                .same_fields
                .then(|| self.listpack.iter_from(self.fields_at)),
            values: self.listpack.iter_from(place.values_at),
        }
    }

    /// What appending a record with these fields and values needs.
    #[inline]
    pub(super) fn tail<'b>(
        &self,
        pairs: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])>,
    ) -> Tail {
        Tail {
            master: self.master,
            live: self.live,
            same_fields: self.has_fields(pairs.map(|(field, _)| field)),
        }
    }

    /// The fields are the node's, in the same order.
    fn has_fields<'b>(&self, mut fields: impl ExactSizeIterator<Item = &'b [u8]>) -> bool {
        fields.len() == self.fields
            && self
                .listpack
                .iter_from(self.fields_at)
                .take(self.fields)
                .all(|field| fields.next().is_some_and(|other| field == *other))
    }

    #[inline]
    fn place(&self, at: Pos) -> Option<Place> {
        if at >= self.listpack.end() {
            return None;
        }
        let mut behind = at;
        let flags = self.take_int(&mut behind);
        let delta = (self.take_int(&mut behind), self.take_int(&mut behind));
        let same_fields = flags & SAME_FIELDS != 0;
        let fields = if same_fields {
            self.fields
        } else {
            self.take_count(&mut behind)
        };
        Some(Place {
            at,
            id: self.master.plus(delta),
            deleted: flags & DELETED != 0,
            same_fields,
            fields,
            values_at: behind,
        })
    }

    /// The record that ends where `end` is.
    fn place_before(&self, end: Pos) -> Option<Place> {
        let mut at = self.listpack.prev(end)?;
        let elements = self.listpack.get(at).to_int()?;
        if elements <= 0 {
            return None;
        }
        for _ in 0..elements {
            at = self.listpack.prev(at)?;
        }
        self.place(at)
    }

    #[inline]
    fn take_int(&self, at: &mut Pos) -> i64 {
        if *at >= self.listpack.end() {
            return 0;
        }
        let element = self.listpack.get(*at);
        *at = self.skip(*at, 1);
        element.to_int().unwrap_or(0)
    }

    #[inline]
    fn take_count(&self, at: &mut Pos) -> usize {
        usize::try_from(self.take_int(at)).unwrap_or(0)
    }

    /// The position `count` elements behind `at`.
    #[inline]
    fn skip(&self, mut at: Pos, count: usize) -> Pos {
        for _ in 0..count {
            match self.listpack.next(at) {
                Some(next) => at = next,
                None => return self.listpack.end(),
            }
        }
        at
    }
}

/// A node with one record, whose id is the master id.
pub(super) fn new<'b>(
    pairs: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + Clone,
) -> Listpack {
    let mut listpack = Listpack::new();
    listpack.push_back_all(|put| {
        for head in [1, 0, pairs.len() as i64] {
            put(Element::Int(head));
        }
        for (field, _) in pairs.clone() {
            put(Element::of(field));
        }
        put(Element::Int(0));
        put_record((0, 0), true, pairs.clone(), put);
    });
    listpack
}

/// What is to be known of a node before a record is appended to it.
pub(super) struct Tail {
    master: StreamId,
    live: i64,
    same_fields: bool,
}

impl Tail {
    /// Appends a record to the node.
    #[inline]
    pub(super) fn append<'b>(
        self,
        listpack: &mut Listpack,
        id: StreamId,
        pairs: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + Clone,
    ) {
        if let Some(at) = listpack.first() {
            listpack.replace_int(at, self.live + 1);
        }
        let delta = id.delta(self.master);
        listpack.push_back_all(|put| put_record(delta, self.same_fields, pairs.clone(), put));
    }
}

/// Gives the elements of a record to `put`.
#[inline]
fn put_record<'b>(
    (ms, seq): (i64, i64),
    same_fields: bool,
    pairs: impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])>,
    put: &mut dyn FnMut(Element<'_>),
) {
    let count = pairs.len();
    for fixed in [if same_fields { SAME_FIELDS } else { 0 }, ms, seq] {
        put(Element::Int(fixed));
    }
    if !same_fields {
        put(Element::Int(count as i64));
    }
    for (field, value) in pairs {
        if !same_fields {
            put(Element::of(field));
        }
        put(Element::of(value));
    }
    put(Element::Int(elements(count, same_fields) as i64));
}

/// What a record's last element says.
fn elements(fields: usize, same_fields: bool) -> usize {
    if same_fields {
        FIXED_ELEMENTS + fields
    } else {
        FIXED_ELEMENTS + 1 + 2 * fields
    }
}

/// Flags a record that was not deleted before. The counts of the head are left to [`set_counts`].
pub(super) fn delete(listpack: &mut Listpack, place: &Place) {
    let flags = if place.same_fields { SAME_FIELDS } else { 0 };
    listpack.replace_int(place.at, flags | DELETED);
}

/// Sets the counts of the head.
pub(super) fn set_counts(listpack: &mut Listpack, live: i64, deleted: i64) {
    let Some(at) = listpack.first() else {
        return;
    };
    listpack.replace_int(at, live);
    if let Some(at) = listpack.next(at) {
        listpack.replace_int(at, deleted);
    }
}

/// What [`check`] learns of a node.
pub(super) struct Checked {
    pub(super) live: u64,
    pub(super) first_live: Option<StreamId>,
    /// The last record, deleted or not.
    pub(super) last: StreamId,
}

/// Checks a node from outside: its form, its counts, and that its ids grow, from `master` on.
pub(super) fn check(master: StreamId, listpack: &Listpack) -> Result<Checked, Corrupt> {
    let mut elements = listpack.iter();
    let (announced_live, announced_deleted) = (int(&mut elements)?, int(&mut elements)?);
    let node_fields = count(&mut elements)?;
    skip(&mut elements, node_fields)?;
    if int(&mut elements)? != 0 {
        return Err(Corrupt);
    }
    let (mut live, mut deleted, mut first_live, mut last) = (0, 0, None, None);
    while let Some(flags) = elements.next() {
        let flags = flags.to_int().ok_or(Corrupt)?;
        let id = master.plus((int(&mut elements)?, int(&mut elements)?));
        if id < master || last.is_some_and(|last| last >= id) {
            return Err(Corrupt);
        }
        last = Some(id);
        let same_fields = flags & SAME_FIELDS != 0;
        let fields = if same_fields {
            node_fields
        } else {
            count(&mut elements)?
        };
        skip(&mut elements, fields)?;
        if !same_fields {
            skip(&mut elements, fields)?;
        }
        if count(&mut elements)? != self::elements(fields, same_fields) {
            return Err(Corrupt);
        }
        if flags & DELETED != 0 {
            deleted += 1;
        } else {
            live += 1;
            first_live = first_live.or(Some(id));
        }
    }
    let last = last.ok_or(Corrupt)?;
    if (live, deleted) != (announced_live, announced_deleted) {
        return Err(Corrupt);
    }
    Ok(Checked {
        live: live as u64,
        first_live,
        last,
    })
}

fn int(elements: &mut Iter<'_>) -> Result<i64, Corrupt> {
    elements
        .next()
        .and_then(|element| element.to_int())
        .ok_or(Corrupt)
}

fn count(elements: &mut Iter<'_>) -> Result<usize, Corrupt> {
    // Halved, so that twice as many can be counted.
    let count = usize::try_from(int(elements)?).map_err(|_| Corrupt)?;
    if count > usize::MAX / 4 {
        return Err(Corrupt);
    }
    Ok(count)
}

fn skip(elements: &mut Iter<'_>, count: usize) -> Result<(), Corrupt> {
    for _ in 0..count {
        elements.next().ok_or(Corrupt)?;
    }
    Ok(())
}

/// A record: an id, and fields with their values in the order in which they were given.
#[derive(Clone)]
pub struct Record<'a> {
    /// The id.
    pub id: StreamId,
    left: usize,
    /// The node's fields, when they are the record's.
    fields: Option<Iter<'a>>,
    values: Iter<'a>,
}

impl Record<'_> {
    /// The number of fields.
    #[inline]
    pub fn field_count(&self) -> usize {
        self.left
    }
}

/// Yields the fields with their values.
impl<'a> Iterator for Record<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = match &mut self.fields {
            Some(fields) => fields.next(),
            None => self.values.next(),
        };
        Some((field?, self.values.next()?))
    }
}
