//! What a guest says of itself when somebody logs in: the truth that everything else is held against.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Done, host::finish};

/// Long enough for a slow guest under load.
const PATIENCE: Duration = Duration::from_mins(3);

/// A line per value: a name and what it is. Run by a user who may become root without a password, or by root.
const ASK: &str = r#"
run() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
echo "machine-id $(cat /etc/machine-id)"
echo "dbus-machine-id $(cat /var/lib/dbus/machine-id)"
echo "dbus-uuidgen $(dbus-uuidgen --get)"
echo "host-name $(hostname)"
echo "boot-id $(cat /proc/sys/kernel/random/boot_id)"
echo "smbios-uuid $(run cat /sys/class/dmi/id/product_uuid | tr A-Z a-z)"
echo "address $(hostname -I | cut -d' ' -f1)"
for card in /sys/class/net/e*; do echo "mac-address $(cat $card/address)"; done
for key in /etc/ssh/ssh_host_*_key.pub; do echo "ssh-host-key $(ssh-keygen -lf $key | cut -d' ' -f2)"; done
run lsblk -e 11 -nro UUID,PARTUUID,PTUUID | tr ' ' '\n' | sort -u | while read id; do [ -z "$id" ] || echo "device $id"; done
if command -v vgs >/dev/null; then { run vgs --noheadings -o vg_uuid; run lvs --noheadings -o lv_uuid; } | while read id; do echo "device $id"; done; fi
echo "root $(run lsblk -e 11 -nro UUID "$(findmnt -nvo SOURCE /)")"
"#;

/// What one guest is, by its own word.
#[derive(Debug, Default)]
pub struct Inside {
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Inside {
    /// Logs in and asks.
    pub fn ask(login: &Login<'_>) -> Result<Self> {
        let said = login.run(ASK)?.ok()?.stdout;
        let mut inside = Self::default();
        for line in said.lines() {
            let (name, value) = line.split_once(' ').with_context(|| format!("`{line}` is no value"))?;
            ensure!(!value.is_empty(), "the guest has no {name}:\n{said}");
            inside.values.entry(name.to_owned()).or_default().insert(value.to_owned());
        }
        Ok(inside)
    }

    /// All of one name.
    pub fn all(&self, name: &str) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.values.get(name).unwrap_or(&NONE)
    }

    /// The only one of that name.
    pub fn one(&self, name: &str) -> Result<&str> {
        let all = self.all(name);
        ensure!(all.len() == 1, "{name} is {all:?}");
        all.iter().next().map(String::as_str).context("none")
    }

    /// Holds what `lodge identity show` tells of the guest against it.
    pub fn is_shown(&self, view: &Value) -> Result<()> {
        ensure!(view["learnt"] == "agent", "{view}");
        ensure!(view["machine_id"] == self.one("machine-id")?, "{self:?}\n{view}");
        let items = view["items"].as_array().context("items")?;
        let shown = |item: &str| -> BTreeSet<String> {
            let of_it = items.iter().filter(|one| one["item"] == item);
            of_it.filter_map(|one| one["value"].as_str().map(str::to_owned)).collect()
        };
        for item in ["ssh-host-key", "smbios-uuid"] {
            ensure!(shown(item) == *self.all(item), "{item}: {:?}\n{self:?}", shown(item));
        }
        for item in ["machine-id", "host-name", "mac-address"] {
            ensure!(shown(item).is_superset(self.all(item)), "{item}: {:?}\n{self:?}", shown(item));
        }
        Ok(())
    }

    /// Holds an entry of the book against it: what is written there as new is what the guest has.
    pub fn is_booked(&self, act: &Value) -> Result<()> {
        ensure!(act["inside"] == "reset", "{act}");
        let changes = act["changes"].as_array().context("changes")?;
        let new = |items: &[&str]| -> BTreeSet<String> {
            // The host's cards are numbered: `mac-address 0`.
            let name =
                |one: &Value| one["item"].as_str().and_then(|item| item.split(' ').next()).map(str::to_owned);
            let of_them = changes.iter().filter(|one| name(one).is_some_and(|name| items.contains(&&*name)));
            let values = of_them.filter_map(|one| one["new"].as_str().map(str::to_owned));
            values.filter(|value| !value.is_empty()).collect()
        };
        for item in ["machine-id", "ssh-host-key", "mac-address"] {
            ensure!(new(&[item]) == *self.all(item), "{item}: {:?}\n{self:?}\n{act:#}", new(&[item]));
        }
        ensure!(new(&["host-name"]).contains(self.one("host-name")?), "{self:?}\n{act:#}");
        for id in new(&["disk-id", "partition-id", "content-uuid", "group-uuid", "volume-uuid"]) {
            ensure!(self.all("device").contains(&id), "no device has {id}\n{self:?}\n{act:#}");
        }
        Ok(())
    }

    /// What it has in common with another and must not.
    pub fn shared_with(&self, other: &Self) -> Vec<String> {
        let both = |(name, values): (&String, &BTreeSet<String>)| -> Vec<String> {
            values.intersection(other.all(name)).map(|value| format!("{name} {value}")).collect()
        };
        self.values.iter().flat_map(both).collect()
    }
}

/// How to log in to a guest: plain ssh, as a stranger with the key would.
pub struct Login<'a> {
    /// The private key.
    pub key: &'a Path,
    /// The host keys that were seen before; one that changes is an error.
    pub known_hosts: &'a Path,
    /// The user.
    pub user: &'a str,
    /// Where.
    pub address: &'a str,
}

impl Login<'_> {
    /// Runs a command in the guest.
    pub fn run(&self, command: &str) -> Result<Done> {
        let mut ssh = Command::new("ssh");
        let known = format!("UserKnownHostsFile={}", self.known_hosts.display());
        ssh.arg("-i").arg(self.key);
        for option in [known.as_str(), "StrictHostKeyChecking=accept-new", "BatchMode=yes", "LogLevel=ERROR"]
        {
            ssh.args(["-o", option]);
        }
        ssh.arg(format!("{}@{}", self.user, self.address)).arg(command);
        finish(&mut ssh, PATIENCE, "ssh")
    }
}
