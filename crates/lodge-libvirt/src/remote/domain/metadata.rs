//! Titles, descriptions, others' elements; and what libvirt would warn of.

use lodge_engine::verb::{Affects, MetadataEdit, MetadataKind};
use lodge_wire::Text;
use lodge_wire::remote as wire;

use super::define::{exclusive, text};
use super::lookup;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_AFFECT_*`
const LIVE: (u32, &str) = (1 << 0, "VIR_DOMAIN_AFFECT_LIVE");
const CONFIG: (u32, &str) = (1 << 1, "VIR_DOMAIN_AFFECT_CONFIG");

fn kind(number: i32) -> Result<MetadataKind, Fault> {
    match number {
        0 => Ok(MetadataKind::Description),
        1 => Ok(MetadataKind::Title),
        2 => Ok(MetadataKind::Element),
        other => {
            let text = format!("unknown metadata type '{other}'");
            Err(Fault::new(Code::InvalidArg, Origin::Domain, text))
        }
    }
}

fn owned(text_of: Option<&Text>) -> Result<Option<String>, Fault> {
    text_of.map(|given| text(given).map(str::to_owned)).transpose()
}

/// Which documents the flags mean, for a domain as it is now.
fn affects(handle: &lodge_engine::Handle, flags: u32) -> Result<Affects, Fault> {
    let snapshot = handle.snapshot();
    let active = snapshot.is_active();
    let affects = match flags & (LIVE.0 | CONFIG.0) {
        0 => Affects { live: active, config: !active },
        flags => Affects { live: flags & LIVE.0 != 0, config: flags & CONFIG.0 != 0 },
    };
    if affects.live && !active {
        return Err(crate::fault::domain::not_running());
    }
    if affects.config && !snapshot.persistent {
        let text = "transient domains do not have any persistent config";
        return Err(Fault::new(Code::OperationInvalid, Origin::Domain, text));
    }
    Ok(affects)
}

pub(crate) async fn get(
    call: &Call,
    args: wire::DomainGetMetadataArgs,
) -> Result<wire::DomainGetMetadataRet, Fault> {
    exclusive(args.flags, LIVE, CONFIG)?;
    call.only_flags(args.flags, LIVE.0 | CONFIG.0)?;
    let handle = lookup::find(call, &args.dom)?;
    let affects = affects(&handle, args.flags)?;
    let uri = owned(args.uri.as_ref())?;
    let found = handle.metadata(kind(args.r#type)?, uri.as_deref(), affects.live)?;
    let found = found.ok_or_else(|| {
        let text = "Requested metadata element is not present";
        Fault::new(Code::NoDomainMetadata, Origin::Domain, text)
    })?;
    Ok(wire::DomainGetMetadataRet { metadata: found.into() })
}

pub(crate) async fn set(call: &Call, args: wire::DomainSetMetadataArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE.0 | CONFIG.0)?;
    let bare = |text| Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    let kind = kind(args.r#type)?;
    let given = owned(args.metadata.as_ref())?;
    match kind {
        MetadataKind::Title if given.as_deref().is_some_and(|title| title.contains('\n')) => {
            return bare("metadata title can't contain newlines");
        }
        MetadataKind::Element if args.uri.is_none() => {
            return bare("uri in virDomainSetMetadata must not be NULL");
        }
        MetadataKind::Element if given.is_some() && args.key.is_none() => {
            return bare("key in virDomainSetMetadata must not be NULL");
        }
        _ => {}
    }
    let handle = lookup::find_to_change(call, &args.dom)?;
    let affects = affects(&handle, args.flags)?;
    let (uri, key) = (owned(args.uri.as_ref())?, owned(args.key.as_ref())?);
    Ok(handle.set_metadata(MetadataEdit { kind, text: given, uri, key, affects }).await?)
}

pub(crate) async fn messages(
    call: &Call,
    args: wire::DomainGetMessagesArgs,
) -> Result<wire::DomainGetMessagesRet, Fault> {
    const DEPRECATION: u32 = 1 << 0;
    const TAINTING: u32 = 1 << 1;
    call.only_flags(args.flags, DEPRECATION | TAINTING)?;
    let handle = lookup::find(call, &args.dom)?;
    let wants = |flag| args.flags == 0 || args.flags & flag != 0;
    let messages = call.engine().domain_messages(&handle)?;
    let tainted = messages.tainted.iter().filter(|_| wants(TAINTING));
    let deprecated = messages.deprecated.iter().filter(|_| wants(DEPRECATION));
    let tainted = tainted.map(|text| format!("tainted: {text}"));
    let msgs = tainted.chain(deprecated.map(|text| format!("deprecated configuration: {text}")));
    Ok(wire::DomainGetMessagesRet { msgs: msgs.map(Text::from).collect() })
}
