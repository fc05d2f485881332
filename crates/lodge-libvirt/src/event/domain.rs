//! What libvirt tells of a domain's events.

use lodge_engine::{DomainEvent, Engine, EventKind, Lifecycle};
use lodge_wire::remote;

use super::{Class, Subject, Told};

/// `VIR_DOMAIN_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;

/// The messages that say what `event` says.
pub(crate) fn messages(engine: &Engine, event: &DomainEvent) -> Vec<Told> {
    let subject = Subject::Uuid(*event.domain.0.as_bytes());
    let told = match event.kind {
        EventKind::Lifecycle(lifecycle, detail) => {
            let gone = matches!(lifecycle, Lifecycle::Stopped | Lifecycle::Undefined | Lifecycle::Defined);
            let id = if gone { None } else { engine.domain_number(event.domain) };
            let dom = remote::Domain {
                name: (&*event.name).into(),
                uuid: *event.domain.0.as_bytes(),
                id: id.unwrap_or(-1),
            };
            let msg = remote::DomainEventLifecycleMsg {
                dom,
                event: i32::from(lifecycle as u8),
                detail: i32::from(detail),
            };
            let message = remote::DomainEventCallbackLifecycleMsg { callback_id: 0, msg };
            Told::new(Class::Domain, LIFECYCLE, subject, &message)
        }
        _ => None,
    };
    told.into_iter().collect()
}
