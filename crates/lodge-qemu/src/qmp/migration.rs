//! What the monitor answers about a migration, which a save and a restore are too.

use serde::Deserialize;

use super::open_enum::open_enum;

open_enum! {
    /// How a migration (also one to a file) is doing.
    MigrationState {
        /// None was asked for.
        None = "none",
        /// Being prepared.
        Setup = "setup",
        /// Memory is going over.
        Active = "active",
        /// The guest already runs over there.
        PostcopyActive = "postcopy-active",
        /// Waits before the guest is handed over.
        PreSwitchover = "pre-switchover",
        /// The state of the devices is going over.
        Device = "device",
        /// All is there.
        Completed = "completed",
        /// It did not work.
        Failed = "failed",
        /// Being called off.
        Cancelling = "cancelling",
        /// Called off.
        Cancelled = "cancelled",
    }
}

impl MigrationState {
    /// Whether it has ended, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Answer of `query-migrate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Migration {
    /// How it is doing.
    #[serde(default = "no_migration")]
    pub status: MigrationState,
    /// How much has gone over.
    #[serde(default)]
    pub ram: Option<MigrationRam>,
    /// Why it failed.
    #[serde(default)]
    pub error_desc: Option<String>,
    /// How long the guest stood still, in ms.
    #[serde(default)]
    pub downtime: Option<u64>,
    /// How long it has taken, in ms.
    #[serde(default)]
    pub total_time: Option<u64>,
    /// How long the preparation took, in ms.
    #[serde(default)]
    pub setup_time: Option<u64>,
}

fn no_migration() -> MigrationState {
    MigrationState::None
}

/// The memory part of a migration, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MigrationRam {
    /// Gone over.
    pub transferred: u64,
    /// To go.
    pub remaining: u64,
    /// All of it.
    pub total: u64,
    /// Pages that hold one value only.
    #[serde(default)]
    pub duplicate: u64,
    /// Pages that were copied.
    #[serde(default)]
    pub normal: u64,
    /// The same in bytes.
    #[serde(default)]
    pub normal_bytes: u64,
    /// Pages the guest makes dirty per second.
    #[serde(default)]
    pub dirty_pages_rate: u64,
    /// Passes over the memory.
    #[serde(default)]
    pub dirty_sync_count: u64,
    /// Megabits per second.
    #[serde(default)]
    pub mbps: f64,
    /// Bytes of a page.
    #[serde(default)]
    pub page_size: u64,
    /// Pages the other side asked for.
    #[serde(default)]
    pub postcopy_requests: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_migration_is_an_empty_answer() {
        let empty: Migration = serde_json::from_str("{}").unwrap();
        assert_eq!(empty.status, MigrationState::None);
    }
}
