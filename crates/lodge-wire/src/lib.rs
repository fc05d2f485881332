//! libvirt's RPC packets as Rust types: XDR, framing, and every procedure of every program a client speaks.
//!
//! ```text
//!  facts/*.facts ──(cargo xtask codegen)──▶ remote.rs · qemu.rs · lxc.rs · admin.rs     structs, unions, calls, events
//!                                                   │
//!  bytes ◀──▶ packet (header, error, hole)  ◀──▶ xdr (bounded decoding)
//! ```
//!
//! Pure: no I/O, no clock. Whoever reads a packet knows its length already; everything inside is bounded by the
//! table's own maxima, and by what is left of the packet. Deliberately absent: what a procedure does (lodge-libvirt).

#[macro_use]
mod table;

pub mod admin;
#[cfg(test)]
mod dice;
pub mod keepalive;
pub mod lxc;
pub mod packet;
mod procedure;
pub mod qemu;
pub mod remote;
mod text;
pub mod xdr;

pub use procedure::{Acl, Call, Direction, Event, Facts, Part, ProcedureKind, When};
pub use text::Text;
