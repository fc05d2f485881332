//! Network filters: what a guest's card may send and receive, by libvirt's `<filter>` documents.
//!
//! ```text
//!  etc/libvirt/nwfilter/NAME.xml ──▶ store ─┐
//!  <filterref>, binding ──▶ parameters ─────┼─▶ resolve ──▶ rules ──▶ kernel: one nft table, a map from cards to chains
//!  leases of netd ──▶ $IP ──────────────────┘
//! ```
//!
//! [`NetworkFilters`] is the handle; all of it is one state, changed by one act at a time. The kernel's table is changed
//! in one transaction per act, so a card never has half of its rules. Which cards have which filter is in
//! `run/libvirt/nwfilter-binding`, as libvirt has it: a daemon that comes anew takes it up from there. Deliberately absent:
//! iptables and ebtables, ipsets, and addresses learned by looking at a guest's packets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lodge_model::MacAddr;
use lodge_model::nwfilter::{Binding, NwFilter, Parameters};
use lodge_store::Root;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::NetworkEvent;
use crate::networks::NetworkHappening;

mod bindings;
mod error;
mod expression;
mod kernel;
mod resolve;
mod rules;
mod stock;
mod store;

pub use error::FilterError;
pub use store::Filter;

use bindings::Bindings;
use kernel::Kernel;
use resolve::{Needs, Set};
use rules::Card;
use store::Store;

type Result<T, E = FilterError> = std::result::Result<T, E>;

/// How a card is given its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// In place of the one that it has.
    pub anew: bool,
    /// Somebody here gives its guest an address, which the filter may wait for.
    pub may_learn: bool,
}

/// All filters of one root, and their use by cards. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetworkFilters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The documents and who uses them, to look at.
    seen: Mutex<Seen>,
    /// Held for a whole act.
    act: tokio::sync::Mutex<Act>,
}

#[derive(Debug, Default)]
struct Seen {
    filters: Set,
    bound: BTreeMap<String, Arc<Bound>>,
}

#[derive(Debug)]
struct Act {
    store: Store,
    bindings: Bindings,
    kernel: Kernel,
}

/// A card with its filter.
#[derive(Debug, Clone, PartialEq)]
struct Bound {
    binding: Binding,
    /// Its address, where the filter needs it and nobody said it.
    learned: Option<Ipv4Addr>,
    /// An address is yet to be learned: until then there is DHCP alone.
    learns: bool,
    card: Card,
}

impl NetworkFilters {
    /// Reads what is kept. Rules in the kernel stay as they are until [`Self::restore`]. `ours`: no libvirt daemon has
    /// the networks; what it wrote down of its guests' cards is its own to carry out.
    pub fn open(root: &Root, ours: bool) -> Self {
        let (store, filters) = Store::open(root.domains().with_file_name("nwfilter"));
        let (bindings, kept) = Bindings::open(root);
        let mut bound = BTreeMap::new();
        for (binding, learned) in kept.into_iter().filter(|_| ours) {
            // One that cannot be carried out any more is bound to nothing until then.
            let (card, learns) = made(&filters, &binding, learned).unwrap_or_else(|error| {
                let port = &binding.port;
                tracing::error!(port, error = %crate::error::chain(&error), "a card's filter cannot be carried out; it is closed");
                (Card::closed(&binding.port), false)
            });
            bound.insert(binding.port.clone(), Arc::new(Bound { binding, learned, learns, card }));
        }
        let cards =
            bound.iter().map(|(port, bound): (&String, &Arc<Bound>)| (port.clone(), bound.card.clone()));
        let kernel = Kernel::new(&root.tag(), root.is_system(), cards.collect());
        Self(Arc::new(Inner {
            seen: Mutex::new(Seen { filters, bound }),
            act: tokio::sync::Mutex::new(Act { store, bindings, kernel }),
        }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All filters, by name.
    pub fn list(&self) -> Vec<Arc<Filter>> {
        self.seen().filters.values().cloned().collect()
    }

    /// One by name.
    pub fn by_name(&self, name: &str) -> Result<Arc<Filter>> {
        let found = self.seen().filters.get(name).cloned();
        found.ok_or_else(|| FilterError::NotFound(format!("no nwfilter with matching name '{name}'")))
    }

    /// One by UUID.
    pub fn by_uuid(&self, uuid: Uuid) -> Result<Arc<Filter>> {
        let found = self.seen().filters.values().find(|filter| filter.uuid == uuid).cloned();
        found.ok_or_else(|| FilterError::NotFound(format!("no nwfilter with matching uuid '{uuid}'")))
    }

    /// All cards that have a filter, by their names.
    pub fn bindings(&self) -> Vec<Binding> {
        self.seen().bound.values().map(|bound| bound.binding.clone()).collect()
    }

    /// A card's.
    pub fn binding(&self, port: &str) -> Result<Binding> {
        let found = self.seen().bound.get(port).map(|bound| bound.binding.clone());
        found.ok_or_else(|| FilterError::NoBinding { port: port.to_owned() })
    }

    /// Takes in a filter's document. Cards that use it follow at once, all of them or none.
    pub async fn define(&self, xml: &str, strict: bool) -> Result<Arc<Filter>> {
        let document = if strict { NwFilter::parse_strict(xml)? } else { NwFilter::parse(xml)? };
        let mut act = self.0.act.lock().await;
        let (old, new, filter) = {
            let seen = self.seen();
            let (set, filter) = store::taken_in(&seen.filters, document)?;
            (seen.filters.clone(), set, filter)
        };
        let changed = self.remade(&new, &filter.name)?;
        let changes: Vec<(&str, Option<&Card>)> =
            changed.iter().map(|bound| (bound.binding.port.as_str(), Some(&bound.card))).collect();
        act.kernel.change(&changes).await?;
        if let Err(error) = act.store.write(&filter) {
            let before = self.remade(&old, &filter.name).unwrap_or_default();
            let changes: Vec<(&str, Option<&Card>)> =
                before.iter().map(|bound| (bound.binding.port.as_str(), Some(&bound.card))).collect();
            if let Err(second) = act.kernel.change(&changes).await {
                tracing::error!(error = %crate::error::chain(&second), "cards have rules of a filter that was not kept");
            }
            return Err(error);
        }
        let mut seen = self.seen();
        seen.filters = new;
        for bound in changed {
            seen.bound.insert(bound.binding.port.clone(), Arc::new(bound));
        }
        tracing::info!(filter = filter.name, "network filter defined");
        Ok(filter)
    }

    /// The cards that use a filter, as they are by these documents.
    fn remade(&self, filters: &Set, name: &str) -> Result<Vec<Bound>> {
        let all: Vec<Arc<Bound>> = self.seen().bound.values().cloned().collect();
        let mut changed = Vec::new();
        for bound in all {
            if !resolve::uses(filters, &bound.binding.filter.filter, name) {
                continue;
            }
            let (card, learns) = made(filters, &bound.binding, bound.learned)?;
            if card != bound.card {
                changed.push(Bound { learns, card, ..(*bound).clone() });
            }
        }
        Ok(changed)
    }

    /// Forgets a filter that no card uses.
    pub async fn undefine(&self, uuid: Uuid) -> Result<()> {
        let act = self.0.act.lock().await;
        let filter = self.by_uuid(uuid)?;
        let is_used = {
            let seen = self.seen();
            let used =
                |bound: &Arc<Bound>| resolve::uses(&seen.filters, &bound.binding.filter.filter, &filter.name);
            seen.bound.values().any(used)
        };
        if is_used {
            return Err(FilterError::InUse);
        }
        act.store.remove(&filter.name)?;
        self.seen().filters.remove(&filter.name);
        tracing::info!(filter = filter.name, "network filter undefined");
        Ok(())
    }

    /// Gives a card its filter.
    pub async fn bind(&self, mut binding: Binding, how: Bind) -> Result<()> {
        // What libvirt's documents of bindings show as well.
        let mac = binding.mac.to_string();
        binding.filter.parameters.0.entry("MAC".to_owned()).or_insert_with(|| vec![mac]);
        let mut act = self.0.act.lock().await;
        let port = binding.port.clone();
        let (filters, had) = {
            let seen = self.seen();
            (seen.filters.clone(), seen.bound.get(&port).cloned())
        };
        if had.is_some() && !how.anew {
            return Err(FilterError::Bound { port });
        }
        // What is known of the guest's address stays known while the card is the same guest's.
        let learned = had.filter(|had| had.binding.mac == binding.mac).and_then(|had| had.learned);
        let (card, learns) = made(&filters, &binding, learned)?;
        if learns && !how.may_learn {
            return Err(resolve::unresolved(["IP"]));
        }
        // Note, then act: a card whose rules are in the kernel is never forgotten.
        act.bindings.write(&binding, learned)?;
        if let Err(error) = act.kernel.change(&[(port.as_str(), Some(&card))]).await {
            act.bindings.remove(&port)?;
            self.seen().bound.remove(&port);
            return Err(error);
        }
        tracing::info!(port, filter = binding.filter.filter, learns, "a card has its filter");
        self.seen().bound.insert(port, Arc::new(Bound { binding, learned, learns, card }));
        Ok(())
    }

    /// Takes a card's filter away.
    pub async fn unbind(&self, port: &str) -> Result<()> {
        self.binding(port)?;
        self.unbind_all(&[port.to_owned()]).await
    }

    /// Takes the filters of all of a domain's cards away.
    pub async fn unbind_owner(&self, owner: Uuid) -> Result<()> {
        let ports: Vec<String> = {
            let seen = self.seen();
            let theirs = seen.bound.values().filter(|bound| bound.binding.owner_uuid == owner);
            theirs.map(|bound| bound.binding.port.clone()).collect()
        };
        self.unbind_all(&ports).await
    }

    async fn unbind_all(&self, ports: &[String]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut act = self.0.act.lock().await;
        let changes: Vec<(&str, Option<&Card>)> = ports.iter().map(|port| (port.as_str(), None)).collect();
        act.kernel.change(&changes).await?;
        for port in ports {
            act.bindings.remove(port)?;
            if self.seen().bound.remove(port).is_some() {
                tracing::info!(port, "a card has no filter any more");
            }
        }
        Ok(())
    }

    /// Whether a card's filter waits for its guest's address.
    pub(crate) fn learns(&self, port: &str) -> bool {
        self.seen().bound.get(port).is_some_and(|bound| bound.learns)
    }

    /// Cards' hardware addresses whose addresses are yet to be learned.
    pub(crate) fn unlearned(&self) -> Vec<MacAddr> {
        let seen = self.seen();
        seen.bound.values().filter(|bound| bound.learns).map(|bound| bound.binding.mac).collect()
    }

    /// A guest has this address from now on, or none.
    pub(crate) async fn learn(&self, mac: MacAddr, address: Option<Ipv4Addr>) -> Result<()> {
        let is_news = |bound: &Arc<Bound>| bound.binding.mac == mac && bound.learned != address;
        if !self.seen().bound.values().any(is_news) {
            return Ok(());
        }
        let mut act = self.0.act.lock().await;
        let (filters, theirs): (Set, Vec<Arc<Bound>>) = {
            let seen = self.seen();
            (seen.filters.clone(), seen.bound.values().filter(|bound| is_news(bound)).cloned().collect())
        };
        for bound in theirs {
            let port = bound.binding.port.clone();
            let (card, learns) = made(&filters, &bound.binding, address)?;
            if card != bound.card {
                act.kernel.change(&[(port.as_str(), Some(&card))]).await?;
                tracing::info!(port, %mac, ?address, "a card's filter knows its guest's address");
            }
            act.bindings.write(&bound.binding, address)?;
            let binding = bound.binding.clone();
            self.seen().bound.insert(port, Arc::new(Bound { binding, learned: address, learns, card }));
        }
        Ok(())
    }

    /// Makes the kernel's rules those of all cards, whatever they were.
    pub(crate) async fn restore(&self) -> Result<()> {
        let mut act = self.0.act.lock().await;
        let all = self.all();
        if all.is_empty() {
            act.kernel.clear().await;
            return Ok(());
        }
        act.kernel.load(all.iter().map(|bound| (bound.binding.port.as_str(), &bound.card))).await
    }

    /// The same if others had their hands in it; says whether they had.
    pub(crate) async fn reconcile(&self) -> Result<bool> {
        let mut act = self.0.act.lock().await;
        let all = self.all();
        if act.kernel.is_intact(all.len()).await? {
            return Ok(false);
        }
        act.kernel.load(all.iter().map(|bound| (bound.binding.port.as_str(), &bound.card))).await?;
        Ok(true)
    }

    fn all(&self) -> Vec<Arc<Bound>> {
        self.seen().bound.values().cloned().collect()
    }

    /// Follows what netd tells of leases, for as long as there are networks.
    pub(crate) fn follow(&self, mut events: broadcast::Receiver<NetworkHappening>) {
        use broadcast::error::RecvError;
        let filters = self.clone();
        tokio::spawn(async move {
            loop {
                let (mac, address) = match events.recv().await {
                    Ok((_, _, NetworkEvent::Lease { mac, ip: std::net::IpAddr::V4(ip), .. })) => {
                        (mac, Some(ip))
                    }
                    Ok((_, _, NetworkEvent::LeaseEnded { mac, .. })) => (mac, None),
                    // What was missed is asked for when the rules are looked after.
                    Ok(_) | Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                let Ok(mac) = mac.parse::<MacAddr>() else { continue };
                if let Err(error) = filters.learn(mac, address).await {
                    tracing::error!(%mac, error = %crate::error::chain(&error), "a card's filter does not know its guest's address");
                }
            }
        });
    }
}

/// A card's rules, and whether they are those of a guest whose address is yet to be learned.
fn made(filters: &Set, binding: &Binding, learned: Option<Ipv4Addr>) -> Result<(Card, bool)> {
    let mut known = Parameters::default();
    if let Some(address) = learned {
        known = known.with("IP", &address.to_string());
    }
    let variables = binding.filter.parameters.over(&known);
    match resolve::flatten(filters, &binding.filter.filter, &variables)? {
        Needs::Nothing(rules) => Ok((rules::card(&binding.port, &rules)?, false)),
        Needs::Address => Ok((rules::dhcp_only(&binding.port, binding.mac, &variables)?, true)),
    }
}

#[cfg(test)]
mod tests;
