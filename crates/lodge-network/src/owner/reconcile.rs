//! Putting right what others took away: rules, netd processes. No input; by timer and on request.

use std::collections::HashSet;

use lodge_model::NetworkId;

use super::Owner;
use crate::plan::Plan;
use crate::{NetworkError, NetworkEvent};

impl Owner {
    pub(super) async fn reconcile(&mut self) -> Result<(), NetworkError> {
        // Cards on others' bridges have filters as well; what is wrong with them does not keep networks waiting.
        let filters = self.reconcile_filters().await;
        self.reconcile_networks().await.and(filters)
    }

    async fn reconcile_networks(&mut self) -> Result<(), NetworkError> {
        let running: Vec<NetworkId> =
            self.entries.iter().filter(|(_, entry)| entry.running.is_some()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return Ok(());
        }
        self.drop_dead_taps().await?;
        for id in &running {
            self.rebuild_if_gone(*id).await?;
        }
        for id in &running {
            let failing =
                self.entries.get(id).and_then(|e| e.running.as_ref()).is_some_and(|r| r.failures > 0);
            if !failing {
                self.netd_again(*id).await;
            }
        }
        let mut plans = self.entries.values().filter_map(|entry| Some(&entry.running.as_ref()?.plan));
        if plans.all(Plan::lends) || self.firewall.is_intact().await? {
            return Ok(());
        }
        tracing::warn!("rules of ours were missing or changed; they are loaded again");
        self.load_rules(None).await?;
        self.guard_ports().await;
        for id in running {
            self.tell(id, NetworkEvent::FirewallRepaired);
        }
        Ok(())
    }

    /// A bridge that somebody removed takes addresses, taps' places and netd's sockets with it: all of the
    /// network is made again, and guests that run are plugged in again.
    async fn rebuild_if_gone(&mut self, id: NetworkId) -> Result<(), NetworkError> {
        let Some(running) = self.entries.get(&id).and_then(|entry| entry.running.as_ref()) else {
            return Ok(());
        };
        let bridge = running.plan.bridge.clone().unwrap_or_default();
        let there = self.links.find(&bridge).await?;
        if !running.plan.own_bridge() || there.is_some_and(|link| link.index == running.ifindex) {
            return Ok(());
        }
        tracing::warn!(network = %running.plan.name, bridge, "the bridge is gone; the network is made again");
        let document = running.document.clone();
        for left in self.take_down(id).await {
            tracing::error!(error = %crate::error::chain(&left), "not wholly taken back");
        }
        self.bring_up(id, document).await.map(drop)
    }

    /// Taps go with their guests; what is kept about them here goes too.
    async fn drop_dead_taps(&mut self) -> Result<(), NetworkError> {
        let known =
            || self.entries.values().filter_map(|entry| entry.running.as_ref()).flat_map(|r| r.nics.keys());
        if known().next().is_none() {
            return Ok(());
        }
        let there: HashSet<String> = self.links.all().await?.into_iter().map(|link| link.name).collect();
        let dead: Vec<String> = known().filter(|name| !there.contains(*name)).cloned().collect();
        for ifname in dead {
            self.detach(&ifname).await?;
        }
        Ok(())
    }
}
