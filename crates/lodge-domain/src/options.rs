//! What a caller may ask of each verb: one options struct per verb, all fields with libvirt's defaults.
//!
//! The names are virsh's options. Deliberately absent: what they do; that is in the verb's own file.

use std::path::PathBuf;
use std::time::Duration;

use lodge_model::JobId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// `virsh define`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefineOptions {
    /// Refuse what the document's model does not know, instead of keeping it as it is.
    pub validate: bool,
    /// The image that lies where its managed save would is its own: it was put there for it.
    pub managed_save: bool,
}

/// `virsh create`: a guest without a definition, which vanishes when it stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Leave the guest's processors stopped.
    pub paused: bool,
    /// As with define.
    pub validate: bool,
    /// Make the UEFI variables anew from their template.
    pub reset_nvram: bool,
}

/// `virsh start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Leave the guest's processors stopped.
    pub paused: bool,
    /// Throw the managed save image away and boot.
    pub force_boot: bool,
    /// Read the managed save image past the host's page cache.
    pub bypass_cache: bool,
    /// Make the UEFI variables anew from their template.
    pub reset_nvram: bool,
}

/// `virsh destroy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestroyOptions {
    /// Only ask QEMU to end; never kill it.
    pub graceful: bool,
}

/// How a guest is asked to shut down or reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerMode {
    /// The ACPI power button.
    Acpi,
    /// The guest agent.
    Agent,
}

/// `virsh shutdown`, `virsh reboot`: the modes are tried in their order; none means libvirt's choice (the
/// agent where the guest has one that answers, else ACPI).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PowerOptions {
    /// The modes to try.
    pub modes: Vec<PowerMode>,
}

/// What a saved guest does when it comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resumption {
    /// As it was when it was saved.
    #[default]
    AsBefore,
    /// It runs.
    Running,
    /// It stays paused.
    Paused,
}

/// `virsh save`, `virsh managedsave`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// Write past the host's page cache.
    pub bypass_cache: bool,
    /// What the image says about its resumption.
    pub resumption: Resumption,
    /// Another document to keep in the image; it must describe the same hardware.
    pub xml: Option<String>,
}

/// What a dump of the memory alone is written as (`virDomainCoreDumpFormat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DumpFormat {
    /// ELF.
    #[default]
    Raw,
    /// kdump, zlib.
    KdumpZlib,
    /// kdump, LZO.
    KdumpLzo,
    /// kdump, snappy.
    KdumpSnappy,
    /// Windows' own.
    WinDmp,
    /// kdump, zlib, not flattened.
    KdumpRawZlib,
    /// kdump, LZO, not flattened.
    KdumpRawLzo,
    /// kdump, snappy, not flattened.
    KdumpRawSnappy,
}

impl DumpFormat {
    /// All, in libvirt's order.
    pub const ALL: [Self; 8] = [
        Self::Raw,
        Self::KdumpZlib,
        Self::KdumpLzo,
        Self::KdumpSnappy,
        Self::WinDmp,
        Self::KdumpRawZlib,
        Self::KdumpRawLzo,
        Self::KdumpRawSnappy,
    ];

    /// QEMU's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "elf",
            Self::KdumpZlib => "kdump-zlib",
            Self::KdumpLzo => "kdump-lzo",
            Self::KdumpSnappy => "kdump-snappy",
            Self::WinDmp => "win-dmp",
            Self::KdumpRawZlib => "kdump-raw-zlib",
            Self::KdumpRawLzo => "kdump-raw-lzo",
            Self::KdumpRawSnappy => "kdump-raw-snappy",
        }
    }
}

/// `virsh dump`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "virsh's options")]
pub struct DumpOptions {
    /// The memory alone, in `format`; otherwise a migration stream.
    pub memory_only: bool,
    /// The guest runs on meanwhile.
    pub live: bool,
    /// The guest ends afterwards, as crashed.
    pub crash: bool,
    /// The guest boots anew afterwards.
    pub reset: bool,
    /// Of a dump of the memory alone.
    pub format: DumpFormat,
}

/// How a guest is sent to sleep (`virNodeSuspendTarget`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SleepMode {
    /// To memory (S3).
    Memory,
    /// To its disk (S4).
    Disk,
    /// Both.
    Hybrid,
}

/// `virsh restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Read past the host's page cache.
    pub bypass_cache: bool,
    /// Overrides what the image says.
    pub resumption: Resumption,
    /// Another document than the image's; it must describe the same hardware.
    pub xml: Option<String>,
    /// Make the UEFI variables anew from their template.
    pub reset_nvram: bool,
}

/// `virsh undefine`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "virsh's options")]
pub struct UndefineOptions {
    /// Remove the UEFI variables too. Without it a guest that has some is not undefined.
    pub nvram: bool,
    /// Keep the UEFI variables' file.
    pub keep_nvram: bool,
    /// Remove the TPM's state also where the document has it persist.
    pub tpm: bool,
    /// Keep the TPM's state.
    pub keep_tpm: bool,
    /// Remove the managed save image too. Without it a guest that has one is not undefined.
    pub managed_save: bool,
    /// Forget the snapshots. Without it a guest that has some is not undefined.
    pub snapshots_metadata: bool,
    /// Delete the volumes of all disks that are in a pool.
    pub remove_all_storage: bool,
    /// Change nothing; say what would go.
    pub dry_run: bool,
}

/// `virsh snapshot-create`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotCreateOptions {
    /// Nothing is taken: what is known of an earlier snapshot is given back.
    pub redefine: bool,
    /// With `redefine`: it is the current one.
    pub current: bool,
    /// Take it and keep no knowledge of it.
    pub no_metadata: bool,
    /// The guest is off afterwards.
    pub halt: bool,
    /// The disks without the memory.
    pub disk_only: bool,
    /// The new files are there already.
    pub reuse_external: bool,
    /// The guest's file systems stand still meanwhile, by its agent.
    pub quiesce: bool,
    /// The guest runs on while its memory is taken.
    pub live: bool,
    /// As with define.
    pub validate: bool,
}

/// `virsh snapshot-revert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotRevertOptions {
    /// The guest runs afterwards, whatever it did then.
    pub running: bool,
    /// The guest is paused afterwards.
    pub paused: bool,
    /// Also where something could be lost.
    pub force: bool,
    /// Make the UEFI variables anew from their template.
    pub reset_nvram: bool,
}

/// `virsh snapshot-delete`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotDeleteOptions {
    /// With all that came from it.
    pub children: bool,
    /// Only what came from it.
    pub children_only: bool,
    /// Only what is known of it; all bytes stay.
    pub metadata: bool,
}

/// `virsh dumpxml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XmlOptions {
    /// The definition, that is the next boot's, even where the guest runs.
    pub inactive: bool,
    /// Fit for another host: without what this host added.
    pub migratable: bool,
    /// With passwords.
    pub security_info: bool,
}

/// What an undefine removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undefined {
    /// Every file that goes, in the order of going.
    pub files: Vec<DoomedFile>,
    /// Disks that stay although all storage was asked for, and why.
    pub kept: Vec<KeptFile>,
}

/// A file that goes with a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoomedFile {
    /// The file.
    pub path: PathBuf,
    /// What it is: `definition`, `autostart mark`, `nvram`, `managed save image`, `seed`, `disk vda` …
    pub what: String,
}

/// A disk that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The file.
    pub path: PathBuf,
    /// Why it stays.
    pub why: String,
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What is being done, as a person would say it.
    pub phase: String,
    /// From 0 to 1; none where it cannot be known.
    pub fraction: Option<f32>,
    /// Bytes done and bytes in all, where it is about bytes.
    pub bytes: Option<(u64, u64)>,
}

/// The caller's end of a long act: its number, its abort, its progress.
#[derive(Debug, Clone, Default)]
pub struct Ticket {
    /// The job's number; none lets the domain take one that names no stored job.
    pub id: Option<JobId>,
    /// Cancelling it aborts the act where that is still possible; the guest is then as before.
    pub cancel: CancellationToken,
    /// Where progress is told.
    pub progress: Option<watch::Sender<Progress>>,
    /// How long the act may wait for another one on the same guest; none means thirty seconds, as libvirt's.
    pub patience: Option<Duration>,
    /// A guest that is started is destroyed when this is cancelled (`--autodestroy`): the caller's connection.
    pub tied_to: Option<CancellationToken>,
}

impl Ticket {
    /// A ticket of the stored job `id`.
    pub fn of(id: JobId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// Tells progress to whoever listens.
    pub fn tell(&self, phase: &str, fraction: Option<f32>) {
        if let Some(progress) = &self.progress {
            progress.send_replace(Progress { phase: phase.to_owned(), fraction, bytes: None });
        }
    }
}
