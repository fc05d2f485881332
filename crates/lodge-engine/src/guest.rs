//! One domain as those see it who ask for its figures, and the door to changing it.
//!
//! A look reads the snapshot, the document, the kernel's files and QEMU's monitor; it asks no owner, so no act on the
//! guest delays it, and QEMU has a deadline. Refusals are libvirt's ([`Refusal`]). One file per topic.
//! Deliberately absent: any change: [`Engine::change_domain`] hands those to the domain's owner.

mod addresses;
mod agent;
mod block;
mod console;
mod figure;
mod input;
mod memory;
mod monitor;
mod process;
mod screen;
mod stats;
mod taint;
mod tune;
mod vcpu;

use std::sync::Arc;
use std::time::Duration;

use lodge_domain::control::{Change, Refusal};
use lodge_domain::{Digest, Handle, Snapshot};
use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_qemu::qmp::Monitor;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use addresses::Source;
pub(crate) use agent::Waits;
pub use agent::{GuestAgent, GuestVcpu, InfoTypes};
pub use block::{BlockFigures, BlockSize, Peek};
pub use console::Terminal;
pub use figure::{Figure, Value};
pub use memory::MemoryFigure;
pub use process::{CpuTimes, NicFigures};
pub use screen::Picture;
pub use stats::{Groups, Record};
pub(crate) use taint::Taints;
pub use vcpu::{IothreadView, VcpuView};

use crate::{Caller, Engine, error::Result};

/// How long QEMU may take to answer a look.
const PATIENCE: Duration = Duration::from_secs(2);

/// A look's result.
pub type Look<T> = std::result::Result<T, Refusal>;

/// One domain, to be looked at.
#[derive(Clone)]
pub struct Guest {
    pub(crate) engine: Engine,
    handle: Handle,
    snapshot: Arc<Snapshot>,
}

impl Engine {
    /// The domain with this UUID, to be looked at.
    pub fn guest(&self, _caller: &Caller, id: DomainId) -> Result<Guest> {
        Ok(self.look_at(self.domains.get(id)?))
    }

    pub(crate) fn look_at(&self, handle: Handle) -> Guest {
        Guest { engine: self.clone(), snapshot: handle.snapshot(), handle }
    }

    /// Changes the running guest, the definition, or both.
    #[crate::boxed]
    pub async fn change_domain(&self, caller: &Caller, id: DomainId, change: Change) -> Result<()> {
        caller.may_change()?;
        Ok(self.domains.get(id)?.change(change).await?)
    }
}

impl Guest {
    /// How it stood when the look began.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Its handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Refuses what needs a running guest.
    pub fn must_run(&self) -> Look<()> {
        if self.snapshot.is_active() { Ok(()) } else { Err(Refusal::not_running()) }
    }

    /// The document that counts now.
    pub fn document(&self) -> Look<Domain> {
        self.handle.document().map_err(|error| unreadable(&error))
    }

    /// The live document (`live`), or the definition.
    pub fn document_of(&self, live: bool) -> Look<Domain> {
        if live {
            self.must_run()?;
            return self.document();
        }
        let definition = self.handle.definition().map_err(|error| unreadable(&error))?;
        let transient = "transient domains do not have any persistent config";
        definition.ok_or_else(|| Refusal::invalid(transient).of_domain())
    }

    /// The document in short.
    pub fn digest(&self) -> Look<Arc<Digest>> {
        self.handle.digest().map_err(|error| unreadable(&error))
    }

    /// The monitor of the running guest, unless QEMU is known not to answer.
    pub fn monitor(&self) -> Look<Arc<Monitor>> {
        self.must_run()?;
        if self.snapshot.silent_since.is_some() {
            return Err(Refusal::internal("QEMU does not respond"));
        }
        self.handle.monitor().ok_or_else(|| Refusal::internal("QEMU's monitor is not connected"))
    }

    /// QEMU's answer to a question, in time.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, command: &str, arguments: impl Serialize) -> Look<A> {
        let monitor = self.monitor()?;
        monitor.execute_within(command, arguments, PATIENCE).await.map_err(Refusal::from)
    }

    /// QEMU's process.
    pub fn pid(&self) -> Look<u32> {
        self.snapshot.vmm.as_ref().map(|vmm| vmm.process.pid).ok_or_else(Refusal::not_running)
    }
}

fn unreadable(error: &lodge_domain::DomainError) -> Refusal {
    Refusal::internal(error.to_string())
}
