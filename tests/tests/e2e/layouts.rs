//! Clones of disks laid out in the ways that Debian is installed in: each boots by its own firmware, finds its file systems
//! by their new UUIDs, and is another machine than its source.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, Inside, Login, document::nat_network, host::finish, skip, turn};
use serde_json::Value;

use super::guest::BOOT;

/// All that shows that fstab, boot loader and initramfs found what they look for: no unit failed, each file system and
/// swap that fstab names is there, and the kernel's command line names nothing that is not.
const IS_WELL: &str = r#"
set -e
systemctl is-system-running --wait >/dev/null || { systemctl --failed --no-legend --plain; exit 1; }
findmnt --verify --fstab >/tmp/verify 2>&1 || { cat /tmp/verify; exit 1; }
for place in $(awk '$2 ~ "^/" { print $2 }' /etc/fstab); do findmnt -n "$place" >/dev/null || { echo "$place is not mounted"; exit 1; }; done
if grep -q swap /etc/fstab; then swapon --show | grep -q . || { echo "no swap"; exit 1; }; fi
for id in $(tr ' ' '\n' </proc/cmdline | sed -n 's/^\(root\|resume\)=UUID=//p'); do
    [ -e "/dev/disk/by-uuid/$id" ] || { echo "the command line names $id"; exit 1; }
done
# What the initramfs looked for too, by its own words.
for id in $(journalctl -b -o cat | sed 's/\\x2d/-/g' | grep -o 'by-uuid.[0-9a-f]\{8\}-[0-9a-f-]\{27\}' | cut -c 9- | sort -u); do
    [ -e "/dev/disk/by-uuid/$id" ] || { echo "somebody looked for $id"; journalctl -b -o cat | grep "${id%%-*}"; exit 1; }
done
"#;

/// Run in a guest that is to be taken for another. It loses its address with that, so it goes on by itself.
const LIE: &str = r#"
set -e
hostname NAME
echo ID >/etc/machine-id
card=$(basename /sys/class/net/e*)
gate=$(ip -4 route show default | cut -d' ' -f3 | head -1)
door=$(ip neigh show "$gate" | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p' | head -1)
[ -n "$door" ]
nohup bash -c "sleep 1; systemctl stop systemd-networkd.socket systemd-networkd; ip link set $card down
ip link set $card address MAC; ip link set $card up; ip address add ${gate%.*}.251/24 dev $card
ip neigh replace $gate lladdr $door dev $card; sleep 2
for number in \$(seq 600); do head -c 1400 /dev/zero >/dev/udp/$gate/9; done" >/dev/null 2>&1 </dev/null &
"#;
/// Less than what it sends.
const LIE_BYTES: u64 = 600_000;
const LIES: Duration = Duration::from_mins(4);

struct House {
    host: Host,
    images: PathBuf,
}

impl House {
    /// A guest of the image, that is off.
    fn define(&self, layout: &str) -> Result<()> {
        let pool = self.host.root().join("var/lib/libvirt/images");
        std::fs::create_dir_all(&pool)?;
        let disk = pool.join(format!("{layout}.qcow2"));
        std::fs::copy(self.images.join(format!("{layout}.qcow2")), &disk)?;
        let firmware = if layout.contains("uefi") {
            "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>\
             <firmware><feature enabled='no' name='secure-boot'/></firmware></os>"
        } else {
            "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
        };
        let document = format!(
            "<domain type='qemu'><name>{layout}</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>{firmware}
             <features><acpi/></features><cpu mode='maximum'/><devices>
             <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>
             <target dev='vda' bus='virtio'/></disk>
             <interface type='network'><source network='default'/><model type='virtio'/></interface>
             <serial type='pty'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
             <video><model type='vga'/></video><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>",
            disk.display()
        );
        let document = self.host.file(&format!("{layout}.xml"), &document)?;
        self.host.lodge(&["define", &document])?.ok().map(drop)
    }

    fn shown(&self, name: &str) -> Result<Value> {
        let done = self.host.lodge_for(BOOT, &["identity", "show", name, "-o", "json"])?.ok()?;
        Ok(serde_json::from_str::<Value>(&done.stdout)?[0].take())
    }

    /// Lets us in where nobody's keys are: a template has lost them, and its clone has them of its host again.
    fn give_key(&self, name: &str) -> Result<()> {
        let door = format!(
            "qemu+unix:///system?socket={}",
            self.host.root().join("run/libvirt/libvirt-sock").display()
        );
        let key = self.images.join("key.pub");
        let mut virsh = Command::new("virsh");
        virsh.args(["-c", &door, "set-user-sshkeys", name, "root", "--file"]).arg(key);
        finish(&mut virsh, BOOT, "virsh set-user-sshkeys")?.ok().map(drop)
    }

    /// It booted, is well, and is what is said of it.
    fn judge(&self, name: &str, source: &Value) -> Result<()> {
        let address = self.host.lodge(&["ip", name])?.ok()?.lines();
        let address = address.first().context("it has no address")?;
        let known_hosts = self.host.root().join("known_hosts");
        let key = self.images.join("key");
        let login = Login { key: &key, known_hosts: &known_hosts, user: "root", address };
        login.run(IS_WELL)?.ok()?;
        let inside = Inside::ask(&login)?;
        ensure!(inside.one("host-name")? == name, "{inside:?}");
        inside.is_shown(&self.shown(name)?)?;
        let act = self.host.json(&["identity", "log", name])?[0].take();
        inside.is_booked(&act)?;
        ensure!(inside.one("machine-id")? == inside.one("dbus-machine-id")?, "{inside:?}");
        if name.contains("-dracut") {
            // Nothing stays, for nothing that names it is out of reach.
            let ids: BTreeSet<&str> = values(source)?.map(|(_, value)| value).collect();
            let kept: Vec<&String> =
                inside.all("device").iter().filter(|id| ids.contains(id.as_str())).collect();
            ensure!(kept.is_empty() && !act["warnings"].to_string().contains("dracut"), "{kept:?}\n{act:#}");
        }
        nothing_is_left_in_silence(source, &act, &inside)
    }

    /// What was counted of a guest.
    fn counted(&self, name: &str, figure: &str) -> Result<u64> {
        let told = self.host.lodge(&["domstats", name])?.ok()?;
        let line = told.stdout.lines().find_map(|line| line.trim().strip_prefix(figure)?.strip_prefix('='));
        Ok(line.with_context(|| format!("no {figure}\n{}", told.stdout))?.parse()?)
    }

    /// One says that it is the other: by its host name, its machine id and its hardware address. What it sends is counted as
    /// its own all the same.
    fn lies(&self, liar: &str, honest: &str) -> Result<()> {
        let (key, known_hosts) = (self.images.join("key"), self.host.root().join("known_hosts"));
        let ip = |name: &str| -> Result<String> {
            self.host.lodge(&["ip", name])?.ok()?.lines().first().cloned().context("it has no address")
        };
        let (of_liar, of_honest) = (ip(liar)?, ip(honest)?);
        let login = |address| Login { key: &key, known_hosts: &known_hosts, user: "root", address };
        let other = Inside::ask(&login(&of_honest))?;
        let script = LIE
            .replace("NAME", honest)
            .replace("ID", other.one("machine-id")?)
            .replace("MAC", other.one("mac-address")?);
        let sent = "net.0.tx.bytes";
        let (before, others_before) = (self.counted(liar, sent)?, self.counted(honest, sent)?);
        let spent = self.counted(liar, "cpu.time")?;
        login(&of_liar).run(&script)?.ok()?;
        let deadline = Instant::now() + LIES;
        while self.counted(liar, sent)? < before + LIE_BYTES {
            ensure!(
                Instant::now() < deadline,
                "{liar} sent {before}, and then {}",
                self.counted(liar, sent)?
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        let others = self.counted(honest, sent)? - others_before;
        ensure!(others < LIE_BYTES / 4, "{honest} is said to have sent {others} bytes meanwhile");
        ensure!(self.counted(liar, "cpu.time")? > spent, "{liar} took no time");
        let listed = self.host.lodge(&["list", "--name"])?.ok()?.stdout;
        ensure!(listed.lines().filter(|line| [liar, honest].contains(line)).count() == 2, "{listed}");
        Ok(())
    }

    /// Boots both, judges both, and switches them off.
    fn boot(&self, names: &[String], source: &Value) -> Result<()> {
        for name in names {
            self.host.lodge_for(BOOT, &["start", name])?.ok()?;
        }
        for name in names {
            self.host.lodge_for(BOOT, &["wait", name, "--for", "ready"])?.ok()?;
            if name.ends_with("-linked") {
                self.give_key(name)?;
            }
            self.judge(name, source).with_context(|| name.clone())?;
        }
        let [one, other] = names else { anyhow::bail!("two are needed") };
        self.lies(one, other)?;
        for name in names {
            self.host.lodge(&["destroy", name])?.ok()?;
        }
        Ok(())
    }
}

/// Whatever made the source one machine is another in the clone, or stands among the warnings with the reason.
fn nothing_is_left_in_silence(source: &Value, act: &Value, inside: &Inside) -> Result<()> {
    let warnings = act["warnings"].to_string();
    let ids: BTreeSet<&String> =
        ["machine-id", "ssh-host-key", "device"].iter().flat_map(|name| inside.all(name)).collect();
    for (place, value) in values(source)? {
        let is_kept = ids.contains(&value.to_owned());
        ensure!(!is_kept || warnings.contains(place), "{place} has {value} as its source has\n{act:#}");
    }
    Ok(())
}

/// What makes a machine this machine: where, and what.
fn values(shown: &Value) -> Result<impl Iterator<Item = (&str, &str)>> {
    let items = shown["items"].as_array().context("items")?;
    Ok(items.iter().filter_map(|item| Some((item["place"].as_str()?, item["value"].as_str()?))))
}

fn one_layout(house: &House, layout: &str) -> Result<()> {
    house.define(layout)?;
    if layout.starts_with("lvm-uefi") {
        // One that has lived: the firmware's variables name its partition by the UUID that the clones do not have.
        house.host.lodge_for(BOOT, &["start", layout])?.ok()?;
        house.host.lodge_for(BOOT, &["wait", layout, "--for", "ready"])?.ok()?;
        house.host.lodge_for(BOOT, &["shutdown", layout])?.ok()?;
        house.host.lodge_for(BOOT, &["wait", layout, "--for", "stopped"])?.ok()?;
    }
    let source = house.shown(layout)?;
    let (full, base, linked) =
        (format!("{layout}-full"), format!("{layout}-base"), format!("{layout}-linked"));
    house.host.lodge_for(BOOT, &["clone", layout, &full, "--full"])?.ok()?;
    house.host.lodge_for(BOOT, &["template", "create", layout, "--name", &base])?.ok()?;
    house.host.lodge_for(BOOT, &["clone", &base, &linked, "--linked"])?.ok()?;
    house.boot(&[full, linked], &source)
}

#[test]
#[ignore = "many guests, some minutes: cargo xtask lab layouts"]
fn lab_clones_of_each_layout() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let (Some(images), Ok(layouts)) =
        (std::env::var_os("LODGE_LAB_IMAGES"), std::env::var("LODGE_LAB_LAYOUTS"))
    else {
        skip("LODGE_LAB_IMAGES names no directory of images; `cargo xtask lab layouts` makes it");
        return Ok(());
    };
    let (images, layouts): (_, Vec<&str>) = (PathBuf::from(images), layouts.split_whitespace().collect());
    ensure!(!layouts.is_empty(), "LODGE_LAB_LAYOUTS names no layout");
    let host = Host::start()?;
    let network = host.file("net.xml", &nat_network("default", "lgt-b7", 200))?;
    host.lodge(&["net-define", &network])?.ok()?;
    host.lodge(&["net-start", "default"])?.ok()?;
    let house = House { host, images };
    let mut failed = Vec::new();
    for layout in &layouts {
        let began = std::time::Instant::now();
        // Each is tried, also where one before it failed.
        match one_layout(&house, layout) {
            Ok(()) => println!("{layout}: {} s", began.elapsed().as_secs()),
            Err(error) => failed.push(format!("{layout}: {error:#}")),
        }
        let names = house.host.lodge(&["list", "--name"])?.lines();
        names.iter().try_for_each(|name| house.host.lodge(&["destroy", name]).map(drop))?;
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}
