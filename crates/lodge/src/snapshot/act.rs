//! `snapshot-revert snapshot-delete`.

use clap::Args;
use lodge_client::api::{SnapshotDelete, SnapshotRevert};

use super::Which;
use super::list::resolve;
use crate::failure::{Failure, What, invalid};
use crate::instance::progress::Spinner;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Revert {
    #[command(flatten)]
    which: Which,
    /// after reverting, change state to running
    #[arg(long)]
    running: bool,
    /// after reverting, change state to paused
    #[arg(long)]
    paused: bool,
    /// try harder on risky reverts
    #[arg(long)]
    force: bool,
    /// re-initialize NVRAM from its pristine template
    #[arg(long)]
    reset_nvram: bool,
}

impl Revert {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.running && self.paused {
            return Err(invalid("Options --running and --paused are mutually exclusive"));
        }
        let name = resolve(&self.which, session).await?;
        let options = SnapshotRevert {
            running: self.running,
            paused: self.paused,
            force: self.force,
            reset_nvram: self.reset_nvram,
        };
        let client = session.client().await?;
        let spinner = Spinner::start(session, &format!("Reverting to {name}"));
        let reverted = client.revert_to_snapshot(&self.which.domain, &name, &options).await;
        spinner.stop();
        let view = reverted.what(|| format!("Failed to revert to snapshot '{name}'"))?;
        session.done(&view, |_| format!("Domain snapshot {name} reverted\n"));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// delete snapshot and all children
    #[arg(long)]
    children: bool,
    /// delete children but not snapshot
    #[arg(long)]
    children_only: bool,
    /// delete only libvirt metadata, leaving snapshot contents behind
    #[arg(long)]
    metadata: bool,
}

impl Delete {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.children && self.children_only {
            return Err(invalid("Options --children and --children-only are mutually exclusive"));
        }
        let name = resolve(&self.which, session).await?;
        let options = SnapshotDelete {
            children: self.children,
            children_only: self.children_only,
            metadata: self.metadata,
        };
        let client = session.client().await?;
        let spinner = Spinner::start(session, &format!("Deleting {name}"));
        let deleted = client.delete_snapshot(&self.which.domain, &name, &options).await;
        spinner.stop();
        deleted.what(|| format!("Failed to delete snapshot {name}"))?;
        let what = if self.children_only { "children deleted" } else { "deleted" };
        session.done(&options, |_| format!("Domain snapshot {name} {what}\n"));
        Ok(())
    }
}
