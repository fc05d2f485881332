//! A place where both daemons are the host's own, one after the other: private mounts, network and processes.
//!
//! Guests are boot sectors that count on their serial port, some 18 numbers a second: whoever reads there knows
//! whether the guest went on, stood still or began anew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lodge_tests::{host::finish, host::lodge_program, skip};

const PATIENCE: Duration = Duration::from_mins(1);

/// Ends when the test's process does; reaps what is orphaned in it, as a host's first process does.
const SCRIPT: &str = r#"
set -e
for d in /run /var/lib /var/log /var/cache /dev/shm; do mount -t tmpfs none $d; done
mkdir -p /run/libvirt /var/lib/libvirt/images /var/log/libvirt /var/cache/libvirt
cp -a /etc/libvirt "$1/etc"; mount --bind "$1/etc" /etc/libvirt
rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks /etc/libvirt/storage /etc/libvirt/secrets
printf 'user = "root"\ngroup = "root"\ncgroup_controllers = []\nsecurity_driver = "none"\n' >> /etc/libvirt/qemu.conf
ip link set lo up
touch "$1/ready"
while :; do sleep 1; done
"#;

/// The house. Dropped, it goes with all that runs in it.
pub struct House {
    directory: tempfile::TempDir,
    shell: Child,
    /// The first process in it, as the host numbers it.
    first: u32,
    lodge: PathBuf,
}

impl House {
    /// Builds one; `None`, having said why, where that is not possible here.
    pub fn new() -> Result<Option<Self>> {
        for program in ["libvirtd", "virtlogd", "virsh", "dnsmasq", "nsenter", "iptables"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output()?;
            if !found.status.success() {
                skip(&format!("there is no {program} to move from"));
                return Ok(None);
            }
        }
        let directory = tempfile::Builder::new().prefix("lodge-house-").tempdir_in("/tmp")?;
        let shell = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "private", "bash", "-c", SCRIPT, "house"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot run `unshare`")?;
        let mut house = Self { directory, shell, first: 0, lodge: lodge_program()? };
        house.wait("the house is ready", |house| Ok(house.directory.path().join("ready").exists()))?;
        let children = format!("/proc/{0}/task/{0}/children", house.shell.id());
        house.first =
            fs::read_to_string(children)?.trim().parse().context("the house has no first process")?;
        Ok(Some(house))
    }

    /// A directory that is the same inside and outside.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a shell's line in it; what it printed.
    pub fn sh(&self, line: &str) -> Result<String> {
        let done = self.run(line)?.ok()?;
        Ok(done.stdout)
    }

    /// The same, however it ended.
    pub fn run(&self, line: &str) -> Result<lodge_tests::Done> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first.to_string(), "-m", "-n", "-p", "bash", "-c"]);
        let program = self.lodge.display();
        command.arg(format!("lodge() {{ '{program}' \"$@\"; }}\n{line}"));
        command.env("HOME", self.path());
        finish(&mut command, PATIENCE, line)
    }

    /// Waits until `done` says so.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self)? {
            if let Some(status) = self.shell.try_wait()? {
                bail!("the house ended with {status}");
            }
            ensure!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts libvirtd, and virtlogd if it does not run yet.
    pub fn start_libvirtd(&mut self) -> Result<()> {
        let directory = self.path().display().to_string();
        self.sh(&format!(
            "cd /
             if ! pgrep -x virtlogd > /dev/null; then setsid virtlogd < /dev/null > /dev/null 2>&1 & fi
             setsid libvirtd < /dev/null > {directory}/libvirtd.log 2>&1 & true"
        ))?;
        self.wait("libvirtd answers", |house| {
            Ok(house.run("virsh -q version > /dev/null 2>&1")?.status.success())
        })
    }

    /// Starts a daemon of ours without a root: the host's own.
    pub fn start_lodge(&mut self) -> Result<()> {
        self.spawn_lodge()?;
        self.wait("lodge answers", |house| Ok(house.run("lodge version > /dev/null 2>&1")?.status.success()))
    }

    /// The same, without waiting for it.
    pub fn spawn_lodge(&self) -> Result<()> {
        let (program, log) = (self.lodge.display(), self.path().join("lodge.log"));
        self.sh(&format!(
            "cd /; setsid '{program}' daemon < /dev/null >> {0} 2>&1 & echo $! > {0}.pid",
            log.display()
        ))?;
        Ok(())
    }

    /// Ends a daemon by a signal and waits for its end. libvirtd gives its own workers 30 s before it leaves without
    /// them, so whoever waits for it waits longer.
    pub fn stop(&mut self, which: Daemon, signal: &str) -> Result<()> {
        let pid = match which {
            Daemon::Libvirtd => "/run/libvirt/qemu/driver.pid".to_owned(),
            Daemon::Lodge => self.path().join("lodge.log.pid").display().to_string(),
        };
        self.sh(&format!(
            "pid=$(cat {pid}); kill -{signal} $pid || exit 1
             for try in $(seq 500); do [ -d /proc/$pid ] || exit 0; sleep 0.1; done
             echo \"$pid still runs after a SIG{signal}\" >&2; exit 1"
        ))?;
        Ok(())
    }

    /// The number that the guest on this pty printed last.
    pub fn counter(&self, pty: &str) -> Result<u32> {
        let text = self.sh(&format!("timeout 1 cat {pty} | tail -c 100"))?;
        let whole = text.lines().rev().find(|line| line.len() == 8);
        let whole = whole.with_context(|| format!("the guest on {pty} says nothing: {text:?}"))?;
        Ok(u32::from_str_radix(whole, 16)?)
    }

    /// The pty of a guest's serial port.
    pub fn pty(&self, guest: &str) -> Result<String> {
        let text = self.sh(&format!("cat /run/libvirt/qemu/{guest}.xml"))?;
        let (_, rest) = text.split_once("<source path='/dev/pts/").context("no pty")?;
        Ok(format!("/dev/pts/{}", rest.split_once('\'').context("no pty")?.0))
    }

    /// The process of a guest's QEMU, as libvirt's file says.
    pub fn qemu(&self, guest: &str) -> Result<String> {
        Ok(self.sh(&format!("cat /run/libvirt/qemu/{guest}.pid"))?.trim().to_owned())
    }

    /// Makes the counting disk and an overlay, and the document of a guest with them.
    pub fn guest(&self, name: &str, last: u8) -> Result<String> {
        fs::write(self.path().join("counter.img"), lodge_tests::counter::disk(1 << 20))?;
        let images = "/var/lib/libvirt/images";
        self.sh(&format!(
            "cp {0}/counter.img {images}/{name}.img
             [ -e {images}/base.qcow2 ] || qemu-img create -q -f qcow2 {images}/base.qcow2 16M
             qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 {images}/{name}-data.qcow2",
            self.path().display()
        ))?;
        let document = DOCUMENT.replace("NAME", name).replace("LAST", &format!("{last:02}"));
        let path = self.path().join(format!("{name}.xml"));
        fs::write(&path, document)?;
        Ok(path.display().to_string())
    }

    /// What both daemons said; for a test that panicked or is looked into (`LODGE_TEST_LOGS=1`).
    pub fn tell_logs(&self) {
        for log in ["lodge.log", "libvirtd.log"] {
            let text = fs::read_to_string(self.path().join(log)).unwrap_or_default();
            eprintln!("── {log}\n{text}");
        }
    }
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// The peer.
    Libvirtd,
    /// Ours.
    Lodge,
}

/// What has a cgroup of ours in the host's tree, which the house does not hide.
const IDS: [&str; 4] = [
    "guests/11111111-2222-4333-8444-5555555555",
    "networks/6a1fb0c5-7d4b-4d0f-a3a4-1c1e1e4d5d",
    "guests/21111111-2222-4333-8444-5555555555",
    "networks/7a1fb0c5-7d4b-4d0f-a3a4-1c1e1e4d5d",
];

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("LODGE_TEST_LOGS").is_some() {
            self.tell_logs();
        }
        drop(self.shell.kill());
        drop(self.shell.wait());
        let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok);
        for root in roots.map(|root| root.path()).chain([PathBuf::from("/sys/fs/cgroup")]) {
            for number in 0..100 {
                for id in IDS {
                    drop(fs::remove_dir(root.join(format!("lodge/system/{id}{number:02}"))));
                }
            }
        }
    }
}

/// libvirt's own default network, as Debian's package defines it.
pub const NETWORK: &str = "<network>
  <name>default</name>
  <uuid>6a1fb0c5-7d4b-4d0f-a3a4-1c1e1e4d5d01</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
";

const DOCUMENT: &str = "<domain type='qemu'>
  <name>NAME</name>
  <uuid>11111111-2222-4333-8444-5555555555LAST</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/NAME.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/NAME-data.qcow2'/>
      <target dev='sda' bus='sata'/>
    </disk>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='12' model='pcie-root-port'/>
    <interface type='network'>
      <mac address='52:54:00:11:22:LAST'/>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1' autoport='yes'/>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
";
