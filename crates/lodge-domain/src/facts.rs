//! What QEMU and the kernel tell of a running guest, and what follows from it.
//!
//! ```text
//!  QMP event ─┐                    ┌─ advance the state, tell it
//!  answer ────┼─▶ next ──▶ take ───┤
//!  exit ──────┘                    └─ due: end it · boot it again · look again (when no job is at work)
//! ```
//!
//! While a job is at work, STOP and RESUME are its own doing: the job's end says what they led to. A guest that
//! has switched itself off stays in QEMU (`-no-shutdown`) until its policy was carried out here, so that a daemon
//! that was away meanwhile still learns of it. Deliberately absent: waiting; everything here is immediate.

use std::time::{Duration, SystemTime};

use lodge_model::domain::features::LifecycleAction;
use lodge_model::domain::lifecycle::{
    CrashedReason, Event as Change, PausedReason, RunningReason, ShutdownReason, ShutoffReason, State,
};
use lodge_qemu::qmp::{Event, Status};
use lodge_qemu::{AdoptError, QEMU_LOG};
use lodge_sys::process::Ending;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use crate::act::Work;
use crate::console;
use crate::control::Told;
use crate::event::{EventKind, Lifecycle};
use crate::owner::Owner;
use crate::vmm::{CONSOLE_LOG, Due, Link, Vmm};
use crate::{observe, power, stop};

mod told;

/// A QEMU that has not answered for this long is said to be not responding.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
/// How long an answer is awaited at all; a stopped QEMU may answer hours later.
const ANSWER: Duration = Duration::from_hours(24);

/// One thing the host told.
pub(crate) enum Fact {
    Event(Event),
    /// Events were missed: we were too slow.
    Missed,
    LinkLost,
    Reached(Result<Box<lodge_qemu::Vmm>, AdoptError>),
    Answered(Option<Status>),
    Ended(Ending),
}

/// The next fact; never, if nothing runs.
pub(crate) async fn next(vmm: &mut Option<Box<Vmm>>) -> Fact {
    let Some(vmm) = vmm.as_deref_mut() else {
        return std::future::pending().await;
    };
    let Vmm { link, exit, probe, ended, .. } = vmm;
    let linked = async {
        match link {
            Link::Up { events, .. } => match events.recv().await {
                Ok(event) => Fact::Event(event),
                Err(RecvError::Lagged(_)) => Fact::Missed,
                Err(RecvError::Closed) => Fact::LinkLost,
            },
            Link::Coming(coming) => Fact::Reached(coming.await.map(Box::new)),
        }
    };
    if ended.is_some() {
        // The kernel may tell of the end before we have read what QEMU said last.
        return linked.await;
    }
    let answered = async {
        match probe {
            Some((_, answer)) => answer.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        fact = linked => fact,
        ending = exit.as_mut() => Fact::Ended(ending),
        status = answered => Fact::Answered(status),
    }
}

/// Takes a fact in.
pub(crate) fn take(owner: &mut Owner, fact: Fact) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    match fact {
        Fact::Event(event) => take_event(owner, &event),
        Fact::Missed => {
            vmm.due = vmm.due.or(Some(Due::Look));
            vmm.told.push(Told::Missed);
        }
        Fact::LinkLost if vmm.ended.is_some() => vmm.link = Link::none(),
        Fact::LinkLost => {
            vmm.reconnect();
            owner.entry.monitor.store(None);
        }
        Fact::Reached(Ok(qemu)) => {
            vmm.connect(*qemu);
            owner
                .entry
                .monitor
                .store(owner.vmm.as_ref().and_then(|vmm| vmm.monitor().cloned()).map(Into::into));
            answers_again(owner);
        }
        // The exit is told by the process itself.
        Fact::Reached(Err(error)) if error.is_surely_gone() => {
            vmm.link = Link::none();
        }
        Fact::Reached(Err(error)) => {
            tracing::debug!(domain = %vmm.record.name, error = %crate::error::chain(&error), "monitor not reached");
            vmm.retry();
        }
        Fact::Answered(status) => {
            vmm.probe = None;
            answers_again(owner);
            if let Some(status) = status.filter(|_| owner.job_word().is_none()) {
                observe::observe(owner, &status);
            }
        }
        Fact::Ended(ending) => {
            vmm.ended = Some(ending);
            if matches!(vmm.link, Link::Coming(_)) {
                vmm.link = Link::none();
            }
            vmm.probe = None;
            owner.cancel_job();
        }
    }
}

fn answers_again(owner: &mut Owner) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    if let Some(since) = vmm.silent_since.take() {
        let silent_s = since.elapsed().unwrap_or_default().as_secs();
        tracing::info!(domain = %owner.name(), silent_s, "QEMU responds again");
        owner.publish_snapshot();
        owner.shared.publish(&owner.entry, EventKind::Responding { responding: true });
    }
}

fn take_event(owner: &mut Owner, event: &Event) {
    owner.shared.publish_monitor(&owner.entry, event.clone());
    crate::control::heard(owner, event);
    let busy = owner.job_word().is_some();
    let word = |key: &str| event.data.get(key).and_then(Value::as_str).unwrap_or_default();
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    tracing::trace!(domain = %vmm.record.name, event = %event.name, data = %event.data, "QEMU told");
    match event.name.as_str() {
        "STOP" if !busy && matches!(owner.state, State::Running { .. }) => {
            let reason = vmm.stop_reason.take().unwrap_or(PausedReason::Unknown);
            paused(owner, reason);
        }
        "RESUME" if !busy && matches!(owner.state, State::Paused { .. }) => {
            let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
            owner.advance(Change::Continued(RunningReason::Unpaused), Some(told));
        }
        "SHUTDOWN" => {
            let reason = word("reason").to_owned();
            switched_off(owner, &reason);
        }
        "RESET" => {
            vmm.record.reboot_wanted = false;
            vmm.note();
            owner.shared.publish(&owner.entry, EventKind::Reboot);
        }
        "SUSPEND" => {
            owner.advance(Change::FellAsleep, Some(EventKind::Lifecycle(Lifecycle::PmSuspended, 0)));
            owner.shared.publish(&owner.entry, EventKind::PmSuspend);
        }
        "SUSPEND_DISK" => {
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::PmSuspended, 1));
            owner.shared.publish(&owner.entry, EventKind::PmSuspendDisk);
        }
        "WAKEUP" => {
            owner.advance(Change::WokeUp, Some(EventKind::Lifecycle(Lifecycle::Started, 4)));
            owner.shared.publish(&owner.entry, EventKind::PmWakeup);
        }
        "GUEST_PANICKED" => panicked(owner),
        "GUEST_CRASHLOADED" => {
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Crashed, 1));
        }
        "WATCHDOG" => {
            if word("action") == "pause" {
                vmm.stop_reason = Some(PausedReason::Watchdog);
            }
            let action = word("action").to_owned();
            owner.shared.publish(&owner.entry, EventKind::Watchdog { action });
        }
        "BLOCK_IO_ERROR" => {
            if word("action") == "stop" {
                vmm.stop_reason = Some(PausedReason::IoError);
            }
            let nospace = event.data.get("nospace").and_then(Value::as_bool).unwrap_or(false);
            let told = EventKind::IoError {
                disk: told::disk_name(&owner.entry, event),
                action: word("action").to_owned(),
                reason: if nospace { "enospc" } else { word("reason") }.to_owned(),
            };
            tracing::warn!(domain = %owner.name(), what = %told.detail(), "a disk failed under the guest");
            owner.shared.publish(&owner.entry, told);
        }
        "BLOCK_WRITE_THRESHOLD" => {
            for told in told::threshold(&owner.entry, event) {
                owner.shared.publish(&owner.entry, told);
            }
        }
        "VSERPORT_CHANGE" => {
            let open = event.data.get("open").and_then(Value::as_bool).unwrap_or(false);
            if vmm.record.agent.as_deref() == Some(word("id")) {
                agent_is(owner, open);
            }
        }
        _ => {
            if let Some(told) = told::of(event) {
                owner.shared.publish(&owner.entry, told);
            }
        }
    }
}

/// `--autodestroy`: the guest goes with its caller.
pub(crate) fn caller_went(owner: &mut Owner) {
    let name = owner.name();
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    vmm.tied_to = None;
    vmm.due = Some(Due::End(ShutoffReason::Destroyed));
    tracing::info!(domain = %name, "the connection the guest was tied to has gone; it is destroyed");
}

/// The guest has opened or closed the agent's channel.
pub(crate) fn agent_is(owner: &mut Owner, connected: bool) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    if vmm.agent_connected != connected {
        vmm.agent_connected = connected;
        owner.publish_snapshot();
        owner.shared.publish(&owner.entry, EventKind::Agent { connected, at_start: false });
    }
}

fn paused(owner: &mut Owner, reason: PausedReason) {
    owner.advance(Change::Stopped(reason), Some(suspended(reason)));
    if reason == PausedReason::IoError {
        // Which disks it was, and whether they only want room.
        observe::look_again(owner);
    }
}

/// What is told of a guest that was held for this reason.
pub(crate) fn suspended(reason: PausedReason) -> EventKind {
    let detail = match reason {
        PausedReason::IoError => 2,
        PausedReason::Watchdog => 3,
        _ => 0,
    };
    EventKind::Lifecycle(Lifecycle::Suspended, detail)
}

/// QEMU's SHUTDOWN: the guest is off, or QEMU is about to end.
pub(crate) fn switched_off(owner: &mut Owner, reason: &str) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    let action = match reason {
        "guest-shutdown" | "subsystem-reset" | "snapshot-load" => vmm.policies.poweroff,
        "guest-reset" => vmm.policies.reboot,
        // What is done about a panic was decided when it was told.
        "guest-panic" => return,
        // A signal or `quit`: QEMU ends of itself, and whoever sent it knows why.
        _ => {
            vmm.reason = vmm.reason.or(Some(ShutoffReason::Destroyed));
            owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Shutdown, 2));
            return;
        }
    };
    let again = vmm.record.reboot_wanted || restarts(action);
    vmm.due = Some(if again { Due::BootAgain } else { Due::End(ShutoffReason::Shutdown) });
    if !again {
        let told = EventKind::Lifecycle(Lifecycle::Shutdown, 1);
        owner.advance(Change::PoweredDown(ShutdownReason::Unknown), Some(told));
    }
}

pub(crate) fn panicked(owner: &mut Owner) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    if vmm.due.is_some() || matches!(owner.state, State::Crashed { .. }) {
        return;
    }
    let action = vmm.policies.crash;
    vmm.due = match action {
        LifecycleAction::Preserve => None,
        _ if restarts(action) => Some(Due::BootAgain),
        _ => Some(Due::End(ShutoffReason::Crashed)),
    };
    tracing::warn!(domain = %vmm.record.name, on_crash = %action, "the guest panicked");
    let told = EventKind::Lifecycle(Lifecycle::Crashed, 0);
    owner.advance(Change::GuestCrashed(CrashedReason::Panicked), Some(told));
}

fn restarts(action: LifecycleAction) -> bool {
    match action {
        LifecycleAction::Restart | LifecycleAction::RenameRestart | LifecycleAction::CoredumpRestart => true,
        LifecycleAction::Destroy | LifecycleAction::Preserve | LifecycleAction::CoredumpDestroy => false,
    }
}

/// What is to be done now that no job is at work.
pub(crate) fn due(owner: &mut Owner) -> Option<(&'static str, Work)> {
    let vmm = owner.vmm.as_deref_mut()?;
    if let Some(ending) = vmm.ended {
        return Some(("stop", stop::after_exit(owner, ending)));
    }
    let Some(due) = vmm.due.take() else {
        return crate::control::due(owner).map(|work| ("follow the guest", work));
    };
    match due {
        Due::End(reason) => Some(("stop", stop::end_guest(owner, reason))),
        Due::BootAgain => power::boot_again(owner).map(|work| ("reboot", work)),
        Due::Look => observe::look(owner).map(|work| ("look", work)),
    }
}

/// Looks after the guest: does it answer, are its logs bounded?
pub(crate) fn tick(owner: &mut Owner) {
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    for log in [CONSOLE_LOG, QEMU_LOG] {
        let path = vmm.dir.join(log);
        if std::fs::metadata(&path).is_ok_and(|log| log.len() > console::LOG_MAX_BYTES) {
            tokio::task::spawn_blocking(move || console::bound(&path));
        }
    }
    match (&vmm.probe, vmm.monitor().cloned()) {
        (Some((asked, _)), _) => {
            let asked = *asked;
            if vmm.silent_since.is_none() && asked.elapsed().unwrap_or_default() >= SILENCE {
                vmm.silent_since = Some(asked);
                tracing::warn!(domain = %owner.name(), "QEMU is not responding");
                owner.publish_snapshot();
                owner.shared.publish(&owner.entry, EventKind::Responding { responding: false });
            }
        }
        (None, Some(monitor)) => {
            let answer = async move { monitor.execute_within("query-status", (), ANSWER).await.ok() };
            vmm.probe = Some((SystemTime::now(), Box::pin(answer)));
        }
        (None, None) => {}
    }
}
