//! Networks: finding, defining, starting, changing, their leases and ports.

mod change;
mod find;
mod life;
mod port;

pub(crate) use change::{get_metadata, set_metadata, update};
pub(crate) use find::{
    bridge_name, get_autostart, is_active, is_persistent, leases, list, list_all, list_defined,
    lookup_by_name, lookup_by_uuid, num_of, num_of_defined, xml_desc,
};
pub(crate) use life::{
    create, create_xml, create_xml_flags, define_xml, define_xml_flags, destroy, set_autostart, undefine,
};
pub(crate) use port::{
    create_port, delete_port, get_port_parameters, list_all_ports, lookup_port, port_xml_desc,
    set_port_parameters,
};

use std::sync::Arc;

use lodge_engine::{NetworkError, NetworkView};
use lodge_model::NetworkId;
use lodge_model::network::BadUpdate;
use lodge_wire::{Text, remote};
use uuid::Uuid;

use crate::call::Call;
use crate::fault::{Code, Fault, Origin, other_root, whole};

/// A network's handle on the wire.
fn wire(view: &NetworkView) -> remote::Network {
    remote::Network { name: view.name.as_str().into(), uuid: *view.id.0.as_bytes() }
}

/// The network that a handle means: by its UUID; the name is for the error's text.
fn find(call: &Call, net: &remote::Network) -> Result<Arc<NetworkView>, Fault> {
    let id = NetworkId(Uuid::from_bytes(net.uuid));
    by_id(call, id).ok_or_else(|| no_network(format!("no network with matching uuid '{id}' ({})", net.name)))
}

fn by_id(call: &Call, id: NetworkId) -> Option<Arc<NetworkView>> {
    call.engine().networks_to_see(&call.caller()).list().into_iter().find(|view| view.id == id)
}

fn no_network(text: String) -> Fault {
    Fault::new(Code::NoNetwork, Origin::Network, text)
}

/// A document, which must be text.
fn document(xml: &Text) -> Result<&str, Fault> {
    xml.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Network, "the document is no UTF-8"))
}

/// The networks' errors in libvirt's numbers.
fn fault(error: &NetworkError) -> Fault {
    let code = match error {
        NetworkError::NotFound { .. } => Code::NoNetwork,
        NetworkError::NameTaken { .. } | NetworkError::UuidTaken { .. } => Code::OperationFailed,
        NetworkError::Document { .. } | NetworkError::Update(BadUpdate::Entry(_)) => Code::XmlError,
        NetworkError::Unsupported { .. } | NetworkError::Card { .. } | NetworkError::PortsClash { .. } => {
            Code::ConfigUnsupported
        }
        NetworkError::Running { .. }
        | NetworkError::State(_)
        | NetworkError::Inactive { .. }
        | NetworkError::Active { .. }
        | NetworkError::Floor { .. }
        | NetworkError::Limited { .. }
        | NetworkError::NoVlans { .. }
        | NetworkError::Update(BadUpdate::Mismatch(_)) => Code::OperationInvalid,
        NetworkError::Update(BadUpdate::Unsupported(_)) => Code::OperationUnsupported,
        NetworkError::NoMetadata(_) => Code::NoNetworkMetadata,
        NetworkError::BadMetadata(_) => Code::InvalidArg,
        NetworkError::Update(BadUpdate::Range(_))
        | NetworkError::Taken { .. }
        | NetworkError::Conflict { .. }
        | NetworkError::NotPermitted { .. }
        | NetworkError::Link { .. }
        | NetworkError::Firewall { .. }
        | NetworkError::Limit { .. }
        | NetworkError::Switch { .. }
        | NetworkError::Script { .. }
        | NetworkError::Netd { .. }
        | NetworkError::Silent { .. }
        | NetworkError::File { .. }
        | NetworkError::Store { .. }
        | NetworkError::Stuck { .. }
        | NetworkError::Filter(_)
        | NetworkError::Closed => Code::InternalError,
    };
    let text = match error {
        NetworkError::Inactive { network } => format!("network '{network}' is not active"),
        NetworkError::Taken { link: Some(link), .. } => {
            format!("Network is already in use by interface {link}")
        }
        NetworkError::Document { faults } => {
            return of_document(faults).unwrap_or_else(|| Fault::new(code, Origin::Network, whole(error)));
        }
        other => whole(other),
    };
    Fault::new(code, Origin::Network, text)
}

/// What is wrong with a document, where libvirt has words for it.
fn of_document(faults: &str) -> Option<Fault> {
    if let Some(fault) = other_root(faults) {
        return Some(fault);
    }
    if faults.contains("element <name> is missing or empty") {
        return Some(Fault::bare(Code::NoName, Origin::Network, "missing name information"));
    }
    let (_, mode) = faults.split_once("/network/forward/@mode: `")?;
    let (mode, _) = mode.split_once("` is not known")?;
    Some(Fault::new(Code::ConfigUnsupported, Origin::Network, format!("unknown forwarding type '{mode}'")))
}
