//! A running guest, as an act on it is given it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_qemu::qmp::Monitor;

use super::Refusal;
use crate::domains::Shared;
use crate::event::EventKind;
use crate::index::Entry;
use crate::record::Record;
use crate::vmm::LIVE_XML;

/// How long a guest may take to answer when an earlier daemon's work on it is to be settled.
const FIND_PATIENCE: Duration = Duration::from_secs(5);

/// A running guest: its document, its monitor, and what is to be told when the act has ended.
pub struct Running {
    /// The live document; the act changes it with the guest.
    pub document: Domain,
    /// QEMU.
    pub monitor: Monitor,
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: DomainId,
    pub(crate) pid: u32,
    pub(crate) cgroup: PathBuf,
    /// The guest's directory.
    pub(crate) dir: PathBuf,
    /// Where its documents are.
    pub(crate) entry: Arc<Entry>,
    /// The definition, where the act has changed and kept it.
    pub(crate) definition: Option<(Arc<str>, Arc<Domain>)>,
    pub(crate) tell: Vec<EventKind>,
    /// Block jobs that have ended and are still noted.
    pub(crate) ended_jobs: Vec<String>,
}

impl Running {
    /// A guest that an earlier daemon held.
    pub(crate) fn new(
        document: Domain,
        monitor: Monitor,
        shared: &Arc<Shared>,
        entry: &Arc<Entry>,
        pid: u32,
    ) -> Self {
        let (id, entry) = (entry.id, Arc::clone(entry));
        let (cgroup, dir) = (crate::stop::cgroup_of(shared, id), shared.config.store.root().guest(id.0));
        let shared = Arc::clone(shared);
        Self {
            document,
            monitor,
            shared,
            id,
            pid,
            cgroup,
            dir,
            entry,
            definition: None,
            tell: Vec::new(),
            ended_jobs: Vec::new(),
        }
    }

    /// Looks for the guest that an earlier daemon held. None: it has ended, or does not answer.
    pub(crate) async fn find(shared: &Arc<Shared>, entry: &Arc<Entry>) -> Option<Self> {
        let dir = shared.config.store.root().guest(entry.id.0);
        let read = crate::define::blocking(move || {
            let record = Record::read(&dir).ok().flatten()?;
            let live = std::fs::read_to_string(dir.join(LIVE_XML)).ok()?;
            Some((dir, record, Domain::parse(&live).ok()?))
        });
        let (dir, record, document) = read.await?;
        let qemu = lodge_qemu::adopt(&dir, entry.id, FIND_PATIENCE).await.ok()?;
        Some(Self::new(document, qemu.monitor().clone(), shared, entry, record.pid))
    }

    /// Its UUID.
    pub fn id(&self) -> DomainId {
        self.id
    }

    /// Does a monitor command and takes no interest in its answer.
    pub(crate) async fn tell_qemu(&self, command: &str, arguments: serde_json::Value) -> Result<(), Refusal> {
        let answer: Result<serde::de::IgnoredAny, _> = self.monitor.execute(command, arguments).await;
        answer.map(drop).map_err(Refusal::from)
    }
}
