//! Use cases of images: built or taken in once, cloned often, never removed from under a clone.

use std::{path::Path, sync::Arc};

use lodge_api::{ClonedVolume, ImageBuild, ImageClone, ImageImport, ImageView, Job};
use lodge_build::{Progress, Recipe, Settings};
use lodge_model::{Bytes, DomainId, Kind};
use lodge_storage::{Format, Image, ImageSource, NewImage};

use crate::{
    Caller, Engine,
    domain::absolute,
    error::{EngineError, Result},
    job::JobHandle,
};

impl Engine {
    /// Every image, by name.
    #[crate::boxed]
    pub async fn images(&self, _caller: &Caller) -> Result<Vec<ImageView>> {
        let mut views = Vec::new();
        for image in self.storage.images().await? {
            views.push(self.image_view(image).await?);
        }
        Ok(views)
    }

    /// One image.
    #[crate::boxed]
    pub async fn image(&self, _caller: &Caller, image: &str) -> Result<ImageView> {
        self.image_view(self.storage.image(image).await?).await
    }

    /// Builds an image; the job's result is an `ImageView`.
    #[crate::boxed]
    pub async fn build_image(&self, caller: &Caller, build: ImageBuild) -> Result<Job> {
        caller.may_change()?;
        recipe(&build.name)?;
        if !build.force && self.storage.image(&build.name).await.is_ok() {
            return Err(EngineError::new(
                Kind::Exists,
                format!("there is an image `{}` already", build.name),
            )
            .with_hint("--force builds it anew; clones keep the old one's bytes"));
        }
        let (engine, subject) = (self.clone(), build.name.clone());
        let act = |job| async move {
            let view = engine.build_here(&job, &build).await?;
            Ok(serde_json::to_value(view).unwrap_or_default())
        };
        self.jobs.begin(caller, "image.build", &subject, act).await
    }

    /// Builds within a job that is running.
    pub(crate) async fn build_here(&self, job: &JobHandle, build: &ImageBuild) -> Result<ImageView> {
        let recipe = recipe(&build.name)?;
        let teller = Arc::new(job.clone());
        let tell = move |progress: Progress| {
            let phase = progress.phase.to_string();
            teller.tell(&phase, Some(f64::from(progress.fraction)), "");
        };
        let directory = self.store.root().images();
        let settings =
            Settings::of_host(self.inside.catalogue().clone(), self.inside.readers().program().clone())?;
        let built = lodge_build::build(recipe, &settings, &directory, &job.cancel, &tell).await?;
        let packages = u32::try_from(built.packages.len()).unwrap_or(u32::MAX);
        let image = NewImage {
            name: build.name.clone(),
            path: built.path,
            format: Format::Qcow2,
            sha256: built.sha256,
            source: ImageSource::Built,
            details: serde_json::json!({ "packages": packages, "manifest": built.packages }),
        };
        let image = self.storage.register_image(image).await?;
        self.feed.publish("image.built", build.name.clone(), serde_json::Value::Null);
        self.image_view(image).await
    }

    /// Takes a file in as an image; the job's result is an `ImageView`.
    #[crate::boxed]
    pub async fn import_image(&self, caller: &Caller, import: ImageImport) -> Result<Job> {
        caller.may_change()?;
        let path = absolute(&import.path)?;
        let format: Format = import.format.parse().map_err(|_| {
            EngineError::new(Kind::InvalidInput, format!("`{}` is no format of images here", import.format))
                .with_hint("the formats are qcow2 and raw")
        })?;
        let (engine, subject) = (self.clone(), import.name.clone());
        let act = |job: JobHandle| async move {
            let (teller, from) = (job.clone(), import.path.clone());
            let tell = move |fraction: f32| teller.tell("copying", Some(f64::from(fraction)), &from);
            let image = engine.storage.import_image(&import.name, &path, format, &job.cancel, tell).await?;
            engine.feed.publish("image.imported", import.name, serde_json::Value::Null);
            let view = engine.image_view(image).await?;
            Ok(serde_json::to_value(view).unwrap_or_default())
        };
        self.jobs.begin(caller, "image.import", &subject, act).await
    }

    /// A linked clone of an image in the default pool.
    #[crate::boxed]
    pub async fn clone_image(&self, caller: &Caller, image: &str, clone: ImageClone) -> Result<ClonedVolume> {
        caller.may_change()?;
        self.clone_into_pool(image, &clone.name, clone.size_bytes, false).await
    }

    /// `at_least`: an image that is larger than `size_bytes` gives its own size instead of an error.
    pub(crate) async fn clone_into_pool(
        &self,
        image: &str,
        name: &str,
        size_bytes: Option<u64>,
        at_least: bool,
    ) -> Result<ClonedVolume> {
        let base = self.storage.image(image).await?;
        let size =
            size_bytes.map(Bytes).map(|size| if at_least { size.max(base.virtual_size) } else { size });
        self.pools.ensure_default().await?;
        let volume = self.storage.clone_linked(image, name, size).await?;
        self.pools.noticed(&volume.path).await;
        self.feed.publish("volume.cloned", name, serde_json::json!({ "image": image }));
        Ok(ClonedVolume {
            path: volume.path.display().to_string(),
            format: volume.format.as_str().to_owned(),
            virtual_bytes: volume.virtual_size.0,
            image: image.to_owned(),
        })
    }

    /// Takes back a volume that nothing uses yet.
    pub(crate) async fn discard_volume(&self, path: &str) {
        if let Err(error) = self.storage.delete_volume(DomainId::random(), Path::new(path)).await {
            tracing::error!(path, error = &error as &dyn std::error::Error, "volume not deleted");
        }
        self.pools.noticed(Path::new(path)).await;
    }

    /// Removes an image nothing stands on.
    #[crate::boxed]
    pub async fn remove_image(&self, caller: &Caller, image: &str) -> Result<()> {
        caller.may_change()?;
        self.storage.remove_image(image).await?;
        self.feed.publish("image.removed", image, serde_json::Value::Null);
        Ok(())
    }

    async fn image_view(&self, image: Image) -> Result<ImageView> {
        let used_by = self.storage.clones_of(&image.path).await?;
        Ok(ImageView {
            name: image.name,
            path: image.path.display().to_string(),
            format: image.format.as_str().to_owned(),
            virtual_bytes: image.virtual_size.0,
            size_bytes: image.allocation.0,
            sha256: Some(image.sha256).filter(|sum| !sum.is_empty()),
            source: Some(match image.source {
                ImageSource::Built => "built".to_owned(),
                ImageSource::File(path) => path.display().to_string(),
            }),
            packages: image.details["packages"].as_u64().and_then(|count| u32::try_from(count).ok()),
            created_ms: image.created_ms.cast_unsigned(),
            used_by: used_by.iter().map(|path| path.display().to_string()).collect(),
        })
    }
}

/// How an image of that name is built.
pub(crate) fn recipe(name: &str) -> Result<&'static Recipe> {
    Recipe::named(name).ok_or_else(|| {
        let known: Vec<&str> = Recipe::all().iter().map(|recipe| recipe.name).collect();
        EngineError::new(Kind::NotFound, format!("there is no recipe `{name}`"))
            .with_hint(format!("what can be built: {}", known.join(", ")))
    })
}
