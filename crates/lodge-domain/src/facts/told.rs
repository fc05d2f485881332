//! QEMU's events that change nothing here and are only passed on. Names and fields: QEMU's qapi (7.2 to 11).

use lodge_model::domain::disk::Disk;
use lodge_qemu::qmp::Event;
use serde_json::Value;

use crate::block_job::layers::layers;
use crate::define;
use crate::event::{DiskName, EventKind, GraphicsAddress, GraphicsEvent, GraphicsPhase};
use crate::index::Entry;

/// What others are told of it; none where nobody needs it.
pub(super) fn of(event: &Event) -> Option<EventKind> {
    let data = &event.data;
    let word = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| data.get(key).and_then(Value::as_u64).unwrap_or_default();
    let flag = |at: &Value, key: &str| at.get(key).and_then(Value::as_bool).unwrap_or_default();
    Some(match event.name.as_str() {
        "RTC_CHANGE" => EventKind::RtcChange { offset_s: data.get("offset").and_then(Value::as_i64)? },
        "BALLOON_CHANGE" => EventKind::BalloonChange { actual_kib: number("actual") / 1024 },
        "DEVICE_TRAY_MOVED" => EventKind::TrayChange { device: word("id"), open: flag(data, "tray-open") },
        // Backends tell without an id; they are no device of the document's.
        "DEVICE_DELETED" if data.get("device").is_some() => {
            EventKind::DeviceRemoved { device: word("device") }
        }
        "DEVICE_UNPLUG_GUEST_ERROR" if data.get("device").is_some() => {
            EventKind::DeviceRemovalFailed { device: word("device") }
        }
        "MIGRATION_PASS" => {
            EventKind::MigrationIteration { pass: u32::try_from(number("pass")).unwrap_or(u32::MAX) }
        }
        "MEMORY_FAILURE" => {
            let flags = data.get("flags").unwrap_or(&Value::Null);
            EventKind::MemoryFailure {
                recipient: word("recipient"),
                action: word("action"),
                action_required: flag(flags, "action-required"),
                recursive: flag(flags, "recursive"),
            }
        }
        "MEMORY_DEVICE_SIZE_CHANGE" if data.get("id").is_some() => {
            EventKind::MemoryDeviceSizeChange { device: word("id"), size_kib: number("size") / 1024 }
        }
        "VNC_CONNECTED" | "SPICE_CONNECTED" => graphics(event, GraphicsPhase::Connect),
        "VNC_INITIALIZED" | "SPICE_INITIALIZED" => graphics(event, GraphicsPhase::Initialize),
        "VNC_DISCONNECTED" | "SPICE_DISCONNECTED" => graphics(event, GraphicsPhase::Disconnect),
        _ => return None,
    })
}

fn graphics(event: &Event, phase: GraphicsPhase) -> EventKind {
    let text = |at: &Value, keys: &[&str]| {
        let value = keys.iter().find_map(|key| at.get(*key));
        value
            .map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let (server, client) = (&event.data["server"], &event.data["client"]);
    let address = |at: &Value| GraphicsAddress {
        family: text(at, &["family"]),
        node: text(at, &["host"]),
        service: text(at, &["service", "port"]),
    };
    let subject = [("x509dname", "x509_dname"), ("saslUsername", "sasl_username")];
    let subject = subject.into_iter().filter_map(|(name, key)| {
        client.get(key).and_then(Value::as_str).map(|who| (name.to_owned(), who.to_owned()))
    });
    EventKind::Graphics(Box::new(GraphicsEvent {
        phase,
        local: address(server),
        remote: address(client),
        auth_scheme: text(server, &["auth"]),
        subject: subject.collect(),
    }))
}

/// A disk's file was written beyond the mark: of the disk itself, and of the layer by its number, as libvirt tells it.
pub(super) fn threshold(entry: &Entry, event: &Event) -> Vec<EventKind> {
    let number = |key: &str| event.data.get(key).and_then(Value::as_u64).unwrap_or_default();
    let node = event.data.get("node-name").and_then(Value::as_str).unwrap_or_default();
    let document = define::parse_current(entry).unwrap_or_default();
    let found = document.devices.disks.iter().find_map(|disk| {
        let layers = layers(disk).ok()?;
        let at = layers.iter().position(|layer| layer.storage() == node || layer.node() == node)?;
        let target = &disk.target.dev;
        let of_disk = (at == 0).then(|| target.clone());
        let names = of_disk.into_iter().chain([format!("{target}[{}]", layers[at].index)]);
        Some((names.collect::<Vec<_>>(), Some(layers[at].path.clone())))
    });
    let (names, path) = found.unwrap_or_else(|| (vec![node.to_owned()], None));
    let told = |dev: String| EventKind::BlockThreshold {
        dev,
        path: path.clone(),
        threshold: number("write-threshold"),
        excess: number("amount-exceeded"),
    };
    names.into_iter().map(told).collect()
}

/// The document's name of the disk a BLOCK_IO_ERROR is about. QEMU 9.2 and later tell the device's place; before, a
/// node's name alone says it only where there is one disk.
pub(super) fn disk_name(entry: &Entry, event: &Event) -> DiskName {
    let word = |key: &str| event.data.get(key).and_then(Value::as_str).unwrap_or_default();
    let alias_of =
        |disk: &Disk| disk.place.alias.as_ref().map_or_else(String::new, |alias| alias.name.clone());
    let document = define::parse_current(entry).unwrap_or_default();
    let disks = &document.devices.disks;
    let told = [word("device"), word("qom-path").strip_prefix("/machine/peripheral/").unwrap_or_default()];
    let told = told.map(|place| place.split('/').next().unwrap_or_default());
    let known = disks.iter().find(|disk| told.contains(&alias_of(disk).as_str()));
    match known.or(disks.first().filter(|_| disks.len() == 1)) {
        Some(disk) => DiskName { alias: alias_of(disk), path: disk.path().unwrap_or_default().to_owned() },
        None => DiskName { alias: word("node-name").to_owned(), path: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(name: &str, data: serde_json::Value) -> Option<String> {
        let event = Event { name: name.to_owned(), data, text: None, timestamp: None };
        of(&event).map(|kind| format!("{} {}", kind.as_str(), kind.detail()))
    }

    #[test]
    fn what_qemu_tells_is_told_in_libvirts_terms() {
        let table = [
            ("RTC_CHANGE", json!({"offset": -3, "qom-path": "/x"}), "rtc_change -3 s"),
            ("BALLOON_CHANGE", json!({"actual": 1_048_576}), "balloon_change 1024 KiB"),
            (
                "DEVICE_TRAY_MOVED",
                json!({"device": "", "id": "ide0-0-0", "tray-open": true}),
                "tray_change ide0-0-0 open",
            ),
            (
                "DEVICE_DELETED",
                json!({"device": "net0", "path": "/machine/peripheral/net0"}),
                "device_removed net0",
            ),
            ("MIGRATION_PASS", json!({"pass": 2}), "migration_iteration 2"),
            (
                "MEMORY_FAILURE",
                json!({"recipient": "guest", "action": "inject", "flags": {"action-required": true, "recursive": false}}),
                "memory_failure guest inject",
            ),
            (
                "VNC_CONNECTED",
                json!({"server": {"auth": "vnc", "family": "ipv4", "service": "5900", "host": "127.0.0.1"},
                       "client": {"family": "ipv4", "service": "40000", "host": "10.0.0.9"}}),
                "graphics connect vnc 10.0.0.9",
            ),
        ];
        for (name, data, wanted) in table {
            assert_eq!(told(name, data).as_deref(), Some(wanted), "{name}");
        }
        assert_eq!(told("DEVICE_DELETED", json!({"path": "/machine/x"})), None);
        assert_eq!(told("NIC_RX_FILTER_CHANGED", json!({"path": "/x"})), None);
    }
}
