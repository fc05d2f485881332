//! Transient networks: brought up from a document that is kept nowhere else.

use lodge_model::NetworkId;

use super::{Entry, Owner};
use crate::NetworkError;
use crate::plan::Plan;

impl Owner {
    /// Brings up a document. Where a definition of the same name and UUID is kept, that stays as it is.
    pub(super) async fn create(&mut self, xml: &str) -> Result<NetworkId, NetworkError> {
        let (id, mut document) = self.take_in(xml, false)?;
        if self.entries.get(&id).is_some_and(|entry| entry.running.is_some()) {
            return Err(NetworkError::Running { name: document.name });
        }
        let plan = Plan::of(&document)?;
        if plan.own_bridge() {
            self.settle_bridge(id, &mut document, &plan).await?;
        }
        let is_new = !self.entries.contains_key(&id);
        if is_new {
            let name = document.name.clone();
            self.entries.insert(id, Entry { name, defined: None, autostart: false, running: None });
        }
        let brought = self.bring_up(id, document.as_it_runs()).await;
        if brought.is_err() && is_new {
            self.entries.remove(&id);
        }
        brought.map(|_| id)
    }
}
