//! Pools, volumes and image formats: which bytes a guest's disk is made of, and who may have them.
//!
//! ```text
//!  image (read-only, registered)  ◀── backing ── volume (a linked clone) ◀── claim ── domain
//!  var/lib/lodge/images                          var/lib/libvirt/images
//! ```
//!
//! Place: a resource crate. The engine wires it to domains and gives it what `lodge-build` made.
//!
//! Rules:
//! - A format is never guessed: the top file's is the document's, a backing file's is in the header
//!   that names it. The bytes are held against it before anything else sees them.
//! - Nothing an image *names* is opened unless it lies in a pool, among the images, or the document
//!   names it too ([`chain`](Storage::chain)).
//! - One writer. Who holds what is known here ([`claim`](Storage::claim)), and QEMU's own locks are
//!   asked about everybody else.
//! - A file appears under its name when it is whole and on disk, or not at all.
//! - Files are touched on blocking threads with a deadline: a dead NFS server or a FIFO named as a
//!   disk costs its own caller an error, nobody else anything.
//!
//! Deliberately absent: reading and writing of guests' data (QEMU's), pools of servers other than files' (iSCSI, RBD …),
//! guests' disks of formats other than raw and qcow2 (others come in and go out by [`img`]).

mod chain;
mod claim;
mod claim_more;
mod claims;
mod clone;
mod copy;
mod disk_use;
mod doctor;
mod error;
mod file;
mod filling;
mod format;
pub mod fuzz;
mod graph;
mod guest_files;
mod identity;
mod image;
mod img;
mod import;
mod job;
mod limits;
mod lock;
mod look_into;
mod pool;
mod ports;
mod qcow2;
mod remove;
mod snapshot;
mod space;
mod storage;
mod temp;
mod unlock;
mod usage;
mod vol;
mod volume;

pub use chain::{
    Link,
    commit::{AfterCommit, Behalf, Commit, Committed},
    error::ChainError,
    rebase::RebaseMode,
};
pub use claim::{ClaimedDisk, ClaimedFile};
pub use disk_use::{DiskUse, PlaceOf};
pub use doctor::{DoctorOptions, Finding, FindingKind};
pub use error::StorageError;
pub use filling::{Filling, RoomWatch, Warned};
pub use format::{Format, UnknownFormat};
pub use graph::{
    need::{Definitions, Harm, Need, against},
    stands::Stander,
    uses::files_of,
};
pub use guest_files::GuestFile;
pub use identity::Moved;
pub use image::{Image, ImageSource, NewImage};
pub use img::{
    check::{Checked, Repair},
    compact::Compacted,
    convert::{Conversion, Converted},
    describe::Description,
    kind::{ImageFormat, UnknownImageFormat},
    map::{Extent, Map},
    pack::{Compression, UnknownCompression},
    resize::Resized,
};
pub use job::CopyTarget;
pub use look_into::OpenDisks;
pub use pool::{
    PoolEvent, PoolHandle, PoolHappening, PoolView, Pools,
    capabilities::pool_capabilities,
    error::{PoolError, reason},
    run::BuildOptions,
    sources::find_pool_sources,
};
pub use ports::{FileUse, GuestFiles, Guests, Part, SecretName, SecretValue, Secrets};
pub use remove::Removal;
pub use snapshot::{InnerSnapshot, InnerVerb, NewOverlay};
pub use space::Space;
pub use storage::Storage;
pub use unlock::{Seal, SecretOf, unlocked};
pub use usage::{DiskUsage, Growth, Usage};
pub use vol::{
    change::{ResizeOptions, WipeAlgorithm},
    create::MakeOptions,
    facts::{BackingFacts, BlockFacts, ExtentOf, Features, Moment, Owner, PoolVolume, Times, VolumeKind},
    kind::VolumeFormat,
    stream::{Download, Piece, Span, Upload},
};
pub use volume::Volume;
