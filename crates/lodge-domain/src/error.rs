//! What can go wrong in the life of a guest, and what to do about it.
//!
//! One variant per failed act. `Display` is what failed and about what; the cause is the source; [`hint`] is the
//! next step. Deliberately absent: numbers of any front; each front has its own table from [`Kind`].
//!
//! [`hint`]: DomainError::hint

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_model::domain::DomainKind;
use lodge_model::domain::lifecycle::Denied;
use lodge_model::domain::metadata::MetadataFault;
use lodge_model::snapshot::SnapshotFault;
use lodge_model::{DomainId, Faults, Kind};
use lodge_qemu::agent::AgentError;
use lodge_qemu::qmp::MonitorError;
use lodge_qemu::save_image::SaveImageError;
use lodge_store::saga::SagaError;
use lodge_store::{DbError, DefinitionError, SnapshotFileError};

use crate::ports::PortError;

/// Why an act on a domain did not happen.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum DomainError {
    /// There is no such domain.
    #[error("no domain `{wanted}`")]
    NoSuchDomain { wanted: String },
    /// The name is another domain's.
    #[error("domain `{name}` already exists with uuid {id}")]
    NameTaken { name: String, id: DomainId },
    /// The UUID is another domain's.
    #[error("domain `{name}` is already defined with uuid {id}, so `{wanted}` cannot have it")]
    UuidTaken { id: DomainId, name: Arc<str>, wanted: String },
    /// The document cannot be a domain's. Every fault is told.
    #[error("the domain's document is not valid: {faults}")]
    Document { faults: Faults },
    /// This QEMU cannot be the machine that the document asks for.
    #[error("emulator `{}` does not support machine type `{machine}`", emulator.display())]
    NoSuchMachine { emulator: PathBuf, machine: String },
    /// The document is not what a strict reading takes.
    #[error("the document is not valid: {faults}")]
    Invalid { faults: Faults },
    /// The document is for another hypervisor.
    #[error("the emulator `{}` does not run guests of type `{kind}`", emulator.display())]
    NoSuchKind { emulator: PathBuf, kind: DomainKind },
    /// The document is for another processor.
    #[error("the emulator `{}` does not run guests of architecture `{arch}`", emulator.display())]
    NoSuchArch { emulator: PathBuf, arch: String },
    /// The document names a QEMU that is not there.
    #[error("there is no emulator `{}`", path.display())]
    NoEmulator { path: PathBuf, source: std::io::Error },
    /// The definition's file was edited by hand and is no valid document.
    #[error("the definition `{}` was edited by hand and is not valid: {why}", path.display())]
    BadEdit { path: PathBuf, why: Arc<str> },
    /// The state does not admit it.
    #[error("cannot {act} domain `{name}`")]
    Denied { act: &'static str, name: Arc<str>, source: Denied },
    /// It needs a running guest.
    #[error("domain `{name}` is not running")]
    NotRunning { name: Arc<str> },
    /// No job is at work.
    #[error("no job is active on domain `{name}`")]
    NoJob { name: Arc<str> },
    /// It cannot have another name.
    #[error("{why}: `{name}`")]
    CannotRename { name: Arc<str>, why: &'static str },
    /// A dump could not be written.
    #[error("cannot dump domain `{name}` to `{}`", path.display())]
    Dump { name: Arc<str>, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// The metadata given cannot be kept.
    #[error("cannot set the metadata")]
    Metadata { source: MetadataFault },
    /// There is no managed save image.
    #[error("domain `{name}` has no managed save image")]
    NoManagedSave { name: Arc<str> },
    /// Another act on the same guest took too long.
    #[error("cannot act on domain `{name}`: it has been busy with `{what}` for {age:?}")]
    Busy { name: Arc<str>, what: &'static str, age: Duration },
    /// What an act that was cut off left in its images is looked for.
    #[error(
        "cannot {act} domain `{name}` yet: its disks are being looked over after an act that was cut off, for {} s so far",
        since.elapsed().as_secs()
    )]
    LookedOver { act: &'static str, name: Arc<str>, since: Instant },
    /// Too many requests wait for the same guest.
    #[error("too many requests are waiting for domain `{name}`")]
    Crowded { name: Arc<str> },
    /// The act was aborted.
    #[error("`{act}` of domain `{name}` was aborted")]
    Aborted { act: &'static str, name: Arc<str> },
    /// A part of the host refused.
    #[error("cannot {act} of domain `{name}`")]
    Port { act: &'static str, name: Arc<str>, source: PortError },
    /// The definition could not be read, written or removed.
    #[error(transparent)]
    Definition(DefinitionError),
    /// The database failed.
    #[error("cannot note what is done to domain `{name}`")]
    Db { name: Arc<str>, source: DbError },
    /// The guest did not come up; nothing of the attempt is left.
    #[error("domain `{name}` did not start")]
    Start { name: Arc<str>, source: Box<SagaError> },
    /// QEMU refused or did not answer.
    #[error("cannot {act} domain `{name}`")]
    Monitor { act: &'static str, name: Arc<str>, source: MonitorError },
    /// QEMU has not been answering.
    #[error("the QEMU of domain `{name}` is not responding")]
    NotResponding { name: Arc<str> },
    /// The agent in the guest refused or did not answer.
    #[error("cannot {act} domain `{name}` through its guest agent")]
    Agent { act: &'static str, name: Arc<str>, source: AgentError },
    /// The document has no agent channel.
    #[error("domain `{name}` has no guest agent channel")]
    NoAgent { name: Arc<str> },
    /// QEMU did not end.
    #[error("the QEMU of domain `{name}` (process {pid}) did not end within {waited:?}")]
    WouldNotEnd { name: Arc<str>, pid: u32, waited: Duration },
    /// A libvirt daemon has it, and it runs there.
    #[error("domain `{name}` runs already (process {pid}), and a libvirt daemon has it")]
    HeldByLibvirt { name: Arc<str>, pid: u32 },
    /// It has what an undefine must not leave behind.
    #[error("domain `{name}` has {what}")]
    Encumbered { name: Arc<str>, what: &'static str, hint: &'static str },
    /// It has snapshots, which an undefine must not leave behind.
    #[error("domain `{name}` has {count} snapshots")]
    HasSnapshots { name: Arc<str>, count: usize },
    /// It needs a definition.
    #[error("cannot {act} domain `{name}`: it is transient")]
    Transient { act: &'static str, name: Arc<str> },
    /// There is no such snapshot.
    #[error("domain `{name}` has no snapshot `{snapshot}`")]
    NoSnapshot { name: Arc<str>, snapshot: String },
    /// A revert could lose or spoil something.
    #[error("{why}")]
    SnapshotRisky { name: Arc<str>, why: String },
    /// The snapshot's document cannot be had.
    #[error(transparent)]
    SnapshotDocument(#[from] SnapshotFault),
    /// A snapshot's file could not be handled.
    #[error(transparent)]
    SnapshotFile(SnapshotFileError),
    /// A snapshot was not taken, reverted to or deleted.
    #[error("cannot {act} snapshot `{snapshot}` of domain `{name}`")]
    Snapshot { act: &'static str, name: Arc<str>, snapshot: String, source: Box<SagaError> },
    /// A saved state could not be written.
    #[error("cannot save domain `{name}` to `{}`", path.display())]
    Save { name: Arc<str>, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// A saved state could not be read.
    #[error("cannot restore from `{}`", path.display())]
    SavedImage { path: PathBuf, source: SaveImageError },
    /// The document given with a saved state is another machine's.
    #[error("the document given is not the one of the saved guest: {why}")]
    OtherMachine { why: String },
    /// A file of the guest could not be handled.
    #[error("cannot {act} `{}`", path.display())]
    File { act: &'static str, path: PathBuf, source: std::io::Error },
    /// A change or a look was refused, in libvirt's words.
    #[error(transparent)]
    Refused(#[from] crate::control::Refusal),
    /// A fault of Lodge: the domain's owner failed and began anew.
    #[error("internal error while acting on domain `{name}`; its state was read anew from the host")]
    OwnerFailed { name: Arc<str> },
    /// The daemon is about to end.
    #[error("the daemon is ending")]
    Closing,
    /// The domain went while the request was on its way.
    #[error("domain `{name}` is gone")]
    Vanished { name: Arc<str> },
}

impl DomainError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchDomain { .. } | Self::Vanished { .. } | Self::NoSnapshot { .. } => Kind::NotFound,
            Self::NameTaken { .. } | Self::UuidTaken { .. } => Kind::Exists,
            Self::Document { .. }
            | Self::Invalid { .. }
            | Self::BadEdit { .. }
            | Self::Metadata { .. }
            | Self::OtherMachine { .. } => Kind::InvalidInput,
            Self::Denied { source, .. } => source.kind(),
            Self::Busy { .. } | Self::LookedOver { .. } | Self::Crowded { .. } => Kind::Busy,
            Self::Aborted { .. }
            | Self::Encumbered { .. }
            | Self::Transient { .. }
            | Self::NotRunning { .. }
            | Self::NoJob { .. }
            | Self::CannotRename { .. }
            | Self::NoManagedSave { .. }
            | Self::HeldByLibvirt { .. }
            | Self::SnapshotRisky { .. }
            | Self::HasSnapshots { .. }
            | Self::NoAgent { .. } => Kind::InvalidState,
            Self::NoSuchMachine { .. }
            | Self::NoSuchKind { .. }
            | Self::NoSuchArch { .. }
            | Self::NoEmulator { .. } => Kind::Unsupported,
            Self::Port { source, .. } => source.kind,
            Self::Definition(source) => source.kind(),
            Self::Db { source, .. } => source.kind(),
            Self::Start { source, .. } | Self::Snapshot { source, .. } => source.kind(),
            Self::SnapshotDocument(fault) => fault.kind(),
            Self::SnapshotFile(error) => error.kind(),
            Self::Monitor { source, .. } => source.kind(),
            Self::NotResponding { .. } | Self::WouldNotEnd { .. } | Self::Closing => Kind::Unavailable,
            Self::Agent { source, .. } => source.kind(),
            Self::Save { source, .. } | Self::Dump { source, .. } => {
                io_in(source.as_ref()).unwrap_or(Kind::Internal)
            }
            Self::SavedImage { source, .. } => source.kind(),
            Self::File { source, .. } => io_kind(source),
            Self::OwnerFailed { .. } => Kind::Internal,
            Self::Refused(refusal) => refusal.kind(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoSuchDomain { .. } | Self::Vanished { .. } => "`lodge list --all` shows what there is",
            Self::NameTaken { .. } => {
                "choose another name, or give the document that domain's uuid to change it"
            }
            Self::UuidTaken { .. } => "remove <uuid> from the document to get a new one",
            Self::NoSuchKind { .. } => {
                "use type='qemu', or type='kvm' for guests of the host's own architecture"
            }
            Self::NoSuchArch { .. } => {
                "install the QEMU for it (Debian: qemu-system-arm for aarch64, qemu-system-misc for riscv64)"
            }
            Self::NoEmulator { .. } => "leave <emulator> out, or install that QEMU",
            Self::Document { .. } | Self::Invalid { .. } => "correct the places named and try again",
            Self::BadEdit { .. } => "correct the file, or `lodge define` the domain anew",
            Self::Denied { source, .. } => source.hint(),
            Self::Busy { .. } => "wait, or abort the job; `destroy` ends the guest in any case",
            Self::LookedOver { .. } => "wait until that is done (minutes, of a large image), and try again",
            Self::Crowded { .. } => "wait until some of them are done",
            Self::Closing => "try again when the next one is up; guests run on meanwhile",
            Self::Aborted { .. } => "the guest is as it was; try again when it suits",
            Self::Port { source, .. } => return source.hint.clone(),
            Self::Definition(source) => return source.hint(),
            Self::Db { source, .. } => return source.hint(),
            Self::Start { source, .. } | Self::Snapshot { source, .. } => return source.hint(),
            Self::SnapshotDocument(_) => "correct what is named and try again",
            Self::SnapshotFile(error) => return error.hint(),
            Self::NoSnapshot { .. } => "`lodge snapshot list DOMAIN` shows what there is",
            Self::SnapshotRisky { .. } => "add --force if that is what you want",
            Self::Monitor { .. } | Self::NotResponding { .. } | Self::WouldNotEnd { .. } => {
                "look at the host's load and disks; `lodge destroy` without --graceful ends the guest"
            }
            Self::Agent { source, .. } => return source.hint().map(str::to_owned),
            Self::NoAgent { .. } => {
                "use --mode acpi, or add the channel org.qemu.guest_agent.0 to the document"
            }
            Self::NoSuchMachine { .. } => {
                "`qemu-system-x86_64 -machine help` lists those this QEMU has; `q35` is always the newest"
            }
            Self::Encumbered { hint, .. } => hint,
            Self::HasSnapshots { .. } => {
                "add --snapshots-metadata to forget them (their bytes stay), or delete them first"
            }
            Self::Transient { .. } => "`lodge define` it first",
            Self::NotRunning { .. } => "start it first",
            Self::NoJob { .. } => "nothing to do",
            Self::CannotRename { .. } => "shut it down and remove its managed save first",
            Self::Metadata { .. } => "give one well-formed element, and a prefix it does not use itself",
            Self::NoManagedSave { .. } => "`managedsave` makes one",
            Self::Save { .. } | Self::Dump { .. } => {
                "check the directory's free space and permissions; the guest runs on"
            }
            Self::SavedImage { source, .. } => return source.hint().map(str::to_owned),
            Self::OtherMachine { .. } => "change only what the guest cannot see, such as the disks' paths",
            Self::File { source, .. } => match io_kind(source) {
                Kind::Exhausted => "free some space on that file system, then try again",
                Kind::Denied => "check the owner and the mode of the file and its directory",
                _ => return None,
            },
            Self::Refused(refusal) => return refusal.hint.clone(),
            Self::HeldByLibvirt { .. } => "stop libvirtd (its guests run on), then run `lodge adopt`",
            Self::OwnerFailed { .. } => "this is a fault of lodge: please report it with the daemon's log",
        };
        Some(text.to_owned())
    }
}

/// The kind of an I/O error, where that is all that is known.
pub(crate) fn io_kind(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::AlreadyExists => Kind::Exists,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Exhausted,
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename | ErrorKind::IsADirectory => Kind::InvalidInput,
        _ => Kind::Internal,
    }
}

fn io_in(error: &(dyn std::error::Error + 'static)) -> Option<Kind> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .map(io_kind)
}

/// The whole chain on one line: each `Display` tells its own part, so nothing is told twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
