//! Standing a disk on another file, or on none. What the guest sees stays the same.
//!
//! The work is done on a copy beside the disk (its blocks shared where the file system can), which then takes the disk's
//! place whole: cut off at any moment, the disk is as it was. Deliberately absent: devices, which cannot be renamed.

use std::path::{Path, PathBuf};

use super::{
    Gate, Keys,
    error::ChainError,
    layers::{Layer, layers, reads},
};
use crate::{Storage, error::StorageError, format::Format, limits, pool::error::PoolError, vol::tool::Run};

/// How a disk comes to stand on another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebaseMode {
    /// What the two files show differently is copied into the disk.
    Safe,
    /// Only the name in the header changes, after both files were found to have the same bytes.
    Proven,
}

impl Storage {
    /// Stands `overlay` on `onto`. Refused where a guest may write to `onto`: the disk would change with it.
    pub async fn rebase(
        &self,
        overlay: &Path,
        onto: (&Path, Format),
        mode: RebaseMode,
    ) -> Result<(), ChainError> {
        let above = self.layers(overlay, Format::Qcow2).await?;
        let below = self.layers(onto.0, onto.1).await?;
        if below.iter().any(|layer| layer.id == above[0].id) {
            return Err(ChainError::Circle { path: overlay.to_owned() });
        }
        self.refuse_written(onto.0).await?;
        match mode {
            RebaseMode::Safe => self.restand(&above, Some(&below)).await,
            RebaseMode::Proven => self.rename_below(&above, &below).await,
        }
    }

    /// Takes all that lies below `overlay` into it; with `onto`, all above that file of its chain.
    pub async fn flatten(&self, overlay: &Path, onto: Option<&Path>) -> Result<(), ChainError> {
        let above = self.layers(overlay, Format::Qcow2).await?;
        if above.len() == 1 {
            return Err(ChainError::StandsAlone { path: overlay.to_owned() });
        }
        let Some(onto) = onto else { return self.restand(&above, None).await };
        let place = place_of(&above, onto).filter(|at| *at > 0);
        let place =
            place.ok_or_else(|| ChainError::NotBelow { top: overlay.to_owned(), base: onto.to_owned() })?;
        if place == 1 {
            return Ok(());
        }
        self.restand(&above, Some(&above[place..])).await
    }

    /// A chain that acts which know no secret may read and write.
    pub(crate) async fn layers(&self, top: &Path, format: Format) -> Result<Vec<Layer>, ChainError> {
        let layers = self.layers_as_named(top, format).await?;
        // Whoever reads or writes it as it is would take or leave other bytes than the guest's.
        match layers.iter().find(|layer| layer.is_container) {
            Some(Layer { path, .. }) => {
                Err(StorageError::UnsupportedImage { path: path.clone(), what: "is encrypted" }.into())
            }
            None => Ok(layers),
        }
    }

    /// The same for one who does neither: what is called raw may be a container.
    pub(crate) async fn layers_as_named(&self, top: &Path, format: Format) -> Result<Vec<Layer>, ChainError> {
        let (top, gate) = (top.to_owned(), self.gate());
        self.blocking(&top.clone(), limits::LOOK, move || Ok(layers(&top, format, &gate))).await?
    }

    /// The same, whichever of them are encrypted.
    pub(crate) async fn any_layers(&self, top: &Path, format: Format) -> Result<Vec<Layer>, ChainError> {
        let (top, gate) = (top.to_owned(), Gate { keys: Keys::Asked, ..self.gate() });
        self.blocking(&top.clone(), limits::LOOK, move || Ok(layers(&top, format, &gate))).await?
    }

    async fn restand(&self, above: &[Layer], below: Option<&[Layer]>) -> Result<(), ChainError> {
        let disk = &above[0];
        disk.refuse_snapshots()?;
        let mut files = vec![(disk.path.clone(), true)];
        files.extend(
            above[1..].iter().chain(below.unwrap_or_default()).map(|layer| (layer.path.clone(), false)),
        );
        let _working = self.work_on("a rebase", &unique(files)).await?;
        self.refuse_locked(&disk.path).await?;
        let temp = self.file_beside(&disk.path, true).await?;
        let run = Run::new("qemu-img").args(["rebase", "-q", "-f", "qcow2"]);
        let run = match below.and_then(<[Layer]>::first) {
            None => run.args(["-b", ""]),
            Some(base) => run.args(["-F", base.format.as_str()]).args([Path::new("-b"), base.path.as_path()]),
        };
        let run = reads(run, &above[1..]).args([temp.path()]).writes(temp.path());
        // The new one by its real name, what it stands on by the names seen from there.
        let run = match below.and_then(<[Layer]>::first) {
            None => run,
            Some(base) => reads(run, &self.layers(&base.path, base.format).await?),
        };
        run.said_as(temp.path(), &disk.path).run().await?;
        self.put_in_place(temp, &disk.path).await?;
        tracing::info!(path = %disk.path.display(), "disk stands on another file");
        Ok(())
    }

    async fn rename_below(&self, above: &[Layer], below: &[Layer]) -> Result<(), ChainError> {
        let (disk, new) = (&above[0], &below[0]);
        let old = above.get(1).ok_or_else(|| ChainError::StandsAlone { path: disk.path.clone() })?;
        let mut files = vec![(disk.path.clone(), true)];
        files.extend(above[1..].iter().chain(below).map(|layer| (layer.path.clone(), false)));
        let _working = self.work_on("a rebase", &unique(files)).await?;
        self.refuse_locked(&disk.path).await?;
        self.prove_same(old, new).await?;
        self.point(&disk.path, &new.path, new.format).await
    }

    /// Two files show the same bytes, or it is an error.
    pub(crate) async fn prove_same(&self, old: &Layer, new: &Layer) -> Result<(), ChainError> {
        if old.id == new.id && old.format == new.format {
            return Ok(());
        }
        let run = Run::new("qemu-img").args([
            "compare",
            "-q",
            "-f",
            old.format.as_str(),
            "-F",
            new.format.as_str(),
        ]);
        let run = reads(run, &self.layers(&old.path, old.format).await?);
        let run = reads(run, &self.layers(&new.path, new.format).await?);
        match run.args([&old.path, &new.path]).run().await {
            Err(PoolError::Tool { ending, .. }) if ending == "exit status 1" => {
                Err(ChainError::Differs { old: old.path.clone(), new: new.path.clone() })
            }
            compared => Ok(compared?),
        }
    }

    /// Writes another backing file's name into a header and nothing else.
    pub(crate) async fn point(&self, overlay: &Path, base: &Path, format: Format) -> Result<(), ChainError> {
        let run = Run::new("qemu-img").args(["rebase", "-q", "-u", "-f", "qcow2", "-F", format.as_str()]);
        run.args([Path::new("-b"), base, overlay]).writes(overlay).run().await?;
        self.sync(overlay).await
    }

    /// A program that is none of ours has the disk.
    pub(crate) async fn refuse_locked(&self, path: &Path) -> Result<(), ChainError> {
        match self.locker(path).await? {
            Some(need) => Err(ChainError::Needed { path: path.to_owned(), need }),
            None => Ok(()),
        }
    }
}

/// Where a file is in a chain.
pub(crate) fn place_of(layers: &[Layer], path: &Path) -> Option<usize> {
    let real = crate::image::real(path);
    layers.iter().position(|layer| {
        layer.path == path || layer.named == path || crate::image::real(&layer.path) == real
    })
}

/// A file that is both read and written is written.
pub(crate) fn unique(files: Vec<(PathBuf, bool)>) -> Vec<(PathBuf, bool)> {
    let mut once: Vec<(PathBuf, bool)> = Vec::new();
    for (path, writes) in files {
        match once.iter_mut().find(|(known, _)| *known == path) {
            Some((_, known)) => *known |= writes,
            None => once.push((path, writes)),
        }
    }
    once
}
