//! The QEMU of a running guest, as its owner holds it.
//!
//! It is there as long as the process is: with a monitor, or (a QEMU that does not answer when it is taken over)
//! still without. Deliberately absent: starting and ending it (`start.rs`, `stop.rs`).

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::features::LifecycleAction;
use lodge_model::domain::lifecycle::{ShutoffReason, State};
use lodge_qemu::qmp::{Event, Monitor, Status};
use lodge_qemu::{AGENT_SOCKET, AdoptError, QEMU_LOG};
use lodge_sys::process::{Ending, Identity, Process};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::display::Port;
use crate::record::Record;
use crate::snapshot::VmmView;

/// Name of the first serial port's log in a guest's directory.
pub(crate) const CONSOLE_LOG: &str = "console.log";
/// Name of the live document in a guest's directory.
pub(crate) const LIVE_XML: &str = "live.xml";

/// Name of the document the run was started with, in a guest's directory.
pub(crate) const BOOT_XML: &str = "boot.xml";

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The way to QEMU's monitor.
pub(crate) enum Link {
    /// It is there.
    Up { qemu: lodge_qemu::Vmm, events: broadcast::Receiver<Event> },
    /// It is being made; however long that takes.
    Coming(Pending<Result<lodge_qemu::Vmm, AdoptError>>),
}

impl Link {
    /// There is none, nor will be: the process is at its end, and tells so itself.
    pub fn none() -> Self {
        Self::Coming(Box::pin(std::future::pending()))
    }
}

/// What is to be done about the guest as soon as no job is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// End the QEMU: the guest is off.
    End(ShutoffReason),
    /// Reset and let it run: the guest is off and is to boot again.
    BootAgain,
    /// Ask QEMU how it stands: something was missed.
    Look,
}

/// What the document wants done when the guest stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policies {
    pub poweroff: LifecycleAction,
    pub reboot: LifecycleAction,
    pub crash: LifecycleAction,
}

impl Policies {
    /// The document's, with libvirt's defaults.
    pub fn of(document: &Domain) -> Self {
        Self {
            poweroff: document.on_poweroff.unwrap_or(LifecycleAction::Destroy),
            reboot: document.on_reboot.unwrap_or(LifecycleAction::Restart),
            crash: document.on_crash.unwrap_or(LifecycleAction::Destroy),
        }
    }
}

/// The QEMU of a running guest.
pub(crate) struct Vmm {
    pub record: Record,
    pub dir: PathBuf,
    pub link: Link,
    pub process: Process,
    pub exit: Pending<Ending>,
    pub ended: Option<Ending>,
    pub policies: Policies,
    pub due: Option<Due>,
    /// Why the guest will have stopped, once QEMU has ended.
    pub reason: Option<ShutoffReason>,
    /// An I/O error or watchdog that explains the STOP that follows it.
    pub stop_reason: Option<lodge_model::domain::lifecycle::PausedReason>,
    /// How it fared when it was let go on because there was room again.
    pub room: crate::room::Tries,
    pub probe: Option<(SystemTime, Pending<Option<Status>>)>,
    pub silent_since: Option<SystemTime>,
    pub agent_connected: bool,
    /// What libvirt's file of the guest says.
    pub handover: crate::handover::Handover,
    /// What QEMU told that the document does not show yet.
    pub told: Vec<crate::control::Told>,
    /// The guest is destroyed when this is cancelled.
    pub tied_to: Option<CancellationToken>,
    /// Held as long as the guest runs.
    pub ports: Vec<Port>,
}

impl Vmm {
    /// A QEMU that answers.
    pub fn connected(
        qemu: lodge_qemu::Vmm,
        process: Process,
        record: Record,
        dir: PathBuf,
        policies: Policies,
    ) -> Self {
        let events = qemu.monitor().events();
        Self::new(Link::Up { qemu, events }, process, record, dir, policies)
    }

    /// A QEMU that does not answer yet.
    pub fn silent(process: Process, record: Record, dir: PathBuf, policies: Policies) -> Self {
        let coming = reach(&dir, record.domain);
        let mut vmm = Self::new(Link::Coming(coming), process, record, dir, policies);
        vmm.silent_since = Some(SystemTime::now());
        vmm
    }

    fn new(link: Link, process: Process, record: Record, dir: PathBuf, policies: Policies) -> Self {
        Self {
            exit: exit_of(&link, &process),
            record,
            dir,
            link,
            process,
            ended: None,
            policies,
            due: None,
            reason: None,
            stop_reason: None,
            room: crate::room::Tries::default(),
            probe: None,
            silent_since: None,
            agent_connected: false,
            handover: crate::handover::Handover::default(),
            told: Vec::new(),
            tied_to: None,
            ports: Vec::new(),
        }
    }

    /// The way to the monitor is there now.
    pub fn connect(&mut self, qemu: lodge_qemu::Vmm) {
        let events = qemu.monitor().events();
        self.link = Link::Up { qemu, events };
        self.exit = exit_of(&self.link, &self.process);
        self.due = self.due.or(Some(Due::Look));
        self.told.push(crate::control::Told::Missed);
    }

    /// The way to the monitor is lost; the process lives.
    pub fn reconnect(&mut self) {
        self.link = Link::Coming(reach(&self.dir, self.record.domain));
        self.probe = None;
    }

    /// The monitor was not reached: tries again a little later.
    pub fn retry(&mut self) {
        let again = reach(&self.dir, self.record.domain);
        self.link = Link::Coming(Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            again.await
        }));
    }

    /// The monitor, if there is a way to it.
    pub fn monitor(&self) -> Option<&Monitor> {
        match &self.link {
            Link::Up { qemu, .. } => Some(qemu.monitor()),
            Link::Coming(_) => None,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> Identity {
        self.process.identity()
    }

    /// The agent channel's socket, if the guest has one.
    pub fn agent_socket(&self) -> Option<PathBuf> {
        self.record.agent.as_ref().map(|_| self.dir.join(AGENT_SOCKET))
    }

    /// Keeps the state for a later daemon.
    pub fn note_state(&mut self, state: State) {
        let virt = state.virt();
        if self.record.state != virt {
            self.record.state = virt;
            self.note();
        }
    }

    /// Keeps the record for a later daemon.
    pub fn note(&self) {
        if let Err(error) = self.record.write(&self.dir) {
            tracing::warn!(domain = %self.record.name, %error, "what is known of a running guest could not be noted");
        }
    }

    /// What readers see of it.
    pub fn view(&self) -> Arc<VmmView> {
        let record = &self.record;
        Arc::new(VmmView {
            domid: record.domid,
            process: self.identity(),
            started: record.started(),
            accelerator: record.accelerator.as_str().into(),
            accelerator_reason: record.accelerator_reason.as_str().into(),
            warnings: record.warnings.clone(),
            console: record.console.clone(),
            console_log: self.dir.join(CONSOLE_LOG),
            log: self.dir.join(QEMU_LOG),
            agent_socket: self.agent_socket(),
            agent_connected: self.agent_connected,
            displays: record.displays.clone(),
        })
    }
}

/// A QEMU that is stuck answers one day or ends; there is nobody else to wait for it.
const REACH: Duration = Duration::from_hours(24);

fn reach(dir: &Path, id: DomainId) -> Pending<Result<lodge_qemu::Vmm, AdoptError>> {
    let dir = dir.to_owned();
    Box::pin(async move {
        // After a lost connection QEMU needs a moment to listen again.
        tokio::time::sleep(Duration::from_millis(50)).await;
        lodge_qemu::adopt(&dir, id, REACH).await
    })
}

/// The end of the process, and after it of the monitor's stream: what QEMU said last is read before its end.
fn exit_of(link: &Link, process: &Process) -> Pending<Ending> {
    let qemu = match link {
        Link::Up { qemu, .. } => Some(qemu.clone()),
        Link::Coming(_) => None,
    };
    let process = process.clone();
    Box::pin(async move {
        let ending = match &qemu {
            Some(qemu) => qemu.ended().await,
            None => process.ended().await,
        };
        if let Some(qemu) = qemu {
            let _ = tokio::time::timeout(Duration::from_millis(500), qemu.monitor().lost()).await;
        }
        ending.unwrap_or(Ending::Unknown)
    })
}
