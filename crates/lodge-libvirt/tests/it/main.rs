//! The front through its sockets: clients that speak bytes against a server in this process, with a real engine on a
//! root of its own. No guest is started.

#![allow(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::used_underscore_binding,
    reason = "the shape of a D-Bus interface and of a harness"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod attack;
mod door;
mod door_admin;
mod door_sasl;
mod door_tls;
mod door_unix;
mod events;
mod raw;
mod rights;
