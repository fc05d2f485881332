//! Giving an image another size. What lies behind a smaller one's end is gone, so that is asked for twice.

use std::path::Path;

use lodge_model::Bytes;

use super::{
    foreign::{self, ask, time_for},
    hold::Purpose,
    kind::ImageFormat,
};
use crate::{
    Storage,
    error::StorageError,
    file::{Access, DiskFile},
    image::real,
    limits,
    vol::tool::Run,
    volume::whole_sectors,
};

/// The disk's size as a guest saw it, and sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resized {
    /// Before.
    pub before: Bytes,
    /// Now.
    pub after: Bytes,
}

impl Storage {
    /// Gives an image another size. `shrink`: it may become smaller.
    pub async fn resize_image(
        &self,
        path: &Path,
        format: ImageFormat,
        size: Bytes,
        shrink: bool,
    ) -> Result<Resized, StorageError> {
        let size = whole_sectors(size)?;
        self.refuse_base(path).await?;
        let purpose = if format == ImageFormat::Raw { Purpose::Rewrite } else { Purpose::RewriteByTool };
        let _held = self.hold_image(path, format, purpose, "image resize").await?;
        let before = self.describe_image(path, format, false).await?[0].virtual_size;
        if size < before && !shrink {
            return Err(StorageError::Refused {
                path: path.to_owned(),
                what: format!(
                    "has {} bytes, and {} are less: what lies behind would be lost",
                    before.0, size.0
                ),
                hint: "shrink the file systems in it first, then say --shrink".to_owned(),
            });
        }
        if size == before {
            return Ok(Resized { before, after: size });
        }
        match format {
            ImageFormat::Raw => {
                let owned = path.to_owned();
                self.blocking(path, limits::CHANGE, move || resize_raw(&owned, size)).await?;
            }
            _ => self.resize_by_tool(path, format, size, size < before).await?,
        }
        tracing::info!(path = %path.display(), before = before.0, after = size.0, "image resized");
        Ok(Resized { before, after: size })
    }

    async fn resize_by_tool(
        &self,
        path: &Path,
        format: ImageFormat,
        size: Bytes,
        shrinks: bool,
    ) -> Result<(), StorageError> {
        let (owned, gate) = (path.to_owned(), self.gate());
        let node = self.blocking(path, limits::LOOK, move || foreign::node(&owned, format, &gate)).await?;
        let run = Run::new("qemu-img").args(["resize", "-q"]);
        let run = if shrinks { run.args(["--shrink"]) } else { run };
        let run = run.args([node.name, size.0.to_string()]).writes(path).within(time_for(node.bytes));
        let run = node.files.iter().skip(1).fold(run, |run, file| run.reads(file));
        ask(run, "resize", path, &[]).await.map(drop)
    }

    /// What clones and overlays stand on keeps its size.
    pub(crate) async fn refuse_base(&self, path: &Path) -> Result<(), StorageError> {
        let real = real(path);
        if let Some(image) = self.images().await?.into_iter().find(|image| self::real(&image.path) == real) {
            return Err(StorageError::WritesImage { path: path.to_owned(), image: image.name });
        }
        match self.clones_of(path).await?.first() {
            None => Ok(()),
            Some(user) => Err(StorageError::Refused {
                path: path.to_owned(),
                what: format!("is what `{}` stands on", user.display()),
                hint: "give that its own size: its guest sees it, whatever the size below".to_owned(),
            }),
        }
    }
}

fn resize_raw(path: &Path, size: Bytes) -> Result<(), StorageError> {
    let disk = DiskFile::open(path, Access::Write)?;
    let failed = |source| StorageError::Act { act: "resize", path: path.to_owned(), source };
    if !disk.file.metadata().map_err(failed)?.is_file() {
        return Err(StorageError::Refused {
            path: path.to_owned(),
            what: "is a device, whose size is not the file's".to_owned(),
            hint: "resize the device itself (lvresize)".to_owned(),
        });
    }
    disk.file.set_len(size.0).and_then(|()| disk.file.sync_all()).map_err(failed)
}
