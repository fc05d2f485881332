//! What the firmware says of the machine (SMBIOS, as the kernel tells it in /sys/class/dmi), as libvirt's `sysinfo`.
//!
//! Deliberately absent: processors, memory modules and OEM strings, which only reading the tables themselves tells.

use lodge_model::markup::Markup;

use super::Node;

/// Element, and in it libvirt's name and the kernel's file of each entry.
const BLOCKS: [(&str, &[(&str, &str)]); 4] = [
    (
        "bios",
        &[
            ("vendor", "bios_vendor"),
            ("version", "bios_version"),
            ("date", "bios_date"),
            ("release", "bios_release"),
        ],
    ),
    (
        "system",
        &[
            ("manufacturer", "sys_vendor"),
            ("product", "product_name"),
            ("version", "product_version"),
            ("serial", "product_serial"),
            ("uuid", "product_uuid"),
            ("sku", "product_sku"),
            ("family", "product_family"),
        ],
    ),
    (
        "baseBoard",
        &[
            ("manufacturer", "board_vendor"),
            ("product", "board_name"),
            ("version", "board_version"),
            ("serial", "board_serial"),
            ("asset", "board_asset_tag"),
        ],
    ),
    (
        "chassis",
        &[
            ("manufacturer", "chassis_vendor"),
            ("version", "chassis_version"),
            ("serial", "chassis_serial"),
            ("asset", "chassis_asset_tag"),
        ],
    ),
];

impl Node {
    /// `sysinfo`; `None`: the firmware says nothing.
    pub fn firmware_words(&self) -> Option<String> {
        let mut text = Markup::new();
        let mut empty = true;
        text.start("sysinfo", &[("type", &"smbios")]);
        for (block, entries) in BLOCKS {
            let told = |file: &str| {
                let text = self.text(&format!("/sys/class/dmi/id/{file}"))?;
                Some(text.trim().to_owned()).filter(|text| !text.is_empty())
            };
            let told: Vec<(&str, String)> =
                entries.iter().filter_map(|(name, file)| Some((*name, told(file)?))).collect();
            if told.is_empty() {
                continue;
            }
            empty = false;
            text.start(block, &[]);
            for (name, value) in told {
                text.leaf("entry", &[("name", &name)], value);
            }
            text.end();
        }
        (!empty).then(|| text.finish())
    }
}
