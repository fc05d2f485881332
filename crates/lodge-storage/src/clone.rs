//! Linked clones: a new qcow2 that begins as the image and keeps only what differs.

use lodge_model::Bytes;

use crate::{
    Storage, Volume,
    error::StorageError,
    format::Format,
    limits,
    volume::{create, look, whole_sectors, write_qcow2},
};

impl Storage {
    /// Makes the volume `name` in the default pool as a linked clone of `image`. No `size`: the
    /// image's. The clone is on disk when this returns; after an error or a crash there is none.
    pub async fn clone_linked(
        &self,
        image: &str,
        name: &str,
        size: Option<Bytes>,
    ) -> Result<Volume, StorageError> {
        let base = self.image(image).await?;
        let path = self.volume_path(name, Format::Qcow2)?;
        let size = whole_sectors(size.unwrap_or(base.virtual_size))?;
        let image = image.to_owned();
        self.blocking(&path.clone(), limits::CHANGE, move || {
            // The file is asked, not the registry: it is what the clone will stand on.
            let least = look(&base.path, base.format)?.virtual_size;
            if size < least {
                return Err(StorageError::SmallerThanImage { image, least, size });
            }
            create(&path, |temp| write_qcow2(temp, size, Some((&base.path, base.format))))?;
            look(&path, Format::Qcow2)
        })
        .await
    }
}
