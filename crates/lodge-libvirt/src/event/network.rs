//! What libvirt tells of a network's events.

use lodge_engine::{Engine, NetworkEvent, NetworkHappening};
use lodge_wire::remote;

use super::{Class, Subject, Told};

/// `VIR_NETWORK_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;
/// `VIR_NETWORK_EVENT_ID_METADATA_CHANGE`
const METADATA_CHANGE: i32 = 1;

/// The messages that say what `happening` says.
pub(crate) fn messages(_: &Engine, (id, name, event): &NetworkHappening) -> Vec<Told> {
    let net = remote::Network { name: name.as_str().into(), uuid: *id.0.as_bytes() };
    let subject = Subject::Uuid(*id.0.as_bytes());
    // virNetworkEventLifecycleType
    let event = match event {
        NetworkEvent::MetadataChanged { part, uri } => {
            let message = remote::NetworkEventCallbackMetadataChangeMsg {
                callback_id: 0,
                net,
                r#type: *part,
                nsuri: uri.as_deref().map(Into::into),
            };
            return Told::new(Class::Network, METADATA_CHANGE, subject, &message).into_iter().collect();
        }
        NetworkEvent::Defined => 0,
        NetworkEvent::Undefined => 1,
        NetworkEvent::Started => 2,
        NetworkEvent::Stopped => 3,
        _ => return Vec::new(),
    };
    let message = remote::NetworkEventLifecycleMsg { callback_id: 0, net, event, detail: 0 };
    Told::new(Class::Network, LIFECYCLE, subject, &message).into_iter().collect()
}
