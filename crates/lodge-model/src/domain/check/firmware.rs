//! Firmware: which words about its image, its variables and its features go together.

use super::Found;
use crate::domain::Domain;
use crate::domain::complete::Board;
use crate::domain::os::{Firmware, LoaderKind};
use crate::xml::YesNo;

/// Longest wait of the boot menu, in ms: what the firmware's field holds.
const MENU_MS_MAX: u32 = 65_535;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let os = &domain.os;
    let loader = os.loader.as_deref();
    let wait = os.boot_menu.as_ref().filter(|menu| menu.enable == Some(YesNo::Yes));
    if wait.and_then(|menu| menu.timeout_ms).is_some_and(|timeout| timeout > MENU_MS_MAX) {
        found.add("/domain/os/bootmenu/@timeout", format!("it is from 0 to {MENU_MS_MAX} milliseconds"));
    }
    match os.firmware {
        None => {
            if os.firmware_features.as_deref().is_some_and(|block| !block.features.is_empty()) {
                found.add(
                    "/domain/os/firmware",
                    "features are asked of what is chosen here, by os firmware='efi'",
                );
            }
            if loader.is_some_and(|loader| loader.path.is_none()) {
                found.add(
                    "/domain/os/loader",
                    "it names no image, and none is to be chosen: os firmware='efi' is missing",
                );
            } else if loader.is_none() && os.nvram.is_some() {
                found.add(
                    "/domain/os/nvram",
                    "these are variables of no firmware: element <loader> is missing",
                );
            }
        }
        Some(Firmware::Bios) if os.nvram.is_some() => {
            found.add("/domain/os/nvram", "firmware `bios` has no variables");
        }
        Some(Firmware::Bios | Firmware::Efi) => {}
    }
    match loader.and_then(|loader| loader.stateless) {
        Some(YesNo::Yes) if os.nvram.is_some() => {
            found.add("/domain/os/nvram", "a stateless firmware keeps no variables");
        }
        Some(YesNo::No) => {
            let is_flash = loader.is_some_and(|loader| loader.kind == Some(LoaderKind::Pflash));
            if os.firmware == Some(Firmware::Bios) || (os.firmware.is_none() && !is_flash) {
                found.add("/domain/os/loader/@stateless", "only UEFI of type='pflash' keeps variables");
            }
        }
        Some(YesNo::Yes) | None => {}
    }
    segment(domain, found);
}

/// The memory that is SMM's alone (`<tseg>`).
fn segment(domain: &Domain, found: &mut Found) {
    let smm = domain.features.as_deref().and_then(|features| features.smm.as_ref());
    let Some(segment) = smm.and_then(|smm| smm.foreign.tree("tseg")) else { return };
    let path = "/domain/features/smm/tseg";
    if domain.os.kind.machine.is_some() && Board::of(domain) != Board::Q35 {
        found.add(path, "only machine q35 has it");
    }
    let unit = segment.attribute("unit").unwrap_or("MiB");
    let size = segment.text.trim().parse().ok().and_then(|number| crate::Bytes::scaled(number, unit).ok());
    if size.is_none_or(|size| size.0 % (1 << 20) != 0) {
        found.add(path, "it is a number of whole MiB");
    }
}
