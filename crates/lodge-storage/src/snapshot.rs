//! Snapshots of disks: those inside qcow2 images, and the files above and below others.
//!
//! What is inside an image is read here, bounded and by the letter of the format; it is changed by `qemu-img`, shut in
//! with the image and what it stands on. Nothing here touches a file that a guest has: that is asked first.
//! Deliberately absent: images in use (QEMU's own jobs), and when which of these is done (lodge-domain).

mod table;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_model::{Bytes, DomainId};

pub use self::table::InnerSnapshot;
use crate::{
    Storage,
    chain::{Keys, OpenLink, backing_path, open_chain},
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    graph::need::Need,
    image::real,
    limits,
    temp::TempFile,
    unlock::{Seal, Sealed, SecretOf, on_chain},
    vol::tool::Run,
    volume::{create, guest_length, whole_sectors, write_qcow2},
};

/// The longest a change inside an image may take: all its tables are written anew.
const CHANGE: Duration = Duration::from_mins(10);
/// The longest a merge may take.
const MERGE: Duration = Duration::from_hours(12);

/// What is done about a snapshot inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerVerb {
    /// Take it.
    Create,
    /// Bring the image back to it.
    Apply,
    /// Remove it.
    Delete,
}

/// A qcow2 to be made that stands on another file.
#[derive(Debug, Clone)]
pub struct NewOverlay {
    /// The file.
    pub path: PathBuf,
    /// What it stands on.
    pub backing: PathBuf,
    /// The format of that.
    pub format: Format,
    /// That is encrypted.
    pub is_on_locked: bool,
    /// What the guest sees of it; none: as much as of that.
    pub size: Option<Bytes>,
    /// How the new one is encrypted.
    pub seal: Option<Seal>,
}

impl Storage {
    /// The snapshots inside a qcow2 image.
    pub async fn inner_snapshots(&self, path: &Path) -> Result<Vec<InnerSnapshot>, StorageError> {
        let path = path.to_owned();
        self.blocking(&path.clone(), limits::LOOK, move || {
            let disk = DiskFile::open(&path, Access::Read)?;
            // Of an encrypted one, too: its table is not.
            disk.any_qcow2_header()?;
            table::read(&disk.file).map_err(|fault| StorageError::Snapshots { path, why: fault.to_string() })
        })
        .await
    }

    /// Does something about the snapshot `name` inside a qcow2 image that no guest has.
    pub async fn change_inner_snapshot(
        &self,
        verb: InnerVerb,
        path: &Path,
        name: &str,
        secret_of: &SecretOf<'_>,
    ) -> Result<(), StorageError> {
        let chain = self.idle_chain(path, Format::Qcow2).await?;
        let option = match verb {
            InnerVerb::Create => "-c",
            InnerVerb::Apply => "-a",
            InnerVerb::Delete => "-d",
        };
        let run = shut_in(&chain, 1).args(["snapshot", option, name]);
        let (run, words) = on_chain(run, &chain, secret_of)?;
        let changed = self.run_tool(run.args(without_format(words)), path, CHANGE).await;
        if matches!(changed, Err(StorageError::Volume { .. }))
            && let Err(error) = self.mend(&chain, path, secret_of).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %path.display(), error, "what a failed change left in an image stays there");
        }
        changed
    }

    /// Gives back what a change of the snapshots inside `path` left there when it was cut off, by a QEMU's end for
    /// instance. No guest has the image.
    pub async fn mend_inner_snapshots(
        &self,
        path: &Path,
        secret_of: &SecretOf<'_>,
    ) -> Result<(), StorageError> {
        let chain = self.idle_chain(path, Format::Qcow2).await?;
        // It may last: whoever wants the files meanwhile is told.
        let files: Vec<_> =
            chain.iter().enumerate().map(|(depth, link)| (link.disk.path.clone(), depth == 0)).collect();
        let _working = self.work_on("a look for what an act that was cut off left", &files).await?;
        self.mend(&chain, path, secret_of).await
    }

    /// A change that is cut off leaves clusters that nothing names. They are counted as used twice, so that an entry of
    /// the guest's that may be written in place looks damaged (`OFLAG_COPIED`): with the clusters, that is gone too.
    async fn mend(
        &self,
        chain: &[OpenLink],
        path: &Path,
        secret_of: &SecretOf<'_>,
    ) -> Result<(), StorageError> {
        let mend = shut_in(chain, 1).args(["check", "-q", "-r", "leaks"]);
        let (mend, words) = on_chain(mend, chain, secret_of)?;
        self.run_tool(mend.args(words), path, CHANGE).await
    }

    /// Makes an empty qcow2 that stands on another file. A file in its place must be empty.
    pub async fn create_overlay(&self, new: &NewOverlay) -> Result<(), StorageError> {
        let (owned, is_sealed) = (new.clone(), new.seal.is_some());
        let made = self.blocking(&new.path, limits::CHANGE, move || {
            let NewOverlay { path, backing, format, .. } = owned;
            let least = guest_length(&backing, format, owned.is_on_locked)?;
            let size = whole_sectors(owned.size.unwrap_or(Bytes(least)))?;
            match path.symlink_metadata() {
                // Made by an earlier try, or left empty for us.
                Ok(there) if there.is_file() => {
                    if there.len() > 0 {
                        let is_ours = is_on(&path, &backing, is_sealed);
                        return if is_ours { Ok(None) } else { Err(StorageError::Exists { path }) };
                    }
                    std::fs::remove_file(&path)
                        .map_err(|source| StorageError::Create { path: path.clone(), source })?;
                }
                Ok(_) => return Err(StorageError::Exists { path }),
                Err(_) => {}
            }
            if is_sealed {
                let dir = path.parent().unwrap_or(Path::new("/"));
                let temp = TempFile::create(dir).map_err(|source| StorageError::Create { path, source })?;
                return Ok(Some((temp, size)));
            }
            create(&path, |temp| write_qcow2(temp, size, Some((&backing, format)))).map(|()| None)
        });
        let (Some((temp, size)), Some(seal)) = (made.await?, &new.seal) else { return Ok(()) };
        let backing = Some((new.backing.as_path(), new.format));
        let sealed = Sealed { path: &new.path, format: Format::Qcow2, size, backing, seal };
        self.make_sealed(sealed, temp).await
    }

    /// Writes what is in the qcow2 `top` into `base`, the file it stands on. Neither is a running guest's. The guest
    /// sees the same bytes before and after, through `top` or through `base`.
    pub async fn commit_overlay(
        &self,
        top: &Path,
        base: &Path,
        secret_of: &SecretOf<'_>,
    ) -> Result<(), StorageError> {
        let chain = self.idle_chain(top, Format::Qcow2).await?;
        if chain.get(1).map(|link| real(&link.disk.path)) != Some(real(base)) {
            let what = "does not stand on the file it is to be merged into";
            return Err(StorageError::UnsupportedImage { path: top.to_owned(), what });
        }
        // Kept as it is until nobody needs it: `-d`.
        let (run, words) = on_chain(shut_in(&chain, 2).args(["commit", "-q", "-d"]), &chain, secret_of)?;
        self.run_tool(run.args(words), top, MERGE).await
    }

    /// Makes the qcow2 `path`, which stands on `from`, stand on `backing`, which has the same bytes for it. One that
    /// stands on another file, or alone, stays as it is: it was made so by hand, and `backing` would show through it.
    pub async fn move_overlay(
        &self,
        path: &Path,
        from: &Path,
        backing: &Path,
        format: Format,
        secret_of: &SecretOf<'_>,
    ) -> Result<(), StorageError> {
        let (owned, from) = (path.to_owned(), from.to_owned());
        let look = move || {
            let disk = DiskFile::open(&owned, Access::Read)?;
            let header = disk.any_qcow2_header()?;
            let below = header.backing.as_ref().map(|backing| backing_path(&owned, &backing.name));
            if !matches!(below, Some(Ok(below)) if real(&below) == real(&from)) {
                return Ok(None);
            }
            let (virtual_bytes, is_locked) = (header.virtual_bytes, header.is_encrypted);
            Ok(Some(OpenLink { disk, format: Format::Qcow2, virtual_bytes, is_locked }))
        };
        let Some(link) = self.blocking(path, limits::LOOK, look).await? else {
            tracing::info!(path = %path.display(), "an image does not stand on the file that goes, and stays as it is");
            return Ok(());
        };
        let words = ["rebase", "-q", "-u", "-F", format.as_str(), "-b"].map(OsString::from);
        let run = Run::new("qemu-img").writes(path).reads(backing).args(words).args([backing]);
        let (run, words) = on_chain(run, std::slice::from_ref(&link), secret_of)?;
        self.run_tool(run.args(words), path, CHANGE).await
    }

    /// Why the bytes of `path` must stay for somebody besides `domain`. `going`: files that go or move in the same act.
    pub async fn needed_by(
        &self,
        domain: DomainId,
        path: &Path,
        going: &[PathBuf],
    ) -> Result<Option<Need>, StorageError> {
        Ok(self.who_else_needs(path, domain, going).await?.into_iter().next())
    }

    /// The chain of a disk, if no guest has it and no other program writes to it.
    async fn idle_chain(&self, path: &Path, format: Format) -> Result<Vec<OpenLink>, StorageError> {
        if let Some(holder) = self.holder(path).await? {
            return Err(StorageError::InUse { path: path.to_owned(), holder, how: "it has it open" });
        }
        let mut gate = self.gate();
        gate.dirs.extend(path.parent().map(Path::to_owned));
        gate.keys = Keys::Asked;
        let path = path.to_owned();
        self.blocking(&path.clone(), limits::LOOK, move || open_chain(&path, format, Access::Read, &gate))
            .await
    }

    pub(crate) async fn run_tool(&self, run: Run, path: &Path, limit: Duration) -> Result<(), StorageError> {
        match tokio::time::timeout(limit, run.run()).await {
            Ok(done) => done.map_err(|source| StorageError::Volume { source: Box::new(source) }),
            Err(_) => Err(StorageError::Silent { path: path.to_owned(), seconds: limit.as_secs() }),
        }
    }
}

/// `qemu-img snapshot` takes no format: it asks the file, which was asked here, and is a qcow2.
fn without_format(words: Vec<OsString>) -> Vec<OsString> {
    if words.first().is_some_and(|word| word == "-f") { words.into_iter().skip(2).collect() } else { words }
}

/// Whether the file is a qcow2 on `backing`, encrypted or not.
fn is_on(path: &Path, backing: &Path, is_locked: bool) -> bool {
    let header = DiskFile::open(path, Access::Read).and_then(|disk| disk.any_qcow2_header());
    header.is_ok_and(|header| {
        let below = header.backing.map(|backing| backing_path(path, &backing.name));
        header.is_encrypted == is_locked && matches!(below, Some(Ok(below)) if below == backing)
    })
}

/// `qemu-img` with the files of a chain: the first `writable` of them to be written.
fn shut_in(chain: &[OpenLink], writable: usize) -> Run {
    chain.iter().enumerate().fold(Run::new("qemu-img"), |run, (depth, link)| {
        if depth < writable { run.writes(&link.disk.path) } else { run.reads(&link.disk.path) }
    })
}
