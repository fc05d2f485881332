//! The guest room through its public API.

mod identity;
