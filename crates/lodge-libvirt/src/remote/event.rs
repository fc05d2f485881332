//! Registering for events, and no longer.

use lodge_wire::remote as wire;

use crate::call::Call;
use crate::event::{Class, Only, Subject};
use crate::fault::{Fault, Origin};

/// A family's register and deregister procedures.
macro_rules! family {
    ($register:ident($args:ident -> $ret:ident), $deregister:ident($gone:ident),
     $class:ident, $events:literal, $word:literal, $whose:literal, $object:ident => $subject:expr) => {
        pub(crate) async fn $register(call: &Call, args: wire::$args) -> Result<wire::$ret, Fault> {
            if !(0..$events).contains(&args.event_id) {
                let text = format!(concat!("unsupported ", $word, "event ID {}"), args.event_id);
                return Err(Fault::internal(Origin::Rpc, text));
            }
            let only = Only { subject: args.$object.map($subject), monitor: None };
            let session = call.session();
            let callback_id = call.server().hub().register(session, Class::$class, args.event_id, only)?;
            Ok(wire::$ret { callback_id })
        }

        pub(crate) async fn $deregister(call: &Call, args: wire::$gone) -> Result<(), Fault> {
            let known = call.server().hub().deregister(call.session(), Class::$class, args.callback_id);
            known.then_some(()).ok_or_else(|| {
                Fault::internal(
                    Origin::Rpc,
                    format!(concat!($whose, "event callback {} not registered"), args.callback_id),
                )
            })
        }
    };
}

family!(
    register_domain(ConnectDomainEventCallbackRegisterAnyArgs -> ConnectDomainEventCallbackRegisterAnyRet),
    deregister_domain(ConnectDomainEventCallbackDeregisterAnyArgs),
    Domain, 28, "", "domain ", dom => |dom: wire::Domain| Subject::Uuid(dom.uuid)
);
family!(
    register_network(ConnectNetworkEventRegisterAnyArgs -> ConnectNetworkEventRegisterAnyRet),
    deregister_network(ConnectNetworkEventDeregisterAnyArgs),
    Network, 2, "network ", "network ", net => |net: wire::Network| Subject::Uuid(net.uuid)
);
family!(
    register_pool(ConnectStoragePoolEventRegisterAnyArgs -> ConnectStoragePoolEventRegisterAnyRet),
    deregister_pool(ConnectStoragePoolEventDeregisterAnyArgs),
    Pool, 2, "storage pool ", "storage pool ", pool => |pool: wire::StoragePool| Subject::Uuid(pool.uuid)
);
family!(
    register_node_device(ConnectNodeDeviceEventRegisterAnyArgs -> ConnectNodeDeviceEventRegisterAnyRet),
    deregister_node_device(ConnectNodeDeviceEventDeregisterAnyArgs),
    NodeDevice, 2, "node device ", "node device ", dev => |dev: wire::NodeDevice| Subject::Name(dev.name)
);
family!(
    register_secret(ConnectSecretEventRegisterAnyArgs -> ConnectSecretEventRegisterAnyRet),
    deregister_secret(ConnectSecretEventDeregisterAnyArgs),
    // libvirtd's own words for a secret's callback are those of a device's.
    Secret, 2, "secret ", "node device ", secret => |secret: wire::Secret| Subject::Uuid(secret.uuid)
);

/// `VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED`: later events are told by callbacks' numbers only.
const LAST_OLD: i32 = 15;

fn judge_old(event: i32) -> Result<(), Fault> {
    if (0..=LAST_OLD).contains(&event) {
        return Ok(());
    }
    Err(Fault::internal(Origin::Rpc, format!("unsupported event ID {event}")))
}

fn forget_old(call: &Call, event: i32) -> Result<(), Fault> {
    let known = call.server().hub().deregister_old(call.session(), event);
    known
        .then_some(())
        .ok_or_else(|| Fault::internal(Origin::Rpc, format!("domain event {event} not registered")))
}

/// libvirt before 0.8: all of a connection's lifecycle events.
pub(crate) async fn register_lifecycle(
    call: &Call,
    (): (),
) -> Result<wire::ConnectDomainEventRegisterRet, Fault> {
    call.server().hub().register_old(call.session(), 0)?;
    Ok(wire::ConnectDomainEventRegisterRet { cb_registered: 1 })
}

pub(crate) async fn deregister_lifecycle(
    call: &Call,
    (): (),
) -> Result<wire::ConnectDomainEventDeregisterRet, Fault> {
    forget_old(call, 0)?;
    Ok(wire::ConnectDomainEventDeregisterRet { cb_registered: 0 })
}

/// libvirt before 1.2.1: an event by its number, of all domains.
pub(crate) async fn register_old(
    call: &Call,
    args: wire::ConnectDomainEventRegisterAnyArgs,
) -> Result<(), Fault> {
    judge_old(args.event_id)?;
    call.server().hub().register_old(call.session(), args.event_id)
}

pub(crate) async fn deregister_old(
    call: &Call,
    args: wire::ConnectDomainEventDeregisterAnyArgs,
) -> Result<(), Fault> {
    judge_old(args.event_id)?;
    forget_old(call, args.event_id)
}
