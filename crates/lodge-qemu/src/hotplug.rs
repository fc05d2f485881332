//! Plugging devices into a running QEMU: arguments as monitor commands, each with its undo.
//!
//! ```text
//!  -add-fd ─▶ add-fd     -blockdev ─▶ blockdev-add     -object ─▶ object-add     -netdev ─▶ getfd, netdev_add
//!  -chardev ─▶ getfd, chardev-add (a socket)     -device ─▶ device_add
//!  what fails takes back, in the opposite order, what was done before it
//! ```
//!
//! Deliberately absent: what has no such command (`-global`), and streams of other kinds: refused by name.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::agent::encode_base64;
use crate::capabilities::SERVED_DRIVERS;
use crate::claims::{Descriptors, FdNumber};
use crate::command_line::{Argument, CommandLine};
use crate::qmp::{Monitor, MonitorError};

/// What was made for a device that is plugged in, in the order it was made.
#[derive(Debug, Default)]
pub struct Plugged(Vec<Made>);

#[derive(Debug)]
enum Made {
    FdSet(u32),
    Node(String),
    Object(String),
    Stream(String),
    Netdev(String),
    Device(String),
}

impl Plugged {
    /// Takes all of it back, the last first. What fails is logged: there is nothing else to be done.
    pub async fn take_back(self, monitor: &Monitor) {
        for made in self.0.into_iter().rev() {
            let (command, arguments) = match &made {
                Made::FdSet(set) => ("remove-fd", json!({ "fdset-id": set })),
                Made::Node(name) => ("blockdev-del", json!({ "node-name": name })),
                Made::Object(id) => ("object-del", json!({ "id": id })),
                Made::Stream(id) => ("chardev-remove", json!({ "id": id })),
                Made::Netdev(id) => ("netdev_del", json!({ "id": id })),
                Made::Device(id) => ("device_del", json!({ "id": id })),
            };
            if let Err(error) = monitor.execute::<IgnoredAny>(command, arguments).await {
                tracing::debug!(?made, %error, "not taken back from QEMU");
            }
        }
    }
}

/// Says `line` to a running QEMU. On failure nothing of it is left.
pub async fn plug(
    monitor: &Monitor,
    line: &CommandLine,
    descriptors: &Descriptors,
) -> Result<Plugged, MonitorError> {
    let mut plugged = Plugged::default();
    match say(monitor, line, descriptors, &mut plugged).await {
        Ok(()) => Ok(plugged),
        Err(error) => {
            plugged.take_back(monitor).await;
            Err(error)
        }
    }
}

async fn say(
    monitor: &Monitor,
    line: &CommandLine,
    descriptors: &Descriptors,
    plugged: &mut Plugged,
) -> Result<(), MonitorError> {
    if line.passes_raw_commands {
        let text = "the right to raw commands (rawio='yes') is given to QEMU at its start only";
        return Err(refused("device_add", text.to_owned()));
    }
    for (fd, _) in &line.direct {
        descriptors.set_direct(*fd).map_err(|error| refused("O_DIRECT", error.to_string()))?;
    }
    // The sets' numbers in the arguments, and those QEMU has chosen.
    let mut sets = BTreeMap::new();
    for argument in &line.arguments {
        let value = argument.value.as_deref().unwrap_or_default();
        match argument.option.as_str() {
            "-add-fd" => {
                let (set, fd, opaque) = fd_of(value).ok_or_else(|| odd(argument))?;
                let fd = copy_of(descriptors, fd)?;
                let added: Added = monitor.execute_with_fd("add-fd", json!({ "opaque": opaque }), fd).await?;
                plugged.0.push(Made::FdSet(added.fdset_id));
                sets.insert(set, added.fdset_id);
            }
            "-blockdev" => {
                let node = with_sets(&parsed(argument)?, "filename", &sets);
                let name = text_of(&node, "node-name");
                monitor.blockdev_add(node).await?;
                plugged.0.push(Made::Node(name));
            }
            "-object" => {
                let object = with_secret(parsed(argument)?, descriptors)?;
                let id = text_of(&object, "id");
                tell(monitor, "object-add", object).await?;
                plugged.0.push(Made::Object(id));
            }
            "-netdev" => {
                let mut netdev = with_sets(&parsed(argument)?, "vhostdev", &sets);
                let id = text_of(&netdev, "id");
                if netdev.pointer("/addr/type").and_then(Value::as_str) == Some("fd") {
                    let fd = text_of(&netdev["addr"], "str");
                    let name = format!("addr-{id}");
                    give(monitor, descriptors, argument, &fd, &name).await?;
                    netdev["addr"]["str"] = json!(name);
                }
                for key in ["fd", "fds", "vhostfd", "vhostfds"] {
                    let Some(fds) = netdev.get(key).and_then(Value::as_str).map(str::to_owned) else {
                        continue;
                    };
                    let mut names = Vec::new();
                    for (at, fd) in fds.split(':').enumerate() {
                        let name = format!("{}-{id}-{at}", key.trim_end_matches('s'));
                        give(monitor, descriptors, argument, fd, &name).await?;
                        names.push(name);
                    }
                    netdev[key] = json!(names.join(":"));
                }
                tell(monitor, "netdev_add", netdev).await?;
                plugged.0.push(Made::Netdev(id));
            }
            "-chardev" => {
                // A socket that is connected already, and nothing else.
                let field = |name: &str| value.split(',').find_map(|field| field.strip_prefix(name));
                let (Some(id), Some(fd), 3) = (field("id="), field("fd="), value.split(',').count()) else {
                    return Err(odd(argument));
                };
                let name = format!("chr-{id}");
                give(monitor, descriptors, argument, fd, &name).await?;
                let socket = json!({ "addr": { "type": "fd", "data": { "str": name } }, "server": false });
                let backend = json!({ "type": "socket", "data": socket });
                tell(monitor, "chardev-add", json!({ "id": id, "backend": backend })).await?;
                plugged.0.push(Made::Stream(id.to_owned()));
            }
            "-device" => {
                let device = parsed(argument)?;
                let id = text_of(&device, "id");
                tell(monitor, "device_add", device).await?;
                plugged.0.push(Made::Device(id));
            }
            "-action" if value.starts_with("watchdog=") => {
                let action = value.trim_start_matches("watchdog=");
                tell(monitor, "watchdog-set-action", json!({ "action": action })).await?;
            }
            _ => return Err(odd(argument)),
        }
    }
    for command in &line.commands {
        tell(monitor, command.command, command.arguments.clone()).await?;
    }
    Ok(())
}

/// Gives QEMU the descriptor with this number under a name.
async fn give(
    monitor: &Monitor,
    descriptors: &Descriptors,
    argument: &Argument,
    number: &str,
    name: &str,
) -> Result<(), MonitorError> {
    let number = number.parse().ok().map(FdNumber::fixed).ok_or_else(|| odd(argument))?;
    monitor.give_fd(name, copy_of(descriptors, number)?).await
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Added {
    fdset_id: u32,
}

async fn tell(monitor: &Monitor, command: &str, arguments: Value) -> Result<(), MonitorError> {
    monitor.execute::<IgnoredAny>(command, arguments).await.map(drop)
}

fn refused(command: &str, description: String) -> MonitorError {
    let class = "GenericError".to_owned();
    MonitorError::Refused { command: command.to_owned(), class, description }
}

fn odd(argument: &Argument) -> MonitorError {
    refused(&argument.option, "this cannot be plugged into a running guest".to_owned())
}

/// `set=1,fd=7,opaque=rdwr`.
fn fd_of(value: &str) -> Option<(u32, FdNumber, &str)> {
    let field = |name: &str| value.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    Some((field("set")?.parse().ok()?, FdNumber::fixed(field("fd")?.parse().ok()?), field("opaque")?))
}

fn copy_of(descriptors: &Descriptors, fd: FdNumber) -> Result<OwnedFd, MonitorError> {
    descriptors.copy(fd).map_err(|error| refused("add-fd", error.to_string()))
}

fn parsed(argument: &Argument) -> Result<Value, MonitorError> {
    serde_json::from_str(argument.value.as_deref().unwrap_or_default()).map_err(|_| odd(argument))
}

fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A secret's file in memory is not QEMU's any more once it runs: what is in it goes over the monitor instead.
fn with_secret(mut object: Value, descriptors: &Descriptors) -> Result<Value, MonitorError> {
    use std::os::unix::fs::FileExt;
    let file = text_of(&object, "file");
    let number = file.strip_prefix("/proc/self/fd/").and_then(|number| number.parse().ok());
    let (Some(number), "secret") = (number, &*text_of(&object, "qom-type")) else { return Ok(object) };
    let failed = |error: std::io::Error| refused("object-add", error.to_string());
    let file = std::fs::File::from(copy_of(descriptors, FdNumber::fixed(number))?);
    let length = file.metadata().map_err(failed)?.len();
    let mut secret = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut secret, 0).map_err(failed)?;
    if let Some(fields) = object.as_object_mut() {
        fields.remove("file");
        fields.insert("data".to_owned(), json!(encode_base64(&secret)));
        fields.insert("format".to_owned(), json!("base64"));
    }
    Ok(object)
}

/// The same with a path of QEMU's choice for a set's that is below `key`.
fn with_sets(node: &Value, key: &str, sets: &BTreeMap<u32, u32>) -> Value {
    let mut node = node.clone();
    let path = text_of(&node, key);
    let chosen = path.strip_prefix("/dev/fdset/").and_then(|set| sets.get(&set.parse().ok()?));
    if let Some(chosen) = chosen {
        node[key] = json!(format!("/dev/fdset/{chosen}"));
    }
    node
}

/// Removes block nodes of ours that nothing uses, and the descriptors they were opened from: what is left of a disk
/// whose device is gone. QEMU itself refuses those that are in use.
pub async fn sweep_nodes(monitor: &Monitor) {
    loop {
        let Ok(nodes) = monitor.block_nodes().await else { return };
        let mut removed = false;
        for node in nodes.iter().filter(|node| is_ours(&node.node_name)) {
            if monitor.blockdev_del(&node.node_name).await.is_err() {
                continue;
            }
            removed = true;
            if SERVED_DRIVERS.contains(&node.drv.as_str()) {
                remove_objects(monitor, &node.node_name, &["-auth-secret0", "-httpcookie-secret0"]).await;
                remove_objects(monitor, &format!("obj{}", node.node_name), &["_tls0"]).await;
            }
            if node.encrypted {
                remove_objects(monitor, &node.node_name, &["-encryption-secret0"]).await;
            }
            let set = node.file.strip_prefix("/dev/fdset/").and_then(|set| set.parse().ok());
            if let Some(set) = set.filter(|_| node.node_name.ends_with("-storage"))
                && let Err(error) = monitor.remove_fdset(set).await
            {
                tracing::debug!(set, %error, "descriptors not removed from QEMU");
            }
        }
        if !removed {
            return;
        }
    }
}

/// Removes two nodes that a try which was cut short may have left, and the passphrase they were opened with.
pub async fn remove_layer(monitor: &Monitor, number: u32) {
    let format = format!("libvirt-{number}-format");
    for node in [&format, &format!("libvirt-{number}-storage")] {
        let _ = monitor.blockdev_del(node).await;
    }
    remove_objects(monitor, &format, &["-encryption-secret0"]).await;
}

/// Removes what a node had of objects: secrets, credentials. Not having one is fine.
async fn remove_objects(monitor: &Monitor, stem: &str, ends: &[&str]) {
    for end in ends {
        let id = format!("{stem}{end}");
        let _: Result<IgnoredAny, _> = monitor.execute("object-del", json!({ "id": id })).await;
    }
}

fn is_ours(node: &str) -> bool {
    let Some(rest) = node.strip_prefix("libvirt-") else { return false };
    let numbered = rest.split_once('-').is_some_and(|(number, what)| {
        number.bytes().all(|byte| byte.is_ascii_digit()) && (what == "format" || what == "storage")
    });
    numbered || rest.starts_with("CoR-") || rest.starts_with("throttle-")
}

/// Removes what stood behind a device that is gone: its network's end, its objects. What is not there is fine.
pub async fn unplug_rest(monitor: &Monitor, alias: &str, target: Option<&str>) {
    let short = Duration::from_secs(5);
    let mut rest = vec![
        ("netdev_del", format!("host{alias}")),
        ("chardev-remove", format!("char{alias}")),
        ("object-del", format!("obj{alias}")),
    ];
    rest.extend(target.map(|target| ("object-del", format!("throttle-{target}"))));
    for (command, id) in rest {
        let _: Result<IgnoredAny, _> = monitor.execute_within(command, json!({ "id": id }), short).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_of_ours_are_swept() {
        for ours in ["libvirt-1-format", "libvirt-12-storage", "libvirt-CoR-vda", "libvirt-throttle-vdb"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["libvirt-pflash0-storage", "#block123", "lodge-seed", "libvirt-1-other", "mine"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_secret_goes_over_the_monitor_and_by_no_name() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"pass").unwrap();
        let mut descriptors = Descriptors::default();
        let number = descriptors.pass(file);
        let object = json!({ "qom-type": "secret", "id": "s", "file": format!("/proc/self/fd/{number}") });
        let told = with_secret(object, &descriptors).unwrap();
        assert_eq!(told, json!({ "qom-type": "secret", "id": "s", "data": "cGFzcw==", "format": "base64" }));
        let other = json!({ "qom-type": "rng-random", "id": "r", "filename": "/dev/urandom" });
        assert_eq!(with_secret(other.clone(), &descriptors).unwrap(), other);
    }

    #[test]
    fn descriptors_are_found_in_an_argument() {
        let (set, fd, opaque) = fd_of("set=2,fd=17,opaque=rdonly").unwrap();
        assert_eq!((set, fd, opaque), (2, FdNumber::fixed(17), "rdonly"));
        assert!(fd_of("set=2,fd=x").is_none());
    }
}
