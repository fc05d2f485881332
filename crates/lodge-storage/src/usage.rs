//! How full pools are, how fast they fill, and the day they will be full.
//!
//! A look in the background ([`Pools::sample`]) notes what each pool and each disk takes, hourly at most and for two
//! weeks; disks are noted when they changed. A line through the samples is the growth; the day is where it meets what
//! is free. What is worth a warning, and whether it was told, is `filling.rs`'s.

use std::path::{Path, PathBuf};

use lodge_store::db::{disks::Sample, now_ms};

use crate::{
    PoolView, Pools,
    error::StorageError,
    filling::{Filling, Warned},
    graph::{Graph, SeenFile, need::Need},
    limits,
    pool::backend::{Backend, dir::room},
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Samples older than this are forgotten: two weeks of hours are 336 per subject.
const KEPT_MS: i64 = 14 * DAY_MS;
/// A line through less than this is a guess.
const LEAST_MS: i64 = HOUR_MS;
/// A disk is noted again when it changed by so much.
const CHANGE_BYTES: u64 = 1 << 20;

/// How full a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The pool.
    pub pool: PoolView,
    /// How it grows.
    pub growth: Growth,
    /// Its disks, those first that take most.
    pub disks: Vec<DiskUsage>,
}

/// A disk's sizes side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// Its file.
    pub path: PathBuf,
    /// What its bytes look like.
    pub format: &'static str,
    /// The disk's size as a guest sees it.
    pub guest_bytes: u64,
    /// What it takes on the host.
    pub host_bytes: u64,
    /// How that grows.
    pub growth: Growth,
    /// Who needs it.
    pub needs: Vec<Need>,
}

/// How something grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    /// Bytes a day; none: it was not watched for long enough. Negative: it becomes less.
    pub bytes_per_day: Option<i64>,
    /// When there is no room any more, in milliseconds since 1970; none: not in sight.
    pub full_ms: Option<i64>,
}

impl Pools {
    /// Notes what pools and disks take now, and says which pools have a warning that `warned` does not know yet.
    pub async fn sample(&self, warned: &Warned) -> Result<Vec<Filling>, StorageError> {
        let graph = self.storage().graph(&[]).await?;
        let (now, mut samples, mut filling) = (now_ms(), Vec::new(), Vec::new());
        for pool in self.active_pools().await {
            let subject = pool_subject(&pool.name);
            let known = self.samples(&subject).await?;
            if known.last().is_none_or(|last| now - last.time_ms >= HOUR_MS) {
                samples.push((subject, Sample { time_ms: now, bytes: pool.allocation }));
            }
            let growth = growth(&known, pool.available);
            let Some((percent, available)) = self.fullness(&pool).await else { continue };
            if warned.by_days(&pool.name, percent, growth.full_ms, now) {
                filling.push(Filling { pool: pool.name, percent, available, full_ms: growth.full_ms });
            }
        }
        for seen in disks(&graph) {
            let subject = disk_subject(&seen.path);
            let known = self.samples(&subject).await?;
            let is_due = known.last().is_none_or(|last| {
                now - last.time_ms >= HOUR_MS && last.bytes.abs_diff(seen.allocation) >= CHANGE_BYTES
            });
            if is_due {
                samples.push((subject, Sample { time_ms: now, bytes: seen.allocation }));
            }
        }
        self.inner().db.put_samples(samples, now - KEPT_MS).await.map_err(failed)?;
        Ok(filling)
    }

    /// How full a pool is, with its disks.
    pub async fn usage(&self, pool: &str) -> Result<Usage, crate::PoolError> {
        let view = self.find(pool)?;
        let view = self.with_room(view).await;
        let told = |error| crate::PoolError::Disk(error);
        let graph = self.storage().graph(&[]).await.map_err(told)?;
        let growth_of_pool =
            growth(&self.samples(&pool_subject(&view.name)).await.map_err(told)?, view.available);
        let mut seen_disks: Vec<DiskUsage> = Vec::new();
        for seen in disks(&graph).filter(|seen| seen.path.parent() == view.path.as_deref()) {
            let mut known = self.samples(&disk_subject(&seen.path)).await.map_err(told)?;
            known.push(Sample { time_ms: now_ms(), bytes: seen.allocation });
            let guest_bytes = seen.facts.capacity.unwrap_or(seen.length);
            seen_disks.push(DiskUsage {
                path: seen.path.clone(),
                format: seen.facts.format.as_str(),
                guest_bytes,
                host_bytes: seen.allocation,
                growth: growth(&known, guest_bytes.saturating_sub(seen.allocation)),
                needs: graph.needs(&seen.path),
            });
        }
        seen_disks.sort_by(|one, other| (other.host_bytes, &one.path).cmp(&(one.host_bytes, &other.path)));
        Ok(Usage { pool: view, growth: growth_of_pool, disks: seen_disks })
    }

    async fn active_pools(&self) -> Vec<PoolView> {
        let mut views = Vec::new();
        for view in self.list().into_iter().filter(|view| view.is_active) {
            views.push(self.with_room(view).await);
        }
        views
    }

    /// The pool with its room as it is now; as last seen where it does not answer.
    async fn with_room(&self, view: PoolView) -> PoolView {
        // A pool of devices has no file system of its own; its room is what its last look found.
        let holds_files = Backend::of(view.kind).is_ok_and(Backend::holds_files);
        let Some(path) = view.path.clone().filter(|_| view.is_active && holds_files) else { return view };
        let handle = view.handle();
        match self.blocking(&handle, limits::LOOK, (), move || room(&path)).await {
            Ok((room, ())) => PoolView {
                capacity: room.capacity,
                allocation: room.allocation,
                available: room.available,
                ..view
            },
            Err(_) => view,
        }
    }

    /// How full a pool is in percent, and what is free for guests.
    async fn fullness(&self, pool: &PoolView) -> Option<(u64, u64)> {
        let holds_files = Backend::of(pool.kind).is_ok_and(Backend::holds_files);
        let Some(path) = pool.path.as_deref().filter(|_| holds_files) else {
            let percent = pool.allocation.saturating_mul(100).checked_div(pool.capacity)?;
            return Some((percent, pool.available));
        };
        let space = self.storage().space(path).await.ok().flatten()?;
        Some((space.percent()?, space.available?))
    }

    async fn samples(&self, subject: &str) -> Result<Vec<Sample>, StorageError> {
        self.inner().db.samples(subject).await.map_err(failed)
    }
}

fn disks(graph: &Graph) -> impl Iterator<Item = &SeenFile> {
    graph.nodes().filter_map(|(_, node)| node.seen.as_ref()).filter(|seen| seen.in_pool)
}

fn pool_subject(name: &str) -> String {
    format!("pool/{name}")
}

fn disk_subject(path: &Path) -> String {
    format!("disk/{}", path.display())
}

fn failed(source: lodge_store::DbError) -> StorageError {
    StorageError::Registry { act: "read how disks grow", source }
}

/// The line of least squares through the samples, and where it takes up `free` bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a forecast, to a few per cent"
)]
pub(crate) fn growth(samples: &[Sample], free: u64) -> Growth {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Growth::default() };
    if last.time_ms - first.time_ms < LEAST_MS {
        return Growth::default();
    }
    let count = samples.len() as f64;
    let days = |sample: &Sample| (sample.time_ms - first.time_ms) as f64 / DAY_MS as f64;
    let mean_days = samples.iter().map(days).sum::<f64>() / count;
    let mean_bytes = samples.iter().map(|sample| sample.bytes as f64).sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        let distance = days(sample) - mean_days;
        above += distance * (sample.bytes as f64 - mean_bytes);
        below += distance * distance;
    }
    if below <= 0.0 {
        return Growth::default();
    }
    let per_day = above / below;
    let left_ms = free as f64 / per_day * DAY_MS as f64;
    // Ten years ahead nobody knows.
    let in_sight = per_day >= 1.0 && left_ms < (3650 * DAY_MS) as f64;
    Growth {
        bytes_per_day: Some(per_day.round() as i64),
        full_ms: in_sight.then(|| last.time_ms.saturating_add(left_ms as i64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(per_hour: i64, hours: i64) -> Vec<Sample> {
        let sample = |hour: i64| Sample {
            time_ms: hour * HOUR_MS,
            bytes: (1_000_000 + hour * per_hour).cast_unsigned(),
        };
        (0..=hours).map(sample).collect()
    }

    #[test]
    fn a_steady_growth_fills_what_is_free_on_its_day() {
        let seen = growth(&line(1000, 48), 48_000);
        assert_eq!(seen, Growth { bytes_per_day: Some(24_000), full_ms: Some(48 * HOUR_MS + 2 * DAY_MS) });
    }

    #[test]
    fn what_does_not_grow_or_was_not_watched_has_no_day() {
        assert_eq!(growth(&line(0, 48), 1000).full_ms, None);
        assert_eq!(growth(&line(-10, 48), 1000), Growth { bytes_per_day: Some(-240), full_ms: None });
        assert_eq!(growth(&line(1000, 0), 1000), Growth::default());
        assert_eq!(growth(&[], 1000), Growth::default());
    }
}
