//! What a machine is known by: read from its disks while it is off, told by its agent while it runs.

use std::{path::PathBuf, time::Duration};

use lodge_api::{
    IdentityDiff, IdentityDiffQuery, IdentityItem, IdentityPair, IdentityView, Learnt, SubjectKind,
};
use lodge_domain::Handle;
use lodge_identity::{self as catalogue, HostFacts, Identity, Item, State};
use lodge_model::{
    domain::Domain,
    guest_disk::{Files, Layout},
};
use lodge_storage::{DiskUse, Format};

use super::{
    cache,
    facts::{Leases, given},
    inside::{GuestDisk, Reading, to_fill},
    running,
};
use crate::{
    Caller, Engine,
    error::Result,
    template::{Template, no_template},
};

/// How long the agent may take for all it is asked, on bare hardware.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine that can be looked at.
pub(super) enum Subject {
    Guest(Handle),
    Template(Box<Template>),
    Image { name: String, path: PathBuf, format: Format },
}

/// What was seen of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looked {
    pub name: String,
    pub kind: SubjectKind,
    pub learnt: Learnt,
    /// Inside and of the host.
    pub identity: Identity,
    pub gaps: Vec<String>,
}

impl Engine {
    /// What a domain or template is known by.
    #[crate::boxed]
    pub async fn identity(&self, caller: &Caller, subject: &str) -> Result<IdentityView> {
        // What lies on guests' disks is not for those who may only look at the host.
        caller.may_change()?;
        let subject = self.identity_subject(subject).await?;
        let mut view = self.look_into(&subject, false, None).await.view();
        if let Subject::Guest(handle) = &subject {
            view.unfinished = self.unfinished(handle).await;
        }
        Ok(view)
    }

    /// Two machines beside each other.
    #[crate::boxed]
    pub async fn identity_diff(&self, caller: &Caller, query: &IdentityDiffQuery) -> Result<IdentityDiff> {
        caller.may_change()?;
        let (one, other) =
            (self.identity_subject(&query.one).await?, self.identity_subject(&query.other).await?);
        let (one, other) =
            (self.look_into(&one, false, None).await, self.look_into(&other, false, None).await);
        let mut diff = IdentityDiff {
            one: one.name.clone(),
            other: other.name.clone(),
            gaps: one.gaps.iter().chain(&other.gaps).cloned().collect(),
            ..IdentityDiff::default()
        };
        for found in catalogue::diff(&one.identity, &other.identity) {
            let value = |side: Option<(State, Option<String>)>| {
                side.map(|(state, value)| value.unwrap_or_else(|| format!("({})", state_word(state))))
            };
            let pair = IdentityPair {
                item: found.kind.to_string(),
                place: found.place,
                one: value(found.left),
                other: value(found.right),
            };
            if found.is_clash { diff.alike.push(pair) } else { diff.different.push(pair) }
        }
        Ok(diff)
    }

    pub(super) async fn identity_subject(&self, wanted: &str) -> Result<Subject> {
        if let Ok(handle) = self.domains.find(wanted) {
            return Ok(Subject::Guest(handle));
        }
        match self.find_template(wanted).await? {
            Some(template) => Ok(Subject::Template(Box::new(template))),
            None => match self.find_domain(wanted) {
                Ok(handle) => Ok(Subject::Guest(handle)),
                Err(error) if wanted.contains(':') => {
                    drop(error);
                    Err(no_template(wanted))
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Looks at a machine. What cannot be looked at is a gap, never a failure: the rest is known all the same.
    pub(super) async fn look_into(&self, subject: &Subject, fresh: bool, leases: Option<&Leases>) -> Looked {
        match subject {
            Subject::Guest(handle) => self.look_into_guest(handle, fresh, leases).await,
            Subject::Template(template) => self.look_into_template(template, fresh).await,
            Subject::Image { name, path, format } => {
                let disk = GuestDisk {
                    target: "vda".to_owned(),
                    path: path.clone(),
                    format: *format,
                    is_encrypted: false,
                };
                let mut looked = Looked { name: name.clone(), kind: SubjectKind::Image, ..Looked::default() };
                self.read_disks(&format!("image:{name}"), &[disk], fresh, &mut looked).await;
                looked
            }
        }
    }

    async fn look_into_guest(&self, handle: &Handle, fresh: bool, leases: Option<&Leases>) -> Looked {
        let facts = self.facts_of(handle, leases).await;
        let mut looked = Looked { name: handle.name().to_string(), ..Looked::default() };
        if handle.snapshot().is_active() {
            self.ask_agent(handle, &mut looked).await;
        } else {
            match handle.document() {
                Ok(document) => {
                    let disks = self.disks_inside(&document, &mut looked.gaps);
                    self.read_disks(&guest_subject(handle), &disks, fresh, &mut looked).await;
                }
                Err(error) => looked.gaps.push(error.to_string()),
            }
        }
        looked.add_host(&facts, &self.inside);
        looked
    }

    async fn look_into_template(&self, template: &Template, fresh: bool) -> Looked {
        let mut looked = Looked { name: template.said(), kind: SubjectKind::Template, ..Looked::default() };
        let disk = |disk: &crate::template::TemplateDisk| {
            let format = disk.format.parse().unwrap_or(Format::Qcow2);
            GuestDisk { target: disk.target.clone(), path: disk.path.clone(), format, is_encrypted: false }
        };
        let disks: Vec<GuestDisk> = template.disks.iter().map(disk).collect();
        self.read_disks(&format!("template:{}", template.said()), &disks, fresh, &mut looked).await;
        if let Ok(document) = Domain::parse(&template.document) {
            looked.add_host(&HostFacts { smbios_uuid: None, ..given(&document) }, &self.inside);
        }
        looked
    }

    /// The disks of a document that a guest's system may lie on.
    pub(crate) fn disks_inside(&self, document: &Domain, gaps: &mut Vec<String>) -> Vec<GuestDisk> {
        let place = |pool: &str, volume: &str| self.pools.path_of(pool, volume);
        let uses = match DiskUse::of(document, &place) {
            Ok(uses) => uses,
            Err(error) => {
                gaps.push(error.to_string());
                return Vec::new();
            }
        };
        let mut disks = Vec::new();
        for (disk, found) in document.devices.disks.iter().zip(uses) {
            if found.read_only {
                continue;
            }
            match found.path {
                Some(path) => disks.push(GuestDisk {
                    target: found.target,
                    path,
                    format: found.format,
                    is_encrypted: disk.encryption_trees().iter().any(Option::is_some),
                }),
                None if disk.source.is_some() => {
                    gaps.push(format!("disk {}: it is no file of this host", disk.target.dev));
                }
                None => {}
            }
        }
        disks
    }

    async fn read_disks(&self, subject: &str, disks: &[GuestDisk], fresh: bool, looked: &mut Looked) {
        if disks.is_empty() {
            return;
        }
        // Another catalogue reads other things in the same bytes.
        let rules = self.inside.catalogue().print();
        let whole = |print: String| format!("{print};rules {rules}");
        let print = cache::print(&self.storage, disks).await.map(whole);
        if let Some(print) = print.as_deref().filter(|_| !fresh)
            && let Some(known) = cache::known(self.store.db(), subject, print).await
        {
            looked.learnt = Learnt::Cache;
            looked.identity = known.identity;
            looked.gaps.extend(known.gaps);
            return;
        }
        match self.inside.read(disks).await {
            Ok(Reading { identity, gaps, .. }) => {
                looked.learnt = Learnt::Disk;
                // Kept only if nobody wrote to the disks meanwhile.
                let after = cache::print(&self.storage, disks).await.map(whole);
                if let Some(print) = print.filter(|print| after.as_deref() == Some(print)) {
                    let known = cache::Known { identity: identity.clone(), gaps: gaps.clone() };
                    cache::keep(self.store.db(), subject, &print, &known).await;
                }
                looked.identity = identity;
                looked.gaps.extend(gaps);
            }
            Err(error) => looked.gaps.push(format!("its disks: {}", crate::error::chain_of(&error))),
        }
    }

    async fn ask_agent(&self, handle: &Handle, looked: &mut Looked) {
        let guest = self.look_at(handle.clone());
        let agent = match guest.agent() {
            Ok(agent) => agent,
            Err(refusal) => {
                looked.gaps.push(format!("it runs, and cannot be asked: {refusal}"));
                return;
            }
        };
        let wanted = self.inside.catalogue().wanted_to_look();
        let patience = self.accelerator.speed.scale(PATIENCE);
        match running::read(agent.inner(), &wanted, patience).await {
            Ok(files) => {
                looked.learnt = Learnt::Agent;
                looked.gaps.extend(files.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.why)));
                looked.identity =
                    self.inside.catalogue().read(&Layout::default(), &files, &HostFacts::default());
                let told = cache::Known { identity: looked.identity.clone(), gaps: Vec::new() };
                cache::keep(self.store.db(), &told_subject(&handle.id()), "", &told).await;
            }
            Err(error) => looked.gaps.push(format!("its agent: {error}")),
        }
    }
}

/// What a guest's readings are kept under.
pub(super) fn guest_subject(handle: &Handle) -> String {
    format!("domain:{}", handle.id())
}

/// What a guest told of itself while it ran is kept under, for lists alone: no start is judged by a guest's word.
pub(super) fn told_subject(id: &dyn std::fmt::Display) -> String {
    format!("agent:{id}")
}

impl Looked {
    /// Adds what the host gives it.
    pub(super) fn add_host(&mut self, facts: &HostFacts, inside: &super::inside::Inside) {
        let host = inside.catalogue().read(&Layout::default(), &Files::default(), facts);
        self.identity.items.extend(host.items.into_iter().filter(|item| item.place.starts_with("host")));
    }

    fn view(self) -> IdentityView {
        IdentityView {
            machine_id: catalogue::machine_id(&self.identity).map(str::to_owned),
            system: self.identity.system.name.clone(),
            to_fill: to_fill(&self.identity, self.kind != SubjectKind::Domain),
            items: self.identity.items.into_iter().map(item).collect(),
            subject: self.name,
            kind: self.kind,
            learnt: self.learnt,
            gaps: self.gaps,
            unfinished: None,
        }
    }
}

fn item(item: Item) -> IdentityItem {
    IdentityItem {
        item: item.kind.to_string(),
        place: item.place,
        state: state_word(item.state).to_owned(),
        value: item.value,
        note: item.note,
        is_unique: item.is_unique,
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Present => "present",
        State::Empty => "empty",
        State::Missing => "missing",
        State::Unreadable => "unreadable",
        State::Unknown => "unknown",
    }
}
