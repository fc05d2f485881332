//! The host's own devices, as guests ask for them: `lodge_host::hostdev` in the words of a guest's life.

use lodge_domain::{Beginning, ClaimedDevice, DeviceGift, HostDevices, PortError, QemuUser};
use lodge_host::hostdev::{Begin, Claimed, Gift, HostdevError, Hostdevs, User};
use lodge_model::{DomainId, domain::Domain};

/// Them all.
pub(crate) struct Devices(pub Hostdevs);

#[async_trait::async_trait]
impl HostDevices for Devices {
    async fn claim(
        &self,
        domain: DomainId,
        document: &Domain,
        user: Option<QemuUser>,
        beginning: Beginning,
    ) -> Result<Vec<ClaimedDevice>, PortError> {
        let user = user.map(|QemuUser { uid, gid }| User { uid, gid });
        let begin = match beginning {
            Beginning::Fresh => Begin::Fresh,
            Beginning::FromMemory => Begin::FromMemory,
        };
        let claimed = self.0.claim(domain, document, user, begin).await.map_err(refused)?;
        Ok(claimed.into_iter().map(given).collect())
    }

    async fn adopt(&self, domain: DomainId, document: &Domain, taken: &[String]) -> Result<(), PortError> {
        self.0.adopt(domain, document, taken).await.map_err(refused)
    }

    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.0.release(domain).await.map_err(refused)
    }
}

fn given(Claimed { alias, gift }: Claimed) -> ClaimedDevice {
    let gift = match gift {
        Gift::Usb { fd, bus, device } => DeviceGift::Usb { fd, bus, device },
        Gift::Opened(fd) => DeviceGift::Opened(fd),
        Gift::Vfio { taken } => DeviceGift::Vfio { taken },
        Gift::Tpm { device, cancel } => DeviceGift::Tpm { device, cancel },
        Gift::Security { device, bit } => DeviceGift::Security { device, bit },
        Gift::Missing => DeviceGift::Missing,
    };
    ClaimedDevice { alias, gift }
}

fn refused(error: HostdevError) -> PortError {
    PortError {
        kind: error.kind(),
        message: error.to_string(),
        hint: error.hint(),
        source: error.into_source().map(|source| Box::new(source) as _),
    }
}
