//! Events of the host's that are counted for a guest: `<perf>`, `virsh perf`, and the figures of `domstats --perf`.
//!
//! Counting begins while the guest's processors stand still, or where a running guest is told to; a daemon that takes a
//! guest over counts from zero, as libvirt's does. Deliberately absent: the cache and memory bandwidth of the first
//! three names, which no kernel since 4.14 counts in this way.

use std::sync::Arc;

use lodge_model::domain::Domain;
pub use lodge_model::domain::perf::EVENTS;
use lodge_model::xml::Kept;
use lodge_sys::perf::{Counter, Event};

use super::{Settings, failed};
use crate::control::{Change, Refusal, Scope, Sort};

/// What is counted of a running guest, in libvirt's order.
#[derive(Debug, Clone, Default)]
pub struct Counters(Vec<(&'static str, Arc<Counter>)>);

impl Counters {
    /// Those that a document asks for, of the process.
    pub(crate) fn of(domain: &Domain, pid: u32) -> Result<Self, Refusal> {
        Self::default().with(&events_of(domain), pid)
    }

    /// The same with these switched on or off; what goes on being counted keeps its count.
    fn with(&self, events: &[(&'static str, bool)], pid: u32) -> Result<Self, Refusal> {
        let mut counters = Vec::new();
        for (name, _) in events.iter().filter(|(_, enabled)| *enabled) {
            let known = self.0.iter().find(|(known, _)| known == name);
            let counter =
                known.map_or_else(|| begin(name, pid).map(Arc::new), |(_, counter)| Ok(Arc::clone(counter)));
            counters.push((*name, counter?));
        }
        Ok(Self(counters))
    }

    /// Whether an event is counted.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// The counts. One that cannot be read is left out.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().filter_map(|(name, counter)| Some((*name, counter.read().ok()?))).collect()
    }
}

/// The kernel's event of a name; `None`: it has none any more.
fn event(name: &str) -> Option<Event> {
    // The processor's are numbered in this order, and so are the kernel's own.
    const HARDWARE: usize = 3;
    const SOFTWARE: usize = 13;
    let at = EVENTS.iter().position(|known| *known == name)?;
    match at {
        SOFTWARE.. => Some(Event::software((at - SOFTWARE) as u64)),
        HARDWARE.. => Some(Event::hardware((at - HARDWARE) as u64)),
        _ => None,
    }
}

fn begin(name: &str, pid: u32) -> Result<Counter, Refusal> {
    let Some(event) = event(name) else {
        let text = format!("unable to enable host cpu perf event for {name}");
        return Err(Refusal::new(Sort::ArgumentUnsupported, text));
    };
    Counter::of_process(event, pid)
        .map_err(|error| failed(&format!("unable to open host cpu perf event for {name}"), &error))
}

/// Which events a document has counted.
pub fn events_of(domain: &Domain) -> Vec<(&'static str, bool)> {
    let tree = domain.perf.tree("perf").unwrap_or_default();
    let enabled = |name: &str| {
        tree.all("event")
            .any(|event| event.attribute("name") == Some(name) && event.attribute("enabled") == Some("yes"))
    };
    EVENTS.iter().map(|name| (*name, enabled(name))).collect()
}

/// `virsh perf --enable/--disable`.
pub fn set(settings: Settings, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        let mut tree = domain.perf.tree("perf").unwrap_or_else(|| Kept::new("perf"));
        for (name, value) in &settings {
            tree.children.retain(|event| event.attribute("name") != Some(name));
            let enabled = if value.unsigned() != 0 { "yes" } else { "no" };
            tree.children.push(Kept::new("event").with("name", name).with("enabled", enabled));
        }
        let order = |event: &Kept| EVENTS.iter().position(|name| event.attribute("name") == Some(name));
        tree.children.sort_by_key(order);
        domain.perf.set_tree(&tree);
        Ok(())
    };
    let of_live = edit.clone();
    Change::new("perf", scope).config(edit).live(move |mut running| async move {
        let mut document = running.document.clone();
        let outcome = of_live(&mut document).and_then(|()| {
            let before = running.entry.counters.load_full().unwrap_or_default();
            before.with(&events_of(&document), running.pid)
        });
        let outcome = outcome.map(|counters| {
            running.entry.counters.store(Some(Arc::new(counters)));
            running.document = document;
        });
        (running, outcome)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libvirts_names_are_the_kernels_numbers() {
        assert_eq!(event("cpu_cycles"), Some(Event::hardware(0)));
        assert_eq!(event("ref_cpu_cycles"), Some(Event::hardware(9)));
        assert_eq!(event("cpu_clock"), Some(Event::software(0)));
        assert_eq!(event("emulation_faults"), Some(Event::software(8)));
        assert_eq!(event("cmt"), None);
        assert_eq!(begin("mbml", 1).unwrap_err().sort, Sort::ArgumentUnsupported);
    }
}
