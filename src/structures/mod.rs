//! Data structures that know nothing of commands: the keyspace table and, later, the collections.
