//! Why a guest does not get a device of the host's.

use std::io;
use std::path::PathBuf;

use lodge_model::Kind;

/// A device that a guest does not get. The words are libvirt's where it has some.
#[derive(Debug)]
pub struct HostdevError {
    /// The element that asks for it: `/domain/devices/hostdev[2]`; empty: a person does.
    pub element: String,
    /// What is in the way.
    pub fault: Fault,
}

/// What is in the way of a device.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The host does not have it.
    #[error("Did not find {what}")]
    Missing {
        /// The device.
        what: String,
    },
    /// The description fits several.
    #[error("Multiple USB devices for {what}, use <address> to specify one: {found}")]
    Ambiguous {
        /// `vendor:product`.
        what: String,
        /// Where they are.
        found: String,
    },
    /// The element does not say which.
    #[error("the source names no device: {what}")]
    Unnamed {
        /// What is missing.
        what: &'static str,
    },
    /// Another guest has it.
    #[error("{what} is in use by domain {by}")]
    Taken {
        /// The device.
        what: String,
        /// That guest's name.
        by: String,
    },
    /// The same document asks for it twice.
    #[error("{what} is in the document twice")]
    Twice {
        /// The device.
        what: String,
    },
    /// VFIO has no way to it.
    #[error("host doesn't support passthrough of host PCI devices: {what} is in no IOMMU group")]
    NoIommu {
        /// The device.
        what: String,
    },
    /// The host's drivers have others of its group.
    #[error("PCI device {device} cannot be given alone: IOMMU group {group} has {others}, too")]
    SharedGroup {
        /// The device.
        device: String,
        /// The group's number.
        group: u32,
        /// The others, each with its driver.
        others: String,
    },
    /// It is a bridge.
    #[error("Non-endpoint PCI devices cannot be assigned to guests: {device}")]
    NotEndpoint {
        /// The device.
        device: String,
    },
    /// It is the user's to free it, and it is not.
    #[error("Unmanaged PCI device {device} must be manually detached from the host: {driver} has it")]
    Unmanaged {
        /// The device.
        device: String,
        /// Who has it: `driver e1000`, `no driver`.
        driver: String,
    },
    /// The kernel lacks the driver.
    #[error("the host has no driver {driver}")]
    NoDriver {
        /// VFIO's.
        driver: String,
    },
    /// The kernel refused a change of driver.
    #[error("cannot give PCI device {device} to driver {driver}: `{}` could not be written", path.display())]
    Bind {
        /// The device.
        device: String,
        /// The driver that should have it.
        driver: String,
        /// What was written.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// All was written, and another has it.
    #[error("PCI device {device} was not taken by driver {driver}: {now} has it")]
    NotBound {
        /// The device.
        device: String,
        /// The driver that should have it.
        driver: String,
        /// Who has it.
        now: String,
    },
    /// It is no virtual function of a network card.
    #[error(
        "Interface type hostdev is currently supported on SR-IOV Virtual Functions only: {device} is none"
    )]
    NotVirtual {
        /// The device.
        device: String,
    },
    /// Its card has no interface, by which it could be told.
    #[error("the card of the virtual function {device} has no interface on this host")]
    NoCard {
        /// The virtual function.
        device: String,
    },
    /// Its card is switched off.
    #[error("Unable to configure VF {number} of PF '{card}' because the PF is not online")]
    CardOff {
        /// The card's interface.
        card: String,
        /// Which of its functions.
        number: u32,
    },
    /// Its card does not do it.
    #[error("cannot {act} virtual function {number} of card '{card}'")]
    Function {
        /// The act.
        act: &'static str,
        /// The card's interface.
        card: String,
        /// Which of its functions.
        number: u32,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No target of that name is there.
    #[error("Did not find the vhost-scsi target {wwpn}")]
    NoTarget {
        /// Its name.
        wwpn: String,
    },
    /// It cannot keep a guest's memory from itself.
    #[error("this host cannot give '{kind}' launch security: {lacks}")]
    NoSecurity {
        /// The kind.
        kind: &'static str,
        /// What is missing.
        lacks: String,
    },
    /// The host has nothing that could draw.
    #[error("No DRM render nodes available")]
    NoRenderNode,
    /// Its node.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The node.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The owner of its node.
    #[error("cannot give `{}` to the guest's user", path.display())]
    Give {
        /// The node.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel knows no way to reset it. libvirt's words.
    #[error("Unable to reset PCI device {device}: no FLR, PM reset or bus reset available")]
    NoReset {
        /// The device.
        device: String,
    },
    /// Its reset failed.
    #[error("Unable to reset PCI device {device}")]
    Reset {
        /// The device.
        device: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel, or a program that was asked, does not come back.
    #[error("{what} is not done after {seconds} s, and goes on beside")]
    Stuck {
        /// The act under way.
        what: String,
        /// How long was waited for all of it.
        seconds: u64,
    },
    /// What is to be given back could not be noted.
    #[error("cannot keep `{}`", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl std::fmt::Display for HostdevError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.element.is_empty() {
            return write!(f, "{}", self.fault);
        }
        write!(f, "{}: {}", self.element, self.fault)
    }
}

impl std::error::Error for HostdevError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

impl HostdevError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match &self.fault {
            Fault::Missing { .. } | Fault::NoTarget { .. } | Fault::NoRenderNode => Kind::NotFound,
            Fault::Ambiguous { .. } | Fault::Unnamed { .. } | Fault::Twice { .. } => Kind::InvalidInput,
            Fault::Taken { .. } | Fault::SharedGroup { .. } => Kind::Conflict,
            Fault::NoIommu { .. }
            | Fault::NotEndpoint { .. }
            | Fault::NoDriver { .. }
            | Fault::NoSecurity { .. }
            | Fault::NoReset { .. }
            | Fault::NotVirtual { .. } => Kind::Unsupported,
            Fault::Unmanaged { .. } | Fault::NoCard { .. } | Fault::CardOff { .. } => Kind::InvalidState,
            Fault::Open { source, .. } | Fault::Function { source, .. } => kind_of(source),
            Fault::Stuck { .. } => Kind::Unavailable,
            Fault::Bind { .. }
            | Fault::NotBound { .. }
            | Fault::Give { .. }
            | Fault::Reset { .. }
            | Fault::Note { .. } => Kind::Internal,
        }
    }

    /// What the kernel said, if it was asked.
    pub fn into_source(self) -> Option<io::Error> {
        match self.fault {
            Fault::Bind { source, .. }
            | Fault::Open { source, .. }
            | Fault::Give { source, .. }
            | Fault::Function { source, .. }
            | Fault::Reset { source, .. }
            | Fault::Note { source, .. } => Some(source),
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.fault {
            Fault::Missing { .. } => "`lsusb`, `lspci -D` and `lsscsi -g` list what the host has",
            Fault::Ambiguous { .. } | Fault::Unnamed { .. } | Fault::Twice { .. } | Fault::Note { .. } => {
                return None;
            }
            Fault::Taken { by, .. } => {
                return Some(format!("shut that guest off first: lodge shutdown {by}"));
            }
            Fault::NoIommu { .. } => {
                "turn the IOMMU on: VT-d or AMD-Vi in the firmware, and `intel_iommu=on` (Intel) on the kernel's command \
                 line; /sys/kernel/iommu_groups then has the groups"
            }
            Fault::SharedGroup { .. } => {
                "give the guest all of the group, or free the others of their drivers; address type='unassigned' takes a \
                 device from the host without giving it to the guest"
            }
            Fault::NotEndpoint { .. } => "name a device behind the bridge",
            Fault::Unmanaged { .. } => "use managed='yes', or bind the device to vfio-pci beforehand",
            Fault::NoDriver { driver } => {
                return Some(format!("load it: modprobe {driver} (the kernel needs CONFIG_VFIO_PCI)"));
            }
            Fault::Bind { .. } | Fault::NotBound { .. } | Fault::Reset { .. } => {
                "`dmesg` tells why the kernel refused"
            }
            Fault::NoReset { .. } => "give it back and load its driver anew, or reset the bus above it",
            Fault::NotVirtual { .. } => {
                "give the card by <hostdev mode='subsystem' type='pci'>, or make virtual functions: \
                 /sys/class/net/CARD/device/sriov_numvfs"
            }
            Fault::NoCard { .. } => "its driver must have the card itself: `lspci -Dk`",
            Fault::CardOff { card, .. } => {
                return Some(format!(
                    "switch it on in the host's network configuration, or: ip link set {card} up"
                ));
            }
            Fault::Function { .. } => {
                "`ip link show` of the card shows its virtual functions; `dmesg` may tell more"
            }
            Fault::NoTarget { .. } => "`targetcli` makes it: /vhost create",
            Fault::Open { path, source } if path.ends_with("dev/vhost-scsi") && is_missing(source) => {
                "load the module: modprobe vhost_scsi"
            }
            Fault::Open { source, .. }
                if source.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) =>
            {
                "another program has it open"
            }
            Fault::NoSecurity { .. } => {
                "turn it on in the firmware, and load KVM with it; `virsh domcapabilities` tells what a host has"
            }
            Fault::NoRenderNode => {
                "`ls /dev/dri` shows them: the kernel makes one for each graphics card that it has a driver for"
            }
            Fault::Open { path, source } if source.kind() == io::ErrorKind::InvalidInput => {
                if self.element.contains("/graphics[") {
                    return Some(format!("`{}` is none: name one as /dev/dri/renderD128", path.display()));
                }
                "name the node of such a device, as /dev/input/event1"
            }
            Fault::Open { .. } => "check that the device is there and that the daemon may open it",
            Fault::Give { .. } => "the daemon needs the right to change owners of files",
            Fault::Stuck { .. } => {
                "`dmesg` tells whom the kernel waits for; VFIO gives a device up once nobody has it open: fuser -v /dev/vfio/*"
            }
        };
        Some(hint.to_owned())
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::ResourceBusy => Kind::Conflict,
        io::ErrorKind::InvalidInput => Kind::InvalidInput,
        _ => Kind::Internal,
    }
}
