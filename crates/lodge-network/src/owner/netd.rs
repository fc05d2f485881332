//! Watching each netd: its events go on to the subscribers, and when it ends unasked it is started again.

use std::time::Duration;

use lodge_model::NetworkId;
use tokio::sync::broadcast;

use super::{Owner, Request, Supervised, backoff};
use crate::client::Netd;
use crate::networks::NetworkHappening;
use crate::wire::Event;
use crate::{NetworkEvent, launch};

/// Pause before the events of a running netd are asked for again.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// A netd that ran this long was well: its next end is the first again.
const WELL_AFTER: Duration = Duration::from_mins(1);

impl Owner {
    /// Begins to watch the netd of a network that has one.
    pub(super) fn watch_netd(&mut self, id: NetworkId) {
        let (me, events) = (self.me.clone(), self.events.clone());
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return;
        };
        let Some(supervised) = &mut running.netd else { return };
        let process = supervised.process.clone();
        let ended = tokio::spawn(async move {
            if let Err(error) = process.ended().await {
                tracing::warn!(%error, "cannot watch netd");
                return;
            }
            if let Some(me) = me.upgrade() {
                let _ = me.send(Request::NetdEnded { id, pid: process.identity().pid }).await;
            }
        });
        let netd = Netd::at(&running.plan.name, running.control.clone());
        let listening = tokio::spawn(listen(netd, id, running.plan.name.clone(), events));
        supervised.watches = vec![ended, listening];
    }

    /// A netd has ended unasked: its successor has the same leases, for they are in the journal.
    pub(super) async fn netd_ended(&mut self, id: NetworkId, pid: u32) {
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return;
        };
        if running.netd.as_ref().is_none_or(|netd| netd.process.identity().pid != pid) {
            return;
        }
        running.netd = None;
        running.failures += 1;
        let pause = backoff(running.failures);
        tracing::warn!(network = %running.plan.name, pid, ?pause, "netd ended unasked; it is started again");
        if pause.is_zero() {
            return self.netd_again(id).await;
        }
        self.again_later(id, pause);
    }

    fn again_later(&self, id: NetworkId, pause: Duration) {
        let me = self.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(me) = me.upgrade() {
                let _ = me.send(Request::NetdAgain { id }).await;
            }
        });
    }

    /// Starts the netd of a running network that has lost its own.
    pub(super) async fn netd_again(&mut self, id: NetworkId) {
        let Some(running) = self.entries.get(&id).and_then(|entry| entry.running.as_ref()) else { return };
        if running.netd.is_some() || !running.plan.served() {
            return;
        }
        let (plan, ifindex) = (running.plan.clone(), running.ifindex);
        let upstreams = self.upstreams(&plan);
        let started = launch::start(&self.config, &plan, ifindex, upstreams.clone()).await;
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return;
        };
        match started {
            Ok(process) => {
                running.netd = Some(Supervised { process, watches: Vec::new() });
                running.upstreams = upstreams;
                self.watch_netd(id);
                self.tell_names(id).await;
                self.well_later(id);
                self.tell(id, NetworkEvent::NetdRestarted);
            }
            Err(error) => {
                running.failures += 1;
                let pause = backoff(running.failures);
                tracing::error!(network = %plan.name, error = %crate::error::chain(&error), ?pause, "netd not started");
                self.again_later(id, pause);
            }
        }
    }

    /// Tells netd the names known here, in case it ended before it heard them.
    async fn tell_names(&self, id: NetworkId) {
        let Some(running) = self.entries.get(&id).and_then(|entry| entry.running.as_ref()) else { return };
        let netd = Netd::at(&running.plan.name, running.control.clone());
        for plugged in running.nics.values().filter(|plugged| !plugged.names.is_empty()) {
            if let Err(error) = netd.set_names(plugged.nic.mac, plugged.names.clone()).await {
                tracing::debug!(%error, "the guest's name is not known yet");
            }
        }
    }

    /// Forgives earlier failures once the new netd has run for a while.
    fn well_later(&mut self, id: NetworkId) {
        let me = self.me.clone();
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return;
        };
        let Some(netd) = &mut running.netd else { return };
        let pid = netd.process.identity().pid;
        netd.watches.push(tokio::spawn(async move {
            tokio::time::sleep(WELL_AFTER).await;
            if let Some(me) = me.upgrade() {
                let _ = me.send(Request::NetdWell { id, pid }).await;
            }
        }));
    }

    pub(super) fn netd_well(&mut self, id: NetworkId, pid: u32) {
        if let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut())
            && running.netd.as_ref().is_some_and(|netd| netd.process.identity().pid == pid)
        {
            running.failures = 0;
        }
    }
}

/// Passes on what netd tells, for as long as the task is let run.
async fn listen(netd: Netd, id: NetworkId, name: String, events: broadcast::Sender<NetworkHappening>) {
    loop {
        if let Ok(mut stream) = netd.events().await {
            while let Some(event) = stream.next().await {
                if let Some(event) = translate(event) {
                    // Nobody listening is well.
                    let _ = events.send((id, name.clone(), event));
                }
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

fn translate(event: Event) -> Option<NetworkEvent> {
    Some(match event {
        Event::Lease(lease) => {
            NetworkEvent::Lease { mac: lease.mac.to_string(), ip: lease.ip.into(), hostname: lease.hostname }
        }
        Event::Ended { mac, ip } => NetworkEvent::LeaseEnded { mac: mac.to_string(), ip: ip.into() },
        Event::Exhausted { mac } => NetworkEvent::Exhausted { mac: mac.to_string() },
        Event::Lagged => return None,
    })
}
