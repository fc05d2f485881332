//! Ports: which guests' interfaces are plugged into a network. Lodge makes and removes them with the guests; clients
//! look at them.

use std::sync::Arc;

use lodge_engine::{NetworkView, Nic};
use lodge_model::markup::Markup;
use lodge_wire::remote::{
    self, NetworkListAllPortsArgs, NetworkListAllPortsRet, NetworkPort, NetworkPortCreateXmlArgs,
    NetworkPortCreateXmlRet, NetworkPortDeleteArgs, NetworkPortGetParametersArgs,
    NetworkPortGetParametersRet, NetworkPortGetXmlDescArgs, NetworkPortGetXmlDescRet,
    NetworkPortLookupByUuidArgs, NetworkPortLookupByUuidRet, NetworkPortSetParametersArgs,
};
use uuid::Uuid;

use super::{find, wire};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_TYPED_PARAM_STRING_OKAY`
const STRING_OKAY: u32 = 4;

fn port_of(call: &Call, net: &remote::Network, uuid: [u8; 16]) -> Result<(Arc<NetworkView>, Nic), Fault> {
    let view = find(call, net)?;
    let id = Uuid::from_bytes(uuid);
    let nic = view.nics.iter().find(|nic| nic.port(view.id) == id).cloned();
    let nic = nic.ok_or_else(|| {
        let text = format!("Network port with UUID {id} does not exist");
        Fault::new(Code::NoNetworkPort, Origin::Network, text)
    })?;
    Ok((view, nic))
}

pub(crate) async fn list_all_ports(
    call: &Call,
    args: NetworkListAllPortsArgs,
) -> Result<NetworkListAllPortsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let view = find(call, &args.network)?;
    let port = |nic: &Nic| NetworkPort { net: wire(&view), uuid: *nic.port(view.id).as_bytes() };
    let ports: Vec<NetworkPort> = view.nics.iter().map(port).collect();
    let ret = u32::try_from(ports.len()).unwrap_or(u32::MAX);
    Ok(NetworkListAllPortsRet { ports: if args.need_results == 0 { Vec::new() } else { ports }, ret })
}

pub(crate) async fn lookup_port(
    call: &Call,
    args: NetworkPortLookupByUuidArgs,
) -> Result<NetworkPortLookupByUuidRet, Fault> {
    let (view, nic) = port_of(call, &args.network, args.uuid)?;
    let port = NetworkPort { net: wire(&view), uuid: *nic.port(view.id).as_bytes() };
    Ok(NetworkPortLookupByUuidRet { port })
}

pub(crate) async fn port_xml_desc(
    call: &Call,
    args: NetworkPortGetXmlDescArgs,
) -> Result<NetworkPortGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let (view, nic) = port_of(call, &args.port.net, args.port.uuid)?;
    let mut text = Markup::new();
    text.start("networkport", &[]);
    text.leaf("uuid", &[], nic.port(view.id));
    text.start("owner", &[]);
    text.leaf("name", &[], &nic.domain_name);
    text.leaf("uuid", &[], nic.domain);
    text.end();
    text.empty("mac", &[("address", &nic.mac)]);
    let kind = if view.mode == "bridge" { "bridge" } else { "network" };
    text.empty("plug", &[("type", &kind), ("bridge", &view.bridge)]);
    Ok(NetworkPortGetXmlDescRet { xml: text.finish().into() })
}

/// A port without a guest would be a tap that nobody owns.
pub(crate) async fn create_port(
    call: &Call,
    args: NetworkPortCreateXmlArgs,
) -> Result<NetworkPortCreateXmlRet, Fault> {
    /// `VIR_NETWORK_PORT_CREATE_RECLAIM` and `_VALIDATE`
    const RECLAIM_VALIDATE: u32 = 3;
    call.only_flags(args.flags, RECLAIM_VALIDATE)?;
    let view = find(call, &args.network)?;
    let text = format!("ports of network '{}' are made and removed with their guests", view.name);
    Err(Fault::new(Code::OperationUnsupported, Origin::Network, text))
}

pub(crate) async fn delete_port(call: &Call, args: NetworkPortDeleteArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let (_, nic) = port_of(call, &args.port.net, args.port.uuid)?;
    let text = format!("port '{}' goes with the interface of domain '{}'", nic.ifname, nic.domain_name);
    Err(Fault::new(Code::OperationUnsupported, Origin::Network, text))
}

/// Ports have no limits of bandwidth yet, so there is no parameter.
pub(crate) async fn get_port_parameters(
    call: &Call,
    args: NetworkPortGetParametersArgs,
) -> Result<NetworkPortGetParametersRet, Fault> {
    call.only_flags(args.flags, STRING_OKAY)?;
    port_of(call, &args.port.net, args.port.uuid)?;
    Ok(NetworkPortGetParametersRet { params: Vec::new(), nparams: 0 })
}

pub(crate) async fn set_port_parameters(
    call: &Call,
    args: NetworkPortSetParametersArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, STRING_OKAY)?;
    port_of(call, &args.port.net, args.port.uuid)?;
    let text = "bandwidth of a network's port is not limited yet";
    Err(Fault::new(Code::OperationUnsupported, Origin::Network, text))
}
