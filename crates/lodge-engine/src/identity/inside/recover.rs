//! Changes of disks that a crash cut off in their last moment: the log has all of it, or nothing was changed.

use std::path::Path;

use lodge_disk::edit::Recovered;
use lodge_model::DomainId;

use super::{GuestDisk, Inside, images, log_error, uses};
use crate::{Engine, error::Result};

impl Engine {
    /// Ends what an earlier daemon had begun to write. Before any guest starts.
    pub(crate) async fn end_cut_changes(&self) {
        images::forget_unbegun(&self.inside.logs);
        for guest in self.inside.cut() {
            match self.end_cut_change(&guest).await {
                Ok(Recovered::Applied) => {
                    tracing::info!(guest, "change of its identity that was cut off ended");
                }
                Ok(Recovered::Dropped) => {
                    tracing::info!(guest, "change of its identity that was cut off dropped");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        guest,
                        error,
                        "change of its identity that was cut off not ended; its log is kept"
                    );
                }
            }
        }
    }

    async fn end_cut_change(&self, guest: &str) -> Result<Recovered> {
        let path = self.inside.log_of(guest);
        if let Some(disks) = images::named(&self.inside.logs, guest)? {
            let recovered = self.end_change_of(&disks, &path).await;
            images::forget_unbegun(&self.inside.logs);
            return recovered;
        }
        let id: DomainId = guest.parse().map_err(|_| {
            crate::EngineError::new(
                lodge_model::Kind::Corrupt,
                format!("`{}` is no guest's log", path.display()),
            )
        })?;
        let handle = self.domains.get(id)?;
        let mut gaps = Vec::new();
        let disks = self.disks_inside(&handle.document()?, &mut gaps);
        self.end_change_of(&disks, &path).await
    }

    async fn end_change_of(&self, disks: &[GuestDisk], log: &Path) -> Result<Recovered> {
        let open = self.inside.storage.open_to_edit("the end of a change", &uses(disks)?).await?;
        let recovered = self.inside.follow(&open, log).await?;
        lodge_sys::fs::remove_durable(log).map_err(|error| log_error("remove", log, &error))?;
        Ok(recovered)
    }
}

impl Inside {
    /// The guests whose change was cut off.
    fn cut(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.logs).into_iter().flatten().flatten();
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok();
        entries.filter_map(name).filter_map(|name| name.strip_suffix(".redo").map(str::to_owned)).collect()
    }
}
