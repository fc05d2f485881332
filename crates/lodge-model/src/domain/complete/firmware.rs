//! UEFI: which firmware image and which template of variables a document means.
//!
//! libvirt reads QEMU's firmware descriptors (`/usr/share/qemu/firmware/*.json`); here they are
//! [`Platform::firmwares`].

use super::Board;
use crate::Faults;
use crate::domain::disk::SourceKind;
use crate::domain::features::Smm;
use crate::domain::os::{Firmware as Wanted, FirmwareFeature, FirmwareFormat, Loader, LoaderKind, Nvram};
use crate::domain::platform::Firmware;
use crate::domain::{Domain, Platform};
use crate::xml::{OnOff, YesNo};

/// Features of firmware that a document can ask for.
const FEATURES: [&str; 2] = ["enrolled-keys", "secure-boot"];

/// Images that libvirt knows without a descriptor (qemu.conf's `nvram`).
const LEGACY: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE.secboot.fd"];
/// Their variables.
const LEGACY_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS.fd";

/// Completes `<loader>`, `<nvram>` and `<firmware>`.
pub(super) fn complete(domain: &mut Domain, platform: &Platform) -> Result<(), Faults> {
    if let Some(found) = find(domain, platform) {
        fill_in(domain, platform, found);
    } else if let Some(wanted) = domain.os.firmware {
        // A host without any is told at the start, which names the package.
        let is_empty = platform.firmwares.is_empty() && Board::of(domain).is_pc();
        if is_named(domain) && !is_empty {
            let message = format!(
                "no firmware `{wanted}` of this host's is that image, for this machine and these features"
            );
            return Err(Faults::one("/domain/os/loader", message));
        }
        if !is_named(domain) && (wanted == Wanted::Bios || !is_empty) {
            let message = format!("this host has no firmware `{wanted}` for this machine and these features");
            return Err(Faults::one("/domain/os/@firmware", message));
        }
    }
    others(domain, platform);
    Ok(())
}

/// Whether the document itself says which image it is.
fn is_named(domain: &Domain) -> bool {
    domain.os.loader.as_deref().is_some_and(|loader| loader.path.is_some())
}

/// What follows from what is there.
fn others(domain: &mut Domain, platform: &Platform) {
    let os = &mut domain.os;
    if let Some(menu) = &mut os.boot_menu
        && menu.enable == Some(YesNo::No)
    {
        menu.timeout_ms = None;
    }
    let Some(loader) = &mut os.loader else { return };
    if loader.kind == Some(LoaderKind::Rom) {
        return;
    }
    loader.kind.get_or_insert(LoaderKind::Rom);
    loader.format.get_or_insert(FirmwareFormat::Raw);
    let is_legacy = loader.kind == Some(LoaderKind::Pflash)
        && loader.readonly == Some(YesNo::Yes)
        && loader.path.as_deref().is_some_and(|path| LEGACY.contains(&path));
    if is_legacy {
        let nvram = os.nvram.get_or_insert_default();
        if nvram.source.is_none() {
            nvram.template.get_or_insert_with(|| LEGACY_VARIABLES.to_owned());
            nvram.template_format.get_or_insert(FirmwareFormat::Raw);
        }
    }
    if let Some(nvram) = &mut os.nvram {
        nvram.format.get_or_insert(FirmwareFormat::Raw);
        if nvram.path.is_none() && nvram.source.is_none() {
            nvram.path = Some(format!("{}/{}_VARS.fd", platform.nvram_dir, domain.name));
        }
    }
}

/// The firmware that is meant: by its path, or the first that has what is asked for.
fn find<'a>(domain: &Domain, platform: &'a Platform) -> Option<&'a Firmware> {
    let os = &domain.os;
    // What has no variables is another image than those that a host has descriptors with variables of.
    if os.loader.as_deref().is_some_and(|loader| loader.stateless == Some(YesNo::Yes)) {
        return None;
    }
    // All that a host has are raw. Who names no image and says it of the variables alone says it of both.
    let format = os.loader.as_deref().and_then(|loader| loader.format);
    let of_variables = os.nvram.as_deref().and_then(|nvram| nvram.format).filter(|_| !is_named(domain));
    let format = format.or(of_variables);
    if os.firmware.is_some() && format.is_some_and(|format| format != FirmwareFormat::Raw) {
        return None;
    }
    if let Some(path) = os.loader.as_deref().and_then(|loader| loader.path.as_deref()) {
        return platform.firmwares.iter().find(|firmware| firmware.code == path);
    }
    if os.firmware != Some(Wanted::Efi) {
        return None;
    }
    let asked = |firmware: &&Firmware| {
        let mut features = os.firmware_features.iter().flat_map(|block| &block.features);
        features.all(|feature| firmware.has(&feature.name) == feature.enabled.is_yes())
    };
    let secure = os.loader.as_deref().and_then(|loader| loader.secure);
    let smm = domain.features.as_deref().and_then(|features| features.smm.as_ref());
    let has_smm = smm.is_none_or(|smm| smm.state.is_on());
    let fits = |firmware: &&Firmware| {
        let needs_smm = firmware.has("requires-smm");
        secure.is_none_or(|secure| needs_smm == secure.is_yes()) && (has_smm || !needs_smm)
    };
    // None that is chosen can be written, and each has variables of its own.
    let loader = os.loader.as_deref();
    if loader.is_some_and(|loader| loader.readonly == Some(YesNo::No)) {
        return None;
    }
    let template = os.nvram.as_deref().and_then(|nvram| nvram.template.as_ref());
    let machine = domain.os.kind.machine.as_deref().unwrap_or_default();
    let suits = |firmware: &&Firmware| {
        firmware.fits(machine)
            && asked(firmware)
            && fits(firmware)
            && template.is_none_or(|template| *template == firmware.vars)
    };
    platform.firmwares.iter().find(suits)
}

fn fill_in(domain: &mut Domain, platform: &Platform, found: &Firmware) {
    let name = domain.name.clone();
    let os = &mut domain.os;
    os.firmware = Some(Wanted::Efi);
    let kind = os.nvram.as_deref().and_then(|nvram| nvram.kind);
    let is_local = kind.is_none_or(|kind| matches!(kind, SourceKind::File | SourceKind::Block));
    let block = os.firmware_features.get_or_insert_default();
    for name in FEATURES {
        // Which keys lie in variables that somebody else keeps is not known.
        let is_known = is_local || name != "enrolled-keys";
        if is_known && !block.features.iter().any(|feature| feature.name == name) {
            let enabled = YesNo::from(found.has(name));
            block.features.push(FirmwareFeature {
                enabled,
                name: name.to_owned(),
                ..FirmwareFeature::default()
            });
        }
    }
    block.features.sort_by(|a, b| a.name.cmp(&b.name));
    let loader: &mut Loader = os.loader.get_or_insert_default();
    loader.readonly.get_or_insert(YesNo::Yes);
    loader.kind.get_or_insert(LoaderKind::Pflash);
    let is_chosen = loader.path.is_none();
    loader.path.get_or_insert_with(|| found.code.clone());
    let needs_smm = found.has("requires-smm");
    if needs_smm {
        loader.secure.get_or_insert(YesNo::Yes);
    }
    let nvram: &mut Nvram = os.nvram.get_or_insert_default();
    if is_local {
        // What is chosen has variables of the template's own format.
        if is_chosen {
            nvram.format = Some(FirmwareFormat::Raw);
        }
        nvram.template.get_or_insert_with(|| found.vars.clone());
        nvram.template_format.get_or_insert(FirmwareFormat::Raw);
    }
    if nvram.source.is_none() {
        nvram.path.get_or_insert_with(|| format!("{}/{name}_VARS.fd", platform.nvram_dir));
    }
    if needs_smm {
        let features = domain.features.get_or_insert_default();
        features.smm.get_or_insert_with(|| Smm { state: OnOff::On, ..Smm::default() });
    }
}
