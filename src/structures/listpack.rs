//! A listpack: small elements one behind the other in one allocation.
