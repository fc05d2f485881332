//! What the agent inside the guest is asked, for those who know libvirt's calls.
//!
//! One agent per guest serves all; a call has a deadline, libvirt's where somebody set one. What it answers is the
//! guest's claim. Deliberately absent: the channel itself (`lodge_qemu::agent`).

mod info;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lodge_domain::control::{Refusal, Sort};
use lodge_model::DomainId;
use lodge_qemu::agent::{Agent, GuestInterface};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::{Guest, Look};

pub use info::InfoTypes;

/// How long an agent may take to answer on bare hardware, unless somebody said otherwise. libvirt waits for ever, which
/// nobody outlives; freezing and trimming take their time.
const PATIENCE: Duration = Duration::from_secs(15);
const LONG_PATIENCE: Duration = Duration::from_mins(3);

/// How long each guest's agent may take, where somebody said it (`virDomainAgentSetResponseTimeout`).
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<DomainId, i32>>);

impl Waits {
    fn set(&self, id: DomainId, seconds: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, seconds);
    }

    fn of(&self, id: DomainId) -> Option<Duration> {
        let seconds = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?;
        u64::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds.max(1)))
    }
}

/// A guest's agent, ready to be asked.
#[derive(Debug, Clone)]
pub struct GuestAgent {
    agent: Agent,
    patience: Duration,
    long: Duration,
}

/// A mounted file system of a guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSystem {
    /// The device in the guest: `vda1`.
    pub name: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// `ext4`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes in use.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// Bytes there are.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// The disks it is on.
    #[serde(default)]
    pub disk: Vec<DiskAddress>,
}

/// Where a guest sees a disk.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskAddress {
    /// `virtio`, `scsi`, `sata` …
    pub bus_type: String,
    /// The bus.
    #[serde(default)]
    pub bus: i64,
    /// The target.
    #[serde(default)]
    pub target: i64,
    /// The unit.
    #[serde(default)]
    pub unit: i64,
    /// Its controller's place on PCI.
    pub pci_controller: PciPlace,
    /// Its serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// `/dev/vda1`.
    #[serde(default)]
    pub dev: Option<String>,
}

/// A place on PCI; -1 where the guest does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PciPlace {
    /// The domain.
    pub domain: i64,
    /// The bus.
    pub bus: i64,
    /// The slot.
    pub slot: i64,
    /// The function.
    pub function: i64,
}

/// A processor as the guest sees it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestVcpu {
    /// Its number there.
    pub logical_id: u32,
    /// It is in use.
    pub online: bool,
    /// It can be switched off.
    #[serde(default)]
    pub can_offline: bool,
}

impl Guest {
    /// The agent, if the guest has one and it is there.
    pub fn agent(&self) -> Look<GuestAgent> {
        self.must_run()?;
        let vmm = self.snapshot.vmm.as_ref().ok_or_else(Refusal::not_running)?;
        let socket = vmm
            .agent_socket
            .as_deref()
            .ok_or_else(|| Refusal::new(Sort::ArgumentUnsupported, "QEMU guest agent is not configured"))?;
        if !vmm.agent_connected {
            return Err(Refusal::new(Sort::AgentUnresponsive, "QEMU guest agent is not connected"));
        }
        let speed = &self.engine.accelerator.speed;
        let said = self.engine.agent_waits.of(self.snapshot.id);
        Ok(GuestAgent {
            agent: Agent::new(socket),
            patience: said.unwrap_or_else(|| speed.scale(PATIENCE)),
            long: said.unwrap_or_else(|| speed.scale(LONG_PATIENCE)),
        })
    }

    /// How long the agent may take: seconds; 0: no wait; -1: libvirt's default; -2: as long as it takes.
    pub fn set_agent_wait(&self, seconds: i32) -> Look<()> {
        if seconds < -2 {
            let text = format!("guest agent timeout '{seconds}' is less than the minimum '-2'");
            return Err(Refusal::arg(text));
        }
        self.engine.agent_waits.set(self.snapshot.id, seconds);
        Ok(())
    }

    /// Sets the guest's clock: to a time since 1970, or to its own hardware's (`None`).
    #[crate::boxed]
    pub async fn set_time(&self, time: Option<(i64, u32)>) -> Look<()> {
        let agent = self.agent()?;
        let arguments = match time {
            None => json!({}),
            Some((seconds, ns)) => {
                let time =
                    seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(i64::from(ns)));
                let time =
                    time.ok_or_else(|| Refusal::arg(format!("Time '{seconds}' is too big for guest agent")))?;
                json!({ "time": time })
            }
        };
        agent.call::<IgnoredAny>("guest-set-time", arguments).await?;
        // Interrupts that the guest has missed would push the clock on; not every machine counts them.
        let reset: Look<IgnoredAny> = self.ask("rtc-reset-reinjection", ()).await;
        if let Err(refusal) = reset {
            tracing::debug!(domain = %self.snapshot.name, %refusal, "missed interrupts were not forgotten");
        }
        Ok(())
    }

    /// The targets of the disks that a file system of the guest is on.
    pub fn targets_of(&self, disks: &[DiskAddress]) -> Vec<String> {
        let Ok(document) = self.document() else { return Vec::new() };
        disks.iter().filter_map(|disk| target_of(&document, disk)).collect()
    }
}

/// libvirt's match: a virtio disk by its own place on PCI, others by their place on a controller.
fn target_of(document: &lodge_model::domain::Domain, wanted: &DiskAddress) -> Option<String> {
    use lodge_model::domain::address::Address;
    let found = document.devices.disks.iter().find(|disk| match &disk.place.address {
        Some(Address::Pci(pci)) => {
            let place = wanted.pci_controller;
            i64::from(pci.domain) == place.domain
                && i64::from(pci.slot) == place.slot
                && i64::from(pci.function) == place.function
                && i64::from(pci.bus) == place.bus
        }
        Some(Address::Drive(drive)) => {
            let bus = disk.target.bus.map(lodge_model::domain::disk::DiskBus::as_str).unwrap_or_default();
            bus == wanted.bus_type
                && i64::from(drive.target) == wanted.target
                && i64::from(drive.unit) == wanted.unit
                && i64::from(drive.bus) == wanted.bus
        }
        _ => false,
    });
    found.map(|disk| disk.target.dev.clone())
}

impl GuestAgent {
    /// The channel's other end, for calls with deadlines of their own.
    pub(crate) fn inner(&self) -> &Agent {
        &self.agent
    }

    pub(crate) async fn call<A: DeserializeOwned>(&self, command: &'static str, arguments: Value) -> Look<A> {
        self.agent.call(command, arguments, self.patience).await.map_err(Refusal::from)
    }

    async fn long_call<A: DeserializeOwned>(&self, command: &'static str, arguments: Value) -> Look<A> {
        self.agent.call(command, arguments, self.long).await.map_err(Refusal::from)
    }

    /// Any call, as JSON; its answer as the agent's own message. `wait`: its deadline, where it has one of its own.
    #[crate::boxed]
    pub async fn raw(&self, text: &str, wait: Option<Duration>) -> Look<String> {
        let command: Value = serde_json::from_str(text)
            .map_err(|_| Refusal::internal("failed to parse JSON: unexpected character"))?;
        let name = command.get("execute").and_then(Value::as_str).map(str::to_owned);
        let name = name.ok_or_else(|| Refusal::internal("malformed agent command: 'execute' is missing"))?;
        let arguments = command.get("arguments").cloned().unwrap_or(Value::Null);
        let answer: Value = self.agent.call(name, arguments, wait.unwrap_or(self.long)).await?;
        Ok(json!({ "return": answer }).to_string())
    }

    /// The guest's clock, in seconds and nanoseconds since 1970.
    #[crate::boxed]
    pub async fn time(&self) -> Look<(i64, u32)> {
        let time: i64 = self.call("guest-get-time", Value::Null).await?;
        let ns = u32::try_from(time.rem_euclid(1_000_000_000)).unwrap_or(0);
        Ok((time.div_euclid(1_000_000_000), ns))
    }

    /// The guest's host name.
    #[crate::boxed]
    pub async fn hostname(&self) -> Look<String> {
        Ok(self.agent.host_name(self.patience).await?)
    }

    /// The guest's interfaces.
    #[crate::boxed]
    pub async fn interfaces(&self) -> Look<Vec<GuestInterface>> {
        Ok(self.agent.interfaces(self.patience).await?)
    }

    /// The guest's mounted file systems.
    #[crate::boxed]
    pub async fn file_systems(&self) -> Look<Vec<FileSystem>> {
        self.call("guest-get-fsinfo", Value::Null).await
    }

    /// Freezes file systems: those named, or all. How many.
    #[crate::boxed]
    pub async fn freeze(&self, mountpoints: &[String]) -> Look<i32> {
        if mountpoints.is_empty() {
            return self.long_call("guest-fsfreeze-freeze", Value::Null).await;
        }
        self.long_call("guest-fsfreeze-freeze-list", json!({ "mountpoints": mountpoints })).await
    }

    /// Thaws all. How many.
    #[crate::boxed]
    pub async fn thaw(&self) -> Look<i32> {
        self.long_call("guest-fsfreeze-thaw", Value::Null).await
    }

    /// Gives free blocks back to the host, in runs of at least `minimum` bytes.
    #[crate::boxed]
    pub async fn trim(&self, minimum: u64) -> Look<()> {
        self.long_call::<IgnoredAny>("guest-fstrim", json!({ "minimum": minimum })).await.map(drop)
    }

    /// The processors as the guest sees them.
    #[crate::boxed]
    pub async fn vcpus(&self) -> Look<Vec<GuestVcpu>> {
        self.call("guest-get-vcpus", Value::Null).await
    }

    /// Switches processors on or off in the guest.
    #[crate::boxed]
    pub async fn set_vcpus(&self, which: &[(u32, bool)]) -> Look<()> {
        let mut left: Vec<Value> =
            which.iter().map(|(id, online)| json!({ "logical-id": id, "online": online })).collect();
        // It may do some of them only, and says how many.
        while !left.is_empty() {
            let done: usize = self.call("guest-set-vcpus", json!({ "vcpus": left })).await?;
            if done == 0 {
                return Err(Refusal::internal("failed to set state of cpu via guest agent"));
            }
            left.drain(..done.min(left.len()));
        }
        Ok(())
    }

    /// Sets a user's password.
    #[crate::boxed]
    pub async fn set_password(&self, user: &str, password: &str, crypted: bool) -> Look<()> {
        let arguments =
            json!({ "username": user, "password": base64(password.as_bytes()), "crypted": crypted });
        self.call::<IgnoredAny>("guest-set-user-password", arguments).await.map(drop)
    }

    /// The keys that may log in as a user.
    #[crate::boxed]
    pub async fn ssh_keys(&self, user: &str) -> Look<Vec<String>> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        let keys: Keys = self.call("guest-ssh-get-authorized-keys", json!({ "username": user })).await?;
        Ok(keys.keys)
    }

    /// Adds keys (in place of all, if `reset`).
    #[crate::boxed]
    pub async fn add_ssh_keys(&self, user: &str, keys: &[String], reset: bool) -> Look<()> {
        let arguments = json!({ "username": user, "keys": keys, "reset": reset });
        self.call::<IgnoredAny>("guest-ssh-add-authorized-keys", arguments).await.map(drop)
    }

    /// Removes keys.
    #[crate::boxed]
    pub async fn remove_ssh_keys(&self, user: &str, keys: &[String]) -> Look<()> {
        let arguments = json!({ "username": user, "keys": keys });
        self.call::<IgnoredAny>("guest-ssh-remove-authorized-keys", arguments).await.map(drop)
    }
}

/// RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4_usize {
            let at = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() { DIGITS[at as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_travel_in_base64() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
