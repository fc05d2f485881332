//! Snapshots inside the images of a running guest, its memory with them: QEMU's jobs `snapshot-save`, `-load`,
//! `-delete` (since QEMU 6.0).
//!
//! QEMU's main loop stands still for as long as the memory takes; so its silence is no fault here, only its end is.

use std::time::Duration;

use lodge_model::domain::Domain;
use lodge_model::domain::os::FirmwareFormat;
use lodge_model::snapshot::{DomainSnapshot, Location};
use lodge_qemu::qmp::{Monitor, MonitorError};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::control::{Refusal, Sort};

/// How often QEMU is asked how a job stands, should it have told nothing.
const LOOK: Duration = Duration::from_secs(2);

/// Where a guest's state goes: its writable nodes, and the one of them that takes the memory too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nodes {
    pub memory: String,
    pub disks: Vec<String>,
}

impl Nodes {
    /// The nodes of the snapshot's internal disks in the running guest `live`. The memory goes into the first that is not
    /// encrypted: `None` if there is none such.
    pub fn of(snapshot: &DomainSnapshot, live: &Domain) -> Option<Self> {
        let (mut disks, mut memory) = (Vec::new(), None);
        for disk in snapshot.disks().iter().filter(|disk| disk.location() == Location::Internal) {
            let own = live.devices.disks.iter().find(|own| own.target.dev == disk.name())?;
            let node = node_of(own)?;
            if own.encryption_tree().is_none() {
                memory.get_or_insert_with(|| node.clone());
            }
            disks.push(node);
        }
        let memory = memory?;
        if live.os.nvram.as_deref().is_some_and(|nvram| nvram.format == Some(FirmwareFormat::Qcow2)) {
            disks.push("libvirt-pflash1-format".to_owned());
        }
        Some(Self { memory, disks })
    }
}

/// The node of a disk's format, as it is named at the start.
pub(super) fn node_of(disk: &lodge_model::domain::disk::Disk) -> Option<String> {
    let index = disk.source.as_deref()?.index?;
    Some(format!("libvirt-{index}-format"))
}

/// Those of all nodes that have a snapshot of that name.
pub(super) async fn having(monitor: &Monitor, name: &str) -> Result<Vec<String>, Refusal> {
    Ok(snapshots(monitor, name).await?.into_iter().map(|(node, _)| node).collect())
}

/// The nodes with a snapshot of that name, and how many bytes of memory are in each.
async fn snapshots(monitor: &Monitor, name: &str) -> Result<Vec<(String, u64)>, Refusal> {
    let nodes: Vec<Value> = monitor.execute("query-named-block-nodes", json!({ "flat": true })).await?;
    let memory_in = |node: &Value| {
        let all = node.pointer("/image/snapshots")?.as_array()?;
        let one = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))?;
        Some((node.get("node-name")?.as_str()?.to_owned(), one.get("vm-state-size").and_then(Value::as_u64)))
    };
    Ok(nodes.iter().filter_map(memory_in).map(|(node, bytes)| (node, bytes.unwrap_or(0))).collect())
}

/// Takes it.
pub(super) async fn save(monitor: &Monitor, name: &str, nodes: &Nodes) -> Result<(), Refusal> {
    let arguments = json!({ "tag": name, "vmstate": nodes.memory, "devices": nodes.disks });
    run(monitor, "snapshot-save", &format!("internal-snapshot-save-{name}"), arguments).await
}

/// Goes back to it; the processors stand still.
pub(super) async fn load(monitor: &Monitor, name: &str, nodes: &[String]) -> Result<(), Refusal> {
    let there = snapshots(monitor, name).await?;
    let memory = there.iter().find(|(_, bytes)| *bytes > 0).map(|(node, _)| node.clone());
    let memory = memory.ok_or_else(|| {
        Refusal::invalid(format!("missing vmstate section when reverting active internal snapshot '{name}'"))
    })?;
    // The firmware's variables go back too, if they are in it.
    let mut nodes = nodes.to_vec();
    let more = there.into_iter().map(|(node, _)| node).filter(|node| node.starts_with("libvirt-pflash"));
    nodes.extend(more);
    let arguments = json!({ "tag": name, "vmstate": memory, "devices": nodes });
    run(monitor, "snapshot-load", &format!("internal-snapshot-load-{name}"), arguments).await
}

/// Removes it from those of `nodes` that have it.
pub(super) async fn remove(monitor: &Monitor, name: &str, nodes: &[String]) -> Result<(), Refusal> {
    let there = having(monitor, name).await?;
    let nodes: Vec<_> = nodes.iter().filter(|node| there.contains(node)).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let arguments = json!({ "tag": name, "devices": nodes });
    run(monitor, "snapshot-delete", &format!("internal-snapshot-delete-{name}"), arguments).await
}

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    status: String,
    #[serde(default)]
    error: Option<String>,
}

/// Begins a job, waits for its end, and takes it off QEMU's list.
async fn run(monitor: &Monitor, command: &str, id: &str, mut arguments: Value) -> Result<(), Refusal> {
    let mut events = monitor.events();
    arguments["job-id"] = json!(id);
    // One of an earlier daemon may be left on the list.
    let _: Result<IgnoredAny, _> = monitor.execute("job-dismiss", json!({ "id": id })).await;
    match monitor.execute::<IgnoredAny>(command, arguments).await {
        Ok(_) | Err(MonitorError::Silent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        match monitor.execute::<Vec<Job>>("query-jobs", ()).await {
            Ok(jobs) => match jobs.into_iter().find(|job| job.id == id) {
                Some(job) if job.status == "concluded" => {
                    let _: Result<IgnoredAny, _> = monitor.execute("job-dismiss", json!({ "id": id })).await;
                    let what = command.trim_start_matches("snapshot-");
                    return job.error.map_or(Ok(()), |error| Err(failed(what, id, &error)));
                }
                Some(_) => {}
                None => return Err(Refusal::internal(format!("{command} job is gone without a word"))),
            },
            Err(MonitorError::Silent { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Whatever it tells of the job, or nothing for a while: it is asked again.
        let told = async {
            loop {
                match events.recv().await {
                    Ok(event) if event.name != "JOB_STATUS_CHANGE" => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(LOOK, told).await;
    }
}

fn failed(what: &str, id: &str, error: &str) -> Refusal {
    let name = id.rsplit_once('-').map_or(id, |(_, name)| name);
    let text = match what {
        "save" => format!("snapshot-save job failed: {error}"),
        "load" => format!("load of internal snapshot '{name}' job failed: {error}"),
        _ => format!("deletion of internal snapshot '{name}' job failed: {error}"),
    };
    Refusal::new(Sort::Failed, text)
}
