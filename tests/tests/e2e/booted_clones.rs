//! Clones that are booted: each is read from inside, and is what the book, the agent and the audit say that it is.
//!
//! The source has lived: it has a machine id of its own that nobody cleared, and a DHCP client that shows servers an id
//! made of it.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, Inside, Login, document::nat_network, turn, turn_alone};
use serde_json::Value;

use super::guest::{BOOT, host_with_image, ssh_key};

const MEMORY: &str = "448MiB";
/// systemd-networkd's own way, before the one that a seed asks for.
const CLIENT: &str = "printf '[Match]\\nName=en*\\n[Network]\\nDHCP=yes\\n[DHCPv4]\\nClientIdentifier=duid\\n' \
    | sudo tee /etc/systemd/network/05-client.network && sync";

/// A host with a source that has been booted and is off, and a template of it.
struct House {
    host: Host,
    key: PathBuf,
    source: Inside,
}

impl House {
    fn furnish(bridge: &str, subnet: u8) -> Result<Self> {
        let host = host_with_image()?;
        let key = ssh_key(&host)?;
        let network = host.file("net.xml", &nat_network("default", bridge, subnet))?;
        host.lodge(&["net-define", &network])?.ok()?;
        host.lodge(&["net-start", "default"])?.ok()?;
        let public = key.with_extension("pub").to_string_lossy().into_owned();
        let run = ["run", "debian-12", "--name", "web1", "--memory", MEMORY, "--ssh-key", &public, "--wait"];
        host.lodge_for(BOOT, &run)?.ok()?;
        let mut house = Self { host, key, source: Inside::default() };
        house.host.lodge_for(BOOT, &["ssh", "web1", "--", CLIENT])?.ok()?;
        house.source = house.ask("web1")?;
        house.host.lodge_for(BOOT, &["shutdown", "web1"])?.ok()?;
        house.host.lodge_for(BOOT, &["wait", "web1", "--for", "stopped"])?.ok()?;
        house.host.lodge_for(BOOT, &["template", "create", "web1", "--name", "web"])?.ok()?;
        Ok(house)
    }

    fn ask(&self, name: &str) -> Result<Inside> {
        let addresses = self.host.lodge(&["ip", name])?.ok()?.lines();
        let address = addresses.first().with_context(|| format!("{name} has no address"))?;
        let known_hosts = self.host.root().join("known_hosts");
        Inside::ask(&Login { key: &self.key, known_hosts: &known_hosts, user: "debian", address })
            .with_context(|| name.to_owned())
    }

    fn boot(&self, name: &str) -> Result<()> {
        self.host.lodge_for(BOOT, &["start", name])?.ok().map(drop)
    }

    fn wait(&self, name: &str) -> Result<()> {
        self.host.lodge_for(BOOT, &["wait", name, "--for", "ready"])?.ok().map(drop)
    }

    fn shown(&self, name: &str) -> Result<Value> {
        let done = self.host.lodge_for(BOOT, &["identity", "show", name, "-o", "json"])?.ok()?;
        Ok(serde_json::from_str::<Value>(&done.stdout)?[0].take())
    }

    fn machine_id(&self, name: &str) -> Result<String> {
        let got = self.host.lodge_for(BOOT, &["identity", "show", name, "--get"])?.ok()?;
        Ok(got.stdout.trim().to_owned())
    }

    /// Each is what is said of it, and none is another.
    fn judge(&self, names: &[String]) -> Result<()> {
        let mut all: Vec<(String, Inside)> = Vec::new();
        for name in names {
            let inside = self.ask(name)?;
            let id = inside.one("machine-id")?;
            ensure!(id == inside.one("dbus-machine-id")? && id == inside.one("dbus-uuidgen")?, "{inside:?}");
            ensure!(inside.one("host-name")? == name, "{inside:?}");
            ensure!(self.machine_id(name)? == id, "{name} is not what its agent says");
            inside.is_shown(&self.shown(name)?).with_context(|| name.clone())?;
            let acts = self.host.json(&["identity", "log", name])?;
            inside.is_booked(&acts[0]).with_context(|| name.clone())?;
            all.push((name.clone(), inside));
        }
        for (at, (name, inside)) in all.iter().enumerate() {
            let alike = inside.shared_with(&self.source);
            ensure!(alike.is_empty(), "{name} and its source: {alike:?}");
            for (other, theirs) in &all[..at] {
                let alike = inside.shared_with(theirs);
                ensure!(alike.is_empty(), "{name} and {other}: {alike:?}");
            }
        }
        self.judge_leases(&all)
    }

    /// As many addresses and DHCP ids as clones.
    fn judge_leases(&self, all: &[(String, Inside)]) -> Result<()> {
        let leases = self.host.json(&["net-dhcp-leases", "default"])?;
        let leases = leases.as_array().context("leases")?;
        let mut ids = BTreeSet::new();
        for (name, inside) in all {
            let mac = inside.one("mac-address")?;
            let own: Vec<&Value> = leases.iter().filter(|lease| lease["mac"] == mac).collect();
            ensure!(own.len() == 1, "{name} has the leases {own:?}");
            let id = own[0]["client_id"].as_str().with_context(|| format!("{name} shows no id"))?;
            // RFC 4361: 255, and after the interface's number the DUID, which is made of the machine id.
            ensure!(id.starts_with("ff") && id.len() > 20, "{name} shows {id}");
            ensure!(ids.insert(id.to_owned()), "{name} shows {id} as another does");
        }
        Ok(())
    }
}

/// Boots clones of a template and of a domain, some at a time, and judges them while all run.
fn clones_are_others(bridge: &str, subnet: u8, of_template: usize, of_domain: usize) -> Result<()> {
    let house = House::furnish(bridge, subnet)?;
    let host = &house.host;
    let public = house.key.with_extension("pub").to_string_lossy().into_owned();
    let mut names = Vec::new();
    for (source, name, count) in [("web", "node", of_template), ("web1", "twin", of_domain)] {
        if count > 0 {
            host.lodge_for(BOOT, &["clone", source, name, "--count", &count.to_string()])?.ok()?;
            names.extend((1..=count).map(|number| format!("{name}-{number}")));
        }
    }
    for name in names.iter().filter(|name| name.starts_with("node")) {
        // A template has nobody's keys; a guest's clone was told what its source was told.
        host.lodge(&["seed", "set", name, "--ssh-key", &public])?.ok()?;
    }
    let (last, others) = names.split_last().context("no clones")?;
    // Two at once: that is what two processors carry.
    for pair in others.chunks(2) {
        pair.iter().try_for_each(|name| house.boot(name))?;
        pair.iter().try_for_each(|name| house.wait(name))?;
    }
    house.boot(last)?;
    // Seeded with a key, started, followed until it is ready, and logged in to, by one command each.
    let run = ["run", "web", "--name", "web7", "--memory", MEMORY, "--ssh-key", &public, "--wait"];
    host.lodge_for(BOOT, &run)?.ok()?;
    house.wait(last)?;
    let by_lodge = host.lodge_for(BOOT, &["ssh", "web7", "--", "cat", "/etc/machine-id"])?.ok()?;
    names.push("web7".to_owned());
    house.judge(&names)?;
    ensure!(by_lodge.stdout.trim() == house.machine_id("web7")?, "{}", by_lodge.stdout);

    host.lodge_for(BOOT, &["identity", "check"])?.ok()?;
    host.lodge_for(BOOT, &["identity", "audit"])?.ok()?;
    let diff = host.lodge_for(BOOT, &["identity", "diff", "web1", "web7"])?.ok()?;
    ensure!(diff.stdout.contains("nothing in common") && !diff.stdout.contains("ALIKE"), "{}", diff.stdout);
    let listed = host.lodge(&["list", "--all", "--identity"])?.ok()?.stdout;
    ensure!(listed.contains(house.source.one("machine-id")?), "{listed}");
    reset_while_it_runs(&house, "web7")
}

/// Refused with the reason; forced, the machine id alone is another, in both files.
fn reset_while_it_runs(house: &House, name: &str) -> Result<()> {
    let before = house.ask(name)?;
    house.host.lodge(&["identity", "reset", name])?.fails_saying(&["unstable", "--force"])?;
    ensure!(house.machine_id(name)? == before.one("machine-id")?, "a reset that was refused changed it");
    let done = house.host.lodge_for(BOOT, &["identity", "reset", name, "--force"])?.ok()?;
    ensure!(done.stderr.contains("restart the guest"), "{}", done.stderr);
    let after = house.ask(name)?;
    let id = after.one("machine-id")?;
    ensure!(id != before.one("machine-id")? && id.len() == 32, "{after:?}");
    ensure!(after.one("dbus-machine-id")? == id && house.machine_id(name)? == id, "{after:?}");
    ensure!(after.all("ssh-host-key") == before.all("ssh-host-key"), "more than the machine id was changed");
    let acts = house.host.json(&["identity", "log", name])?;
    let acts = acts.as_array().context("acts")?;
    let is_booked = acts.iter().any(|act| act["act"] == "reset" && act["changes"][0]["new"] == id);
    ensure!(is_booked, "{acts:?}");
    ensured_while_it_runs(house, name)
}

/// Through the agent: silent where there is an id, and one is made where somebody took both files away.
fn ensured_while_it_runs(house: &House, name: &str) -> Result<()> {
    let ensured = || house.host.lodge_for(BOOT, &["identity", "check", "--ensure", name])?.ok();
    let id = house.machine_id(name)?;
    let quiet = ensured()?;
    ensure!(quiet.stdout.is_empty() && house.machine_id(name)? == id, "{}", quiet.stdout);
    let gone = "rm -f /etc/machine-id /var/lib/dbus/machine-id";
    house.host.lodge_for(BOOT, &["ssh", name, "--", "sudo", "sh", "-c", &format!("'{gone}'")])?.ok()?;
    house.host.lodge_for(BOOT, &["identity", "show", name, "--get"])?.fails_saying(&["no machine id"])?;
    let made = ensured()?;
    let inside = house.ask(name)?;
    let new = inside.one("machine-id")?;
    ensure!(
        new != id && made.stdout.contains(new) && made.stderr.contains("restart the guest"),
        "{inside:?}"
    );
    // What the guest itself answers: `dbus-uuidgen --get`.
    ensure!(inside.one("dbus-uuidgen")? == new && house.machine_id(name)? == new, "{inside:?}");
    Ok(())
}

#[test]
fn booted_clones_are_other_machines_and_what_is_said_of_them() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    clones_are_others("lgt-b5", 198, 0, 1)
}

#[test]
#[ignore = "many guests, some minutes: cargo xtask lab clones"]
fn lab_ten_booted_clones() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    clones_are_others("lgt-b6", 199, 6, 3)
}
