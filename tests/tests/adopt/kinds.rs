//! A guest with every kind of device that runs here goes from libvirtd to Lodge and back, running and off: it is the same
//! machine under both.
//!
//! Names alone differ in few: Lodge names panic devices and the floppy controller, libvirtd leaves them without; the number of
//! the first parallel port and the place of the first panic device are said here, QEMU's own choice there; where in
//! memory a module lies is not in Lodge's live document.
//! Compared are the documents' text, what the command lines say of the devices, and what QEMU itself shows of them.
//! Deliberately absent: a TPM and virtiofs, whose servers are processes of their own; vsock, which needs the host's kernel.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use lodge_tests::turn_alone;
use serde_json::Value;

use super::house::{Daemon, House, NETWORK};

/// What a guest is made of.
#[derive(Debug, PartialEq)]
struct Machine {
    /// The machine type.
    kind: String,
    /// Devices of the command line, by id or, where they have none, by name.
    devices: BTreeMap<String, Value>,
    /// Devices on PCI as QEMU shows them.
    pci: BTreeSet<String>,
    /// Devices by name as QEMU shows them.
    objects: BTreeSet<String>,
    /// Addresses, aliases and MACs of the live document.
    places: Vec<String>,
}

/// Asks QEMU through whichever daemon answers on libvirt's socket.
fn ask(house: &House, guest: &str, command: &str) -> Result<Value> {
    let text = house.sh(&format!("virsh -q qemu-monitor-command {guest} '{command}'"))?;
    let answer: Value = serde_json::from_str(&text)?;
    answer.get("return").cloned().with_context(|| format!("{command} is answered by {text}"))
}

/// What only Lodge names.
const NAMELESS: [&str; 3] = ["pvpanic", "pvpanic-pci", "isa-fdc"];

fn is_nameless(name: &str) -> bool {
    name.starts_with("panic") || name == "fdc0"
}

fn walk(devices: &Value, found: &mut BTreeSet<String>) {
    for device in devices.as_array().into_iter().flatten() {
        let number = |key: &str| device[key].as_u64().unwrap_or_default();
        let part = |path: &str| device.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        found.insert(format!(
            "{}:{}.{} {:04x}:{:04x} class {:04x} `{}`",
            number("bus"),
            number("slot"),
            number("function"),
            part("/id/vendor"),
            part("/id/device"),
            part("/class_info/class"),
            device["qdev_id"].as_str().filter(|name| !is_nameless(name)).unwrap_or_default()
        ));
        walk(&device["pci_bridge"]["devices"], found);
    }
}

impl Machine {
    fn of(house: &House, guest: &str) -> Result<Self> {
        let pid = house.qemu(guest)?;
        let line = house.sh(&format!("tr '\\0' '\\n' < /proc/{pid}/cmdline"))?;
        let words: Vec<&str> = line.lines().collect();
        let behind =
            |option: &'static str| words.windows(2).filter(move |pair| pair[0] == option).map(|pair| pair[1]);
        let kind = behind("-machine").next().context("no -machine")?;
        let mut devices = BTreeMap::new();
        for text in behind("-device") {
            let mut device: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
            let own = device.as_object_mut().context("a device is no object")?;
            // Names of blocks are each daemon's own; of a guest that began they say nothing.
            own.remove("drive");
            if own.get("driver").and_then(Value::as_str).is_some_and(|driver| NAMELESS.contains(&driver)) {
                own.retain(|key, value| key != "id" && (key != "ioport" || *value != 0x505));
            }
            if own.get("driver").is_some_and(|driver| driver == "isa-parallel") {
                own.retain(|key, value| key != "index" || *value != 0);
            }
            let name = ["id", "driver"].iter().find_map(|key| own.get(*key)?.as_str());
            let name = name.context("a device without a name")?.to_owned();
            ensure!(devices.insert(name, device).is_none(), "two devices have one name: {text}");
        }
        let mut pci = BTreeSet::new();
        for bus in ask(house, guest, r#"{"execute":"query-pci"}"#)?.as_array().into_iter().flatten() {
            walk(&bus["devices"], &mut pci);
        }
        let command = r#"{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}"#;
        let objects = ask(house, guest, command)?;
        let objects = objects.as_array().into_iter().flatten();
        let live = house.sh(&format!("virsh dumpxml {guest}"))?;
        let places = ["<address type=", "<alias name=", "<mac address="];
        Ok(Self {
            kind: kind.split(',').next().unwrap_or_default().to_owned(),
            devices,
            pci,
            objects: objects
                .filter(|object| !object["name"].as_str().is_some_and(is_nameless))
                .map(|object| format!("{} {}", object["name"], object["type"]))
                .collect(),
            places: live
                .lines()
                .filter(|line| places.iter().any(|place| line.contains(place)))
                .filter(|line| !line.contains("<alias name='panic"))
                .map(|line| {
                    line.split(" base=").next().unwrap_or(line).trim().trim_end_matches("/>").to_owned()
                })
                .collect(),
        })
    }

    /// Fails with what differs.
    fn same(&self, other: &Self, what: &str) -> Result<()> {
        ensure!(self.kind == other.kind, "{what}: {} and {}", self.kind, other.kind);
        for name in self.devices.keys().chain(other.devices.keys()) {
            let (one, two) = (self.devices.get(name), other.devices.get(name));
            ensure!(one == two, "{what}: the device {name} is {one:?}, then {two:?}");
        }
        for (one, two, of) in [(&self.pci, &other.pci, "PCI"), (&self.objects, &other.objects, "objects")] {
            let differ: Vec<_> = one.symmetric_difference(two).collect();
            ensure!(differ.is_empty(), "{what}: {of} differ in {differ:#?}");
        }
        let differ: Vec<_> = self.places.iter().zip(&other.places).filter(|(one, two)| one != two).collect();
        ensure!(
            differ.is_empty() && self.places.len() == other.places.len(),
            "{what}: places differ: {differ:#?}"
        );
        Ok(())
    }
}

/// Makes the guest's files; the path of its document.
fn prepare(house: &House, name: &str, last: u8) -> Result<String> {
    let path = house.guest(name, last)?;
    std::fs::write(&path, KINDS.replace("NAME", name).replace("LAST", &format!("{last:02}")))?;
    house.sh(&format!("cd /var/lib/libvirt/images; mkdir -p share; truncate -s 1M {name}-usb.img"))?;
    Ok(path)
}

/// Waits until firmware and boot sector have run: only then PCI's buses have their numbers.
fn runs(house: &mut House, guest: &str) -> Result<Machine> {
    let pty = house.pty(guest)?;
    house.wait("the guest counts", |house| Ok(house.counter(&pty).is_ok()))?;
    Machine::of(house, guest)
}

fn inactive(house: &House, guest: &str) -> Result<String> {
    house.sh(&format!("virsh dumpxml --inactive --security-info {guest}"))
}

#[test]
fn a_guest_with_all_kinds_of_devices_is_the_same_machine_under_both() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = House::new()? else { return Ok(()) };
    let [theirs, ours] = ["kinds1", "kinds2"];
    house.start_libvirtd()?;
    let network = house.path().join("default.xml");
    std::fs::write(&network, NETWORK)?;
    let document = prepare(&house, theirs, 31)?;
    house.sh(&format!(
        "set -e; virsh net-define {}; virsh net-start default; virsh define {document}; virsh start {theirs}",
        network.display()
    ))?;
    let first = runs(&mut house, theirs)?;
    ensure!(first.devices.len() > 50 && first.pci.len() > 30, "this is no large guest: {first:#?}");
    let defined = inactive(&house, theirs)?;
    let live = house.sh(&format!("virsh dumpxml --security-info {theirs}"))?;

    // Over, while it runs; and begun anew.
    house.stop(Daemon::Libvirtd, "KILL")?;
    house.start_lodge()?;
    // Of libvirtd's status file one mark too many is shown.
    let shown =
        house.sh(&format!("lodge dumpxml --security-info {theirs}"))?.replace(" tlsFromConfig='1'", "");
    ensure!(shown == live, "another live document:\n{shown}\nwas:\n{live}");
    Machine::of(&house, theirs)?.same(&first, "taken over")?;
    ensure!(inactive(&house, theirs)? == defined, "another definition");
    // What libvirtd's QEMU shared under its own user stays behind and would keep another user's QEMU away.
    house.sh(&format!("set -e; lodge destroy {theirs}; rm -f /dev/shm/kinds-*; lodge start {theirs}"))?;
    runs(&mut house, theirs)?.same(&first, "started by libvirtd, then by Lodge")?;

    // One of ours.
    let document = prepare(&house, ours, 32)?;
    house.sh(&format!("set -e; lodge define {document}; lodge start {ours}"))?;
    let second = runs(&mut house, ours)?;
    let definitions = [inactive(&house, theirs)?, inactive(&house, ours)?];
    ensure!(definitions[0] == defined, "a start changed the definition");

    // Back, while both run; and begun anew.
    house.sh("lodge adopt --back")?;
    house.stop(Daemon::Lodge, "TERM")?;
    house.start_libvirtd()?;
    for (at, (guest, machine)) in [(theirs, &first), (ours, &second)].into_iter().enumerate() {
        house.sh(&format!("virsh domstate {guest} | grep running"))?;
        Machine::of(&house, guest)?.same(machine, "given back")?;
        ensure!(inactive(&house, guest)? == definitions[at], "{guest} has another definition under libvirtd");
        house.sh(&format!("set -e; virsh destroy {guest}; rm -f /dev/shm/kinds-*; virsh start {guest}"))?;
        runs(&mut house, guest)?.same(machine, "started by Lodge, then by libvirtd")?;
    }
    house.sh(&format!("set -e; virsh destroy {theirs}; virsh destroy {ours}; rm -f /dev/shm/kinds-*"))?;
    house.stop(Daemon::Libvirtd, "TERM")
}

const KINDS: &str = "<domain type='qemu'>
  <name>NAME</name>
  <uuid>11111111-2222-4333-8444-5555555555LAST</uuid>
  <genid>6a1fb0c5-7d4b-4d0f-a3a4-1c1e1e4d5dLAST</genid>
  <maxMemory slots='4' unit='MiB'>1024</maxMemory>
  <memory unit='MiB'>256</memory>
  <vcpu current='1'>2</vcpu>
  <iothreads>1</iothreads>
  <sysinfo type='smbios'><system><entry name='product'>Kinds</entry></system></sysinfo>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/><smbios mode='sysinfo'/></os>
  <features><acpi/><apic/><ioapic driver='qemu'/><vmcoreinfo state='on'/></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <numa><cell id='0' cpus='0-1' memory='128' unit='MiB'/></numa>
  </cpu>
  <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' iothread='1'/>
      <source file='/var/lib/libvirt/images/NAME.img'/>
      <target dev='vda' bus='virtio'/>
      <serial>kinds</serial>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/NAME-data.qcow2'/>
      <target dev='sda' bus='scsi'/>
      <wwn>5000c50015ea71LAST</wwn>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/NAME-usb.img'/>
      <target dev='sdc' bus='usb'/>
    </disk>
    <disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>
    <controller type='usb' index='0' model='qemu-xhci'/>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='ccid' index='0'/>
    <filesystem type='mount' accessmode='mapped'>
      <source dir='/var/lib/libvirt/images/share'/><target dir='share'/>
    </filesystem>
    <interface type='network'>
      <mac address='52:54:00:11:22:LAST'/>
      <source network='default'/><model type='virtio'/>
    </interface>
    <interface type='user'>
      <mac address='52:54:00:11:33:LAST'/>
      <model type='e1000e'/>
    </interface>
    <smartcard mode='passthrough' type='spicevmc'/>
    <serial type='pty'/>
    <serial type='file'><source path='/var/lib/libvirt/images/NAME-serial.log'/></serial>
    <serial type='null'/>
    <serial type='tcp'><source mode='bind' host='127.0.0.1' service='55LAST'/><protocol type='telnet'/></serial>
    <console type='pty'/>
    <console type='pty'><target type='virtio'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <channel type='pty'><target type='virtio' name='org.example.pty'/></channel>
    <channel type='null'><target type='virtio' name='org.example.null'/></channel>
    <parallel type='null'/>
    <input type='tablet' bus='usb'/>
    <input type='keyboard' bus='virtio'/>
    <input type='mouse' bus='virtio'/>
    <hub type='usb'/>
    <graphics type='vnc' port='-1' autoport='yes'/>
    <graphics type='spice' autoport='yes'><listen type='address' address='127.0.0.1'/></graphics>
    <sound model='ich9'><codec type='duplex'/></sound>
    <audio id='1' type='none'/>
    <video><model type='virtio' heads='1'/></video>
    <redirdev bus='usb' type='spicevmc'/>
    <watchdog model='i6300esb' action='none'/>
    <memballoon model='virtio'><stats period='10'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend><rate bytes='1024' period='1000'/></rng>
    <rng model='virtio-non-transitional'><backend model='builtin'/></rng>
    <panic model='isa'/>
    <panic model='pvpanic'/>
    <shmem name='kinds-LAST'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>
    <memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>
    <iommu model='intel'><driver intremap='on'/></iommu>
    <crypto model='virtio' type='qemu'><backend model='builtin'/></crypto>
    <pstore backend='acpi-erst'><path>/var/lib/libvirt/images/NAME-pstore</path><size unit='KiB'>64</size></pstore>
  </devices>
</domain>
";
