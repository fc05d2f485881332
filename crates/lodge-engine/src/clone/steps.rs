//! The saga that makes one clone or one version of a template.
//!
//! ```text
//! guest:    disks ▸ variables ▸ inside ▸ seed ▸ book ▸ define
//! running:  freeze ▸ disks ▸ variables ▸ memory ▸ release ▸ inside ▸ seed ▸ book ▸ note ▸ define
//! template: disks ▸ variables ▸ inside ▸ protect ▸ book ▸ register
//! ```
//!
//! The last step makes it known, so nobody meets a half-made one. Every file's path was free when the saga was planned: what
//! lies there after a crash is the saga's own, and goes when it goes back. What another has put there meanwhile is met by the
//! step, which fails and notes it as foreign: it stays.

mod files;
mod known;
mod source;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use lodge_api::{ClonedGuest, InsideState};
use lodge_domain::Domains;
use lodge_model::Kind;
use lodge_storage::{Pools, Storage};
use lodge_store::{
    Store,
    saga::{self, Context, Direction, Failure, OpenSaga, SagaError, Step},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::{
    Engine,
    error::{EngineError, Result},
    identity::inside::Inside,
};

/// The sagas' kinds.
pub(crate) const CLONE: &str = "guest-clone";
pub(crate) const TEMPLATE: &str = "template-create";

/// What making one needs of the house.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub store: Store,
    pub storage: Storage,
    pub pools: Pools,
    pub domains: Domains,
    pub inside: Inside,
}

/// One that is being made.
#[derive(Debug)]
pub(crate) struct Making {
    pub parts: Parts,
    pub plan: Plan,
    pub stop: CancellationToken,
    /// Files that it has made.
    pub made: HashSet<PathBuf>,
    /// An earlier daemon began it, so `made` does not know all.
    pub is_taken_up: bool,
}

impl Making {
    pub fn new(parts: &Parts, plan: Plan, stop: &CancellationToken) -> Self {
        Self { parts: parts.clone(), plan, stop: stop.clone(), made: HashSet::new(), is_taken_up: false }
    }

    pub fn taken_up(parts: &Parts, plan: Plan, stop: &CancellationToken) -> Self {
        Self { is_taken_up: true, ..Self::new(parts, plan, stop) }
    }

    /// Whether a file is still to be made; refused where another has made one there since it was planned.
    pub fn is_to_make(&mut self, path: &Path) -> std::result::Result<bool, Failure> {
        if path.symlink_metadata().is_err() {
            return Ok(true);
        }
        if self.is_taken_up || self.made.contains(path) {
            return Ok(false);
        }
        self.plan.foreign.push(path.to_owned());
        let text = format!("the file `{}` was made by another meanwhile", path.display());
        Err(Failure::new(Kind::Exists, text).with_hint("choose another name".to_owned()))
    }

    /// Whether a file goes when the saga goes back.
    pub fn is_own(&self, path: &Path) -> bool {
        !self.plan.foreign.iter().any(|foreign| foreign == path)
    }
}

impl Context for Making {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).unwrap_or_default()
    }
}

/// One that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub view: ClonedGuest,
    pub source: String,
}

/// The steps of a plan; `is_live`: its source runs.
pub(crate) fn steps(is_template: bool, is_live: bool) -> Vec<Box<dyn Step<Making>>> {
    let mut steps: Vec<Box<dyn Step<Making>>> = Vec::new();
    if is_live {
        steps.push(Box::new(source::FreezeSource));
    }
    steps.push(Box::new(files::MakeDisks));
    steps.push(Box::new(files::CopyVariables));
    if is_live {
        steps.push(Box::new(source::KeepMemory));
        steps.push(Box::new(source::ReleaseSource));
    }
    steps.push(Box::new(files::ChangeInside));
    if is_template {
        steps.push(Box::new(known::ProtectDisks));
        steps.push(Box::new(known::WriteBook));
        steps.push(Box::new(known::RegisterTemplate));
    } else {
        steps.push(Box::new(known::GiveSeed));
        steps.push(Box::new(known::WriteBook));
        if is_live {
            steps.push(Box::new(known::NoteUnsettled));
        }
        steps.push(Box::new(known::DefineGuest));
    }
    steps
}

/// Makes it, whole or not at all.
pub(crate) async fn make(parts: &Parts, plan: Plan, stop: &CancellationToken) -> Result<Made> {
    let is_template = plan.version.is_some();
    let kind = if is_template { TEMPLATE } else { CLONE };
    let mut making = Making::new(parts, plan, stop);
    let subject = making.plan.id.to_string();
    let mut log = saga::begin(parts.store.db(), kind, &subject, None, &making).await?;
    let steps = steps(is_template, making.plan.live.is_some());
    saga::drive(&steps, &mut making, &mut log, stop).await.map_err(|error| told(&error))?;
    let plan = making.plan;
    for warning in plan.done.iter().flat_map(|done| &done.warnings) {
        tracing::warn!(name = %plan.name, warning, "not all of the identity inside was changed");
    }
    let mut view = plan.told();
    if plan.done.is_none() {
        view.inside = InsideState::NotReset;
    }
    Ok(Made { source: plan.source.clone(), view: ClonedGuest { document: None, ..view } })
}

fn told(error: &SagaError) -> EngineError {
    for left in error.left() {
        tracing::error!(step = left.step, error = left.message, "not taken back");
    }
    let told = EngineError::new(error.kind(), error.to_string());
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

impl Engine {
    /// Takes back what an earlier daemon was making when it ended.
    pub(crate) async fn undo_cut_clones(&self) {
        let open = match saga::open_sagas(self.store.db()).await {
            Ok(open) => open,
            Err(error) => return tracing::error!(%error, "clones that were cut off not looked for"),
        };
        for saga in open {
            match saga.kind.as_str() {
                // Its source may have to write much to be as it was: nobody waits for that.
                CLONE if saga.saved.get("live").is_some_and(|live| !live.is_null()) => {
                    let parts = self.clone_parts();
                    self.spawn(async move { undo_cut(&parts, saga).await });
                }
                CLONE | TEMPLATE => undo_cut(&self.clone_parts(), saga).await,
                crate::template::REMOVE => self.end_cut_removal(saga).await,
                _ => {}
            }
        }
    }
}

/// Takes back one of them.
pub(crate) async fn undo_cut(parts: &Parts, saga: OpenSaga) {
    let OpenSaga { kind, subject, position, saved, mut log, .. } = saga;
    let plan: Plan = match serde_json::from_value(saved) {
        Ok(plan) => plan,
        Err(error) => return tracing::error!(kind, subject, %error, "a cut off saga cannot be read"),
    };
    let name = plan.name.clone();
    let stop = CancellationToken::new();
    let mut making = Making::taken_up(parts, plan, &stop);
    let steps = steps(kind == TEMPLATE, making.plan.live.is_some());
    match saga::resume(&steps, &mut making, &mut log, position, Direction::Back, &stop).await {
        Err(error) if error.left().is_empty() => tracing::info!(kind, name, "cut off, and taken back"),
        Err(error) => tracing::error!(kind, name, %error, "cut off, and not wholly taken back"),
        Ok(()) => {}
    }
}

/// A step's failure in the words of whoever failed.
pub(crate) fn failed(error: impl Into<EngineError>) -> Failure {
    let error: EngineError = error.into();
    Failure::of(error.kind(), &error).with_hint(error.hint().map(str::to_owned))
}

fn file_failure(act: &str, path: &Path, error: &std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        _ => Kind::Internal,
    };
    Failure::new(kind, format!("cannot {act} `{}`: {error}", path.display()))
}
