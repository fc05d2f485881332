//! Filters of guests' cards: given before a card can hear or say anything, taken away with it, looked after with the rules.

use lodge_model::nwfilter::{Binding, Reference};
use lodge_model::{DomainId, MacAddr};

use super::Owner;
use crate::{Bind, NetworkError};

impl Owner {
    /// Gives a new card its filter, if it is to have one.
    pub(super) async fn give_filter(
        &self,
        filter: Option<&Reference>,
        ifname: &str,
        (domain, name): (DomainId, &str),
        (mac, may_learn): (MacAddr, bool),
    ) -> Result<(), NetworkError> {
        // What an earlier card of this name had is not this one's.
        let Some(filter) = filter else { return self.take_filter(ifname).await };
        let binding = Binding {
            owner: name.to_owned(),
            owner_uuid: domain.0,
            port: ifname.to_owned(),
            link: None,
            mac,
            filter: filter.clone(),
        };
        // A lease that the guest still has from its last run counts at once.
        self.config.filters.bind(binding, Bind { anew: true, may_learn }).await?;
        self.learn_leases(&[mac]).await;
        Ok(())
    }

    /// Takes a card's filter away, if it has one.
    pub(super) async fn take_filter(&self, ifname: &str) -> Result<(), NetworkError> {
        if self.config.filters.binding(ifname).is_err() {
            return Ok(());
        }
        self.config.filters.unbind(ifname).await.map_err(NetworkError::from)
    }

    /// Puts the rules of all cards in their place at the daemon's start: what the kernel has may be of another time.
    pub(super) async fn restore_filters(&self) {
        if let Err(error) = self.config.filters.restore().await {
            tracing::error!(error = %crate::error::chain(&error), "the rules of cards' filters are not as they should be");
        }
        self.learn_leases(&self.config.filters.unlearned()).await;
    }

    /// Puts back what is missing of filters' rules, and asks for addresses that nobody told.
    pub(super) async fn reconcile_filters(&self) -> Result<(), NetworkError> {
        let filters = &self.config.filters;
        if filters.reconcile().await? {
            tracing::warn!("rules of cards' filters were missing or changed; they are loaded again");
        }
        self.learn_leases(&filters.unlearned()).await;
        Ok(())
    }

    async fn learn_leases(&self, macs: &[MacAddr]) {
        if macs.is_empty() {
            return;
        }
        let all = self.entries.iter().map(|(id, entry)| entry.seen(*id));
        let served: Vec<_> = all.filter_map(|seen| seen.netd()).collect();
        for mac in macs {
            for netd in &served {
                let address = match netd.lease(*mac).await {
                    Ok(Some(lease)) => lease.ip,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::debug!(%mac, %error, "no word about a lease");
                        continue;
                    }
                };
                if let Err(error) = self.config.filters.learn(*mac, Some(address)).await {
                    tracing::error!(%mac, error = %crate::error::chain(&error), "a card's filter does not know its guest's address");
                }
            }
        }
    }
}
