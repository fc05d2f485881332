//! Use cases of clones: other machines made of a guest that is off, or of a template.
//!
//! ```text
//! source ─▶ plan, one per clone: names, ids, addresses, files (pure but for what is taken already)
//!        ─▶ saga, one per clone, some at once: disks · variables · what lies inside · seed · book · define
//! ```
//!
//! A clone is whole or gone: its saga is noted before anything is made, and a daemon that finds one open takes it back.
//! The source is read and never written; one that runs writes beside its disks for as long as these are copied.

mod address;
pub(crate) mod document;
pub(crate) mod live;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod reserve;
mod seed;
mod settle;
pub(crate) mod source;
pub(crate) mod steps;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod trials;
pub(crate) mod unsettled;

use std::time::Instant;

use futures_util::StreamExt;
use lodge_api::{CloneReport, CloneSpec, ClonedGuest, DestroyOptions, Job, StartOptions, UndefineOptions};
use lodge_model::{DomainId, Kind};
use tokio_util::sync::CancellationToken;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    job::JobHandle,
};
use plan::Plan;
use source::Source;

/// Clones that are made at the same time: what one waits for (the disk, the database) another uses.
const AT_ONCE: usize = 4;
/// Clones of one call.
const MOST: u32 = 1000;
/// The job's kind.
const CLONE: &str = "guest.clone";

impl Engine {
    /// Makes clones; the job's result is a `CloneReport`.
    #[crate::boxed]
    pub async fn clone_guest(&self, caller: &Caller, spec: CloneSpec) -> Result<Job> {
        caller.may_change()?;
        if let Some(count) = spec.count.filter(|count| *count == 0 || *count > MOST) {
            return Err(EngineError::new(Kind::InvalidInput, format!("{count} is no number of clones"))
                .with_hint(format!("from 1 to {MOST} are made at once")));
        }
        // What is wrong with the wish is told at once, and not by a job.
        let source = self.clone_source(&spec).await?;
        let spec = CloneSpec { source: source.said(), ..spec };
        let (engine, subject, owner) = (self.clone(), spec.name.clone(), caller.clone());
        let act = |job: JobHandle| async move {
            let report = engine.make_clones(&owner, &job, &source, &spec).await?;
            Ok(serde_json::to_value(report).unwrap_or_default())
        };
        self.jobs.begin(caller, CLONE, &subject, act).await
    }

    pub(crate) async fn make_clones(
        &self,
        caller: &Caller,
        job: &JobHandle,
        source: &Source,
        spec: &CloneSpec,
    ) -> Result<CloneReport> {
        job.tell("planning", None, &source.said());
        let (plans, _reserved) = self.plan_clones(caller, source, spec).await?;
        let report = |guests| CloneReport { source: source.said(), guests };
        if spec.dry_run {
            return Ok(report(plans.iter().map(Plan::told).collect()));
        }
        for plan in &plans {
            if let Some(replaced) = plan.replaces {
                self.make_way(caller, job, replaced).await?;
            }
        }
        let count = plans.len();
        let stop = job.cancel.child_token();
        let making = plans.into_iter().map(|plan| self.make_clone(plan, spec, &stop));
        // A running source's disks are frozen for one clone at a time.
        let at_once = if source.live.is_some() { 1 } else { AT_ONCE };
        let mut making = futures_util::stream::iter(making).buffered(at_once);
        let mut made: Vec<ClonedGuest> = Vec::new();
        job.tell("cloning", Some(0.0), "");
        let mut failed = None;
        while let Some(outcome) = making.next().await {
            match outcome {
                Ok(guest) => made.push(guest),
                // Those under way are taken back, and no other is made.
                Err(error) => {
                    failed.get_or_insert(error);
                    stop.cancel();
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
            let fraction = made.len() as f64 / count.max(1) as f64;
            job.tell("cloning", Some(fraction), &format!("{} of {count}", made.len()));
        }
        match failed {
            None => Ok(report(made)),
            Some(error) if made.is_empty() => Err(error),
            Some(error) => {
                let names: Vec<&str> = made.iter().map(|guest| guest.name.as_str()).collect();
                let left = format!("{} of {count} were made and stay: {}", made.len(), names.join(", "));
                Err(EngineError::of(error.kind(), Some(left), error))
            }
        }
    }

    /// Stops and undefines the domain that a clone is to replace. Its disks stay.
    async fn make_way(&self, caller: &Caller, job: &JobHandle, replaced: DomainId) -> Result<()> {
        // Of a domain that another removed meanwhile nothing is left to do.
        let Ok(handle) = self.domains.get(replaced) else { return Ok(()) };
        let name = handle.name().to_string();
        job.tell("replacing", None, &name);
        if handle.snapshot().is_active() {
            self.destroy_domain(caller, &replaced.to_string(), DestroyOptions::default()).await?;
        }
        let options = UndefineOptions { nvram: true, ..UndefineOptions::default() };
        match self.undefine_domain(caller, &replaced.to_string(), options).await {
            Ok(_) => Ok(()),
            // It was transient.
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => {
                let text = format!("the domain `{name}` could not be removed before its name is another's");
                Err(EngineError::new(error.kind(), format!("{text}: {error}"))
                    .with_hint(format!("remove it as it should be: lodge undefine {name} --help")))
            }
        }
    }

    async fn make_clone(
        &self,
        plan: Plan,
        spec: &CloneSpec,
        stop: &CancellationToken,
    ) -> Result<ClonedGuest> {
        let began = Instant::now();
        let name = plan.name.clone();
        let (id, has_memory) = (plan.id, plan.memory().is_some());
        let mut guest = steps::make(&self.clone_parts(), plan, stop).await?;
        self.feed.publish("domain.cloned", name.clone(), serde_json::json!({ "source": guest.source }));
        if has_memory {
            if !spec.no_start {
                self.settle_clone(&mut guest.view, id).await?;
            }
        } else if spec.start {
            let options = StartOptions::default();
            self.start_domain(&Caller::daemon(), &name, options).await.map_err(|error| {
                let text = format!("the clone `{name}` was made and did not start: {error}");
                EngineError::new(error.kind(), text).with_hint(format!("`lodge start {name}` tries again"))
            })?;
        }
        guest.view.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(guest.view)
    }

    /// What making a clone needs of the house.
    pub(crate) fn clone_parts(&self) -> steps::Parts {
        steps::Parts {
            store: self.store.clone(),
            storage: self.storage.clone(),
            pools: self.pools.clone(),
            domains: self.domains.clone(),
            inside: self.inside.clone(),
        }
    }
}
