//! Bringing our state into line with what QEMU says when it is asked: after a start of the daemon, a missed event, a
//! command without an answer. The host is the truth about the host.

use std::sync::Arc;

use lodge_model::domain::lifecycle::{CrashedReason, PausedReason, RunningReason, ShutdownReason, State};
use lodge_qemu::qmp::{RunState, Status};

use crate::act::{Begin, Reply, Work, ended};
use crate::event::{EventKind, Lifecycle};
use crate::facts::{SILENCE, agent_is, panicked, suspended, switched_off};
use crate::owner::Owner;
use crate::room;
use crate::vmm::Due;

/// Asks QEMU how it stands, as soon as no job is at work.
pub(crate) fn look_again(owner: &mut Owner) {
    if let Some(vmm) = owner.vmm.as_deref_mut() {
        vmm.due = vmm.due.or(Some(Due::Look));
    }
}

pub(crate) fn look(owner: &mut Owner) -> Option<Work> {
    let monitor = owner.vmm.as_deref()?.monitor()?.clone();
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let work = async move {
        let status = monitor.execute_within::<Status>("query-status", (), SILENCE * 5).await;
        let chardevs = monitor.chardevs().await;
        let is_held = status.as_ref().is_ok_and(|status| status.status == RunState::IoError);
        let full = if is_held { room::full_places(&shared, &entry, &monitor).await } else { Vec::new() };
        ended(move |owner| {
            if let Ok(status) = status {
                observe(owner, &status);
            }
            room::stands(owner, full);
            let agent = owner.vmm.as_deref().and_then(|vmm| vmm.record.agent.clone());
            if let (Some(alias), Ok(chardevs)) = (agent, chardevs) {
                let label = format!("char{alias}");
                agent_is(
                    owner,
                    chardevs.iter().any(|chardev| chardev.label == label && chardev.frontend_open),
                );
            }
            Ok(Reply::Done)
        })
    };
    match Begin::monitor("look at", owner, work) {
        Begin::Job { work, .. } => Some(work),
        Begin::Now(_) => None,
    }
}

/// Brings our state into line with what QEMU says.
pub(crate) fn observe(owner: &mut Owner, status: &Status) {
    let seen = seen_as(owner.state, status);
    match (&status.status, owner.vmm.as_deref()) {
        (RunState::Shutdown, Some(vmm)) if vmm.due.is_none() => return switched_off(owner, "guest-shutdown"),
        (RunState::GuestPanicked, _) if !matches!(owner.state, State::Crashed { .. }) => {
            return panicked(owner);
        }
        _ => {}
    }
    let told = match (owner.state, seen) {
        (old, new) if old == new => return,
        (_, State::Running { .. }) => Some(EventKind::Lifecycle(Lifecycle::Resumed, 0)),
        (_, State::Paused { reason }) => {
            if reason == PausedReason::IoError {
                look_again(owner);
            }
            Some(suspended(reason))
        }
        (_, State::PmSuspended) => Some(EventKind::Lifecycle(Lifecycle::PmSuspended, 0)),
        _ => None,
    };
    owner.set_state(seen, told);
}

/// The state that QEMU's own one shows, with the reason known before where it still fits.
pub(crate) fn seen_as(known: State, status: &Status) -> State {
    let pause = |reason| State::Paused { reason };
    match (&status.status, known) {
        (_, State::Running { .. }) if status.running => known,
        _ if status.running => State::Running { reason: RunningReason::Unknown },
        // Somebody wants it to stay, whatever it stood for (`power::suspend`).
        (RunState::IoError, State::Paused { reason: PausedReason::User })
        | (RunState::Shutdown, State::InShutdown { .. }) => known,
        (RunState::IoError, _) => pause(PausedReason::IoError),
        (RunState::Watchdog, _) => pause(PausedReason::Watchdog),
        (RunState::Suspended, _) => State::PmSuspended,
        (RunState::GuestPanicked, _) => State::Crashed { reason: CrashedReason::Panicked },
        (RunState::Shutdown, _) => State::InShutdown { reason: ShutdownReason::Unknown },
        (_, State::Paused { .. }) => known,
        _ => pause(PausedReason::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::expect;

    use super::*;

    #[test]
    fn what_qemu_says_against_what_was_known() {
        let known = [
            State::Running { reason: RunningReason::Booted },
            State::Paused { reason: PausedReason::User },
            State::InShutdown { reason: ShutdownReason::User },
        ];
        let mut table = String::new();
        for (running, word) in [
            (true, "running"),
            (false, "paused"),
            (false, "io-error"),
            (false, "shutdown"),
            (false, "suspended"),
        ] {
            let status: Status =
                serde_json::from_value(serde_json::json!({"running": running, "status": word})).unwrap();
            write!(table, "{word:10}").unwrap();
            for known in known {
                let (state, reason) = seen_as(known, &status).words();
                write!(table, "{:26}", format!("{state} ({reason})")).unwrap();
            }
            table = table.trim_end().to_owned() + "\n";
        }
        expect![[r"
            running   running (booted)          running (unknown)         running (unknown)
            paused    paused (unknown)          paused (user)             paused (unknown)
            io-error  paused (I/O error)        paused (user)             paused (I/O error)
            shutdown  in shutdown (unknown)     in shutdown (unknown)     in shutdown (user)
            suspended pmsuspended (unknown)     pmsuspended (unknown)     pmsuspended (unknown)
        "]]
        .assert_eq(&table);
    }
}
