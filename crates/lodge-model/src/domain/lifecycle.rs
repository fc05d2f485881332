//! The life of a domain: which requests it admits, and where events lead it.
//!
//! ```text
//!            start            started            suspend
//!  Shutoff ────────▶ Starting ────────▶ Running ◀───────▶ Paused ──┐
//!     ▲  ◀──────────────┘                │ │ │    resume    │ │     │ save
//!     │        failed          PMSuspended◀┘ └▶ InShutdown   │ │     ▼
//!     │                          │   destroy      │         │ └─▶ Saving
//!     └────────────────────── Stopping ◀───────────────────┘        │
//!     ▲                                                  saved      │
//!     └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Pure: no I/O, no clock, no `async`. The domain's owner task is the one writer: it asks [`admit`] before it
//! takes on a request and [`advance`] after every event. Nothing else makes a [`State`].
//! Every state shows to others as one of libvirt's ([`State::virt`]).
//! Deliberately absent: how a domain is started (the saga in `lodge_domain::start`), and the QEMU process
//! itself, which the owner task keeps beside the state.

mod advance;
mod reason;

use crate::{JobId, Kind};
pub use advance::{Event, advance};
pub use reason::{
    CrashedReason, PausedReason, RunningReason, ShutdownReason, ShutoffReason, UnknownReason, VirtState,
};

/// What the domain is doing now. Data that one state alone needs lives in that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No QEMU process exists.
    Shutoff {
        /// Why.
        reason: ShutoffReason,
    },
    /// The job is bringing a QEMU up; the guest has not run yet.
    Starting {
        /// Which job.
        job: JobId,
    },
    /// The guest's processors run.
    Running {
        /// Since what.
        reason: RunningReason,
    },
    /// The guest is held; its memory stays.
    Paused {
        /// Why.
        reason: PausedReason,
    },
    /// The guest has switched itself to sleep (S3).
    PmSuspended,
    /// The guest has switched itself off; its QEMU has not ended yet.
    InShutdown {
        /// Who wanted it.
        reason: ShutdownReason,
    },
    /// The guest has crashed and `on_crash` keeps its QEMU.
    Crashed {
        /// How.
        reason: CrashedReason,
    },
    /// The job is writing the guest's memory to a file.
    Saving {
        /// Which job.
        job: JobId,
        /// Whether the guest ran when it began, and so runs again if it fails.
        was_running: bool,
    },
    /// The job is taking the QEMU down.
    Stopping {
        /// Which job.
        job: JobId,
    },
}

/// What a caller wants of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// Bring it up (from its managed save if there is one, or from a saved file).
    Start,
    /// Ask the guest to switch itself off.
    Shutdown,
    /// Ask the guest to restart.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Hold its processors.
    Suspend,
    /// Let them run again.
    Resume,
    /// Wake it from sleep.
    Wakeup,
    /// Write its memory to a file and stop it.
    Save,
    /// Switch it off at once.
    Destroy,
    /// Change its definition.
    Define,
    /// Forget its definition.
    Undefine,
}

impl Request {
    /// Every request, for tables.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::Shutdown,
        Self::Reboot,
        Self::Reset,
        Self::Suspend,
        Self::Resume,
        Self::Wakeup,
        Self::Save,
        Self::Destroy,
        Self::Define,
        Self::Undefine,
    ];
}

/// Why a request is refused now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It needs a running guest.
    #[error("the domain is not running")]
    NotRunning,
    /// It is running already: starting twice is an error in libvirt.
    #[error("the domain is already running")]
    AlreadyRunning,
    /// It is paused, and the request needs the guest's processors.
    #[error("the domain is paused")]
    Paused,
    /// It is not asleep.
    #[error("the domain is not asleep")]
    NotAsleep,
    /// The guest sleeps.
    #[error("the domain is asleep")]
    Asleep,
    /// The guest has crashed.
    #[error("the domain has crashed")]
    Crashed,
    /// Another job holds it.
    #[error("the domain is busy with job {0}")]
    Busy(JobId),
}

impl Denied {
    /// Sorts the error for those who did not cause it.
    pub const fn kind(self) -> Kind {
        match self {
            Self::NotRunning
            | Self::AlreadyRunning
            | Self::Paused
            | Self::NotAsleep
            | Self::Asleep
            | Self::Crashed => Kind::InvalidState,
            Self::Busy(_) => Kind::Busy,
        }
    }

    /// What to do next.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NotRunning => "start it first",
            Self::AlreadyRunning => "nothing to do; `destroy` or `shutdown` it if it shall start anew",
            Self::Paused => "`resume` it first",
            Self::NotAsleep => "only a guest that sleeps can be woken",
            Self::Asleep => "wake it first (`dompmwakeup`) or `destroy` it",
            Self::Crashed => "`destroy` it, or `reset` it to boot anew",
            Self::Busy(_) => "wait for the job or cancel it (`lodge job`)",
        }
    }
}

/// Says whether `request` may begin in `state`. `Ok(false)`: it is already so, nothing to do.
pub fn admit(state: &State, request: Request) -> Result<bool, Denied> {
    use Request::{Define, Destroy, Reboot, Reset, Resume, Save, Shutdown, Start, Suspend, Undefine, Wakeup};
    match (*state, request) {
        (State::Shutoff { .. }, Start | Define | Undefine)
        | (State::Running { .. }, Shutdown | Reboot | Reset | Suspend | Save | Destroy | Define | Undefine)
        | (State::Paused { .. }, Reset | Resume | Save | Destroy | Define | Undefine)
        | (State::PmSuspended, Reset | Wakeup | Destroy | Define | Undefine)
        | (State::InShutdown { .. }, Destroy | Define | Undefine)
        | (State::Crashed { .. }, Reset | Destroy | Define | Undefine)
        | (State::Starting { .. } | State::Stopping { .. } | State::Saving { .. }, Define)
        | (State::Starting { .. } | State::Saving { .. }, Destroy) => Ok(true),

        (State::Running { .. }, Resume)
        | (State::Paused { .. }, Suspend)
        | (State::InShutdown { .. }, Shutdown)
        | (State::Stopping { .. }, Destroy) => Ok(false),

        (State::Shutoff { .. }, Shutdown | Reboot | Reset | Suspend | Resume | Wakeup | Save | Destroy)
        | (State::InShutdown { .. }, Reboot | Reset | Suspend | Resume | Wakeup | Save) => {
            Err(Denied::NotRunning)
        }
        (
            State::Running { .. }
            | State::Paused { .. }
            | State::PmSuspended
            | State::InShutdown { .. }
            | State::Crashed { .. },
            Start,
        ) => Err(Denied::AlreadyRunning),
        (State::Running { .. } | State::Paused { .. }, Wakeup) => Err(Denied::NotAsleep),
        (State::Paused { .. }, Shutdown | Reboot) => Err(Denied::Paused),
        (State::PmSuspended, Shutdown | Reboot | Suspend | Resume | Save) => Err(Denied::Asleep),
        (State::Crashed { .. }, Shutdown | Reboot | Suspend | Resume | Wakeup | Save) => Err(Denied::Crashed),

        (
            State::Starting { job } | State::Saving { job, .. } | State::Stopping { job },
            Start | Shutdown | Reboot | Reset | Suspend | Resume | Wakeup | Save | Undefine,
        ) => Err(Denied::Busy(job)),
    }
}

impl State {
    /// How a domain that was never started shows.
    pub const NEW: Self = Self::Shutoff { reason: ShutoffReason::Unknown };

    /// libvirt's state and the number of its reason.
    pub const fn virt(&self) -> (VirtState, u32) {
        match *self {
            Self::Shutoff { reason } => (VirtState::Shutoff, reason.number()),
            // libvirt shows a guest that is being started as paused, starting up.
            Self::Starting { .. } => (VirtState::Paused, PausedReason::StartingUp.number()),
            Self::Running { reason } => (VirtState::Running, reason.number()),
            Self::Paused { reason } => (VirtState::Paused, reason.number()),
            Self::PmSuspended => (VirtState::PmSuspended, 0),
            Self::InShutdown { reason } => (VirtState::Shutdown, reason.number()),
            Self::Crashed { reason } => (VirtState::Crashed, reason.number()),
            Self::Saving { .. } => (VirtState::Paused, PausedReason::Saving.number()),
            Self::Stopping { .. } => (VirtState::Shutdown, ShutdownReason::User.number()),
        }
    }

    /// virsh's words: `domstate --reason` prints them as `running (booted)`.
    pub const fn words(&self) -> (&'static str, &'static str) {
        let (state, _) = self.virt();
        let reason = match *self {
            Self::Shutoff { reason } => reason.as_str(),
            Self::Starting { .. } => PausedReason::StartingUp.as_str(),
            Self::Running { reason } => reason.as_str(),
            Self::Paused { reason } => reason.as_str(),
            Self::PmSuspended => UnknownReason::Unknown.as_str(),
            Self::InShutdown { reason } => reason.as_str(),
            Self::Crashed { reason } => reason.as_str(),
            Self::Saving { .. } => PausedReason::Saving.as_str(),
            Self::Stopping { .. } => ShutdownReason::User.as_str(),
        };
        (state.as_str(), reason)
    }

    /// Whether libvirt calls it active: a QEMU exists or may exist.
    pub const fn is_active(&self) -> bool {
        match self {
            Self::Shutoff { .. } => false,
            Self::Starting { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::PmSuspended
            | Self::InShutdown { .. }
            | Self::Crashed { .. }
            | Self::Saving { .. }
            | Self::Stopping { .. } => true,
        }
    }

    /// The job that holds it, if one does.
    pub const fn job(&self) -> Option<JobId> {
        match *self {
            Self::Starting { job } | Self::Saving { job, .. } | Self::Stopping { job } => Some(job),
            Self::Shutoff { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::PmSuspended
            | Self::InShutdown { .. }
            | Self::Crashed { .. } => None,
        }
    }
}
