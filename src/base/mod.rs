//! Bytes, numbers, patterns and checksums: what every layer uses and what depends on none.
