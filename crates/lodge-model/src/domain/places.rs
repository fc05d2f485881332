//! A walk over all devices' places, for what concerns them all alike.

use super::address::Place;
use super::devices::Devices;

impl Devices {
    /// Calls `visit` with each device's element name, its number among those, their count, and its place.
    pub fn each_place<'a>(&'a self, visit: &mut dyn FnMut(&'static str, usize, usize, &'a Place)) {
        macro_rules! lists {
            ($($name:literal = $list:ident),* $(,)?) => {
                $(for (at, device) in self.$list.iter().enumerate() {
                    visit($name, at, self.$list.len(), &device.place);
                })*
            };
        }
        lists! {
            "disk" = disks, "controller" = controllers, "interface" = interfaces, "serial" = serials,
            "parallel" = parallels, "console" = consoles, "channel" = channels, "input" = inputs, "sound" = sounds,
            "video" = videos, "redirdev" = redirdevs, "hub" = hubs, "watchdog" = watchdogs, "rng" = rngs,
            "panic" = panics, "filesystem" = filesystems, "smartcard" = smartcards, "tpm" = tpms, "hostdev" = hostdevs,
            "shmem" = shmems, "memory" = memory_modules, "crypto" = cryptos,
        }
        if let Some(balloon) = &self.memballoon {
            visit("memballoon", 0, 1, &balloon.place);
        }
        if let Some(vsock) = &self.vsock {
            visit("vsock", 0, 1, &vsock.place);
        }
        if let Some(nvram) = &self.nvram {
            visit("nvram", 0, 1, &nvram.place);
        }
        if let Some(iommu) = &self.iommu {
            visit("iommu", 0, 1, &iommu.place);
        }
        if let Some(pstore) = &self.pstore {
            visit("pstore", 0, 1, &pstore.place);
        }
    }
}
