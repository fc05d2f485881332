//! What the agent answers, as far as Lodge looks at it. All of it is the guest's claim.

use serde::{Deserialize, Serialize};

/// Answer of `guest-info`.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentVersion {
    /// The agent's version.
    pub version: String,
    /// The calls it knows.
    #[serde(default)]
    pub supported_commands: Vec<SupportedCommand>,
}

impl AgentVersion {
    /// Whether `command` is known and switched on.
    pub fn can(&self, command: &str) -> bool {
        self.supported_commands.iter().any(|known| known.enabled && known.name == command)
    }
}

/// One call that an agent knows.
#[derive(Debug, Clone, Deserialize)]
pub struct SupportedCommand {
    /// `guest-ping`.
    pub name: String,
    /// Off where the guest's owner forbids it.
    pub enabled: bool,
}

/// How a guest is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Power off.
    Powerdown,
    /// Restart.
    Reboot,
    /// Stop the processors, leave the power on.
    Halt,
}

impl ShutdownMode {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Powerdown => "powerdown",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
        }
    }
}

/// One of `guest-network-get-interfaces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestInterface {
    /// `enp1s0`.
    pub name: String,
    /// MAC address, as the guest writes it.
    #[serde(default)]
    pub hardware_address: Option<String>,
    /// Its addresses.
    #[serde(default)]
    pub ip_addresses: Vec<GuestAddress>,
}

/// An address of a guest's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestAddress {
    /// The address; checked to be one.
    pub ip_address: std::net::IpAddr,
    /// `ipv4` or `ipv6`.
    pub ip_address_type: String,
    /// Prefix length.
    pub prefix: u8,
}

/// Answer of `guest-get-osinfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct GuestOs {
    /// `debian`.
    pub id: Option<String>,
    /// `Debian GNU/Linux`.
    pub name: Option<String>,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: Option<String>,
    /// `12 (bookworm)`.
    pub version: Option<String>,
    /// `12`.
    pub version_id: Option<String>,
    /// `6.1.0-40-cloud-amd64`.
    pub kernel_release: Option<String>,
    /// `x86_64`.
    pub machine: Option<String>,
}

/// Answer of `guest-get-timezone`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GuestTimezone {
    /// `EAT`.
    #[serde(default)]
    pub zone: Option<String>,
    /// East of UTC, in seconds.
    pub offset: i64,
}

/// What a program run in the guest came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Exit code, unless a signal ended it.
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i64>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// The agent has cut one of them (it keeps 16 MiB).
    pub truncated: bool,
}

/// Whether a guest's file systems are frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FreezeStatus {
    /// They can be written.
    Thawed,
    /// They cannot, until thawed.
    Frozen,
    /// A word this code does not know.
    Other(String),
}
