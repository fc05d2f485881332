//! All that an agent tells of its guest, as libvirt's figures: `virsh guestinfo`.

use std::borrow::Cow;

use lodge_domain::control::Refusal;
use serde::Deserialize;
use serde_json::Value;

use super::{DiskAddress, GuestAgent};
use crate::guest::figure::{Collect, Figure};
use crate::guest::{Guest, Look};

/// `virDomainGuestInfoTypes`; 0: all that the agent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InfoTypes(pub u32);

impl InfoTypes {
    const USERS: u32 = 1 << 0;
    const OS: u32 = 1 << 1;
    const TIMEZONE: u32 = 1 << 2;
    const HOSTNAME: u32 = 1 << 3;
    const FILESYSTEM: u32 = 1 << 4;
    const DISKS: u32 = 1 << 5;
    const INTERFACES: u32 = 1 << 6;
    const LOAD: u32 = 1 << 7;
    const ALL: u32 = (1 << 8) - 1;
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "user")]
    name: String,
    #[serde(default)]
    domain: Option<String>,
    #[serde(rename = "login-time")]
    login_time: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Disk {
    name: String,
    #[serde(default)]
    partition: bool,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    address: Option<DiskAddress>,
}

#[derive(Deserialize)]
struct Load {
    load1m: f64,
    load5m: f64,
    load15m: f64,
}

fn count(figures: &mut Vec<Figure>, name: impl Into<Cow<'static, str>>, count: usize) {
    figures.uint(name, u32::try_from(count).unwrap_or(u32::MAX));
}

impl Guest {
    /// What the agent tells. Asked for everything, what this agent does not know is left out; asked for one thing,
    /// that is an error.
    #[crate::boxed]
    pub async fn info(&self, types: InfoTypes) -> Look<Vec<Figure>> {
        if types.0 & !InfoTypes::ALL != 0 {
            let unknown = types.0 & !InfoTypes::ALL;
            return Err(Refusal::arg(format!("unsupported guest information types '0x{unknown:x}'")));
        }
        if !self.snapshot().is_active() {
            return Err(Refusal::invalid("domain is not running"));
        }
        let agent = self.agent()?;
        let mut figures = Vec::new();
        macro_rules! part {
            ($bit:ident, $get:expr) => {
                if types.0 == 0 || types.0 & InfoTypes::$bit != 0 {
                    let outcome: Look<()> = $get.await;
                    match outcome {
                        // The guest is silent: nor will it answer the next question.
                        Err(refusal) if types.0 != 0 || !is_unknown(&refusal) => return Err(refusal),
                        _ => {}
                    }
                }
            };
        }
        part!(USERS, users(&agent, &mut figures));
        part!(OS, system(&agent, &mut figures));
        part!(TIMEZONE, timezone(&agent, &mut figures));
        part!(HOSTNAME, hostname(&agent, &mut figures));
        part!(FILESYSTEM, self.mounted(&agent, &mut figures));
        part!(DISKS, self.disks_inside(&agent, &mut figures));
        part!(INTERFACES, interfaces(&agent, &mut figures));
        part!(LOAD, load(&agent, &mut figures));
        Ok(figures)
    }

    async fn mounted(&self, agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
        let all = agent.file_systems().await?;
        count(figures, "fs.count", all.len());
        for (at, fs) in all.iter().enumerate() {
            figures.text(format!("fs.{at}.name"), fs.name.clone());
            figures.text(format!("fs.{at}.mountpoint"), fs.mountpoint.clone());
            figures.text(format!("fs.{at}.fstype"), fs.kind.clone());
            if let Some(bytes) = fs.total_bytes {
                figures.ulong(format!("fs.{at}.total-bytes"), bytes);
            }
            if let Some(bytes) = fs.used_bytes {
                figures.ulong(format!("fs.{at}.used-bytes"), bytes);
            }
            count(figures, format!("fs.{at}.disk.count"), fs.disk.len());
            for (number, disk) in fs.disk.iter().enumerate() {
                if let Some(target) = self.targets_of(std::slice::from_ref(disk)).pop() {
                    figures.text(format!("fs.{at}.disk.{number}.alias"), target);
                }
                if let Some(serial) = &disk.serial {
                    figures.text(format!("fs.{at}.disk.{number}.serial"), serial.clone());
                }
                if let Some(device) = &disk.dev {
                    figures.text(format!("fs.{at}.disk.{number}.device"), device.clone());
                }
            }
        }
        Ok(())
    }

    async fn disks_inside(&self, agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
        let all: Vec<Disk> = agent.call("guest-get-disks", Value::Null).await?;
        count(figures, "disk.count", all.len());
        for (at, disk) in all.iter().enumerate() {
            figures.text(format!("disk.{at}.name"), disk.name.clone());
            figures.flag(format!("disk.{at}.partition"), disk.partition);
            if !disk.dependencies.is_empty() {
                count(figures, format!("disk.{at}.dependency.count"), disk.dependencies.len());
            }
            for (number, name) in disk.dependencies.iter().enumerate() {
                figures.text(format!("disk.{at}.dependency.{number}.name"), name.clone());
            }
            if let Some(address) = &disk.address {
                if let Some(serial) = &address.serial {
                    figures.text(format!("disk.{at}.serial"), serial.clone());
                }
                if let Some(target) = self.targets_of(std::slice::from_ref(address)).pop() {
                    figures.text(format!("disk.{at}.alias"), target);
                }
            }
            if let Some(alias) = &disk.alias {
                figures.text(format!("disk.{at}.guest_alias"), alias.clone());
            }
            if let Some(address) = &disk.address {
                figures.text(format!("disk.{at}.guest_bus"), address.bus_type.clone());
            }
        }
        Ok(())
    }
}

fn is_unknown(refusal: &Refusal) -> bool {
    refusal.text.contains("has not been found")
        || refusal.text.contains("has been disabled")
        || refusal.text.contains("is not supported")
        || refusal.text.contains("unsupported")
}

async fn users(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    let all: Vec<User> = agent.call("guest-get-users", Value::Null).await?;
    count(figures, "user.count", all.len());
    for (at, user) in all.into_iter().enumerate() {
        figures.text(format!("user.{at}.name"), user.name);
        if let Some(domain) = user.domain {
            figures.text(format!("user.{at}.domain"), domain);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time since 1970 in ms"
        )]
        figures.ulong(format!("user.{at}.login-time"), (user.login_time.max(0.0) * 1000.0) as u64);
    }
    Ok(())
}

async fn system(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    let answer: Value = agent.call("guest-get-osinfo", Value::Null).await?;
    for name in [
        "id",
        "name",
        "pretty-name",
        "version",
        "version-id",
        "machine",
        "variant",
        "variant-id",
        "kernel-release",
        "kernel-version",
    ] {
        if let Some(text) = answer.get(name).and_then(Value::as_str) {
            figures.text(format!("os.{name}"), text.to_owned());
        }
    }
    Ok(())
}

async fn timezone(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    let answer: lodge_qemu::agent::GuestTimezone = agent.call("guest-get-timezone", Value::Null).await?;
    if let Some(zone) = answer.zone {
        figures.text("timezone.name", zone);
    }
    figures.int("timezone.offset", i32::try_from(answer.offset).unwrap_or(0));
    Ok(())
}

async fn hostname(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    figures.text("hostname", agent.hostname().await?);
    Ok(())
}

async fn interfaces(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    let all = agent.interfaces().await?;
    count(figures, "if.count", all.len());
    for (at, card) in all.into_iter().enumerate() {
        figures.text(format!("if.{at}.name"), card.name);
        if let Some(address) = card.hardware_address {
            figures.text(format!("if.{at}.hwaddr"), address);
        }
        count(figures, format!("if.{at}.addr.count"), card.ip_addresses.len());
        for (number, address) in card.ip_addresses.into_iter().enumerate() {
            figures.text(format!("if.{at}.addr.{number}.type"), address.ip_address_type);
            figures.text(format!("if.{at}.addr.{number}.addr"), address.ip_address.to_string());
            figures.uint(format!("if.{at}.addr.{number}.prefix"), u32::from(address.prefix));
        }
    }
    Ok(())
}

async fn load(agent: &GuestAgent, figures: &mut Vec<Figure>) -> Look<()> {
    use crate::guest::Value as Of;
    let load: Load = agent.call("guest-get-load", Value::Null).await?;
    for (name, value) in [("load.1m", load.load1m), ("load.5m", load.load5m), ("load.15m", load.load15m)] {
        figures.add(name, Of::Double(value));
    }
    Ok(())
}
