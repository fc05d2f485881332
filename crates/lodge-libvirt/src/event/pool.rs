//! What libvirt tells of a storage pool's events.

use lodge_engine::Engine;
use lodge_engine::storage::{PoolEvent, PoolHappening};
use lodge_wire::remote;

use super::{Class, Subject, Told};

/// `VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;
/// `VIR_STORAGE_POOL_EVENT_ID_REFRESH`
const REFRESH: i32 = 1;

/// The messages that say what `happening` says.
pub(crate) fn messages(_: &Engine, (id, name, event): &PoolHappening) -> Vec<Told> {
    let pool = remote::StoragePool { name: name.as_str().into(), uuid: *id.0.as_bytes() };
    let subject = Subject::Uuid(*id.0.as_bytes());
    // virStoragePoolEventLifecycleType
    let event = match event {
        PoolEvent::Refreshed => {
            let message = remote::StoragePoolEventRefreshMsg { callback_id: 0, pool };
            return Told::new(Class::Pool, REFRESH, subject, &message).into_iter().collect();
        }
        PoolEvent::Defined => 0,
        PoolEvent::Undefined => 1,
        PoolEvent::Started => 2,
        PoolEvent::Stopped => 3,
        PoolEvent::Created => 4,
        PoolEvent::Deleted => 5,
    };
    let message = remote::StoragePoolEventLifecycleMsg { callback_id: 0, pool, event, detail: 0 };
    Told::new(Class::Pool, LIFECYCLE, subject, &message).into_iter().collect()
}
