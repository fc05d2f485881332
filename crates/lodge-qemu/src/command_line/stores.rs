//! `<pstore>`: where a kernel that dies leaves its last words. And `<nvram>`, which a PC has not.

use super::builder::{Builder, alias};
use super::props::Props;

/// Both.
pub(super) fn stores(b: &mut Builder<'_>) {
    if b.domain.devices.nvram.is_some() {
        b.at("/domain/devices/nvram");
        b.refuse("nvram device is only supported for PPC64");
    }
    let Some(pstore) = b.domain.devices.pstore.as_deref() else { return };
    b.at("/domain/devices/pstore");
    let id = alias(&pstore.place);
    let Some(fd) = b.claims.pstore else {
        return b.refuse("the file of the store was not made");
    };
    let object = Props::object("memory-backend-file", &format!("mem{id}"))
        .with("mem-path", format!("/proc/self/fd/{fd}"))
        .with("size", pstore.size.size.0)
        .with("share", true);
    let props = Props::driver("acpi-erst").with("id", id).with("memdev", format!("mem{id}"));
    let props = b.pci(props, &pstore.place);
    b.json("-object", &object);
    b.device("acpi-erst", &props);
}
