//! libvirt's documents as Rust types, ids, units and the lifecycle's rules. Pure.
