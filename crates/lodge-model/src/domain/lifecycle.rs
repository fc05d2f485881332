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

mod reason;

use crate::{JobId, Kind};
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

/// What has happened to a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A job to start it has begun.
    StartBegan(JobId),
    /// Its QEMU runs and so do its processors.
    Started(RunningReason),
    /// Its QEMU runs and its processors are held.
    StartedPaused(PausedReason),
    /// It did not come up, and all is undone.
    StartFailed,
    /// Its processors are held.
    Stopped(PausedReason),
    /// Its processors run again.
    Continued(RunningReason),
    /// The guest went to sleep.
    FellAsleep,
    /// The guest woke up.
    WokeUp,
    /// The guest switched itself off.
    PoweredDown(ShutdownReason),
    /// The guest crashed and is kept as it is.
    GuestCrashed(CrashedReason),
    /// A job to save it has begun.
    SaveBegan(JobId),
    /// The save did not succeed; the guest is as it was.
    SaveFailed,
    /// A job to stop it has begun.
    StopBegan(JobId),
    /// Its QEMU has ended.
    Exited(ShutoffReason),
}

/// Moves `state` on by `event`. `Err` gives the state back: the two disagree, so the owner task probes the
/// host for the truth instead of guessing.
pub fn advance(state: State, event: Event) -> Result<State, State> {
    use State::{Crashed, InShutdown, Paused, PmSuspended, Running, Saving, Shutoff, Starting, Stopping};
    match (state, event) {
        (Shutoff { .. }, Event::StartBegan(job)) => Ok(Starting { job }),
        (Starting { .. }, Event::Started(reason)) => Ok(Running { reason }),
        (Starting { .. }, Event::StartFailed) => Ok(Shutoff { reason: ShutoffReason::Failed }),

        // What the state tells already: a guest that is off stays off whatever its processors do, and a job that
        // saves or stops holds and releases them itself.
        (InShutdown { .. }, Event::Stopped(_))
        | (Running { .. }, Event::WokeUp)
        | (Saving { .. }, Event::Stopped(_) | Event::Continued(_))
        | (
            Stopping { .. },
            Event::Stopped(_) | Event::Continued(_) | Event::PoweredDown(_) | Event::GuestCrashed(_),
        ) => Ok(state),

        // QEMU's STOP and RESUME may repeat what is known; the newer reason counts.
        (Running { .. } | Paused { .. } | PmSuspended, Event::Stopped(reason))
        | (Starting { .. }, Event::StartedPaused(reason)) => Ok(Paused { reason }),
        (Running { .. } | Paused { .. } | Crashed { .. } | InShutdown { .. }, Event::Continued(reason)) => {
            Ok(Running { reason })
        }
        (Running { .. } | Paused { .. }, Event::FellAsleep) => Ok(PmSuspended),
        (PmSuspended, Event::WokeUp | Event::Continued(_)) => Ok(Running { reason: RunningReason::Wakeup }),
        (
            Running { .. } | Paused { .. } | PmSuspended | InShutdown { .. } | Crashed { .. },
            Event::PoweredDown(reason),
        ) => Ok(InShutdown { reason }),
        (Running { .. } | Paused { .. } | Crashed { .. }, Event::GuestCrashed(reason)) => {
            Ok(Crashed { reason })
        }

        (Running { .. }, Event::SaveBegan(job)) => Ok(Saving { job, was_running: true }),
        (Paused { .. }, Event::SaveBegan(job)) => Ok(Saving { job, was_running: false }),
        (Saving { was_running: true, .. }, Event::SaveFailed) => {
            Ok(Running { reason: RunningReason::SaveCanceled })
        }
        (Saving { was_running: false, .. }, Event::SaveFailed) => Ok(Paused { reason: PausedReason::User }),

        (
            Starting { .. }
            | Running { .. }
            | Paused { .. }
            | PmSuspended
            | InShutdown { .. }
            | Crashed { .. }
            | Saving { .. },
            Event::StopBegan(job),
        ) => Ok(Stopping { job }),
        (
            Starting { .. }
            | Running { .. }
            | Paused { .. }
            | PmSuspended
            | InShutdown { .. }
            | Crashed { .. }
            | Saving { .. }
            | Stopping { .. },
            Event::Exited(reason),
        ) => Ok(Shutoff { reason }),

        (
            Shutoff { .. },
            Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::Stopped(_)
            | Event::Continued(_)
            | Event::FellAsleep
            | Event::WokeUp
            | Event::PoweredDown(_)
            | Event::GuestCrashed(_)
            | Event::SaveBegan(_)
            | Event::SaveFailed
            | Event::StopBegan(_)
            | Event::Exited(_),
        )
        | (
            Starting { .. },
            Event::StartBegan(_)
            | Event::Stopped(_)
            | Event::Continued(_)
            | Event::FellAsleep
            | Event::WokeUp
            | Event::PoweredDown(_)
            | Event::GuestCrashed(_)
            | Event::SaveBegan(_)
            | Event::SaveFailed,
        )
        | (
            Running { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::SaveFailed,
        )
        | (
            Paused { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::WokeUp
            | Event::SaveFailed,
        )
        | (
            PmSuspended,
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::FellAsleep
            | Event::GuestCrashed(_)
            | Event::SaveBegan(_)
            | Event::SaveFailed,
        )
        | (
            InShutdown { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::FellAsleep
            | Event::WokeUp
            | Event::GuestCrashed(_)
            | Event::SaveBegan(_)
            | Event::SaveFailed,
        )
        | (
            Crashed { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::Stopped(_)
            | Event::FellAsleep
            | Event::WokeUp
            | Event::SaveBegan(_)
            | Event::SaveFailed,
        )
        | (
            Saving { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::FellAsleep
            | Event::WokeUp
            | Event::PoweredDown(_)
            | Event::GuestCrashed(_)
            | Event::SaveBegan(_),
        )
        | (
            Stopping { .. },
            Event::StartBegan(_)
            | Event::Started(_)
            | Event::StartedPaused(_)
            | Event::StartFailed
            | Event::FellAsleep
            | Event::WokeUp
            | Event::SaveBegan(_)
            | Event::SaveFailed
            | Event::StopBegan(_),
        ) => Err(state),
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
