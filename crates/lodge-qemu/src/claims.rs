//! What the host side has resolved for one start of a guest: descriptors, ports, the accelerator.
//!
//! The command line is a pure function of document, capabilities and these. The descriptors themselves travel beside
//! it ([`Descriptors`]); here only their numbers stand, which stay the same from here through exec into QEMU.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use lodge_model::domain::disk::DiskSource;
use lodge_model::domain::os::Sysinfo;

/// The number of a descriptor that QEMU will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FdNumber(RawFd);

impl FdNumber {
    /// A number known beforehand; for tests and dry runs.
    pub const fn fixed(number: RawFd) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for FdNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The descriptors on their way into a QEMU. Dropping them takes back what was claimed.
#[derive(Debug, Default)]
pub struct Descriptors(pub(crate) Vec<OwnedFd>);

impl Descriptors {
    /// Takes `fd` along; its number is for the claims.
    pub fn pass(&mut self, fd: impl Into<OwnedFd>) -> FdNumber {
        let fd = fd.into();
        let number = FdNumber(fd.as_raw_fd());
        self.0.push(fd);
        number
    }

    /// A copy of the descriptor with this number.
    pub(crate) fn copy(&self, number: FdNumber) -> std::io::Result<OwnedFd> {
        let fd = self.0.iter().find(|fd| fd.as_raw_fd() == number.0);
        fd.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?.try_clone()
    }

    /// Makes reads and writes through `number` bypass the host's page cache.
    pub(crate) fn set_direct(&self, number: FdNumber) -> std::io::Result<()> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let fd = self.0.iter().find(|fd| fd.as_raw_fd() == number.0);
        let fd = fd.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
        Ok(fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::DIRECT)?)
    }
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One image of a disk's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where its bytes are.
    pub bytes: LinkBytes,
    /// `qcow2`, `raw`: as known, never guessed by QEMU.
    pub format: String,
    /// Whether QEMU may not write it.
    pub read_only: bool,
    /// A file that had all its blocks when it was opened: somebody gave them beforehand, and they stay.
    pub is_full: bool,
}

/// Where the bytes of an image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkBytes {
    /// A file that the daemon has opened: for reading only if the link is, otherwise for both: QEMU insists on the very
    /// mode.
    File(FdNumber),
    /// A block device, opened in the same way.
    Device(FdNumber),
    /// In a namespace of an NVMe controller of the host's, which QEMU drives itself by VFIO.
    Namespace {
        /// The controller's PCI address, `0000:01:00.0`.
        controller: String,
        /// The namespace's number.
        number: u64,
    },
    /// With a server, which QEMU itself asks.
    Served(Box<Served>),
}

/// An image that a server has, and what the daemon has prepared for the way there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// The document's `<source>`; with its `<auth>`, wherever the document has that.
    pub source: DiskSource,
    /// The login's secret: a file in memory, which QEMU reads by its number.
    pub login: Option<FdNumber>,
    /// The cookies, in the same way.
    pub cookies: Option<FdNumber>,
    /// A unix socket to the server, connected: QEMU's user may not open what the daemon may. Without one the path is
    /// taken.
    pub socket: Option<FdNumber>,
    /// The directory of the certificates for TLS, as QEMU can open it.
    pub certificates: Option<String>,
    /// What their key is opened with, in the way of the login's secret.
    pub passphrase: Option<FdNumber>,
}

impl Link {
    /// An image.
    pub fn new(bytes: LinkBytes, format: impl Into<String>, read_only: bool) -> Self {
        Self { bytes, format: format.into(), read_only, is_full: false }
    }

    /// A file.
    pub fn file(fd: FdNumber, format: &str, read_only: bool) -> Self {
        Self::new(LinkBytes::File(fd), format, read_only)
    }

    /// Whether it takes no more of the host than what is in it, and so is to give back what is not any more.
    pub(crate) fn is_thin(&self) -> bool {
        match (self.format.as_str(), &self.bytes) {
            ("qcow2", _) => true,
            ("raw", LinkBytes::File(_)) => !self.is_full,
            _ => false,
        }
    }
}

/// A disk's images, from the one the guest writes down to the last backing file. Empty: a drive without a medium.
pub type Chain = Vec<Link>;

/// One interface's way out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicClaim {
    /// One per queue pair.
    pub taps: Vec<FdNumber>,
    /// As many of `/dev/vhost-net`, or none.
    pub vhosts: Vec<FdNumber>,
    /// A vDPA device, opened for both.
    pub device: Option<FdNumber>,
}

/// A password, which is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Where a screen's server listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScreenClaim {
    /// The TCP port (VNC: from 5900 on), chosen and free; `None` if it listens on a socket only.
    pub port: Option<u16>,
    /// SPICE's TLS port.
    pub tls_port: Option<u16>,
    /// The directory of its certificates, as QEMU can open it. VNC that has one is served by TLS.
    pub certificates: Option<String>,
    /// What their key is opened with: a file in memory, which QEMU reads by its number.
    pub passphrase: Option<FdNumber>,
    /// VNC by TLS: viewers must show a certificate.
    pub verify: bool,
    /// What viewers say, where the document has no password.
    pub password: Option<Password>,
    /// Viewers log in by SASL.
    pub sasl: bool,
    /// Where SASL's settings are, if not where the host has them.
    pub sasl_dir: Option<String>,
    /// VNC over WebSocket: its port, chosen and free.
    pub websocket: Option<u16>,
    /// A unix socket's path instead of a port.
    pub socket: Option<String>,
    /// The file with the right to an X display, as QEMU can open it (SDL).
    pub x_authority: Option<String>,
}

/// What the guest boots directly, each opened for reading in a way that QEMU's user may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: Option<FdNumber>,
    /// Its initial disk.
    pub initrd: Option<FdNumber>,
    /// The device tree.
    pub dtb: Option<FdNumber>,
    /// What is between the firmware and the kernel, for Secure Boot.
    pub shim: Option<FdNumber>,
}

/// How a device of the host's is there for QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostdevClaim {
    /// USB: its node below /dev/bus/usb; vhost: /dev/vhost-scsi. SCSI: a node of its /dev/sg that QEMU's user may open,
    /// which it does by `/proc/self/fd/N`.
    Opened(FdNumber),
    /// PCI, mediated: VFIO has it, and QEMU's user may open its group.
    Ready,
}

/// How a guest's memory is kept from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecurityClaim {
    /// AMD's device: a node that QEMU's user may open.
    pub device: Option<FdNumber>,
    /// AMD's: where the bit of encryption is, and how many bits of addresses it costs.
    pub bit: Option<(u32, u32)>,
    /// The owner's certificate: a file in memory, which QEMU reads by its number.
    pub certificate: Option<FdNumber>,
    /// The owner's session, in the same way.
    pub session: Option<FdNumber>,
}

/// All that was resolved for one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Which accelerator.
    pub accelerator: Accelerator,
    /// If it is not the one the document asks for: why, for people.
    pub fallback_reason: Option<String>,
    /// The monitor's listening socket.
    pub monitor: FdNumber,
    /// Chains by the disk's target name (`vda`).
    pub disks: BTreeMap<String, Chain>,
    /// Passphrases of encrypted files by the disk's target name and the file's place in the disk's chain: each a file in
    /// memory, which QEMU reads by its number.
    pub passphrases: BTreeMap<(String, usize), FdNumber>,
    /// The home directory, as QEMU can open it, with the keys and known hosts of disks that come by SSH.
    pub ssh_home: Option<String>,
    /// One per `<interface>`, in the document's order.
    pub nics: Vec<NicClaim>,
    /// Listening sockets of unix character devices by alias: `channel0` (the agent's), `serial0` …; of a vhost-user
    /// interface that waits for its switch: `net0`.
    ///
    /// A unix channel without a path and without an entry here is refused.
    pub sockets: BTreeMap<String, FdNumber>,
    /// Log files of character devices by alias: `serial0`. Opened for appending.
    pub logs: BTreeMap<String, FdNumber>,
    /// Files that character devices of type `file` write to, by alias; the path itself is taken without.
    pub files: BTreeMap<String, FdNumber>,
    /// The directory of the certificates of streams that go by TLS, as QEMU can open it.
    pub stream_certificates: Option<String>,
    /// Whether a stream that listens by TLS wants a certificate of who connects.
    pub stream_verify: bool,
    /// What the key of those certificates is opened with: a file in memory, which QEMU reads by its number.
    pub stream_passphrase: Option<FdNumber>,
    /// One per `<graphics>`, in the document's order.
    pub screens: Vec<ScreenClaim>,
    /// The cloud-init seed, an ISO image, read-only: becomes a disk of Lodge's own, after the document's.
    pub seed: Option<FdNumber>,
    /// UEFI: the firmware's code, read-only.
    pub firmware: Option<Link>,
    /// UEFI: the guest's variables.
    pub nvram: Option<Link>,
    /// Kernel, initial disk and device tree; the paths themselves are taken without.
    pub boot: BootFiles,
    /// Connected sockets of helper processes by the device's alias: swtpm's control socket (`tpm0`), virtiofsd's (`fs0`),
    /// passt's and vhost-user switches' (`net0`).
    pub helpers: BTreeMap<String, FdNumber>,
    /// The host's TPM, and the file that cancels what it does.
    pub tpm: Option<(FdNumber, FdNumber)>,
    /// The host's devices by alias: `hostdev0`.
    pub hostdevs: BTreeMap<String, HostdevClaim>,
    /// Render nodes of the host's for screens, by `graphics` and the screen's place (`graphics0`): nodes that QEMU's user
    /// may open.
    pub render_nodes: BTreeMap<String, FdNumber>,
    /// The host's event devices of `<input>` by alias (`input0`): nodes that QEMU's user may open.
    pub inputs: BTreeMap<String, FdNumber>,
    /// What `<launchSecurity>` needs of the host.
    pub security: Option<SecurityClaim>,
    /// The file of `<pstore>`, opened for both in a way that QEMU's user may repeat.
    pub pstore: Option<FdNumber>,
    /// `/dev/vhost-vsock`, with the CID that was chosen.
    pub vsock: Option<(FdNumber, u32)>,
    /// A saved memory will come over the monitor: start with `-incoming defer`.
    pub incoming: bool,
    /// Seconds since 1970: for a clock that is set against the host's.
    pub now_unix_s: Option<i64>,
    /// Seconds that the host's own time is before UTC's: for a clock set against the host's local time.
    pub local_offset_s: Option<i32>,
    /// What the host's firmware says of the host, for guests that say the same.
    pub host_words: Option<Sysinfo>,
    /// Files for memory with `<source type='file'/>`, by the memory object's name: `pc.ram`, `ram-node0`. Empty and
    /// without a name of their own, and QEMU's user may open them again by their number.
    pub memory: BTreeMap<String, FdNumber>,
}

impl Claims {
    /// Claims of a guest without disks, nets and screens.
    pub fn new(accelerator: Accelerator, monitor: FdNumber) -> Self {
        Self {
            accelerator,
            fallback_reason: None,
            monitor,
            disks: BTreeMap::new(),
            passphrases: BTreeMap::new(),
            ssh_home: None,
            nics: Vec::new(),
            sockets: BTreeMap::new(),
            logs: BTreeMap::new(),
            files: BTreeMap::new(),
            stream_certificates: None,
            stream_verify: true,
            stream_passphrase: None,
            screens: Vec::new(),
            seed: None,
            firmware: None,
            nvram: None,
            boot: BootFiles::default(),
            helpers: BTreeMap::new(),
            tpm: None,
            hostdevs: BTreeMap::new(),
            render_nodes: BTreeMap::new(),
            inputs: BTreeMap::new(),
            security: None,
            pstore: None,
            vsock: None,
            incoming: false,
            now_unix_s: None,
            local_offset_s: None,
            host_words: None,
            memory: BTreeMap::new(),
        }
    }
}
