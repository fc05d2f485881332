//! A host made of files and links, and a kernel that does with them what Linux does: a driver takes a device that is
//! free and that it may have, VFIO's has a node for the group.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lodge_model::domain::Domain;
use lodge_model::{DomainId, MacAddr};

use crate::hostdev::kernel::Kernel;
use crate::hostdev::note::Setting;
use crate::hostdev::{Hostdevs, User};

/// Devices and who has them by themselves.
const OWN: [(&str, &str); 6] = [
    ("0000:01:00.0", "e1000"),
    ("0000:01:00.1", "snd_hda_intel"),
    ("0000:00:03.0", "e1000"),
    (CARD, "igb"),
    ("0000:02:10.0", "igbvf"),
    ("0000:02:10.2", "igbvf"),
];
/// A network card with virtual functions.
const CARD: &str = "0000:02:00.0";
/// Devices and their IOMMU groups.
const GROUPS: [(&str, u32); 6] = [
    ("0000:00:01.0", 7),
    ("0000:01:00.0", 7),
    ("0000:01:00.1", 7),
    (CARD, 20),
    ("0000:02:10.0", 21),
    ("0000:02:10.2", 22),
];

pub struct Host {
    dir: tempfile::TempDir,
    kernel: Fake,
}

#[derive(Default)]
struct Seen {
    log: String,
    owners: BTreeMap<PathBuf, (u32, u32)>,
    /// What the card has set for its functions; it is on unless it was switched off.
    settings: BTreeMap<u32, Setting>,
    is_off: bool,
    acts: usize,
    failing: usize,
    dying: bool,
    /// A driver does not let its device go.
    stuck: Option<Arc<std::sync::Barrier>>,
}

#[derive(Clone)]
struct Fake {
    root: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

/// A guest with these devices.
pub fn document(id: DomainId, devices: &str) -> Domain {
    let name = format!("guest-{}", &id.to_string()[..8]);
    let text = format!(
        "<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type machine='q35'>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    );
    let mut domain = Domain::parse(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    lodge_qemu::assign_aliases(&mut domain);
    domain
}

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("host");
        let host = Self { dir, kernel: Fake { root, seen: Arc::default() } };
        for (device, driver) in OWN {
            host.file(&format!("sys/bus/pci/drivers/{driver}/bind"), "");
            host.file(&format!("sys/bus/pci/devices/{device}/driver_override"), "(null)\n");
            host.config(device, 0x80);
            host.link(
                &format!("sys/bus/pci/devices/{device}/driver"),
                &format!("sys/bus/pci/drivers/{driver}"),
            );
        }
        host.config("0000:00:01.0", 1);
        host.file("sys/bus/pci/drivers/pcieport/bind", "");
        host.link("sys/bus/pci/devices/0000:00:01.0/driver", "sys/bus/pci/drivers/pcieport");
        for (device, group) in GROUPS {
            let own = format!("sys/bus/pci/devices/{device}");
            let group = format!("sys/kernel/iommu_groups/{group}");
            host.link(&format!("{group}/devices/{device}"), &own);
            host.link(&format!("{own}/iommu_group"), &group);
        }
        let card = format!("sys/bus/pci/devices/{CARD}");
        host.file(&format!("{card}/net/enp2s0f0/ifindex"), "4\n");
        host.link("sys/class/net/enp2s0f0/device", &card);
        for (number, function) in [(0, "0000:02:10.0"), (1, "0000:02:10.2")] {
            let own = format!("sys/bus/pci/devices/{function}");
            host.link(&format!("{card}/virtfn{number}"), &own);
            host.link(&format!("{own}/physfn"), &card);
            let before = Setting { mac: MacAddr::default(), vlan: number * 7, priority: number };
            host.kernel.seen.lock().unwrap().settings.insert(number, before);
        }
        for (name, bus, device, vendor, product) in [
            ("usb1", 1, 1, "1d6b", "0002"),
            ("1-1", 1, 4, "0951", "1666"),
            ("1-2", 1, 5, "046d", "c31c"),
            ("2-1", 2, 3, "046d", "c31c"),
        ] {
            let own = format!("sys/bus/usb/devices/{name}");
            host.file(&format!("{own}/busnum"), format!("{bus}\n"));
            host.file(&format!("{own}/devnum"), format!("{device}\n"));
            host.file(&format!("{own}/idVendor"), format!("{vendor}\n"));
            host.file(&format!("{own}/idProduct"), format!("{product}\n"));
            host.file(&format!("dev/bus/usb/{bus:03}/{device:03}"), "");
        }
        host.file("sys/bus/usb/devices/1-1:1.0/bInterfaceNumber", "00\n");
        host.file("sys/bus/scsi/devices/2:0:3:0/scsi_generic/sg5/dev", "21:5\n");
        host.file("sys/kernel/config/target/vhost/naa.5123456789abcde0/fabric", "");
        let mdev = "sys/bus/mdev/devices/53764d0e-85a0-42b4-af5c-2046b460b1dc";
        host.file(&format!("{mdev}/uevent"), "");
        host.file("sys/kernel/iommu_groups/12/type", "");
        host.link(&format!("{mdev}/iommu_group"), "sys/kernel/iommu_groups/12");
        host.file("sys/class/tpm/tpm0/device/cancel", "");
        let nodes = ["vfio/12", "sg5", "vhost-scsi", "tpm0", "input/event3", "input/event4", "null"];
        for node in nodes.into_iter().chain(["dri/card0", "dri/renderD129", "dri/renderD128"]) {
            host.file(&format!("dev/{node}"), "");
        }
        host
    }

    pub fn root(&self) -> &Path {
        &self.kernel.root
    }

    fn notes_dir(&self) -> PathBuf {
        self.dir.path().join("notes")
    }

    /// A daemon that starts.
    pub fn open(&self) -> Hostdevs {
        self.open_at("boot-1")
    }

    /// One after the host's next boot, which finds every device as it is by itself.
    pub fn reboot(&self) -> Hostdevs {
        for (device, driver) in &OWN[..2] {
            fs::remove_file(self.root().join(format!("sys/bus/pci/devices/{device}/driver"))).unwrap();
            let own = format!("sys/bus/pci/devices/{device}");
            fs::write(self.root().join(&own).join("driver_override"), "(null)\n").unwrap();
            self.link(&format!("{own}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        }
        self.kernel.seen.lock().unwrap().owners.clear();
        self.open_at("boot-2")
    }

    /// As [`Self::open`], with a daemon that waits no longer than this.
    pub fn open_impatient(&self, patience: std::time::Duration) -> Hostdevs {
        let mut hostdevs = self.open();
        std::sync::Arc::get_mut(&mut hostdevs.inner).unwrap().patience = patience;
        hostdevs
    }

    fn open_at(&self, boot: &str) -> Hostdevs {
        let kernel = Box::new(self.kernel.clone());
        Hostdevs::at(self.root().to_owned(), self.notes_dir(), boot.to_owned(), kernel)
    }

    /// The `nth` act from now on fails, or (`dying`) it and all after it; 0: none.
    pub fn fail(&self, nth: usize, dying: bool) {
        let mut seen = self.kernel.seen.lock().unwrap();
        (seen.acts, seen.failing, seen.dying) = (0, nth, dying);
    }

    /// What was done since it was asked last.
    pub fn log(&self) -> String {
        std::mem::take(&mut self.kernel.seen.lock().unwrap().log)
    }

    /// How many acts there were, those that failed too.
    pub fn acts(&self) -> usize {
        self.kernel.seen.lock().unwrap().acts
    }

    /// A guest's note as it is on disk.
    pub fn note(&self, id: DomainId) -> Vec<u8> {
        fs::read(self.notes_dir().join(format!("{id}.json"))).unwrap()
    }

    /// Puts it back.
    pub fn put_note(&self, id: DomainId, note: &[u8]) {
        fs::write(self.notes_dir().join(format!("{id}.json")), note).unwrap();
    }

    /// How many guests have a note.
    pub fn notes(&self) -> usize {
        fs::read_dir(self.notes_dir()).map_or(0, Iterator::count)
    }

    /// Who has each PCI device and may have it, and the owners of nodes.
    pub fn state(&self) -> String {
        let mut state = String::new();
        for (device, _) in OWN {
            let own = self.root().join("sys/bus/pci/devices").join(device);
            let driver = fs::read_link(own.join("driver")).ok();
            let driver = driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned()));
            let preferred = fs::read_to_string(own.join("driver_override")).unwrap();
            state += &format!("{device} {driver:?} {}\n", preferred.trim());
        }
        let seen = self.kernel.seen.lock().unwrap();
        let changed = seen.owners.iter().filter(|(path, owner)| path.exists() && **owner != (0, 0));
        state + &format!("{:?} {:?}", changed.collect::<Vec<_>>(), seen.settings)
    }

    /// From now on the next change of driver takes until the barrier is met.
    pub fn stick(&self) -> Arc<std::sync::Barrier> {
        let barrier = Arc::new(std::sync::Barrier::new(2));
        self.kernel.seen.lock().unwrap().stuck = Some(Arc::clone(&barrier));
        barrier
    }

    /// Somebody switches the card off.
    pub fn switch_off(&self) {
        self.kernel.seen.lock().unwrap().is_off = true;
    }

    /// What a libvirt daemon keeps of a function that it gave to a guest.
    pub fn leave_by_libvirt(&self, number: u32, text: &str) {
        self.file(&format!("run/libvirt/hostdevmgr/enp2s0f0_vf{number}"), text);
    }

    /// Somebody sets something for a function.
    pub fn put_setting(&self, number: u32, setting: Setting) {
        self.kernel.seen.lock().unwrap().settings.insert(number, setting);
    }

    /// Somebody gave a device to another driver.
    pub fn bind(&self, device: &str, driver: &str) {
        self.kernel.load(driver);
        let own = self.root().join("sys/bus/pci/devices").join(device);
        let _ = fs::remove_file(own.join("driver"));
        self.kernel.bind(device, driver);
        fs::write(own.join("driver_override"), driver).unwrap();
        self.log();
    }

    /// What a descriptor is of, below the root.
    pub fn path_of(&self, fd: &OwnedFd) -> String {
        let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        path.strip_prefix(self.root()).unwrap().display().to_string()
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.root().join(to), path).unwrap();
    }

    fn config(&self, device: &str, kind: u8) {
        let mut config = [0; 64];
        config[0x0e] = kind;
        self.file(&format!("sys/bus/pci/devices/{device}/config"), config);
    }
}

impl Fake {
    fn act(&self, line: &str) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.acts += 1;
        let failing = seen.failing > 0;
        if failing && (seen.acts == seen.failing || (seen.dying && seen.acts > seen.failing)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        seen.log += line;
        seen.log += "\n";
        Ok(())
    }

    fn below(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap().display().to_string()
    }

    fn device(&self, device: &str) -> PathBuf {
        self.root.join("sys/bus/pci/devices").join(device)
    }

    fn bind(&self, device: &str, driver: &str) {
        symlink(self.root.join("sys/bus/pci/drivers").join(driver), self.device(device).join("driver"))
            .unwrap();
        if driver == "vfio-pci" {
            fs::create_dir_all(self.root.join("dev/vfio")).unwrap();
            fs::write(self.group_node(device), "").unwrap();
        }
    }

    fn group_node(&self, device: &str) -> PathBuf {
        let group = GROUPS.iter().find(|(member, _)| *member == device).unwrap().1;
        self.root.join(format!("dev/vfio/{group}"))
    }

    /// Whether this driver may have the device.
    fn may(&self, device: &str, driver: &str) -> bool {
        let preferred = fs::read_to_string(self.device(device).join("driver_override")).unwrap();
        let own = OWN.contains(&(device, driver));
        preferred.trim() == driver || (preferred.trim() == "(null)" && own)
    }
}

impl Kernel for Fake {
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let shown = if text == "\n" { "\"\\n\"" } else { text };
        self.act(&format!("write {}: {shown}", self.below(path)))?;
        let parent = path.parent().unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "driver_override" => {
                fs::write(path, if text == "\n" { "(null)\n".to_owned() } else { format!("{text}\n") })
            }
            "unbind" => {
                let stuck = self.seen.lock().unwrap().stuck.take();
                if let Some(stuck) = stuck {
                    stuck.wait();
                }
                // The device that is named, which must be this driver's.
                assert_eq!(parent, self.device(text).join("driver"));
                let driver = fs::read_link(parent)?;
                if driver.ends_with("vfio-pci") {
                    let node = self.group_node(text);
                    self.seen.lock().unwrap().owners.remove(&node);
                    let others = GROUPS.map(|(member, _)| member);
                    let others =
                        others.into_iter().filter(|other| *other != text && self.group_node(other) == node);
                    let is_last = others
                        .filter_map(|other| fs::read_link(self.device(other).join("driver")).ok())
                        .all(|other| !other.ends_with("vfio-pci"));
                    if is_last {
                        fs::remove_file(node)?;
                    }
                }
                fs::remove_file(parent)
            }
            "bind" => {
                let driver = parent.file_name().unwrap().to_str().unwrap();
                let is_free = !self.device(text).join("driver").exists();
                if !is_free || !self.may(text, driver) {
                    return Err(io::Error::from_raw_os_error(19));
                }
                self.bind(text, driver);
                Ok(())
            }
            "drivers_probe" => {
                let all = fs::read_dir(self.root.join("sys/bus/pci/drivers"))?.flatten();
                let mut names = all.filter_map(|driver| driver.file_name().into_string().ok());
                let driver = names.find(|driver| self.may(text, driver));
                if let Some(driver) = driver.filter(|_| !self.device(text).join("driver").exists()) {
                    self.bind(text, &driver);
                }
                Ok(())
            }
            other => panic!("nobody writes to {other}"),
        }
    }

    fn load(&self, module: &str) {
        self.seen.lock().unwrap().log += &format!("load {module}\n");
        if module == "vfio-pci" {
            fs::create_dir_all(self.root.join("sys/bus/pci/drivers/vfio-pci")).unwrap();
        }
    }

    fn settle(&self) {
        self.seen.lock().unwrap().log += "settle\n";
    }

    fn give(&self, path: &Path, owner: (u32, u32)) -> io::Result<()> {
        self.act(&format!("give {}: {}:{}", self.below(path), owner.0, owner.1))?;
        self.seen.lock().unwrap().owners.insert(path.to_owned(), owner);
        Ok(())
    }

    fn function(&self, card: &str, number: u32) -> io::Result<(bool, Setting)> {
        assert_eq!(card, "enp2s0f0");
        let seen = self.seen.lock().unwrap();
        let setting = seen.settings.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok((!seen.is_off, *setting))
    }

    fn set_address(&self, card: &str, number: u32, mac: MacAddr) -> io::Result<()> {
        self.act(&format!("{card} vf {number} mac {mac}"))?;
        // As some drivers do.
        if mac == MacAddr::default() && number == 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.seen.lock().unwrap().settings.get_mut(&number).unwrap().mac = mac;
        Ok(())
    }

    fn set_vlan(&self, card: &str, number: u32, vlan: u32, priority: u32) -> io::Result<()> {
        self.act(&format!("{card} vf {number} vlan {vlan} qos {priority}"))?;
        let mut seen = self.seen.lock().unwrap();
        let setting = seen.settings.get_mut(&number).unwrap();
        (setting.vlan, setting.priority) = (vlan, priority);
        Ok(())
    }

    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd> {
        let user = user.map(|user| user.uid);
        self.seen.lock().unwrap().log += &format!("node {} of {major} for {user:?}\n", self.below(path));
        Ok(fs::OpenOptions::new().read(true).write(true).open(path)?.into())
    }
}
