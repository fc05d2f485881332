//! `virsh snapshot-create`: taking a snapshot.
//!
//! ```text
//!  read · complete · align · check ─▶ note ─▶ ┬ images:  inside each image ▶ write down
//!                                             ├ inside:  hold ▶ QEMU's job ▶ write down ▶ go on
//!                                             ├ files:   make files ▶ write down (and the definition)
//!                                             └ live:    make files ▶ write down ▶ freeze ▶ memory ▶ switch ▶ thaw
//! ```
//!
//! The steps are in `create/steps.rs`. `--atomic` needs no code: it is always so.

mod judge;
mod steps;
#[cfg(test)]
mod trials;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{PausedReason, ShutoffReason, State as DomainState};
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotSort, SnapshotState, State};
use lodge_store::saga::{self, CancellationToken, Direction, OpenSaga, SagaError};
use lodge_sys::process::Process;

use self::judge::{judge, put_in};
use self::steps::{Plan, Taking, Way, steps};
use super::records::Records;
use super::{images, inside, keys, memory, mending, overlay, quiesce, redefine, refuse, switch};
use crate::act::{Begin, Ended, Reply, ended};
use crate::control::{Refusal, Running, Sort};
use crate::define::{blocking, parse_inactive};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::observe;
use crate::options::{SnapshotCreateOptions, Ticket};
use crate::owner::Owner;
use crate::stop;

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-snapshot-create";
/// How long QEMU may take to end once all is saved.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The running guest, as a snapshot of it needs it.
struct Guest {
    running: Running,
    process: Process,
    agent: Option<PathBuf>,
    agent_connected: bool,
    state: SnapshotState,
}

/// `virsh snapshot-create`.
pub(crate) fn create(
    owner: &mut Owner,
    xml: String,
    options: SnapshotCreateOptions,
    ticket: &Ticket,
) -> Begin {
    if options.redefine {
        return redefine::redefine(owner, &xml, options);
    }
    if options.halt && !owner.is_persistent() {
        let text = "cannot halt after transient domain snapshot";
        return Begin::Now(Err(refuse(SnapshotSort::Invalid, text)));
    }
    let guest = match guest(owner) {
        Ok(guest) => guest,
        Err(error) => return Begin::Now(Err(error)),
    };
    let (shared, entry) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry));
    let cancel = ticket.cancel.child_token();
    let (token, ticket) = (cancel.clone(), Ticket { cancel: cancel.clone(), ..ticket.clone() });
    let work = async move {
        let taken = async {
            mending::wait(&shared, &entry, "snapshot", &ticket).await?;
            take(&shared, &entry, guest, &xml, options, &token).await
        };
        let taken = taken.await;
        let end: Ended = ended(move |owner| match taken {
            Ok(taken) => taken.end(owner),
            Err(error) => {
                // Whatever was done to the guest was taken back; how it stands, QEMU knows.
                observe::look_again(owner);
                Err(error)
            }
        });
        end
    };
    Begin::Job { work: Box::pin(work), cancel }
}

fn guest(owner: &Owner) -> Result<Option<Guest>, DomainError> {
    let Some(vmm) = owner.vmm.as_deref() else { return Ok(None) };
    let state = match owner.state {
        DomainState::Running { .. } => SnapshotState::Running,
        DomainState::Paused { .. } => SnapshotState::Paused,
        DomainState::InShutdown { .. } => SnapshotState::Shutdown,
        DomainState::Crashed { .. } => SnapshotState::Crashed,
        DomainState::PmSuspended => {
            let text = "qemu doesn't support taking snapshots of PMSUSPENDED guests";
            return Err(refuse(SnapshotSort::Unsupported, text));
        }
        DomainState::Shutoff { .. }
        | DomainState::Starting { .. }
        | DomainState::Saving { .. }
        | DomainState::Stopping { .. } => {
            return Err(DomainError::NotResponding { name: owner.name() });
        }
    };
    Ok(Some(Guest {
        running: crate::control::running(owner)?,
        process: vmm.process.clone(),
        agent: vmm.agent_socket(),
        agent_connected: vmm.agent_connected,
        state,
    }))
}

/// What became of it.
struct Taken {
    name: String,
    tree: Option<SnapshotTree>,
    definition: Option<Domain>,
    running: Option<Running>,
    /// The guest stood still for it, and whether it was let go on.
    held: Option<bool>,
    halted: bool,
    /// The snapshot is there, and this went wrong after it.
    after: Option<Refusal>,
}

impl Taken {
    fn end(self, owner: &mut Owner) -> Result<Reply, DomainError> {
        if let Some(running) = self.running.filter(|_| !self.halted) {
            crate::control::take_live(owner, running);
        }
        if let Some(tree) = self.tree {
            owner.take_snapshots(tree, self.definition.as_ref());
        } else if let Some(definition) = &self.definition {
            owner.take_snapshots(SnapshotTree::clone(&owner.entry.snapshots.load()), Some(definition));
        }
        tracing::info!(domain = %owner.name(), snapshot = self.name, "snapshot taken");
        if self.halted {
            owner.is_off(ShutoffReason::FromSnapshot);
        } else if let Some(went_on) = self.held {
            let shared = Arc::clone(&owner.shared);
            shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Suspended, 0));
            if went_on {
                let reason = lodge_model::domain::lifecycle::RunningReason::Unpaused;
                let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
                owner.set_state(DomainState::Running { reason }, Some(told));
            } else {
                owner.set_state(DomainState::Paused { reason: PausedReason::CreatingSnapshot }, None);
            }
            observe::look_again(owner);
        }
        match self.after {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Reply::Snapshot(self.name)),
        }
    }
}

/// QEMU ends, with its guest, when it writes memory into an encrypted qcow2 (an assertion in `qcow2_co_encdec`, seen with
/// 10.0.2): memory goes into a disk that is not.
fn no_place_for_memory(snapshot: &DomainSnapshot, domain: &Domain) -> DomainError {
    let disks = snapshot.disks().iter().zip(&domain.devices.disks);
    let mut disks = disks.filter(|(disk, _)| disk.location() == Location::Internal);
    let text = match disks.next() {
        Some((disk, own)) if own.encryption_tree().is_some() => format!(
            "disk '{}' is encrypted: QEMU cannot write the guest's memory into it, and no other disk takes it. Take an \
             external snapshot, or one of the guest while it is off",
            disk.name()
        ),
        _ => return Refusal::internal("the guest's block nodes are not known").into(),
    };
    refuse(SnapshotSort::ConfigUnsupported, text)
}

async fn take(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    guest: Option<Guest>,
    xml: &str,
    options: SnapshotCreateOptions,
    cancel: &CancellationToken,
) -> Result<Taken, DomainError> {
    let (snapshot, domain) = judge(shared, entry, guest.as_ref(), xml, options).await?;
    let (old, domain_name) = (entry.snapshots.load_full(), entry.name());
    let state = guest.as_ref().map_or(State::Off, |guest| State::On(guest.state));
    let plan = snapshot.check(&domain, state)?;
    let name = snapshot.name().to_owned();
    if !options.no_metadata && old.get(&name).is_some() {
        let text = format!("domain moment {name} already exists");
        return Err(Refusal::new(Sort::Failed, text).of_domain().into());
    }
    let (way, mut overlays, inner) = match (plan.external, &guest) {
        (false, None) => {
            let mut inner = images::of(&snapshot, &domain)?;
            // What the firmware remembers goes with what the disks have.
            inner.extend(images::variables(&domain));
            (Way::Images, Vec::new(), inner)
        }
        (false, Some(guest)) => {
            let mut inner = images::of(&snapshot, &guest.running.document)?;
            inner.extend(images::variables(&guest.running.document));
            (Way::Inside, Vec::new(), inner)
        }
        (true, guest) => {
            let way = if guest.is_some() { Way::Live } else { Way::Files };
            let reuse = options.reuse_external;
            let (of, within) = (snapshot.clone(), domain.clone());
            (way, blocking(move || overlay::of(&of, &within, reuse)).await?, Vec::new())
        }
    };
    overlay::refuse_deep(guest.as_ref().map_or(&domain, |guest| &guest.running.document), &overlays)?;
    // A snapshot of memory alone has no disks to switch, and is external all the same.
    let way = match (way, snapshot.memory(), &guest) {
        (Way::Inside, Location::External, Some(_)) => Way::Live,
        (way, ..) => way,
    };
    let nodes = match (&guest, way) {
        (Some(guest), Way::Inside) => {
            let nodes = inside::Nodes::of(&snapshot, &guest.running.document);
            let nodes = nodes.ok_or_else(|| no_place_for_memory(&snapshot, &domain))?;
            refuse_same_inside(&inside::having(&guest.running.monitor, &name).await?, &name)?;
            nodes
        }
        _ => inside::Nodes::default(),
    };
    if way == Way::Images {
        let having = images::having(shared, &inner, &name).await;
        let having = having.map_err(|source| port(&domain_name, source))?;
        refuse_same_inside(&having, &name)?;
    }
    let socket = match (&guest, options.quiesce) {
        (Some(guest), true) => Some(agent_of(guest)?),
        _ => None,
    };
    if let (Some(guest), Way::Live) = (&guest, way) {
        switch::number(&guest.running.monitor, &mut overlays).await?;
    }
    let mut new = SnapshotTree::clone(&old);
    put_in(&mut new, &snapshot, &old);
    let tree = (!options.no_metadata).then_some(new);
    let definition = parse_inactive(entry)?;
    let changed = definition.clone().map(|mut definition| {
        // A definition that was given other disks while the guest runs keeps those.
        let (mut same, disks) = (overlays.clone(), &definition.devices.disks);
        same.retain(|overlay| {
            let own = disks.iter().find(|disk| disk.target.dev == overlay.target);
            own.and_then(|disk| disk.path()).map(Path::new) == Some(&overlay.backing)
        });
        overlay::put_in(&mut definition, &same, false);
        definition
    });
    let mut records = Records::between(&domain_name, &old, tree.as_ref().unwrap_or(&old));
    if let (Some(before), Some(after)) = (&definition, &changed) {
        records = records.with_definition(before, after);
    }
    let memory = snapshot.memory_file().map(PathBuf::from);
    if let Some(file) = memory.clone() {
        let checked = blocking(move || memory::check_place(&file)).await;
        checked.map_err(|failure| not_begun(&domain_name, &name, failure))?;
    }
    let was_running = guest.as_ref().is_some_and(|guest| guest.state == SnapshotState::Running);
    let plan = Plan {
        name: domain_name.to_string(),
        snapshot: name.clone(),
        records,
        way,
        images: inner,
        keys: keys::of([&domain]),
        nodes,
        reuse: options.reuse_external,
        holds: was_running && (way == Way::Inside || (!options.live && (plan.manual || memory.is_some()))),
        memory_xml: snapshot.domain.as_deref().map(|domain| domain.to_xml(&STORED)).unwrap_or_default(),
        was_running,
        goes_on: was_running && !plan.manual && !options.halt,
        memory,
        overlays,
        socket,
    };
    let stood_still = plan.holds || (was_running && plan.memory.is_some());
    let (process, running) = match guest {
        Some(guest) => (Some(guest.process), Some(guest.running)),
        None => (None, None),
    };
    let goes_on = plan.goes_on;
    let mut taking = Taking::new(shared, entry, plan, running);
    let driven = drive(&mut taking, entry, &name, cancel).await;
    if driven.is_err()
        && let (Way::Inside, Some(process)) = (way, &process)
    {
        images::mend_after_end(shared, entry.id, &domain_name, process, taking.plan.images()).await;
    }
    driven?;
    if options.halt
        && let Some(process) = &process
    {
        let _ = stop::kill(process, END_PATIENCE).await;
        stop::last_words(taking.running.as_ref().map(|running| &running.monitor)).await;
        stop::clear_away(shared, entry.id, &entry.name()).await;
    }
    Ok(Taken {
        name,
        tree,
        definition: changed.filter(|changed| definition.as_ref() != Some(changed)),
        running: taking.running.take(),
        held: stood_still.then_some(goes_on),
        halted: options.halt && process.is_some(),
        after: taking.after.take(),
    })
}

const STORED: lodge_model::xml::WriteOptions = lodge_model::xml::WriteOptions::STORED;

/// Runs the saga to its end; whatever came of it, a frozen guest is thawed.
async fn drive(
    taking: &mut Taking,
    entry: &Entry,
    snapshot: &str,
    cancel: &CancellationToken,
) -> Result<(), DomainError> {
    let name = entry.name();
    let db = taking.shared.config.store.db();
    let log = saga::begin(db, SAGA, &entry.id.to_string(), None, &*taking).await;
    let mut log = log.map_err(|source| DomainError::Db { name: Arc::clone(&name), source })?;
    let steps = steps(&taking.plan);
    let driven = saga::drive(&steps, taking, &mut log, cancel).await;
    if let Some(socket) = taking.plan.socket.clone()
        && !taking.thawed
        && let Err(refusal) = quiesce::thaw(&taking.shared, &socket, &name).await
    {
        taking.after.get_or_insert(refusal);
    }
    driven.map_err(|error| match error {
        SagaError::Cancelled { .. } => DomainError::Aborted { act: "snapshot", name },
        // QEMU's and the agent's words are libvirt's own.
        error => match taking.refused.take() {
            Some(refusal) if error.left().is_empty() => refusal.into(),
            _ => DomainError::Snapshot {
                act: "take",
                name,
                snapshot: snapshot.to_owned(),
                source: Box::new(error),
            },
        },
    })
}

fn refuse_same_inside<T>(having: &[T], name: &str) -> Result<(), DomainError> {
    if having.is_empty() {
        return Ok(());
    }
    let text = format!("Snapshot '{name}' already exists in one or more devices");
    Err(Refusal::new(Sort::Failed, text).into())
}

fn agent_of(guest: &Guest) -> Result<PathBuf, DomainError> {
    let Some(socket) = guest.agent.clone() else {
        return Err(DomainError::NoAgent { name: guest.running.document.name.as_str().into() });
    };
    if !guest.agent_connected {
        let text = "QEMU guest agent is not connected";
        return Err(Refusal::new(Sort::AgentUnresponsive, text).into());
    }
    Ok(socket)
}

fn port(name: &Arc<str>, source: crate::ports::PortError) -> DomainError {
    DomainError::Port { act: "look into the disks", name: Arc::clone(name), source }
}

fn not_begun(name: &Arc<str>, snapshot: &str, failure: saga::Failure) -> DomainError {
    let source = Box::new(SagaError::Failed { failure, left: Vec::new() });
    DomainError::Snapshot { act: "take", name: Arc::clone(name), snapshot: snapshot.to_owned(), source }
}

/// Settles a snapshot that an earlier daemon left in its midst.
pub(super) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) {
    let name = entry.name();
    let Ok(plan) = serde_json::from_value::<Plan>(open.saved) else {
        tracing::error!(domain = %name, "the note of an unfinished snapshot is unreadable");
        return;
    };
    let mut taking = Taking::new(shared, entry, plan, None);
    taking.find_running().await;
    if let Some(socket) = taking.plan.socket.clone().filter(|_| taking.running.is_some()) {
        let _ = quiesce::thaw(shared, &socket, &name).await;
        taking.thawed = true;
    }
    let is_inside = matches!(taking.plan.way, Way::Inside | Way::Images) && taking.running.is_none();
    let mend = if is_inside { Some(mending::note(shared, entry, taking.plan.images()).await) } else { None };
    let direction = if taking.is_past_return().await { Direction::On } else { Direction::Back };
    let (steps, mut log, cancel) = (steps(&taking.plan), open.log, CancellationToken::new());
    match saga::resume(&steps, &mut taking, &mut log, open.position, direction, &cancel).await {
        Ok(()) => {
            tracing::info!(domain = %name, snapshot = taking.plan.snapshot, "an unfinished snapshot was finished");
        }
        Err(error) => {
            tracing::info!(domain = %name, snapshot = taking.plan.snapshot, why = %chain(&error), "an unfinished snapshot was taken back");
        }
    }
    if let Some(mend) = mend {
        mending::begin(shared, entry.id, mend);
    }
    taking.settle_documents(entry).await;
}
