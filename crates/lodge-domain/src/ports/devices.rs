//! The host's own devices that a guest gets: `<hostdev>`, event devices of `<input>`, the host's TPM.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use lodge_model::DomainId;
use lodge_model::domain::Domain;

use super::PortError;

/// Whom a guest's QEMU runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QemuUser {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// How a run begins: what a device may be missing for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// From nothing.
    Fresh,
    /// From saved memory or a snapshot.
    FromMemory,
}

/// A device of the host's that a guest has now.
#[derive(Debug)]
pub struct ClaimedDevice {
    /// The element's alias.
    pub alias: String,
    /// How QEMU gets it.
    pub gift: DeviceGift,
}

/// How QEMU gets a device.
#[derive(Debug)]
pub enum DeviceGift {
    /// A USB device: open, and where it was found.
    Usb {
        /// Its node, open for both.
        fd: OwnedFd,
        /// The bus.
        bus: u32,
        /// Its number there.
        device: u32,
    },
    /// Open for both, or a node that QEMU's user may open by `/proc/self/fd/N`.
    Opened(OwnedFd),
    /// VFIO has it, and QEMU's user may open its group.
    Vfio {
        /// It was taken from the host, and is given back.
        taken: bool,
    },
    /// The host's TPM.
    Tpm {
        /// It, open for both.
        device: OwnedFd,
        /// What cancels its work, open for writing.
        cancel: OwnedFd,
    },
    /// The guest's memory can be kept from this host.
    Security {
        /// What AMD's is asked by: a node that QEMU's user may open by `/proc/self/fd/N`.
        device: Option<OwnedFd>,
        /// AMD's: where the bit of encryption is, and how many bits of addresses it costs.
        bit: Option<(u32, u32)>,
    },
    /// It is not there, which the document lets be.
    Missing,
}

/// The host's own devices.
#[async_trait]
pub trait HostDevices: Send + Sync {
    /// Gives `domain` every device of the host's that `document`, whose devices have aliases, asks for: free of the
    /// host's drivers and for no other guest. `user`: whom QEMU runs as, if not as the daemon. All or nothing.
    async fn claim(
        &self,
        domain: DomainId,
        document: &Domain,
        user: Option<QemuUser>,
        beginning: Beginning,
    ) -> Result<Vec<ClaimedDevice>, PortError>;
    /// A running guest was taken over: what `document` (live) names is in use. `taken`: aliases of what was taken from
    /// the host's drivers, should nobody know it any more.
    async fn adopt(&self, domain: DomainId, document: &Domain, taken: &[String]) -> Result<(), PortError>;
    /// Gives all of `domain`'s back to the host and its drivers; QEMU has ended.
    async fn release(&self, domain: DomainId) -> Result<(), PortError>;
}
