//! The book: what became of identities.

use lodge_api::{IdentityAct, IdentityLogQuery, InsideState};
use lodge_store::db::identities::IdentityActRow;

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// The entries of one machine, or of all; the newest first.
    #[crate::boxed]
    pub async fn identity_log(&self, _caller: &Caller, query: IdentityLogQuery) -> Result<Vec<IdentityAct>> {
        let rows = self.store.db().identity_acts(query.machine.as_deref()).await?;
        Ok(rows.into_iter().map(act).collect())
    }
}

/// An entry as the API shows it. One that this program did not write shows what of it can be read.
pub(crate) fn act(row: IdentityActRow) -> IdentityAct {
    let read = |field: &str| row.items.get(field).cloned().unwrap_or_default();
    IdentityAct {
        inside: serde_json::from_value(read("inside")).unwrap_or(InsideState::NotReset),
        changes: serde_json::from_value(read("changes")).unwrap_or_default(),
        warnings: serde_json::from_value(row.warnings.clone()).unwrap_or_default(),
        to_fill: serde_json::from_value(read("to_fill")).unwrap_or_default(),
        id: row.id,
        time_ms: row.time_ms.cast_unsigned(),
        act: row.act,
        uuid: row.guest,
        name: row.name,
        source: row.source,
        caller: row.caller,
    }
}
