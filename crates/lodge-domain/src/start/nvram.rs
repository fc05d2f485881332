//! UEFI: the firmware's code, and the guest's own file of variables, made from a template at the first start.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::os::{Firmware, FirmwareFormat, LoaderKind, Nvram};
use lodge_model::xml::YesNo;
use lodge_qemu::{Claims, Descriptors, Link, LinkBytes};
use lodge_store::saga::Failure;

use super::file_failure;
use super::gather::Draft;
use super::steps::Launch;

/// Where Debian puts OVMF: code and template of variables, the better first.
const OVMF: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// Opens firmware and variables where the document asks for UEFI, and completes the live document's `<os>`.
pub(crate) fn pass(draft: &Draft, claims: &mut Claims, descriptors: &mut Descriptors) -> Result<(), Failure> {
    let os = &draft.document.os;
    let Some(loader) = os.loader.as_deref().filter(|loader| loader.kind == Some(LoaderKind::Pflash)) else {
        return Ok(());
    };
    let Some(code) = loader.path.as_deref().map(PathBuf::from) else { return Ok(()) };
    let file = File::open(&code).map_err(|error| file_failure("open the firmware", &code, &error))?;
    claims.firmware = Some(Link::file(descriptors.pass(file), &format_of(loader.format), true));
    let Some(nvram) = os.nvram.as_deref() else { return Ok(()) };
    let format = format_of(nvram.format);
    if let Some(device) = nvram.source.as_deref().and_then(|source| source.dev.as_deref()) {
        return pass_device(Path::new(device), format, draft.reset_nvram, claims, descriptors);
    }
    if claims.nvram.is_some() && draft.reset_nvram {
        return Err(not_anew("that a server has"));
    }
    let Some(path) = nvram.file().map(PathBuf::from) else { return Ok(()) };
    let template = nvram.template.as_deref().map(PathBuf::from).or_else(|| template_of(&code));
    if !path.exists() || draft.reset_nvram {
        let template_format = nvram.template_format.map(|format| format_of(Some(format)));
        if template_format.is_some_and(|known| known != format) {
            // libvirt's words. Bytes of one format under the name of another are no variables.
            let text = "conversion of the nvram template to another target format is not supported";
            let failure = Failure::new(Kind::Unsupported, text);
            let hint = format!("make it: qemu-img convert -O {format} TEMPLATE {}", path.display());
            return Err(failure.with_hint(hint));
        }
        make(&path, template.as_deref())?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|error| file_failure("open the UEFI variables", &path, &error))?;
    claims.nvram = Some(Link::file(descriptors.pass(file), &format, false));
    Ok(())
}

/// Variables on a block device: somebody has put them there, and nothing is written over them.
fn pass_device(
    device: &Path,
    format: String,
    reset: bool,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    if reset {
        return Err(not_anew("on a device"));
    }
    let file = OpenOptions::new().read(true).write(true).open(device);
    let file = file.map_err(|error| file_failure("open the UEFI variables", device, &error))?;
    if !file.metadata().is_ok_and(|of| of.file_type().is_block_device()) {
        return Err(Failure::new(Kind::InvalidInput, format!("`{}` is no block device", device.display())));
    }
    let bytes = LinkBytes::Device(descriptors.pass(file));
    claims.nvram = Some(Link::new(bytes, format, false));
    Ok(())
}

fn not_anew(place: &str) -> Failure {
    Failure::new(Kind::Unsupported, format!("UEFI variables {place} are not made anew"))
}

/// Picks the firmware of `<os firmware='efi'>` and the place of the variables. Says which file a start will make.
pub(super) fn choose(launch: &mut Launch) -> Result<Vec<PathBuf>, Failure> {
    let default = launch.shared.config.store.root().nvram_of(&launch.plan.name);
    let os = &mut launch.document.os;
    if os.firmware == Some(Firmware::Efi) && os.loader.as_ref().is_none_or(|loader| loader.path.is_none()) {
        let Some((code, template)) = OVMF.into_iter().find(|(code, _)| Path::new(code).exists()) else {
            let failure = Failure::new(
                Kind::Unsupported,
                "the document asks for UEFI, and no OVMF firmware is installed",
            );
            return Err(failure.with_hint("install the package ovmf".to_owned()));
        };
        let loader = os.loader.get_or_insert_default();
        loader.readonly = Some(YesNo::Yes);
        loader.kind = Some(LoaderKind::Pflash);
        loader.path = Some(code.to_owned());
        let nvram = os.nvram.get_or_insert_default();
        nvram.template.get_or_insert_with(|| template.to_owned());
    }
    let pflash = os.loader.as_ref().is_some_and(|loader| {
        loader.kind == Some(LoaderKind::Pflash) && loader.stateless != Some(YesNo::Yes)
    });
    if pflash {
        let nvram: &mut Nvram = os.nvram.get_or_insert_default();
        if nvram.source.is_some() {
            let file = nvram.file().map(PathBuf::from);
            return Ok(file.filter(|path| !path.exists()).into_iter().collect());
        }
        let path = PathBuf::from(nvram.path.get_or_insert_with(|| default.display().to_string()).as_str());
        return Ok(if path.exists() { Vec::new() } else { vec![path] });
    }
    Ok(Vec::new())
}

fn template_of(code: &Path) -> Option<PathBuf> {
    OVMF.into_iter().find(|(known, _)| Path::new(known) == code).map(|(_, template)| template.into())
}

fn format_of(format: Option<FirmwareFormat>) -> String {
    format.map_or("raw", FirmwareFormat::as_str).to_owned()
}

/// Copies the template whole or not at all.
fn make(path: &Path, template: Option<&Path>) -> Result<(), Failure> {
    let Some(template) = template else {
        let failure =
            Failure::new(Kind::NotFound, format!("there are no UEFI variables `{}`", path.display()));
        return Err(failure.with_hint("name a template in <nvram template='…'>".to_owned()));
    };
    let bytes =
        std::fs::read(template).map_err(|error| file_failure("read the template", template, &error))?;
    lodge_sys::fs::write_durable(path, &bytes, 0o600).map_err(|error| file_failure("write", path, &error))
}
