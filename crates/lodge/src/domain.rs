//! virsh's verbs on domains, with virsh's options, texts, columns and exit code 1.
//!
//! One file per family. The texts and columns were compared with `virsh -c test:///default`. Where virsh has more
//! options than stand here, the option is unknown to us and says so: none is taken and ignored.

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::session::Session;

mod addresses;
mod attach;
mod blocks;
mod console;
mod devices;
mod disk;
mod documents;
mod edit;
mod explain;
mod facts;
mod guest;
mod keys;
mod list;
mod nic;
mod power;
mod said;
mod save;
mod scope;
mod stats;
mod tune;
mod undefine;

pub use console::attach;
pub use edit::{Document, read_file};
pub use undefine::would_go;

/// virsh's verbs on domains.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// list domains
    List(list::List),
    /// domain information in XML
    Dumpxml(documents::Dumpxml),
    /// define (but don't start) a domain from an XML file
    Define(documents::Define),
    /// create a domain from an XML file
    Create(documents::Create),
    /// edit XML configuration for a domain
    Edit(edit::Edit),
    /// show or set domain's description or title
    Desc(said::Desc),
    /// show or set domain's custom XML metadata
    Metadata(said::Metadata),
    /// rename a domain
    Domrename(said::Domrename),
    /// undefine a domain
    Undefine(undefine::Undefine),
    /// start a (previously defined) inactive domain
    Start(power::Start),
    /// destroy (stop) a domain
    Destroy(power::Destroy),
    /// gracefully shutdown a domain
    Shutdown(power::Shutdown),
    /// reboot a domain
    Reboot(power::Reboot),
    /// reset a domain
    Reset(Dom),
    /// suspend a domain
    Suspend(Dom),
    /// resume a domain
    Resume(Dom),
    /// autostart a domain
    Autostart(power::Autostart),
    /// save a domain state to a file
    Save(save::Save),
    /// restore a domain from a saved state in a file
    Restore(save::Restore),
    /// managed save of a domain state
    Managedsave(save::ManagedSave),
    /// Remove managed save of a domain
    ManagedsaveRemove(Dom),
    /// migrate domain to another host (not yet)
    Migrate(power::Migrate),
    /// convert a domain name or UUID to domain id
    Domid(Dom),
    /// convert a domain name or id to domain UUID
    Domuuid(Dom),
    /// convert a domain id or UUID to domain name
    Domname(Dom),
    /// domain information
    Dominfo(Dom),
    /// domain state
    Domstate(facts::Domstate),
    /// list all domain blocks
    Domblklist(devices::Domblklist),
    /// domain block device size information
    Domblkinfo(blocks::Domblkinfo),
    /// which element of a domain's document became which argument of QEMU's
    Explain(explain::Explain),
    /// Show errors on block devices
    Domblkerror(Dom),
    /// set the threshold for block-threshold event for a given block device or it's backing chain element
    Domblkthreshold(blocks::Domblkthreshold),
    /// Start a block commit operation.
    Blockcommit(blocks::Blockcommit),
    /// Start a block copy operation.
    Blockcopy(blocks::Blockcopy),
    /// Manage active block operations
    Blockjob(blocks::Blockjob),
    /// Populate a disk from its backing image.
    Blockpull(blocks::Blockpull),
    /// Resize block device of domain.
    Blockresize(blocks::Blockresize),
    /// list all domain virtual interfaces
    Domiflist(devices::Domiflist),
    /// Get network interfaces' addresses for a running domain
    Domifaddr(addresses::Domifaddr),
    /// connect to the guest console
    Console(console::Console),
    /// Send keycodes to the guest
    SendKey(guest::SendKey),
    /// take a screenshot of a current domain console and store it into a file
    Screenshot(guest::Screenshot),
    /// domain time
    Domtime(guest::Domtime),
    /// attach device from an XML file
    AttachDevice(attach::Device),
    /// detach device from an XML file
    DetachDevice(attach::Device),
    /// update device from an XML file
    UpdateDevice(attach::Update),
    /// attach disk device
    AttachDisk(Box<disk::AttachDisk>),
    /// detach disk device
    DetachDisk(disk::DetachDisk),
    /// attach network interface
    AttachInterface(Box<nic::AttachInterface>),
    /// detach network interface
    DetachInterface(nic::DetachInterface),
    /// Change media of CD or floppy drive
    ChangeMedia(disk::ChangeMedia),
    /// change memory allocation
    Setmem(tune::Setmem),
    /// change maximum memory limit
    Setmaxmem(tune::Setmaxmem),
    /// change number of virtual CPUs
    Setvcpus(tune::Setvcpus),
    /// detailed domain vcpu information
    Vcpuinfo(tune::Vcpuinfo),
    /// show/set scheduler parameters
    Schedinfo(tune::Schedinfo),
    /// get statistics about one or multiple domains
    Domstats(stats::Domstats),
    /// get memory statistics for a domain
    Dommemstat(stats::Dommemstat),
    /// get device block stats for a domain
    Domblkstat(stats::Domblkstat),
    /// get network interface stats for a domain
    Domifstat(stats::Domifstat),
    /// show domain cpu statistics
    CpuStats(stats::CpuStats),
}

/// A domain, and nothing else.
#[derive(Debug, Args)]
pub struct Dom {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    pub domain: String,
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::List(verb) => verb.run(session).await,
        Verb::Dumpxml(verb) => verb.run(session).await,
        Verb::Define(verb) => verb.run(session).await,
        Verb::Create(verb) => verb.run(session).await,
        Verb::Edit(verb) => verb.run(session).await,
        Verb::Desc(verb) => verb.run(session).await,
        Verb::Metadata(verb) => verb.run(session).await,
        Verb::Domrename(verb) => verb.run(session).await,
        Verb::Undefine(verb) => verb.run(session).await,
        Verb::Start(verb) => verb.run(session).await,
        Verb::Destroy(verb) => verb.run(session).await,
        Verb::Shutdown(verb) => verb.run(session).await,
        Verb::Reboot(verb) => verb.run(session).await,
        Verb::Reset(dom) => power::reset(&dom.domain, session).await,
        Verb::Suspend(dom) => power::suspend(&dom.domain, session).await,
        Verb::Resume(dom) => power::resume(&dom.domain, session).await,
        Verb::Autostart(verb) => verb.run(session).await,
        Verb::Save(verb) => verb.run(session).await,
        Verb::Restore(verb) => verb.run(session).await,
        Verb::Managedsave(verb) => verb.run(session).await,
        Verb::ManagedsaveRemove(dom) => save::remove_managed(&dom.domain, session).await,
        Verb::Migrate(verb) => verb.run(),
        Verb::Domid(dom) => facts::domid(&dom.domain, session).await,
        Verb::Domuuid(dom) => facts::domuuid(&dom.domain, session).await,
        Verb::Domname(dom) => facts::domname(&dom.domain, session).await,
        Verb::Dominfo(dom) => facts::dominfo(&dom.domain, session).await,
        Verb::Domstate(verb) => verb.run(session).await,
        Verb::Explain(verb) => verb.run(session).await,
        Verb::Domblklist(verb) => verb.run(session).await,
        Verb::Domblkinfo(verb) => verb.run(session).await,
        Verb::Domblkerror(dom) => blocks::domblkerror(&dom.domain, session).await,
        Verb::Domblkthreshold(verb) => verb.run(session).await,
        Verb::Blockcommit(verb) => verb.run(session).await,
        Verb::Blockcopy(verb) => verb.run(session).await,
        Verb::Blockjob(verb) => verb.run(session).await,
        Verb::Blockpull(verb) => verb.run(session).await,
        Verb::Blockresize(verb) => verb.run(session).await,
        Verb::Domiflist(verb) => verb.run(session).await,
        Verb::Domifaddr(verb) => verb.run(session).await,
        Verb::Console(verb) => verb.run(session).await,
        Verb::SendKey(verb) => verb.run(session).await,
        Verb::Screenshot(verb) => verb.run(session).await,
        Verb::Domtime(verb) => verb.run(session).await,
        Verb::AttachDevice(device) => attach::attach(device, session).await,
        Verb::DetachDevice(device) => attach::detach(device, session).await,
        Verb::UpdateDevice(verb) => attach::update(verb, session).await,
        Verb::AttachDisk(verb) => verb.run(session).await,
        Verb::DetachDisk(verb) => verb.run(session).await,
        Verb::AttachInterface(verb) => verb.run(session).await,
        Verb::DetachInterface(verb) => verb.run(session).await,
        Verb::ChangeMedia(verb) => verb.run(session).await,
        Verb::Setmem(verb) => verb.run(session).await,
        Verb::Setmaxmem(verb) => verb.run(session).await,
        Verb::Setvcpus(verb) => verb.run(session).await,
        Verb::Vcpuinfo(verb) => verb.run(session).await,
        Verb::Schedinfo(verb) => verb.run(session).await,
        Verb::Domstats(verb) => verb.run(session).await,
        Verb::Dommemstat(verb) => verb.run(session).await,
        Verb::Domblkstat(verb) => verb.run(session).await,
        Verb::Domifstat(verb) => verb.run(session).await,
        Verb::CpuStats(verb) => verb.run(session).await,
    }
}
