//! The parameters of the server: one row each, from which everything else is derived.
