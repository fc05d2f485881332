//! The harness of the whole-product tests.
