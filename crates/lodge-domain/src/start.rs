//! How a guest comes up: the saga of a start, for `start`, `create` and `restore` alike.
//!
//! ```text
//!  claim-volumes ▶ claim-devices ▶ attach-nics ▶ write-seed ▶ start-helpers ▶ spawn ▶ run ─▶ the owner takes it on
//!        ◀──────────── each taken back if a later one fails or the daemon dies ─────────────────────┘
//! ```
//!
//! Note, then act: before the first step the log says that all of them may have had their effect, and after the
//! last that it is over ([`FewNotes`]). A next daemon that finds it open asks the host how far it came: where QEMU
//! is there and answers, the start goes on, else everything is taken back (`recover.rs`); so a guest is never
//! started twice and never lost.
//! The steps are in `start/steps.rs`, what QEMU is given in `start/gather.rs`, the live document in
//! `start/live.rs`. Deliberately absent: waiting until the guest inside is up.

mod advice;
mod cards;
mod certificates;
mod devices;
mod gather;
mod helpers;
mod kernel;
mod labels;
mod live;
mod lun;
mod notes;
mod nvram;
mod partition;
mod places;
mod pstore;
mod ram;
mod security;
mod served;
mod spawn;
mod steps;
mod streams;
pub(crate) mod transient;
#[cfg(test)]
mod trials;

use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{Event as Change, PausedReason, Request, RunningReason};
use lodge_model::xml::WriteOptions;
use lodge_model::{DomainId, JobId, Kind};
use lodge_store::saga::{self, CancellationToken, OpenSaga, SagaError};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

pub(crate) use self::cards::claim as claim_card;
pub(crate) use self::gather::{choose_accelerator, has_all_blocks, pass};
pub(crate) use self::helpers::{Served, serve_card};
use self::notes::FewNotes;
pub(crate) use self::places::{Told, number_chain, told};
pub(crate) use self::served::plain;
pub(crate) use self::steps::{LIVE, Launch, steps};
use crate::act::{Begin, Ended, Reply, ended};
use crate::control::tune::perf::Counters;
use crate::define::{self, Edit, blocking, summary_of};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::options::{CreateOptions, StartOptions, Ticket};
use crate::owner::Owner;
use crate::vmm::Vmm;
use crate::{recover, save, snapshots, tpm};

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-start";

/// What a start is to bring about; saved with the saga's notes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub name: String,
    /// The document to run, in the stored form.
    pub xml: String,
    /// The guest has no definition and is gone when it stops.
    pub transient: bool,
    /// The guest's processors are not to run.
    pub paused: bool,
    /// libvirt's number for the run.
    pub domid: u32,
    /// The memory to go on from.
    pub restore: Option<SavedMemory>,
    /// Files that this start made and takes back if it fails.
    pub made: Vec<PathBuf>,
    /// The files that transient disks are written to.
    #[serde(default)]
    pub passing: Vec<transient::Passing>,
    /// The TPM's state that this start made and takes back if it fails.
    #[serde(default)]
    pub made_tpm: Option<tpm::State>,
    /// It goes with the connection it is started from.
    #[serde(default)]
    pub autodestroy: bool,
    /// The UEFI variables are made anew.
    #[serde(default)]
    pub reset_nvram: bool,
    /// The snapshot inside the images to go on from.
    #[serde(default)]
    pub load: Option<LoadSnapshot>,
}

/// A snapshot inside a guest's images, its memory with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoadSnapshot {
    pub name: String,
    /// The disks it is in.
    pub disks: Vec<String>,
}

/// A file with a guest's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedMemory {
    pub file: PathBuf,
    /// It is the managed save: it goes when the guest is up.
    pub managed: bool,
    /// Read it past the page cache.
    pub bypass_cache: bool,
}

/// A guest that came up.
pub(crate) struct Launched {
    pub vmm: Box<Vmm>,
    pub live: Arc<str>,
    pub document: Domain,
    pub plan: Plan,
    /// What is counted of it.
    pub counters: Counters,
    /// What QEMU told until now.
    pub early: Vec<lodge_qemu::qmp::Event>,
    /// The note of the saga's end, on its way to the disk.
    pub noted: Option<JoinHandle<()>>,
}

/// `virsh start`.
pub(crate) fn start(owner: &mut Owner, options: StartOptions, ticket: &Ticket) -> Begin {
    if let Err(error) = owner.admit("start", Request::Start) {
        return Begin::Now(Err(error));
    }
    if !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "start", name: owner.name() }));
    }
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    run(owner, ticket, move |ticket| async move {
        let edit = define::look_for_edit(&shared, &entry).await?;
        let document = match &edit {
            Edit::Valid { domain, .. } => Domain::clone(domain),
            Edit::Invalid { why } => {
                let path = shared.config.store.domains().path(&entry.name());
                return Err((DomainError::BadEdit { path, why: Arc::clone(why) }, edit).into());
            }
            Edit::None => current_definition(&shared, &entry)?,
        };
        // Looked for at the daemon's start, and every save and removal since went through the owner.
        let is_saved = entry.snapshot.load().managed_save;
        let saved =
            if is_saved { save::managed_save_of(&shared, &entry.name(), options).await? } else { None };
        let (document, restore, paused) = if let Some(saved) = saved {
            (saved.document, Some(saved.memory), options.paused || saved.paused)
        } else {
            let mut document = document;
            document.align_memory();
            (document, None, options.paused)
        };
        let mut plan = Plan::new(&shared, &document, restore, paused, false);
        plan.reset_nvram = options.reset_nvram;
        let launched = launch(&shared, &entry, plan, document, &ticket).await;
        Ok((launched?, edit))
    })
}

/// `virsh create`: for a defined domain the document counts for this run only.
pub(crate) fn create(owner: &mut Owner, document: &Domain, options: CreateOptions, ticket: &Ticket) -> Begin {
    if let Err(error) = owner.admit("create", Request::Start) {
        return Begin::Now(Err(error));
    }
    let how = Launching { paused: options.paused, reset_nvram: options.reset_nvram, restore: None };
    launch_document(owner, document.clone(), how, ticket)
}

/// How a document that somebody gave is started.
pub(crate) struct Launching {
    pub paused: bool,
    pub reset_nvram: bool,
    pub restore: Option<SavedMemory>,
}

/// Starts a guest with a document that somebody gave, from nothing or from saved memory.
pub(crate) fn launch_document(
    owner: &mut Owner,
    mut document: Domain,
    how: Launching,
    ticket: &Ticket,
) -> Begin {
    let Launching { paused, reset_nvram, restore } = how;
    if restore.is_some() {
        begin_generation(&mut document);
    } else {
        document.align_memory();
    }
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let transient = !owner.is_persistent();
    run(owner, ticket, move |ticket| async move {
        let mut plan = Plan::new(&shared, &document, restore, paused, transient);
        plan.reset_nvram = reset_nvram;
        let launched = launch(&shared, &entry, plan, document, &ticket).await;
        Ok((launched?, Edit::None))
    })
}

/// How a guest is brought back to a snapshot.
pub(crate) struct Reviving {
    pub paused: bool,
    pub transient: bool,
    pub reset_nvram: bool,
    pub restore: Option<SavedMemory>,
    pub load: Option<LoadSnapshot>,
}

/// Starts a guest within another act, which tells of it.
pub(crate) async fn revive(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    mut document: Domain,
    how: Reviving,
    ticket: &Ticket,
) -> Result<Launched, DomainError> {
    if how.restore.is_some() || how.load.is_some() {
        begin_generation(&mut document);
    } else {
        document.align_memory();
    }
    let mut plan = Plan::new(shared, &document, how.restore, how.paused, how.transient);
    (plan.reset_nvram, plan.load) = (how.reset_nvram, how.load);
    launch(shared, entry, plan, document, ticket).await
}

/// A file or a snapshot can be gone back to many times: by `<genid>` the guest hears that it was, and makes its random
/// numbers anew. A managed save goes with its one start, and keeps the generation: of a live clone's it is a new one.
fn begin_generation(document: &mut Domain) {
    if let Some(genid) = &mut document.genid {
        genid.uuid = Some(DomainId::random().to_string());
    }
}

fn current_definition(shared: &Shared, entry: &Entry) -> Result<Domain, DomainError> {
    if let Some(why) = &entry.snapshot.load().bad_edit {
        let path = shared.config.store.domains().path(&entry.name());
        return Err(DomainError::BadEdit { path, why: Arc::clone(why) });
    }
    define::parse_inactive(entry)?
        .ok_or_else(|| DomainError::NoSuchDomain { wanted: entry.name().to_string() })
}

/// A failure, and what was seen of the definition's file on the way.
pub(crate) struct Failed(DomainError, Edit);

impl From<DomainError> for Failed {
    fn from(error: DomainError) -> Self {
        Self(error, Edit::None)
    }
}

impl From<(DomainError, Edit)> for Failed {
    fn from((error, edit): (DomainError, Edit)) -> Self {
        Self(error, edit)
    }
}

/// Makes a launch the job at work.
fn run<F>(owner: &mut Owner, ticket: &Ticket, launch: impl FnOnce(Ticket) -> F) -> Begin
where
    F: Future<Output = Result<(Launched, Edit), Failed>> + Send + 'static,
{
    owner.advance(Change::StartBegan(ticket.id.unwrap_or(JobId(0))), None);
    let (launching, noted) = (launch(ticket.clone()), owner.noted.take());
    let work = async move {
        if let Some(noted) = noted {
            // The end of the start before must be on disk before the next one begins.
            let _ = noted.await;
        }
        let outcome = launching.await;
        let end: Ended = ended(move |owner| match outcome {
            Ok((launched, edit)) => {
                owner.take_edit(edit);
                owner.take_launched(launched);
                Ok(Reply::Done)
            }
            Err(Failed(error, edit)) => {
                owner.take_edit(edit);
                owner.did_not_start();
                Err(error)
            }
        });
        end
    };
    Begin::Job { work: Box::pin(work), cancel: ticket.cancel.clone() }
}

/// Runs the saga to its end.
pub(crate) async fn launch(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    plan: Plan,
    document: Domain,
    ticket: &Ticket,
) -> Result<Launched, DomainError> {
    let name = entry.name();
    ticket.tell("starting", None);
    if let Some(pid) = recover::libvirt::held_elsewhere(shared, entry.id, &name).await {
        return Err(DomainError::HeldByLibvirt { name, pid });
    }
    snapshots::wait_until_mended(shared, entry, "start", ticket).await?;
    let mut launch = Launch::new(shared, entry.id, plan, document);
    launch.plan.autodestroy = ticket.tied_to.is_some();
    launch.plan.made = nvram::choose(&mut launch).map_err(|failure| not_begun(&name, failure))?;
    launch.plan.made.extend(pstore::choose(&launch.document));
    let passing = transient::choose(&mut launch);
    launch.plan.passing = passing.map_err(|failure| not_begun(&name, failure))?;
    launch.plan.made_tpm = helpers::choose_tpm(&launch);
    let db = shared.config.store.db();
    let job = ticket.id.map(|job| job.0);
    let begun = saga::begin(db, SAGA, &entry.id.to_string(), job, &launch).await;
    let mut log = FewNotes::of(begun.map_err(|source| DomainError::Db { name: Arc::clone(&name), source })?);
    let driven = saga::drive(&steps(), &mut launch, &mut log, &ticket.cancel).await;
    let noted = log.ended();
    match driven {
        Ok(()) => {
            let mut launched = launch.into_launched(&name, noted)?;
            launched.vmm.tied_to.clone_from(&ticket.tied_to);
            Ok(launched)
        }
        Err(error) => {
            if let Some(noted) = noted {
                let _ = noted.await;
            }
            Err(match error {
                SagaError::Cancelled { .. } => DomainError::Aborted { act: "start", name },
                source => DomainError::Start { name, source: Box::new(source) },
            })
        }
    }
}

fn not_begun(name: &Arc<str>, failure: saga::Failure) -> DomainError {
    let source = Box::new(SagaError::Failed { failure, left: Vec::new() });
    DomainError::Start { name: Arc::clone(name), source }
}

/// Takes up a start that an earlier daemon left. `Ok(None)`: it was taken back.
pub(crate) async fn resume(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    open: OpenSaga,
) -> Result<Option<Launched>, DomainError> {
    let name = entry.name();
    let Ok(plan) = serde_json::from_value::<Plan>(open.saved) else {
        tracing::error!(domain = %name, "the note of an unfinished start is unreadable");
        return Ok(None);
    };
    let document = Domain::parse(&plan.xml).map_err(|faults| DomainError::Document { faults })?;
    let mut launch = Launch::new(shared, entry.id, plan, document);
    let goes_on = launch.find_running().await;
    let direction = if goes_on { saga::Direction::On } else { saga::Direction::Back };
    let (mut log, cancel, steps) = (open.log, CancellationToken::new(), steps());
    let position = match open.position {
        // Any step may have had its effect.
        saga::Position::Forward { .. } => saga::Position::Forward { at: steps.len() - 1 },
        back @ saga::Position::Back { .. } => back,
    };
    match saga::resume(&steps, &mut launch, &mut log, position, direction, &cancel).await {
        Ok(()) => launch.into_launched(&name, None).map(Some),
        Err(error) => {
            tracing::info!(domain = %name, why = %error, "an unfinished start was taken back");
            Ok(None)
        }
    }
}

impl Plan {
    fn new(
        shared: &Shared,
        document: &Domain,
        restore: Option<SavedMemory>,
        paused: bool,
        transient: bool,
    ) -> Self {
        Self {
            name: document.name.clone(),
            xml: document.to_xml(&WriteOptions::STORED),
            transient,
            paused,
            domid: shared.new_domid(),
            restore,
            made: Vec::new(),
            passing: Vec::new(),
            made_tpm: None,
            autodestroy: false,
            reset_nvram: false,
            load: None,
        }
    }
}

impl Owner {
    /// The guest is up: it is this owner's from now on.
    pub fn take_launched(&mut self, mut launched: Launched) {
        let early = std::mem::take(&mut launched.early);
        let (plan, has_agent) = self.take_launched_quietly(launched);
        self.tell_started(&plan, has_agent);
        self.tell_early(early);
    }

    /// What QEMU said before anybody listened.
    fn tell_early(&self, early: Vec<lodge_qemu::qmp::Event>) {
        for event in early {
            self.shared.publish_monitor(&self.entry, event);
        }
    }

    /// The same, for one who tells of it himself. Says whether it has an agent's channel.
    pub fn take_launched_quietly(&mut self, launched: Launched) -> (Plan, bool) {
        let Launched { vmm, live, document, plan, counters, early, noted } = launched;
        self.noted = noted;
        self.entry.monitor.store(vmm.monitor().cloned().map(Arc::new));
        self.entry.counters.store(Some(Arc::new(counters)));
        let has_agent = vmm.record.agent.is_some();
        self.vmm = Some(vmm);
        self.set_documents(|documents| documents.live = Some(live));
        let managed_save = self.has_managed_save();
        self.amend_snapshot(|snapshot| {
            snapshot.summary = Arc::new(summary_of(&document));
            snapshot.managed_save = managed_save;
        });
        self.tell_early(early);
        if plan.restore.is_some() || plan.load.is_some() {
            // Its agent's channel came open with the memory, before anybody listened.
            crate::observe::look_again(self);
        }
        (plan, has_agent)
    }

    /// libvirt's order: what the agent's channel is, RESUMED as QEMU's own event, then STARTED; after a restore
    /// STARTED comes first.
    fn tell_started(&mut self, plan: &Plan, has_agent: bool) {
        let lifecycle = |kind, detail| EventKind::Lifecycle(kind, detail);
        if has_agent {
            self.shared.publish(&self.entry, EventKind::Agent { connected: false, at_start: true });
        }
        let (shared, entry) = (Arc::clone(&self.shared), Arc::clone(&self.entry));
        match (plan.restore.is_some(), plan.paused) {
            (false, false) => {
                let resumed = lifecycle(Lifecycle::Resumed, 0);
                self.advance(Change::Started(RunningReason::Booted), Some(resumed));
                shared.publish(&entry, lifecycle(Lifecycle::Started, 0));
            }
            (false, true) => {
                let started = lifecycle(Lifecycle::Started, 0);
                self.advance(Change::StartedPaused(PausedReason::User), Some(started));
                shared.publish(&entry, lifecycle(Lifecycle::Suspended, 0));
            }
            (true, false) => {
                let started = lifecycle(Lifecycle::Started, 2);
                self.advance(Change::Started(RunningReason::Restored), Some(started));
                shared.publish(&entry, lifecycle(Lifecycle::Resumed, 2));
            }
            (true, true) => {
                let started = lifecycle(Lifecycle::Started, 2);
                self.advance(Change::StartedPaused(PausedReason::Migration), Some(started));
                shared.publish(&entry, lifecycle(Lifecycle::Suspended, 4));
            }
        }
    }

    /// Whether the managed save that was there still is: a start uses it up or throws it away.
    fn has_managed_save(&self) -> bool {
        let known = self.entry.snapshot.load().managed_save;
        known && save::managed_path(&self.shared, &self.name()).exists()
    }

    /// The guest did not come up, and nothing of it is left.
    pub fn did_not_start(&mut self) {
        let managed_save = self.has_managed_save();
        self.amend_snapshot(|snapshot| snapshot.managed_save = managed_save);
        self.vanished = !self.is_persistent();
        self.advance(Change::StartFailed, Some(EventKind::Lifecycle(Lifecycle::Stopped, 5)));
    }
}

/// Removes a file that may be gone already.
pub(crate) async fn remove_file(path: PathBuf) -> std::io::Result<()> {
    blocking(move || match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
    .await
}

/// The kind of failure of a file.
pub(crate) fn file_failure(act: &str, path: &std::path::Path, error: &std::io::Error) -> saga::Failure {
    let kind = crate::error::io_kind(error);
    let failure = saga::Failure::new(kind, format!("cannot {act} `{}`: {error}", path.display()));
    match kind {
        Kind::Exhausted => {
            failure.with_hint("free some space on that file system, then try again".to_owned())
        }
        Kind::Denied => {
            failure.with_hint("check the owner and the mode of the file and its directory".to_owned())
        }
        _ => failure,
    }
}
