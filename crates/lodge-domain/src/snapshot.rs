//! What readers see of a domain: one immutable value per domain, replaced by its owner after every change.
//!
//! Listing a thousand guests is a thousand pointer reads; no mailbox is asked, so a stuck guest delays no list.
//! Deliberately absent: what only the guest can say (addresses, agent data) and the documents themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lodge_model::domain::lifecycle::State;
use lodge_model::{Bytes, DomainId, JobId};
use lodge_sys::process::Identity;

use crate::job::JobStats;

/// A domain as it stood when this was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its identity for life.
    pub id: DomainId,
    /// Its name.
    pub name: Arc<str>,
    /// What it does and why.
    pub state: State,
    /// When `state` changed last, as far as this daemon knows.
    pub since: SystemTime,
    /// A definition of it is kept; otherwise it is gone when it stops.
    pub persistent: bool,
    /// It starts with the daemon.
    pub autostart: bool,
    /// It starts with the next daemon, once.
    pub autostart_once: bool,
    /// Its memory is saved and the next start goes on from there.
    pub managed_save: bool,
    /// How many snapshots of it are known.
    pub snapshots: usize,
    /// The definition was changed while the guest ran: it takes effect at the next start.
    pub changed: bool,
    /// What the document says in short: the live one where the guest runs.
    pub summary: Arc<Summary>,
    /// Its QEMU; none where it is shut off.
    pub vmm: Option<Arc<VmmView>>,
    /// The job that has it now.
    pub job: Option<RunningJob>,
    /// The last job that ended well, until somebody reads it.
    pub completed_job: Option<Arc<JobStats>>,
    /// Since when its QEMU has not answered; none while it does.
    pub silent_since: Option<SystemTime>,
    /// Its file was edited by hand and is no valid document: what is wrong with it.
    pub bad_edit: Option<Arc<str>>,
}

impl Snapshot {
    /// A place for a domain that is not there yet.
    pub(crate) fn embryo(id: DomainId, name: &str) -> Self {
        Self {
            id,
            name: name.into(),
            state: State::NEW,
            since: SystemTime::now(),
            persistent: false,
            autostart: false,
            autostart_once: false,
            managed_save: false,
            snapshots: 0,
            changed: false,
            summary: Arc::default(),
            vmm: None,
            job: None,
            completed_job: None,
            silent_since: None,
            bad_edit: None,
        }
    }

    /// Whether anybody else may see it: a name that is claimed for a definition still on its way to the disk is
    /// no domain yet.
    pub fn exists(&self) -> bool {
        self.persistent || self.vmm.is_some() || self.job.is_some()
    }

    /// Whether a QEMU of it exists.
    pub fn is_active(&self) -> bool {
        self.vmm.is_some()
    }

    /// libvirt's number of the running guest.
    pub fn domid(&self) -> Option<u32> {
        self.vmm.as_ref().map(|vmm| vmm.domid)
    }

    /// How long QEMU has not answered.
    pub fn silent_for(&self) -> Option<Duration> {
        self.silent_since.map(|since| since.elapsed().unwrap_or_default())
    }
}

/// The few facts of a document that lists show. Small, since there is one per defined domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// `<title>`.
    pub title: Option<Box<str>>,
    /// The `type` attribute: `kvm`, `qemu`.
    pub domain_type: Box<str>,
    /// `<os><type>`: `hvm`.
    pub os_type: Box<str>,
    /// Most memory it may have.
    pub memory_max: Bytes,
    /// Memory it has (or gets at its start).
    pub memory: Bytes,
    /// Virtual processors it has (or gets at its start).
    pub vcpus: u32,
    /// The image it was made of, by Lodge's own metadata.
    pub image: Option<Box<str>>,
}

/// The running QEMU of a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct VmmView {
    /// libvirt's number.
    pub domid: u32,
    /// The process.
    pub process: Identity,
    /// When it was started.
    pub started: SystemTime,
    /// How its processors are run: `kvm`, `tcg`.
    pub accelerator: Arc<str>,
    /// Why so.
    pub accelerator_reason: Arc<str>,
    /// What was taken otherwise than the document has it.
    pub warnings: Vec<String>,
    /// The pseudo-terminal of the first serial port.
    pub console: Option<PathBuf>,
    /// What the guest printed there.
    pub console_log: PathBuf,
    /// QEMU's own words.
    pub log: PathBuf,
    /// The socket of the guest agent's channel, if the guest has one.
    pub agent_socket: Option<PathBuf>,
    /// The guest has opened the agent's channel.
    pub agent_connected: bool,
    /// `vnc`, `spice` and the port each listens on.
    pub displays: Vec<Display>,
}

/// A listening display.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Display {
    /// `vnc` or `spice`.
    pub kind: String,
    /// The address it listens on.
    pub listen: String,
    /// Its TCP port.
    pub port: u16,
}

/// A job at work on a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// Its number, where it is a stored job.
    pub id: Option<JobId>,
    /// What it does: `start`, `save` ….
    pub what: &'static str,
    /// Since when.
    pub since: SystemTime,
}
