//! The end of a guest: by request, by its own wish, or by an accident of its QEMU.
//!
//! ```text
//!  destroy ──▶ SIGTERM ──(2 s, or it does not respond)──▶ SIGKILL ──▶ ended ──▶ clear away ──▶ Shutoff
//! ```
//!
//! SIGTERM lets QEMU write its caches back and takes some milliseconds; the plug is pulled when that takes long.
//! Clearing away is idempotent and goes on past failures: each is logged, and the next start or daemon clears
//! the rest. Deliberately absent: an undo; nobody can bring a guest's memory back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_model::domain::lifecycle::{Event as Change, Request, ShutoffReason, State};
use lodge_model::{DomainId, Kind};
use lodge_qemu::QEMU_LOG;
use lodge_qemu::qmp::Monitor;
use lodge_sys::cgroup::Cgroup;
use lodge_sys::process::{Ending, Identity, Process};

use crate::act::{Begin, Reply, Work, ended};
use crate::define::{blocking, parse_inactive, summary_of};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::options::DestroyOptions;
use crate::owner::Owner;
use crate::ports::PortError;
use crate::tpm;

/// How long QEMU may take to write its caches back before the plug is pulled.
const TERM_PATIENCE: Duration = Duration::from_secs(2);
/// How long a graceful destroy waits; libvirt's.
const GRACEFUL_PATIENCE: Duration = Duration::from_secs(15);
/// How long the kernel may take to end a killed process: it waits for its disks.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How long what a guest had of the host may take to be given back: drivers of cards are slow.
const GIVING_BACK: Duration = Duration::from_mins(1);
/// How long a process that has ended may stay in its cgroup.
const CGROUP_PATIENCE: Duration = Duration::from_secs(5);

/// `virsh destroy`.
pub(crate) fn destroy(owner: &mut Owner, options: DestroyOptions) -> Begin {
    match owner.admit("destroy", Request::Destroy) {
        Ok(true) => {}
        Ok(false) => return Begin::Now(Ok(Reply::Done)),
        Err(error) => return Begin::Now(Err(error)),
    }
    Begin::job(end_with(owner, ShutoffReason::Destroyed, options.graceful))
}

/// Ends a guest that is off, or that its policy ends.
pub(crate) fn end_guest(owner: &mut Owner, reason: ShutoffReason) -> Work {
    end_with(owner, reason, false)
}

fn end_with(owner: &mut Owner, reason: ShutoffReason, graceful: bool) -> Work {
    let Some(vmm) = owner.vmm.as_deref_mut() else {
        return Box::pin(async { ended(|_| Ok(Reply::Done)) });
    };
    vmm.reason = Some(reason);
    let before = owner.state;
    let monitor = vmm.monitor().cloned();
    let (process, silent, name) = (vmm.process.clone(), vmm.silent_since.is_some(), owner.name());
    let is_crashed = matches!(owner.state, State::Crashed { .. });
    owner.advance(Change::StopBegan(lodge_model::JobId(0)), None);
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    Box::pin(async move {
        let done = if graceful {
            let ended = terminate(&process, GRACEFUL_PATIENCE).await;
            ended.ok_or(DomainError::WouldNotEnd {
                name,
                pid: process.identity().pid,
                waited: GRACEFUL_PATIENCE,
            })
        } else {
            let patience = if silent || is_crashed { Duration::ZERO } else { TERM_PATIENCE };
            kill(&process, patience).await.ok_or(DomainError::WouldNotEnd {
                name,
                pid: process.identity().pid,
                waited: KILL_PATIENCE,
            })
        };
        if done.is_ok() {
            last_words(monitor.as_ref()).await;
            clear_away(&shared, entry.id, &entry.name()).await;
        }
        ended(move |owner| match done {
            Ok(_) => {
                owner.is_off(reason);
                owner.forget_snapshots_of_vanished();
                Ok(Reply::Done)
            }
            Err(error) => {
                if let Some(vmm) = owner.vmm.as_deref_mut() {
                    vmm.reason = None;
                }
                owner.set_state(before, None);
                Err(error)
            }
        })
    })
}

/// How long the monitor of a QEMU that has ended may still have something to say.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Waits until all that QEMU said is heard: its SHUTDOWN is told before the guest's end.
pub(crate) async fn last_words(monitor: Option<&Monitor>) {
    if let Some(monitor) = monitor {
        let _ = tokio::time::timeout(LAST_WORDS, monitor.lost()).await;
    }
}

/// QEMU has ended without our doing.
pub(crate) fn after_exit(owner: &mut Owner, ending: Ending) -> Work {
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let vmm = owner.vmm.as_deref();
    let is_known = vmm.is_some_and(|vmm| vmm.reason.is_some());
    let (log, monitor) = (vmm.map(|vmm| vmm.dir.join(QEMU_LOG)), vmm.and_then(|vmm| vmm.monitor().cloned()));
    Box::pin(async move {
        last_words(monitor.as_ref()).await;
        let mut written = String::new();
        if let (false, Some(log)) = (is_known, log) {
            written = lodge_qemu::last_words_in(&log);
            keep_log(&shared, &entry.name(), log).await;
        }
        clear_away(&shared, entry.id, &entry.name()).await;
        ended(move |owner| {
            // It may have said so as its last word.
            let reason = owner.vmm.as_deref().and_then(|vmm| vmm.reason);
            if reason.is_none() {
                tracing::error!(domain = %owner.name(), %ending, last_words = written, "QEMU ended by itself");
            }
            owner.is_off(reason.unwrap_or(ShutoffReason::Crashed));
            owner.forget_snapshots_of_vanished();
            Ok(Reply::Done)
        })
    })
}

/// The log of a QEMU that ended by accident outlives it.
async fn keep_log(shared: &Shared, name: &str, log: PathBuf) {
    let kept = shared.config.store.root().logs().join(format!("{name}.log"));
    if let Err(error) = blocking(move || std::fs::copy(log, kept)).await {
        tracing::warn!(domain = name, %error, "the log of the ended QEMU was not kept");
    }
}

impl Owner {
    /// Nothing of the run is left: takes on the state that follows.
    pub fn is_off(&mut self, reason: ShutoffReason) {
        self.vmm = None;
        self.entry.monitor.store(None);
        self.entry.counters.store(None);
        self.forget_tpm_of_vanished();
        self.set_documents(|documents| documents.live = None);
        let summary =
            parse_inactive(&self.entry).ok().flatten().map(|definition| Arc::new(summary_of(&definition)));
        self.amend_snapshot(|snapshot| {
            snapshot.changed = false;
            snapshot.summary = summary.unwrap_or_else(|| Arc::clone(&snapshot.summary));
        });
        let told = EventKind::Lifecycle(Lifecycle::Stopped, stopped_detail(reason));
        self.vanished = !self.is_persistent();
        self.advance(Change::Exited(reason), Some(told));
    }

    /// The state of the TPM of a domain without a definition goes with it.
    fn forget_tpm_of_vanished(&self) {
        let live = self.entry.documents.load().live.clone();
        let Some(live) = live.filter(|live| !self.is_persistent() && live.contains("<tpm")) else { return };
        let (root, id, name) = (self.shared.config.store.root().clone(), self.entry.id, self.name());
        self.shared.runtime.spawn_blocking(move || tpm::forget_vanished(&root, id, &name, &live));
    }

    /// What is known of the snapshots of a domain that is gone goes, as libvirt has it; their bytes stay.
    pub fn forget_snapshots_of_vanished(&mut self) {
        if !self.vanished || self.entry.snapshots.load().is_empty() {
            return;
        }
        let (files, name) = (self.shared.config.store.snapshots(), self.name());
        self.forget_snapshots();
        self.shared.runtime.spawn_blocking(move || {
            if let Err(error) = files.remove_all(&name) {
                tracing::warn!(domain = %name, error = %crate::error::chain(&error), "the snapshots of a domain that is gone were not forgotten");
            }
        });
    }
}

/// `virDomainEventStoppedDetailType` of a reason.
fn stopped_detail(reason: ShutoffReason) -> u8 {
    match reason {
        ShutoffReason::Shutdown => 0,
        ShutoffReason::Destroyed => 1,
        ShutoffReason::Crashed => 2,
        ShutoffReason::Migrated => 3,
        ShutoffReason::Saved => 4,
        ShutoffReason::Failed | ShutoffReason::Unknown | ShutoffReason::Daemon => 5,
        ShutoffReason::FromSnapshot => 6,
    }
}

/// Ends a process: asks, then after `patience` kills. `None`: the kernel could not end it.
pub(crate) async fn kill(process: &Process, patience: Duration) -> Option<Ending> {
    if let Some(ending) = terminate(process, patience).await {
        return Some(ending);
    }
    let _ = process.kill();
    tokio::time::timeout(KILL_PATIENCE, process.ended()).await.ok()?.ok()
}

async fn terminate(process: &Process, patience: Duration) -> Option<Ending> {
    if patience.is_zero() {
        return None;
    }
    let _ = process.terminate();
    tokio::time::timeout(patience, process.ended()).await.ok()?.ok()
}

/// Where a guest's cgroup is, if elsewhere than usual: in the guest's directory.
pub(crate) const CGROUP_FILE: &str = "cgroup";

/// The cgroup of a guest, below each hierarchy.
pub(crate) fn cgroup_of(shared: &Shared, id: DomainId) -> PathBuf {
    let root = shared.config.store.root();
    let noted = std::fs::read_to_string(root.guest(id.0).join(CGROUP_FILE));
    noted.map_or_else(|_| PathBuf::from(format!("lodge/{}/guests/{id}", root.tag())), PathBuf::from)
}

/// A stuck driver or file server must not hold the end of a guest for ever.
async fn within(limit: Duration, act: impl Future<Output = Result<(), PortError>>) -> Result<(), PortError> {
    tokio::time::timeout(limit, act).await.unwrap_or_else(|_| {
        let message = format!("it was not done within {limit:?}, and goes on beside");
        Err(PortError::new(Kind::Unavailable, message))
    })
}

/// Removes everything of a run whose QEMU has ended. What cannot be removed is logged and left for the next try.
/// `true`: nothing is left.
pub(crate) async fn clear_away(shared: &Arc<Shared>, id: DomainId, name: &str) -> bool {
    crate::handover::remove(shared.config.store.root(), name, Some(id));
    let ports = &shared.ports;
    let (nics, volumes, devices, seeds) = tokio::join!(
        within(GIVING_BACK, ports.nics.detach(id)),
        within(GIVING_BACK, ports.volumes.release(id)),
        within(GIVING_BACK, ports.devices.release(id)),
        within(GIVING_BACK, ports.seeds.discard(id))
    );
    let mut clean = true;
    let parts = [("network cards", nics), ("disks", volumes), ("host's devices", devices), ("seed", seeds)];
    for (part, outcome) in parts {
        if let Err(error) = outcome {
            clean = false;
            tracing::error!(domain = name, part, error = %crate::error::chain(&error), "a guest's part was not given back");
        }
    }
    if let Err((part, error)) = remove_run(shared, id).await {
        clean = false;
        tracing::error!(domain = name, part, %error, "a guest's part was not removed");
    }
    clean
}

/// Ends a guest's helpers, removes its cgroup, its groups of resctrl and its run-time directory, in this order: while the directory is there, a
/// next try knows that something is. The error says which could not be removed.
pub(crate) async fn remove_run(shared: &Shared, id: DomainId) -> Result<(), (&'static str, io::Error)> {
    let (dir, relative) = (shared.config.store.root().guest(id.0), cgroup_of(shared, id));
    if !lodge_qemu::helper::end_helpers(&dir).await {
        return Err(("helper", io::Error::from(io::ErrorKind::TimedOut)));
    }
    let begun = Instant::now();
    loop {
        let relative = relative.clone();
        let removed =
            blocking(move || Cgroup::find(&relative)?.map_or(Ok(()), |cgroup| cgroup.remove())).await;
        match removed {
            Ok(()) => break,
            // A process that has ended leaves its cgroup a moment after it can be waited for.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && begun.elapsed() < CGROUP_PATIENCE =>
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(("cgroup", error)),
        }
    }
    let cleared = {
        let dir = dir.clone();
        blocking(move || crate::control::tune::resctrl::clear(&dir)).await
    };
    cleared.map_err(|error| ("groups of resctrl", error))?;
    crate::start::transient::forget(shared, id, &dir).await;
    let removed = blocking(move || match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    });
    removed.await.map_err(|error| ("run-time directory", error))
}

/// Processes of a guest that no note names: the daemon died between their start and the note. They are known by
/// their cgroup and, where there is none, by the guest's directory in their arguments.
pub(crate) fn strays(cgroup: &Path, dir: &Path) -> io::Result<Vec<Process>> {
    let mut pids = Cgroup::find(cgroup)?.map(|cgroup| cgroup.processes()).unwrap_or_default();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(arguments) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let ours = dir.file_name().and_then(|uuid| uuid.to_str()).unwrap_or_default();
        let words: Vec<_> = arguments.split(|byte| *byte == 0).collect();
        let names_us = words.windows(2).any(|pair| pair[0] == b"-uuid" && pair[1] == ours.as_bytes());
        let is_ours = (names_us && opens_into(pid, dir)) || lodge_qemu::helper::is_helper_of(pid, dir);
        if is_ours && !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    let hold =
        |pid| Identity::of(pid).ok().flatten().and_then(|identity| Process::hold(identity).ok().flatten());
    Ok(pids.into_iter().filter_map(hold).collect())
}

/// Whether a process's output goes into `dir`: another root's guest may have the same UUID.
fn opens_into(pid: u32, dir: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|output| output.starts_with(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stuck_is_told_and_not_waited_for() {
        within(GIVING_BACK, async { Ok(()) }).await.unwrap();
        let stuck = within(Duration::from_millis(1), std::future::pending()).await.unwrap_err();
        assert_eq!(stuck.kind, Kind::Unavailable);
        assert!(stuck.message.contains("within 1ms"), "{}", stuck.message);
    }
}
