//! Who has read which key of one shard.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::SessionAt;
use crate::base::random::Random;

/// The readers of one key; mostly there is one.
#[derive(Debug)]
enum Readers {
    One(SessionAt),
    Many(BTreeSet<SessionAt>),
}

impl Readers {
    fn len(&self) -> usize {
        match self {
            Readers::One(_) => 1,
            Readers::Many(readers) => readers.len(),
        }
    }

    /// False: it was known.
    fn add(&mut self, reader: SessionAt) -> bool {
        match self {
            Readers::One(one) if *one == reader => false,
            Readers::One(one) => {
                *self = Readers::Many(BTreeSet::from([*one, reader]));
                true
            }
            Readers::Many(readers) => readers.insert(reader),
        }
    }

    fn into_vec(self) -> Vec<SessionAt> {
        match self {
            Readers::One(one) => vec![one],
            Readers::Many(readers) => readers.into_iter().collect(),
        }
    }
}

#[derive(Debug)]
struct Read {
    key: Arc<[u8]>,
    readers: Readers,
}

/// The keys of one shard that were read, in a list so that one can be chosen at random.
#[derive(Debug)]
pub(super) struct Keys {
    places: HashMap<Arc<[u8]>, u32>,
    list: Vec<Read>,
    items: usize,
    key_bytes: usize,
    random: Random,
}

impl Keys {
    pub(super) fn new(seed: u64) -> Keys {
        Keys {
            places: HashMap::new(),
            list: Vec::new(),
            items: 0,
            key_bytes: 0,
            random: Random::new(seed),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Pairs of key and reader.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    pub(super) fn remember(&mut self, key: &[u8], reader: SessionAt) {
        if let Some(&place) = self.places.get(key) {
            self.items += usize::from(self.list[place as usize].readers.add(reader));
            return;
        }
        let key: Arc<[u8]> = key.into();
        self.items += 1;
        self.key_bytes += key.len();
        self.places.insert(key.clone(), self.list.len() as u32);
        let readers = Readers::One(reader);
        self.list.push(Read { key, readers });
    }

    /// Forgets a key. Returns it with its readers, in order.
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<(Arc<[u8]>, Vec<SessionAt>)> {
        let place = self.places.remove(key)? as usize;
        let read = self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(moved.key.clone(), place as u32);
        }
        self.items -= read.readers.len();
        self.key_bytes -= read.key.len();
        if self.list.is_empty() {
            // What one wave of readers grew is given back.
            self.clear();
        }
        Some((read.key, read.readers.into_vec()))
    }

    /// Forgets a key at random.
    pub(super) fn forget_any(&mut self) -> Option<(Arc<[u8]>, Vec<SessionAt>)> {
        if self.list.is_empty() {
            return None;
        }
        let key = self.list[self.random.index(self.list.len())].key.clone();
        self.forget(&key)
    }

    pub(super) fn clear(&mut self) {
        const KEPT_CAPACITY_MAX: usize = 1024;
        if self.list.capacity() > KEPT_CAPACITY_MAX {
            (self.places, self.list) = Default::default();
        } else {
            self.places.clear();
            self.list.clear();
        }
        (self.items, self.key_bytes) = (0, 0);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // A shared byte string has two counters in front, a place in the map a byte of control.
        const PER_KEY_BYTES: usize = 2 * size_of::<usize>();
        const PER_PLACE_BYTES: usize = size_of::<(Arc<[u8]>, u32)>() + 1;
        self.key_bytes
            + self.list.len() * PER_KEY_BYTES
            + self.list.capacity() * size_of::<Read>()
            + self.places.capacity() * PER_PLACE_BYTES
            + (self.items - self.list.len()) * size_of::<SessionAt>() * 2
    }
}
