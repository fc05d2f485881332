//! What happened to a domain, told to all who listen: libvirt's lifecycle events with libvirt's details.
//!
//! The owner tasks send them; the engine stores and publishes them. Deliberately absent: sequence numbers (the
//! store gives them) and state (a listener who lags reads the snapshot).

use std::sync::Arc;

use lodge_model::DomainId;

use crate::block_job::{BlockJobKind, BlockJobStatus};
use crate::job::JobStats;
use crate::metadata::MetadataKind;

/// One thing that happened to one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    /// To which.
    pub domain: DomainId,
    /// Its name at that time.
    pub name: Arc<str>,
    /// Its number at that time; none where nothing ran.
    pub domid: Option<u32>,
    /// What happened.
    pub kind: EventKind,
}

macro_rules! lifecycle {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $word:literal { $($detail:literal = $of:literal),* $(,)? })*) => {
        /// A lifecycle event's type (`virDomainEventType`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Lifecycle { $($(#[$doc])* $variant = $number),* }

        impl Lifecycle {
            /// libvirt's word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// libvirt's word for the detail.
            pub const fn detail_str(self, detail: u8) -> &'static str {
                match (self, detail) {
                    $($((Self::$variant, $of) => $detail,)*)*
                    _ => "unknown",
                }
            }
        }
    };
}

lifecycle! {
    /// A definition came or changed.
    Defined = 0 "defined" { "added" = 0, "updated" = 1, "renamed" = 2, "from_snapshot" = 3 }
    /// A definition went.
    Undefined = 1 "undefined" { "removed" = 0, "renamed" = 1 }
    /// The guest started.
    Started = 2 "started" { "booted" = 0, "migrated" = 1, "restored" = 2, "from_snapshot" = 3, "wakeup" = 4 }
    /// The guest is held.
    Suspended = 3 "suspended" {
        "paused" = 0, "migrated" = 1, "ioerror" = 2, "watchdog" = 3, "restored" = 4, "from_snapshot" = 5,
        "api_error" = 6, "postcopy" = 7, "postcopy_failed" = 8,
    }
    /// The guest goes on.
    Resumed = 4 "resumed" { "unpaused" = 0, "migrated" = 1, "from_snapshot" = 2, "postcopy" = 3 }
    /// The guest is gone.
    Stopped = 5 "stopped" {
        "shutdown" = 0, "destroyed" = 1, "crashed" = 2, "migrated" = 3, "saved" = 4, "failed" = 5,
        "from_snapshot" = 6,
    }
    /// The guest has shut down; QEMU is about to end.
    Shutdown = 6 "shutdown" { "finished" = 0, "guest" = 1, "host" = 2 }
    /// The guest sleeps.
    PmSuspended = 7 "pmsuspended" { "memory" = 0, "disk" = 1 }
    /// The guest's kernel panicked.
    Crashed = 8 "crashed" { "panicked" = 0, "crashloaded" = 1 }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// One of libvirt's lifecycle events, with the detail's number (`virDomainEvent…DetailType`).
    Lifecycle(Lifecycle, u8),
    /// The guest was reset, by itself or by request (`VIR_DOMAIN_EVENT_ID_REBOOT`).
    Reboot,
    /// A disk failed under the guest.
    IoError {
        /// The disk.
        disk: DiskName,
        /// `report`, `ignore` or `stop`.
        action: String,
        /// `enospc` where the host's disk is full, else the error's text.
        reason: String,
    },
    /// The guest waits for room where its disks lie, or found it and goes on.
    Room {
        /// It waits.
        waits: bool,
        /// The directories and block devices.
        places: String,
    },
    /// The guest's watchdog fired.
    Watchdog {
        /// What QEMU did about it.
        action: String,
    },
    /// The guest set its clock.
    RtcChange {
        /// Seconds ahead of the host's.
        offset_s: i64,
    },
    /// Somebody came to, was let into or left a screen.
    Graphics(Box<GraphicsEvent>),
    /// The guest or the host moved a tray.
    TrayChange {
        /// The drive's alias.
        device: String,
        /// It is open now.
        open: bool,
    },
    /// A drive has another medium, or none.
    DiskChange {
        /// The medium before.
        old: Option<String>,
        /// The medium now.
        new: Option<String>,
        /// The drive's alias.
        device: String,
        /// `virConnectDomainEventDiskChangeReason`.
        reason: u32,
    },
    /// The guest went to sleep; the lifecycle event is told beside this.
    PmSuspend,
    /// The guest went to sleep on its disk.
    PmSuspendDisk,
    /// The guest woke up.
    PmWakeup,
    /// The guest gave memory back, or took some.
    BalloonChange {
        /// What it has now, in KiB.
        actual_kib: u64,
    },
    /// A device came.
    DeviceAdded {
        /// Its alias.
        device: String,
    },
    /// A device went.
    DeviceRemoved {
        /// Its alias.
        device: String,
    },
    /// The guest would not let a device go.
    DeviceRemovalFailed {
        /// Its alias.
        device: String,
    },
    /// Limits and weights were changed.
    Tunable {
        /// Name and value of each, as libvirt names them (`cputune.vcpupin0` …).
        params: Vec<(String, TunableValue)>,
    },
    /// Title, description or an element of the metadata changed.
    MetadataChange {
        /// Which.
        kind: MetadataKind,
        /// The element's namespace.
        uri: Option<String>,
    },
    /// A pass over the guest's memory ended.
    MigrationIteration {
        /// From 1.
        pass: u32,
    },
    /// A job ended well.
    JobCompleted(Arc<JobStats>),
    /// A block job is ready, or has ended.
    BlockJob {
        /// The disk's target.
        disk: String,
        /// The disk's file, as it is now.
        path: String,
        /// What the job does.
        kind: BlockJobKind,
        /// Which of them.
        status: BlockJobStatus,
        /// Why it failed.
        error: Option<String>,
    },
    /// A disk was written beyond the mark set.
    BlockThreshold {
        /// The disk, `vda`, or one of its layers, `vda[2]`.
        dev: String,
        /// Its file.
        path: Option<String>,
        /// The mark, in bytes.
        threshold: u64,
        /// How far beyond, in bytes.
        excess: u64,
    },
    /// The host's memory failed under the guest.
    MemoryFailure {
        /// `hypervisor` or `guest`.
        recipient: String,
        /// `ignore`, `inject`, `fatal` or `reset`.
        action: String,
        /// The guest must act.
        action_required: bool,
        /// It happened while an earlier one was handled.
        recursive: bool,
    },
    /// A memory device has another size.
    MemoryDeviceSizeChange {
        /// Its alias.
        device: String,
        /// In KiB.
        size_kib: u64,
    },
    /// The guest agent's channel was opened or closed by the guest.
    Agent {
        /// Is it open now?
        connected: bool,
        /// It is told because the guest was started.
        at_start: bool,
    },
    /// The guest's QEMU stopped answering, or answers again.
    Responding {
        /// Does it answer?
        responding: bool,
    },
    /// The autostart mark changed.
    Autostart {
        /// Is it set now?
        enabled: bool,
    },
    /// Somebody edited the definition's file and it is no valid document; the old one stays in force.
    InvalidEdit {
        /// What is wrong with it.
        why: String,
    },
}

/// A disk as QEMU names it and as the document does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskName {
    /// The device's alias, `virtio-disk0`; QEMU's own name where the document has none of it.
    pub alias: String,
    /// Its source.
    pub path: String,
}

/// The value of a limit or weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunableValue {
    /// A number without a sign.
    Number(u64),
    /// A number that may be below 0.
    Signed(i64),
    /// A text.
    Text(String),
}

/// How far somebody came at a screen (`virDomainEventGraphicsPhase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GraphicsPhase {
    /// Somebody is there.
    Connect = 0,
    /// And was let in.
    Initialize = 1,
    /// And is gone.
    Disconnect = 2,
}

impl GraphicsPhase {
    /// libvirt's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Initialize => "initialize",
            Self::Disconnect => "disconnect",
        }
    }
}

/// One end of a screen's connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphicsAddress {
    /// `ipv4`, `ipv6` or `unix`.
    pub family: String,
    /// The address, or the socket's path.
    pub node: String,
    /// The port.
    pub service: String,
}

/// Somebody at a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphicsEvent {
    /// How far they came.
    pub phase: GraphicsPhase,
    /// Our end.
    pub local: GraphicsAddress,
    /// Theirs.
    pub remote: GraphicsAddress,
    /// `none`, `vnc`, `spice` …
    pub auth_scheme: String,
    /// Who they said they are: `x509dname` or `saslUsername`, and the name.
    pub subject: Vec<(String, String)>,
}

impl EventKind {
    /// The event's word, for events and logs: `started`, `reboot` ….
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lifecycle(lifecycle, _) => lifecycle.as_str(),
            Self::Reboot => "reboot",
            Self::IoError { .. } => "io_error",
            Self::Room { waits: true, .. } => "waits_for_room",
            Self::Room { waits: false, .. } => "room_again",
            Self::Watchdog { .. } => "watchdog",
            Self::RtcChange { .. } => "rtc_change",
            Self::Graphics(_) => "graphics",
            Self::TrayChange { .. } => "tray_change",
            Self::DiskChange { .. } => "disk_change",
            Self::PmSuspend => "pm_suspend",
            Self::PmSuspendDisk => "pm_suspend_disk",
            Self::PmWakeup => "pm_wakeup",
            Self::BalloonChange { .. } => "balloon_change",
            Self::DeviceAdded { .. } => "device_added",
            Self::DeviceRemoved { .. } => "device_removed",
            Self::DeviceRemovalFailed { .. } => "device_removal_failed",
            Self::Tunable { .. } => "tunable",
            Self::MetadataChange { .. } => "metadata_change",
            Self::MigrationIteration { .. } => "migration_iteration",
            Self::JobCompleted(_) => "job_completed",
            Self::BlockJob { .. } => "block_job",
            Self::BlockThreshold { .. } => "block_threshold",
            Self::MemoryFailure { .. } => "memory_failure",
            Self::MemoryDeviceSizeChange { .. } => "memory_device_size_change",
            Self::Agent { .. } => "agent",
            Self::Responding { .. } => "responding",
            Self::Autostart { .. } => "autostart",
            Self::InvalidEdit { .. } => "invalid_edit",
        }
    }

    /// The event's detail as text, for events and logs.
    pub fn detail(&self) -> String {
        match self {
            Self::Lifecycle(lifecycle, detail) => lifecycle.detail_str(*detail).to_owned(),
            Self::Reboot | Self::PmSuspend | Self::PmSuspendDisk | Self::PmWakeup => String::new(),
            Self::IoError { disk, action, reason } => format!("{} {action} {reason}", disk.alias),
            Self::Room { places, .. } => places.clone(),
            Self::Watchdog { action } => action.clone(),
            Self::RtcChange { offset_s } => format!("{offset_s} s"),
            Self::Graphics(event) => {
                format!("{} {} {}", event.phase.as_str(), event.auth_scheme, event.remote.node)
            }
            Self::TrayChange { device, open: true } => format!("{device} open"),
            Self::TrayChange { device, open: false } => format!("{device} closed"),
            Self::DiskChange { old, new, device, .. } => {
                let words = [Some(device), old.as_ref(), new.as_ref()];
                words.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
            }
            Self::BalloonChange { actual_kib } => format!("{actual_kib} KiB"),
            Self::DeviceAdded { device }
            | Self::DeviceRemoved { device }
            | Self::DeviceRemovalFailed { device } => device.clone(),
            Self::Tunable { params } => {
                params.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
            }
            Self::MetadataChange { kind, uri } => uri
                .as_ref()
                .map_or_else(|| kind.as_str().to_owned(), |uri| format!("{} {uri}", kind.as_str())),
            Self::MigrationIteration { pass } => pass.to_string(),
            Self::JobCompleted(stats) => stats.operation.as_str().to_owned(),
            Self::BlockJob { disk, kind, status, error, .. } => {
                let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
                format!("{disk} {} {}{why}", kind.as_str(), status.as_str())
            }
            Self::BlockThreshold { dev, threshold, excess, .. } => format!("{dev} {threshold} {excess}"),
            Self::MemoryFailure { recipient, action, .. } => format!("{recipient} {action}"),
            Self::MemoryDeviceSizeChange { device, size_kib } => format!("{device} {size_kib} KiB"),
            Self::Agent { connected: true, .. } => "connected".to_owned(),
            Self::Agent { connected: false, .. } => "disconnected".to_owned(),
            Self::Responding { responding: true } => "responding".to_owned(),
            Self::Responding { responding: false } => "not_responding".to_owned(),
            Self::Autostart { enabled: true } => "enabled".to_owned(),
            Self::Autostart { enabled: false } => "disabled".to_owned(),
            Self::InvalidEdit { why } => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_have_libvirts_words() {
        assert_eq!(Lifecycle::Stopped.detail_str(4), "saved");
        assert_eq!(Lifecycle::Suspended.detail_str(6), "api_error");
        assert_eq!(Lifecycle::Shutdown.detail_str(9), "unknown");
        assert_eq!(EventKind::Lifecycle(Lifecycle::Started, 0).detail(), "booted");
    }
}
