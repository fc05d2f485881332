//! Use cases: who may, what is decided, which resource does it.
