//! Network filters: documents that are kept. None is applied yet, so there is no binding.

use std::sync::Arc;

use lodge_engine::{EngineError, Filter, FilterError};
use lodge_wire::Text;
use lodge_wire::remote::{
    ConnectListAllNwfilterBindingsArgs, ConnectListAllNwfilterBindingsRet, ConnectListAllNwfiltersArgs,
    ConnectListAllNwfiltersRet, ConnectListNwfiltersArgs, ConnectListNwfiltersRet, ConnectNumOfNwfiltersRet,
    Nwfilter, NwfilterBindingCreateXmlArgs, NwfilterBindingCreateXmlRet, NwfilterBindingDeleteArgs,
    NwfilterBindingGetXmlDescArgs, NwfilterBindingGetXmlDescRet, NwfilterBindingLookupByPortDevArgs,
    NwfilterBindingLookupByPortDevRet, NwfilterDefineXmlArgs, NwfilterDefineXmlFlagsArgs,
    NwfilterDefineXmlFlagsRet, NwfilterDefineXmlRet, NwfilterGetXmlDescArgs, NwfilterGetXmlDescRet,
    NwfilterLookupByNameArgs, NwfilterLookupByNameRet, NwfilterLookupByUuidArgs, NwfilterLookupByUuidRet,
    NwfilterUndefineArgs,
};
use uuid::Uuid;

use crate::call::Call;
use crate::fault::{Code, Fault, Origin, other_root, whole};

/// `VIR_NWFILTER_DEFINE_VALIDATE`
const VALIDATE: u32 = 1;

fn wire(filter: &Filter) -> Nwfilter {
    Nwfilter { name: filter.name.as_str().into(), uuid: *filter.uuid.as_bytes() }
}

/// The filters' errors in libvirt's numbers.
fn fault(error: &FilterError) -> Fault {
    let text = whole(error);
    if let Some(fault) = other_root(&text) {
        return fault;
    }
    let code = match error {
        FilterError::NotFound(_) => Code::NoNwfilter,
        FilterError::Document(_) if text.starts_with("Invalid chain") => Code::InvalidArg,
        FilterError::Document(_) if text == "filter has no name" => Code::InternalError,
        FilterError::Document(_) => Code::XmlError,
        FilterError::Clash(_) => Code::OperationFailed,
        FilterError::File { .. } => Code::InternalError,
    };
    Fault::new(code, Origin::Nwfilter, text)
}

fn act_fault(error: EngineError) -> Fault {
    match error.resource::<FilterError>() {
        Some(own) => fault(own),
        None => error.into(),
    }
}

pub(crate) async fn num_of(call: &Call, (): ()) -> Result<ConnectNumOfNwfiltersRet, Fault> {
    let count = call.engine().network_filters(&call.caller()).list().len();
    Ok(ConnectNumOfNwfiltersRet { num: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn list(
    call: &Call,
    args: ConnectListNwfiltersArgs,
) -> Result<ConnectListNwfiltersRet, Fault> {
    let all = call.engine().network_filters(&call.caller()).list();
    let most = usize::try_from(args.maxnames).unwrap_or_default();
    Ok(ConnectListNwfiltersRet {
        names: all.iter().take(most).map(|filter| filter.name.as_str().into()).collect(),
    })
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllNwfiltersArgs,
) -> Result<ConnectListAllNwfiltersRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let all = call.engine().network_filters(&call.caller()).list();
    let ret = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let filters =
        if args.need_results == 0 { Vec::new() } else { all.iter().map(|filter| wire(filter)).collect() };
    Ok(ConnectListAllNwfiltersRet { filters, ret })
}

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: NwfilterLookupByNameArgs,
) -> Result<NwfilterLookupByNameRet, Fault> {
    let filters = call.engine().network_filters(&call.caller());
    let found = filters.by_name(&args.name.to_string_lossy()).map_err(|error| fault(&error))?;
    Ok(NwfilterLookupByNameRet { nwfilter: wire(&found) })
}

fn by_uuid(call: &Call, uuid: [u8; 16]) -> Result<Arc<Filter>, Fault> {
    let filters = call.engine().network_filters(&call.caller());
    filters.by_uuid(Uuid::from_bytes(uuid)).map_err(|error| fault(&error))
}

pub(crate) async fn lookup_by_uuid(
    call: &Call,
    args: NwfilterLookupByUuidArgs,
) -> Result<NwfilterLookupByUuidRet, Fault> {
    Ok(NwfilterLookupByUuidRet { nwfilter: wire(&*by_uuid(call, args.uuid)?) })
}

async fn define(call: &Call, xml: &Text) -> Result<Nwfilter, Fault> {
    let xml =
        xml.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Nwfilter, "the document is no UTF-8"))?;
    let made = call.engine().define_network_filter(&call.caller(), xml.to_owned()).await;
    Ok(wire(&*made.map_err(act_fault)?))
}

pub(crate) async fn define_xml(
    call: &Call,
    args: NwfilterDefineXmlArgs,
) -> Result<NwfilterDefineXmlRet, Fault> {
    Ok(NwfilterDefineXmlRet { nwfilter: define(call, &args.xml).await? })
}

pub(crate) async fn define_xml_flags(
    call: &Call,
    args: NwfilterDefineXmlFlagsArgs,
) -> Result<NwfilterDefineXmlFlagsRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    if args.flags & VALIDATE != 0 {
        // Rules are kept without being understood, so there is nothing to hold them to.
        let text = "validation of network filters is not supported yet";
        return Err(Fault::new(Code::OperationUnsupported, Origin::Nwfilter, text));
    }
    Ok(NwfilterDefineXmlFlagsRet { nwfilter: define(call, &args.xml).await? })
}

pub(crate) async fn undefine(call: &Call, args: NwfilterUndefineArgs) -> Result<(), Fault> {
    let uuid = by_uuid(call, args.nwfilter.uuid)?.uuid;
    call.engine().undefine_network_filter(&call.caller(), uuid).await.map_err(act_fault)
}

pub(crate) async fn xml_desc(
    call: &Call,
    args: NwfilterGetXmlDescArgs,
) -> Result<NwfilterGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(NwfilterGetXmlDescRet { xml: by_uuid(call, args.nwfilter.uuid)?.document.to_xml().into() })
}

pub(crate) async fn list_all_bindings(
    call: &Call,
    args: ConnectListAllNwfilterBindingsArgs,
) -> Result<ConnectListAllNwfilterBindingsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(ConnectListAllNwfilterBindingsRet { bindings: Vec::new(), ret: 0 })
}

fn no_binding(port: &Text) -> Fault {
    let text = format!("no nwfilter binding for port dev '{port}'");
    Fault::new(Code::NoNwfilterBinding, Origin::Nwfilter, text)
}

pub(crate) async fn lookup_binding(
    _: &Call,
    args: NwfilterBindingLookupByPortDevArgs,
) -> Result<NwfilterBindingLookupByPortDevRet, Fault> {
    Err(no_binding(&args.name))
}

pub(crate) async fn binding_xml_desc(
    call: &Call,
    args: NwfilterBindingGetXmlDescArgs,
) -> Result<NwfilterBindingGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Err(no_binding(&args.nwfilter.portdev))
}

pub(crate) async fn create_binding(
    call: &Call,
    args: NwfilterBindingCreateXmlArgs,
) -> Result<NwfilterBindingCreateXmlRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    let text = "network filters are not applied yet";
    Err(Fault::new(Code::OperationUnsupported, Origin::Nwfilter, text))
}

pub(crate) async fn delete_binding(_: &Call, args: NwfilterBindingDeleteArgs) -> Result<(), Fault> {
    Err(no_binding(&args.nwfilter.portdev))
}
