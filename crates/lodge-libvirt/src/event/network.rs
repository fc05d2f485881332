//! What libvirt tells of a network's events.

use lodge_engine::{Engine, NetworkEvent, NetworkHappening};
use lodge_wire::remote;

use super::{Class, Subject, Told};

/// `VIR_NETWORK_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;

/// The messages that say what `happening` says.
pub(crate) fn messages(_: &Engine, (id, name, event): &NetworkHappening) -> Vec<Told> {
    // virNetworkEventLifecycleType
    let event = match event {
        NetworkEvent::Defined => 0,
        NetworkEvent::Undefined => 1,
        NetworkEvent::Started => 2,
        NetworkEvent::Stopped => 3,
        _ => return Vec::new(),
    };
    let net = remote::Network { name: name.as_str().into(), uuid: *id.0.as_bytes() };
    let message = remote::NetworkEventLifecycleMsg { callback_id: 0, net, event, detail: 0 };
    let subject = Subject::Uuid(*id.0.as_bytes());
    Told::new(Class::Network, LIFECYCLE, subject, &message).into_iter().collect()
}
