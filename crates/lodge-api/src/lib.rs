//! The REST API's documents as Rust types, shared by the server and every client of it.
//!
//! One file per resource; [`route`] has every path once, and says which document goes in and out of it.
//! Times are Unix times in milliseconds (`…_ms`), memory is KiB as in libvirt (`…_kib`), sizes of files
//! and disks are bytes (`…_bytes`). Requests refuse fields they do not know, so that a slip of the pen
//! is told; answers may grow fields, so clients skip what they do not know.
//!
//! Pure: no I/O, no clock. Deliberately absent: libvirt's documents (`lodge_model`), which travel as
//! `application/xml`, and how anything is done.

pub mod adoption;
pub mod block;
pub mod buffers;
pub mod change;
pub mod clone;
pub mod disk;
pub mod domain;
pub mod error;
pub mod event;
pub mod explain;
pub mod figure;
pub mod guest_disk;
pub mod host;
pub mod identity;
pub mod image;
pub mod image_file;
pub mod instance;
pub mod job;
pub mod network;
pub mod network_filter;
pub mod node;
pub mod options;
pub mod readiness;
pub mod route;
pub mod secret;
pub mod seed;
pub mod snapshot;
pub mod storage;

pub use adoption::{AdoptOptions, AdoptedDomain, AdoptedFile, AdoptedNetwork, Adoption, LibvirtDaemon};
pub use block::{
    BlockCommit, BlockCopy, BlockError, BlockJobEnd, BlockJobSpeed, BlockJobView, BlockPull, BlockResize,
    BlockSizes, BlockThreshold,
};
pub use buffers::{Buffers, Lent};
pub use change::{ChangeScope, DomainChange, GuestTime, KeyCodes, ScreenQuery};
pub use clone::{
    CloneMode, CloneReport, CloneSpec, ClonedGuest, IdentityChange, InsideState, PrivateKeys, TemplateSpec,
    TemplateView,
};
pub use disk::{
    ChainAfter, ChainClone, ChainCommit, ChainCommitted, ChainFlatten, ChainLinkView, ChainRebase,
    ChainTemplate, DiskUsageView, DoctorQuery, FileQuery, FindingView, GrowthView, GuestFileView, NeedView,
    Relocated, Relocation, RepairOptions, UsageView,
};
pub use domain::{
    Address, AddressFamily, BlockView, DomainState, DomainView, InterfaceAddresses, NicView, UndefineReport,
    UndefinedFile,
};
pub use error::{ErrorBody, ErrorKind};
pub use event::{Event, EventsQuery};
pub use explain::{ElementWithout, ExplainedArgument, ExplainedCommand, ExplanationView};
pub use figure::{
    DomainFigures, Figure, FigureGroup, FigureQuery, FigureTopic, FigureValue, FiguresQuery, VcpuView,
    VcpusView,
};
pub use guest_disk::{GuestDevice, GuestDevices, GuestDiskQuery, GuestFile, GuestGap};
pub use host::{AcceleratorView, CheckStatus, HostCheck, HostReport, HostView, SpeedView, Verdict, Version};
pub use identity::{
    AuditReport, DuplicateHolder, DuplicateView, IdentityAct, IdentityAudit, IdentityDiff, IdentityDiffQuery,
    IdentityItem, IdentityLogQuery, IdentityPair, IdentityReset, IdentityRule, IdentityView, ImageSysprep,
    Learnt, SubjectKind, SysprepFile, SysprepOperation, SysprepStep,
};
pub use image::{ClonedVolume, ImageBuild, ImageClone, ImageImport, ImageView};
pub use image_file::{
    ImageChain, ImageCheck, ImageCheckReport, ImageCompact, ImageCompacted, ImageConvert, ImageConverted,
    ImageExtent, ImageFileQuery, ImageFileView, ImageMap, ImageResize, ImageResized, ImageSubject,
};
pub use instance::{InstanceRemoval, InstanceSpec};
pub use job::{Job, JobState, JobWait};
pub use network::{Lease, NetworkOptions, NetworkUpdate, NetworkView, UpdateAct};
pub use network_filter::{NetworkFilterBinding, NetworkFilterOptions, NetworkFilterView};
pub use node::{
    ArchQuery, CpuBaseline, CpuCompare, CpuStanding, CpuTimes, GuestCpuModel, GuestSort, MaxVcpusQuery,
    NodeMemory, NodeView,
};
pub use options::{
    AddressSource, AddressesQuery, Autostart, ConsoleQuery, DefineOptions, DestroyOptions, DomainFilter,
    LogKind, LogQuery, ManagedSaveOptions, PowerMode, PowerOptions, RestoreOptions, SaveOptions,
    StartOptions, UndefineOptions, WaitFor, WaitQuery, XmlOptions,
};
pub use readiness::{Phase, PhaseTime, Readiness, ReadinessFailure};
pub use secret::{SecretValue, SecretView};
pub use seed::{SeedSpec, SeedView};
pub use snapshot::{SnapshotCreate, SnapshotDelete, SnapshotRevert, SnapshotView, SnapshotXmlOptions};
pub use storage::{
    PoolBuild, PoolOptions, PoolSourceQuery, PoolView, VolumeOptions, VolumeQuery, VolumeRemoval,
    VolumeResize, VolumeSpan, VolumeView, VolumeWipe,
};

/// For `skip_serializing_if`: leaves out what is off.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn is_off(flag: &bool) -> bool {
    !flag
}
