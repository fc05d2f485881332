//! Whether a device has something on it that a format would destroy. `blkid` looks; its words are read here.

use std::path::Path;

use lodge_sys::tool::ToolError;

use super::tool;
use crate::pool::error::PoolError;

/// `blkid`'s status for "nothing found".
const NOTHING: i32 = 2;
/// … and for "several things found".
const SEVERAL: i32 = 8;

/// What a device has on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// A file system, a member of something, a partition table: `ext4`, `LVM2_member`, `gpt`.
    Format(String),
}

/// Refuses a device that has a file system, a partition table or is part of something.
pub(super) async fn require(device: &Path, format: &str) -> Result<(), PoolError> {
    let shown = device.display();
    match look(device).await? {
        Found::Nothing => Ok(()),
        Found::Format(found) if found == format => {
            Err(PoolError::Built(format!("Device '{shown}' already formatted using '{format}'")))
        }
        Found::Format(_) => Err(PoolError::Built(format!(
            "Format of device '{shown}' does not match the expected format '{format}', forced overwrite is necessary"
        ))),
    }
}

/// What is on a device.
pub(crate) async fn look(device: &Path) -> Result<Found, PoolError> {
    match tool("blkid").args(["-p", "-o", "export"]).arg(device).run().await {
        Ok(printed) => Ok(read(&String::from_utf8_lossy(&printed))),
        Err(ToolError::Failed { status: Some(NOTHING), .. }) => Ok(Found::Nothing),
        Err(ToolError::Failed { status: Some(SEVERAL), .. }) => {
            Ok(Found::Format("several at once".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

fn read(printed: &str) -> Found {
    let value = |key: &str| {
        let found = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    value("TYPE").or_else(|| value("PTTYPE")).map_or(Found::Nothing, Found::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_comes_before_a_partition_table() {
        let found = |text: &str| read(text);
        assert_eq!(found("DEVNAME=/dev/loop0\nPTUUID=1\nPTTYPE=gpt\n"), Found::Format("gpt".to_owned()));
        assert_eq!(found("DEVNAME=/dev/a\nTYPE=ext4\nPTTYPE=dos\n"), Found::Format("ext4".to_owned()));
        assert_eq!(found("DEVNAME=/dev/a\nPART_ENTRY_TYPE=0x83\n"), Found::Nothing);
    }
}
