//! Use cases of image files: which file is meant, how its format is known, who may.
//!
//! ```text
//!  said with -f ── else a registered image ── else a domain's document names it ── else a volume made here
//!               ── else --probe, with a warning ── else refused, with what it looks like
//! ```

use std::path::{Path, PathBuf};

use lodge_api::{
    ImageChain, ImageCheck, ImageCheckReport, ImageCompact, ImageCompacted, ImageConvert, ImageConverted,
    ImageExtent, ImageFileQuery, ImageFileView, ImageMap, ImageResize, ImageResized, ImageSubject, Job,
};
use lodge_model::{Bytes, Kind};
use lodge_storage::{
    Checked, Compression, Conversion, Description, DiskUse, Extent, ImageFormat, Repair, StorageError,
};
use serde_json::Value;

use crate::{
    Caller, Engine,
    domain::absolute,
    error::{EngineError, Result},
    job::JobHandle,
};

/// A file and its format.
struct Found {
    path: PathBuf,
    format: ImageFormat,
    /// How the format is known; see [`ImageFileView::format_by`].
    by: &'static str,
}

impl Found {
    fn warnings(&self) -> Vec<String> {
        let guessed = || {
            format!(
                "the format of `{}` was taken from its looks ({}), which a guest can make anything",
                self.path.display(),
                self.format
            )
        };
        (self.by == "looks").then(guessed).into_iter().collect()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Engine {
    /// Describes an image file, and with `chain` all it stands on.
    #[crate::boxed]
    pub async fn image_file(&self, caller: &Caller, query: ImageFileQuery) -> Result<ImageChain> {
        let found = self.found(caller, &query.subject).await?;
        let seen = self.storage.describe_image(&found.path, found.format, query.chain).await?;
        let by = |depth: usize| if depth == 0 { found.by } else { "header" };
        let files = seen.into_iter().enumerate().map(|(depth, seen)| file_view(seen, by(depth))).collect();
        Ok(ImageChain { files, warnings: found.warnings() })
    }

    /// Maps an image file.
    #[crate::boxed]
    pub async fn map_image_file(&self, caller: &Caller, subject: ImageSubject) -> Result<ImageMap> {
        let found = self.found(caller, &subject).await?;
        let map = self.storage.map_image(&found.path, found.format).await?;
        Ok(ImageMap {
            files: map.files.iter().map(|path| path.display().to_string()).collect(),
            extents: map.extents.iter().map(extent).collect(),
            warnings: found.warnings(),
        })
    }

    /// Checks an image file; the job's result is an `ImageCheckReport`.
    #[crate::boxed]
    pub async fn check_image_file(&self, caller: &Caller, check: ImageCheck) -> Result<Job> {
        caller.may_change()?;
        let repair = match check.repair.as_deref() {
            None => Repair::No,
            Some("leaks") => Repair::Leaks,
            Some("all") => Repair::All,
            Some(other) => {
                return Err(invalid(format!("`{other}` cannot be repaired"), "there are leaks and all"));
            }
        };
        let found = self.found(caller, &check.subject).await?;
        let (engine, subject) = (self.clone(), found.name());
        let act = |job: JobHandle| async move {
            warn(&job, "checking", &found);
            let check = engine.storage.check_image(&found.path, found.format, repair);
            let checked = tokio::select! {
                checked = check => checked?,
                () = job.cancel.cancelled() => {
                    return Err(StorageError::Cancelled { path: found.path.clone() }.into());
                }
            };
            if repair != Repair::No {
                engine.changed(&found.path, "image.repaired").await;
            }
            Ok(answer(&report(&found, &checked)))
        };
        self.jobs.begin(caller, "image.check", &subject, act).await
    }

    /// Makes a file of another; the job's result is an `ImageConverted`.
    #[crate::boxed]
    pub async fn convert_image_file(&self, caller: &Caller, wish: ImageConvert) -> Result<Job> {
        caller.may_change()?;
        let to_format = format(&wish.format)?;
        let compression = wish.compress.as_deref().map(str::parse::<Compression>).transpose();
        let compression =
            compression.map_err(|error| invalid(error.to_string(), "leave it out, or say zstd"))?;
        let to = match &wish.pool {
            Some(pool) => {
                let name = self.pool(caller, pool)?.name;
                self.pools.path_of(&name, &wish.target)?
            }
            None => absolute(&wish.target)?,
        };
        let found = self.found(caller, &wish.subject).await?;
        let conversion = Conversion {
            from: found.path.clone(),
            from_format: found.format,
            to,
            to_format,
            compression,
            cluster_size: wish.cluster_bytes.map(Bytes),
        };
        let (engine, subject) = (self.clone(), found.name());
        let act = |job: JobHandle| async move {
            warn(&job, "converting", &found);
            let (teller, into) = (job.clone(), conversion.to.display().to_string());
            let tell = move |part: f32| teller.tell("converting", Some(part.into()), &into);
            let made = engine.storage.convert_image(conversion, &job.cancel, tell).await?;
            engine.changed(&made.path, "image.converted").await;
            Ok(answer(&ImageConverted {
                path: made.path.display().to_string(),
                format: to_format.to_string(),
                virtual_bytes: made.virtual_size.0,
                size_bytes: made.allocation.0,
            }))
        };
        self.jobs.begin(caller, "image.convert", &subject, act).await
    }

    /// Gives back the room of what reads as zero; the job's result is an `ImageCompacted`.
    #[crate::boxed]
    pub async fn compact_image_file(&self, caller: &Caller, wish: ImageCompact) -> Result<Job> {
        caller.may_change()?;
        let found = self.found(caller, &wish.subject).await?;
        let (engine, subject) = (self.clone(), found.name());
        let act = |job: JobHandle| async move {
            warn(&job, "compacting", &found);
            let teller = job.clone();
            let tell = move |part: f32| teller.tell("compacting", Some(part.into()), "");
            let done = engine.storage.compact_image(&found.path, found.format, &job.cancel, tell).await?;
            engine.changed(&found.path, "image.compacted").await;
            let (before_bytes, after_bytes) = (done.before.0, done.after.0);
            Ok(answer(&ImageCompacted { path: found.name(), before_bytes, after_bytes }))
        };
        self.jobs.begin(caller, "image.compact", &subject, act).await
    }

    /// Gives an image file another size; the job's result is an `ImageResized`.
    #[crate::boxed]
    pub async fn resize_image_file(&self, caller: &Caller, wish: ImageResize) -> Result<Job> {
        caller.may_change()?;
        if wish.grow_fs && wish.shrink {
            return Err(invalid(
                "a file system cannot grow in a disk that shrinks".to_owned(),
                "say one of both",
            ));
        }
        let found = self.found(caller, &wish.subject).await?;
        let (engine, subject) = (self.clone(), found.name());
        let act = |job: JobHandle| async move {
            warn(&job, "resizing", &found);
            let (size, storage) = (Bytes(wish.size_bytes), &engine.storage);
            let done = if wish.grow_fs {
                let teller = job.clone();
                let tell = move |part: f32| teller.tell("resizing", Some(part.into()), "");
                storage.grow_image(&found.path, found.format, size, &job.cancel, tell).await?
            } else {
                storage.resize_image(&found.path, found.format, size, wish.shrink).await?
            };
            engine.changed(&found.path, "image.resized").await;
            let (before_bytes, after_bytes) = (done.before.0, done.after.0);
            Ok(answer(&ImageResized { path: found.name(), before_bytes, after_bytes }))
        };
        self.jobs.begin(caller, "image.resize", &subject, act).await
    }

    /// The file that is meant, its format, and what is to be warned of.
    pub(crate) async fn meant_image(
        &self,
        caller: &Caller,
        subject: &ImageSubject,
    ) -> Result<(PathBuf, ImageFormat, Vec<String>)> {
        let found = self.found(caller, subject).await?;
        let warnings = found.warnings();
        Ok((found.path, found.format, warnings))
    }

    /// Tells that an image file has other bytes now.
    pub(crate) async fn changed(&self, path: &Path, event: &str) {
        self.pools.noticed(path).await;
        self.feed.publish(event, path.display().to_string(), Value::Null);
    }

    /// The file that is meant, and its format.
    async fn found(&self, caller: &Caller, subject: &ImageSubject) -> Result<Found> {
        let said = subject.format.as_deref().map(format).transpose()?;
        if let (Some(name), None, None, None) =
            (&subject.image, &subject.pool, &subject.volume, &subject.path)
        {
            let image = self.storage.image(name).await?;
            let format = ImageFormat::from(image.format);
            if let Some(said) = said.filter(|said| *said != format) {
                return Err(invalid(
                    format!("image `{name}` is {format}, not {said}"),
                    "leave the format out",
                ));
            }
            return Ok(Found { path: image.path, format, by: "image" });
        }
        let (path, volume) = match (&subject.image, &subject.pool, &subject.volume, &subject.path) {
            (None, Some(pool), Some(volume), None) => {
                let handle = self.pool(caller, pool)?.handle();
                let volume = self.look_at_volume(caller, &handle, volume).await?;
                (volume.path.clone(), Some(volume))
            }
            (None, None, None, Some(path)) => {
                // Whoever may only look shall not learn which files there are.
                caller.may_change()?;
                let path = absolute(path)?;
                let volume = self.volume_by_path(caller, &path.to_string_lossy(), "path").ok();
                (path, volume.map(|(_, volume)| volume))
            }
            _ => {
                let text = "exactly one of image, pool with volume, and path says which file is meant";
                return Err(invalid(text.to_owned(), "give one of them"));
            }
        };
        if let Some(format) = said {
            return Ok(Found { path, format, by: "said" });
        }
        if let Some(image) = self.storage.images().await?.into_iter().find(|image| image.path == path) {
            return Ok(Found { path, format: image.format.into(), by: "image" });
        }
        if let Some(format) = self.documented(&path) {
            return Ok(Found { path, format, by: "document" });
        }
        let made = volume.and_then(|volume| volume.declared_format()).and_then(|format| {
            let word = if format.is_plain() { "raw" } else { format.as_str() };
            word.parse::<ImageFormat>().ok()
        });
        if let Some(format) = made {
            return Ok(Found { path, format, by: "volume" });
        }
        let looks_like = self.storage.looks(&path).await?;
        if subject.probe {
            return Ok(Found { path, format: looks_like, by: "looks" });
        }
        Err(StorageError::Undeclared { path, looks_like }.into())
    }

    /// The format that a domain's document says the file has.
    fn documented(&self, path: &Path) -> Option<ImageFormat> {
        let place = |pool: &str, volume: &str| self.pools.path_of(pool, volume);
        self.domains.list().iter().find_map(|snapshot| {
            let document = self.domains.get(snapshot.id).ok()?.definition().ok()??;
            let disks = DiskUse::of(&document, &place).ok()?;
            let disk = disks.into_iter().find(|disk| disk.path.as_deref() == Some(path))?;
            Some(disk.format.into())
        })
    }
}

fn warn(job: &JobHandle, phase: &str, found: &Found) {
    let warnings = found.warnings();
    for warning in &warnings {
        tracing::warn!(path = %found.path.display(), "{warning}");
    }
    job.tell(phase, None, &warnings.join("; "));
}

fn format(word: &str) -> Result<ImageFormat> {
    word.parse().map_err(|error: lodge_storage::UnknownImageFormat| {
        invalid(error.to_string(), "`vhd` is another word for vpc")
    })
}

fn invalid(text: String, hint: &str) -> EngineError {
    EngineError::new(Kind::InvalidInput, text).with_hint(hint)
}

fn answer(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn file_view(seen: Description, by: &str) -> ImageFileView {
    let (backing, backing_format) = seen.backing.map_or((None, None), |(name, format)| (Some(name), format));
    ImageFileView {
        path: seen.path.display().to_string(),
        format: seen.format.to_string(),
        format_by: by.to_owned(),
        virtual_bytes: seen.virtual_size.0,
        size_bytes: seen.allocation.0,
        length_bytes: seen.length.0,
        cluster_bytes: seen.cluster_size.map(|bytes| bytes.0),
        compat: seen.compat.map(str::to_owned),
        compression: seen.compression.map(str::to_owned),
        refcount_bits: seen.refcount_bits,
        backing,
        backing_format,
        snapshots: seen.snapshots,
        marks: seen.marks.into_iter().map(str::to_owned).collect(),
    }
}

fn extent(extent: &Extent) -> ImageExtent {
    let Extent { start, length, depth, present, zero, data, compressed, offset } = *extent;
    ImageExtent { start, length, depth, present, zero, data, compressed, offset }
}

fn report(found: &Found, checked: &Checked) -> ImageCheckReport {
    ImageCheckReport {
        path: found.name(),
        sound: checked.is_sound(),
        corruptions: checked.corruptions,
        leaks: checked.leaks,
        check_errors: checked.check_errors,
        corruptions_fixed: checked.corruptions_fixed,
        leaks_fixed: checked.leaks_fixed,
        total_clusters: checked.total_clusters,
        allocated_clusters: checked.allocated_clusters,
        fragmented_clusters: checked.fragmented_clusters,
        compressed_clusters: checked.compressed_clusters,
        image_end_bytes: checked.image_end_offset,
    }
}
