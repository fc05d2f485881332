//! The task that looks at one guest and publishes its readiness.
//!
//! ```text
//!  owner ──Signal──▶ ┌──────────┐ ──watch──▶ readers
//!  leases ─────────▶ │ watcher  │
//!  agent  ─────────▶ └──────────┘
//! ```
//!
//! A look at the agent may take long (nobody is there), so it runs beside the look at the leases and the owner's
//! signals, one at a time. Looks follow each other with a pause that grows while nothing changes. When the guest is
//! ready only addresses are looked at, seldom; when it is gone nothing is.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::machine::{Event, Machine, Sight};
use super::{Guest, Leases, Phase, Readiness};

mod look;

use look::Known;

/// What the guest's owner knows first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Its processors began to run.
    Started,
    /// It reset itself, or was reset.
    Reset,
    /// It is held.
    Held,
    /// It goes on.
    Released,
    /// It is gone, and why.
    Gone(String),
}

/// A running watcher; it ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    readiness: watch::Receiver<Readiness>,
    signals: mpsc::Sender<Signal>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// The readiness now and as it changes.
    pub fn subscribe(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// The readiness now.
    pub fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    /// Tells the watcher what happened. Never waits: when the watcher has not taken in the last 32 signals yet,
    /// this one is lost, and its next look tells it the same.
    pub fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch a guest that is not running yet, or is adopted: tell it [`Signal::Started`] when it runs.
/// To be called within a tokio runtime.
pub fn watch(sight: Sight, speed: f64, guest: Arc<dyn Guest>, leases: Arc<dyn Leases>) -> Watcher {
    let machine = Machine::new(sight, speed, now_ms());
    let (publish, readiness) = watch::channel(machine.readiness().clone());
    let (signals, mailbox) = mpsc::channel(32);
    let task = tokio::spawn(run(machine, publish, mailbox, guest, leases));
    Watcher { readiness, signals, task }
}

/// Pauses between looks while nothing changes.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(3);
/// When it is ready, or failed for good.
const PAUSE_SETTLED: Duration = Duration::from_secs(30);
const LEASES_EVERY: Duration = Duration::from_millis(500);

async fn run(
    mut machine: Machine,
    publish: watch::Sender<Readiness>,
    mut mailbox: mpsc::Receiver<Signal>,
    guest: Arc<dyn Guest>,
    leases: Arc<dyn Leases>,
) {
    let mut known = Known::default();
    let mut look: Pending<(Vec<Event>, Known)> = None;
    let mut lease: Pending<Vec<IpAddr>> = None;
    let mut pause = PAUSE_FIRST;
    loop {
        let running = machine.readiness().phase != Phase::Stopped;
        if look.is_none() && running && machine.sight().agent_channel {
            let next = look::look(Arc::clone(&guest), known.clone(), look::Want::of(&machine));
            look = Some(after(pause, next));
        }
        if lease.is_none() && running && machine.sight().nics && !known.addresses {
            let leases = Arc::clone(&leases);
            let found = !machine.readiness().addresses.is_empty();
            let wait = if found { PAUSE_LONGEST } else { LEASES_EVERY };
            lease = Some(after(wait, async move { leases.addresses().await }));
        }
        let deadline = machine.readiness().deadline_ms.map(|at| at.saturating_sub(now_ms()));
        let events = tokio::select! {
            signal = mailbox.recv() => {
                let Some(signal) = signal else { return };
                // What is under way was asked of the guest as it was before.
                (look, lease, known, pause) = (None, None, Known::default(), PAUSE_FIRST);
                vec![event_of(signal)]
            }
            (events, now_known) = ended(&mut look) => {
                known = now_known;
                events
            }
            addresses = ended(&mut lease) => vec![Event::Addresses(addresses)],
            () = sleep_ms(deadline), if deadline.is_some() => vec![Event::Tick],
        };
        let mut changed = false;
        for event in events {
            changed |= machine.apply(event, now_ms());
        }
        if changed {
            publish.send_replace(machine.readiness().clone());
        }
        pause = pause_after(&machine, changed, pause);
    }
}

/// Work that goes on while others are served.
type Pending<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

fn after<T>(
    pause: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        work.await
    })
}

/// Ends with the work, if there is any. Dropped, it leaves the work as far as it is.
async fn ended<T>(work: &mut Pending<T>) -> T {
    match work {
        Some(future) => {
            let value = future.await;
            *work = None;
            value
        }
        None => std::future::pending().await,
    }
}

fn event_of(signal: Signal) -> Event {
    match signal {
        Signal::Started | Signal::Reset => Event::Started,
        Signal::Held => Event::Held,
        Signal::Released => Event::Released,
        Signal::Gone(reason) => Event::Gone(reason),
    }
}

fn pause_after(machine: &Machine, changed: bool, pause: Duration) -> Duration {
    let readiness = machine.readiness();
    let is_stalled = readiness.failure.as_ref().is_some_and(|failure| failure.stalled);
    match readiness.phase {
        Phase::Ready => PAUSE_SETTLED,
        Phase::Failed if !is_stalled => PAUSE_SETTLED,
        _ if changed => PAUSE_FIRST,
        _ => (pause * 3 / 2).min(PAUSE_LONGEST),
    }
}

async fn sleep_ms(ms: Option<u64>) {
    // A millisecond more: the deadline is to be over when it is looked at.
    tokio::time::sleep(Duration::from_millis(ms.unwrap_or(0) + 1)).await;
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
