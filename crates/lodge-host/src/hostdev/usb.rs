//! USB devices: by vendor and product, by bus and number, or by both.

use std::path::{Path, PathBuf};

use lodge_model::domain::hostdev::{HostAddress, HostUsbAddress, HostdevSource, StartupPolicy};

use super::Begin;
use super::error::Fault;
use super::find::Way;
use super::taken::{Key, Wish};

/// One that is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plugged {
    bus: u32,
    device: u32,
    vendor: u16,
    product: u16,
}

/// The device that a `<source>` means. One that may be missing is [`Way::Missing`] then.
pub(super) fn find(root: &Path, source: &HostdevSource, begin: Begin) -> Result<(Vec<Wish>, Way), Fault> {
    let address = match &source.address {
        Some(HostAddress::Usb(address)) => Some(address),
        _ => None,
    };
    let ids = source.vendor.as_ref().zip(source.product.as_ref());
    let ids = ids.map(|(vendor, product)| (vendor.id, product.id));
    if ids.is_none() && address.is_none() {
        return Err(Fault::Unnamed { what: "neither <vendor> and <product> nor <address> is given" });
    }
    let fits = |plugged: &Plugged| {
        let by_ids = ids.is_none_or(|ids| ids == (plugged.vendor, plugged.product));
        let at = (u64::from(plugged.bus), u64::from(plugged.device));
        by_ids && address.is_none_or(|address| at == (address.bus.0, address.device.0))
    };
    let all = plugged(root);
    let mut plugged: Vec<Plugged> = all.iter().copied().filter(fits).collect();
    if plugged.is_empty() && begin == Begin::FromMemory {
        // The address may be the one that was found at the start before; it is plugged in anew since.
        let same = |one: &Plugged| ids.is_some_and(|ids| ids == (one.vendor, one.product));
        plugged = all.into_iter().filter(same).collect();
    }
    plugged.sort_by_key(|plugged| (plugged.bus, plugged.device));
    match plugged[..] {
        [Plugged { bus, device, .. }] => {
            let path = root.join(format!("dev/bus/usb/{bus:03}/{device:03}"));
            let wish = Wish { key: Key::Usb(bus, device), shareable: false };
            Ok((vec![wish], Way::Usb { path, bus, device }))
        }
        [] if may_miss(source, begin) => Ok((Vec::new(), Way::Missing)),
        [] => Err(Fault::Missing { what: wanted(ids, address) }),
        [..] => {
            let places = plugged.iter().map(|one| format!("bus='{}' device='{}'", one.bus, one.device));
            let (vendor, product) = ids.unwrap_or_default();
            Err(Fault::Ambiguous {
                what: format!("{vendor:x}:{product:x}"),
                found: places.collect::<Vec<_>>().join(", "),
            })
        }
    }
}

/// `requisite` insists at a start, and lets go when saved memory comes back.
fn may_miss(source: &HostdevSource, begin: Begin) -> bool {
    match source.startup_policy {
        Some(StartupPolicy::Optional) => true,
        Some(StartupPolicy::Requisite) => begin == Begin::FromMemory,
        Some(StartupPolicy::Mandatory) | None => false,
    }
}

/// libvirt's words for what was looked for.
fn wanted(ids: Option<(u16, u16)>, address: Option<&HostUsbAddress>) -> String {
    let ids = ids.map(|(vendor, product)| format!(" {vendor:04x}:{product:04x}")).unwrap_or_default();
    let address = address.map(|at| format!(" bus:{} device:{}", at.bus.0, at.device.0)).unwrap_or_default();
    format!("USB device{ids}{address}")
}

/// All but root hubs and the interfaces of devices.
fn plugged(root: &Path) -> Vec<Plugged> {
    let entries = std::fs::read_dir(root.join("sys/bus/usb/devices")).into_iter().flatten().flatten();
    let is_device = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !name.contains(':') && !name.starts_with("usb")
    };
    let paths = entries.map(|entry| entry.path()).filter(is_device);
    paths.filter_map(|path| look(&path)).collect()
}

/// One that is being pulled out has some of its files only.
fn look(path: &Path) -> Option<Plugged> {
    let text = |file: &str| Some(std::fs::read_to_string(path.join(file)).ok()?.trim().to_owned());
    let id = |file| u16::from_str_radix(&text(file)?, 16).ok();
    Some(Plugged {
        bus: text("busnum")?.parse().ok()?,
        device: text("devnum")?.parse().ok()?,
        vendor: id("idVendor")?,
        product: id("idProduct")?,
    })
}
