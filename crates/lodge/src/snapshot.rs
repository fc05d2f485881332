//! Snapshots: virsh's verbs with virsh's options, columns and exit codes, and the same under `lodge snapshot`.

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::session::Session;

mod act;
mod create;
mod document;
mod list;

/// virsh's verbs on snapshots.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a snapshot from XML
    SnapshotCreate(create::Create),
    /// Create a snapshot from a set of args
    SnapshotCreateAs(create::CreateAs),
    /// Edit XML for a snapshot
    SnapshotEdit(document::Edit),
    /// Get or set the current snapshot
    SnapshotCurrent(document::Current),
    /// Get details about a snapshot
    SnapshotInfo(list::Info),
    /// List snapshots for a domain
    SnapshotList(list::List),
    /// Dump XML for a domain snapshot
    SnapshotDumpxml(document::Dumpxml),
    /// Get the name of the parent of a snapshot
    SnapshotParent(list::Parent),
    /// Revert a domain to a snapshot
    SnapshotRevert(act::Revert),
    /// Delete a domain snapshot
    SnapshotDelete(act::Delete),
    /// Take, list, revert to and delete snapshots of a domain
    #[command(subcommand)]
    Snapshot(Group),
}

/// The same under one noun.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Take a snapshot
    Create(create::CreateAs),
    /// List snapshots
    #[command(alias = "ls")]
    List(list::List),
    /// The snapshots as a tree
    Tree(Dom),
    /// A snapshot's facts
    Info(list::Info),
    /// A snapshot's document
    Dumpxml(document::Dumpxml),
    /// The current snapshot, or another one to be it
    Current(document::Current),
    /// A snapshot's parent
    Parent(list::Parent),
    /// Go back to a snapshot
    Revert(act::Revert),
    /// Remove a snapshot
    #[command(alias = "rm")]
    Delete(act::Delete),
    /// Change a snapshot's document
    Edit(document::Edit),
}

/// A domain, and nothing else.
#[derive(Debug, Args)]
pub struct Dom {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    pub domain: String,
}

/// Which snapshot: by name, or the current one.
#[derive(Debug, Args)]
pub struct Which {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    pub domain: String,
    /// snapshot name
    #[arg(value_name = "snapshotname")]
    pub snapshotname: Option<String>,
    /// use the current snapshot
    #[arg(long)]
    pub current: bool,
}

impl Verb {
    /// Whether virsh has this verb too.
    pub fn is_of_virsh(&self) -> bool {
        !matches!(self, Self::Snapshot(_))
    }
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::SnapshotCreate(verb) => verb.run(session).await,
        Verb::SnapshotCreateAs(verb) | Verb::Snapshot(Group::Create(verb)) => verb.run(session).await,
        Verb::SnapshotEdit(verb) | Verb::Snapshot(Group::Edit(verb)) => verb.run(session).await,
        Verb::SnapshotCurrent(verb) | Verb::Snapshot(Group::Current(verb)) => verb.run(session).await,
        Verb::SnapshotInfo(verb) | Verb::Snapshot(Group::Info(verb)) => verb.run(session).await,
        Verb::SnapshotList(verb) | Verb::Snapshot(Group::List(verb)) => verb.run(session).await,
        Verb::SnapshotDumpxml(verb) | Verb::Snapshot(Group::Dumpxml(verb)) => verb.run(session).await,
        Verb::SnapshotParent(verb) | Verb::Snapshot(Group::Parent(verb)) => verb.run(session).await,
        Verb::SnapshotRevert(verb) | Verb::Snapshot(Group::Revert(verb)) => verb.run(session).await,
        Verb::SnapshotDelete(verb) | Verb::Snapshot(Group::Delete(verb)) => verb.run(session).await,
        Verb::Snapshot(Group::Tree(dom)) => list::tree(&dom.domain, session).await,
    }
}
