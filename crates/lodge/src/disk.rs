//! Who needs which file: `storage doctor usage needs`, `chain show commit flatten rebase template clone`, `files`;
//! and what lies on guests' disks: `disk ls cat tree lsblk`.

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

mod chain;
mod files;
mod guest;
mod storage;

/// Verbs on files of disks.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Verb {
    /// What is wrong with disks' files, who needs one, how pools fill
    #[command(subcommand)]
    Storage(storage::Noun),
    /// What a disk stands on, and acts on such chains of guests that are off
    #[command(subcommand)]
    Chain(chain::Noun),
    /// What lies on the disks of a guest that is off: files, partitions, volumes
    #[command(subcommand)]
    Disk(guest::Noun),
    /// Every file that makes up a domain
    Files(files::Files),
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Storage(verb) => verb.run(session).await,
        Verb::Chain(verb) => verb.run(session).await,
        Verb::Disk(verb) => verb.run(session).await,
        Verb::Files(verb) => verb.run(session).await,
    }
}
