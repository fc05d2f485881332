//! A start that would make two machines of one identity: warned of, or refused.
//!
//! Asked in the midst of every start, so nothing is read that takes long: documents are in memory, and what lies inside is
//! what was read before and has not changed since. Of each guest that runs that is found out once per document, for there
//! may be thousands. A guest nobody has looked into yet starts unhindered. One whose disks are half changed never starts.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use lodge_domain::{Domains, Handle, PortError};
use lodge_model::{DomainId, Kind, domain::Domain};
use lodge_store::Db;

use super::{
    cache,
    facts::given,
    inside::{is_in_change, log_of},
    look::told_subject,
};
use crate::DuplicatePolicy;

/// Whoever knows all guests.
#[derive(Clone)]
pub(crate) struct Watch {
    policy: DuplicatePolicy,
    db: Db,
    /// Where changes of guests' disks are noted before they happen.
    logs: PathBuf,
    domains: Arc<OnceLock<Domains>>,
    /// What each running guest is known by, with the document that it was read off.
    known: Arc<Mutex<Known>>,
}

/// The one value that is read inside.
const MACHINE_ID: &str = "machine-id";

type Known = HashMap<DomainId, (Arc<str>, Arc<Values>)>;

/// What no two running guests may share.
type Values = Vec<(&'static str, String)>;

impl Watch {
    pub fn new(policy: DuplicatePolicy, db: Db, logs: PathBuf) -> Self {
        Self { policy, db, logs, domains: Arc::default(), known: Arc::default() }
    }

    pub fn set(&self, domains: Domains) {
        assert!(self.domains.set(domains).is_ok(), "set once, by the engine's opening");
    }

    /// Judges the start of a guest.
    pub async fn admit(&self, id: DomainId, document: &Domain) -> Result<(), PortError> {
        self.refuse_half_changed(id, document).await?;
        if self.policy == DuplicatePolicy::Ignore {
            return Ok(());
        }
        let Some((item, found)) = self.find(id, document).await else { return Ok(()) };
        let name = &document.name;
        if self.policy == DuplicatePolicy::Warn {
            tracing::warn!(domain = %name, found, "two guests that run are known by the same");
            return Ok(());
        }
        // What lies inside is reset; what the document gives stands there.
        let cure = match item {
            MACHINE_ID => format!("lodge identity reset {name}"),
            _ => format!("change its {item} with lodge edit {name}"),
        };
        Err(PortError::new(Kind::Conflict, format!("domain `{name}` would be a second one: {found}"))
            .with_hint(format!(
                "give it an identity of its own: {cure}; or allow it: duplicates = \"warn\" below [identity] in \
                 lodge.toml"
            )))
    }

    /// A log that is still there is of a change that could not be ended: what a guest wrote over it would be lost.
    async fn refuse_half_changed(&self, id: DomainId, document: &Domain) -> Result<(), PortError> {
        let name = &document.name;
        let own = log_of(&self.logs, &id.to_string());
        let log = if tokio::fs::try_exists(&own).await.unwrap_or(true) {
            own
        } else {
            let (logs, paths) = (self.logs.clone(), files_of(document));
            let cut = tokio::task::spawn_blocking(move || is_in_change(&logs, &paths)).await;
            let Some(log) = cut.ok().flatten() else { return Ok(()) };
            log
        };
        let text = format!("the disks of domain `{name}` are being changed, or a change of them was cut off");
        Err(PortError::new(Kind::InvalidState, text).with_hint(format!(
            "if nothing is at work, restart the daemon: it ends the change from `{}`, or says in its log why it cannot",
            log.display()
        )))
    }

    /// Forgets what was read inside a guest: it is another machine now.
    pub async fn forget(&self, id: DomainId) {
        let forgotten = self.db.forget_identities(vec![format!("domain:{id}"), told_subject(&id)]).await;
        if let Err(error) = forgotten {
            tracing::warn!(domain = %id, %error, "an old reading not forgotten");
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn find(&self, id: DomainId, document: &Domain) -> Option<(&'static str, String)> {
        let domains = self.domains.get()?;
        let mut own = of_document(document);
        own.extend(self.inside(id).await);
        let own: HashSet<(&str, String)> = own.into_iter().collect();
        let mut running = domains.list();
        running.retain(|other| other.is_active() && other.id != id);
        let ids: HashSet<DomainId> = running.iter().map(|other| other.id).collect();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
        for snapshot in running {
            let Ok(handle) = domains.get(snapshot.id) else { continue };
            let others = self.values(&handle).await;
            if let Some((item, value)) = others.iter().find(|value| own.contains(*value)) {
                let found = format!("{item} {value} is that of `{}`, which runs", snapshot.name);
                return Some((*item, found));
            }
        }
        None
    }

    /// What a running guest is known by.
    async fn values(&self, handle: &Handle) -> Arc<Values> {
        let [inactive, live] = handle.texts();
        let Some(text) = live.or(inactive) else { return Arc::default() };
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, values)) = known().get(&handle.id())
            && Arc::ptr_eq(of, &text)
        {
            return Arc::clone(values);
        }
        let mut values = handle.document().map(|document| of_document(&document)).unwrap_or_default();
        values.extend(self.inside(handle.id()).await);
        let values = Arc::new(values);
        known().insert(handle.id(), (text, Arc::clone(&values)));
        values
    }

    /// What was read of it before. A guest that runs has its last reading from before its start; that it has written since
    /// does not make it another machine.
    async fn inside(&self, id: DomainId) -> Values {
        let Ok(Some((_, known))) = self.db.identity(&format!("domain:{id}")).await else { return Vec::new() };
        let Ok(cache::Known { identity, .. }) = serde_json::from_value(known) else { return Vec::new() };
        lodge_identity::machine_id(&identity).map(|id| (MACHINE_ID, id.to_owned())).into_iter().collect()
    }
}

/// The files that its disks are named by.
fn files_of(document: &Domain) -> Vec<PathBuf> {
    let sources = document.devices.disks.iter().filter_map(|disk| disk.source.as_ref());
    sources.filter_map(|source| source.file.as_ref()).map(PathBuf::from).collect()
}

fn of_document(document: &Domain) -> Values {
    let facts = given(document);
    let macs = facts.macs.into_iter().map(|mac| ("mac-address", mac));
    macs.chain(facts.smbios_uuid.map(|id| ("smbios-uuid", id.to_string()))).collect()
}
