//! How much a disk may read and write: `virsh blkdeviotune`.

use lodge_model::domain::Domain;
use lodge_model::domain::disk::{Disk, IoTune};
use lodge_model::xml::{ForeignItem, Kept};
use serde_json::{Map, Value, json};

use super::{Setting, Settings};
use crate::block_job;
use crate::block_job::layers::{find, layers};
use crate::control::{Change, Refusal, Running, Scope, Sort};

/// The numbers, in libvirt's order (the group's name stands after the 13th).
pub const LIMITS: [&str; 19] = IoTune::LIMITS;
/// How many of them stand before the group's name.
pub const BEFORE_GROUP: usize = IoTune::BEFORE_GROUP;

/// The disk that `wanted` (its target or its path) means.
pub fn position(domain: &Domain, wanted: &str) -> Option<usize> {
    let disks = &domain.devices.disks;
    let by_target = disks.iter().position(|disk| disk.target.dev == wanted);
    by_target.or_else(|| disks.iter().position(|disk| disk.path() == Some(wanted)))
}

/// A disk's limit by libvirt's name.
pub fn limit(disk: &Disk, name: &str) -> u64 {
    disk.iotune.as_deref().map_or(0, |tune| tune.limit(name))
}

/// The group a disk shares its limits with.
pub fn group(disk: &Disk) -> String {
    disk.iotune.as_deref().and_then(IoTune::group).unwrap_or_default()
}

/// Sets what is named.
pub fn set(disk: String, settings: Settings, scope: Scope) -> Change {
    let of_live = (disk.clone(), settings.clone());
    Change::new("blkdeviotune", scope)
        .config(move |domain| {
            let at = position(domain, &disk)
                .ok_or_else(|| Refusal::arg(format!("missing persistent configuration for disk '{disk}'")))?;
            change(domain, at, &settings).map(drop)
        })
        .live(move |mut running| async move {
            let (disk, settings) = of_live;
            let outcome = apply(&mut running, &disk, &settings).await;
            (running, outcome)
        })
}

/// Sets it at the disk, and at those that share its limits; says which have others now.
///
/// libvirt: who joins a group has its limits, and what is set for one of it is set for all.
fn change(domain: &mut Domain, at: usize, settings: &Settings) -> Result<Vec<usize>, Refusal> {
    let disks = &mut domain.devices.disks;
    let mut disk = disks[at].clone();
    let joins = settings.iter().find(|(name, _)| name == "group_name").map(|(_, group)| group.text());
    if let Some(joins) = joins.filter(|joins| !joins.is_empty() && *joins != group(&disk)) {
        let member = disks.iter().find(|member| group(member) == joins);
        if let Some(member) = member {
            disk.iotune.clone_from(&member.iotune);
        }
    }
    write(&mut disk, settings)?;
    let has_limits = disk.iotune.as_deref().is_some_and(IoTune::has_limits);
    let name = group(&disk);
    if !name.is_empty() && !has_limits {
        if joins.is_some_and(|joins| !joins.is_empty()) {
            let text = "group_name can be configured only together with settings";
            return Err(Refusal::new(Sort::ConfigUnsupported, text));
        }
        disk.iotune = None;
    }
    let mut changed = vec![at];
    if !name.is_empty() {
        let members =
            disks.iter().enumerate().filter(|(other, member)| *other != at && group(member) == name);
        changed.extend(members.map(|(other, _)| other));
    }
    for other in &changed {
        disks[*other].iotune.clone_from(&disk.iotune);
    }
    Ok(changed)
}

/// libvirt: setting one of a family forgets its opposite.
fn write(disk: &mut Disk, settings: &Settings) -> Result<(), Refusal> {
    contradictions(settings)?;
    let sets = |name: &str| settings.iter().any(|(known, _)| known == name);
    for suffix in ["bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"] {
        if sets(&format!("total_{suffix}")) {
            put(disk, &format!("read_{suffix}"), 0);
            put(disk, &format!("write_{suffix}"), 0);
        } else if sets(&format!("read_{suffix}")) || sets(&format!("write_{suffix}")) {
            put(disk, &format!("total_{suffix}"), 0);
        }
    }
    for (name, value) in settings {
        match value {
            Setting::Text(group) => {
                keep(disk, "group_name", Some(group.as_str()).filter(|name| !name.is_empty()));
            }
            number => put(disk, name, number.unsigned()),
        }
    }
    if disk.iotune.as_deref().is_some_and(|tune| *tune == IoTune::default()) {
        disk.iotune = None;
    }
    Ok(())
}

fn contradictions(settings: &Settings) -> Result<(), Refusal> {
    let value = |name: &str| {
        settings.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| value.unsigned())
    };
    for (suffix, word) in [
        ("bytes_sec", "bytes_sec"),
        ("iops_sec", "iops_sec"),
        ("bytes_sec_max", "bytes_sec_max"),
        ("iops_sec_max", "iops_sec_max"),
    ] {
        let parts = value(&format!("read_{suffix}")) > 0 || value(&format!("write_{suffix}")) > 0;
        if value(&format!("total_{suffix}")) > 0 && parts {
            return Err(Refusal::arg(format!(
                "total and read/write of {word} cannot be set at the same time"
            )));
        }
    }
    Ok(())
}

fn put(disk: &mut Disk, name: &str, number: u64) {
    let tune = disk.iotune.get_or_insert_default();
    let value = (number > 0).then_some(number);
    match name {
        "total_bytes_sec" => tune.total_bytes_sec = value,
        "read_bytes_sec" => tune.read_bytes_sec = value,
        "write_bytes_sec" => tune.write_bytes_sec = value,
        "total_iops_sec" => tune.total_iops_sec = value,
        "read_iops_sec" => tune.read_iops_sec = value,
        "write_iops_sec" => tune.write_iops_sec = value,
        _ => keep(disk, name, value.map(|number| number.to_string()).as_deref()),
    }
}

fn keep(disk: &mut Disk, name: &str, text: Option<&str>) {
    let tune = disk.iotune.get_or_insert_default();
    match text {
        Some(text) => tune.foreign.set_tree(&Kept::new(name).text(text)),
        None => tune
            .foreign
            .retain(|item| !matches!(item, ForeignItem::Element { name: known, .. } if **known == *name)),
    }
}

/// `virsh blockresize`: the guest sees the new size at once. Not into the definition: the image itself has its size.
pub fn resize(disk: String, bytes: u64) -> Change {
    Change::new("blockresize", Scope::LIVE).live(move |running| async move {
        let outcome = async {
            let own = &running.document.devices.disks[block_job::position(&running, &disk)?];
            block_job::refuse_busy(&running, &own.target.dev)?;
            let node = node_of(&running, &disk).await?;
            let bytes = match own.format() {
                // They have whole sectors; what is asked for is to fit in.
                "qcow2" | "qed" => bytes.checked_next_multiple_of(512).unwrap_or(bytes),
                _ => bytes,
            };
            running.tell_qemu("block_resize", json!({ "node-name": node, "size": bytes })).await
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

/// `virsh domblkthreshold`: an event is told when the file of a disk (`vda`) or of one of its layers (`vda[2]`) is
/// written beyond `bytes`; 0: no more.
pub fn set_threshold(disk: String, bytes: u64) -> Change {
    Change::new("domblkthreshold", Scope::LIVE).live(move |running| async move {
        let outcome = async {
            let node = storage_of(&running, &disk)?;
            let set = json!({ "node-name": node, "write-threshold": bytes });
            running.tell_qemu("block-set-write-threshold", set).await
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

/// The node of the file of a disk or of one of its layers.
fn storage_of(running: &Running, wanted: &str) -> Result<String, Refusal> {
    let missing = || Refusal::arg(format!("failed to find disk '{wanted}'"));
    let target = wanted.split_once('[').map_or(wanted, |(target, _)| target);
    let disk = running.document.devices.disks.iter().find(|disk| disk.target.dev == target);
    let layers = layers(disk.ok_or_else(missing)?)?;
    let at = if target == wanted {
        0
    } else {
        find(&layers, target, Some(wanted), None).map_err(|_| missing())?
    };
    Ok(layers[at].storage())
}

/// The node of a disk's own image.
async fn node_of(running: &Running, wanted: &str) -> Result<String, Refusal> {
    let missing = || Refusal::arg(format!("disk '{wanted}' not found in domain"));
    let at = position(&running.document, wanted).ok_or_else(missing)?;
    let disk = &running.document.devices.disks[at];
    let alias = disk.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    let path = device_path(running, &alias).await;
    let devices = running.monitor.block_devices().await.map_err(Refusal::from)?;
    let device = devices.into_iter().find(|device| device.qdev.as_deref() == Some(&path));
    let node = device.and_then(|device| device.inserted).map(|medium| medium.node_name);
    node.ok_or_else(|| Refusal::invalid(format!("disk '{wanted}' does not have any media")))
}

async fn apply(running: &mut Running, wanted: &str, settings: &Settings) -> Result<(), Refusal> {
    let at = position(&running.document, wanted)
        .ok_or_else(|| Refusal::arg(format!("disk '{wanted}' not found in domain")))?;
    let target = &running.document.devices.disks[at];
    if target.source.is_none() {
        return Err(Refusal::invalid(format!("disk '{}' has no source", target.target.dev)));
    }
    let mut document = running.document.clone();
    let changed = change(&mut document, at, settings)?;
    for at in changed {
        let (before, now) = (&running.document.devices.disks[at], &document.devices.disks[at]);
        if now.source.is_some() && (before.iotune.is_some() || now.iotune.is_some()) {
            tell(running, before, now).await?;
        }
    }
    running.document = document;
    Ok(())
}

/// Says to QEMU what limits a disk has now. Its own are in the filter that it was started with, if it was; those of
/// a group are QEMU's, at the device.
async fn tell(running: &Running, before: &Disk, now: &Disk) -> Result<(), Refusal> {
    let alias = now.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    let path = device_path(running, &alias).await;
    let none = IoTune::default();
    let tune = now.iotune.as_deref().unwrap_or(&none);
    if !group(before).is_empty() && group(before) != group(now) {
        // Otherwise the limits would be set for those who stay.
        tell_device(running, &path, &none).await?;
    }
    let Some(filter) = filter_of(running, &now.target.dev).await else {
        return tell_device(running, &path, tune).await;
    };
    let is_shared = tune.group().is_some();
    let own = lodge_qemu::throttle(if is_shared { &none } else { tune });
    let set = json!({ "path": filter, "property": "limits", "value": in_filter(&own) });
    running.tell_qemu("qom-set", set).await?;
    if is_shared { tell_device(running, &path, tune).await } else { Ok(()) }
}

async fn tell_device(running: &Running, path: &str, tune: &IoTune) -> Result<(), Refusal> {
    let mut arguments = lodge_qemu::throttle(tune);
    if let Some(group) = tune.group() {
        arguments.insert("group".to_owned(), json!(group));
    }
    arguments.insert("id".to_owned(), json!(path));
    running.tell_qemu("block_set_io_throttle", Value::Object(arguments)).await
}

/// The filter of a disk that was started with limits: they are changed there.
async fn filter_of(running: &Running, target: &str) -> Option<String> {
    let objects: Vec<Value> =
        running.monitor.execute("qom-list", json!({ "path": "/objects" })).await.unwrap_or_default();
    let name = format!("throttle-{target}");
    let is_it = |object: &Value| object.get("name").and_then(Value::as_str) == Some(&name);
    objects.iter().any(is_it).then(|| format!("/objects/{name}"))
}

/// The same limits in the filter's words.
fn in_filter(arguments: &Map<String, Value>) -> Value {
    let words = [
        ("bps_rd", "bps-read"),
        ("bps_wr", "bps-write"),
        ("iops_rd", "iops-read"),
        ("iops_wr", "iops-write"),
        ("iops_size", "iops-size"),
        ("bps", "bps-total"),
        ("iops", "iops-total"),
    ];
    let mut limits = Map::new();
    for (name, value) in arguments {
        let Some((stem, word)) = words.iter().find(|(stem, _)| name.starts_with(stem)) else { continue };
        let rest =
            name.trim_start_matches(stem).replace("_max_length", "-max-length").replace("_max", "-max");
        limits.insert(format!("{word}{rest}"), value.clone());
    }
    Value::Object(limits)
}

/// QEMU wants the part of a disk that has the medium: for virtio it is below the device.
async fn device_path(running: &Running, alias: &str) -> String {
    let devices = running.monitor.block_devices().await.unwrap_or_default();
    let end = format!("/peripheral/{alias}");
    let is_it = |qdev: &str| qdev == alias || qdev.contains(&end) || qdev.ends_with(alias);
    devices
        .into_iter()
        .filter_map(|device| device.qdev)
        .find(|qdev| is_it(qdev))
        .unwrap_or_else(|| alias.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_the_filters_words() {
        let arguments = json!({
            "bps": 1, "bps_rd": 2, "iops_wr_max": 3, "iops_max_length": 4, "iops_size": 5, "id": "virtio-disk0",
        });
        let limits = in_filter(arguments.as_object().unwrap());
        let words = json!({
            "bps-total": 1, "bps-read": 2, "iops-write-max": 3, "iops-total-max-length": 4, "iops-size": 5,
        });
        assert_eq!(limits, words);
    }

    #[test]
    fn disks_of_a_group_have_the_same_limits() {
        let disk = |target: &str| format!("<disk><source file='/{target}'/><target dev='{target}'/></disk>");
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>{}{}{}\
             </devices></domain>",
            disk("vda"),
            disk("vdb"),
            disk("vdc")
        );
        let mut domain = Domain::parse(&text).unwrap();
        let text = |group: &str| ("group_name".to_owned(), Setting::Text(group.to_owned()));
        let number = |value: u64| ("total_iops_sec".to_owned(), Setting::Unsigned(value));
        let limits = |domain: &Domain| {
            domain.devices.disks.iter().map(|disk| limit(disk, "total_iops_sec")).collect::<Vec<_>>()
        };
        change(&mut domain, 0, &vec![text("g")]).unwrap_err();
        assert_eq!(change(&mut domain, 0, &vec![text("g"), number(5)]).unwrap(), [0]);
        assert_eq!(change(&mut domain, 1, &vec![text("g")]).unwrap(), [1, 0], "who joins has its limits");
        assert_eq!(limits(&domain), [5, 5, 0]);
        assert_eq!(change(&mut domain, 1, &vec![number(7)]).unwrap(), [1, 0]);
        assert_eq!(limits(&domain), [7, 7, 0]);
        change(&mut domain, 0, &vec![text(""), number(9)]).unwrap();
        assert_eq!(limits(&domain), [9, 7, 0], "who leaves takes nobody along");
        change(&mut domain, 1, &vec![number(0)]).unwrap();
        assert_eq!(domain.devices.disks[1].iotune, None);
    }

    #[test]
    fn a_limit_of_all_takes_the_place_of_those_of_one_way() {
        let mut disk = Disk::default();
        let set = |name: &str, value: u64| vec![(name.to_owned(), Setting::Unsigned(value))];
        write(&mut disk, &set("read_bytes_sec", 5)).unwrap();
        write(&mut disk, &set("total_bytes_sec", 9)).unwrap();
        assert_eq!((limit(&disk, "read_bytes_sec"), limit(&disk, "total_bytes_sec")), (0, 9));
        write(&mut disk, &set("size_iops_sec", 7)).unwrap();
        assert_eq!(limit(&disk, "size_iops_sec"), 7);
        write(&mut disk, &set("size_iops_sec", 0)).unwrap();
        write(&mut disk, &set("total_bytes_sec", 0)).unwrap();
        assert_eq!(disk.iotune, None);
        let both = vec![
            ("total_iops_sec".to_owned(), Setting::Unsigned(1)),
            ("write_iops_sec".to_owned(), Setting::Unsigned(1)),
        ];
        assert!(write(&mut disk, &both).unwrap_err().text.contains("cannot be set at the same time"));
    }
}
