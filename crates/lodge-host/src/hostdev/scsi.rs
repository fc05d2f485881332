//! SCSI units, and targets that the host's kernel serves to guests itself.

use std::path::Path;

use lodge_model::domain::hostdev::{HostScsiAddress, Hostdev, HostdevSource};

use super::error::Fault;
use super::find::Way;
use super::taken::{Key, Wish};

/// Major number of generic SCSI devices (Documentation/admin-guide/devices.txt).
const GENERIC: u32 = 21;

/// A unit by its adapter and address: the generic device of it.
pub(super) fn find(
    root: &Path,
    hostdev: &Hostdev,
    address: &HostScsiAddress,
) -> Result<(Vec<Wish>, Way), Fault> {
    let adapter = hostdev.source.adapter.as_ref().map(|adapter| adapter.name.as_str());
    let host = adapter.and_then(|name| name.strip_prefix("scsi_host")?.parse::<u32>().ok());
    let host = host.ok_or(Fault::Unnamed { what: "<adapter name='scsi_host0'/> is missing" })?;
    let place = format!("{host}:{}:{}:{}", address.bus.0, address.target.0, address.unit.0);
    let generic = root.join("sys/bus/scsi/devices").join(&place).join("scsi_generic");
    let names = std::fs::read_dir(&generic).into_iter().flatten().flatten();
    let name =
        names.filter_map(|entry| entry.file_name().into_string().ok()).find(|name| name.starts_with("sg"));
    let Some(name) = name else {
        return Err(Fault::Missing {
            what: format!("SCSI device {place}, or the kernel's module sg for it"),
        });
    };
    let wish = Wish { key: Key::Scsi(place), shareable: hostdev.shareable };
    Ok((vec![wish], Way::Node { path: root.join("dev").join(name), major: GENERIC }))
}

/// A target of vhost-scsi by its name.
pub(super) fn find_target(root: &Path, source: &HostdevSource) -> Result<(Vec<Wish>, Way), Fault> {
    let wwpn = source.wwpn.as_deref().ok_or(Fault::Unnamed { what: "wwpn is missing" })?;
    // A name is part of a path here.
    if wwpn.contains('/') || !root.join("sys/kernel/config/target/vhost").join(wwpn).is_dir() {
        return Err(Fault::NoTarget { wwpn: wwpn.to_owned() });
    }
    let wish = Wish { key: Key::Vhost(wwpn.to_owned()), shareable: false };
    Ok((vec![wish], Way::Open { path: root.join("dev/vhost-scsi") }))
}
