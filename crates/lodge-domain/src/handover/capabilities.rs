//! libvirt's words for what a QEMU can do (`<qemuCaps>`), without which libvirtd takes no guest over.
//!
//! A libvirt that was on this host has asked the binary and kept the answer in its cache: that is taken. On a host
//! without one it is a list of what every QEMU from 7.2 on can do, in words that every libvirt from 8.1 on knows: a
//! word that libvirtd does not know makes it leave the guest alone.

use std::path::Path;

use lodge_store::Root;

/// Longest cache file that is read.
const CACHE_MAX_BYTES: u64 = 8 << 20;

/// In libvirt's order.
const ALWAYS: &str = "hda-duplex piix3-usb-uhci piix4-usb-uhci usb-ehci ich9-usb-ehci1 usb-hub ich9-ahci scsi-block \
                      hda-micro nec-usb-xhci virtio-scsi-pci seccomp-sandbox vnc VGA cirrus-vga usb-serial virtio-rng \
                      rng-random pci-bridge dmi-to-pci-bridge usb-storage ich9-intel-hda pvpanic usb-kbd \
                      rtc-reset-reinjection VGA.vgamem_mb pc-dimm machine-vmport-opt pci-serial ioh3420 rtl8139 e1000 \
                      virtio-net virtio-gpu virtio-keyboard virtio-mouse virtio-tablet \
                      virtio-balloon-pci.deflate-on-oom intel-iommu virtio-vga query-cpu-model-expansion \
                      pcie-root-port query-cpu-definitions qemu-xhci chardev-reconnect vmcoreinfo isa-serial \
                      pcie-pci-bridge screendump_device hda-output vmgenid mch memory-backend-memfd \
                      virtio-pci-non-transitional x86-max-cpu cpu-unavailable-features canonical-cpu-features \
                      bochs-display i8042 rng-builtin pcie-root-port.hotplug tcg cpu.migratable \
                      virtio-balloon.free-page-reporting cpu-max vnc-power-control rotation-rate acpi-index set-action \
                      virtio-blk.queue-size memory-backend-file.reserve netdev.json device.json+hotplug";

/// Those of `emulator`.
pub(super) fn of(root: &Root, emulator: &str) -> Vec<String> {
    let cache = root.cache().parent().map(|caches| caches.join("libvirt/qemu/capabilities"));
    let cached = cache.and_then(|cache| {
        let mut files = std::fs::read_dir(cache).ok()?;
        files.find_map(|file| flags_in(&file.ok()?.path(), emulator))
    });
    cached.unwrap_or_else(|| ALWAYS.split_whitespace().map(str::to_owned).collect())
}

/// The flags of a cache file, if it is of that binary.
fn flags_in(path: &Path, emulator: &str) -> Option<Vec<String>> {
    if std::fs::metadata(path).ok()?.len() > CACHE_MAX_BYTES {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    lodge_model::domain::status::cached_flags(&text, emulator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_libvirt_is_asked_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let always = of(&root, "/usr/bin/qemu-system-x86_64");
        assert!(always.contains(&"device.json+hotplug".to_owned()), "{always:?}");
        let cache = dir.path().join("var/cache/libvirt/qemu/capabilities");
        std::fs::create_dir_all(&cache).unwrap();
        let entry = |emulator: &str, flag: &str| {
            format!("<qemuCaps>\n  <emulator>{emulator}</emulator>\n  <flag name='{flag}'/>\n</qemuCaps>\n")
        };
        std::fs::write(cache.join("a.xml"), entry("/usr/bin/qemu-system-i386", "vnc")).unwrap();
        std::fs::write(cache.join("b.xml"), entry("/usr/bin/qemu-system-x86_64", "kvm")).unwrap();
        std::fs::write(cache.join("c.xml"), "no document").unwrap();
        assert_eq!(of(&root, "/usr/bin/qemu-system-x86_64"), ["kvm"]);
    }
}
