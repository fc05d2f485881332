//! `virsh undefine`: what goes with a domain, and its going.
//!
//! First everything is listed and refused if something stands against it; then the list is noted, and only then
//! files go, the definition first: from there on the act can only go forward, also by a next daemon.
//! A running guest goes on and becomes transient. Deliberately absent: undo; nothing brings deleted files back.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::Request;
use lodge_store::saga::{self, CancellationToken, Context, Direction, Failure, OpenSaga, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::{Begin, Ended, Reply, ended};
use crate::define::{blocking, parse_inactive};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::options::{DoomedFile, KeptFile, UndefineOptions, Undefined};
use crate::owner::Owner;
use crate::start::{file_failure, remove_file};
use crate::{save, tpm};

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-undefine";

/// What is to go; saved with the saga.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Plan {
    name: String,
    managed_save: Option<PathBuf>,
    nvram: Option<PathBuf>,
    #[serde(default)]
    tpm: Option<tpm::State>,
    /// The seed's files; the port knows how to forget them.
    seed: Vec<PathBuf>,
    disks: Vec<(String, PathBuf)>,
    /// Disks that stay, and why.
    kept: Vec<(PathBuf, String)>,
    /// What is known of its snapshots goes.
    #[serde(default)]
    snapshots: Vec<PathBuf>,
}

/// `virsh undefine`.
pub(crate) fn undefine(owner: &mut Owner, options: UndefineOptions) -> Begin {
    if let Err(error) = owner.admit("undefine", Request::Undefine) {
        return Begin::Now(Err(error));
    }
    if !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "undefine", name: owner.name() }));
    }
    let (shared, entry, active) = (Arc::clone(&owner.shared), Arc::clone(&owner.entry), owner.vmm.is_some());
    Begin::job(async move {
        match remove(&shared, &entry, options, active).await {
            Ok((report, true)) => ended(move |owner| {
                owner.is_undefined();
                Ok(Reply::Undefined(report))
            }),
            Ok((report, false)) => ended(move |_| Ok(Reply::Undefined(report))),
            Err(error) => ended(move |_| Err(error)),
        }
    })
}

impl Owner {
    fn is_undefined(&mut self) {
        self.set_documents(|documents| documents.inactive = None);
        self.amend_snapshot(|snapshot| {
            snapshot.autostart = false;
            snapshot.managed_save = false;
            snapshot.bad_edit = None;
        });
        self.note_transience();
        if self.vmm.is_none() {
            self.forget_snapshots();
        }
        self.vanished = self.vmm.is_none();
        tracing::info!(domain = %self.name(), "domain undefined");
        self.shared.publish(&self.entry, EventKind::Lifecycle(Lifecycle::Undefined, 0));
    }
}

/// `Ok((report, done))`: a dry run is not done.
async fn remove(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    options: UndefineOptions,
    active: bool,
) -> Result<(Undefined, bool), DomainError> {
    let plan = make_plan(shared, entry, options, active).await?;
    let report = report(shared, &plan);
    if options.dry_run {
        return Ok((report, false));
    }
    let name = entry.name();
    let mut going = Going { shared: Arc::clone(shared), entry: Arc::clone(entry), plan };
    let db = shared.config.store.db();
    let log = saga::begin(db, SAGA, &entry.id.to_string(), None, &going).await;
    let mut log = log.map_err(|source| DomainError::Db { name, source })?;
    let done = saga::drive(&steps(), &mut going, &mut log, &CancellationToken::new()).await;
    done.map_err(|error| DomainError::File {
        act: "remove the definition",
        path: shared.config.store.domains().path(&entry.name()),
        source: std::io::Error::other(chain(&error)),
    })?;
    let kept = going.plan.kept.iter().map(|(path, why)| KeptFile { path: path.clone(), why: why.clone() });
    let kept: Vec<_> = kept.collect();
    let files =
        report.files.into_iter().filter(|file| !kept.iter().any(|kept| kept.path == file.path)).collect();
    Ok((Undefined { files, kept }, true))
}

async fn make_plan(
    shared: &Shared,
    entry: &Entry,
    options: UndefineOptions,
    active: bool,
) -> Result<Plan, DomainError> {
    let name = entry.name();
    let encumbered = |what, hint| DomainError::Encumbered { name: Arc::clone(&name), what, hint };
    let definition = parse_inactive(entry)?.unwrap_or_default();
    let mut plan = Plan { name: name.to_string(), ..Plan::default() };
    let saved = save::managed_path(shared, &name);
    if saved.exists() {
        if !options.managed_save && !options.dry_run {
            return Err(encumbered(
                "a managed save image",
                "add --managed-save to throw it away, or start the guest first",
            ));
        }
        plan.managed_save = Some(saved).filter(|_| options.managed_save);
    }
    if let Some(nvram) = nvram_of(&definition).filter(|nvram| nvram.exists()) {
        if !options.nvram && !options.keep_nvram && !options.dry_run {
            return Err(encumbered("UEFI variables", "add --nvram to remove them, or --keep-nvram"));
        }
        plan.nvram = Some(nvram).filter(|_| options.nvram);
    }
    // Of a running guest it goes when that stops, being transient then.
    if !active
        && tpm::emulated(&definition).is_some_and(|(_, tpm)| tpm::goes(tpm, options.tpm, options.keep_tpm))
    {
        let state = tpm::State::of(shared.config.store.root(), entry.id, &definition);
        plan.tpm = state.filter(|state| state.path().exists());
    }
    let port = |act| {
        let name = Arc::clone(&name);
        move |source| DomainError::Port { act, name, source }
    };
    let snapshots = entry.snapshots.load_full();
    if !snapshots.is_empty() {
        // Those of a running guest stay with it.
        if !options.snapshots_metadata && !options.dry_run && !active {
            return Err(DomainError::HasSnapshots { name: Arc::clone(&name), count: snapshots.len() });
        }
        if options.snapshots_metadata && !active {
            let dir = shared.config.store.snapshots().dir(&name);
            plan.snapshots = snapshots.names().map(|name| dir.join(format!("{name}.xml"))).collect();
        }
    }
    plan.seed = shared.ports.seeds.files_of(entry.id).await.map_err(port("list the seed's files"))?;
    if options.remove_all_storage {
        if active && !options.dry_run {
            return Err(encumbered("a running guest, so its disks cannot go", "destroy it first"));
        }
        let storage = shared.ports.volumes.storage_of(entry.id, &definition).await;
        for disk in storage.map_err(port("look at the disks"))? {
            match disk.keep {
                None => plan.disks.push((disk.target, disk.path)),
                Some(why) => plan.kept.push((disk.path, why)),
            }
        }
    }
    Ok(plan)
}

fn nvram_of(definition: &Domain) -> Option<PathBuf> {
    definition.os.nvram.as_deref()?.file().map(PathBuf::from)
}

fn report(shared: &Shared, plan: &Plan) -> Undefined {
    let definitions = shared.config.store.domains();
    let doomed = |path: PathBuf, what: &str| DoomedFile { path, what: what.to_owned() };
    let mut files = vec![doomed(definitions.path(&plan.name), "definition")];
    if definitions.autostart(&plan.name) {
        let mark = shared.config.store.root().domains().join("autostart").join(format!("{}.xml", plan.name));
        files.push(doomed(mark, "autostart mark"));
    }
    files.extend(plan.snapshots.iter().cloned().map(|path| doomed(path, "snapshot metadata")));
    files.extend(plan.managed_save.clone().map(|path| doomed(path, "managed save image")));
    files.extend(plan.nvram.clone().map(|path| doomed(path, "nvram")));
    files.extend(plan.tpm.iter().map(|state| doomed(state.path().to_owned(), "TPM")));
    files.extend(plan.seed.iter().cloned().map(|path| doomed(path, "seed")));
    files.extend(plan.disks.iter().map(|(target, path)| doomed(path.clone(), &format!("disk {target}"))));
    let kept =
        plan.kept.iter().map(|(path, why)| KeptFile { path: path.clone(), why: why.clone() }).collect();
    Undefined { files, kept }
}

struct Going {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    plan: Plan,
}

impl Context for Going {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).expect("a plan has string keys only")
    }
}

fn steps() -> Vec<Box<dyn Step<Going>>> {
    vec![Box::new(RemoveDefinition), Box::new(RemoveRest)]
}

/// The definition and its autostart mark. If it cannot go, nothing goes.
struct RemoveDefinition;

#[async_trait]
impl Step<Going> for RemoveDefinition {
    fn name(&self) -> &'static str {
        "remove-definition"
    }

    async fn run(&self, going: &mut Going) -> Result<(), Failure> {
        let (definitions, name) = (going.shared.config.store.domains().clone(), going.plan.name.clone());
        let removed = blocking(move || definitions.remove(&name)).await;
        removed.map(drop).map_err(|error| Failure::of(error.kind(), &error).with_hint(error.hint()))
    }

    async fn undo(&self, going: &mut Going) -> Result<(), Failure> {
        // The text is still known here: an undefine that failed leaves the domain defined.
        let Some(text) = going.entry.documents.load().inactive.clone() else { return Ok(()) };
        let (definitions, name) = (going.shared.config.store.domains().clone(), going.plan.name.clone());
        let put = blocking(move || definitions.put(&name, &text)).await;
        put.map(drop).map_err(|error| Failure::of(error.kind(), &error))
    }
}

/// Everything else. What cannot be removed is told and stays.
struct RemoveRest;

#[async_trait]
impl Step<Going> for RemoveRest {
    fn name(&self) -> &'static str {
        "remove-files"
    }

    async fn run(&self, going: &mut Going) -> Result<(), Failure> {
        let mut failed: Vec<(PathBuf, String)> = Vec::new();
        for path in [going.plan.managed_save.clone(), going.plan.nvram.clone()].into_iter().flatten() {
            if let Err(error) = remove_file(path.clone()).await {
                failed.push((path.clone(), file_failure("remove", &path, &error).message));
            }
        }
        if let Some(state) = going.plan.tpm.clone() {
            let path = state.path().to_owned();
            if let Err(error) = blocking(move || state.remove()).await {
                failed.push((path.clone(), file_failure("remove", &path, &error).message));
            }
        }
        if !going.plan.snapshots.is_empty() {
            let (files, name) = (going.shared.config.store.snapshots(), going.plan.name.clone());
            if let Err(error) = blocking(move || files.remove_all(&name)).await {
                failed.extend(going.plan.snapshots.iter().map(|path| (path.clone(), chain(&error))));
            }
        }
        if let Err(error) = going.shared.ports.seeds.forget(going.entry.id).await {
            failed.extend(going.plan.seed.iter().map(|path| (path.clone(), chain(&error))));
        }
        for (_, path) in &going.plan.disks {
            if let Err(error) = going.shared.ports.volumes.delete(going.entry.id, path.as_path()).await {
                failed.push((path.clone(), chain(&error)));
            }
        }
        for (path, why) in &failed {
            tracing::error!(domain = going.plan.name, path = %path.display(), why, "a file of an undefined domain was not removed");
        }
        going.plan.kept.extend(failed);
        Ok(())
    }

    async fn undo(&self, _going: &mut Going) -> Result<(), Failure> {
        Ok(())
    }
}

/// Finishes an undefine that an earlier daemon left. `None`: the guest may still run; look for it.
pub(crate) async fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>, open: OpenSaga) -> Option<Ended> {
    let plan = serde_json::from_value(open.saved)
        .unwrap_or_else(|_| Plan { name: entry.name().to_string(), ..Plan::default() });
    let mut going = Going { shared: Arc::clone(shared), entry: Arc::clone(entry), plan };
    let (mut log, cancel) = (open.log, CancellationToken::new());
    match saga::resume(&steps(), &mut going, &mut log, open.position, Direction::On, &cancel).await {
        Ok(()) => {
            let mut documents = crate::index::Documents::clone(&entry.documents.load());
            documents.inactive = None;
            entry.documents.store(Arc::new(documents));
        }
        Err(error) => {
            tracing::error!(domain = %entry.name(), error = %chain(&error), "an unfinished undefine was taken back");
        }
    }
    None
}
