//! The steps that make it known: the seed, the book, the note, the definition, the register.

use async_trait::async_trait;
use lodge_domain as verb;
use lodge_model::Kind;
use lodge_store::db::{identities::IdentityActRow, now_ms, templates::TemplateRow};
use lodge_store::saga::{Failure, Step};

use super::{Making, failed};
use crate::clone::{
    place::How,
    seed,
    unsettled::{self, Unsettled},
};
use crate::identity::{
    cache::keep_made,
    inside::{InsideReport, Wish},
};
use crate::template::TemplateDisk;

/// Gives a guest its cloud-init seed.
pub(super) struct GiveSeed;

#[async_trait]
impl Step<Making> for GiveSeed {
    fn name(&self) -> &'static str {
        "give-seed"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let plan = &making.plan;
        let hostname = match &plan.wish {
            Wish::Another { hostname, .. } => hostname.clone(),
            Wish::Keep | Wish::Ensured | Wish::Template { .. } | Wish::Sysprep { .. } => None,
        };
        let root = making.parts.store.root();
        let given = seed::give(root, (plan.id, &plan.name), plan.seed_of, plan.seed.as_ref(), hostname).await;
        given.map_err(failed)
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        seed::take_back(making.parts.store.root(), making.plan.id).map_err(failed)
    }
}

/// Writes into the book what became of the identity.
pub(super) struct WriteBook;

#[async_trait]
impl Step<Making> for WriteBook {
    fn name(&self) -> &'static str {
        "write-book"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let plan = &making.plan;
        let done = plan.done.clone().unwrap_or_default();
        let report = InsideReport {
            state: done.state,
            changes: plan.changes.iter().cloned().chain(done.changes).collect(),
            warnings: plan.warnings.iter().cloned().chain(done.warnings).collect(),
            to_fill: done.to_fill,
        };
        let (act, guest) = match plan.version {
            Some(_) => ("template", String::new()),
            None => ("clone", plan.id.to_string()),
        };
        let name = match plan.version {
            Some(version) => format!("{}:{version}", plan.name),
            None => plan.name.clone(),
        };
        let row = IdentityActRow {
            id: plan.act.clone(),
            time_ms: now_ms(),
            act: act.to_owned(),
            guest,
            name,
            source: plan.source.clone(),
            caller: plan.caller.clone(),
            items: report.items(),
            warnings: serde_json::to_value(&report.warnings).unwrap_or_default(),
        };
        let db = making.parts.store.db();
        db.put_identity_act(row).await.map_err(failed)?;
        if plan.version.is_none() {
            keep_made(db, plan.id, &report.changes).await;
        }
        Ok(())
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        making.parts.store.db().remove_identity_act(&making.plan.act).await.map_err(failed)
    }
}

/// Notes that the guest is not another machine yet, where it has its source's memory.
pub(super) struct NoteUnsettled;

#[async_trait]
impl Step<Making> for NoteUnsettled {
    fn name(&self) -> &'static str {
        "note-unsettled"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let Some(note) = Unsettled::of(&making.plan) else { return Ok(()) };
        unsettled::put(making.parts.store.db(), making.plan.id, &note).await.map_err(failed)
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        unsettled::remove(making.parts.store.db(), making.plan.id).await.map_err(failed)
    }
}

/// Defines the guest.
pub(super) struct DefineGuest;

#[async_trait]
impl Step<Making> for DefineGuest {
    fn name(&self) -> &'static str {
        "define-guest"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let managed_save = making.plan.memory().is_some();
        let options = verb::DefineOptions { managed_save, ..verb::DefineOptions::default() };
        making.parts.domains.define(&making.plan.document, options).await.map(drop).map_err(failed)
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        let Ok(handle) = making.parts.domains.get(making.plan.id) else { return Ok(()) };
        if handle.snapshot().is_active() {
            let text = format!("`{}` runs already", making.plan.name);
            return Err(Failure::new(Kind::InvalidState, text));
        }
        let options = verb::UndefineOptions {
            keep_nvram: true,
            keep_tpm: true,
            managed_save: true,
            snapshots_metadata: true,
            ..verb::UndefineOptions::default()
        };
        handle.undefine(options).await.map(drop).map_err(failed)
    }
}

/// Makes the disks of a template such as nobody writes to.
pub(super) struct ProtectDisks;

#[async_trait]
impl Step<Making> for ProtectDisks {
    fn name(&self) -> &'static str {
        "protect-disks"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        for disk in &making.plan.disks {
            making.parts.storage.make_template(&disk.to, disk.format).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The files go with what is noted of them.
    async fn undo(&self, _: &mut Making) -> Result<(), Failure> {
        Ok(())
    }
}

/// Registers the version.
pub(super) struct RegisterTemplate;

#[async_trait]
impl Step<Making> for RegisterTemplate {
    fn name(&self) -> &'static str {
        "register-template"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let plan = &making.plan;
        let disks: Vec<TemplateDisk> = plan.disks.iter().map(TemplateDisk::of).collect();
        debug_assert!(plan.disks.iter().all(|disk| disk.how != How::Taken), "a template's disks are its own");
        let row = TemplateRow {
            name: plan.name.clone(),
            version: plan.version.unwrap_or(1),
            source: plan.source.clone(),
            document: plan.document.clone(),
            disks: serde_json::to_value(disks).unwrap_or_default(),
            nvram: plan.nvram.as_ref().map(|(_, to)| to.clone()),
            details: serde_json::to_value(plan.done.clone().unwrap_or_default()).unwrap_or_default(),
            created_ms: now_ms(),
        };
        making.parts.store.db().put_guest_template(row).await.map_err(failed)
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        let (db, plan) = (making.parts.store.db(), &making.plan);
        db.remove_guest_template(&plan.name, plan.version.unwrap_or(1)).await.map(drop).map_err(failed)
    }
}
