//! The step that takes devices of the host's for the guest, and gives them back.
//!
//! What of it must outlive the daemon (which driver had a device) is noted by who does it, before it does it: see
//! [`HostDevices`](crate::ports::HostDevices). Deliberately absent: which devices those are, and how they are freed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::hostdev::{HostAddress, HostUsbAddress, Hostdev, Number};
use lodge_model::xml::YesNo;
use lodge_qemu::{Accelerator, Claims, Descriptors, HostdevClaim, SecurityClaim};
use lodge_store::saga::{Failure, Step};

use super::labels;
use super::steps::{Launch, PORT_LIMIT, refused};
use crate::ports::{Beginning, ClaimedDevice, DeviceGift, QemuUser};

/// Takes them.
pub(super) struct ClaimDevices;

#[async_trait]
impl Step<Launch> for ClaimDevices {
    fn name(&self) -> &'static str {
        "claim-devices"
    }

    fn limit(&self) -> Option<Duration> {
        Some(PORT_LIMIT)
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        let nics = Arc::clone(&launch.shared.ports.nics);
        nics.lend(launch.id, &mut launch.document).await.map_err(|error| refused(&error))?;
        lodge_qemu::assign_aliases(&mut launch.document);
        // Devices need no group of the accelerator's.
        let user = labels::user(&launch.shared.config, launch.id, &launch.document, Accelerator::Tcg)?;
        let user = user.map(|user| QemuUser { uid: user.uid, gid: user.gid });
        let has_memory = launch.plan.restore.is_some() || launch.plan.load.is_some();
        let beginning = if has_memory { Beginning::FromMemory } else { Beginning::Fresh };
        let devices = &launch.shared.ports.devices;
        let claimed = devices.claim(launch.id, &launch.document, user, beginning).await;
        let claimed = claimed.map_err(|error| refused(&error))?;
        tell(&mut launch.document, &claimed);
        let taken = claimed.iter().filter(|device| matches!(device.gift, DeviceGift::Vfio { taken: true }));
        launch.taken = taken.map(|device| device.alias.clone()).collect();
        launch.devices = Some(claimed);
        Ok(())
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.devices = None;
        launch.shared.ports.devices.release(launch.id).await.map_err(|error| refused(&error))
    }
}

/// Puts into the live document which device it is: a next daemon knows by it what is in use.
fn tell(document: &mut Domain, claimed: &[ClaimedDevice]) {
    let named =
        |hostdev: &Hostdev, alias: &str| hostdev.place.alias.as_ref().is_some_and(|own| own.name == alias);
    for ClaimedDevice { alias, gift } in claimed {
        let Some(hostdev) = document.devices.hostdevs.iter_mut().find(|hostdev| named(hostdev, alias)) else {
            continue;
        };
        match gift {
            DeviceGift::Usb { bus, device, .. } => {
                hostdev.source.address = Some(HostAddress::Usb(HostUsbAddress {
                    bus: Number(u64::from(*bus)),
                    device: Number(u64::from(*device)),
                    ..HostUsbAddress::default()
                }));
                hostdev.source.missing = None;
            }
            DeviceGift::Missing => hostdev.source.missing = Some(YesNo::Yes),
            DeviceGift::Opened(_)
            | DeviceGift::Vfio { .. }
            | DeviceGift::Tpm { .. }
            | DeviceGift::Security { .. } => {}
        }
    }
}

/// Hands them to QEMU.
pub(super) fn pass(
    document: &Domain,
    claimed: Vec<ClaimedDevice>,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) {
    for ClaimedDevice { alias, gift } in claimed {
        let is_input = document
            .devices
            .inputs
            .iter()
            .any(|input| input.place.alias.as_ref().is_some_and(|own| own.name == alias));
        match gift {
            DeviceGift::Opened(fd) if alias.starts_with("graphics") => {
                claims.render_nodes.insert(alias, descriptors.pass(fd));
            }
            DeviceGift::Opened(fd) if is_input => {
                claims.inputs.insert(alias, descriptors.pass(fd));
            }
            DeviceGift::Opened(fd) | DeviceGift::Usb { fd, .. } => {
                claims.hostdevs.insert(alias, HostdevClaim::Opened(descriptors.pass(fd)));
            }
            DeviceGift::Vfio { .. } => {
                claims.hostdevs.insert(alias, HostdevClaim::Ready);
            }
            DeviceGift::Tpm { device, cancel } => {
                claims.tpm = Some((descriptors.pass(device), descriptors.pass(cancel)));
            }
            DeviceGift::Security { device, bit } => {
                let device = device.map(|device| descriptors.pass(device));
                claims.security = Some(SecurityClaim { device, bit, ..SecurityClaim::default() });
            }
            DeviceGift::Missing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_model::xml::WriteOptions;
    use lodge_qemu::FdNumber;

    fn fd() -> std::os::fd::OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn the_live_document_tells_which_device_it_is() {
        let usb = |policy: &str| {
            format!(
                "<hostdev mode='subsystem' type='usb'><source{policy}><vendor id='1'/><product id='2'/></source></hostdev>"
            )
        };
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>{}{}\
             <input type='evdev'><source dev='/dev/input/event1'/></input></devices></domain>",
            usb(""),
            usb(" startupPolicy='optional'").replace("id='2'", "id='3'"),
        );
        let mut document = Domain::parse(&text).unwrap();
        lodge_qemu::assign_aliases(&mut document);
        let claimed = vec![
            ClaimedDevice {
                alias: "hostdev0".to_owned(),
                gift: DeviceGift::Usb { fd: fd(), bus: 1, device: 4 },
            },
            ClaimedDevice { alias: "hostdev1".to_owned(), gift: DeviceGift::Missing },
            ClaimedDevice { alias: "input0".to_owned(), gift: DeviceGift::Opened(fd()) },
        ];
        tell(&mut document, &claimed);
        let live = document.to_xml(&super::super::LIVE);
        assert!(live.contains("<address bus='1' device='4'/>"), "{live}");
        assert!(live.contains("<source startupPolicy='optional' missing='yes'>"), "{live}");
        let stored = document.to_xml(&WriteOptions::STORED);
        assert!(!stored.contains("missing"), "{stored}");
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        pass(&document, claimed, &mut claims, &mut Descriptors::default());
        assert!(matches!(claims.hostdevs.get("hostdev0"), Some(HostdevClaim::Opened(_))));
        assert!(claims.hostdevs.len() == 1 && claims.inputs.contains_key("input0") && claims.tpm.is_none());
    }
}
