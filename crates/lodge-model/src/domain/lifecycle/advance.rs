//! Where events lead a domain: total, without a wildcard arm.

use super::{CrashedReason, PausedReason, RunningReason, ShutdownReason, ShutoffReason, State};
use crate::JobId;

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
