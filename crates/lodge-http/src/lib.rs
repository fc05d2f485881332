//! The REST front: decode, engine, encode.
