//! Network filters, and the cards that have them.

use std::sync::Arc;

use lodge_engine::EngineError;
use lodge_engine::{Filter, FilterError};
use lodge_model::nwfilter::{BadFilter, Binding};
use lodge_wire::Text;
use lodge_wire::remote::{
    ConnectListAllNwfilterBindingsArgs, ConnectListAllNwfilterBindingsRet, ConnectListAllNwfiltersArgs,
    ConnectListAllNwfiltersRet, ConnectListNwfiltersArgs, ConnectListNwfiltersRet, ConnectNumOfNwfiltersRet,
    Nwfilter, NwfilterBinding, NwfilterBindingCreateXmlArgs, NwfilterBindingCreateXmlRet,
    NwfilterBindingDeleteArgs, NwfilterBindingGetXmlDescArgs, NwfilterBindingGetXmlDescRet,
    NwfilterBindingLookupByPortDevArgs, NwfilterBindingLookupByPortDevRet, NwfilterDefineXmlArgs,
    NwfilterDefineXmlFlagsArgs, NwfilterDefineXmlFlagsRet, NwfilterDefineXmlRet, NwfilterGetXmlDescArgs,
    NwfilterGetXmlDescRet, NwfilterLookupByNameArgs, NwfilterLookupByNameRet, NwfilterLookupByUuidArgs,
    NwfilterLookupByUuidRet, NwfilterUndefineArgs,
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
        FilterError::NoBinding { .. } => Code::NoNwfilterBinding,
        FilterError::Document(BadFilter::Argument(_)) => Code::InvalidArg,
        FilterError::Document(BadFilter::Xml(_) | BadFilter::Markup(_)) => Code::XmlError,
        FilterError::Clash(_) | FilterError::Bound { .. } => Code::OperationFailed,
        FilterError::InUse => Code::OperationInvalid,
        FilterError::Learning { .. } => Code::ParseFailed,
        FilterError::Unsupported { .. } => Code::ConfigUnsupported,
        FilterError::Document(BadFilter::Value(_))
        | FilterError::Missing(_)
        | FilterError::Variables(_)
        | FilterError::NoPort { .. }
        | FilterError::Kernel { .. }
        | FilterError::File { .. } => Code::InternalError,
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

fn document(xml: &Text) -> Result<String, Fault> {
    let text =
        xml.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Nwfilter, "the document is no UTF-8"));
    text.map(str::to_owned)
}

async fn define(call: &Call, xml: &Text, strict: bool) -> Result<Nwfilter, Fault> {
    let made = call.engine().define_network_filter(&call.caller(), document(xml)?, strict).await;
    Ok(wire(&*made.map_err(act_fault)?))
}

pub(crate) async fn define_xml(
    call: &Call,
    args: NwfilterDefineXmlArgs,
) -> Result<NwfilterDefineXmlRet, Fault> {
    Ok(NwfilterDefineXmlRet { nwfilter: define(call, &args.xml, false).await? })
}

pub(crate) async fn define_xml_flags(
    call: &Call,
    args: NwfilterDefineXmlFlagsArgs,
) -> Result<NwfilterDefineXmlFlagsRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    let strict = args.flags & VALIDATE != 0;
    Ok(NwfilterDefineXmlFlagsRet { nwfilter: define(call, &args.xml, strict).await? })
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

fn wire_binding(binding: &Binding) -> NwfilterBinding {
    NwfilterBinding {
        portdev: binding.port.as_str().into(),
        filtername: binding.filter.filter.as_str().into(),
    }
}

fn binding(call: &Call, port: &Text) -> Result<Binding, Fault> {
    let filters = call.engine().network_filters(&call.caller());
    filters.binding(&port.to_string_lossy()).map_err(|error| fault(&error))
}

pub(crate) async fn list_all_bindings(
    call: &Call,
    args: ConnectListAllNwfilterBindingsArgs,
) -> Result<ConnectListAllNwfilterBindingsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let all = call.engine().network_filters(&call.caller()).bindings();
    let ret = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let bindings = if args.need_results == 0 { Vec::new() } else { all.iter().map(wire_binding).collect() };
    Ok(ConnectListAllNwfilterBindingsRet { bindings, ret })
}

pub(crate) async fn lookup_binding(
    call: &Call,
    args: NwfilterBindingLookupByPortDevArgs,
) -> Result<NwfilterBindingLookupByPortDevRet, Fault> {
    Ok(NwfilterBindingLookupByPortDevRet { nwfilter: wire_binding(&binding(call, &args.name)?) })
}

pub(crate) async fn binding_xml_desc(
    call: &Call,
    args: NwfilterBindingGetXmlDescArgs,
) -> Result<NwfilterBindingGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(NwfilterBindingGetXmlDescRet { xml: binding(call, &args.nwfilter.portdev)?.to_xml().into() })
}

pub(crate) async fn create_binding(
    call: &Call,
    args: NwfilterBindingCreateXmlArgs,
) -> Result<NwfilterBindingCreateXmlRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    let strict = args.flags & VALIDATE != 0;
    let made = call.engine().bind_network_filter(&call.caller(), document(&args.xml)?, strict).await;
    Ok(NwfilterBindingCreateXmlRet { nwfilter: wire_binding(&made.map_err(act_fault)?) })
}

pub(crate) async fn delete_binding(call: &Call, args: NwfilterBindingDeleteArgs) -> Result<(), Fault> {
    let port = args.nwfilter.portdev.to_string_lossy().into_owned();
    call.engine().unbind_network_filter(&call.caller(), port).await.map_err(act_fault)
}
