//! Keeping an image as it is, or to oneself, while it is read or rewritten.
//!
//! Both ways of asking are used: the table of our own guests' claims, and QEMU's locks for everybody else. So no guest
//! of ours starts on it, and no other program's QEMU opens it.

use std::path::Path;

use lodge_model::DomainId;

use super::kind::ImageFormat;
use crate::{
    Storage,
    chain::open_chain,
    claims::{Use, Wanted},
    error::StorageError,
    file::{Access, DiskFile},
    limits,
    lock::{self, Intent},
};

/// What will be done with the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is read: nobody may write.
    Read,
    /// This process replaces or rewrites it: nobody may have it.
    Rewrite,
    /// A tool rewrites it, which locks it itself: nobody may have it.
    RewriteByTool,
}

/// An image that is held. Free again when dropped.
pub(crate) struct Held {
    storage: Storage,
    holder: DomainId,
    /// The locks live on these.
    files: Vec<DiskFile>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.iter().for_each(lock::take_back);
        self.storage.release(self.holder);
    }
}

impl Storage {
    /// Takes an image, and all it stands on, for `act` ("image compact").
    pub(crate) async fn hold_image(
        &self,
        path: &Path,
        format: ImageFormat,
        purpose: Purpose,
        act: &str,
    ) -> Result<Held, StorageError> {
        let (owned, gate) = (path.to_owned(), self.gate());
        let open = move || match format.of_disks() {
            Some(format) => {
                let links = open_chain(&owned, format, Access::Read, &gate)?;
                Ok(links.into_iter().map(|link| link.disk).collect())
            }
            None => Ok(vec![DiskFile::open(&owned, Access::Read)?]),
        };
        let files: Vec<DiskFile> = self.blocking(path, limits::LOOK, open).await?;
        let writes = purpose != Purpose::Read;
        let usage = |depth: usize| match (depth, writes) {
            (0, true) => Use::Write,
            (0, false) => Use::Read,
            _ => Use::Backing,
        };
        let wanted = |(depth, file): (usize, &DiskFile)| Wanted {
            id: file.id,
            path: file.path.clone(),
            usage: usage(depth),
        };
        let wanted: Vec<_> = files.iter().enumerate().map(wanted).collect();
        let holder = DomainId::random();
        self.claims().claim(holder, act, &wanted)?;
        let mut held = Held { storage: self.clone(), holder, files: Vec::new() };
        // Claimed first and asked after, so that two cannot both find it free.
        let lock = move |files: &[DiskFile]| {
            for (depth, file) in files.iter().enumerate() {
                let intent = Intent { writes: writes && depth == 0, shares_writing: false };
                let failed = |source| StorageError::Open { path: file.path.clone(), source };
                if let Some(foreign) = lock::foreign(file, intent).map_err(failed)? {
                    return Err(StorageError::Locked { path: file.path.clone(), pid: foreign.pid });
                }
                if depth > 0 || purpose != Purpose::RewriteByTool {
                    lock::tell(file, intent).map_err(failed)?;
                }
            }
            Ok(())
        };
        let lock = move || match lock(&files) {
            Ok(()) => Ok(files),
            Err(error) => {
                files.iter().for_each(lock::take_back);
                Err(error)
            }
        };
        held.files = self.blocking(path, limits::LOOK, lock).await?;
        Ok(held)
    }
}
