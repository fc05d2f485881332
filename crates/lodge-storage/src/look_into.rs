//! Opening the disks of a guest that is off, for whoever reads or edits what lies on them.
//!
//! To read, nothing is taken: a look must not keep a guest from starting, and whoever looks finds out afterwards whether
//! somebody wrote meanwhile. To edit, the files are an act's until the answer is dropped: no guest starts on them.

use lodge_model::DomainId;

use crate::{
    Storage,
    claim::{ClaimedDisk, claimed, wanted},
    claims::Use,
    disk_use::DiskUse,
    error::StorageError,
    graph::need::{Definitions, Harm, Need, against},
};

/// Disks that are open.
#[derive(Debug)]
pub struct OpenDisks {
    /// Each with its chain, the top file first.
    pub disks: Vec<ClaimedDisk>,
    held: Option<(Storage, DomainId)>,
}

impl Drop for OpenDisks {
    fn drop(&mut self) {
        if let Some((storage, id)) = self.held.take() {
            storage.release(id);
        }
    }
}

impl Storage {
    /// Opens disks to be read.
    pub async fn open_to_read(&self, disks: &[DiskUse]) -> Result<OpenDisks, StorageError> {
        let read: Vec<DiskUse> =
            disks.iter().map(|disk| DiskUse { read_only: true, ..disk.clone() }).collect();
        let examined = self.examine(&read).await?;
        Ok(OpenDisks { disks: examined.into_iter().map(claimed).collect(), held: None })
    }

    /// Opens disks to be edited by an act, `what`. Refused while anybody else has one, and of images and templates.
    pub async fn open_to_edit(&self, what: &str, disks: &[DiskUse]) -> Result<OpenDisks, StorageError> {
        let examined = self.examine(disks).await?;
        self.refuse_writing_images(&examined).await?;
        let id = DomainId::random();
        // What lies below is only read, and the disks above it keep others from writing to it.
        let mut tops = wanted(&examined);
        tops.retain(|wanted| wanted.usage != Use::Backing);
        self.claims().work(id, what, &tops)?;
        // From here on dropping it gives the files back.
        let mut open = OpenDisks { disks: Vec::new(), held: Some((self.clone(), id)) };
        let examined = self.look_for_locks(examined).await?;
        open.disks = examined.into_iter().map(claimed).collect();
        Ok(open)
    }

    /// The same of disks that have been there: also refused while somebody needs their bytes as they are.
    pub async fn open_standing_to_edit(
        &self,
        what: &str,
        disks: &[DiskUse],
    ) -> Result<OpenDisks, StorageError> {
        // Taken first and asked after: what comes meanwhile finds them taken.
        let open = self.open_to_edit(what, disks).await?;
        let own = open.held.as_ref().map(|(_, id)| *id);
        for path in disks.iter().filter_map(|disk| disk.path.as_ref()) {
            let mut needs = self.graph(std::slice::from_ref(path)).await?.needs(path);
            needs.retain(|need| !matches!(need, Need::Act { id, .. } if Some(*id) == own));
            if let Some(need) = against(Harm::Change, Definitions::Count, &needs) {
                return Err(StorageError::NeededBy { path: path.clone(), need: need.clone() });
            }
        }
        Ok(open)
    }
}
