//! Whether an image's tables and counts are sound. `qemu-img check`, shut in: imago has no check.

use std::path::Path;

use serde::Deserialize;

use super::{
    foreign::{self, ask, of_json, time_for},
    hold::Purpose,
    kind::ImageFormat,
};
use crate::{Storage, error::StorageError, limits, vol::tool::Run};

/// What is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repair {
    /// Nothing: the image is only read.
    #[default]
    No,
    /// Room that is counted as used and is not.
    Leaks,
    /// Whatever can be. It may go wrong: keep a copy.
    All,
}

/// What a check found. The fields are `qemu-img check --output=json`'s.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Checked {
    /// Wrong entries: data is in danger.
    pub corruptions: u64,
    /// Clusters counted as used that are not: only room is lost.
    pub leaks: u64,
    /// What could not be checked.
    pub check_errors: u64,
    /// Wrong entries put right.
    pub corruptions_fixed: u64,
    /// Leaked clusters given back.
    pub leaks_fixed: u64,
    /// Clusters of the disk.
    pub total_clusters: u64,
    /// Those that have data.
    pub allocated_clusters: u64,
    /// Those that do not follow the one before.
    pub fragmented_clusters: u64,
    /// Those that are compressed.
    pub compressed_clusters: u64,
    /// Bytes of the file up to the last that is used.
    pub image_end_offset: u64,
}

impl Checked {
    /// Nothing is wrong, or nothing any more.
    pub fn is_sound(&self) -> bool {
        self.corruptions == 0 && self.leaks == 0 && self.check_errors == 0
    }
}

/// `qemu-img check`: corruption found, leaks found. Both come with a report.
const FOUND: &[i32] = &[2, 3];

impl Storage {
    /// Checks an image. Refused while anybody writes to it, and with `repair` while anybody has it.
    pub async fn check_image(
        &self,
        path: &Path,
        format: ImageFormat,
        repair: Repair,
    ) -> Result<Checked, StorageError> {
        if matches!(format, ImageFormat::Raw | ImageFormat::Vpc) {
            return Err(StorageError::Refused {
                path: path.to_owned(),
                what: format!("is {format}, which has no tables that could be checked"),
                hint: "`lodge image info` and `lodge image map` read what there is".to_owned(),
            });
        }
        let repairs = repair != Repair::No;
        let purpose = if repairs { Purpose::RewriteByTool } else { Purpose::Read };
        let _held = match self.hold_image(path, format, purpose, "image check").await {
            // What QEMU marked as corrupt is what a check is for.
            Err(StorageError::MarkedCorrupt { .. }) => None,
            held => Some(held?),
        };
        let owned = path.to_owned();
        let node = self.blocking(path, limits::LOOK, move || foreign::node_of_one(&owned, format)).await?;
        let run = Run::new("qemu-img").args(["check", "--output=json"]);
        let run = match repair {
            Repair::No => run,
            Repair::Leaks => run.args(["-r", "leaks"]),
            Repair::All => run.args(["-r", "all"]),
        };
        let run = run.args([node.name.as_str()]).within(time_for(node.bytes));
        let run = if repairs { run.writes(path) } else { run.reads(path) };
        let run = node.files.iter().skip(1).fold(run, |run, file| run.reads(file));
        let answer = ask(run, "check", path, FOUND).await?;
        let checked: Checked = of_json(&answer.out, "check", path)?;
        tracing::info!(
            path = %path.display(), corruptions = checked.corruptions, leaks = checked.leaks, ?repair, "image checked"
        );
        Ok(checked)
    }
}
