//! Definitions: making, changing, renaming and forgetting them; reading documents; autostart marks.

use lodge_engine::verb::{CreateOptions, DefineOptions, DomainError, Ticket, UndefineOptions, XmlOptions};
use lodge_wire::remote as wire;

use super::lookup;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_START_*`
pub(super) mod start {
    pub const PAUSED: u32 = 1 << 0;
    pub const AUTODESTROY: u32 = 1 << 1;
    pub const BYPASS_CACHE: u32 = 1 << 2;
    pub const FORCE_BOOT: u32 = 1 << 3;
    pub const VALIDATE: u32 = 1 << 4;
    pub const RESET_NVRAM: u32 = 1 << 5;
}

/// `VIR_DOMAIN_UNDEFINE_*`
mod gone {
    pub const MANAGED_SAVE: u32 = 1 << 0;
    pub const SNAPSHOTS: u32 = 1 << 1;
    pub const NVRAM: u32 = 1 << 2;
    pub const KEEP_NVRAM: u32 = 1 << 3;
    pub const CHECKPOINTS: u32 = 1 << 4;
    pub const TPM: u32 = 1 << 5;
    pub const KEEP_TPM: u32 = 1 << 6;
    pub const ALL: u32 = MANAGED_SAVE | SNAPSHOTS | NVRAM | KEEP_NVRAM | CHECKPOINTS | TPM | KEEP_TPM;
}

/// A document's text.
pub(super) fn text(xml: &lodge_wire::Text) -> Result<&str, Fault> {
    xml.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Domain, "the document is not UTF-8"))
}

/// Refuses two flags that exclude each other, as the C API does: `VIR_EXCLUSIVE_FLAGS_RET`.
pub(super) fn exclusive(flags: u32, one: (u32, &str), other: (u32, &str)) -> Result<(), Fault> {
    if flags & one.0 == 0 || flags & other.0 == 0 {
        return Ok(());
    }
    let words = format!("Flags '{}' and '{}' are mutually exclusive", one.1, other.1);
    Err(Fault::bare(Code::InvalidArg, Origin::Domain, words))
}

/// A start's ticket: with the flag the guest goes when this connection goes.
pub(super) fn ticket(call: &Call, flags: u32) -> Ticket {
    let tied_to = (flags & start::AUTODESTROY != 0).then(|| call.session().gone().clone());
    Ticket { tied_to, ..Ticket::default() }
}

pub(crate) async fn create_xml(
    call: &Call,
    args: wire::DomainCreateXmlArgs,
) -> Result<wire::DomainCreateXmlRet, Fault> {
    use start::{AUTODESTROY, PAUSED, RESET_NVRAM, VALIDATE};
    call.only_flags(args.flags, PAUSED | AUTODESTROY | VALIDATE | RESET_NVRAM)?;
    let options = CreateOptions {
        paused: args.flags & PAUSED != 0,
        validate: args.flags & VALIDATE != 0,
        reset_nvram: args.flags & RESET_NVRAM != 0,
    };
    let domains = call.engine().domains_for(&call.caller())?;
    let handle = domains.create(text(&args.xml_desc)?, options, ticket(call, args.flags)).await?;
    Ok(wire::DomainCreateXmlRet { dom: lookup::wire(&handle.snapshot()) })
}

/// Descriptors at a start are for containers.
pub(crate) async fn create_xml_with_files(
    _call: &Call,
    _args: wire::DomainCreateXmlWithFilesArgs,
) -> Result<wire::DomainCreateXmlWithFilesRet, Fault> {
    Err(Fault::new(Code::NoSupport, Origin::Domain, "virDomainCreateXMLWithFiles"))
}

pub(crate) async fn define_xml(
    call: &Call,
    args: wire::DomainDefineXmlArgs,
) -> Result<wire::DomainDefineXmlRet, Fault> {
    Ok(wire::DomainDefineXmlRet { dom: define(call, &args.xml, false).await? })
}

pub(crate) async fn define_xml_flags(
    call: &Call,
    args: wire::DomainDefineXmlFlagsArgs,
) -> Result<wire::DomainDefineXmlFlagsRet, Fault> {
    const VALIDATE: u32 = 1 << 0;
    call.only_flags(args.flags, VALIDATE)?;
    Ok(wire::DomainDefineXmlFlagsRet { dom: define(call, &args.xml, args.flags & VALIDATE != 0).await? })
}

async fn define(call: &Call, xml: &lodge_wire::Text, validate: bool) -> Result<wire::Domain, Fault> {
    let domains = call.engine().domains_for(&call.caller())?;
    let handle = domains.define(text(xml)?, DefineOptions { validate, ..DefineOptions::default() }).await?;
    Ok(lookup::wire(&handle.snapshot()))
}

pub(crate) async fn undefine(call: &Call, args: wire::DomainUndefineArgs) -> Result<(), Fault> {
    forget(call, &args.dom, 0).await
}

pub(crate) async fn undefine_flags(call: &Call, args: wire::DomainUndefineFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, gone::ALL)?;
    forget(call, &args.dom, args.flags).await
}

async fn forget(call: &Call, dom: &wire::Domain, flags: u32) -> Result<(), Fault> {
    let refuse = |text| Err(Fault::new(Code::OperationInvalid, Origin::Qemu, text));
    if flags & gone::NVRAM != 0 && flags & gone::KEEP_NVRAM != 0 {
        return refuse("cannot both keep and delete nvram");
    }
    if flags & gone::TPM != 0 && flags & gone::KEEP_TPM != 0 {
        return refuse("cannot both keep and delete TPM");
    }
    let options = UndefineOptions {
        nvram: flags & gone::NVRAM != 0,
        keep_nvram: flags & gone::KEEP_NVRAM != 0,
        tpm: flags & gone::TPM != 0,
        keep_tpm: flags & gone::KEEP_TPM != 0,
        managed_save: flags & gone::MANAGED_SAVE != 0,
        snapshots_metadata: flags & gone::SNAPSHOTS != 0,
        ..UndefineOptions::default()
    };
    lookup::find_to_change(call, dom)?.undefine(options).await?;
    Ok(())
}

pub(crate) async fn rename(
    call: &Call,
    args: wire::DomainRenameArgs,
) -> Result<wire::DomainRenameRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let bare = |text| Fault::bare(Code::InvalidArg, Origin::Domain, text);
    let Some(new) = args.new_name else {
        return Err(bare("new_name in virDomainRename must not be NULL"));
    };
    let new = text(&new)?.to_owned();
    if new.is_empty() {
        return Err(bare("string new_name in virDomainRename must not be empty"));
    }
    if new.contains('/') {
        return Err(Fault::new(Code::XmlError, Origin::Qemu, format!("name {new} cannot contain '/'")));
    }
    let handle = lookup::find_to_change(call, &args.dom)?;
    handle.rename(new).await.map_err(|error| match error {
        DomainError::NameTaken { name, .. } => Fault::new(
            Code::OperationInvalid,
            Origin::Domain,
            format!("domain with name '{name}' already exists"),
        ),
        other => other.into(),
    })?;
    Ok(wire::DomainRenameRet { retcode: 0 })
}

pub(crate) async fn get_xml_desc(
    call: &Call,
    args: wire::DomainGetXmlDescArgs,
) -> Result<wire::DomainGetXmlDescRet, Fault> {
    const SECURE: u32 = 1 << 0;
    const INACTIVE: u32 = 1 << 1;
    const UPDATE_CPU: u32 = 1 << 2;
    const MIGRATABLE: u32 = 1 << 3;
    call.only_flags(args.flags, SECURE | INACTIVE | UPDATE_CPU | MIGRATABLE)?;
    let options = XmlOptions {
        inactive: args.flags & INACTIVE != 0,
        migratable: args.flags & MIGRATABLE != 0,
        security_info: args.flags & SECURE != 0,
    };
    let xml = lookup::find(call, &args.dom)?.xml(options).await?;
    if args.flags & UPDATE_CPU == 0 {
        return Ok(wire::DomainGetXmlDescRet { xml: xml.into() });
    }
    let updated = call.engine().with_host_cpu(&xml, options.migratable).await;
    let xml = updated.map_err(|error| Fault::new(Code::ConfigUnsupported, Origin::Cpu, error.to_string()))?;
    Ok(wire::DomainGetXmlDescRet { xml: xml.into() })
}

pub(crate) async fn xml_from_native(
    call: &Call,
    args: wire::ConnectDomainXmlFromNativeArgs,
) -> Result<wire::ConnectDomainXmlFromNativeRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Err(Fault::new(Code::NoSupport, Origin::Domain, "virConnectDomainXMLFromNative"))
}

pub(crate) async fn xml_to_native(
    call: &Call,
    args: wire::ConnectDomainXmlToNativeArgs,
) -> Result<wire::ConnectDomainXmlToNativeRet, Fault> {
    call.only_flags(args.flags, 0)?;
    if args.native_format.as_bytes() != b"qemu-argv" {
        let text = format!("unsupported config type {}", args.native_format);
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let native_config = call.engine().domain_command_line(text(&args.domain_xml)?).await?;
    Ok(wire::ConnectDomainXmlToNativeRet { native_config: native_config.into() })
}

pub(crate) async fn set_autostart(call: &Call, args: wire::DomainSetAutostartArgs) -> Result<(), Fault> {
    Ok(lookup::find_to_change(call, &args.dom)?.set_autostart(args.autostart != 0).await?)
}

pub(crate) async fn get_autostart(
    call: &Call,
    args: wire::DomainGetAutostartArgs,
) -> Result<wire::DomainGetAutostartRet, Fault> {
    let autostart = lookup::find(call, &args.dom)?.snapshot().autostart;
    Ok(wire::DomainGetAutostartRet { autostart: autostart.into() })
}

pub(crate) async fn set_autostart_once(
    call: &Call,
    args: wire::DomainSetAutostartOnceArgs,
) -> Result<(), Fault> {
    Ok(lookup::find_to_change(call, &args.dom)?.set_autostart_once(args.autostart != 0).await?)
}

pub(crate) async fn get_autostart_once(
    call: &Call,
    args: wire::DomainGetAutostartOnceArgs,
) -> Result<wire::DomainGetAutostartOnceRet, Fault> {
    let autostart = lookup::find(call, &args.dom)?.snapshot().autostart_once;
    Ok(wire::DomainGetAutostartOnceRet { autostart: autostart.into() })
}
