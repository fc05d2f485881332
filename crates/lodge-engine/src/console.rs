//! Serial consoles: one holder each, who can be made to give way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lodge_model::{DomainId, Kind};
use tokio::sync::oneshot;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// A guest's serial console: bytes both ways. Dropped, it is free for the next.
pub struct Console {
    /// The host's end of the pty.
    pub pty: tokio::fs::File,
    /// Resolves when somebody took the console over.
    pub taken: oneshot::Receiver<()>,
}

/// Who has which console: the end by which the holder is told to give way.
#[derive(Clone, Default)]
pub(crate) struct Consoles {
    holders: Arc<Mutex<HashMap<DomainId, oneshot::Sender<()>>>>,
}

impl Engine {
    /// A domain's serial console.
    pub async fn domain_console(&self, caller: &Caller, dom: &str, force: bool) -> Result<Console> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        let snapshot = handle.snapshot();
        let vmm = snapshot.vmm.as_ref();
        let vmm = vmm.ok_or_else(|| EngineError::new(Kind::InvalidState, "domain is not running"))?;
        let path = vmm.console.clone().ok_or_else(|| {
            EngineError::new(Kind::Unsupported, format!("domain `{dom}` has no serial console on a pty"))
                .with_hint("add <serial type='pty'/> to its devices")
        })?;
        let (taker, taken) = oneshot::channel();
        {
            let mut consoles = self.consoles.holders.lock().unwrap_or_else(PoisonError::into_inner);
            let held = consoles.get(&handle.id()).is_some_and(|holder| !holder.is_closed());
            if held && !force {
                return Err(EngineError::new(Kind::Busy, "Active console session exists for this domain")
                    .with_hint("--force takes it over"));
            }
            if let Some(holder) = consoles.insert(handle.id(), taker) {
                // A holder that has gone needs no word.
                let _ = holder.send(());
            }
        }
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed());
        let pty = options.open(&path).await.map_err(|error| {
            EngineError::new(
                Kind::Unavailable,
                format!("cannot open the console `{}`: {error}", path.display()),
            )
        })?;
        Ok(Console { pty, taken })
    }
}
