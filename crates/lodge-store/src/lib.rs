//! Durable things: libvirt's XML files, the SQLite database, the saga log.
//!
//! Place: ground. Resources and the engine call it; it knows neither. What it promises them: after `Ok` the
//! change survives a crash of the daemon and of the host; after an error or a crash everything is as before
//! or as asked, never between.
//!
//! | what | where |
//! | --- | --- |
//! | which path is what | [`Root`] |
//! | definitions, in libvirt's layout | [`Definitions`] |
//! | jobs, events, images, small values | [`Db`] |
//! | whose libvirt's drivers are: ours, or a libvirt daemon's | [`Drivers`] |
//! | what is known of domains' snapshots | [`SnapshotFiles`] |
//! | acts of many steps that survive a crash | [`saga`] |
//! | the syntax of libvirt's own settings | [`conf`] |
//! | all of it, opened and locked | [`Store`] |
//!
//! Deliberately absent: parsing of documents (the caller's), and caches of them. SQL is in this crate only.

pub mod conf;
pub mod db;
pub mod definitions;
pub mod drivers;
pub mod root;
pub mod saga;
pub mod snapshots;
mod store;

pub use db::{Db, DbError};
pub use definitions::{Collection, DefinitionError, Definitions};
pub use drivers::{Driver, Drivers, Occupant};
pub use root::{Root, RootError, Scope};
pub use snapshots::{SnapshotFileError, SnapshotFiles};
pub use store::{Store, StoreError};
