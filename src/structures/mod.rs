//! Data structures that know nothing of commands: the keyspace table, its entries and, later, the collections.

pub mod entry;
mod prefetch;
pub mod table;
