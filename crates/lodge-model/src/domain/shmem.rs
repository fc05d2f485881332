//! `<shmem>`: memory that guests share by its name.

use super::address::Place;
use super::size::Mib;
use crate::xml::words::{OnOff, words};
use crate::xml::{Foreign, Xml};

words! {
    /// Whether it moves with the guest.
    pub enum ShmemRole { Master = "master", Peer = "peer" }
}

/// `<shmem name='shared' role='peer'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Shmem {
    /// Its name on the host.
    #[xml(attr, required)]
    pub name: String,
    /// Whether it moves with the guest.
    #[xml(attr)]
    pub role: Option<ShmemRole>,
    /// `<model type='ivshmem-plain'/>`.
    #[xml(child)]
    pub model: Option<ShmemModel>,
    /// `<size unit='M'>4</size>`.
    #[xml(child)]
    pub size: Option<Mib>,
    /// `<server path='/tmp/socket-shmem'/>`.
    #[xml(child)]
    pub server: Option<ShmemServer>,
    /// `<msi vectors='32' ioeventfd='on'/>`.
    #[xml(child)]
    pub msi: Option<ShmemMsi>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of shared memory.
    pub enum ShmemModelKind { Ivshmem = "ivshmem", Plain = "ivshmem-plain", Doorbell = "ivshmem-doorbell" }
}

/// `<model type='ivshmem-plain'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ShmemModel {
    /// The sort.
    #[xml(attr = "type")]
    pub kind: ShmemModelKind,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<server path='/tmp/socket-shmem'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ShmemServer {
    /// Its socket.
    #[xml(attr)]
    pub path: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<msi vectors='32' ioeventfd='on'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ShmemMsi {
    /// How many interrupts.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// Whether doorbells are rung without leaving to QEMU.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Shmem {
    /// The sort; the first one if nothing is said.
    pub fn kind(&self) -> ShmemModelKind {
        self.model.as_ref().map_or(ShmemModelKind::Ivshmem, |model| model.kind)
    }
}
