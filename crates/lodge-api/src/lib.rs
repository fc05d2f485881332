//! The REST API's documents as Rust types, shared by server and client. Pure.
