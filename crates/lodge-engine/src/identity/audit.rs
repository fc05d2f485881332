//! Every machine beside every other: guests, templates, images, containers, leases, neighbours; what more than one has.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use futures_util::StreamExt as _;
use lodge_api::{AuditReport, DuplicateHolder, DuplicateView, IdentityAudit, Job, Learnt, SubjectKind};
use lodge_identity::{self as catalogue, Identity, Kind as Item};
use lodge_model::MacAddr;

use super::look::{Looked, Subject, guest_subject, told_subject};
use crate::{Caller, Engine, error::Result, job::JobHandle, template::Template};

/// A look under way.
type Look<'a> = Pin<Box<dyn Future<Output = Looked> + Send + 'a>>;

/// Machines that are looked at at the same time.
pub(super) const AT_ONCE: usize = 4;

impl Engine {
    /// Looks for what more than one machine has; the job's result is an `AuditReport`.
    #[crate::boxed]
    pub async fn audit_identities(&self, caller: &Caller, audit: IdentityAudit) -> Result<Job> {
        // It changes nothing, but readings are kept and disks are read: not for those who only look at the host.
        caller.may_change()?;
        let engine = self.clone();
        let act = |job: JobHandle| async move {
            let report = engine.audit_here(&job, audit).await?;
            Ok(serde_json::to_value(report).unwrap_or_default())
        };
        self.jobs.begin(caller, "identity.audit", "all machines", act).await
    }

    async fn audit_here(&self, job: &JobHandle, audit: IdentityAudit) -> Result<AuditReport> {
        let began = Instant::now();
        let subjects = self.all_subjects().await?;
        let count = subjects.len();
        let mut gaps: Vec<String> = Vec::new();
        let leases = self.all_leases(&mut gaps).await;
        let mut looks: Vec<Look<'_>> = Vec::with_capacity(count);
        for subject in &subjects {
            looks.push(Box::pin(self.look_into(subject, audit.fresh, Some(&leases))));
        }
        let mut looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
        let mut looked: Vec<Looked> = Vec::with_capacity(count);
        while let Some(one) = looks.next().await {
            looked.push(one);
            #[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
            let fraction = looked.len() as f64 / count.max(1) as f64;
            job.tell("looking", Some(fraction), &format!("{} of {count}", looked.len()));
            if job.cancel.is_cancelled() {
                break;
            }
        }
        drop(looks);
        self.forget_readings(&subjects).await;
        let cached = looked.iter().filter(|one| one.learnt == Learnt::Cache).count();
        for one in &looked {
            gaps.extend(one.gaps.iter().map(|gap| format!("{}: {gap}", one.name)));
        }
        let mut machines: Vec<(String, Identity)> = looked.into_iter().map(named).collect();
        machines.extend(self.containers(job, &mut gaps).await);
        machines.extend(self.strangers(&leases, &mut gaps).await);
        let duplicates = catalogue::duplicates(&machines).into_iter().map(view).collect();
        Ok(AuditReport {
            machines: u32::try_from(machines.len()).unwrap_or(u32::MAX),
            cached: u32::try_from(cached).unwrap_or(u32::MAX),
            duplicates,
            gaps,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn all_subjects(&self) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        for snapshot in self.domains.list() {
            // One that went meanwhile is none.
            subjects.extend(self.domains.get(snapshot.id).ok().map(Subject::Guest));
        }
        for row in self.store.db().guest_templates().await? {
            subjects.push(Subject::Template(Box::new(Template::of(row)?)));
        }
        for image in self.storage.images().await? {
            subjects.push(Subject::Image { name: image.name, path: image.path, format: image.format });
        }
        Ok(subjects)
    }

    /// Readings of what is no more.
    async fn forget_readings(&self, subjects: &[Subject]) {
        let told = subjects.iter().filter_map(|subject| match subject {
            Subject::Guest(handle) => Some(told_subject(&handle.id())),
            Subject::Template(_) | Subject::Image { .. } => None,
        });
        let there: HashSet<String> = subjects.iter().map(subject_key).chain(told).collect();
        let db = self.store.db();
        let kept = db.identities().await.unwrap_or_default();
        let gone: Vec<String> = kept
            .into_iter()
            .map(|(subject, ..)| subject)
            .filter(|subject| !there.contains(subject))
            .collect();
        if !gone.is_empty()
            && let Err(error) = db.forget_identities(gone).await
        {
            tracing::warn!(%error, "old readings not forgotten");
        }
    }

    /// The addresses of the guests that run, with their names.
    pub(super) fn running_macs(&self) -> HashMap<MacAddr, Arc<str>> {
        self.macs_where(|active| active)
    }

    pub(super) fn known_macs_of_guests(&self) -> HashMap<MacAddr, Arc<str>> {
        self.macs_where(|_| true)
    }

    fn macs_where(&self, wanted: impl Fn(bool) -> bool) -> HashMap<MacAddr, Arc<str>> {
        let mut found = HashMap::new();
        for snapshot in self.domains.list().into_iter().filter(|snapshot| wanted(snapshot.is_active())) {
            let Ok(handle) = self.domains.get(snapshot.id) else { continue };
            for text in handle.texts().iter().flatten() {
                found.extend(crate::clone::plan::macs_in(text).map(|mac| (mac, Arc::clone(&snapshot.name))));
            }
        }
        found
    }
}

fn subject_key(subject: &Subject) -> String {
    match subject {
        Subject::Guest(handle) => guest_subject(handle),
        Subject::Template(template) => format!("template:{}", template.said()),
        Subject::Image { name, .. } => format!("image:{name}"),
    }
}

/// What a template or an image has and every machine made of it gets anew: no second machine has it.
const RENEWED: [Item; 5] =
    [Item::DISK_ID, Item::PARTITION_ID, Item::CONTENT_UUID, Item::GROUP_UUID, Item::VOLUME_UUID];

fn named(mut looked: Looked) -> (String, Identity) {
    if looked.kind != SubjectKind::Domain {
        looked.identity.items.retain(|item| !RENEWED.contains(&item.kind));
    }
    let name = match looked.kind {
        SubjectKind::Template => format!("template {}", looked.name),
        SubjectKind::Image => format!("image {}", looked.name),
        SubjectKind::Domain | SubjectKind::Lease | SubjectKind::Neighbour => looked.name,
    };
    (name, looked.identity)
}

fn view(duplicate: catalogue::Duplicate) -> DuplicateView {
    let holder = |(subject, place): (String, String)| DuplicateHolder { subject, place };
    DuplicateView {
        item: duplicate.kind.to_string(),
        value: duplicate.value,
        holders: duplicate.who.into_iter().map(holder).collect(),
    }
}
