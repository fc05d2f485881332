//! libvirt's states and their reasons, with libvirt's numbers (virDomainState, virDomain…Reason) and the words
//! that virsh prints.

/// Makes an enum whose variants have libvirt's number (their order) and virsh's word.
macro_rules! numbered {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u32)]
        $vis enum $name {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// Every one, in libvirt's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// libvirt's number.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The one of that number.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.get(usize::try_from(number).ok()?).copied()
            }

            /// virsh's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

numbered! {
    /// virDomainState.
    pub enum VirtState {
        NoState = "no state", Running = "running", Blocked = "idle", Paused = "paused", Shutdown = "in shutdown",
        Shutoff = "shut off", Crashed = "crashed", PmSuspended = "pmsuspended",
    }
}

numbered! {
    /// Reasons of states that have only one: nostate, blocked, pmsuspended.
    pub enum UnknownReason { Unknown = "unknown" }
}

numbered! {
    /// virDomainRunningReason.
    pub enum RunningReason {
        Unknown = "unknown", Booted = "booted", Migrated = "migrated", Restored = "restored",
        FromSnapshot = "from snapshot", Unpaused = "unpaused", MigrationCanceled = "migration canceled",
        SaveCanceled = "save canceled", Wakeup = "event wakeup", Crashed = "crashed", PostCopy = "post-copy",
        PostCopyFailed = "post-copy failed",
    }
}

numbered! {
    /// virDomainPausedReason.
    pub enum PausedReason {
        Unknown = "unknown", User = "user", Migration = "migrating", Saving = "saving", Dumping = "dumping",
        IoError = "I/O error", Watchdog = "watchdog", FromSnapshot = "from snapshot", ShuttingDown = "shutting down",
        CreatingSnapshot = "creating snapshot", Crashed = "crashed", StartingUp = "starting up", PostCopy = "post-copy",
        PostCopyFailed = "post-copy failed", ApiError = "API error",
    }
}

numbered! {
    /// virDomainShutdownReason.
    pub enum ShutdownReason { Unknown = "unknown", User = "user" }
}

numbered! {
    /// virDomainShutoffReason.
    pub enum ShutoffReason {
        Unknown = "unknown", Shutdown = "shutdown", Destroyed = "destroyed", Crashed = "crashed", Migrated = "migrated",
        Saved = "saved", Failed = "failed", FromSnapshot = "from snapshot", Daemon = "daemon",
    }
}

numbered! {
    /// virDomainCrashedReason.
    pub enum CrashedReason { Unknown = "unknown", Panicked = "panicked" }
}
