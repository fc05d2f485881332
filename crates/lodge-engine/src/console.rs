//! Serial consoles: one holder each, who can be made to give way.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
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

/// By domain and terminal: the end by which the holder hears of it.
type Holders = HashMap<(DomainId, PathBuf), oneshot::Sender<()>>;

/// Who has which console: the end by which the holder is told to give way.
#[derive(Clone, Default)]
pub(crate) struct Consoles {
    holders: Arc<Mutex<Holders>>,
}

impl Consoles {
    /// Becomes the holder of the console at `path`; what resolves tells that somebody else has become it. `None`: it is
    /// held, and not to be taken by force.
    pub fn take(&self, domain: DomainId, path: &Path, force: bool) -> Option<oneshot::Receiver<()>> {
        let (taker, taken) = oneshot::channel();
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|_, holder| !holder.is_closed());
        let key = (domain, path.to_owned());
        if holders.contains_key(&key) && !force {
            return None;
        }
        if let Some(holder) = holders.insert(key, taker) {
            // A holder that has gone needs no word.
            let _ = holder.send(());
        }
        Some(taken)
    }
}

impl Engine {
    /// A domain's serial console.
    #[crate::boxed]
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
        let taken = self.consoles.take(handle.id(), &path, force).ok_or_else(|| {
            EngineError::new(Kind::Busy, "Active console session exists for this domain")
                .with_hint("--force takes it over")
        })?;
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
