//! Changing a domain that is there: its running guest, its definition, or both.
//!
//! ```text
//!  control::memory::set(…) ──▶ Change ──▶ Handle::change ──▶ owner: scope ─┬─ config: edit · complete · check · keep
//!                                                                          └─ live: a job on monitor and document
//! ```
//!
//! A topic (a file each) says what it changes as a [`Change`]: an edit of the document, and an act on the running
//! guest. The owner decides by the [`Scope`] which of them happen, and in which order: the definition's edit is
//! judged first, then the guest is changed, then the definition is kept. So a refusal leaves both as they were.
//! Refusals have libvirt's sorts and words ([`Refusal`]), since people and programs read them.
//! Deliberately absent: numbers of any front, and what a change of state is (start, stop, save).

mod amend;
pub mod device;
mod filter;
mod heard;
pub mod lifecycle;
pub mod memory;
mod refusal;
mod running;
pub mod tune;
pub mod vcpu;

use std::pin::Pin;

use lodge_model::domain::Domain;

pub(crate) use amend::{LIVE, amend, running, take_live};
pub(crate) use heard::{Told, due, heard};
pub use refusal::{Refusal, Sort};
pub use running::Running;

/// Which of a domain's two documents a change is for. Neither: the one that counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scope {
    /// The running guest (`VIR_DOMAIN_AFFECT_LIVE`).
    pub live: bool,
    /// The definition (`VIR_DOMAIN_AFFECT_CONFIG`).
    pub config: bool,
}

impl Scope {
    /// The running guest only.
    pub const LIVE: Self = Self { live: true, config: false };
    /// The definition only.
    pub const CONFIG: Self = Self { live: false, config: true };

    /// Which it is for a domain in this state; libvirt's `virDomainObjUpdateModificationImpact`.
    pub fn resolve(self, active: bool, persistent: bool) -> Result<Self, Refusal> {
        let chosen = if self == Self::default() { Self { live: active, config: !active } } else { self };
        if chosen.live && !active {
            return Err(Refusal::not_running());
        }
        if chosen.config && !persistent {
            return Err(Refusal::invalid("transient domains do not have any persistent config").of_domain());
        }
        Ok(chosen)
    }
}

/// What is done to a definition.
pub(crate) type Edit = Box<dyn FnOnce(&mut Domain) -> Result<(), Refusal> + Send>;
/// What is done to a running guest; it gives back what it was given, with the document as it is now.
pub(crate) type LiveAct =
    Box<dyn FnOnce(Running) -> Pin<Box<dyn Future<Output = (Running, Result<(), Refusal>)> + Send>> + Send>;

/// A change on its way to the owner.
pub struct Change {
    pub(crate) what: &'static str,
    pub(crate) scope: Scope,
    pub(crate) config: Option<Edit>,
    pub(crate) live: Option<LiveAct>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("what", &self.what).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Change {
    /// Nothing yet; `what` is its word, for logs and for those who wait.
    pub fn new(what: &'static str, scope: Scope) -> Self {
        Self { what, scope, config: None, live: None }
    }

    /// What it does to a definition.
    #[must_use]
    pub fn config(self, edit: impl FnOnce(&mut Domain) -> Result<(), Refusal> + Send + 'static) -> Self {
        Self { config: Some(Box::new(edit)), ..self }
    }

    /// What it does to a running guest.
    #[must_use]
    pub fn live<F>(self, act: impl FnOnce(Running) -> F + Send + 'static) -> Self
    where
        F: Future<Output = (Running, Result<(), Refusal>)> + Send + 'static,
    {
        Self { live: Some(Box::new(move |running| Box::pin(act(running)))), ..self }
    }

    /// The same edit for the definition and for the running guest's document; the guest itself needs no word.
    #[must_use]
    pub fn both(self, edit: impl Fn(&mut Domain) -> Result<(), Refusal> + Clone + Send + 'static) -> Self {
        let of_live = edit.clone();
        self.config(edit).live(move |mut running| async move {
            let outcome = of_live(&mut running.document);
            (running, outcome)
        })
    }
}
