//! The life of a guest: one owner task each; start, stop, save and the rest as sagas.
//!
//! ```text
//!  engine ──▶ Domains ──▶ Handle ──▶ mailbox ──▶ Owner ──▶ sagas ──▶ lodge_qemu · ports (volumes, nics, seeds)
//!                │            └──── snapshot, documents ◀──┘ └──▶ events
//!                └──── list: pointer reads, no task is asked
//! ```
//!
//! A newcomer's path: [`Domains`] (what there is) → [`Handle`] (what can be asked) → `owner.rs` (who does it) →
//! `start.rs` (how a guest comes up) → `facts.rs` (what QEMU tells) → `recover.rs` (after the daemon's own end).
//!
//! Rules: one writer per domain, no lock around a domain's state, a stuck guest delays nobody else, whatever is
//! begun ends whole or not at all. Deliberately absent: callers and their rights, jobs' records, and other
//! resources: what a guest needs of them is in [`ports`], which the engine implements.

#[cfg(test)]
extern crate self as lodge_domain;

mod act;
pub mod block_job;
mod console;
pub mod control;
mod define;
mod digest;
mod display;
mod domains;
mod dump;
mod error;
mod event;
mod explain;
mod facts;
mod firmware;
mod handle;
mod handover;
mod index;
mod job;
mod mailbox;
mod metadata;
mod monitor_event;
mod native;
mod observe;
mod options;
mod owner;
pub mod ports;
mod power;
mod record;
mod recover;
mod rename;
mod restore;
mod room;
mod save;
mod settings;
mod snapshot;
mod snapshots;
mod start;
mod stop;
#[cfg(test)]
#[path = "../tests/it/support.rs"]
#[allow(dead_code)]
mod support;
mod tpm;
mod undefine;
mod vmm;

pub use digest::{Digest, DiskFacts, TapFacts};
pub use domains::{Accelerator, Domains, DomainsConfig};
pub use error::{DomainError, chain};
pub use event::{
    DiskName, DomainEvent, EventKind, GraphicsAddress, GraphicsEvent, GraphicsPhase, Lifecycle, TunableValue,
};
pub use explain::Explained;
pub use handle::Handle;
pub use job::{JobOperation, JobPhase, JobStats, MemoryStats};
pub use metadata::{Affects, MetadataEdit, MetadataKind};
pub use monitor_event::MonitorEvent;
pub use options::{
    CreateOptions, DefineOptions, DestroyOptions, DoomedFile, DumpFormat, DumpOptions, KeptFile, PowerMode,
    PowerOptions, Progress, RestoreOptions, Resumption, SaveOptions, SleepMode, SnapshotCreateOptions,
    SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, Ticket, UndefineOptions, Undefined,
    XmlOptions,
};
pub use ports::{
    AttachedNic, Beginning, CardFilter, ChainLink, ClaimedDevice, ClaimedDisk, CopyTarget, DeviceGift,
    DiskStorage, HostDevices, ImageSnapshot, LockedFile, NewOverlay, Nics, Passphrase, PortError, Ports,
    QemuUser, Secrets, SeedDisk, Seeds, ServedLink, SnapshotVerb, Space, Volumes,
};
pub use recover::libvirt::{RunningGuest, RunningGuests, running_guests};
pub use save::{SavedImage, read_saved_image};
pub use settings::{Service, Settings, SettingsError};
pub use snapshot::{Display, RunningJob, Snapshot, Summary, VmmView};
pub use tpm::tpm_state;
