//! Data structures that know nothing of commands: the keyspace table, its entries and the collections.

pub mod entry;
pub mod hash;
pub mod list;
pub mod listpack;
pub mod pairs;
mod prefetch;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod table;
