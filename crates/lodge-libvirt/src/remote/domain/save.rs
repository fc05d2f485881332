//! Guests' memory in files: save and restore, managed saves, what such files say, and dumps.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lodge_engine::verb::{DumpFormat, DumpOptions, RestoreOptions, Resumption, SaveOptions, Ticket};
use lodge_wire::Text;
use lodge_wire::remote::{self as wire, TypedParam, TypedParamValue};

use super::define::{exclusive, text};
use super::lookup;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_SAVE_*`
mod flag {
    pub const BYPASS_CACHE: u32 = 1 << 0;
    pub const RUNNING: u32 = 1 << 1;
    pub const PAUSED: u32 = 1 << 2;
    pub const RESET_NVRAM: u32 = 1 << 3;
    pub const SAVE: u32 = BYPASS_CACHE | RUNNING | PAUSED;
    pub const RESTORE: u32 = SAVE | RESET_NVRAM;
}

fn path(text: &Text) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.as_bytes()))
}

fn resumption(flags: u32) -> Result<Resumption, Fault> {
    exclusive(flags, (flag::RUNNING, "VIR_DOMAIN_SAVE_RUNNING"), (flag::PAUSED, "VIR_DOMAIN_SAVE_PAUSED"))?;
    Ok(match flags & (flag::RUNNING | flag::PAUSED) {
        flag::RUNNING => Resumption::Running,
        flag::PAUSED => Resumption::Paused,
        _ => Resumption::AsBefore,
    })
}

fn running(flags: u32) -> Result<Option<bool>, Fault> {
    Ok(match resumption(flags)? {
        Resumption::AsBefore => None,
        Resumption::Running => Some(true),
        Resumption::Paused => Some(false),
    })
}

fn document(xml: Option<&Text>) -> Result<Option<String>, Fault> {
    xml.map(|xml| text(xml).map(str::to_owned)).transpose()
}

pub(crate) async fn save(call: &Call, args: wire::DomainSaveArgs) -> Result<(), Fault> {
    to_file(call, &args.dom, Some(path(&args.to)), None, 0).await
}

pub(crate) async fn save_flags(call: &Call, args: wire::DomainSaveFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::SAVE)?;
    to_file(call, &args.dom, Some(path(&args.to)), document(args.dxml.as_ref())?, args.flags).await
}

/// Without a file it is a managed save.
pub(crate) async fn save_params(call: &Call, args: wire::DomainSaveParamsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::SAVE)?;
    let params = Params::read(&args.params)?;
    to_file(call, &args.dom, params.file, params.xml, args.flags).await
}

pub(crate) async fn managed_save(call: &Call, args: wire::DomainManagedSaveArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::SAVE)?;
    to_file(call, &args.dom, None, None, args.flags).await
}

async fn to_file(
    call: &Call,
    dom: &wire::Domain,
    file: Option<PathBuf>,
    xml: Option<String>,
    flags: u32,
) -> Result<(), Fault> {
    let options =
        SaveOptions { bypass_cache: flags & flag::BYPASS_CACHE != 0, resumption: resumption(flags)?, xml };
    let handle = lookup::find_to_change(call, dom)?;
    match file {
        Some(file) => handle.save(file, options, Ticket::default()).await?,
        None => handle.managed_save(options, Ticket::default()).await?,
    }
    Ok(())
}

pub(crate) async fn restore(call: &Call, args: wire::DomainRestoreArgs) -> Result<(), Fault> {
    from_file(call, &path(&args.from), None, 0).await
}

pub(crate) async fn restore_flags(call: &Call, args: wire::DomainRestoreFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::RESTORE)?;
    from_file(call, &path(&args.from), document(args.dxml.as_ref())?, args.flags).await
}

pub(crate) async fn restore_params(call: &Call, args: wire::DomainRestoreParamsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::RESTORE)?;
    let params = Params::read(&args.params)?;
    let Some(file) = params.file else {
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, "missing path to restore from"));
    };
    from_file(call, &file, params.xml, args.flags).await
}

async fn from_file(call: &Call, file: &Path, xml: Option<String>, flags: u32) -> Result<(), Fault> {
    let options = RestoreOptions {
        bypass_cache: flags & flag::BYPASS_CACHE != 0,
        resumption: resumption(flags)?,
        xml,
        reset_nvram: flags & flag::RESET_NVRAM != 0,
    };
    call.engine().domains_for(&call.caller())?.restore(file, options, Ticket::default()).await?;
    Ok(())
}

/// `VIR_DOMAIN_SAVE_PARAM_*`
#[derive(Default)]
struct Params {
    file: Option<PathBuf>,
    xml: Option<String>,
}

impl Params {
    fn read(params: &[TypedParam]) -> Result<Self, Fault> {
        let mut read = Self::default();
        for param in params {
            let unsupported = |text: String| Fault::new(Code::ArgumentUnsupported, Origin::None, text);
            match (param.field.as_bytes(), &param.value) {
                (b"file", TypedParamValue::String(file)) => read.file = Some(path(file)),
                (b"dxml", TypedParamValue::String(xml)) => read.xml = Some(text(xml)?.to_owned()),
                // Memory is written as QEMU gives it; that is this format.
                (b"image_format", TypedParamValue::String(format)) if format.as_bytes() == b"raw" => {}
                (b"image_format", TypedParamValue::String(format)) => {
                    let text = format!("Invalid save image format specified: '{format}'");
                    return Err(Fault::new(Code::OperationFailed, Origin::Qemu, text));
                }
                (b"parallel.channels", _) => {
                    let text = "Parallel save is only supported with the 'sparse' save image format";
                    return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
                }
                (b"file" | b"dxml" | b"image_format", _) => {
                    let text = format!("invalid type for parameter '{}', expected 'string'", param.field);
                    return Err(Fault::new(Code::InvalidArg, Origin::None, text));
                }
                _ => return Err(unsupported(format!("parameter '{}' not supported", param.field))),
            }
        }
        Ok(read)
    }
}

/// `VIR_DOMAIN_SAVE_IMAGE_XML_SECURE`
const SECURE: u32 = 1 << 0;

pub(crate) async fn image_get_xml_desc(
    call: &Call,
    args: wire::DomainSaveImageGetXmlDescArgs,
) -> Result<wire::DomainSaveImageGetXmlDescRet, Fault> {
    call.only_flags(args.flags, SECURE)?;
    let image = lodge_engine::verb::read_saved_image(&path(&args.file)).await?;
    Ok(wire::DomainSaveImageGetXmlDescRet { xml: image.document(args.flags & SECURE != 0)?.into() })
}

pub(crate) async fn image_define_xml(
    call: &Call,
    args: wire::DomainSaveImageDefineXmlArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::RUNNING | flag::PAUSED)?;
    let running = running(args.flags)?;
    let domains = call.engine().domains_for(&call.caller())?;
    Ok(domains.edit_saved_image(&path(&args.file), Some(text(&args.dxml)?), running).await?)
}

pub(crate) async fn has_managed_save(
    call: &Call,
    args: wire::DomainHasManagedSaveImageArgs,
) -> Result<wire::DomainHasManagedSaveImageRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let result = lookup::find(call, &args.dom)?.snapshot().managed_save;
    Ok(wire::DomainHasManagedSaveImageRet { result: result.into() })
}

pub(crate) async fn managed_save_remove(
    call: &Call,
    args: wire::DomainManagedSaveRemoveArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let handle = lookup::find_to_change(call, &args.dom)?;
    // To lodge what is not there is removed; libvirt refuses.
    if !handle.snapshot().managed_save {
        let path = handle.managed_save_path();
        let text =
            format!("Failed to remove managed save file '{}': No such file or directory", path.display());
        return Err(Fault::system(Origin::Qemu, text, rustix::io::Errno::NOENT.raw_os_error()));
    }
    Ok(handle.remove_managed_save().await?)
}

pub(crate) async fn managed_save_get_xml_desc(
    call: &Call,
    args: wire::DomainManagedSaveGetXmlDescArgs,
) -> Result<wire::DomainManagedSaveGetXmlDescRet, Fault> {
    call.only_flags(args.flags, SECURE)?;
    let image = lookup::find(call, &args.dom)?.managed_save_image().await?;
    Ok(wire::DomainManagedSaveGetXmlDescRet { xml: image.document(args.flags & SECURE != 0)?.into() })
}

pub(crate) async fn managed_save_define_xml(
    call: &Call,
    args: wire::DomainManagedSaveDefineXmlArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, flag::RUNNING | flag::PAUSED)?;
    let (xml, running) = (document(args.dxml.as_ref())?, running(args.flags)?);
    Ok(lookup::find_to_change(call, &args.dom)?.edit_managed_save(xml, running).await?)
}

/// `VIR_DUMP_*`
mod dump {
    pub const CRASH: (u32, &str) = (1 << 0, "VIR_DUMP_CRASH");
    pub const LIVE: (u32, &str) = (1 << 1, "VIR_DUMP_LIVE");
    pub const BYPASS_CACHE: u32 = 1 << 2;
    pub const RESET: (u32, &str) = (1 << 3, "VIR_DUMP_RESET");
    pub const MEMORY_ONLY: u32 = 1 << 4;
}

pub(crate) async fn core_dump(call: &Call, args: wire::DomainCoreDumpArgs) -> Result<(), Fault> {
    dump(call, &args.dom, &args.to, DumpFormat::Raw, args.flags).await
}

pub(crate) async fn core_dump_with_format(
    call: &Call,
    args: wire::DomainCoreDumpWithFormatArgs,
) -> Result<(), Fault> {
    let format = usize::try_from(args.dumpformat).ok().and_then(|at| DumpFormat::ALL.get(at).copied());
    let Some(format) = format else {
        let text = format!("dumpformat '{}' is not supported", args.dumpformat);
        return Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    };
    dump(call, &args.dom, &args.to, format, args.flags).await
}

async fn dump(
    call: &Call,
    dom: &wire::Domain,
    to: &Text,
    format: DumpFormat,
    flags: u32,
) -> Result<(), Fault> {
    use dump::{BYPASS_CACHE, CRASH, LIVE, MEMORY_ONLY, RESET};
    exclusive(flags, CRASH, LIVE)?;
    exclusive(flags, CRASH, RESET)?;
    exclusive(flags, LIVE, RESET)?;
    call.only_flags(flags, CRASH.0 | LIVE.0 | BYPASS_CACHE | RESET.0 | MEMORY_ONLY)?;
    let memory_only = flags & MEMORY_ONLY != 0;
    let handle = lookup::find_to_change(call, dom)?;
    if !handle.snapshot().is_active() {
        return Err(crate::fault::domain::not_running());
    }
    if format != DumpFormat::Raw && !memory_only {
        let text = "kdump-compressed format is only supported with memory-only dump";
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    if flags & BYPASS_CACHE != 0 {
        let text = "bypassing the host's file cache is not supported by a dump";
        return Err(Fault::new(Code::OperationUnsupported, Origin::Qemu, text));
    }
    let options = DumpOptions {
        memory_only,
        live: flags & LIVE.0 != 0,
        crash: flags & CRASH.0 != 0,
        reset: flags & RESET.0 != 0,
        format,
    };
    Ok(handle.dump(path(to), options, Ticket::default()).await?)
}
