//! A network's life: defined, started, stopped, forgotten.

use std::sync::Arc;

use lodge_engine::NetworkView;
use lodge_model::network::Network;
use lodge_wire::Text;
use lodge_wire::remote::{
    NetworkCreateArgs, NetworkCreateXmlArgs, NetworkCreateXmlFlagsArgs, NetworkCreateXmlFlagsRet,
    NetworkCreateXmlRet, NetworkDefineXmlArgs, NetworkDefineXmlFlagsArgs, NetworkDefineXmlFlagsRet,
    NetworkDefineXmlRet, NetworkDestroyArgs, NetworkSetAutostartArgs, NetworkUndefineArgs,
};

use super::{document, fault, find, wire};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_NETWORK_CREATE_VALIDATE`, `VIR_NETWORK_DEFINE_VALIDATE`
const VALIDATE: u32 = 1;

/// The document, held to what Lodge knows where the client wants that.
fn judged(xml: &Text, flags: u32) -> Result<&str, Fault> {
    let xml = document(xml)?;
    if flags & VALIDATE != 0 {
        Network::parse_strict(xml)
            .map_err(|faults| Fault::new(Code::XmlInvalidSchema, Origin::Xml, faults.to_string()))?;
    }
    Ok(xml)
}

async fn defined(call: &Call, xml: &str) -> Result<Arc<NetworkView>, Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.define_as_told(xml).await.map_err(|error| fault(&error))
}

async fn created(call: &Call, xml: &str) -> Result<Arc<NetworkView>, Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.create(xml).await.map_err(|error| fault(&error))
}

pub(crate) async fn define_xml(
    call: &Call,
    args: NetworkDefineXmlArgs,
) -> Result<NetworkDefineXmlRet, Fault> {
    Ok(NetworkDefineXmlRet { net: wire(&*defined(call, document(&args.xml)?).await?) })
}

pub(crate) async fn define_xml_flags(
    call: &Call,
    args: NetworkDefineXmlFlagsArgs,
) -> Result<NetworkDefineXmlFlagsRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    Ok(NetworkDefineXmlFlagsRet { net: wire(&*defined(call, judged(&args.xml, args.flags)?).await?) })
}

pub(crate) async fn create_xml(
    call: &Call,
    args: NetworkCreateXmlArgs,
) -> Result<NetworkCreateXmlRet, Fault> {
    Ok(NetworkCreateXmlRet { net: wire(&*created(call, document(&args.xml)?).await?) })
}

pub(crate) async fn create_xml_flags(
    call: &Call,
    args: NetworkCreateXmlFlagsArgs,
) -> Result<NetworkCreateXmlFlagsRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    Ok(NetworkCreateXmlFlagsRet { net: wire(&*created(call, judged(&args.xml, args.flags)?).await?) })
}

pub(crate) async fn create(call: &Call, args: NetworkCreateArgs) -> Result<(), Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    let started = networks.start(find(call, &args.net)?.id).await.map_err(|error| fault(&error))?;
    if !started.changed {
        return Err(Fault::new(Code::OperationInvalid, Origin::Network, "network is already active"));
    }
    Ok(())
}

pub(crate) async fn destroy(call: &Call, args: NetworkDestroyArgs) -> Result<(), Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.stop(find(call, &args.net)?.id).await.map_err(|error| fault(&error))
}

pub(crate) async fn undefine(call: &Call, args: NetworkUndefineArgs) -> Result<(), Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.undefine(find(call, &args.net)?.id).await.map_err(|error| fault(&error))
}

pub(crate) async fn set_autostart(call: &Call, args: NetworkSetAutostartArgs) -> Result<(), Fault> {
    let networks = call.engine().networks_to_change(&call.caller())?;
    let id = find(call, &args.net)?.id;
    networks.set_autostart(id, args.autostart != 0).await.map_err(|error| fault(&error))
}
