//! Linked clones: a new qcow2 that begins as the image and keeps only what differs.

use lodge_model::Bytes;

use crate::{
    Storage, Volume,
    error::StorageError,
    format::Format,
    image::Image,
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
        let path = self.volume_path(name, Format::Qcow2)?;
        let (image, db) = (image.to_owned(), self.db().clone());
        // One thread for all of it: to wake another costs a good part of what a clone costs.
        self.blocking(&path.clone(), limits::CHANGE, move || {
            let base = Image::named(&db, &image)?;
            let size = whole_sectors(size.unwrap_or(base.virtual_size))?;
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
