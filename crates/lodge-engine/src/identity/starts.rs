//! A start that would make two machines of one identity: warned of, or refused.
//!
//! Asked in the midst of every start, so nothing is read that takes long: documents are in memory, and what lies inside is
//! what was read before and has not changed since. A guest nobody has looked into yet starts unhindered.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use lodge_domain::{Domains, PortError};
use lodge_model::{DomainId, Kind, domain::Domain};
use lodge_store::Db;

use super::{cache::Known, facts::given};
use crate::DuplicatePolicy;

/// Whoever knows all guests.
#[derive(Clone)]
pub(crate) struct Watch {
    policy: DuplicatePolicy,
    db: Db,
    domains: Arc<OnceLock<Domains>>,
}

/// What no two running guests may share.
type Values = Vec<(&'static str, String)>;

impl Watch {
    pub fn new(policy: DuplicatePolicy, db: Db) -> Self {
        Self { policy, db, domains: Arc::default() }
    }

    pub fn set(&self, domains: Domains) {
        assert!(self.domains.set(domains).is_ok(), "set once, by the engine's opening");
    }

    /// Judges the start of a guest.
    pub async fn admit(&self, id: DomainId, document: &Domain) -> Result<(), PortError> {
        if self.policy == DuplicatePolicy::Ignore {
            return Ok(());
        }
        let Some(found) = self.find(id, document).await else { return Ok(()) };
        if self.policy == DuplicatePolicy::Warn {
            tracing::warn!(domain = %document.name, found, "two guests that run are known by the same");
            return Ok(());
        }
        Err(PortError::new(
            Kind::Conflict,
            format!("domain `{}` would be a second one: {found}", document.name),
        )
        .with_hint(format!(
            "give it an identity of its own: lodge identity reset {}; or allow it: duplicates = \"warn\" \
                 below [identity] in lodge.toml",
            document.name
        )))
    }

    async fn find(&self, id: DomainId, document: &Domain) -> Option<String> {
        let domains = self.domains.get()?;
        let mut own = of_document(document);
        own.extend(self.inside(id).await);
        let own: HashSet<(&str, String)> = own.into_iter().collect();
        for snapshot in domains.list().into_iter().filter(|other| other.is_active() && other.id != id) {
            let Ok(handle) = domains.get(snapshot.id) else { continue };
            let mut others = handle.document().map(|document| of_document(&document)).unwrap_or_default();
            others.extend(self.inside(snapshot.id).await);
            if let Some((item, value)) = others.into_iter().find(|value| own.contains(value)) {
                return Some(format!("{item} {value} is that of `{}`, which runs", snapshot.name));
            }
        }
        None
    }

    /// What was read of it before. A guest that runs has its last reading from before its start; that it has written since
    /// does not make it another machine.
    async fn inside(&self, id: DomainId) -> Values {
        let Ok(Some((_, known))) = self.db.identity(&format!("domain:{id}")).await else { return Vec::new() };
        let Ok(Known { identity, .. }) = serde_json::from_value(known) else { return Vec::new() };
        lodge_guest::identity::machine_id(&identity)
            .map(|id| ("machine-id", id.to_owned()))
            .into_iter()
            .collect()
    }
}

fn of_document(document: &Domain) -> Values {
    let facts = given(document);
    let macs = facts.macs.into_iter().map(|mac| ("mac-address", mac));
    macs.chain(facts.smbios_uuid.map(|id| ("smbios-uuid", id.to_string()))).collect()
}
