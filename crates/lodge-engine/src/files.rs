//! Use cases of a guest's files: all of them, and disks that were moved or copied with plain `mv` and `cp`.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use lodge_api::{GuestFileView, Relocated, Relocation};
use lodge_domain::{self as verb, Handle};
use lodge_model::{Kind, domain::disk::SourceKind, xml::WriteOptions};
use lodge_storage::Moved;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

impl Engine {
    /// Every file that makes up a guest.
    #[crate::boxed]
    pub async fn domain_files(&self, _caller: &Caller, dom: &str) -> Result<Vec<GuestFileView>> {
        let handle = self.find_domain(dom)?;
        let moved = self.storage.moved_disks(handle.id()).await?;
        let own = self.own_files(&handle);
        let look = move || own.into_iter().filter_map(|(path, what)| own_file(&path, what)).collect();
        let mut files: Vec<GuestFileView> = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        for file in self.storage.files_of(handle.id()).await? {
            let place = moved.iter().find(|moved| moved.from == file.path);
            files.push(GuestFileView {
                path: file.path.display().to_string(),
                what: file.what,
                exists: file.exists,
                guest_bytes: file.guest_bytes,
                host_bytes: file.host_bytes,
                shared_with: file.shared_with.iter().map(ToString::to_string).collect(),
                moved_to: place.map(|moved| moved.to.display().to_string()),
            });
        }
        Ok(files)
    }

    /// Takes over the places that a guest's disks were moved to.
    #[crate::boxed]
    pub async fn relocate_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: Relocation,
    ) -> Result<Vec<Relocated>> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        if handle.snapshot().is_active() {
            let text = format!("domain '{}' is running", handle.name());
            return Err(EngineError::new(Kind::InvalidState, text).with_hint("shut it down first"));
        }
        let moved = self.storage.moved_disks(handle.id()).await?;
        if !options.dry_run {
            if !moved.is_empty() {
                self.take_places(&handle, &moved).await?;
            }
            // Whatever its disks are now is meant.
            self.storage.note_disks_of(Some(handle.id())).await?;
        }
        let relocated = |moved: Moved| Relocated {
            target: moved.target,
            from: moved.from.display().to_string(),
            to: moved.to.display().to_string(),
            same_file: moved.is_same_file,
        };
        Ok(moved.into_iter().map(relocated).collect())
    }

    async fn take_places(&self, handle: &Handle, moved: &[Moved]) -> Result<()> {
        let Some(mut document) = handle.definition()? else { return Ok(()) };
        for moved in moved {
            let disks = document.devices.disks.iter_mut().filter(|disk| disk.target.dev == moved.target);
            for disk in disks {
                let Some(source) = disk.source.as_deref_mut() else { continue };
                let to = Some(moved.to.display().to_string());
                if disk.kind == SourceKind::Block {
                    source.dev = to;
                } else {
                    disk.kind = SourceKind::File;
                    (source.pool, source.volume, source.file) = (None, None, to);
                }
            }
        }
        let text = document.to_xml(&WriteOptions::STORED);
        self.domains.define(&text, verb::DefineOptions::default()).await?;
        Ok(())
    }

    /// What no disk's bytes are in: documents, logs, sockets.
    fn own_files(&self, handle: &Handle) -> Vec<(PathBuf, String)> {
        let (root, name, snapshot) = (self.store.root(), handle.name(), handle.snapshot());
        let mut files = Vec::new();
        if snapshot.persistent {
            files.push((self.store.domains().path(&name), "definition".to_owned()));
        }
        if snapshot.autostart {
            files.push((
                root.domains().join("autostart").join(format!("{name}.xml")),
                "autostart mark".to_owned(),
            ));
        }
        let own = root.swtpm_state(handle.id().0);
        let named = handle.definition().ok().flatten();
        let named = named.and_then(|document| verb::tpm_state(root, handle.id(), &document));
        files.extend(named.filter(|path| *path != own).map(|path| (path, "TPM".to_owned())));
        files.push((own, "TPM".to_owned()));
        files.push((root.swtpm_logs().join(format!("{name}-swtpm.log")), "log of the TPM".to_owned()));
        if let Some(vmm) = &snapshot.vmm {
            files.push((vmm.log.clone(), "log of QEMU".to_owned()));
            files.push((vmm.console_log.clone(), "log of the console".to_owned()));
            files.extend(vmm.agent_socket.clone().map(|path| (path, "socket of the guest agent".to_owned())));
            files.push((
                root.run().join("guests").join(handle.id().to_string()),
                "state of the running guest".to_owned(),
            ));
        }
        files
    }
}

fn own_file(path: &Path, what: String) -> Option<GuestFileView> {
    let metadata = path.symlink_metadata().ok()?;
    Some(GuestFileView {
        path: path.display().to_string(),
        what,
        exists: true,
        guest_bytes: None,
        host_bytes: metadata.blocks() * 512,
        shared_with: Vec::new(),
        moved_to: None,
    })
}
