//! Finding networks and reading what they are.

use lodge_engine::NetworkView;
use lodge_model::{MacAddr, NetworkId};
use lodge_wire::remote::{
    ConnectListAllNetworksArgs, ConnectListAllNetworksRet, ConnectListDefinedNetworksArgs,
    ConnectListDefinedNetworksRet, ConnectListNetworksArgs, ConnectListNetworksRet,
    ConnectNumOfDefinedNetworksRet, ConnectNumOfNetworksRet, NetworkDhcpLease, NetworkGetAutostartArgs,
    NetworkGetAutostartRet, NetworkGetBridgeNameArgs, NetworkGetBridgeNameRet, NetworkGetDhcpLeasesArgs,
    NetworkGetDhcpLeasesRet, NetworkGetXmlDescArgs, NetworkGetXmlDescRet, NetworkIsActiveArgs,
    NetworkIsActiveRet, NetworkIsPersistentArgs, NetworkIsPersistentRet, NetworkLookupByNameArgs,
    NetworkLookupByNameRet, NetworkLookupByUuidArgs, NetworkLookupByUuidRet,
};
use uuid::Uuid;

use super::{by_id, fault, find, no_network, wire};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_NETWORK_XML_INACTIVE`
const XML_INACTIVE: u32 = 1;

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: NetworkLookupByNameArgs,
) -> Result<NetworkLookupByNameRet, Fault> {
    let views = call.engine().networks_to_see(&call.caller()).list();
    let found = views.iter().find(|view| view.name.as_bytes() == args.name.as_bytes());
    let missing = || no_network(format!("no network with matching name '{}'", args.name));
    Ok(NetworkLookupByNameRet { net: wire(found.ok_or_else(missing)?) })
}

pub(crate) async fn lookup_by_uuid(
    call: &Call,
    args: NetworkLookupByUuidArgs,
) -> Result<NetworkLookupByUuidRet, Fault> {
    let id = NetworkId(Uuid::from_bytes(args.uuid));
    let found = by_id(call, id).ok_or_else(|| no_network(format!("no network with matching uuid '{id}'")))?;
    Ok(NetworkLookupByUuidRet { net: wire(&found) })
}

/// Whether a network is among those that `flags` (`VIR_CONNECT_LIST_NETWORKS_*`) ask for.
fn passes(view: &NetworkView, flags: u32) -> bool {
    let either =
        |no: u32, yes: u32, is: bool| flags & (yes | no) == 0 || flags & (if is { yes } else { no }) != 0;
    either(1, 2, view.active) && either(8, 4, view.persistent) && either(32, 16, view.autostart)
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllNetworksArgs,
) -> Result<ConnectListAllNetworksRet, Fault> {
    call.only_flags(args.flags, 63)?;
    let views = call.engine().networks_to_see(&call.caller()).list();
    let found: Vec<_> = views.iter().filter(|view| passes(view, args.flags)).map(|view| wire(view)).collect();
    let ret = u32::try_from(found.len()).unwrap_or(u32::MAX);
    Ok(ConnectListAllNetworksRet { nets: if args.need_results == 0 { Vec::new() } else { found }, ret })
}

/// Names of the networks that run, or that do not; at most `most`.
fn names(call: &Call, active: bool, most: i32) -> Vec<lodge_wire::Text> {
    let views = call.engine().networks_to_see(&call.caller()).list();
    let found = views.iter().filter(|view| view.active == active);
    found.take(usize::try_from(most).unwrap_or_default()).map(|view| view.name.as_str().into()).collect()
}

fn count(call: &Call, active: bool) -> i32 {
    i32::try_from(names(call, active, i32::MAX).len()).unwrap_or(i32::MAX)
}

pub(crate) async fn num_of(call: &Call, (): ()) -> Result<ConnectNumOfNetworksRet, Fault> {
    Ok(ConnectNumOfNetworksRet { num: count(call, true) })
}

pub(crate) async fn num_of_defined(call: &Call, (): ()) -> Result<ConnectNumOfDefinedNetworksRet, Fault> {
    Ok(ConnectNumOfDefinedNetworksRet { num: count(call, false) })
}

pub(crate) async fn list(
    call: &Call,
    args: ConnectListNetworksArgs,
) -> Result<ConnectListNetworksRet, Fault> {
    Ok(ConnectListNetworksRet { names: names(call, true, args.maxnames) })
}

pub(crate) async fn list_defined(
    call: &Call,
    args: ConnectListDefinedNetworksArgs,
) -> Result<ConnectListDefinedNetworksRet, Fault> {
    Ok(ConnectListDefinedNetworksRet { names: names(call, false, args.maxnames) })
}

pub(crate) async fn xml_desc(
    call: &Call,
    args: NetworkGetXmlDescArgs,
) -> Result<NetworkGetXmlDescRet, Fault> {
    call.only_flags(args.flags, XML_INACTIVE)?;
    let view = find(call, &args.net)?;
    let networks = call.engine().networks_to_see(&call.caller());
    let xml = networks.xml(view.id, args.flags & XML_INACTIVE != 0).await.map_err(|error| fault(&error))?;
    Ok(NetworkGetXmlDescRet { xml: xml.into() })
}

pub(crate) async fn bridge_name(
    call: &Call,
    args: NetworkGetBridgeNameArgs,
) -> Result<NetworkGetBridgeNameRet, Fault> {
    let view = find(call, &args.net)?;
    if view.bridge.is_empty() {
        let text = format!("network '{}' does not have a bridge name.", view.name);
        return Err(Fault::new(Code::InternalError, Origin::Network, text));
    }
    Ok(NetworkGetBridgeNameRet { name: view.bridge.as_str().into() })
}

pub(crate) async fn get_autostart(
    call: &Call,
    args: NetworkGetAutostartArgs,
) -> Result<NetworkGetAutostartRet, Fault> {
    Ok(NetworkGetAutostartRet { autostart: i32::from(find(call, &args.net)?.autostart) })
}

pub(crate) async fn is_active(call: &Call, args: NetworkIsActiveArgs) -> Result<NetworkIsActiveRet, Fault> {
    Ok(NetworkIsActiveRet { active: i32::from(find(call, &args.net)?.active) })
}

pub(crate) async fn is_persistent(
    call: &Call,
    args: NetworkIsPersistentArgs,
) -> Result<NetworkIsPersistentRet, Fault> {
    Ok(NetworkIsPersistentRet { persistent: i32::from(find(call, &args.net)?.persistent) })
}

pub(crate) async fn leases(
    call: &Call,
    args: NetworkGetDhcpLeasesArgs,
) -> Result<NetworkGetDhcpLeasesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let view = find(call, &args.net)?;
    let mac: Option<MacAddr> = match &args.mac {
        None => None,
        Some(text) => Some(
            text.to_string_lossy()
                .parse()
                .map_err(|_| Fault::new(Code::InvalidMac, Origin::Network, format!("{text}")))?,
        ),
    };
    let networks = call.engine().networks_to_see(&call.caller());
    let leases = networks.leases(view.id).await.map_err(|error| fault(&error))?;
    let wanted = leases.into_iter().filter(|lease| mac.is_none_or(|mac| lease.mac == mac));
    let leases: Vec<NetworkDhcpLease> = wanted
        .map(|lease| NetworkDhcpLease {
            iface: view.bridge.as_str().into(),
            expirytime: i64::try_from(lease.expires).unwrap_or(i64::MAX),
            // VIR_IP_ADDR_TYPE_IPV4
            r#type: 0,
            mac: Some(lease.mac.to_string().into()),
            iaid: None,
            ipaddr: lease.ip.to_string().into(),
            prefix: u32::from(lease.prefix),
            hostname: lease.hostname.map(Into::into),
            clientid: lease.client_id.map(Into::into),
        })
        .collect();
    let ret = u32::try_from(leases.len()).unwrap_or(u32::MAX);
    Ok(NetworkGetDhcpLeasesRet { leases: if args.need_results == 0 { Vec::new() } else { leases }, ret })
}
