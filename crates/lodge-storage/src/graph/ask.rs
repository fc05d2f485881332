//! The one question, and the guard in front of what removes or overwrites bytes.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_model::DomainId;

use super::{
    Key,
    need::{Definitions, Harm, Need, against},
    observe::id_of,
};
use crate::{
    Storage,
    claims::{Use, Wanted},
    error::StorageError,
    file::{Access, DiskFile},
    image::real,
    limits,
    lock::{self, Intent},
    ports::Guests,
};

/// Files that an act of ours works on: no guest gets them meanwhile. They are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Working {
    storage: Storage,
    /// Acts hold files as guests do, each under an identity of its own.
    pub id: DomainId,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.storage.claims().release(self.id);
    }
}

impl Storage {
    /// Who needs the bytes of the file at `path`: the guest that runs on it, definitions, snapshots, files that stand on
    /// it, the image or template it is, and programs that have locked it. Empty: nobody.
    pub async fn who_needs(&self, path: &Path) -> Result<Vec<Need>, StorageError> {
        let graph = self.graph(&[path.to_owned()]).await?;
        let mut needs = graph.needs(path);
        let is_ours = needs.iter().any(|need| matches!(need, Need::Running { .. } | Need::Act { .. }));
        if !is_ours && matches!(graph.key(path), Key::File(_)) {
            needs.extend(self.locker(path).await?);
        }
        Ok(needs)
    }

    /// As [`Storage::who_needs`], without what `domain` itself needs: its own disks, snapshots and definition. `going`:
    /// files that go or move in the same act, and need nothing any more.
    pub async fn who_else_needs(
        &self,
        path: &Path,
        domain: DomainId,
        going: &[PathBuf],
    ) -> Result<Vec<Need>, StorageError> {
        let needs = self.who_needs(path).await?;
        self.needs_of_others(needs, domain, going).await
    }

    /// The same where programs that have locked the file are judged elsewhere: the guest's own QEMU is one.
    pub(crate) async fn who_else_names(
        &self,
        path: &Path,
        domain: DomainId,
        going: &[PathBuf],
    ) -> Result<Vec<Need>, StorageError> {
        let needs = self.graph(&[path.to_owned()]).await?.needs(path);
        self.needs_of_others(needs, domain, going).await
    }

    async fn needs_of_others(
        &self,
        mut needs: Vec<Need>,
        domain: DomainId,
        going: &[PathBuf],
    ) -> Result<Vec<Need>, StorageError> {
        let name = self.guest_name(domain).await?;
        let going: HashSet<PathBuf> = going.iter().map(|path| real(path)).collect();
        let goes = |need: &Need| matches!(need, Need::Backing { path } if going.contains(&real(path)));
        needs.retain(|need| !is_of(need, domain, name.as_deref()) && !goes(need));
        Ok(needs)
    }

    /// Refuses what would take bytes from somebody who needs them.
    pub async fn refuse_harm(
        &self,
        path: &Path,
        harm: Harm,
        definitions: Definitions,
    ) -> Result<(), StorageError> {
        let needs = self.who_needs(path).await?;
        match against(harm, definitions, &needs) {
            None => Ok(()),
            Some(need) => Err(StorageError::NeededBy { path: path.to_owned(), need: need.clone() }),
        }
    }

    /// Takes files for an act of ours, to read (`false`) or to write (`true`). A guest that has one is told, and the
    /// other way round as long as the answer is kept.
    pub(crate) async fn work_on(
        &self,
        what: &str,
        files: &[(PathBuf, bool)],
    ) -> Result<Working, StorageError> {
        let id = DomainId::random();
        let paths = files.to_vec();
        let first = files.first().map(|(path, _)| path.clone()).unwrap_or_default();
        let look = move || {
            let wanted = paths.iter().filter_map(|(path, writes)| {
                // Gone or never there: nobody has it either.
                let id = id_of(&fs::metadata(path).ok()?);
                let usage = if *writes { Use::Write } else { Use::Read };
                Some(Wanted { id, path: path.clone(), usage })
            });
            Ok(wanted.collect::<Vec<_>>())
        };
        let wanted = self.blocking(&first, limits::LOOK, look).await?;
        self.claims().work(id, what, &wanted)?;
        Ok(Working { storage: self.clone(), id })
    }

    /// A program that is none of ours and has locked the file.
    pub(crate) async fn locker(&self, path: &Path) -> Result<Option<Need>, StorageError> {
        self.locked_against(path, Intent { writes: true, shares_writing: false }).await
    }

    /// A program that is none of ours and writes the file, or lets nobody read it.
    pub(crate) async fn writer(&self, path: &Path) -> Result<Option<Need>, StorageError> {
        self.locked_against(path, Intent { writes: false, shares_writing: false }).await
    }

    async fn locked_against(&self, path: &Path, intent: Intent) -> Result<Option<Need>, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, limits::LOOK, move || {
            // Not to be opened: nobody here has it either.
            let Ok(disk) = DiskFile::open(&owned, Access::Read) else { return Ok(None) };
            let foreign = lock::foreign(&disk, intent);
            Ok(foreign.ok().flatten().map(|foreign| Need::Locked { pid: foreign.pid }))
        })
        .await
    }

    /// The name of a guest.
    pub(crate) async fn guest_name(&self, domain: DomainId) -> Result<Option<Arc<str>>, StorageError> {
        let Some(guests) = self.guests() else { return Ok(None) };
        let list = move || Ok(guests.list());
        let all = self.blocking(Path::new("/"), limits::LOOK, list).await?;
        Ok(all.into_iter().find(|guest| guest.id == domain).map(|guest| guest.name))
    }

    /// Where guests' files are asked for; set once, by whoever knows guests.
    pub fn set_guests(&self, guests: Arc<dyn Guests>) {
        self.inner_guests().set(guests).expect("set once, before anything is asked");
    }

    pub(crate) fn guests(&self) -> Option<Arc<dyn Guests>> {
        self.inner_guests().get().cloned()
    }
}

/// Whether the need is `domain`'s own.
pub(crate) fn is_of(need: &Need, domain: DomainId, name: Option<&str>) -> bool {
    match need {
        Need::Running { id, .. } | Need::Defined { id, .. } | Need::Act { id, .. } => *id == domain,
        // Snapshots' documents lie by their guest's name.
        Need::Snapshot { guest, .. } => Some(&**guest) == name,
        Need::Backing { .. } | Need::Image { .. } | Need::Template | Need::Locked { .. } => false,
    }
}
