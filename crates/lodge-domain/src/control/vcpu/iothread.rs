//! I/O threads of a guest: adding, removing, tuning.

use std::collections::BTreeSet;

use lodge_model::domain::Domain;
use lodge_model::xml::Kept;
use serde::Deserialize;
use serde_json::json;

use crate::control::tune::threads::{self, Role, Threads};
use crate::control::{Change, Refusal, Running, Scope};

/// One of `query-iothreads`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Iothread {
    /// `iothread1`.
    pub id: String,
    /// The host's thread.
    pub thread_id: u32,
    /// Longest time it polls, in nanoseconds.
    #[serde(default)]
    pub poll_max_ns: u64,
    /// By what its polling grows.
    #[serde(default)]
    pub poll_grow: u64,
    /// By what its polling shrinks.
    #[serde(default)]
    pub poll_shrink: u64,
}

impl Iothread {
    /// Its number.
    pub fn number(&self) -> Option<u32> {
        self.id.strip_prefix("iothread")?.parse().ok()
    }
}

/// The numbers of a document's I/O threads: those listed, then the lowest free ones.
pub fn numbers(domain: &Domain) -> Vec<u32> {
    domain.iothreads().into_iter().map(|thread| thread.number).collect()
}

/// The host's thread of an I/O thread.
pub(super) async fn thread(running: &Running, number: u32) -> Result<Option<u32>, Refusal> {
    let threads: Vec<Iothread> =
        running.monitor.execute("query-iothreads", ()).await.map_err(Refusal::from)?;
    Ok(threads.iter().find(|thread| thread.number() == Some(number)).map(|thread| thread.thread_id))
}

/// `virsh iothreadadd`.
pub fn add(number: u32, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        if numbers(domain).contains(&number) {
            let text = format!("an IOThread is already using iothread_id '{number}'");
            return Err(Refusal::arg(text).of_domain());
        }
        keep(domain, |all| {
            all.insert(number);
        });
        Ok(())
    };
    Change::new("iothreadadd", scope).config(edit).live(move |mut running| async move {
        let mut document = running.document.clone();
        let outcome = async {
            edit(&mut document)?;
            let object = json!({ "qom-type": "iothread", "id": format!("iothread{number}") });
            running.tell_qemu("object-add", object).await?;
            running.document = document;
            if threads::is_tuned(&running.document) {
                let threads = Threads::of(&running.monitor, running.pid).await?;
                let chosen = |role| role == Role::Iothread(number);
                threads.apply(&running.document, &running.cgroup, chosen)?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

/// `virsh iothreaddel`.
pub fn remove(number: u32, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        if !numbers(domain).contains(&number) {
            let text = format!("cannot find IOThread '{number}' in iothreadids list");
            return Err(Refusal::arg(text).of_domain());
        }
        let uses = |disk: &lodge_model::domain::disk::Disk| {
            disk.driver.as_ref().is_some_and(|driver| driver.iothread == Some(number))
        };
        if let Some(disk) = domain.devices.disks.iter().find(|disk| uses(disk)) {
            let text = format!(
                "cannot remove IOThread {number} since it is being used by disk '{}'",
                disk.target.dev
            );
            return Err(Refusal::invalid(text));
        }
        forget(domain, number);
        Ok(())
    };
    Change::new("iothreaddel", scope).config(edit).live(move |mut running| async move {
        let mut document = running.document.clone();
        let outcome = async {
            edit(&mut document)?;
            running.tell_qemu("object-del", json!({ "id": format!("iothread{number}") })).await?;
            running.document = document;
            Ok(())
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

/// What can be set of an I/O thread's polling, and of its pool of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Polling {
    /// Longest time it polls, in nanoseconds.
    pub max_ns: Option<u64>,
    /// By what polling grows.
    pub grow: Option<u32>,
    /// By what it shrinks.
    pub shrink: Option<u32>,
    /// Least threads of its pool.
    pub pool_min: Option<i32>,
    /// Most threads of its pool.
    pub pool_max: Option<i32>,
}

/// `virsh iothreadset`.
pub fn set(number: u32, polling: Polling, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        if !numbers(domain).contains(&number) {
            let text = format!("cannot find IOThread '{number}' in iothreadids list");
            return Err(Refusal::arg(text).of_domain());
        }
        keep(domain, |_| {});
        let Some(mut list) = domain.iothreadids.tree("iothreadids") else { return Ok(()) };
        let wanted = number.to_string();
        if let Some(item) = list.children.iter_mut().find(|item| item.attribute("id") == Some(&wanted)) {
            if polling.max_ns.is_some() || polling.grow.is_some() || polling.shrink.is_some() {
                let poll = item.child_mut("poll");
                let mut set = |name: &str, value: Option<u64>| {
                    if let Some(value) = value {
                        poll.set_attribute(name, Some(value.to_string()));
                    }
                };
                set("max", polling.max_ns);
                set("grow", polling.grow.map(u64::from));
                set("shrink", polling.shrink.map(u64::from));
            }
            let mut pool = |name: &str, value: Option<i32>| {
                if let Some(value) = value {
                    item.set_attribute(name, (value >= 0).then(|| value.to_string()));
                }
            };
            pool("thread_pool_min", polling.pool_min);
            pool("thread_pool_max", polling.pool_max);
        }
        domain.iothreadids.set_tree(&list);
        Ok(())
    };
    Change::new("iothreadset", scope).config(edit).live(move |mut running| async move {
        let outcome = async {
            edit(&mut running.document)?;
            let path = format!("/objects/iothread{number}");
            let values = [
                ("poll-max-ns", polling.max_ns.map(|value| json!(value))),
                ("poll-grow", polling.grow.map(|value| json!(value))),
                ("poll-shrink", polling.shrink.map(|value| json!(value))),
                ("thread-pool-min", polling.pool_min.map(|value| json!(value))),
                ("thread-pool-max", polling.pool_max.map(|value| json!(value))),
            ];
            for (property, value) in values {
                let Some(value) = value else { continue };
                let set = json!({ "path": path, "property": property, "value": value });
                running.tell_qemu("qom-set", set).await?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

fn forget(domain: &mut Domain, number: u32) {
    keep(domain, |all| {
        all.remove(&number);
    });
    if let Some(tune) = domain.cputune.as_deref_mut() {
        tune.iothread_pins.retain(|pin| pin.iothread != number);
    }
}

/// Writes the list anew after `change`; what is said of threads that stay is kept.
fn keep(domain: &mut Domain, change: impl FnOnce(&mut BTreeSet<u32>)) {
    let mut all: BTreeSet<u32> = numbers(domain).into_iter().collect();
    change(&mut all);
    let old = domain.iothreadids.tree("iothreadids").unwrap_or_default();
    let mut list = Kept::new("iothreadids");
    for number in &all {
        let id = number.to_string();
        let known = old.all("iothread").find(|item| item.attribute("id") == Some(&id)).cloned();
        list.children.push(known.unwrap_or_else(|| Kept::new("iothread").with("id", number)));
    }
    domain.iothreads = u32::try_from(all.len()).ok().filter(|count| *count > 0);
    domain.iothreadids.set_tree(&list);
}
