//! PCI and mediated devices: what VFIO gives, and what it gives only together with others.

use std::path::{Path, PathBuf};

use lodge_model::domain::address::PciAddress;
use uuid::Uuid;

use super::error::{Fault, HostdevError};
use super::find::{Found, Way};
use super::note::{Before, Rebound};
use super::taken::{Key, Wish};

/// VFIO's driver for any PCI device.
pub(super) const VFIO: &str = "vfio-pci";
/// Where the header's type stands in the configuration space, and the bit that says only that there are more functions.
const HEADER_TYPE: usize = 0x0e;
const MORE_FUNCTIONS: u8 = 0x80;

/// How a document wants a function.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// One of VFIO's kin; without: VFIO's own.
    pub driver: Option<&'a str>,
    /// It is taken from its driver and given back to it; otherwise it must be VFIO's already.
    pub managed: bool,
}

/// A function by its address.
pub(super) fn find(root: &Path, wanted: Wanted<'_>, address: &PciAddress) -> Result<(Vec<Wish>, Way), Fault> {
    let device = text_of(address);
    let directory = directory(root, &device);
    if !directory.exists() {
        return Err(Fault::Missing { what: format!("PCI device {device}") });
    }
    if is_bridge(&directory) {
        return Err(Fault::NotEndpoint { device });
    }
    let group =
        group_of(&directory).ok_or_else(|| Fault::NoIommu { what: format!("PCI device {device}") })?;
    let driver = wanted.driver.unwrap_or(VFIO).to_owned();
    let now = driver_of(&directory);
    let is_ready = is_vfios(&directory, now.as_deref(), &driver);
    if !is_ready && !wanted.managed {
        return Err(Fault::Unmanaged { device, driver: told(now.as_deref()) });
    }
    let before = now.map_or(Before::Nobody, Before::Driver);
    let preferred = preferred(&directory);
    let rebound = Rebound { address: device.clone(), driver, before, preferred };
    let alone = |key| Wish { key, shareable: false };
    let wishes = vec![alone(Key::Pci(device)), alone(Key::IommuGroup(group))];
    Ok((wishes, Way::Vfio { group, rebound: (!is_ready).then_some(rebound) }))
}

/// A mediated device by its name.
pub(super) fn find_mediated(root: &Path, uuid: Uuid) -> Result<(Vec<Wish>, Way), Fault> {
    let directory = root.join("sys/bus/mdev/devices").join(uuid.to_string());
    if !directory.exists() {
        return Err(Fault::Missing { what: format!("mediated device {uuid}") });
    }
    let what = || format!("mediated device {uuid}");
    let group = group_of(&directory).ok_or_else(|| Fault::NoIommu { what: what() })?;
    let alone = |key| Wish { key, shareable: false };
    let wishes = vec![alone(Key::Mdev(uuid)), alone(Key::IommuGroup(group))];
    Ok((wishes, Way::Vfio { group, rebound: None }))
}

/// Refuses a group of which the host's own drivers would keep a part: VFIO gives none of it then.
pub(super) fn judge_groups(root: &Path, found: &[Found]) -> Result<(), HostdevError> {
    let ours: Vec<&str> = found.iter().flat_map(pci_keys).collect();
    for device in found {
        let Way::Vfio { group, .. } = device.way else { continue };
        let Some(name) = pci_keys(device).next() else { continue };
        let others = foreign(root, group, &ours);
        if !others.is_empty() {
            let fault = Fault::SharedGroup { device: name.to_owned(), group, others: others.join(", ") };
            return Err(HostdevError { element: device.element.clone(), fault });
        }
    }
    Ok(())
}

fn pci_keys(found: &Found) -> impl Iterator<Item = &str> {
    found.wishes.iter().filter_map(|wish| match &wish.key {
        Key::Pci(device) => Some(device.as_str()),
        _ => None,
    })
}

/// Devices of the group that a driver of the host's has, with it.
fn foreign(root: &Path, group: u32, ours: &[&str]) -> Vec<String> {
    let members = root.join(format!("sys/kernel/iommu_groups/{group}/devices"));
    let mut others = Vec::new();
    for member in std::fs::read_dir(members).into_iter().flatten().flatten() {
        let name = member.file_name().to_string_lossy().into_owned();
        let driver = driver_of(&member.path());
        let Some(driver) = driver.filter(|_| !ours.contains(&name.as_str())) else { continue };
        // These do no transfers of their own (drivers/iommu/iommu.c: driver_managed_dma).
        let is_idle = matches!(driver.as_str(), "pci-stub" | "pcieport") || is_bridge(&member.path());
        if !is_idle && !is_vfios(&member.path(), Some(&driver), VFIO) {
            others.push(format!("{name} (driver {driver})"));
        }
    }
    others.sort();
    others
}

/// A function's name in sysfs.
pub(super) fn text_of(address: &PciAddress) -> String {
    format!("{:04x}:{:02x}:{:02x}.{:x}", address.domain, address.bus, address.slot, address.function)
}

/// Where sysfs has a function.
pub(super) fn directory(root: &Path, device: &str) -> PathBuf {
    root.join("sys/bus/pci/devices").join(device)
}

/// The driver that has it.
pub(super) fn driver_of(directory: &Path) -> Option<String> {
    let driver = std::fs::read_link(directory.join("driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// For people.
pub(super) fn told(driver: Option<&str>) -> String {
    driver.map_or_else(|| "no driver".to_owned(), |driver| format!("driver {driver}"))
}

/// Whether VFIO has it, by the driver that is wanted or one of its kin for a maker's devices.
pub(super) fn is_vfios(directory: &Path, driver: Option<&str>, wanted: &str) -> bool {
    driver.is_some_and(|driver| driver == wanted || driver == VFIO) || directory.join("vfio-dev").exists()
}

/// Which driver alone may have it, if that was said.
pub(super) fn preferred(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("driver_override")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text != "(null)")
}

pub(super) fn group_of(directory: &Path) -> Option<u32> {
    let group = std::fs::read_link(directory.join("iommu_group")).ok()?;
    group.file_name()?.to_str()?.parse().ok()
}

pub(super) fn is_bridge(directory: &Path) -> bool {
    let config = std::fs::read(directory.join("config")).unwrap_or_default();
    config.get(HEADER_TYPE).is_some_and(|kind| kind & !MORE_FUNCTIONS != 0)
}
