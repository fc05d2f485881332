//! A document as QEMU's arguments: a pure function.
//!
//! The layout, the ids and the order are libvirt's, so what people know of `ps` and of QEMU's logs stays true. Each
//! argument remembers the element it came from. What the document asks for and this code or this QEMU cannot give is
//! *refused with the element named*; nothing is ignored silently. Where another thing does the same for the guest
//! (VNC for SPICE, TCG for KVM) it is taken, with a warning.
//!
//! One file per group of elements; all write into one [`Builder`]. Deliberately absent: any look at the host.

#![expect(
    clippy::format_push_string,
    reason = "a start joins a few dozen words; `write!` adds results that cannot fail"
)]

mod alias;
mod audio;
mod builder;
mod chardev;
mod controller;
mod cpu;
mod crypto;
mod disk;
mod filesystem;
mod firmware;
mod hostdev;
mod input;
mod iommu;
mod lun;
mod machine;
mod memory;
mod module;
mod netdev;
mod nic;
mod numa;
mod props;
mod screen;
mod security;
mod seed;
mod served;
mod shmem;
mod small;
mod smartcard;
mod smbios;
mod sound;
mod stores;
mod stream;
mod time;
mod tpm;
mod unsupported;
mod usb;
mod vhost_user;
mod video;

use lodge_model::Kind;
use lodge_model::domain::Domain;

pub use self::alias::assign_aliases;
use self::builder::Builder;
pub(crate) use self::builder::{OWN, alias as alias_of};
pub use self::disk::{node_numbers, reopened_file, throttle};
pub use self::memory::memory_files;
pub use self::stream::{listeners, secure_streams, secured_streams};
use crate::capabilities::Capabilities;
use crate::claims::{Claims, FdNumber};

/// One argument: an option and its value, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `-device`.
    pub option: String,
    /// Its value, for those that have one.
    pub value: Option<String>,
    /// The element it came from, as `/domain/devices/disk[1]`; `lodge` for what every guest gets.
    pub element: String,
}

/// Something the user should know, although the guest starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The element.
    pub element: String,
    /// What is otherwise than written, and why.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.element, self.message)
    }
}

/// Something asked for that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The element.
    pub element: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All that was refused; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusals(pub Vec<Refused>);

impl std::fmt::Display for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, refused) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{}: {}", refused.element, refused.reason)?;
        }
        Ok(())
    }
}

impl Refusals {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        Kind::Unsupported
    }

    /// What to do about the first that has a remedy.
    pub fn hint(&self) -> Option<String> {
        self.0.iter().find_map(|refused| refused.hint.clone())
    }
}

/// A monitor command for between start and `cont`: what has no argument of its own.
#[derive(Clone, PartialEq)]
pub struct MonitorCommand {
    /// `set_link`.
    pub command: &'static str,
    /// Its arguments.
    pub arguments: serde_json::Value,
    /// The element it came from.
    pub element: String,
}

/// Without the arguments: a password may be among them.
impl std::fmt::Debug for MonitorCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} for {}", self.command, self.element)
    }
}

/// The arguments of one start, and what is to be told about them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandLine {
    /// In order.
    pub arguments: Vec<Argument>,
    /// Variables of QEMU's environment.
    pub environment: Vec<(String, String)>,
    /// To be done by [`launch`](crate::launch()) once the monitor answers.
    pub commands: Vec<MonitorCommand>,
    /// Descriptors that must bypass the host's page cache (`cache='none'`), with the disk's element: QEMU takes a
    /// descriptor only if its O_DIRECT is as the cache mode says. [`launch`](crate::launch()) sets it.
    pub direct: Vec<(FdNumber, String)>,
    /// Whether QEMU will lock the guest's memory, and so needs the right to.
    pub locks_memory: bool,
    /// Whether QEMU may pass on whatever command the guest sends to a device, and so needs the right to.
    pub passes_raw_commands: bool,
    /// For the user.
    pub warnings: Vec<Warning>,
}

impl CommandLine {
    /// The words, as exec takes them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .flat_map(|argument| [Some(argument.option.as_str()), argument.value.as_deref()])
            .flatten()
    }

    /// Which element became which argument, a line each: for people.
    pub fn explain(&self) -> String {
        let width = self.arguments.iter().map(|argument| argument.element.len()).max().unwrap_or(0);
        let line = |argument: &Argument| {
            let value = argument.value.as_deref().unwrap_or_default();
            format!("{:width$}  {} {value}", argument.element, argument.option).trim_end().to_owned() + "\n"
        };
        self.arguments.iter().map(line).collect()
    }
}

/// Makes the arguments for one start of `domain`.
///
/// Addresses that [`Domain::complete`] gives are taken as they are; a device without one gets its place from QEMU.
pub fn command_line(
    domain: &Domain,
    capabilities: &Capabilities,
    claims: &Claims,
) -> Result<CommandLine, Refusals> {
    let mut domain = domain.clone();
    assign_aliases(&mut domain);
    let mut builder = Builder::new(&domain, capabilities, claims);
    // libvirt's order.
    machine::identity(&mut builder);
    machine::machine(&mut builder);
    cpu::cpu(&mut builder);
    memory::memory(&mut builder);
    cpu::topology(&mut builder);
    machine::uuid(&mut builder);
    smbios::smbios(&mut builder);
    machine::monitor(&mut builder);
    time::clock(&mut builder);
    time::power(&mut builder);
    firmware::boot(&mut builder);
    iommu::iommu(&mut builder);
    controller::controllers(&mut builder);
    module::modules(&mut builder);
    disk::throttle_groups(&mut builder);
    disk::disks(&mut builder);
    filesystem::filesystems(&mut builder);
    nic::nics(&mut builder);
    smartcard::smartcards(&mut builder);
    chardev::ports(&mut builder);
    chardev::channels(&mut builder);
    tpm::tpms(&mut builder);
    input::inputs(&mut builder);
    screen::screens(&mut builder);
    video::videos(&mut builder);
    sound::sounds(&mut builder);
    small::watchdogs(&mut builder);
    usb::redirections(&mut builder);
    hostdev::hostdevs(&mut builder);
    small::others(&mut builder);
    shmem::shmems(&mut builder);
    crypto::cryptos(&mut builder);
    stores::stores(&mut builder);
    security::security(&mut builder);
    seed::seed(&mut builder);
    machine::last(&mut builder);
    unsupported::judge(&mut builder);
    builder.finish()
}

/// The arguments of the devices of `domain` alone: what [`plug`](crate::plug()) says to a running QEMU.
///
/// `domain` is the running guest's document with nothing among its devices but what is to be plugged in, with aliases
/// and addresses. Nodes of disks are numbered from `first_node` on.
pub fn device_arguments(
    domain: &Domain,
    capabilities: &Capabilities,
    claims: &Claims,
    first_node: usize,
) -> Result<CommandLine, Refusals> {
    let mut builder = Builder::new(domain, capabilities, claims);
    builder.nodes_from(first_node);
    controller::controllers(&mut builder);
    disk::disks(&mut builder);
    nic::nics(&mut builder);
    input::inputs(&mut builder);
    small::watchdogs(&mut builder);
    small::others(&mut builder);
    builder.finish()
}
