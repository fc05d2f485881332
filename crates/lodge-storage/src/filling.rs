//! Warnings that a pool will not hold its disks for long: told before its guests stand still, and once per crossing.
//!
//! ```text
//!  usage.rs, every ten minutes: all pools, growth over days ──┐
//!                                                             ├──▶ Warned: is that new? ──▶ Filling
//!  RoomWatch, every few seconds: where running guests write ──┘
//! ```
//!
//! One look per file system, however many guests write there, and the more seldom the more is free: at the rate that a
//! fast disk can be written with, a file system is looked at four times at least before it is full. A warning is not
//! told again while what it is about goes up and down a little. Deliberately absent: pools of devices, whose room a
//! tool must be asked for; they are looked at with the others every ten minutes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lodge_store::db::now_ms;

use crate::{Pools, Storage, space::Space};

/// Parts of a pool, in percent, at which a warning is told.
const STEPS: [u64; 3] = [80, 90, 97];
/// So much below a step it is left, and may be told again.
const BACK: u64 = 3;
/// Full within this time is worth a warning, by the growth of days.
const DAY_MS: i64 = 24 * 3_600_000;
/// And by the growth of the last minute.
const SOON: Duration = Duration::from_mins(10);
/// By which time that is told of one that is not half full either.
const AT_ONCE: Duration = Duration::from_mins(2);
/// What the growth of now is measured over.
const WINDOW: Duration = Duration::from_mins(1);
/// A line through less than this is a guess.
const LEAST: Duration = Duration::from_secs(3);
/// How often is looked at most, and at least.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));
/// Nothing fills faster than so many bytes a second.
const FASTEST: u64 = 1 << 30;
/// Looks before it is full.
const LOOKS: u32 = 4;
/// When it is asked again where guests write.
const LIST: Duration = Duration::from_secs(10);

/// A pool that will not hold its disks for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// The pool's name; a directory that is no pool is named by its path.
    pub pool: String,
    /// How full it is, in percent.
    pub percent: u64,
    /// Bytes free.
    pub available: u64,
    /// When it will be full, in milliseconds since 1970, if that is in sight.
    pub full_ms: Option<i64>,
}

/// Which warnings were told.
#[derive(Debug, Default)]
pub struct Warned(Mutex<HashMap<String, Told>>);

#[derive(Debug, Default)]
struct Told {
    /// How many of [`STEPS`] it is beyond.
    step: usize,
    /// It will be full within a day.
    within_a_day: bool,
    /// When it was last about to be full within minutes.
    within_minutes: Option<Instant>,
}

impl Warned {
    /// Whether this is worth a word that was not said: by how full it is, and by the growth of days.
    pub(crate) fn by_days(&self, pool: &str, percent: u64, full_ms: Option<i64>, now_ms: i64) -> bool {
        self.with(pool, |told| {
            let left = full_ms.map(|full_ms| full_ms.saturating_sub(now_ms));
            let limit = if told.within_a_day { DAY_MS * 3 / 2 } else { DAY_MS };
            let is_soon = left.is_some_and(|left| left < limit);
            let is_new = is_soon && !told.within_a_day;
            told.within_a_day = is_soon;
            told.rises(percent) || is_new
        })
    }

    /// The same by the growth of now.
    fn by_minutes(&self, pool: &str, percent: u64, left: Option<Duration>, now: Instant) -> bool {
        self.with(pool, |told| {
            let is_soon = left.is_some_and(|left| left < AT_ONCE || (left < SOON && percent >= 50));
            let is_new = is_soon && told.within_minutes.is_none_or(|last| now.duration_since(last) > SOON);
            if is_soon {
                told.within_minutes = Some(now);
            }
            told.rises(percent) || is_new
        })
    }

    fn with<T>(&self, pool: &str, act: impl FnOnce(&mut Told) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(pool.to_owned()).or_default())
    }
}

impl Told {
    fn rises(&mut self, percent: u64) -> bool {
        let before = self.step;
        let is_beyond = |(at, step): &(usize, &u64)| percent >= **step - if *at < before { BACK } else { 0 };
        self.step = STEPS.iter().enumerate().filter(is_beyond).count();
        self.step > before
    }
}

/// The file systems that running guests write on, and how they fill.
#[derive(Debug, Default)]
pub struct RoomWatch {
    places: BTreeMap<u64, Place>,
    listed: Option<Instant>,
}

/// One of them.
#[derive(Debug)]
struct Place {
    /// A disk on it.
    file: PathBuf,
    /// The directories that disks are in.
    directories: BTreeSet<PathBuf>,
    seen: VecDeque<(Instant, u64)>,
    due: Instant,
}

impl RoomWatch {
    /// How long nothing is to be looked at.
    pub fn pause(&self) -> Duration {
        let now = Instant::now();
        let list = self.listed.map_or(now, |listed| listed + LIST);
        let next = self.places.values().map(|place| place.due).fold(list, Instant::min);
        next.saturating_duration_since(now).max(PAUSES.0)
    }

    /// Takes in where guests write now; what is known of a file system stays known.
    fn list(&mut self, written: BTreeMap<u64, (PathBuf, BTreeSet<PathBuf>)>, now: Instant) {
        self.listed = Some(now);
        self.places.retain(|device, _| written.contains_key(device));
        for (device, (file, directories)) in written {
            let place = self.places.entry(device).or_insert_with(|| Place {
                file: PathBuf::new(),
                directories: BTreeSet::new(),
                seen: VecDeque::new(),
                due: now,
            });
            (place.file, place.directories) = (file, directories);
        }
    }
}

impl Place {
    fn see(&mut self, now: Instant, available: u64) {
        self.seen.push_back((now, available));
        // One from before the window stays: looks may be farther apart than it is long.
        while self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.seen.pop_front();
        }
        let by_size = Duration::from_secs(available / FASTEST) / LOOKS;
        let by_growth = self.left().map_or(PAUSES.1, |left| left / (2 * LOOKS));
        self.due = now + by_size.min(by_growth).clamp(PAUSES.0, PAUSES.1);
    }

    /// When it will be full if it goes on as in the last minute; none: it does not grow.
    fn left(&self) -> Option<Duration> {
        let ((first, before), (last, available)) = (*self.seen.front()?, *self.seen.back()?);
        let (over, taken) = (last.duration_since(first), before.saturating_sub(available));
        if over < LEAST || taken == 0 {
            return None;
        }
        let left_ms = u128::from(available) * over.as_millis() / u128::from(taken);
        Some(Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX)))
    }
}

impl Space {
    /// How full it is, in percent; none: nobody knows.
    pub(crate) fn percent(self) -> Option<u64> {
        self.capacity.saturating_sub(self.available?).saturating_mul(100).checked_div(self.capacity)
    }
}

impl Pools {
    /// Looks at the file systems that are due, and says which have a warning that `warned` does not know yet.
    pub async fn watch_room(&self, watch: &mut RoomWatch, warned: &Warned) -> Vec<Filling> {
        let now = Instant::now();
        if watch.listed.is_none_or(|listed| now.duration_since(listed) >= LIST) {
            watch.list(self.storage().claims().written(), now);
        }
        let due: Vec<&mut Place> = watch.places.values_mut().filter(|place| place.due <= now).collect();
        let mut looks = tokio::task::JoinSet::new();
        for (at, place) in due.iter().enumerate() {
            let (storage, file) = (self.storage().clone(), place.file.clone());
            looks.spawn(async move { (at, look(&storage, file).await) });
        }
        let mut spaces = HashMap::new();
        while let Some(looked) = looks.join_next().await {
            spaces.extend(looked.ok().and_then(|(at, space)| Some((at, space?))));
        }
        if due.is_empty() {
            return Vec::new();
        }
        let active = self.list().into_iter().filter(|pool| pool.is_active);
        let pools: HashMap<PathBuf, String> =
            active.filter_map(|pool| Some((pool.path?, pool.name))).collect();
        let mut filling = Vec::new();
        for (at, place) in due.into_iter().enumerate() {
            let seen = spaces.get(&at).and_then(|space| Some((space.percent()?, space.available?)));
            let Some((percent, available)) = seen else {
                place.due = now + LIST;
                continue;
            };
            place.see(now, available);
            let left = place.left();
            for directory in &place.directories {
                let name = pools.get(directory).cloned();
                let pool = name.unwrap_or_else(|| directory.display().to_string());
                if warned.by_minutes(&pool, percent, left, now) {
                    let full_ms = left.filter(|left| *left < SOON);
                    let full_ms = full_ms.and_then(|left| i64::try_from(left.as_millis()).ok());
                    let full_ms = full_ms.map(|left_ms| now_ms().saturating_add(left_ms));
                    filling.push(Filling { pool, percent, available, full_ms });
                }
            }
        }
        filling
    }
}

/// The room where a file is. A look that takes long goes on without us, and holds up no other.
async fn look(storage: &Storage, file: PathBuf) -> Option<Space> {
    match tokio::time::timeout(PAUSES.0, storage.space(&file)).await {
        Ok(Ok(space)) => space,
        Ok(Err(error)) => {
            tracing::debug!(file = %file.display(), %error, "the room of a guest's disk is not known");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn place() -> Place {
        let (seen, directories) = (VecDeque::new(), BTreeSet::new());
        Place { file: "/pool/a".into(), directories, seen, due: Instant::now() }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_warning_is_told_once_per_step() {
        let warned = Warned::default();
        let told: Vec<_> =
            [50, 81, 85, 91, 85, 91, 99].map(|percent| warned.by_days("p", percent, None, 0)).into();
        assert_eq!(told, [false, true, false, true, false, true, true]);
    }

    #[test]
    fn what_goes_up_and_down_at_a_step_is_told_once_by_whoever_looks() {
        let (warned, now) = (Warned::default(), Instant::now());
        let told = [79, 80, 79, 80, 78, 81, 77, 80, 76, 80].map(|percent| {
            (warned.by_minutes("p", percent, None, now), warned.by_days("p", percent, None, 0))
        });
        let told: Vec<bool> = told.iter().map(|(minutes, days)| *minutes || *days).collect();
        assert_eq!(told, [false, true, false, false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_pool_that_is_full_within_a_day_is_told_once() {
        let warned = Warned::default();
        let told =
            [20, 23, 25, 30, 23, 40, 23].map(|hours| warned.by_days("p", 10, Some(hours * 3_600_000), 0));
        assert_eq!(told, [true, false, false, false, false, false, true]);
    }

    #[test]
    fn one_that_fills_within_minutes_is_told_though_little_of_it_is_taken() {
        let (warned, now) = (Warned::default(), Instant::now());
        let told =
            |percent, left, after| warned.by_minutes("p", percent, Some(seconds(left)), now + seconds(after));
        assert!(!told(10, 300, 0), "it is not half full");
        assert!(told(60, 300, 10));
        assert!(!told(60, 200, 20) && !told(60, 900, 30) && !told(60, 200, 40));
        assert!(told(10, 60, 40 + 601), "ten quiet minutes later it is news");
    }

    #[test]
    fn the_growth_of_the_last_minute_says_when_it_is_full() {
        let (mut place, begin) = (place(), Instant::now());
        place.see(begin, 100 * GIB);
        assert_eq!(place.left(), None);
        place.see(begin + seconds(10), 90 * GIB);
        assert_eq!(place.left(), Some(seconds(90)));
        // Looks farther apart than the window are a line as well.
        place.see(begin + seconds(200), 80 * GIB);
        assert_eq!(place.left().map(|left| left.as_secs()), Some(80 * 19));
        place.see(begin + seconds(400), 95 * GIB);
        assert_eq!(place.left(), None);
    }

    #[test]
    fn the_less_is_free_and_the_faster_it_fills_the_sooner_is_looked_again() {
        let (now, pause) =
            (Instant::now(), |place: &Place, at: Instant| place.due.duration_since(at).as_secs());
        for (available, wanted) in [(0, 2), (4 * GIB, 2), (100 * GIB, 25), (1000 * GIB, 60)] {
            let mut place = place();
            place.see(now, available);
            assert_eq!(pause(&place, now), wanted, "{available}");
        }
        let mut place = place();
        place.see(now, 1100 * GIB);
        place.see(now + seconds(10), 1000 * GIB);
        assert_eq!(pause(&place, now + seconds(10)), 12);
    }

    #[test]
    fn a_file_system_stays_known_while_guests_write_on_it() {
        let (mut watch, now) = (RoomWatch::default(), Instant::now());
        let written = |file: &str| {
            let file = PathBuf::from(file);
            let directories = file.parent().map(PathBuf::from).into_iter().collect();
            (file, directories)
        };
        watch.list(BTreeMap::from([(1, written("/a/x")), (2, written("/b/x"))]), now);
        for place in watch.places.values_mut() {
            place.see(now, 10);
        }
        watch.list(BTreeMap::from([(2, written("/b/y")), (3, written("/c/x"))]), now);
        let known: Vec<_> = watch.places.iter().map(|(device, place)| (*device, place.seen.len())).collect();
        assert_eq!(known, [(2, 1), (3, 0)]);
        assert_eq!(watch.places[&2].file, PathBuf::from("/b/y"));
    }
}
