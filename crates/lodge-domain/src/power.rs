//! The guest's buttons: suspend, resume, reset, and asking it to shut down or reboot.
//!
//! A reboot by ACPI is a shutdown after which the owner boots the guest again; that wish is in the record, so it
//! survives the daemon. Deliberately absent: waiting until the guest has done what it was asked.

use std::time::Duration;

use lodge_model::domain::features::LifecycleAction;
use lodge_model::domain::lifecycle::{self, Event as Change, PausedReason, Request, RunningReason, State};
use lodge_qemu::agent::{Agent, AgentError, ShutdownMode};
use lodge_qemu::qmp::Monitor;

use crate::act::{Begin, Reply, Work, ended};
use crate::control::{Refusal, Sort};
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::observe;
use crate::options::{PowerMode, PowerOptions, SleepMode};
use crate::owner::Owner;
use crate::room;

/// How long an agent may take to say no, on bare hardware. It says nothing when it obeys.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

impl Owner {
    /// Asks the rules. `Ok(false)`: it is already so.
    pub fn admit(&self, act: &'static str, request: Request) -> Result<bool, DomainError> {
        lifecycle::admit(&self.state, request).map_err(|source| DomainError::Denied {
            act,
            name: self.name(),
            source,
        })
    }

    /// The monitor, if QEMU is known to answer.
    pub fn monitor(&self) -> Result<Monitor, DomainError> {
        let vmm = self.vmm.as_deref().filter(|vmm| vmm.silent_since.is_none());
        let monitor = vmm.and_then(|vmm| vmm.monitor().cloned());
        monitor.ok_or_else(|| DomainError::NotResponding { name: self.name() })
    }

    /// Admits the request and gives the monitor. `Err`: what to answer at once.
    fn admitted(&self, act: &'static str, request: Request) -> Result<Monitor, Box<Begin>> {
        match self.admit(act, request) {
            Ok(true) => self.monitor().map_err(|error| Box::new(Begin::Now(Err(error)))),
            Ok(false) => Err(Box::new(Begin::Now(Ok(Reply::Done)))),
            Err(error) => Err(Box::new(Begin::Now(Err(error)))),
        }
    }
}

/// `virsh suspend`.
pub(crate) fn suspend(owner: &mut Owner) -> Begin {
    if owner.state == room::STANDS {
        // It stands already; now it does so because somebody wants it, and does not go on by itself.
        owner.advance(Change::Stopped(PausedReason::User), None);
        return Begin::Now(Ok(Reply::Done));
    }
    let monitor = match owner.admitted("suspend", Request::Suspend) {
        Ok(monitor) => monitor,
        Err(begin) => return *begin,
    };
    let work = async move {
        let done = monitor.stop().await;
        ended(move |owner| {
            owner.heard("suspend", done)?;
            let told = EventKind::Lifecycle(Lifecycle::Suspended, 0);
            owner.advance(Change::Stopped(PausedReason::User), Some(told));
            Ok(Reply::Done)
        })
    };
    Begin::monitor("suspend", owner, work)
}

/// `virsh resume`.
pub(crate) fn resume(owner: &mut Owner) -> Begin {
    let monitor = match owner.admitted("resume", Request::Resume) {
        Ok(monitor) => monitor,
        Err(begin) => return *begin,
    };
    let work = async move {
        let done = monitor.cont().await;
        ended(move |owner| {
            owner.heard("resume", done)?;
            let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
            owner.advance(Change::Continued(RunningReason::Unpaused), Some(told));
            Ok(Reply::Done)
        })
    };
    Begin::monitor("resume", owner, work)
}

/// `virsh reset`.
pub(crate) fn reset(owner: &mut Owner) -> Begin {
    let monitor = match owner.admitted("reset", Request::Reset) {
        Ok(monitor) => monitor,
        Err(begin) => return *begin,
    };
    let crashed = matches!(owner.state, State::Crashed { .. });
    let work = async move {
        let mut done = monitor.reset().await;
        if crashed && done.is_ok() {
            done = monitor.cont().await;
        }
        ended(move |owner| {
            owner.heard("reset", done)?;
            observe::look_again(owner);
            Ok(Reply::Done)
        })
    };
    Begin::monitor("reset", owner, work)
}

/// `virsh dompmwakeup`.
pub(crate) fn wakeup(owner: &mut Owner) -> Begin {
    if owner.vmm.is_none() {
        return Begin::Now(Err(DomainError::NotRunning { name: owner.name() }));
    }
    let monitor = match owner.monitor() {
        Ok(monitor) => monitor,
        Err(error) => return Begin::Now(Err(error)),
    };
    // QEMU says whether the guest sleeps; its WAKEUP tells the rest.
    let work = async move {
        let done = monitor.wakeup().await;
        ended(move |owner| owner.heard("wake", done).map(|()| Reply::Done))
    };
    Begin::monitor("wake", owner, work)
}

/// `virsh dompmsuspend`.
pub(crate) fn sleep(owner: &mut Owner, mode: SleepMode) -> Begin {
    if let Err(begin) = owner.admitted("sleep", Request::Shutdown) {
        return *begin;
    }
    let Some(vmm) = owner.vmm.as_deref() else {
        return Begin::Now(Err(DomainError::NotResponding { name: owner.name() }));
    };
    let Some(socket) = vmm.agent_socket() else {
        return Begin::Now(Err(DomainError::NoAgent { name: owner.name() }));
    };
    // Silence means sleep only of an agent that was there to hear.
    if !vmm.agent_connected {
        let text = "QEMU guest agent is not connected";
        return Begin::Now(Err(DomainError::Refused(Refusal::new(Sort::AgentUnresponsive, text))));
    }
    let (agent, name) = (Agent::new(&socket), owner.name());
    let command = match mode {
        SleepMode::Memory => "guest-suspend-ram",
        SleepMode::Disk => "guest-suspend-disk",
        SleepMode::Hybrid => "guest-suspend-hybrid",
    };
    let patience = owner.shared.config.speed.scale(AGENT_PATIENCE);
    let work = async move {
        // On success there is no answer: the guest sleeps.
        let outcome = match agent.command(command, serde_json::json!({}), patience).await {
            Ok(_) | Err(AgentError::Silent { .. }) => Ok(()),
            Err(source) => Err(DomainError::Agent { act: "suspend", name, source }),
        };
        ended(move |_| outcome.map(|()| Reply::Done))
    };
    Begin::monitor("suspend", owner, work)
}

/// `virsh shutdown`.
pub(crate) fn shutdown(owner: &mut Owner, options: PowerOptions) -> Begin {
    ask_guest(owner, "shutdown", Request::Shutdown, ShutdownMode::Powerdown, options)
}

/// `virsh reboot`.
pub(crate) fn reboot(owner: &mut Owner, options: PowerOptions) -> Begin {
    ask_guest(owner, "reboot", Request::Reboot, ShutdownMode::Reboot, options)
}

fn ask_guest(
    owner: &mut Owner,
    act: &'static str,
    request: Request,
    mode: ShutdownMode,
    options: PowerOptions,
) -> Begin {
    let monitor = match owner.admitted(act, request) {
        Ok(monitor) => monitor,
        Err(begin) => return *begin,
    };
    let Some(vmm) = owner.vmm.as_deref_mut() else {
        return Begin::Now(Err(DomainError::NotResponding { name: owner.name() }));
    };
    // libvirt: with on_reboot=destroy a reboot is a shutdown.
    let boots_again = matches!(request, Request::Reboot) && vmm.policies.reboot == LifecycleAction::Restart;
    vmm.record.reboot_wanted = boots_again;
    vmm.note();
    let modes = match options.modes {
        modes if !modes.is_empty() => modes,
        _ if vmm.agent_connected => vec![PowerMode::Agent, PowerMode::Acpi],
        _ => vec![PowerMode::Acpi],
    };
    let agent = vmm.agent_socket().map(|socket| Agent::new(&socket));
    let patience = owner.shared.config.speed.scale(AGENT_PATIENCE);
    let name = owner.name();
    let work = async move {
        let mut outcome = Ok(());
        for way in modes {
            outcome = match (way, &agent) {
                (PowerMode::Acpi, _) => monitor.powerdown().await.map_err(|source| DomainError::Monitor {
                    act,
                    name: name.clone(),
                    source,
                }),
                (PowerMode::Agent, None) => Err(DomainError::NoAgent { name: name.clone() }),
                (PowerMode::Agent, Some(agent)) => agent
                    .shutdown(mode, patience)
                    .await
                    .map_err(|source| DomainError::Agent { act, name: name.clone(), source }),
            };
            if outcome.is_ok() {
                break;
            }
        }
        ended(move |_| outcome.map(|()| Reply::Done))
    };
    Begin::monitor(act, owner, work)
}

/// The guest is off and is to boot again: reset and go on.
pub(crate) fn boot_again(owner: &mut Owner) -> Option<Work> {
    let monitor = owner.monitor().ok()?;
    let vmm = owner.vmm.as_deref_mut()?;
    vmm.record.reboot_wanted = false;
    vmm.note();
    Some(Box::pin(async move {
        let mut done = monitor.reset().await;
        if done.is_ok() {
            done = monitor.cont().await;
        }
        ended(move |owner| {
            owner.heard("reboot", done)?;
            let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
            owner.set_state(State::Running { reason: RunningReason::Booted }, Some(told));
            Ok(Reply::Done)
        })
    }))
}
