//! Saved guests as others use them: what a start or a restore goes on from, and a managed save's removal.

use std::path::Path;

use lodge_model::domain::Domain;
use lodge_qemu::save_image::SavedGuest;

use super::managed_path;
use crate::act::{Begin, Reply, ended};
use crate::define::{blocking, judge};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::options::{RestoreOptions, Resumption, StartOptions};
use crate::owner::Owner;
use crate::start::{SavedMemory, remove_file};

/// `virsh managedsave-remove`.
pub(crate) fn remove_managed_save(owner: &mut Owner) -> Begin {
    let path = managed_path(&owner.shared, &owner.name());
    Begin::job(async move {
        let removed = remove_file(path.clone()).await;
        ended(move |owner| {
            removed.map_err(|source| DomainError::File { act: "remove", path, source })?;
            owner.amend_snapshot(|snapshot| snapshot.managed_save = false);
            Ok(Reply::Done)
        })
    })
}

/// What a saved guest's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedImage {
    /// The guest's document, as kept.
    pub xml: String,
    /// It runs when it comes back.
    pub running: bool,
}

impl SavedImage {
    /// The document as `save-image-dumpxml` shows it.
    pub fn document(&self, security_info: bool) -> Result<String, DomainError> {
        let options = lodge_model::xml::WriteOptions { inactive: true, security_info, migratable: false };
        Ok(crate::define::parse(&self.xml)?.to_xml(&options))
    }
}

/// `virsh save-image-dumpxml`: the text kept, with passwords.
pub async fn read_saved_image(file: &Path) -> Result<SavedImage, DomainError> {
    let saved = open(file).await?;
    Ok(SavedImage { xml: saved.xml, running: saved.was_running })
}

impl crate::domains::Domains {
    /// `virsh save-image-define`: another document of the same machine, or another resumption.
    pub async fn edit_saved_image(
        &self,
        file: &Path,
        xml: Option<&str>,
        running: Option<bool>,
    ) -> Result<(), DomainError> {
        edit(&self.shared, file, xml, running).await
    }
}

async fn edit(
    shared: &Shared,
    file: &Path,
    xml: Option<&str>,
    running: Option<bool>,
) -> Result<(), DomainError> {
    let text = match xml {
        None => None,
        Some(xml) => {
            let own = judge(shared, &open(file).await?.xml, false)?;
            let given = judge(shared, xml, false)?;
            same_machine(&own, &given)?;
            Some(given.to_xml(&lodge_model::xml::WriteOptions::STORED))
        }
    };
    let path = file.to_owned();
    let written = {
        let path = path.clone();
        blocking(move || SavedGuest::rewrite(&path, text.as_deref(), running)).await
    };
    written.map_err(|source| DomainError::SavedImage { path, source })
}

/// `virsh managedsave-define`.
pub(crate) fn edit_managed_save(owner: &mut Owner, xml: Option<String>, running: Option<bool>) -> Begin {
    if !owner.entry.snapshot.load().managed_save {
        return Begin::Now(Err(DomainError::NoManagedSave { name: owner.name() }));
    }
    let (shared, path) = (std::sync::Arc::clone(&owner.shared), managed_path(&owner.shared, &owner.name()));
    Begin::job(async move {
        let edited = edit(&shared, &path, xml.as_deref(), running).await;
        ended(move |_| edited.map(|()| Reply::Done))
    })
}

/// A managed save to start from.
pub(crate) struct Saved {
    pub document: Domain,
    pub memory: SavedMemory,
    pub paused: bool,
}

/// The managed save of a domain that is about to start, if there is one and it is wanted.
pub(crate) async fn managed_save_of(
    shared: &Shared,
    name: &str,
    options: StartOptions,
) -> Result<Option<Saved>, DomainError> {
    let file = managed_path(shared, name);
    let there = {
        let file = file.clone();
        blocking(move || file.exists()).await
    };
    if !there {
        return Ok(None);
    }
    if options.force_boot {
        let removed = remove_file(file.clone()).await;
        removed.map_err(|source| DomainError::File { act: "remove", path: file, source })?;
        return Ok(None);
    }
    let saved = open(&file).await?;
    let document = judge(shared, &saved.xml, false)?;
    let memory = SavedMemory { file, managed: true, bypass_cache: options.bypass_cache };
    Ok(Some(Saved { document, memory, paused: !saved.was_running }))
}

/// Reads what a saved guest's file says of itself.
async fn open(file: &Path) -> Result<SavedGuest, DomainError> {
    let path = file.to_owned();
    let opened = {
        let path = path.clone();
        blocking(move || SavedGuest::open(&path)).await
    };
    opened.map_err(|source| DomainError::SavedImage { path, source })
}

/// What a restore is of: the document, and options in which nothing is left to the image.
pub(crate) async fn read_for_restore(
    shared: &Shared,
    file: &Path,
    mut options: RestoreOptions,
) -> Result<(Domain, RestoreOptions), DomainError> {
    let saved = open(file).await?;
    let own = judge(shared, &saved.xml, false)?;
    if options.resumption == Resumption::AsBefore {
        options.resumption = if saved.was_running { Resumption::Running } else { Resumption::Paused };
    }
    let Some(given) = &options.xml else { return Ok((own, options)) };
    let given = judge(shared, given, false)?;
    same_machine(&own, &given)?;
    Ok((given, options))
}

/// Memory belongs to the machine it was taken from: what the guest can see must be the same.
pub(super) fn same_machine(own: &Domain, given: &Domain) -> Result<(), DomainError> {
    let counts = |domain: &Domain| {
        let devices = &domain.devices;
        [
            devices.disks.len(),
            devices.interfaces.len(),
            devices.controllers.len(),
            devices.channels.len(),
            devices.videos.len(),
        ]
    };
    let text = |domain: &Domain| domain.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
    if own.uuid != given.uuid {
        let why = format!("Target domain uuid {} does not match source {}", text(given), text(own));
        return Err(DomainError::OtherMachine { why });
    }
    if own.name != given.name {
        let why = format!("Target domain name '{}' does not match source '{}'", given.name, own.name);
        return Err(DomainError::OtherMachine { why });
    }
    let differs = [
        ("its machine type is another", own.os.kind.machine != given.os.kind.machine),
        ("its memory is of another size", own.memory.size != given.memory.size),
        (
            "it has another number of processors",
            own.vcpu.as_ref().map(|vcpu| vcpu.count) != given.vcpu.as_ref().map(|vcpu| vcpu.count),
        ),
        ("it has other devices", counts(own) != counts(given)),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((why, _)) => Err(DomainError::OtherMachine { why: why.to_owned() }),
        None => Ok(()),
    }
}
