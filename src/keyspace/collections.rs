//! Collections: read by type, edited in place, made when missing, removed when they become empty.

use super::{Collection, Entry, Key, Keyspace, WrongType};
use crate::structures::table::Place;

impl Keyspace {
    /// Reads a collection as [`Keyspace::read`] does; `None` without the key.
    #[inline]
    pub fn read_collection<C: Collection>(
        &mut self,
        db: usize,
        key: Key<'_>,
    ) -> Result<Option<&C>, WrongType> {
        self.read(db, key).map(Entry::collection).transpose()
    }

    /// Modifies a collection in place; `None` without the key. One that `edit` leaves empty is removed with its key. The
    /// expiry stays.
    #[inline]
    pub fn edit<C: Collection, R>(
        &mut self,
        db: usize,
        key: Key<'_>,
        edit: impl FnOnce(&mut C) -> R,
    ) -> Result<Option<R>, WrongType> {
        match self.find(db, key) {
            Some(place) => self.edit_at(db, place, edit).map(Some),
            None => Ok(None),
        }
    }

    /// Modifies a collection in place, an empty new one when the key is missing; says whether the key was there. One that
    /// `edit` leaves empty is removed with its key.
    #[inline]
    pub fn edit_or_new<C: Collection, R>(
        &mut self,
        db: usize,
        key: Key<'_>,
        edit: impl FnOnce(&mut C) -> R,
    ) -> Result<(R, bool), WrongType> {
        if let Some(place) = self.find(db, key) {
            return self.edit_at(db, place, edit).map(|result| (result, true));
        }
        let mut collection = C::default();
        let result = edit(&mut collection);
        if !(C::GOES_WHEN_EMPTY && collection.is_empty()) {
            self.insert_collection(db, key, collection, None);
        }
        Ok((result, false))
    }

    /// Puts a collection in under `key` whatever was there; an empty one only removes the key, unless it is a stream. Says whether
    /// the key was there.
    pub fn set_collection<C: Collection>(
        &mut self,
        db: usize,
        key: Key<'_>,
        collection: C,
        expiry: Option<i64>,
    ) -> bool {
        let existed = self.remove(db, key);
        if !(C::GOES_WHEN_EMPTY && collection.is_empty()) {
            self.insert_collection(db, key, collection, expiry);
        }
        existed
    }

    fn insert_collection<C: Collection>(
        &mut self,
        db: usize,
        key: Key<'_>,
        collection: C,
        expiry: Option<i64>,
    ) {
        self.remove_hidden(db, key);
        let entry = Entry::from_collection(key.bytes, collection, expiry, self.access.fresh());
        let hasher = self.hasher;
        self.database_or_new(db).insert(&hasher, key.hash, entry);
    }

    fn edit_at<C: Collection, R>(
        &mut self,
        db: usize,
        place: Place,
        edit: impl FnOnce(&mut C) -> R,
    ) -> Result<R, WrongType> {
        if self.touch {
            self.use_entry(db, place);
        }
        let Some(database) = self.database(db) else {
            return Err(WrongType);
        };
        let (result, empty) = database.edit(place, |entry| {
            let collection: &mut C = entry.collection_mut()?;
            let result = edit(collection);
            Ok((result, C::GOES_WHEN_EMPTY && collection.is_empty()))
        })?;
        if empty {
            let entry = database.remove(place);
            self.garbage.drop_entry(entry);
        }
        Ok(result)
    }
}
