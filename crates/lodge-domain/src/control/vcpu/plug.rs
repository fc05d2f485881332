//! Plugging processors into a running guest and out of it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{cannot_be_modified, one, too_many};
use crate::control::tune::resctrl;
use crate::control::tune::threads::{self, Role, Threads};
use crate::control::{Refusal, Running, Sort};

/// How long a guest may take to let a processor go.
const PATIENCE: Duration = Duration::from_secs(5);

/// One of `query-hotpluggable-cpus`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Place {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    qom_path: Option<String>,
    props: Map<String, Value>,
}

/// Every place of a processor, in the guest's order.
async fn places(running: &Running) -> Result<Vec<Place>, Refusal> {
    let mut places: Vec<Place> =
        running.monitor.execute("query-hotpluggable-cpus", Value::Null).await.map_err(Refusal::from)?;
    let number = |place: &Place, name: &str| place.props.get(name).and_then(Value::as_u64).unwrap_or(0);
    places.sort_by_key(|place| {
        ["socket-id", "die-id", "module-id", "core-id", "thread-id"].map(|name| number(place, name))
    });
    Ok(places)
}

/// Sees to it that `count` are plugged in.
pub(super) async fn set_count(running: &mut Running, count: u32) -> Result<(), Refusal> {
    let most = running.document.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    if count > most {
        return Err(too_many("live", count, most));
    }
    let plugged = super::plugged_in(&running.document);
    let now = u32::try_from(plugged.iter().filter(|plugged| **plugged).count()).unwrap_or(most);
    let numbers = || (0u32..).zip(&plugged);
    if count >= now {
        let free: Vec<u32> = numbers().filter(|(_, plugged)| !**plugged).map(|(number, _)| number).collect();
        let wanted: Vec<u32> = free.into_iter().take((count - now) as usize).collect();
        return set_plugged(running, &wanted, true).await;
    }
    let used: Vec<u32> = numbers().filter(|(_, plugged)| **plugged).map(|(number, _)| number).collect();
    let spare: Vec<u32> = used.into_iter().rev().take((now - count) as usize).collect();
    set_plugged(running, &spare, false).await
}

/// Plugs these in or out.
pub(super) async fn set_plugged(running: &mut Running, which: &[u32], plugged: bool) -> Result<(), Refusal> {
    let places = places(running).await?;
    let mut now = super::plugged_in(&running.document);
    for number in which {
        let place = places
            .get(*number as usize)
            .ok_or_else(|| Refusal::arg(format!("vcpu {number} is not present in live config")))?;
        if *number == 0 {
            return Err(cannot_be_modified(0));
        }
        let id = format!("vcpu{number}");
        match (plugged, &place.qom_path) {
            (true, None) => plug(running, place, &id).await?,
            (false, Some(path)) if path.ends_with(&format!("/{id}")) => unplug(running, &id).await?,
            (false, Some(_)) => return Err(cannot_be_modified(*number)),
            (true, Some(_)) | (false, None) => {
                return Err(Refusal::arg(format!("vcpu '{number}' is already in requested state")));
            }
        }
        if let Some(place) = now.get_mut(*number as usize) {
            *place = plugged;
        }
    }
    let current = u32::try_from(now.iter().filter(|plugged| **plugged).count()).unwrap_or(u32::MAX);
    let vcpu = running.document.vcpu.get_or_insert_with(one);
    vcpu.current = (current < vcpu.count).then_some(current);
    super::write_list(&mut running.document, &now);
    if plugged && threads::is_tuned(&running.document) {
        let chosen = |role| matches!(role, Role::Vcpu(number) if which.contains(&number));
        let threads = Threads::of(&running.monitor, running.pid).await?;
        threads.apply(&running.document, &running.cgroup, chosen)?;
        resctrl::place(&running.dir, threads.vcpus().filter(|(number, _)| which.contains(number)))?;
    }
    Ok(())
}

async fn plug(running: &Running, place: &Place, id: &str) -> Result<(), Refusal> {
    let mut device = place.props.clone();
    device.insert("driver".to_owned(), json!(place.kind));
    device.insert("id".to_owned(), json!(id));
    running.tell_qemu("device_add", Value::Object(device)).await
}

async fn unplug(running: &Running, id: &str) -> Result<(), Refusal> {
    let mut events = running.monitor.events();
    running.monitor.device_del(id).await.map_err(Refusal::from)?;
    let gone = async {
        while let Ok(event) = events.recv().await {
            let device = event.data.get("device").and_then(Value::as_str);
            match event.name.as_str() {
                "DEVICE_DELETED" if device == Some(id) => return Ok(()),
                "DEVICE_UNPLUG_GUEST_ERROR" | "ACPI_DEVICE_OST" if device == Some(id) => {
                    return Err(Refusal::new(Sort::Failed, "vcpu unplug request was rejected by the guest"));
                }
                _ => {}
            }
        }
        Err(Refusal::not_running())
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| {
        Err(Refusal::new(
            Sort::Timeout,
            "vcpu unplug request timed out. Unplug result must be manually inspected in the domain",
        ))
    })
}
