//! Guests that stand because the file system below a disk is full: they go on by themselves when there is room again.
//!
//! ```text
//!  BLOCK_IO_ERROR, STOP ─▶ the owner asks QEMU which disks it was ─▶ Standing ─▶ Watch: one task for all guests
//!        ▲                                                               every 2 s, one look per place
//!        └───── cont ◀───── Act::GoOn ◀───── is there room for one more guest? ◀──────┘
//! ```
//!
//! Only want of room counts (`io-status` of `query-block`): a disk with another error is for a person to look at, and
//! who suspends a guest that stands keeps it so (`power.rs`). QEMU is asked, not its events remembered, so that it is
//! the same after a start of the daemon. What is freed is given out once: each guest takes the room that it is to find,
//! and one that stands again soon is to find twice as much and waits twice as long. While nobody stands nothing runs.
//! Deliberately absent: the looks themselves (`ports::Volumes::space`), and what a server's disk has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lodge_model::domain::lifecycle::{Event as Change, PausedReason, RunningReason, State};
use lodge_qemu::qmp::{BlockDevice, Monitor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::act::{Act, Begin, Reply, ended};
use crate::define;
use crate::domains::Shared;
use crate::error::chain;
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::mailbox::{self, Message};
use crate::observe;
use crate::options::Ticket;
use crate::owner::Owner;
use crate::ports::Space;

/// How a guest stands that a disk's error stopped.
pub(crate) const STANDS: State = State::Paused { reason: PausedReason::IoError };
/// How often is looked while one stands.
const EVERY: Duration = Duration::from_secs(2);
/// When one that was told to go on and stands still is told again.
const AGAIN: Duration = Duration::from_secs(10);
/// The room that a guest is to find.
const ROOM_BYTES: u64 = 64 << 20;
/// And where that is much: this part of the whole.
const ROOM_PART: u64 = 50;
/// One that ran for so long after it was let go on is like one that was never stopped.
const CALM: Duration = Duration::from_mins(1);
/// How often the wait is doubled at most.
const WAIT_DOUBLED_MAX: u32 = 5;
/// How often the room is doubled at most.
const ROOM_DOUBLED_MAX: u32 = 4;

/// How a guest fared that was let go on.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    count: u32,
    last: Option<Instant>,
    /// The stand that was told of, by its beginning.
    told: Option<SystemTime>,
}

impl Tries {
    /// How often it stood again soon, until now.
    fn count(&mut self, now: Instant) -> u32 {
        if self.last.is_none_or(|last| now.duration_since(last) > CALM) {
            self.count = 0;
        }
        self.count
    }

    fn let_go(&mut self, now: Instant) {
        self.count += 1;
        self.last = Some(now);
    }
}

/// What a guest needs to go on.
#[derive(Debug)]
struct Need {
    places: Vec<PathBuf>,
    tries: u32,
    not_before: Instant,
    /// What block devices had when they were looked at first.
    sizes: BTreeMap<PathBuf, u64>,
}

impl Need {
    fn new(places: Vec<PathBuf>, tries: u32, now: Instant) -> Self {
        let wait = if tries == 0 { Duration::ZERO } else { EVERY * 2_u32.pow(tries.min(WAIT_DOUBLED_MAX)) };
        Self { places, tries, not_before: now + wait, sizes: BTreeMap::new() }
    }

    /// The room to be found on a file system of this size.
    fn room(&self, capacity: u64) -> u64 {
        let one = ROOM_BYTES.min(capacity / ROOM_PART).max(1);
        let all = one << self.tries.min(ROOM_DOUBLED_MAX);
        all.min(capacity / 4).max(1)
    }

    /// Whether all its places have room beside what others were given of them in `taken`; then it takes its own.
    fn is_met(&mut self, spaces: &BTreeMap<PathBuf, Space>, taken: &mut BTreeMap<PathBuf, u64>) -> bool {
        let mut has_room = true;
        for place in &self.places {
            has_room &= match spaces.get(place) {
                None => false,
                Some(Space { capacity, available: Some(available) }) => {
                    let given = taken.get(place).copied().unwrap_or(0);
                    available.saturating_sub(given) >= self.room(*capacity)
                }
                // All that is known of a device is its size; one that grew has room.
                Some(Space { capacity, available: None }) => {
                    *capacity > *self.sizes.entry(place.clone()).or_insert(*capacity)
                }
            };
        }
        if has_room {
            for place in &self.places {
                let capacity = spaces.get(place).map_or(0, |space| space.capacity);
                *taken.entry(place.clone()).or_default() += self.room(capacity);
            }
        }
        has_room
    }
}

/// A guest that stands for want of room.
#[derive(Debug)]
struct Standing {
    entry: Arc<Entry>,
    need: Need,
}

/// The way to the task that looks for room; none while nobody stands.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Option<mpsc::UnboundedSender<Standing>>>);

impl Watch {
    fn add(&self, shared: &Arc<Shared>, standing: Standing) {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = match &*way {
            Some(sender) => match sender.send(standing) {
                Ok(()) => return,
                // It failed; another one begins anew.
                Err(unsent) => unsent.0,
            },
            None => standing,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let _ = sender.send(standing);
        *way = Some(sender);
        shared.owners.spawn_on(watch(Arc::clone(shared), receiver), &shared.runtime);
    }

    /// Nobody stands any more. `true`: the task may end; `false`: somebody came meanwhile.
    fn retire(&self, receiver: &mpsc::UnboundedReceiver<Standing>) -> bool {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = receiver.is_empty();
        if idle {
            *way = None;
        }
        idle
    }
}

/// Lets guests go on, until none stands.
async fn watch(shared: Arc<Shared>, mut receiver: mpsc::UnboundedReceiver<Standing>) {
    let mut all: Vec<Standing> = Vec::new();
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        while let Ok(new) = receiver.try_recv() {
            all.retain(|known| known.entry.id != new.entry.id);
            all.push(new);
        }
        all.retain(|standing| standing.entry.snapshot.load().state == STANDS);
        if all.is_empty() && shared.room.retire(&receiver) {
            return;
        }
        release(&shared, &mut all).await;
    }
}

/// Lets those go on that there is room for, the first ones first.
async fn release(shared: &Arc<Shared>, all: &mut [Standing]) {
    let now = Instant::now();
    let mut due: Vec<&mut Standing> =
        all.iter_mut().filter(|standing| standing.need.not_before <= now).collect();
    let places: BTreeSet<&PathBuf> = due.iter().flat_map(|standing| &standing.need.places).collect();
    let looks = places.into_iter().map(|place| look(shared, place.clone()));
    let looks: Vec<_> = looks.collect();
    let spaces: BTreeMap<_, _> = futures_util::future::join_all(looks).await.into_iter().flatten().collect();
    let mut taken = BTreeMap::new();
    for standing in &mut due {
        if !standing.need.is_met(&spaces, &mut taken) {
            continue;
        }
        standing.need.not_before = now + AGAIN;
        let message = Message {
            act: Act::GoOn(standing.need.places.clone()),
            ticket: Ticket::default(),
            reply: oneshot::channel().0,
        };
        if let Err(error) = mailbox::post(shared, &standing.entry, message) {
            let (domain, error) = (standing.entry.name(), chain(&error));
            tracing::debug!(%domain, error, "a guest that has room again could not be told so");
        }
    }
}

/// The room of one place. A look that takes long goes on without us, and holds up no other.
async fn look(shared: &Shared, place: PathBuf) -> Option<(PathBuf, Space)> {
    match tokio::time::timeout(EVERY, shared.ports.volumes.space(&place)).await {
        Ok(Ok(space)) => space.map(|space| (place, space)),
        Ok(Err(error)) => {
            tracing::debug!(place = %place.display(), error = %chain(&error), "no look at the room of a place");
            None
        }
        Err(_) => None,
    }
}

/// Where the guest's disks lie that have no room, if want of room is all that holds it.
pub(crate) async fn full_places(shared: &Shared, entry: &Entry, monitor: &Monitor) -> Vec<PathBuf> {
    if shared.config.stay_when_full {
        return Vec::new();
    }
    let (Ok(devices), Ok(document)) = (monitor.block_devices().await, define::parse_current(entry)) else {
        return Vec::new();
    };
    let Some(aliases) = full_devices(&devices) else { return Vec::new() };
    let is_full = |disk: &&lodge_model::domain::disk::Disk| {
        disk.place
            .alias
            .as_ref()
            .is_some_and(|alias| aliases.iter().any(|parts| parts.contains(&&*alias.name)))
    };
    let targets = document.devices.disks.iter().filter(is_full).map(|disk| disk.target.dev.clone());
    let targets: Vec<String> = targets.collect();
    if targets.len() < aliases.len() {
        return Vec::new();
    }
    match shared.ports.volumes.places(&document, &targets).await {
        Ok(places) => places,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(domain = %entry.name(), error, "where a full disk lies is not known: resume its guest by hand");
            Vec::new()
        }
    }
}

/// The devices that stopped the guest, each as the parts of its place in QEMU; none unless all wanted room.
fn full_devices(devices: &[BlockDevice]) -> Option<Vec<Vec<&str>>> {
    let mut full = Vec::new();
    for device in devices {
        match device.io_status.as_deref() {
            None | Some("ok") => {}
            Some("nospace") => full.push(device.qdev.as_deref().unwrap_or_default().split('/').collect()),
            Some(_) => return None,
        }
    }
    (!full.is_empty()).then_some(full)
}

/// The guest stands because these places are full; empty: it does not.
pub(crate) fn stands(owner: &mut Owner, places: Vec<PathBuf>) {
    if places.is_empty() || owner.state != STANDS {
        return;
    }
    let (now, since) = (Instant::now(), owner.since);
    let Some(vmm) = owner.vmm.as_deref_mut() else { return };
    let tries = vmm.room.count(now);
    if vmm.room.told.replace(since) != Some(since) {
        let text = words(&places);
        tracing::warn!(domain = %owner.entry.name(), places = text, "the guest waits for room");
        owner.shared.publish(&owner.entry, EventKind::Room { waits: true, places: text });
    }
    let standing = Standing { entry: Arc::clone(&owner.entry), need: Need::new(places, tries, now) };
    owner.shared.room.add(&owner.shared, standing);
}

/// There is room again.
pub(crate) fn go_on(owner: &mut Owner, places: Vec<PathBuf>) -> Begin {
    // By now it may run, be gone, or stand for another reason.
    if owner.state != STANDS {
        return Begin::Now(Ok(Reply::Done));
    }
    let monitor = match owner.monitor() {
        Ok(monitor) => monitor,
        Err(error) => return Begin::Now(Err(error)),
    };
    let work = async move {
        let done = monitor.cont().await;
        ended(move |owner| {
            owner.heard("resume", done)?;
            if let Some(vmm) = owner.vmm.as_deref_mut() {
                vmm.room.let_go(Instant::now());
            }
            let text = words(&places);
            tracing::info!(domain = %owner.name(), places = text, "there is room again, and the guest goes on");
            owner.shared.publish(&owner.entry, EventKind::Room { waits: false, places: text });
            let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
            owner.advance(Change::Continued(RunningReason::Unpaused), Some(told));
            // What it writes first may find no room again, while this job is still at work.
            observe::look_again(owner);
            Ok(Reply::Done)
        })
    };
    Begin::monitor("resume", owner, work)
}

fn words(places: &[PathBuf]) -> String {
    let texts: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn need(tries: u32) -> Need {
        Need::new(vec!["/pool".into()], tries, Instant::now())
    }

    fn spaces(capacity: u64, available: Option<u64>) -> BTreeMap<PathBuf, Space> {
        BTreeMap::from([("/pool".into(), Space { capacity, available })])
    }

    #[test]
    fn the_room_to_be_found_is_64_mib_or_less_of_a_small_file_system_and_doubles() {
        let room = |capacity, tries| need(tries).room(capacity);
        assert_eq!(room(100 << 30, 0), 64 * MIB);
        assert_eq!(room(100 << 30, 2), 256 * MIB);
        assert_eq!(room(100 << 30, 40), 1024 * MIB);
        assert_eq!(room(100 * MIB, 0), 2 * MIB);
        assert_eq!(room(100 * MIB, 4), 25 * MIB);
        assert_eq!(room(0, 0), 1);
    }

    #[test]
    fn what_was_freed_is_given_out_once() {
        let spaces = spaces(100 << 30, Some(130 * MIB));
        let mut taken = BTreeMap::new();
        let met: Vec<bool> = (0..3).map(|_| need(0).is_met(&spaces, &mut taken)).collect();
        assert_eq!(met, [true, true, false]);
        assert_eq!(taken[Path::new("/pool")], 128 * MIB);
    }

    #[test]
    fn a_place_that_nobody_could_look_at_has_no_room() {
        let mut taken = BTreeMap::new();
        let mut two = Need::new(vec!["/pool".into(), "/other".into()], 0, Instant::now());
        assert!(!two.is_met(&spaces(100 << 30, Some(1 << 30)), &mut taken));
        assert!(taken.is_empty());
    }

    #[test]
    fn a_device_has_room_when_it_grew() {
        let (mut one, mut taken) = (need(0), BTreeMap::new());
        assert!(!one.is_met(&spaces(8 * MIB, None), &mut taken));
        assert!(!one.is_met(&spaces(8 * MIB, None), &mut taken));
        assert!(one.is_met(&spaces(16 * MIB, None), &mut taken));
    }

    #[test]
    fn one_that_stands_again_soon_waits_longer() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let wait = |tries: &mut Tries, now: Instant| {
            Need::new(Vec::new(), tries.count(now), now).not_before.duration_since(now).as_secs()
        };
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(wait(&mut tries, now));
            tries.let_go(now);
        }
        assert_eq!(waits, [0, 4, 8, 16, 32, 64, 64]);
        assert_eq!(wait(&mut tries, now + CALM * 2), 0);
    }

    #[test]
    fn only_want_of_room_counts() {
        let full = |statuses: &[Option<&str>]| {
            let device = |status: Option<&str>| {
                let qdev = "/machine/peripheral/virtio-disk0/virtio-backend";
                serde_json::from_value(json!({ "qdev": qdev, "io-status": status })).unwrap()
            };
            let devices: Vec<BlockDevice> = statuses.iter().copied().map(device).collect();
            full_devices(&devices)
                .map(|full| full.iter().map(|parts| parts[3].to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(full(&[Some("ok"), Some("nospace"), None]), Some(vec!["virtio-disk0".to_owned()]));
        assert_eq!(full(&[Some("nospace"), Some("failed")]), None);
        assert_eq!(full(&[Some("ok"), None]), None);
    }
}
