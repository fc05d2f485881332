//! Use cases of images.

use lodge_api::{ClonedVolume, ImageBuild, ImageClone, ImageImport, ImageView, Job};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Every image, by name.
    pub async fn images(&self, _caller: &Caller) -> Result<Vec<ImageView>> {
        Err(not_yet())
    }
    /// One image.
    pub async fn image(&self, _caller: &Caller, _image: &str) -> Result<ImageView> {
        Err(not_yet())
    }
    /// Builds an image; the job's result is an `ImageView`.
    pub async fn build_image(&self, _caller: &Caller, _build: ImageBuild) -> Result<Job> {
        Err(not_yet())
    }
    /// Takes a file in as an image; the job's result is an `ImageView`.
    pub async fn import_image(&self, _caller: &Caller, _import: ImageImport) -> Result<Job> {
        Err(not_yet())
    }
    /// A linked clone of an image in the default pool.
    pub async fn clone_image(
        &self,
        _caller: &Caller,
        _image: &str,
        _clone: ImageClone,
    ) -> Result<ClonedVolume> {
        Err(not_yet())
    }
    /// Removes an image nothing stands on.
    pub async fn remove_image(&self, _caller: &Caller, _image: &str) -> Result<()> {
        Err(not_yet())
    }
}
