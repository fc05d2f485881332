//! What libvirt tells of secrets' events.

use lodge_engine::{Engine, SecretEvent, SecretHappening};
use lodge_wire::remote;

use super::{Class, Subject, Told};

/// `VIR_SECRET_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;
/// `VIR_SECRET_EVENT_ID_VALUE_CHANGED`
const VALUE_CHANGED: i32 = 1;

/// The messages that say what `happening` says.
pub(crate) fn messages(_: &Engine, (document, event): &SecretHappening) -> Vec<Told> {
    let secret = crate::remote::secret::wire(document);
    let subject = Subject::Uuid(*document.uuid.as_bytes());
    // virSecretEventLifecycleType
    let event = match event {
        SecretEvent::Defined => 0,
        SecretEvent::Undefined => 1,
        SecretEvent::ValueChanged => {
            let message = remote::SecretEventValueChangedMsg { callback_id: 0, secret };
            return Told::new(Class::Secret, VALUE_CHANGED, subject, &message).into_iter().collect();
        }
    };
    let message = remote::SecretEventLifecycleMsg { callback_id: 0, secret, event, detail: 0 };
    Told::new(Class::Secret, LIFECYCLE, subject, &message).into_iter().collect()
}
