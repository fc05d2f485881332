//! The libvirt front: libvirt's calls, events and streams over the engine.
//!
//! ```text
//!  socket ──▶ transport ──▶ frame ──▶ connection ──▶ dispatch ──▶ remote/… , qemu  ──▶ Engine
//!             bytes, fds    bounded   one task        the table    one function
//!                                        ▲                          per procedure
//!                                        └── outbox ◀── slow calls, event::Hub, streams
//! ```
//!
//! A newcomer's path: [`Server`] (who is connected) → `connection.rs` (how a client is served) → `dispatch.rs` (which
//! rules every call passes) → `remote.rs` (which function does what) → any file under `remote/`.
//!
//! A procedure is one function `async fn name(call: &Call, args: NameArgs) -> Result<NameRet, Fault>` and one line in
//! the table of its program. What a function is given is already allowed: logged in, opened, not read-only.
//! Deliberately absent: any decision about guests; that is the engine's.

#![allow(clippy::unused_async, reason = "the table calls every procedure alike, whether it waits or not")]

pub mod admin;
mod api;
mod call;
mod connection;
mod dispatch;
pub mod door;
mod event;
pub mod fault;
mod frame;
mod limits;
mod outbox;
mod qemu;
mod remote;
mod server;
mod session;
pub mod stream;
mod transport;

pub use call::Call;
pub use dispatch::{Served, served};
pub use door::{Door, DoorError, Doors, Login, Opening, Peer, Settings, SettingsError};
pub use server::Server;
pub use session::{Opened, Session};
pub use transport::{Plain, Transport};
