//! Use cases: who may, what is decided, which resource does it.
//!
//! ```text
//!  fronts ──▶ Engine ──▶ lodge_domain · lodge_network · lodge_storage · lodge_build · lodge_guest · lodge_host
//!                 │
//!                 ├── jobs    what lasts, with progress and cancel
//!                 └── events  every change, numbered
//! ```
//!
//! Thin: it wires, it does not do. One file per resource holds that resource's use cases; [`ports`] hands one resource
//! what it needs of another, since resources never use each other. Every act takes the [`Caller`].
//! Deliberately absent: any wire. HTTP statuses and libvirt's numbers are the fronts' matter.

mod caller;
mod domain;
mod error;
mod event;
mod host;
mod image;
mod instance;
mod job;
mod network;
mod open;
mod readiness;
mod seed;

pub use caller::Caller;
pub use domain::Console;
pub use error::{EngineError, Result, error_kind};
pub use event::Events;
pub use open::{Config, Engine};
