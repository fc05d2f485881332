//! A guest seen through its QEMU guest agent.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use lodge_model::MacAddr;
use lodge_qemu::agent::{Agent, AgentError, GuestInterface};

use super::{Guest, GuestError};

/// The agent, and the nics whose addresses count.
#[derive(Debug, Clone)]
pub struct AgentGuest {
    agent: Agent,
    nics: Vec<MacAddr>,
}

impl AgentGuest {
    /// Looks through `agent`; only addresses of `nics` are told, not those of bridges and tunnels that the guest
    /// makes itself. Without `nics`, all.
    pub fn new(agent: Agent, nics: Vec<MacAddr>) -> Self {
        Self { agent, nics }
    }
}

#[async_trait]
impl Guest for AgentGuest {
    async fn ping(&self, patience: Duration) -> Result<(), GuestError> {
        self.agent.ping(patience).await.map_err(told)
    }

    async fn read_file(
        &self,
        path: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, GuestError> {
        match self.agent.read_file(path, longest, patience).await {
            Ok(content) => Ok(Some(content)),
            // The agent's words are the guest's language's, so only this one is looked for: SELinux keeps files from
            // it on Red Hat's guests. Any other refusal to open is taken for a file that is not there.
            Err(AgentError::Refused { class, description, .. }) if class != "CommandNotFound" => {
                if description.contains("Permission denied") {
                    Err(GuestError::Forbidden { reason: description })
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(told(error)),
        }
    }

    async fn run(&self, program: &str, args: &[&str], patience: Duration) -> Result<Vec<u8>, GuestError> {
        self.agent.run(program, args, patience).await.map(|executed| executed.stdout).map_err(told)
    }

    async fn addresses(&self, patience: Duration) -> Result<Vec<IpAddr>, GuestError> {
        let interfaces = self.agent.interfaces(patience).await.map_err(told)?;
        Ok(addresses_of(&interfaces, &self.nics))
    }

    async fn hostname(&self, patience: Duration) -> Result<String, GuestError> {
        self.agent.host_name(patience).await.map_err(told)
    }
}

fn told(error: AgentError) -> GuestError {
    match error {
        AgentError::Connect { .. }
        | AgentError::Silent { .. }
        | AgentError::Busy { .. }
        | AgentError::Closed { .. } => GuestError::Silent,
        AgentError::Refused { class, description, .. } if class == "CommandNotFound" => {
            GuestError::Forbidden { reason: description }
        }
        AgentError::Refused { .. } | AgentError::Malformed { .. } | AgentError::TooLong { .. } => {
            GuestError::Failed { reason: error.to_string() }
        }
    }
}

/// Those that others can reach it by, IPv4 first. A guest has as many as it likes: only the first are taken.
fn addresses_of(interfaces: &[GuestInterface], nics: &[MacAddr]) -> Vec<IpAddr> {
    const ADDRESSES_MAX: usize = 64;
    let is_ours = |interface: &&GuestInterface| {
        let mac = interface.hardware_address.as_deref().and_then(|mac| mac.parse::<MacAddr>().ok());
        nics.is_empty() || mac.is_some_and(|mac| nics.contains(&mac))
    };
    let addresses = interfaces.iter().filter(is_ours).flat_map(|interface| &interface.ip_addresses);
    let mut addresses: Vec<IpAddr> =
        addresses.map(|address| address.ip_address).filter(is_reachable).take(ADDRESSES_MAX).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

fn is_reachable(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reachable_addresses_of_the_guests_own_nics_count() {
        let interfaces: Vec<GuestInterface> = serde_json::from_str(
            r#"[
            {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [
                {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}]},
            {"name": "enp1s0", "hardware-address": "52:54:00:AA:00:01", "ip-addresses": [
                {"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64},
                {"ip-address": "2001:db8::7", "ip-address-type": "ipv6", "prefix": 64},
                {"ip-address": "192.168.122.7", "ip-address-type": "ipv4", "prefix": 24}]},
            {"name": "docker0", "hardware-address": "02:42:00:00:00:01", "ip-addresses": [
                {"ip-address": "172.17.0.1", "ip-address-type": "ipv4", "prefix": 16}]},
            {"name": "tun0"}]"#,
        )
        .unwrap();
        let nics = ["52:54:00:aa:00:01".parse().unwrap()];
        let shown = |nics: &[MacAddr]| {
            addresses_of(&interfaces, nics).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(&nics), ["192.168.122.7", "2001:db8::7"]);
        assert_eq!(shown(&[]), ["192.168.122.7", "172.17.0.1", "2001:db8::7"]);
    }
}
