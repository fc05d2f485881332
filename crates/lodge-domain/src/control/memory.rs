//! Memory of a guest: what it has, the most it can have, how often it tells of its use.

use std::time::Duration;

use lodge_model::Bytes;
use lodge_model::domain::Domain;
use lodge_model::domain::devices::{BalloonStats, Memballoon, MemballoonModel};
use lodge_model::domain::memory::Memory;
use lodge_qemu::qmp::MonitorError;
use serde_json::json;

use super::{Change, Refusal, Running, Scope};

/// How long QEMU may take for the balloon.
const PATIENCE: Duration = Duration::from_secs(30);

const NO_BALLOON: &str =
    "Unable to change memory of active domain without the balloon device and guest OS balloon driver";

/// `virsh setmem`.
pub fn set(kib: u64, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        within_maximum(domain, kib)?;
        domain.current_memory = Some(Memory::from(Bytes::from_kib(kib)));
        Ok(())
    };
    Change::new("setmem", scope).config(edit).live(move |running| async move {
        let outcome = balloon(&running, kib).await;
        (running, outcome)
    })
}

fn within_maximum(domain: &Domain, kib: u64) -> Result<(), Refusal> {
    if kib > domain.memory.size.kib() {
        return Err(Refusal::arg("cannot set memory higher than max memory"));
    }
    Ok(())
}

async fn balloon(running: &Running, kib: u64) -> Result<(), Refusal> {
    within_maximum(&running.document, kib)?;
    let no_balloon = || Refusal::invalid(NO_BALLOON);
    device(&running.document).ok_or_else(no_balloon)?;
    let bytes = kib.saturating_mul(1024);
    let answer: Result<serde::de::IgnoredAny, MonitorError> =
        running.monitor.execute_within("balloon", json!({ "value": bytes }), PATIENCE).await;
    match answer {
        Ok(_) => Ok(()),
        Err(MonitorError::Refused { class, .. })
            if class == "DeviceNotActive" || class == "KVMMissingCap" =>
        {
            Err(no_balloon())
        }
        Err(error) => Err(error.into()),
    }
}

/// The balloon, if there is one.
fn device(domain: &Domain) -> Option<&Memballoon> {
    domain.devices.memballoon.as_deref().filter(|balloon| balloon.model != MemballoonModel::None)
}

/// `virsh setmaxmem`.
pub fn set_maximum(kib: u64, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        if domain.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref()).is_some_and(|numa| !numa.cells.is_empty()) {
            return Err(Refusal::invalid(
                "initial memory size of a domain with NUMA nodes cannot be modified with this API",
            ));
        }
        let maximum = Bytes::from_kib(kib);
        if domain.max_memory.as_ref().is_some_and(|most| most.size < maximum) {
            return Err(Refusal::invalid(
                "cannot set initial memory size greater than the maximum memory size",
            ));
        }
        domain.memory.size = maximum;
        if let Some(current) = &mut domain.current_memory {
            current.size = Bytes(current.size.0.min(maximum.0));
        }
        Ok(())
    };
    Change::new("setmaxmem", scope).config(edit).live(|running| async move {
        (running, Err(Refusal::invalid("cannot resize the maximum memory on an active domain")))
    })
}

/// `virsh dommemstat --period`: how often the guest is asked for its use.
pub fn set_stats_period(seconds: u32, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        let balloon = domain.devices.memballoon.as_deref_mut();
        let balloon = balloon.filter(|balloon| balloon.model != MemballoonModel::None).ok_or_else(|| {
            Refusal::invalid("Memory balloon model must be virtio to set the collection period")
        })?;
        balloon.stats = (seconds > 0).then(|| BalloonStats { period_s: seconds, ..BalloonStats::default() });
        Ok(())
    };
    Change::new("dommemstat --period", scope).config(edit).live(move |mut running| async move {
        let outcome = async {
            edit(&mut running.document)?;
            let balloon = device(&running.document);
            let alias =
                balloon.and_then(|balloon| balloon.place.alias.as_ref()).map(|alias| alias.name.clone());
            let path = format!("/machine/peripheral/{}", alias.as_deref().unwrap_or("balloon0"));
            let set = json!({ "path": path, "property": "guest-stats-polling-interval", "value": seconds });
            running.tell_qemu("qom-set", set).await
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}
