//! The crate through its public interface: documents in, documents out.

mod corpus;
