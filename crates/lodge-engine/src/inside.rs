//! A guest's agent as its follower looks through it.

use std::{net::IpAddr, time::Duration};

use lodge_guest::readiness::{Guest, GuestError};
use lodge_qemu::agent::{Agent, AgentError};

/// The agent behind a guest's channel.
pub(crate) struct Inside(pub Agent);

#[async_trait::async_trait]
impl Guest for Inside {
    async fn ping(&self, patience: Duration) -> Result<(), GuestError> {
        self.0.ping(patience).await.map_err(|error| unheard(&error))
    }

    async fn read_file(
        &self,
        path: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, GuestError> {
        match self.0.read_file(path, longest, patience).await {
            Ok(bytes) => Ok(Some(bytes)),
            // The agent has one class for all that open(2) refuses; the words are strerror's.
            Err(AgentError::Refused { description, .. }) if description.contains("No such file") => Ok(None),
            Err(error) => Err(unheard(&error)),
        }
    }

    async fn run(&self, program: &str, args: &[&str], patience: Duration) -> Result<Vec<u8>, GuestError> {
        let done = self.0.run(program, args, patience).await;
        done.map(|done| done.stdout).map_err(|error| unheard(&error))
    }

    async fn addresses(&self, patience: Duration) -> Result<Vec<IpAddr>, GuestError> {
        let interfaces = self.0.interfaces(patience).await.map_err(|error| unheard(&error))?;
        let addresses = interfaces.into_iter().flat_map(|interface| interface.ip_addresses);
        Ok(addresses.map(|address| address.ip_address).filter(is_of_use).collect())
    }

    async fn hostname(&self, patience: Duration) -> Result<String, GuestError> {
        self.0.host_name(patience).await.map_err(|error| unheard(&error))
    }
}

fn is_of_use(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

fn unheard(error: &AgentError) -> GuestError {
    match error {
        AgentError::Refused { .. } | AgentError::Malformed { .. } | AgentError::TooLong { .. } => {
            GuestError::Refused { reason: error.to_string() }
        }
        AgentError::Connect { .. }
        | AgentError::Silent { .. }
        | AgentError::Busy { .. }
        | AgentError::Closed { .. } => GuestError::Silent,
    }
}
