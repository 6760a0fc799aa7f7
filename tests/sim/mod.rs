//! Simulated nodes: all cores, the orderer and the clients in one thread, moved by a seed.

pub mod node;
