//! Jobs on a guest as others see them: what libvirt calls `domjobinfo`.
//!
//! A job that runs is told by the owner's snapshot, its figures by QEMU; the last one that ended well is kept until
//! somebody reads it. Deliberately absent: the jobs themselves (a file per verb).

use std::time::{Duration, SystemTime};

use lodge_qemu::qmp::{Migration, MigrationState};

use crate::error::DomainError;
use crate::handle::Handle;

/// What a job does (`virDomainJobOperation`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum JobOperation {
    /// Nothing that has a name.
    #[default]
    Unknown = 0,
    /// Bringing the guest up.
    Start = 1,
    /// Its memory to a file.
    Save = 2,
    /// Its memory from a file.
    Restore = 3,
    /// Taking a snapshot.
    Snapshot = 6,
    /// Going back to one.
    SnapshotRevert = 7,
    /// Its memory for a debugger.
    Dump = 8,
    /// Removing a snapshot.
    SnapshotDelete = 10,
}

impl JobOperation {
    /// virsh's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Start => "Start",
            Self::Save => "Save",
            Self::Restore => "Restore",
            Self::Snapshot => "Snapshot",
            Self::SnapshotRevert => "Snapshot revert",
            Self::Dump => "Dump",
            Self::SnapshotDelete => "Snapshot delete",
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word {
            "save" | "managedsave" => Some(Self::Save),
            "dump" => Some(Self::Dump),
            "start" | "create" => Some(Self::Start),
            "restore" => Some(Self::Restore),
            "snapshot-create" => Some(Self::Snapshot),
            "snapshot-revert" => Some(Self::SnapshotRevert),
            "snapshot-delete" => Some(Self::SnapshotDelete),
            _ => None,
        }
    }
}

/// How a job stands (`virDomainJobType`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum JobPhase {
    /// There is none.
    #[default]
    None = 0,
    /// Its end is in sight.
    Bounded = 1,
    /// It takes as long as it takes.
    Unbounded = 2,
    /// It ended well.
    Completed = 3,
    /// It did not.
    Failed = 4,
    /// Somebody broke it off.
    Cancelled = 5,
}

/// The figures of a job, in bytes and milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobStats {
    /// How it stands.
    pub phase: JobPhase,
    /// What it does.
    pub operation: JobOperation,
    /// How long it has taken.
    pub elapsed_ms: u64,
    /// What QEMU counts of the memory; none where it counts nothing.
    pub memory: Option<MemoryStats>,
    /// Bytes of a dump: done, and all.
    pub dump: Option<(u64, u64)>,
}

/// What QEMU counts of memory on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// How long the guest stood still.
    pub downtime_ms: Option<u64>,
    /// How long QEMU prepared.
    pub setup_ms: Option<u64>,
    /// All of it.
    pub total: u64,
    /// Gone over.
    pub transferred: u64,
    /// To go.
    pub remaining: u64,
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Pages that hold one value only.
    pub constant: u64,
    /// Pages that were copied.
    pub normal: u64,
    /// The same in bytes.
    pub normal_bytes: u64,
    /// Pages made dirty per second.
    pub dirty_rate: u64,
    /// Passes over the memory.
    pub iteration: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages asked for by the other side.
    pub postcopy_requests: u64,
}

impl MemoryStats {
    /// What QEMU answered.
    pub fn of(migration: &Migration) -> Option<Self> {
        let ram = migration.ram?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate in bytes")]
        let bytes_per_second = (ram.mbps * 1_000_000.0 / 8.0).max(0.0) as u64;
        Some(Self {
            downtime_ms: migration.downtime,
            setup_ms: migration.setup_time,
            total: ram.total,
            transferred: ram.transferred,
            remaining: ram.remaining,
            bytes_per_second,
            constant: ram.duplicate,
            normal: ram.normal,
            normal_bytes: ram.normal_bytes,
            dirty_rate: ram.dirty_pages_rate,
            iteration: ram.dirty_sync_count,
            page_size: ram.page_size,
            postcopy_requests: ram.postcopy_requests,
        })
    }
}

/// Milliseconds since `begun`.
pub(crate) fn elapsed_ms(begun: SystemTime) -> u64 {
    u64::try_from(begun.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// How long a reader waits for QEMU's figures; without them it has the job's name and age.
const PATIENCE: Duration = Duration::from_secs(2);

impl Handle {
    /// The job that has the guest now. [`JobPhase::None`] where none has. Asks QEMU for figures, not the owner.
    pub async fn job(&self) -> Result<JobStats, DomainError> {
        let snapshot = self.snapshot();
        if !snapshot.is_active() {
            return Err(DomainError::NotRunning { name: self.name() });
        }
        let running = snapshot.job.as_ref().and_then(|job| Some((job, JobOperation::of(job.what)?)));
        let Some((job, operation)) = running else { return Ok(JobStats::default()) };
        let mut stats = JobStats {
            phase: JobPhase::Unbounded,
            operation,
            elapsed_ms: elapsed_ms(job.since),
            ..JobStats::default()
        };
        let Some(monitor) = self.monitor() else { return Ok(stats) };
        if operation == JobOperation::Dump {
            if let Ok(dump) = monitor.execute_within::<DumpStatus>("query-dump", (), PATIENCE).await
                && dump.status == "active"
            {
                stats.dump = Some((dump.completed, dump.total));
                stats.phase = JobPhase::Bounded;
            }
        } else if let Ok(migration) = monitor.execute_within::<Migration>("query-migrate", (), PATIENCE).await
            && migration.status != MigrationState::None
        {
            stats.memory = MemoryStats::of(&migration);
        }
        Ok(stats)
    }

    /// The last job that ended well; `keep` leaves it for the next reader.
    pub async fn completed_job(&self, keep: bool) -> Result<Option<JobStats>, DomainError> {
        let completed = self.snapshot().completed_job.clone();
        if completed.is_some() && !keep {
            self.forget_completed_job().await?;
        }
        Ok(completed.map(|stats| JobStats::clone(&stats)))
    }
}

/// Answer of `query-dump`.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct DumpStatus {
    /// `none`, `active`, `completed` or `failed`.
    pub status: String,
    /// Bytes done.
    #[serde(default)]
    pub completed: u64,
    /// Bytes in all.
    #[serde(default)]
    pub total: u64,
}
