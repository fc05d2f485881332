//! Use cases of templates: master copies of guests, read-only, by name and version.
//!
//! A template is made of a copy: the guest it was made of stays as it is. Its files belong to nobody and are written by
//! nobody; the graph of files says who stands on them.

mod remove;
mod run;

use std::path::{Path, PathBuf};

use lodge_api::{Job, PrivateKeys, TemplateSpec, TemplateView};
use lodge_model::{
    DomainId, Kind,
    domain::{Domain, copy::NewMachine},
    xml::WriteOptions,
};
use lodge_store::db::templates::TemplateRow;
use serde::{Deserialize, Serialize};

use crate::{
    Caller, Engine,
    clone::{
        place::{How, PlannedDisk, file_name},
        plan::Plan,
        reserve::Reserved,
        source::Source,
        steps,
    },
    error::{EngineError, Result},
    identity::inside::{InsideReport, Wish},
    job::JobHandle,
};

pub(crate) use remove::REMOVE;

/// Longest name, and what it may be made of: it is a part of files' names, and of `NAME:VERSION`.
const NAME_MAX_BYTES: usize = 100;

/// A disk of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TemplateDisk {
    /// Its target.
    pub target: String,
    /// Its file.
    pub path: PathBuf,
    /// `qcow2` or `raw`.
    pub format: String,
}

/// A version of a template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub name: String,
    pub version: u32,
    pub source: String,
    pub document: String,
    pub disks: Vec<TemplateDisk>,
    pub nvram: Option<PathBuf>,
    pub report: InsideReport,
    pub created_ms: i64,
}

impl TemplateDisk {
    pub fn of(disk: &PlannedDisk) -> Self {
        let format = disk.format.as_str().to_owned();
        Self { target: disk.target.clone(), path: disk.to.clone(), format }
    }
}

impl Template {
    pub fn of(row: TemplateRow) -> Result<Self> {
        let disks = serde_json::from_value(row.disks).map_err(|error| {
            let text =
                format!("what is kept of template `{}:{}` cannot be read: {error}", row.name, row.version);
            EngineError::new(Kind::Corrupt, text)
        })?;
        Ok(Self {
            name: row.name,
            version: row.version,
            source: row.source,
            document: row.document,
            disks,
            nvram: row.nvram,
            report: serde_json::from_value(row.details).unwrap_or_default(),
            created_ms: row.created_ms,
        })
    }

    /// `web:2`.
    pub fn said(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

impl Engine {
    /// Makes a template of a guest that is off; the job's result is a `TemplateView`.
    #[crate::boxed]
    pub async fn create_template(&self, caller: &Caller, spec: TemplateSpec) -> Result<Job> {
        caller.may_change()?;
        let source = self.guest_source(&spec.domain).await?;
        let name = spec.name.clone().unwrap_or_else(|| source.origin.name.clone());
        check_name(&name)?;
        let (engine, subject, owner) = (self.clone(), name.clone(), caller.clone());
        let act = |job: JobHandle| async move {
            let view = engine.make_template_of(&owner, &job, &source, (name, &spec)).await?;
            Ok(serde_json::to_value(view).unwrap_or_default())
        };
        self.jobs.begin(caller, "template.create", &subject, act).await
    }

    async fn make_template_of(
        &self,
        caller: &Caller,
        job: &JobHandle,
        source: &Source,
        (name, spec): (String, &TemplateSpec),
    ) -> Result<TemplateView> {
        let mut reserved = self.reservations.open();
        let mut plan = self.plan_template(caller, source, (&name, spec.private_keys), &mut reserved).await?;
        if spec.keep_identity {
            plan.wish = Wish::Keep;
        }
        let version = plan.version;
        job.tell("copying", None, &source.said());
        steps::make(&self.clone_parts(), plan, &job.cancel).await?;
        self.feed.publish("template.created", name.clone(), serde_json::json!({ "version": version }));
        let template = self.store.db().guest_template(&name, version).await?;
        let template = template.map(Template::of).transpose()?.ok_or_else(|| no_template(&name))?;
        self.template_view(template, true).await
    }

    pub(crate) async fn plan_template(
        &self,
        caller: &Caller,
        source: &Source,
        (name, private_keys): (&str, PrivateKeys),
        reserved: &mut Reserved,
    ) -> Result<Plan> {
        let newest = self.store.db().guest_template(name, None).await?.map_or(0, |row| row.version);
        // Beside another act that makes one of this name.
        let mut free = newest + 1..=u32::MAX;
        let version = free.find(|version| reserved.name(&format!("template {name}:{version}")));
        let version = version.unwrap_or(newest + 1);
        let copied = self.disks_to_copy(&source.said(), &source.document, (&[], &[])).await?;
        let stem = format!("{name}-v{version}");
        let mut disks = Vec::new();
        for (at, disk) in copied.iter().enumerate() {
            let to = disk.directory.join(file_name(&stem, at, &disk.target, &disk.path, disk.format));
            if to.symlink_metadata().is_ok() {
                let text = format!("the file `{}` is there already", to.display());
                return Err(EngineError::new(Kind::Exists, text).with_hint("choose another --name"));
            }
            disks.push(PlannedDisk {
                target: disk.target.clone(),
                from: disk.path.clone(),
                from_format: disk.format,
                to,
                format: disk.format,
                how: How::Layer,
                size: None,
                is_encrypted: disk.is_encrypted(),
                encryption: disk.own_encryption(),
                to_read: Vec::new(),
                backing_store: disk.backing_store_of_copy(),
            });
        }
        if disks.is_empty() {
            let text = format!("`{}` has no disk of its own", source.said());
            return Err(EngineError::new(Kind::InvalidInput, text));
        }
        let to = self.store.root().nvram_of(&format!("template-{stem}"));
        let nvram = source.nvram.clone().map(|from| (from, to));
        let (document, warnings) = master(source, name, &disks, nvram.as_ref().map(|(_, to)| to.as_path()));
        Ok(Plan {
            act: uuid::Uuid::new_v4().to_string(),
            name: name.to_owned(),
            id: DomainId::random(),
            version: Some(version),
            source: source.said(),
            caller: format!("uid {}", caller.uid),
            disks,
            shared: Vec::new(),
            nvram,
            document,
            wish: Wish::Template { private_keys },
            seed_of: None,
            seed: None,
            changes: Vec::new(),
            warnings,
            done: None,
            foreign: Vec::new(),
            live: None,
            replaces: None,
            allocates: false,
        })
    }

    /// All versions of all templates.
    #[crate::boxed]
    pub async fn templates(&self, _caller: &Caller) -> Result<Vec<TemplateView>> {
        let mut views: Vec<TemplateView> = Vec::new();
        for row in self.store.db().guest_templates().await? {
            let is_latest = views.last().is_none_or(|last| last.name != row.name);
            views.push(self.template_view(Template::of(row)?, is_latest).await?);
        }
        Ok(views)
    }

    /// One version of a template.
    #[crate::boxed]
    pub async fn template(&self, _caller: &Caller, wanted: &str) -> Result<TemplateView> {
        let template = self.known_template(wanted).await?;
        let newest = self.store.db().guest_template(&template.name, None).await?;
        let is_latest = newest.is_some_and(|newest| newest.version == template.version);
        self.template_view(template, is_latest).await
    }

    pub(crate) async fn known_template(&self, wanted: &str) -> Result<Template> {
        self.find_template(wanted).await?.ok_or_else(|| no_template(wanted))
    }

    /// `NAME`, `NAME:VERSION`, `NAME:latest`.
    pub(crate) async fn find_template(&self, wanted: &str) -> Result<Option<Template>> {
        let (name, version) = match wanted.rsplit_once(':') {
            Some((name, "latest")) => (name, None),
            Some((name, version)) => match version.parse() {
                Ok(version) => (name, Some(version)),
                Err(_) => return Ok(None),
            },
            None => (wanted, None),
        };
        self.store.db().guest_template(name, version).await?.map(Template::of).transpose()
    }

    async fn template_view(&self, template: Template, is_latest: bool) -> Result<TemplateView> {
        let mut used_by = Vec::new();
        for disk in &template.disks {
            used_by.extend(self.storage.clones_of(&disk.path).await?);
        }
        let files = template.disks.iter().map(|disk| disk.path.as_path()).chain(template.nvram.as_deref());
        let size_bytes = files.map(taken).sum();
        let (report, disks) = (template.report, template.disks);
        Ok(TemplateView {
            name: template.name,
            version: template.version,
            is_latest,
            source: template.source,
            disks: disks.into_iter().map(|disk| (disk.target, disk.path.display().to_string())).collect(),
            nvram: template.nvram.map(|path| path.display().to_string()),
            size_bytes,
            inside: report.state,
            changes: report.changes,
            warnings: report.warnings,
            to_fill: report.to_fill,
            used_by: used_by.iter().map(|path| path.display().to_string()).collect(),
            created_ms: template.created_ms.cast_unsigned(),
            document: template.document,
        })
    }
}

/// Bytes that a file takes on the host.
fn taken(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map(|metadata| metadata.blocks() * 512).unwrap_or_default()
}

/// The document that guests made of it begin with: without what is one guest's alone.
fn master(source: &Source, name: &str, disks: &[PlannedDisk], nvram: Option<&Path>) -> (String, Vec<String>) {
    let new = NewMachine {
        name: name.to_owned(),
        id: DomainId::random(),
        macs: Vec::new(),
        generation: DomainId::random(),
        disks: disks.iter().map(PlannedDisk::of_document).collect(),
        nvram: nvram.map(|path| path.display().to_string()),
        origin: None,
        keeps_serials: false,
    };
    let copied = source.document.copied(&new);
    let mut document: Domain = copied.document;
    document.uuid = None;
    for card in &mut document.devices.interfaces {
        card.mac = None;
    }
    (document.to_xml(&WriteOptions::STORED), copied.warnings)
}

fn check_name(name: &str) -> Result<()> {
    let is_good = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | '+' | ' ');
    if !name.is_empty()
        && name.len() <= NAME_MAX_BYTES
        && name.chars().all(is_good)
        && !name.starts_with(['-', '.'])
    {
        return Ok(());
    }
    Err(EngineError::new(Kind::InvalidInput, format!("`{name}` is no name of a template"))
        .with_hint("letters, digits, `-`, `_`, `.` and `+` make one; choose it with --name"))
}

pub(crate) fn no_template(name: &str) -> EngineError {
    EngineError::new(Kind::NotFound, format!("there is no template `{name}`"))
        .with_hint("`lodge template list` shows those that there are")
}
