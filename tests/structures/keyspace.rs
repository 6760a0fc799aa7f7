//! The keyspace against plain maps, with a clock of its own.
