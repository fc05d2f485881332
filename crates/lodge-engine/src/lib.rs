//! Use cases: who may, what is decided, which resource does it.
//!
//! ```text
//!  fronts ──▶ Engine ──▶ lodge_domain · lodge_network · lodge_storage · lodge_build · lodge_guest · lodge_host
//!                 │
//!                 ├── jobs    what lasts, with progress and cancel
//!                 └── events  every change, numbered
//! ```
//!
//! Thin: it wires, it does not do. One file per resource holds that resource's use cases; `ports` hands one resource
//! what it needs of another, since resources never use each other. Every act takes the [`Caller`].
//! A use case that fronts await is [`boxed`]: the code of an async function is made anew in every crate that awaits
//! it, with all that it awaits in turn, so each front was compiled with half of the program in it.
//! Deliberately absent: any wire. HTTP statuses and libvirt's numbers are the fronts' matter.

#![allow(clippy::unused_async, reason = "a front calls every use case alike, whether it waits or not")]

mod accelerator;
pub mod adopt;
mod block;
mod caller;
mod chain;
mod clone;
mod console;
mod device;
mod doctor;
mod domain;
mod error;
mod event;
mod files;
mod follow;
mod guest;
mod guest_disk;
mod guest_files;
mod host;
mod host_devices;
mod identity;
mod idle;
mod image;
mod image_file;
mod instance;
mod job;
mod look;
mod network;
mod node;
mod nodedev;
mod nwfilter;
mod open;
mod pool;
mod ports;
mod readiness;
mod secret;
mod secret_view;
mod seed;
mod served;
mod storage_secrets;
mod storage_view;
mod template;
mod undefine;
mod view;
mod volume;
mod wait;

/// Makes of an async function one that returns its boxed future. Made for recursion, which needs just that.
use async_recursion::async_recursion as boxed;

pub use caller::Caller;
pub use console::Console;
pub use domain::Messages;
pub use error::{EngineError, Result, error_kind};
pub use event::{Events, Missed};
pub use guest::{
    BlockFigures, BlockSize, CpuTimes, Figure, Groups, Guest, GuestAgent, GuestVcpu, InfoTypes, IothreadView,
    Look, MemoryFigure, NicFigures, Peek, Picture, Record, Source, Terminal, Value, VcpuView,
};
pub use guest_disk::FileContent;
/// What a front that knows all verbs needs of them.
pub use lodge_domain::{
    self as verb, DomainError,
    control::{Refusal, Sort},
};
pub use lodge_domain::{DomainEvent, EventKind, Handle, Lifecycle, MonitorEvent, Snapshot};
pub use lodge_domain::{block_job, control};
pub use lodge_network::{
    Affects, Filter, FilterError, Lease as NetworkLease, MetadataChange, MetadataPart, NetworkError,
    NetworkEvent, NetworkFilters, NetworkHappening, NetworkView, Networks, Nic,
};
pub use lodge_qemu::{agent::AgentError, qmp::MonitorError, save_image::SaveImageError};
pub use lodge_storage as storage;
pub use open::{Config, DuplicatePolicy, Engine};
pub use secret::{SecretError, SecretEvent, SecretHappening, Secrets};
pub use storage_view::{build_options, pool_view_of};

pub use lodge_host::{self as host_facts, Host, HostError};
