//! What a watcher looks through: the guest's agent and the networks' leases.
//!
//! [`AgentGuest`] is the real one, over the QEMU guest agent.

mod agent;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use agent::AgentGuest;

/// A running guest, as its agent lets us look.
#[async_trait]
pub trait Guest: Send + Sync {
    /// Is anybody there?
    async fn ping(&self, patience: Duration) -> Result<(), GuestError>;

    /// A file's content. `Ok(None)`: there is no such file. Longer than `longest`: an error.
    async fn read_file(
        &self,
        path: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, GuestError>;

    /// Runs a program to its end; its standard output, whatever its exit code.
    async fn run(&self, program: &str, args: &[&str], patience: Duration) -> Result<Vec<u8>, GuestError>;

    /// The addresses it has, loopback and link-local ones left out.
    async fn addresses(&self, patience: Duration) -> Result<Vec<IpAddr>, GuestError>;

    /// The name it gives itself.
    async fn hostname(&self, patience: Duration) -> Result<String, GuestError>;
}

/// The leases of a guest's nics.
#[async_trait]
pub trait Leases: Send + Sync {
    /// The addresses that were given to it since it started.
    async fn addresses(&self) -> Vec<IpAddr>;
}

/// Why a look brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// Nobody answered.
    #[error("the guest's agent does not answer")]
    Silent,
    /// The agent does not do this at all: too old, or its owner forbids it.
    #[error("the guest's agent may not do this: {reason}")]
    Forbidden {
        /// Its words.
        reason: String,
    },
    /// It did not work out this time.
    #[error("the guest's agent failed: {reason}")]
    Failed {
        /// Its words.
        reason: String,
    },
}
