//! The monitor's commands that Lodge uses, one typed method each. Anything else goes through
//! [`Monitor::execute`]. Names, arguments and answers are those of QEMU's QAPI schema, 7.2 to 11.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{
    AddedFd, Balloon, BlockDevice, BlockNode, Chardev, CommandLineOption, CpuModel, DeviceProperty, FdSet,
    GuestName, GuestUuid, KvmPresence, Machine, Migration, Monitor, MonitorError, Spice, Status, TypeName,
    Vcpu, Version, Vnc,
};

type Done = Result<(), MonitorError>;

impl Monitor {
    async fn tell(&self, command: &str, arguments: Value) -> Done {
        self.execute::<IgnoredAny>(command, arguments).await.map(drop)
    }

    /// `query-status`.
    pub async fn status(&self) -> Result<Status, MonitorError> {
        self.execute("query-status", ()).await
    }

    /// `cont`: lets the processors run.
    pub async fn cont(&self) -> Done {
        self.tell("cont", Value::Null).await
    }

    /// `stop`: holds the processors.
    pub async fn stop(&self) -> Done {
        self.tell("stop", Value::Null).await
    }

    /// `quit`: ends the QEMU. The connection may be lost before the answer comes; that is success too.
    pub async fn quit(&self) -> Done {
        match self.tell("quit", Value::Null).await {
            Err(MonitorError::Lost { .. }) => Ok(()),
            result => result,
        }
    }

    /// `system_powerdown`: presses the ACPI power button.
    pub async fn powerdown(&self) -> Done {
        self.tell("system_powerdown", Value::Null).await
    }

    /// `system_reset`: presses the reset button.
    pub async fn reset(&self) -> Done {
        self.tell("system_reset", Value::Null).await
    }

    /// `system_wakeup`: wakes a guest that sleeps.
    pub async fn wakeup(&self) -> Done {
        self.tell("system_wakeup", Value::Null).await
    }

    /// `inject-nmi`.
    pub async fn inject_nmi(&self) -> Done {
        self.tell("inject-nmi", Value::Null).await
    }

    /// `query-cpus-fast`.
    pub async fn vcpus(&self) -> Result<Vec<Vcpu>, MonitorError> {
        self.execute("query-cpus-fast", ()).await
    }

    /// `query-version`.
    pub async fn version(&self) -> Result<Version, MonitorError> {
        self.execute("query-version", ()).await
    }

    /// `query-kvm`.
    pub async fn kvm(&self) -> Result<KvmPresence, MonitorError> {
        self.execute("query-kvm", ()).await
    }

    /// `query-uuid`.
    pub async fn uuid(&self) -> Result<GuestUuid, MonitorError> {
        self.execute("query-uuid", ()).await
    }

    /// `query-name`.
    pub async fn name(&self) -> Result<GuestName, MonitorError> {
        self.execute("query-name", ()).await
    }

    /// `query-machines`.
    pub async fn machines(&self) -> Result<Vec<Machine>, MonitorError> {
        self.execute("query-machines", ()).await
    }

    /// `query-cpu-definitions`.
    pub async fn cpu_models(&self) -> Result<Vec<CpuModel>, MonitorError> {
        self.execute("query-cpu-definitions", ()).await
    }

    /// `qom-list-types`: the types that implement `parent`, such as `device`.
    pub async fn types(&self, parent: &str) -> Result<Vec<TypeName>, MonitorError> {
        self.execute("qom-list-types", json!({ "implements": parent, "abstract": false })).await
    }

    /// `device-list-properties`.
    pub async fn device_properties(&self, device: &str) -> Result<Vec<DeviceProperty>, MonitorError> {
        self.execute("device-list-properties", json!({ "typename": device })).await
    }

    /// `query-command-line-options`.
    pub async fn command_line_options(&self) -> Result<Vec<CommandLineOption>, MonitorError> {
        self.execute("query-command-line-options", ()).await
    }

    /// `query-qmp-schema`, as it comes: 300 KiB of JSON.
    pub async fn schema(&self) -> Result<Value, MonitorError> {
        self.execute("query-qmp-schema", ()).await
    }

    /// `query-chardev`.
    pub async fn chardevs(&self) -> Result<Vec<Chardev>, MonitorError> {
        self.execute("query-chardev", ()).await
    }

    /// `query-block`.
    pub async fn block_devices(&self) -> Result<Vec<BlockDevice>, MonitorError> {
        self.execute("query-block", ()).await
    }

    /// `query-named-block-nodes`, without the chains.
    pub async fn block_nodes(&self) -> Result<Vec<BlockNode>, MonitorError> {
        self.execute("query-named-block-nodes", json!({ "flat": true })).await
    }

    /// `query-blockstats`, as it comes.
    pub async fn block_stats(&self) -> Result<Value, MonitorError> {
        self.execute("query-blockstats", ()).await
    }

    /// `blockdev-add` with a node as QEMU writes it.
    pub async fn blockdev_add(&self, node: Value) -> Done {
        let name = node.get("node-name").and_then(Value::as_str).unwrap_or_default();
        let number = name.strip_prefix("libvirt-").and_then(|rest| rest.split('-').next()?.parse().ok());
        self.newest_node.fetch_max(number.unwrap_or(0), Ordering::Relaxed);
        self.tell("blockdev-add", node).await
    }

    /// `blockdev-reopen`: a node with other options. All that it was opened with are to be said again.
    pub async fn blockdev_reopen(&self, node: Value) -> Done {
        self.tell("blockdev-reopen", json!({ "options": [node] })).await
    }

    /// `blockdev-del`.
    pub async fn blockdev_del(&self, node_name: &str) -> Done {
        self.tell("blockdev-del", json!({ "node-name": node_name })).await
    }

    /// `device_del`: asks the guest to let a device go; `DEVICE_DELETED` tells when it has.
    pub async fn device_del(&self, id: &str) -> Done {
        self.tell("device_del", json!({ "id": id })).await
    }

    /// `query-spice`. Refused by a QEMU without SPICE.
    pub async fn spice(&self) -> Result<Spice, MonitorError> {
        self.execute("query-spice", ()).await
    }

    /// `query-vnc`.
    pub async fn vnc(&self) -> Result<Vnc, MonitorError> {
        self.execute("query-vnc", ()).await
    }

    /// `set_password` for `vnc` or `spice`. The password is not logged.
    pub async fn set_password(&self, protocol: &str, password: &str) -> Done {
        self.tell("set_password", json!({ "protocol": protocol, "password": password })).await
    }

    /// `query-balloon`. Refused if there is no balloon or its driver does not answer.
    pub async fn balloon(&self) -> Result<Balloon, MonitorError> {
        self.execute("query-balloon", ()).await
    }

    /// `balloon`: asks the guest to have this many bytes.
    pub async fn set_balloon(&self, bytes: u64) -> Done {
        self.tell("balloon", json!({ "value": bytes })).await
    }

    /// `screendump` into a file that QEMU itself can write; PNG since 7.1.
    pub async fn screendump(&self, path: &Path, png: bool) -> Done {
        let format = if png { "png" } else { "ppm" };
        self.tell("screendump", json!({ "filename": path, "format": format })).await
    }

    /// `human-monitor-command`: HMP's text, for people.
    pub async fn human(&self, line: &str) -> Result<String, MonitorError> {
        self.execute("human-monitor-command", json!({ "command-line": line })).await
    }

    /// `getfd`: gives QEMU a descriptor under a name.
    pub async fn give_fd(&self, name: &str, fd: OwnedFd) -> Done {
        self.execute_with_fd::<IgnoredAny>("getfd", json!({ "fdname": name }), fd).await.map(drop)
    }

    /// `closefd`: takes back a descriptor that was not used.
    pub async fn close_fd(&self, name: &str) -> Done {
        self.tell("closefd", json!({ "fdname": name })).await
    }

    /// `add-fd`: adds a descriptor to a set, which QEMU opens as `/dev/fdset/N`.
    pub async fn add_fd(&self, set: u32, opaque: &str, fd: OwnedFd) -> Result<AddedFd, MonitorError> {
        self.execute_with_fd("add-fd", json!({ "fdset-id": set, "opaque": opaque }), fd).await
    }

    /// `remove-fd`: drops a set; descriptors in use stay until their users close.
    pub async fn remove_fdset(&self, set: u32) -> Done {
        self.tell("remove-fd", json!({ "fdset-id": set })).await
    }

    /// `query-fdsets`.
    pub async fn fdsets(&self) -> Result<Vec<FdSet>, MonitorError> {
        self.execute("query-fdsets", ()).await
    }

    /// `migrate` to `fd:NAME`, `exec:…`, `tcp:…`, `unix:…` or `file:…`.
    pub async fn migrate(&self, uri: &str) -> Done {
        self.tell("migrate", json!({ "uri": uri })).await
    }

    /// `migrate-incoming`, for a QEMU started with `-incoming defer`.
    pub async fn migrate_incoming(&self, uri: &str) -> Done {
        self.tell("migrate-incoming", json!({ "uri": uri })).await
    }

    /// `query-migrate`.
    pub async fn migration(&self) -> Result<Migration, MonitorError> {
        self.execute("query-migrate", ()).await
    }

    /// `migrate_cancel`.
    pub async fn migrate_cancel(&self) -> Done {
        self.tell("migrate_cancel", Value::Null).await
    }

    /// `migrate-set-parameters` with an object of them.
    pub async fn set_migration_parameters(&self, parameters: Value) -> Done {
        self.tell("migrate-set-parameters", parameters).await
    }

    /// `migrate-set-capabilities`.
    pub async fn set_migration_capabilities(&self, capabilities: &[(&str, bool)]) -> Done {
        let list: Vec<Value> = capabilities
            .iter()
            .map(|(capability, state)| json!({ "capability": capability, "state": state }))
            .collect();
        self.tell("migrate-set-capabilities", json!({ "capabilities": list })).await
    }
}
