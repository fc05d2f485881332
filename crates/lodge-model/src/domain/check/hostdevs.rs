//! The host's devices: what each sort needs and can have. The words are libvirt's.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::hostdev::{
    HostAddress, Hostdev, HostdevKind, HostdevMode, HostdevModel, HostdevTeaming, Sgio,
};
use crate::xml::OnOff;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let hostdevs = &domain.devices.hostdevs;
    let is_seen = !domain.devices.graphics.is_empty();
    let mut ramfb = false;
    for (at, hostdev) in hostdevs.iter().enumerate() {
        let path = nth("/domain/devices/hostdev", at, hostdevs.len());
        if hostdev.mode == HostdevMode::Capabilities {
            let message = format!("hostdev mode 'capabilities' is not supported in {}", domain.kind);
            found.add(format!("{path}/@mode"), message);
            continue;
        }
        if hostdevs[..at].iter().any(|other| other.names_same_device(hostdev)) {
            found.add(&path, "Hostdev already exists in the domain configuration");
        }
        attributes(hostdev, &path, found);
        source(hostdev, &path, found);
        address(hostdev, &path, found);
        boot(hostdev, &path, found);
        if let Some(teaming) = &hostdev.teaming {
            self::teaming(hostdev, teaming, &path, found);
        }
        if hostdev.display == Some(OnOff::On) && !is_seen {
            let message = "graphics device is needed for attribute value 'display=on' in <hostdev>";
            found.add(format!("{path}/@display"), message);
        }
        if hostdev.ramfb == Some(OnOff::On) {
            if ramfb {
                let message = "Only one vgpu device can have 'ramfb' enabled";
                found.add(format!("{path}/@ramfb"), message);
            }
            ramfb = true;
        }
    }
}

fn attributes(hostdev: &Hostdev, path: &str, found: &mut Found) {
    let kind = hostdev.kind;
    if kind != HostdevKind::Scsi {
        for (name, is_there) in [("sgio", hostdev.sgio.is_some()), ("rawio", hostdev.rawio.is_some())] {
            if is_there {
                found
                    .add(format!("{path}/@{name}"), format!("{name} is only supported for scsi host device"));
            }
        }
    }
    if hostdev.sgio == Some(Sgio::Unfiltered) {
        found.add(format!("{path}/@sgio"), "unfiltered sgio is no longer supported");
    }
    let (is_mdevs, known) = match hostdev.model {
        None => (false, kind != HostdevKind::Mdev),
        Some(HostdevModel::VfioPci | HostdevModel::VfioCcw | HostdevModel::VfioAp) => {
            (true, kind == HostdevKind::Mdev)
        }
        Some(_) => (false, kind == HostdevKind::ScsiHost),
    };
    match hostdev.model {
        _ if known => {}
        None => found.add(path, "Missing required attribute 'model' in element 'hostdev'"),
        Some(model) => {
            let owner = if is_mdevs { HostdevKind::Mdev } else { HostdevKind::ScsiHost };
            let message = format!("model '{model}' is only for hostdevs of type='{owner}', not '{kind}'");
            found.add(format!("{path}/@model"), message);
        }
    }
    let source = &hostdev.source;
    if kind != HostdevKind::Usb && source.startup_policy.is_some() {
        let message = "Setting startupPolicy is only allowed for USB devices";
        found.add(format!("{path}/source/@startupPolicy"), message);
    }
    if source.write_filtering.is_some() && kind == HostdevKind::Pci {
        let message = "Write filtering of PCI device configuration space is not supported by qemu";
        found.add(format!("{path}/source/@writeFiltering"), message);
    }
}

fn source(hostdev: &Hostdev, path: &str, found: &mut Found) {
    let source = &hostdev.source;
    let path = format!("{path}/source");
    let address = source.address.as_ref();
    let mut add = |message: &str| found.add(&path, message);
    match hostdev.kind {
        HostdevKind::Usb => {
            match (source.vendor.is_some(), source.product.is_some()) {
                (true, false) => add("missing product"),
                (false, true) => add("missing vendor"),
                (false, false) if address.is_none() => {
                    add("neither <vendor> and <product> nor <address> is given");
                }
                _ => {}
            }
            if address.is_some_and(|address| !matches!(address, HostAddress::Usb(_))) {
                found.add(format!("{path}/address"), "a USB device's address has 'bus' and 'device'");
            }
        }
        HostdevKind::Pci if address.is_some_and(|address| !matches!(address, HostAddress::Pci(_))) => {
            found.add(
                format!("{path}/address"),
                "a PCI device's address has 'domain', 'bus', 'slot' and 'function'",
            );
        }
        HostdevKind::Pci if address.is_none() => add("<address> of the PCI device is missing"),
        HostdevKind::Scsi if hostdev.is_iscsi() => {
            if source.name.is_none() {
                add("missing iSCSI hostdev source path name");
            }
            match source.hosts.len() {
                0 => add("missing the host address for the iSCSI hostdev"),
                1 => {}
                _ => add("only one source host address may be specified for the iSCSI hostdev"),
            }
        }
        HostdevKind::Scsi => {
            if !matches!(address, Some(HostAddress::Scsi(_))) {
                add("'address' must be specified for scsi hostdev source");
            }
            if source.adapter.is_none() {
                add("'adapter' name must be specified for scsi hostdev source");
            }
        }
        HostdevKind::ScsiHost => match &source.wwpn {
            _ if source.protocol.as_deref() != Some("vhost") => add("protocol='vhost' is missing"),
            None => add("missing vhost-scsi hostdev source wwpn"),
            Some(name) if !is_naa(name) => found.add(format!("{path}/@wwpn"), "malformed 'wwpn' value"),
            Some(_) => {}
        },
        HostdevKind::Mdev => match address {
            None => add("Missing <address> element"),
            Some(HostAddress::Mdev(_)) => {}
            Some(_) => found.add(format!("{path}/address"), "Missing 'uuid' attribute for element <address>"),
        },
        HostdevKind::Pci | HostdevKind::Storage | HostdevKind::Misc | HostdevKind::Net => {}
    }
}

/// `naa.` and 16 hex digits.
fn is_naa(name: &str) -> bool {
    let digits = name.strip_prefix("naa.").unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where the guest sees it.
fn address(hostdev: &Hostdev, path: &str, found: &mut Found) {
    let Some(address) = &hostdev.place.address else { return };
    let message = match (hostdev.kind, address) {
        (HostdevKind::Pci, Address::Pci(_) | Address::Unassigned(_))
        | (HostdevKind::Scsi, Address::Drive(_))
        | (HostdevKind::ScsiHost, Address::Pci(_) | Address::Ccw(_))
        | (HostdevKind::Usb, Address::Usb(_))
        | (HostdevKind::Storage | HostdevKind::Misc | HostdevKind::Net, _) => return,
        (HostdevKind::Mdev, Address::Pci(_)) if hostdev.model == Some(HostdevModel::VfioPci) => return,
        (HostdevKind::Mdev, Address::Ccw(_)) if hostdev.model == Some(HostdevModel::VfioCcw) => return,
        (HostdevKind::Mdev, _) if hostdev.model == Some(HostdevModel::VfioAp) => return,
        (HostdevKind::Pci, _) => "PCI host devices must use 'pci' or 'unassigned' address type",
        (HostdevKind::Scsi, _) => "SCSI host device must use 'drive' address type",
        (HostdevKind::ScsiHost, _) => "SCSI_host host device must use 'pci' or 'ccw' address type",
        (HostdevKind::Usb, _) => "USB host device must use 'usb' address type",
        (HostdevKind::Mdev, _) => "Unsupported address type with this model of mediated device",
    };
    found.add(format!("{path}/address"), message);
}

fn boot(hostdev: &Hostdev, path: &str, found: &mut Found) {
    let message = match hostdev.kind {
        _ if hostdev.place.boot.is_none() => return,
        HostdevKind::ScsiHost => {
            "booting from assigned devices is not supported by vhost SCSI devices".to_owned()
        }
        HostdevKind::Mdev => {
            let model = hostdev.model.unwrap_or_default();
            format!("booting from assigned devices is not supported by mediated devices of model {model}")
        }
        _ => return,
    };
    found.add(format!("{path}/boot"), message);
}

fn teaming(hostdev: &Hostdev, teaming: &HostdevTeaming, path: &str, found: &mut Found) {
    if teaming.kind != "transient" {
        found.add(format!("{path}/teaming/@type"), "teaming hostdev devices must have type='transient'");
    } else if teaming.persistent.is_none() {
        let message = "missing required persistent attribute in hostdev teaming element";
        found.add(format!("{path}/teaming"), message);
    } else if hostdev.kind != HostdevKind::Pci {
        found.add(format!("{path}/teaming"), "teaming is only supported for pci hostdev devices");
    }
}
