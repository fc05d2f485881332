//! Events of the host's devices: what came and went since a client asked to be told.
//!
//! The kernel says that something changed; which devices there are is read anew then, since libvirt's names are made
//! of more than the kernel tells. Nothing is read while nobody asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lodge_engine::{Caller, Engine};
use lodge_sys::uevent::{Uevent, Uevents};
use lodge_wire::{Text, remote};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Class, Hub, Subject, Told};

/// `VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE`
const LIFECYCLE: i32 = 0;
/// `VIR_NODE_DEVICE_EVENT_ID_UPDATE`
const UPDATE: i32 = 1;
/// `VIR_NODE_DEVICE_EVENT_CREATED`
const CREATED: i32 = 0;
/// `VIR_NODE_DEVICE_EVENT_DELETED`
const DELETED: i32 = 1;

/// Begins to watch.
pub(super) fn watch(hub: &Arc<Hub>, engine: &Engine, tasks: &TaskTracker, closing: &CancellationToken) {
    let uevents = match Uevents::open() {
        Ok(uevents) => uevents,
        Err(error) => return tracing::warn!(%error, "devices that come and go are not told of"),
    };
    let (hub, engine, closing) = (Arc::clone(hub), engine.clone(), closing.clone());
    tasks.spawn(async move {
        let mut known = BTreeMap::new();
        loop {
            let heard = tokio::select! {
                () = closing.cancelled() => return,
                () = hub.asked_for_devices() => {
                    known = devices(&engine).await;
                    continue;
                }
                heard = uevents.next() => heard,
            };
            let event = match heard {
                Ok(event) => event,
                Err(error) => {
                    return tracing::warn!(%error, "devices that come and go are not told of any more");
                }
            };
            if !hub.wants(Class::NodeDevice) {
                continue;
            }
            let now = devices(&engine).await;
            for told in &changes(&known, &now, event.as_ref()) {
                hub.tell(told);
            }
            known = now;
        }
    });
}

/// The devices by name, with their places.
async fn devices(engine: &Engine) -> BTreeMap<String, PathBuf> {
    let all = engine.host_devices(&Caller::daemon()).await;
    all.into_iter().map(|device| (device.name, device.path)).collect()
}

type Devices = BTreeMap<String, PathBuf>;

fn changes(known: &Devices, now: &Devices, event: Option<&Uevent>) -> Vec<Told> {
    let gone = known.keys().filter(|name| !now.contains_key(*name)).map(|name| lifecycle(name, DELETED));
    let new = now.keys().filter(|name| !known.contains_key(*name)).map(|name| lifecycle(name, CREATED));
    let changed = event.filter(|event| event.action == "change").and_then(|event| {
        let is_it = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(&event.path));
        let (name, _) = now.iter().find(|(name, path)| known.contains_key(*name) && is_it(path))?;
        Some(update(name))
    });
    gone.chain(new).chain(changed).flatten().collect()
}

fn lifecycle(name: &str, event: i32) -> Option<Told> {
    let name = Text::from(name);
    let dev = remote::NodeDevice { name: name.clone() };
    let message = remote::NodeDeviceEventLifecycleMsg { callback_id: 0, dev, event, detail: 0 };
    Told::new(Class::NodeDevice, LIFECYCLE, Subject::Name(name), &message)
}

fn update(name: &str) -> Option<Told> {
    let name = Text::from(name);
    let dev = remote::NodeDevice { name: name.clone() };
    let message = remote::NodeDeviceEventUpdateMsg { callback_id: 0, dev };
    Told::new(Class::NodeDevice, UPDATE, Subject::Name(name), &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_and_changed_is_told() {
        let devices = |names: &[&str]| -> Devices {
            names
                .iter()
                .map(|name| ((*name).to_owned(), PathBuf::from(format!("/sys/devices/{name}"))))
                .collect()
        };
        let told = |known: &[&str], now: &[&str], change: Option<&str>| {
            let event =
                change.map(|name| Uevent { action: "change".into(), path: format!("/devices/{name}") });
            let told = changes(&devices(known), &devices(now), event.as_ref());
            told.iter().map(|told| (told.id, format!("{:?}", told.subject))).collect::<Vec<_>>()
        };
        assert_eq!(told(&["a", "b"], &["b", "c"], None).len(), 2);
        assert_eq!(told(&["a"], &["a"], Some("a"))[0].0, UPDATE);
        assert!(told(&["a"], &["a"], None).is_empty());
    }
}
