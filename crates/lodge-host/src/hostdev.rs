//! Devices of the host's that guests get: found by what a document says of them, given to one guest at a time, and
//! given back.
//!
//! ```text
//!  document ─▶ find (reads sysfs) ─▶ reserve (taken) ─▶ note ─▶ bind, give ─▶ open ─▶ Claimed, for QEMU
//!                                                         └──────────── release: undoes what the note tells of
//! ```
//!
//! Note, then act: a PCI device's driver and a node's owner are on disk before they are changed, so whatever ends the
//! daemon, the next one gives back. Both directions may run twice. The host's own nodes keep their owners but for
//! VFIO's groups: all others are opened here, or reached by a node of the guest's own (`lodge_sys::device`).
//! Deliberately absent: plugging devices into a running guest.

mod adopt;
mod bind;
mod by_hand;
mod claim;
mod error;
mod find;
mod function;
mod kernel;
mod note;
mod pci;
mod release;
mod scsi;
mod taken;
#[cfg(test)]
mod tests;
mod usb;
mod watch;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::address::PciAddress;
use lodge_model::domain::disk::SourceKind;
use lodge_model::domain::graphics::{Graphics, InputKind};
use lodge_model::domain::interface::InterfaceKind;
use lodge_model::domain::tpm::TpmBackendKind;

pub use error::{Fault, HostdevError};

use find::Found;
use kernel::{Kernel, Linux};
use note::Note;
use taken::{Key, Taken, Wish};
use watch::{Underway, Watched};

/// How long all of one guest's devices may take: less than the guest's end waits, so that what is stuck is named.
const PATIENCE: Duration = Duration::from_secs(50);

/// Whom a guest's QEMU runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// From nothing.
    Fresh,
    /// From saved memory: the guest has seen its devices already.
    FromMemory,
}

/// A device that a guest has now.
#[derive(Debug)]
pub struct Claimed {
    /// The element's alias.
    pub alias: String,
    /// How QEMU gets it.
    pub gift: Gift,
}

/// How QEMU gets a device.
#[derive(Debug)]
pub enum Gift {
    /// USB: its node, open for both, and where it was found.
    Usb {
        /// Its node.
        fd: OwnedFd,
        /// The bus.
        bus: u32,
        /// Its number there.
        device: u32,
    },
    /// Open for both (vhost-scsi); or a node that QEMU opens by `/proc/self/fd/N` (SCSI units, event devices).
    Opened(OwnedFd),
    /// VFIO has it, and QEMU's user may ask for it.
    Vfio {
        /// It was taken from a driver of the host's, or from none, and is given back.
        taken: bool,
    },
    /// The host's TPM.
    Tpm {
        /// It, open for both.
        device: OwnedFd,
        /// What cancels its work, open for writing.
        cancel: OwnedFd,
    },
    /// The guest's memory can be kept from this host.
    Security {
        /// What AMD's is asked by: a node that QEMU opens by `/proc/self/fd/N`.
        device: Option<OwnedFd>,
        /// AMD's: where the bit of encryption is, and how many bits of addresses it costs.
        bit: Option<(u32, u32)>,
    },
    /// It is not there, which the document lets be.
    Missing,
}

/// Who has which device of the host's. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Hostdevs {
    inner: Arc<Inner>,
}

struct Inner {
    /// Above `sys` and `dev`: `/`, or a tree made for a test.
    root: PathBuf,
    /// The directory of notes.
    notes: PathBuf,
    /// Which boot of the host this is.
    boot: String,
    kernel: Box<dyn Kernel>,
    patience: Duration,
    taken: Mutex<Taken>,
    /// One act at a time on each guest's devices.
    acts: Mutex<BTreeMap<DomainId, Arc<Acts>>>,
    /// What they are at.
    underway: Underway,
}

/// The acts on one guest's devices.
#[derive(Debug, Default)]
struct Acts {
    turn: Mutex<()>,
    /// How many claims there were: what gives back comes too late if there was one since it was asked for.
    claims: AtomicU64,
}

/// What one claim is about.
struct Ask {
    domain: DomainId,
    document: Domain,
    user: Option<User>,
    begin: Begin,
}

impl Hostdevs {
    /// The host's, with what earlier daemons noted in the directory `notes`.
    pub fn open(notes: PathBuf) -> Self {
        let boot = lodge_sys::process::boot_id().unwrap_or_default();
        Self::at(PathBuf::from("/"), notes, boot, Box::new(Linux))
    }

    fn at(root: PathBuf, notes: PathBuf, boot: String, kernel: Box<dyn Kernel>) -> Self {
        let mut taken = Taken::default();
        for note in Note::all(&notes).iter().filter(|note| note.boot == boot) {
            taken.put(note.domain, &note.name, &note.wishes);
        }
        let (taken, acts, underway) = (Mutex::new(taken), Mutex::default(), Underway::default());
        let patience = PATIENCE;
        Self { inner: Arc::new(Inner { root, notes, boot, kernel, patience, taken, acts, underway }) }
    }

    /// Gives `domain` all that `document`, whose devices have aliases, asks for; all or nothing. May be done again.
    pub async fn claim(
        &self,
        domain: DomainId,
        document: &Domain,
        user: Option<User>,
        begin: Begin,
    ) -> Result<Vec<Claimed>, HostdevError> {
        if !asks(document) {
            return Ok(Vec::new());
        }
        let ask = Ask { domain, document: document.clone(), user, begin };
        let (inner, acts) = (Arc::clone(&self.inner), self.inner.acts_of(domain));
        let alive = Alive::default();
        let wanted = Arc::clone(&alive.0);
        let claim = blocking(move || {
            let _one_at_a_time = lock(&acts.turn);
            // Who asked may have given up: what he had is given back already, and nobody would do it again.
            if !wanted.load(Ordering::Acquire) {
                return Ok(Vec::new());
            }
            acts.claims.fetch_add(1, Ordering::AcqRel);
            inner.claim(&ask)
        });
        self.inner.in_time(domain, claim).await
    }

    /// A running guest was taken over: what `document` (live) names is in use. `taken`: aliases of what a libvirt daemon
    /// had taken from the host's drivers.
    pub async fn adopt(
        &self,
        domain: DomainId,
        document: &Domain,
        taken: &[String],
    ) -> Result<(), HostdevError> {
        if !asks(document) {
            return Ok(());
        }
        let (inner, document, taken) = (Arc::clone(&self.inner), document.clone(), taken.to_vec());
        self.inner.in_time(domain, blocking(move || inner.adopt(domain, &document, &taken))).await
    }

    /// Gives all that `domain` has back to the host. Nothing to give is no error.
    pub async fn release(&self, domain: DomainId) -> Result<(), HostdevError> {
        // A claim that was given up may be at work still: it is waited for.
        if !lock(&self.inner.taken).has(domain) && !lock(&self.inner.acts).contains_key(&domain) {
            return Ok(());
        }
        self.give_back(domain).await
    }

    async fn give_back(&self, domain: DomainId) -> Result<(), HostdevError> {
        let (inner, acts) = (Arc::clone(&self.inner), self.inner.acts_of(domain));
        let asked = acts.claims.load(Ordering::Acquire);
        self.inner.in_time(domain, blocking(move || inner.release(domain, acts, asked))).await
    }

    /// The virtual functions of the network card with this interface, in its order.
    pub fn functions_of(&self, card: &str) -> Vec<PciAddress> {
        function::all_of(&self.inner.root, card)
    }

    /// Whether `domain` may have a PCI device: it is there, and no other guest has it.
    pub fn is_free(&self, domain: DomainId, address: &PciAddress) -> bool {
        let device = pci::text_of(address);
        let is_there = pci::directory(&self.inner.root, &device).exists();
        let wish = Wish { key: Key::Pci(device), shareable: false };
        is_there && lock(&self.inner.taken).conflict(domain, &[wish]).is_none()
    }

    /// Gives back what guests had that are gone: `is_there` says of which something is left.
    pub async fn sweep(&self, is_there: impl Fn(DomainId) -> bool) {
        for note in Note::all(&self.inner.notes) {
            if is_there(note.domain) {
                continue;
            }
            let name = note.name;
            match self.give_back(note.domain).await {
                Ok(()) => tracing::info!(domain = name, "devices of a guest that is gone were given back"),
                Err(error) => {
                    tracing::error!(
                        domain = name,
                        error = &error as &dyn std::error::Error,
                        "devices of a guest that is gone were not given back"
                    );
                }
            }
        }
    }
}

/// Whether this host can give PCI devices to guests: the IOMMU is on, and VFIO is there.
pub fn has_vfio() -> bool {
    let groups = std::fs::read_dir("/sys/kernel/iommu_groups");
    groups.is_ok_and(|mut groups| groups.next().is_some()) && std::path::Path::new("/dev/vfio/vfio").exists()
}

/// Whether a document asks for anything of the host's.
fn asks(document: &Domain) -> bool {
    let devices = &document.devices;
    !devices.hostdevs.is_empty()
        || devices.graphics.iter().any(Graphics::needs_render_node)
        || devices.disks.iter().any(|disk| disk.kind == SourceKind::Nvme)
        || !document.launch_security.is_empty()
        || devices.interfaces.iter().any(|card| card.kind == InterfaceKind::Hostdev)
        || devices.inputs.iter().any(|input| matches!(input.kind, InputKind::Evdev | InputKind::Passthrough))
        || devices.tpms.iter().any(|tpm| tpm.backend.kind == TpmBackendKind::Passthrough)
}

/// Says to a claim that is still to begin whether anybody waits for it.
struct Alive(Arc<AtomicBool>);

impl Default for Alive {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("acts on devices do not panic")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of no element of a document.
fn own(fault: Fault) -> HostdevError {
    HostdevError { element: "/domain/devices".to_owned(), fault }
}

impl Inner {
    fn acts_of(&self, domain: DomainId) -> Arc<Acts> {
        Arc::clone(lock(&self.acts).entry(domain).or_default())
    }

    /// The kernel, for acts for one guest.
    fn kernel_for(&self, domain: DomainId) -> Watched<'_> {
        Watched { kernel: &*self.kernel, underway: &self.underway, domain }
    }

    /// Waits for an act, and says what it is at if it does not end. It is done all the same, once it can be.
    async fn in_time<T>(
        &self,
        domain: DomainId,
        act: impl Future<Output = Result<T, HostdevError>>,
    ) -> Result<T, HostdevError> {
        tokio::time::timeout(self.patience, act).await.unwrap_or_else(|_| {
            let what = self.underway.of(domain);
            Err(own(Fault::Stuck { what, seconds: self.patience.as_secs() }))
        })
    }

    /// The note of this boot, or a new one.
    fn note_of(&self, domain: DomainId, name: &str) -> Result<Note, HostdevError> {
        let fresh = || Note {
            domain,
            name: name.to_owned(),
            boot: self.boot.clone(),
            wishes: Vec::new(),
            rebound: Vec::new(),
            given: Vec::new(),
            functions: Vec::new(),
        };
        let read = Note::read(&self.notes, domain);
        let read = read.map_err(|source| own(Fault::Note { path: self.notes.clone(), source }))?;
        Ok(read.filter(|note| note.boot == self.boot).unwrap_or_else(fresh))
    }

    fn write(&self, note: &Note) -> Result<(), HostdevError> {
        note.write(&self.notes).map_err(|(path, source)| own(Fault::Note { path, source }))
    }
}

fn of(found: &Found, fault: Fault) -> HostdevError {
    HostdevError { element: found.element.clone(), fault }
}
