//! The registry of images: read-only files that clones stand on.
//!
//! A name points to one file at a time. When a name gets a new file, the old one stays as long as
//! clones stand on it; [`Storage::collect_images`] and the next registration remove it after that.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use lodge_model::Bytes;
use lodge_store::{
    Db, DbError,
    db::{images::ImageRow, now_ms},
};
use lodge_sys::fs::remove_durable;

use crate::{
    Storage, Volume,
    error::StorageError,
    format::Format,
    graph::{ask::is_of, need::Need},
    limits,
    volume::{check_name, disk_files, look},
};

/// A registered image.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Its name: `debian-12`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The file's format.
    pub format: Format,
    /// The disk's size as a guest sees it.
    pub virtual_size: Bytes,
    /// Bytes the file takes on the host.
    pub allocation: Bytes,
    /// The file's SHA-256 in hexadecimal; empty if nobody summed it.
    pub sha256: String,
    /// Where it came from.
    pub source: ImageSource,
    /// What else is known, such as its packages.
    pub details: serde_json::Value,
    /// When it was registered. Unix time in ms.
    pub created_ms: i64,
}

/// Where an image came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// It was built here.
    Built,
    /// It was copied from this file.
    File(PathBuf),
}

/// A finished file in [`Storage::images_dir`] that becomes an image.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The image's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its SHA-256 in hexadecimal; may be empty.
    pub sha256: String,
    /// Where it came from.
    pub source: ImageSource,
    /// What else is to be kept of it.
    pub details: serde_json::Value,
}

impl Storage {
    /// Every image, by name.
    pub async fn images(&self) -> Result<Vec<Image>, StorageError> {
        let rows = self.db().images().await.map_err(failed("list"))?;
        Ok(rows.into_iter().filter_map(Image::of).collect())
    }

    /// One image.
    pub async fn image(&self, name: &str) -> Result<Image, StorageError> {
        let row = self.db().image(name).await.map_err(failed("look"))?;
        Image::found(row, name)
    }

    /// Registers a finished file of the images' directory under its name, in place of another.
    pub async fn register_image(&self, new: NewImage) -> Result<Image, StorageError> {
        check_name(&new.name, "an image")?;
        let (path, format) = (new.path.clone(), new.format);
        let volume = self
            .blocking(&new.path, limits::LOOK, move || {
                let volume = look(&path, format)?;
                refuse_backing(&volume)?;
                let set = fs::set_permissions(&path, fs::Permissions::from_mode(0o444));
                set.map_err(|source| StorageError::Create { path, source })?;
                Ok(volume)
            })
            .await?;
        let image = Image {
            name: new.name,
            path: new.path,
            format: new.format,
            virtual_size: volume.virtual_size,
            allocation: volume.allocation,
            sha256: new.sha256,
            source: new.source,
            details: new.details,
            created_ms: now_ms(),
        };
        let old = self.db().image(&image.name).await.map_err(failed("look"))?;
        self.db().put_image(image.row()).await.map_err(failed("note the image"))?;
        tracing::info!(image = %image.name, path = %image.path.display(), "image registered");
        if let Some(old) = old.filter(|old| old.path != image.path) {
            self.remove_unless_used(old.path).await?;
        }
        Ok(image)
    }

    /// Removes an image and its file; refused while volumes stand on it.
    pub async fn remove_image(&self, name: &str) -> Result<(), StorageError> {
        let image = self.image(name).await?;
        // Taken first and asked after, so that no guest gets it in between.
        let working = self.work_on("a removal", &[(image.path.clone(), true)]).await;
        let needs = self.who_needs(&image.path).await?;
        let users = overlays(&needs);
        if !users.is_empty() {
            return Err(StorageError::ImageInUse { name: name.to_owned(), users });
        }
        let working = working?;
        let own = |need: &&Need| {
            is_of(need, working.id, None) || matches!(need, Need::Image { name: known } if known == name)
        };
        if let Some(need) = needs.iter().find(|need| !own(need)) {
            return Err(StorageError::NeededBy { path: image.path, need: need.clone() });
        }
        // The name first: a crash in between leaves a file without a name, which the next start removes.
        self.db().remove_image(name).await.map_err(failed("forget the image"))?;
        self.remove_file(image.path).await?;
        tracing::info!(image = %name, "image removed");
        Ok(())
    }

    /// The files that stand on this one directly.
    pub async fn clones_of(&self, base: &Path) -> Result<Vec<PathBuf>, StorageError> {
        Ok(overlays(&self.graph(&[base.to_owned()]).await?.needs(base)))
    }

    /// Removes files of former images that nothing needs any more. Only at the start, once pools and guests are
    /// known: later a build may have finished a file that is not registered yet.
    pub async fn collect_images(&self) -> Result<(), StorageError> {
        let named: HashSet<_> = self.images().await?.into_iter().map(|image| real(&image.path)).collect();
        let dir = self.images_dir().to_owned();
        let files = self.blocking(&dir.clone(), limits::LOOK, move || disk_files(&dir)).await?;
        for file in files {
            if is_ours(&file) && !named.contains(&real(&file)) {
                self.remove_unless_used(file).await?;
            }
        }
        Ok(())
    }

    /// The file of an image, if it is one, has been written anew: it takes another room, and has another sum.
    pub(crate) async fn image_rewritten(&self, path: &Path, allocation: Bytes) -> Result<(), StorageError> {
        let Some(image) = self.images().await?.into_iter().find(|image| real(&image.path) == path) else {
            return Ok(());
        };
        let image = Image { allocation, sha256: String::new(), ..image };
        self.db().put_image(image.row()).await.map_err(failed("note the image"))
    }

    async fn remove_unless_used(&self, path: PathBuf) -> Result<(), StorageError> {
        if self.who_needs(&path).await?.is_empty() {
            tracing::info!(path = %path.display(), "file of a former image removed");
            self.remove_file(path).await?;
        }
        Ok(())
    }

    async fn remove_file(&self, path: PathBuf) -> Result<(), StorageError> {
        self.blocking(&path.clone(), limits::CHANGE, move || {
            remove_durable(&path).map(drop).map_err(|source| StorageError::Delete { path, source })
        })
        .await
    }
}

impl Image {
    /// One image, asked for on a thread that may wait.
    pub(crate) fn named(db: &Db, name: &str) -> Result<Self, StorageError> {
        Self::found(db.image_here(name).map_err(failed("look"))?, name)
    }

    fn found(row: Option<ImageRow>, name: &str) -> Result<Self, StorageError> {
        row.and_then(Self::of).ok_or_else(|| StorageError::NoImage { name: name.to_owned() })
    }

    fn of(row: ImageRow) -> Option<Self> {
        let source = match row.source.strip_prefix("file:") {
            Some(path) => ImageSource::File(path.into()),
            None => ImageSource::Built,
        };
        Some(Self {
            format: row.format.parse().ok()?,
            name: row.name,
            path: row.path,
            virtual_size: Bytes(row.virtual_bytes),
            allocation: Bytes(row.size_bytes),
            sha256: row.sha256,
            source,
            details: row.details,
            created_ms: row.created_ms,
        })
    }

    fn row(&self) -> ImageRow {
        ImageRow {
            name: self.name.clone(),
            path: self.path.clone(),
            format: self.format.to_string(),
            size_bytes: self.allocation.0,
            virtual_bytes: self.virtual_size.0,
            sha256: self.sha256.clone(),
            source: match &self.source {
                ImageSource::Built => "built".to_owned(),
                ImageSource::File(path) => format!("file:{}", path.display()),
            },
            details: self.details.clone(),
            created_ms: self.created_ms,
        }
    }
}

/// An image is one whole file.
pub(crate) fn refuse_backing(volume: &Volume) -> Result<(), StorageError> {
    if volume.backing.is_none() {
        return Ok(());
    }
    let what = "stands on another file, an image stands alone";
    Err(StorageError::UnsupportedImage { path: volume.path.clone(), what })
}

/// The files that stand on one, among what needs it.
fn overlays(needs: &[Need]) -> Vec<PathBuf> {
    let overlay = |need: &Need| match need {
        Need::Backing { path } => Some(path.clone()),
        _ => None,
    };
    needs.iter().filter_map(overlay).collect()
}

/// The path without links; as it is if it leads nowhere.
pub(crate) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// `NAME-` and twelve hexadecimal digits: how builds and imports name their files. Others were put
/// there by a person, and are theirs.
fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let Some((_, digits)) = stem.rsplit_once('-') else { return false };
    digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn failed(act: &'static str) -> impl FnOnce(DbError) -> StorageError {
    move |source| StorageError::Registry { act, source }
}
