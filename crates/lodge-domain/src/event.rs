//! What happened to a domain, told to all who listen: libvirt's lifecycle events with libvirt's details.
//!
//! The owner tasks send them; the engine stores and publishes them. Deliberately absent: sequence numbers (the
//! store gives them) and state (a listener who lags reads the snapshot).

use std::sync::Arc;

use lodge_model::DomainId;

/// One thing that happened to one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    /// To which.
    pub domain: DomainId,
    /// Its name at that time.
    pub name: Arc<str>,
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
        /// The device's alias or node name, as QEMU says it.
        device: String,
        /// `report`, `ignore` or `stop`.
        action: String,
        /// `nospace`, or the error's text.
        reason: String,
    },
    /// The guest's watchdog fired.
    Watchdog {
        /// What QEMU did about it.
        action: String,
    },
    /// The guest agent's channel was opened or closed by the guest.
    Agent {
        /// Is it open now?
        connected: bool,
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

impl EventKind {
    /// The event's word, for events and logs: `started`, `reboot` ….
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lifecycle(lifecycle, _) => lifecycle.as_str(),
            Self::Reboot => "reboot",
            Self::IoError { .. } => "io_error",
            Self::Watchdog { .. } => "watchdog",
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
            Self::Reboot => String::new(),
            Self::IoError { device, action, reason } => format!("{device} {action} {reason}"),
            Self::Watchdog { action } => action.clone(),
            Self::Agent { connected: true } => "connected".to_owned(),
            Self::Agent { connected: false } => "disconnected".to_owned(),
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
