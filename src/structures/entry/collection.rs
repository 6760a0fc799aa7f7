//! The collections of an entry: what all five types have in common, and how they lie in a block.
//!
//! A collection is a small value (two words or so) in the entry's value word, which owns what it allocated elsewhere.

use std::ptr;

use super::string::Value;
use super::{Entry, Hash, Kind, List, Set, SortedSet, Stream, StringView, WrongType, kind_of};

/// Freeing this many bytes of a large string costs about as much as freeing one allocation.
const BYTES_PER_EFFORT: usize = 8 * 1024;

/// The type of a value, as commands tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string.
    String,
    /// A list.
    List,
    /// A hash.
    Hash,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A stream.
    Stream,
}

impl Type {
    /// The name that TYPE prints.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Hash => "hash",
            Type::Set => "set",
            Type::SortedSet => "zset",
            Type::Stream => "stream",
        }
    }
}

/// A value, seen by its type.
#[derive(Debug)]
pub enum ValueView<'a> {
    /// A string.
    String(StringView<'a>),
    /// A list.
    List(&'a List),
    /// A hash.
    Hash(&'a Hash),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A stream.
    Stream(&'a Stream),
}

/// A value that holds many elements. It lives in an entry on a shard.
pub trait Collection: Clone + Default + Send + Sized + sealed::Sealed {
    /// The type.
    const TYPE: Type;

    /// Bytes allocated for the collection outside its own `size_of`, by size class ([`super::allocated`]). O(1): it is asked
    /// before and after every change.
    fn memory_bytes(&self) -> usize;

    /// The name that OBJECT ENCODING prints.
    fn encoding(&self) -> &'static str;

    /// There is no element. A key never holds an empty collection, but for a stream.
    fn is_empty(&self) -> bool;

    /// An empty collection is removed with its key. Not so streams.
    const GOES_WHEN_EMPTY: bool = true;

    /// About how many allocations freeing it takes: it decides whether that is done at once. O(1).
    fn free_effort(&self) -> usize;

    /// Frees about `budget` allocations' worth of elements (which ones does not matter, the collection is not used again); returns
    /// how many. With nothing left it returns 0. A slice of 1,000 takes some 100 µs.
    fn free_some(&mut self, budget: usize) -> usize;
}

/// Ties each collection type to what the header says of it, so that nobody else can.
mod sealed {
    pub trait Sealed {
        const KIND: u8;
    }
}

macro_rules! collection {
    ($($name:ident),*) => {
        $(impl sealed::Sealed for $name {
            const KIND: u8 = Kind::$name as u8;
        })*

        impl Entry {
            /// The value, by its type.
            #[inline]
            pub fn value(&self) -> ValueView<'_> {
                match self.kind() {
                    // SAFETY: the kind says what lies in the value word, aligned to eight; it is borrowed as long as its owner.
                    $(Kind::$name => ValueView::$name(unsafe { &*self.word().cast() }),)*
                    Kind::Inline | Kind::Integer | Kind::Big => {
                        ValueView::String(self.string().expect("the kind is a string's"))
                    }
                }
            }

            /// The value's type.
            #[inline]
            pub fn type_(&self) -> Type {
                match self.kind() {
                    $(Kind::$name => Type::$name,)*
                    Kind::Inline | Kind::Integer | Kind::Big => Type::String,
                }
            }

            /// Drops what the value owns outside the block.
            ///
            /// # Safety
            /// The value word is not read again before something new is written there.
            #[inline]
            pub(super) unsafe fn drop_outside(&mut self) {
                match self.kind() {
                    Kind::Inline | Kind::Integer => {}
                    // SAFETY: the kind says what lies in the value word; by the contract it is dropped once.
                    Kind::Big => unsafe { ptr::drop_in_place(self.big_mut()) },
                    // SAFETY: as above.
                    $(Kind::$name => unsafe { ptr::drop_in_place(self.word().cast::<$name>()) },)*
                }
            }
        }
    };
}
collection!(List, Hash, Set, SortedSet, Stream);

impl Entry {
    /// An entry for `key` with a collection.
    pub fn from_collection<C: Collection>(
        key: &[u8],
        collection: C,
        expiry: Option<i64>,
        access: u32,
    ) -> Entry {
        let entry = Entry::new(
            key,
            Value::Collection(kind_of(C::KIND.into())),
            expiry,
            access,
        );
        // SAFETY: the entry was made with room for a `C` in its value word, which nothing was written to.
        unsafe { entry.word().cast::<C>().write(collection) };
        entry
    }

    /// The collection, or [`WrongType`] for any other value.
    #[inline]
    pub fn collection<C: Collection>(&self) -> Result<&C, WrongType> {
        if self.kind() as u8 != C::KIND {
            return Err(WrongType);
        }
        // SAFETY: the kind says that a `C` lies in the value word; it is borrowed as long as its owner.
        Ok(unsafe { &*self.word().cast() })
    }

    /// The collection for modification, or [`WrongType`] for any other value.
    #[inline]
    pub fn collection_mut<C: Collection>(&mut self) -> Result<&mut C, WrongType> {
        if self.kind() as u8 != C::KIND {
            return Err(WrongType);
        }
        // SAFETY: as above, and `&mut self` is its only user.
        Ok(unsafe { &mut *self.word().cast() })
    }

    /// About how many allocations freeing the entry takes, without its own block.
    pub fn free_effort(&self) -> usize {
        match self.kind() {
            Kind::Inline | Kind::Integer => 0,
            Kind::Big => self.outside_bytes() / BYTES_PER_EFFORT,
            _ => with_collection!(self, |collection| collection.free_effort()),
        }
    }

    /// Frees about `budget` allocations' worth of a collection that is not used again; returns how many, 0 when nothing
    /// is left to free but the entry itself.
    pub fn free_some(&mut self, budget: usize) -> usize {
        match self.kind() {
            Kind::Inline | Kind::Integer | Kind::Big => 0,
            Kind::List => self.free_some_of::<List>(budget),
            Kind::Hash => self.free_some_of::<Hash>(budget),
            Kind::Set => self.free_some_of::<Set>(budget),
            Kind::SortedSet => self.free_some_of::<SortedSet>(budget),
            Kind::Stream => self.free_some_of::<Stream>(budget),
        }
    }

    fn free_some_of<C: Collection>(&mut self, budget: usize) -> usize {
        self.collection_mut::<C>()
            .map_or(0, |collection| collection.free_some(budget))
    }

    /// Takes a collection out into an entry without a key and leaves an empty string; `None` for a string.
    pub fn take_collection(&mut self) -> Option<Entry> {
        self.take_as(b"", None, 0)
    }

    /// The same value, expiry and access clock under another key. A collection moves as it is, however large.
    pub fn renamed(mut self, key: &[u8]) -> Entry {
        let (expiry, access) = (self.expiry(), self.access());
        match self.take_as(key, expiry, access) {
            Some(entry) => entry,
            None => self.with_key(key),
        }
    }

    /// Takes a collection out into an entry of its own and leaves an empty string; `None` for a string.
    fn take_as(&mut self, key: &[u8], expiry: Option<i64>, access: u32) -> Option<Entry> {
        match self.kind() {
            Kind::Inline | Kind::Integer | Kind::Big => None,
            Kind::List => self.take_of::<List>(key, expiry, access),
            Kind::Hash => self.take_of::<Hash>(key, expiry, access),
            Kind::Set => self.take_of::<Set>(key, expiry, access),
            Kind::SortedSet => self.take_of::<SortedSet>(key, expiry, access),
            Kind::Stream => self.take_of::<Stream>(key, expiry, access),
        }
    }

    fn take_of<C: Collection>(
        &mut self,
        key: &[u8],
        expiry: Option<i64>,
        access: u32,
    ) -> Option<Entry> {
        let taken = std::mem::take(self.collection_mut::<C>().ok()?);
        self.set_bytes(b"");
        Some(Entry::from_collection(key, taken, expiry, access))
    }

    /// Where the value word lies.
    #[inline]
    fn word(&self) -> *mut u8 {
        // SAFETY: the offset comes from the block's own header and lies inside the block.
        unsafe { self.block().add(self.shape().word_offset()) }
    }
}

/// Runs `$body` with the collection that the entry holds; an entry with a string must not get here.
macro_rules! with_collection {
    ($entry:expr, |$collection:ident| $body:expr) => {
        match $entry.value() {
            $crate::structures::entry::ValueView::List($collection) => $body,
            $crate::structures::entry::ValueView::Hash($collection) => $body,
            $crate::structures::entry::ValueView::Set($collection) => $body,
            $crate::structures::entry::ValueView::SortedSet($collection) => $body,
            $crate::structures::entry::ValueView::Stream($collection) => $body,
            $crate::structures::entry::ValueView::String(_) => {
                unreachable!("a string is no collection")
            }
        }
    };
}
pub(super) use with_collection;
