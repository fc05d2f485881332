//! What an earlier daemon left: definitions, unfinished sagas, running guests.
//!
//! ```text
//!  definitions ▶ open sagas ▶ guests' directories ─▶ Settle, one per domain, all at once ─▶ ready
//! ```
//!
//! A guest is taken over if the process of its record lives and its monitor answers as that guest. One whose
//! process is gone is cleared away. One that lives and does not answer is taken over as *not responding*: its
//! owner waits for it, nobody else does. The same [`settle`] puts an owner right after a panic.
//! Deliberately absent: autostart, which comes after the networks are up.

mod definitions;
pub(crate) mod libvirt;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{Event as Change, ShutdownReason, ShutoffReason, State};
use lodge_qemu::qmp::Status;
use lodge_store::Driver;
use lodge_store::saga::{self, OpenSaga};
use lodge_sys::process::Process;
use tokio::task::JoinSet;

use crate::act::{Act, Begin, Ended, Reply, ended};
use crate::control::tune::perf::Counters;
use crate::define::{blocking, summary_of};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::event::{EventKind, Lifecycle};
use crate::index::{Documents, Entry};
use crate::mailbox;
use crate::observe;
use crate::options::Ticket;
use crate::owner::Owner;
use crate::record::Record;
use crate::snapshot::Snapshot;
use crate::vmm::{LIVE_XML, Policies, Vmm};
use crate::{save, snapshots, start, stop, undefine};

/// How long a guest may take to answer when it is taken over; after that it counts as not responding.
const ADOPT_PATIENCE: Duration = Duration::from_secs(2);
/// How long start-up waits for all of it; the rest goes on in the owners.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// The same for images that are merged below guests that are off: as many bytes are copied as there are, and nobody has
/// to wait for them but who wants these very guests.
const MERGE_PATIENCE: Duration = Duration::from_secs(2);

/// What was found, for the log.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub definitions: usize,
    pub running: usize,
    /// Of these, guests that a libvirt daemon had last.
    pub taken_over: usize,
    pub sagas: usize,
    pub invalid: usize,
}

/// Start-up, before anybody may ask for anything.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<Found, DomainError> {
    let mut found = definitions::load_definitions(shared).await?;
    let store = shared.config.store.clone();
    let open = saga::open_sagas(store.db()).await;
    let open = open.map_err(|source| DomainError::Db { name: "".into(), source })?;
    let guests = store.root().guests();
    found.taken_over = libvirt::take_over(shared).await.iter().filter(|taken| taken.fresh).count();
    let mut unsettled: BTreeMap<DomainId, Option<String>> = BTreeMap::new();
    let mut long = BTreeSet::new();
    for saga in open.iter().filter(|saga| saga.kind.starts_with("domain-")) {
        found.sagas += 1;
        if let Ok(id) = saga.subject.parse() {
            unsettled.insert(id, saga.saved.get("name").and_then(|name| name.as_str()).map(str::to_owned));
            if snapshots::merges_while_off(saga) {
                long.insert(id);
            }
        }
    }
    // What a libvirt daemon has now it may have had from us: two must not be on one monitor.
    let is_others = store.drivers().is_others(Driver::Qemu);
    for id in if is_others { BTreeSet::new() } else { blocking(move || guest_dirs(&guests)).await } {
        let dir = store.root().guest(id.0);
        let record = blocking(move || Record::read(&dir)).await.ok().flatten();
        if let Some(record) = &record {
            shared.domid_in_use(record.domid);
        }
        let name = record.map(|record| record.name);
        unsettled
            .entry(id)
            .and_modify(|known| *known = known.take().or_else(|| name.clone()))
            .or_insert(name);
    }
    let (mut settling, mut merging) = (JoinSet::new(), JoinSet::new());
    for (id, name) in unsettled {
        let shared = Arc::clone(shared);
        let set = if long.contains(&id) { &mut merging } else { &mut settling };
        set.spawn(async move { settle_one(&shared, id, name).await });
    }
    if !are_settled(&mut settling, SETTLE_PATIENCE).await {
        tracing::warn!("some guests could not be taken over yet; their owners go on");
    }
    if !are_settled(&mut merging, MERGE_PATIENCE).await {
        tracing::info!(
            "snapshots' files that an earlier daemon was to merge are being merged; only their guests wait for it"
        );
    }
    found.running = shared.index.snapshots().iter().filter(|view| view.is_active()).count();
    Ok(found)
}

/// Whether all have come to an end in time; those that have not go on.
async fn are_settled(settling: &mut JoinSet<()>, patience: Duration) -> bool {
    let all = async { while settling.join_next().await.is_some() {} };
    let done = tokio::time::timeout(patience, all).await.is_ok();
    settling.detach_all();
    done
}

/// Looks for guests and definitions that a libvirt daemon left since the start. Returns the guests taken over.
pub(crate) async fn take_over_libvirts(
    shared: &Arc<Shared>,
) -> Result<Vec<libvirt::RunningGuest>, DomainError> {
    for entry in definitions::load_new_definitions(shared).await? {
        tracing::info!(domain = %entry.name(), "a definition of libvirt's was taken in");
    }
    let taken = libvirt::take_over(shared).await;
    let mut settling = JoinSet::new();
    for libvirt::Taken { guest, .. } in &taken {
        shared.domid_in_use(guest.domid);
        // One that is ours already has the monitor; its owner needs nothing.
        if shared.index.by_id(guest.id).is_some_and(|entry| entry.snapshot.load().is_active()) {
            continue;
        }
        let (shared, id, name) = (Arc::clone(shared), guest.id, guest.name.clone());
        settling.spawn(async move { settle_one(&shared, id, Some(name)).await });
    }
    while settling.join_next().await.is_some() {}
    Ok(taken.into_iter().filter(|taken| taken.fresh).map(|taken| taken.guest).collect())
}

async fn settle_one(shared: &Arc<Shared>, id: DomainId, name: Option<String>) {
    let entry = shared.index.by_id(id).or_else(|| {
        // A transient guest, or what is left of an attempt to start one.
        let name = name.unwrap_or_else(|| id.to_string());
        let fresh = || Entry::new(Snapshot::embryo(id, &name), Documents::default());
        shared.index.claim(id, &name, fresh).ok().map(|(entry, _)| entry)
    });
    let Some(entry) = entry else {
        tracing::error!(%id, "a guest without a definition was left whose name is another domain's now");
        return;
    };
    if let Err(error) = mailbox::ask(shared, &entry, Act::Settle, Ticket::default()).await
        && !matches!(error, DomainError::Vanished { .. })
    {
        tracing::error!(domain = %entry.name(), error = %chain(&error), "what an earlier daemon left could not be settled");
    }
}

fn guest_dirs(guests: &Path) -> BTreeSet<DomainId> {
    let Ok(entries) = std::fs::read_dir(guests) else { return BTreeSet::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Puts an owner in line with what the host and the saga log say.
pub(crate) fn settle(owner: &mut Owner) -> Begin {
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    Begin::job(async move {
        // A transient guest's were not read with the definitions.
        snapshots::reload(&shared, &entry).await;
        for open in open_sagas_of(&shared, entry.id).await {
            if let Some(end) = take_up(&shared, &entry, open).await {
                return end;
            }
        }
        find_guest(&shared, &entry).await
    })
}

async fn open_sagas_of(shared: &Shared, id: DomainId) -> Vec<OpenSaga> {
    match saga::open_sagas(shared.config.store.db()).await {
        Ok(all) => {
            let subject = id.to_string();
            all.into_iter()
                .filter(|saga| saga.subject == subject && saga.kind.starts_with("domain-"))
                .collect()
        }
        Err(error) => {
            tracing::error!(%id, error = %chain(&error), "the open sagas could not be read");
            Vec::new()
        }
    }
}

/// Finishes or undoes one saga. `Some`: how that leaves the owner; nothing more is to be looked for.
async fn take_up(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) -> Option<Ended> {
    tracing::info!(domain = %entry.name(), saga = open.kind, "taking up what an earlier daemon left");
    match open.kind.as_str() {
        start::SAGA => match start::resume(shared, entry, open).await {
            Ok(Some(launched)) => Some(ended(move |owner| {
                owner.set_state(State::NEW, None);
                owner.advance(Change::StartBegan(lodge_model::JobId(0)), None);
                owner.take_launched(launched);
                end_if_tied(owner);
                Ok(Reply::Done)
            })),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(domain = %entry.name(), error = %chain(&error), "an unfinished start could not be settled");
                None
            }
        },
        undefine::SAGA => undefine::resume(shared, entry, open).await,
        save::SAGA => save::resume(shared, entry, open).await,
        snapshots::CREATE_SAGA | snapshots::REVERT_SAGA | snapshots::DELETE_SAGA => {
            snapshots::resume(shared, entry, open).await
        }
        snapshots::MEND_SAGA => {
            snapshots::resume_mending(shared, entry, open);
            None
        }
        other => {
            tracing::error!(domain = %entry.name(), saga = other, "an unfinished saga is of a kind unknown to this daemon");
            None
        }
    }
}

/// Looks for the guest's QEMU, and clears away what one has left.
async fn find_guest(shared: &Arc<Shared>, entry: &Arc<Entry>) -> Ended {
    let dir = shared.config.store.root().guest(entry.id.0);
    let read = {
        let dir = dir.clone();
        blocking(move || (dir.exists(), Record::read(&dir).ok().flatten())).await
    };
    let (is_there, record) = read;
    let Some(record) = record else {
        if is_there {
            // A start that came no further than its directory, or a clean-up that was cut short.
            clear_strays(shared, entry).await;
        }
        return ended(|owner| {
            owner.is_not_there();
            Ok(Reply::Done)
        });
    };
    let process = record.identity().and_then(|identity| Process::hold(identity).ok().flatten());
    let Some(process) = process else {
        tracing::warn!(domain = record.name, pid = record.pid, "QEMU ended while no daemon was there");
        let live = blocking(move || std::fs::read_to_string(dir.join(LIVE_XML)).ok()).await;
        clear_strays(shared, entry).await;
        return ended(move |owner| {
            owner.set_documents(|documents| documents.live = live.map(Arc::from));
            owner.set_state(
                State::Running { reason: lodge_model::domain::lifecycle::RunningReason::Unknown },
                None,
            );
            owner.is_off(ShutoffReason::Crashed);
            Ok(Reply::Done)
        });
    };
    adopt(shared, entry, record, process).await
}

async fn clear_strays(shared: &Arc<Shared>, entry: &Entry) {
    let dir = shared.config.store.root().guest(entry.id.0);
    let cgroup = stop::cgroup_of(shared, entry.id);
    for process in blocking(move || stop::strays(&cgroup, &dir)).await.unwrap_or_default() {
        stop::kill(&process, Duration::ZERO).await;
    }
    stop::clear_away(shared, entry.id, &entry.name()).await;
}

async fn adopt(shared: &Arc<Shared>, entry: &Arc<Entry>, record: Record, process: Process) -> Ended {
    let dir = shared.config.store.root().guest(entry.id.0);
    let live = {
        let path = dir.join(LIVE_XML);
        blocking(move || std::fs::read_to_string(path)).await
    };
    let live = live.ok().map(Arc::<str>::from).or_else(|| entry.documents.load().inactive.clone());
    let document = live.as_deref().and_then(|text| Domain::parse(text).ok()).unwrap_or_default();
    for (part, outcome) in [
        ("disks", shared.ports.volumes.adopt(entry.id, &document).await),
        ("host's devices", shared.ports.devices.adopt(entry.id, &document, &record.taken).await),
        ("network cards", shared.ports.nics.adopt(entry.id, &document).await),
    ] {
        if let Err(error) = outcome {
            tracing::warn!(domain = record.name, part, error = %chain(&error), "a running guest's part was not taken over");
        }
    }
    let policies = Policies::of(&document);
    let (last_state, transient) = (record.last_state(), record.transient);
    let answer = lodge_qemu::adopt(&dir, entry.id, ADOPT_PATIENCE).await;
    let ports = record.displays.iter().filter_map(|display| shared.displays.take(display.port)).collect();
    let (mut vmm, status) = match answer {
        Ok(qemu) => {
            let status =
                qemu.monitor().execute_within::<Status>("query-status", (), ADOPT_PATIENCE).await.ok();
            (Vmm::connected(qemu, process, record, dir, policies), status)
        }
        Err(error) => {
            tracing::warn!(domain = record.name, error = %chain(&error), "a running guest does not answer; it is taken over when it does");
            (Vmm::silent(process, record, dir, policies), None)
        }
    };
    vmm.ports = ports;
    if status.is_none() && last_state == (State::InShutdown { reason: ShutdownReason::User }) {
        // It was being ended when the daemon died.
        vmm.reason = Some(ShutoffReason::Destroyed);
    }
    let counters = Counters::of(&document, vmm.record.pid).unwrap_or_else(|refusal| {
        tracing::warn!(
            domain = vmm.record.name,
            why = refusal.text,
            "a running guest's events are not counted"
        );
        Counters::default()
    });
    ended(move |owner| {
        tracing::info!(domain = %owner.name(), pid = vmm.record.pid, "running guest taken over");
        owner.shared.domid_in_use(vmm.record.domid);
        owner.entry.monitor.store(vmm.monitor().cloned().map(Arc::new));
        owner.entry.counters.store(Some(Arc::new(counters)));
        owner.vmm = Some(Box::new(vmm));
        owner.set_documents(|documents| documents.live = live);
        owner.amend_snapshot(|snapshot| snapshot.summary = Arc::new(summary_of(&document)));
        owner.set_state(last_state, None);
        if let Some(status) = status {
            observe::observe(owner, &status);
        }
        end_if_tied(owner);
        // The agent's channel, and whatever was missed.
        observe::look_again(owner);
        if let Some(vmm) = owner.vmm.as_deref_mut() {
            vmm.told.push(crate::control::Told::Missed);
        }
        if transient == owner.is_persistent() {
            owner.note_transience();
        }
        Ok(Reply::Done)
    })
}

/// The connection a guest was tied to went with the daemon before, and the guest goes after it.
fn end_if_tied(owner: &mut Owner) {
    if owner.vmm.as_deref().is_some_and(|vmm| vmm.record.autodestroy) {
        crate::facts::caller_went(owner);
    }
}

impl Owner {
    /// No QEMU of it runs.
    fn is_not_there(&mut self) {
        self.vmm = None;
        self.entry.monitor.store(None);
        self.entry.counters.store(None);
        self.set_documents(|documents| documents.live = None);
        self.vanished = !self.is_persistent();
        if matches!(self.state, State::Shutoff { .. }) {
            return self.publish_snapshot();
        }
        // After a panic: whatever it was doing is over.
        let told = EventKind::Lifecycle(Lifecycle::Stopped, 5);
        self.set_state(State::Shutoff { reason: ShutoffReason::Failed }, Some(told));
    }

    /// Notes whether the running guest goes when it stops.
    pub fn note_transience(&mut self) {
        let transient = !self.is_persistent();
        if let Some(vmm) = self.vmm.as_deref_mut().filter(|vmm| vmm.record.transient != transient) {
            vmm.record.transient = transient;
            vmm.note();
        }
    }
}
