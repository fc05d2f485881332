//! Taking single disks for a guest that runs, and giving single ones back.

use lodge_model::DomainId;

use crate::{Storage, claim::ClaimedDisk, disk_use::DiskUse, error::StorageError};

impl Storage {
    /// As [`Storage::claim`], beside what the domain has already. All of `disks` or none of them.
    pub async fn claim_more(
        &self,
        domain: DomainId,
        name: &str,
        disks: &[DiskUse],
    ) -> Result<Vec<ClaimedDisk>, StorageError> {
        let examined = self.examine(disks).await?;
        self.refuse_writing_images(&examined).await?;
        let wanted = crate::claim::wanted(&examined);
        self.claims().claim_more(domain, name, &wanted)?;
        match self.look_for_others(domain, name, examined).await {
            Ok(examined) => Ok(examined.into_iter().map(crate::claim::claimed).collect()),
            Err(error) => {
                self.claims().give_back(domain, wanted.iter().map(|want| want.id));
                Err(error)
            }
        }
    }

    /// Gives back what the domain has for `disks`; not having it is fine. A file that is gone is forgotten by its path.
    pub async fn release_disks(&self, domain: DomainId, disks: &[DiskUse]) {
        for disk in disks {
            match self.examine(std::slice::from_ref(disk)).await {
                Ok(examined) => {
                    let wanted = crate::claim::wanted(&examined);
                    self.claims().give_back(domain, wanted.iter().map(|want| want.id));
                }
                Err(error) => {
                    tracing::debug!(%domain, disk = %disk.target, %error, "disk given back by its path");
                    if let Some(path) = &disk.path {
                        self.claims().give_back_path(domain, path);
                    }
                }
            }
        }
    }
}
