//! Use cases of what is wrong with files and how pools fill, and the look in the background.

use std::{collections::HashSet, sync::Arc, time::Duration};

use lodge_api::{DiskUsageView, DoctorQuery, FindingView, GrowthView, RepairOptions, UsageView};
use lodge_model::Kind;
use lodge_storage::{
    DoctorOptions, Filling, Finding, FindingKind, Growth, PoolEvent, RoomWatch, Usage, Warned,
};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// How often is looked without anything having happened.
const LOOK: Duration = Duration::from_mins(10);
/// What happens close together is looked at once.
const CALM: Duration = Duration::from_secs(5);

impl Engine {
    /// What is wrong with the files of pools, images and guests.
    #[crate::boxed]
    pub async fn doctor(&self, _caller: &Caller, query: &DoctorQuery) -> Result<Vec<FindingView>> {
        let found = self.pools.doctor(DoctorOptions { deep: query.deep }).await?;
        Ok(found.into_iter().map(finding_view).collect())
    }

    /// Repairs one finding, or says what would be done.
    #[crate::boxed]
    pub async fn repair(&self, caller: &Caller, id: &str, options: RepairOptions) -> Result<FindingView> {
        caller.may_change()?;
        let found = self.pools.repair(id, !options.apply).await?;
        let found = found.ok_or_else(|| {
            EngineError::new(Kind::NotFound, format!("there is no finding `{id}` (any more)"))
                .with_hint("see `lodge storage doctor`")
        })?;
        if options.apply && !found.is_safe {
            let text = format!("`{id}` is not repaired by itself: {}", found.why);
            return Err(EngineError::new(Kind::Unsupported, text).with_hint(found.repair));
        }
        let view = finding_view(found);
        if options.apply {
            self.feed.publish("storage.repaired", &view.path, serde_json::json!({ "finding": view.id }));
        }
        Ok(FindingView { repaired: options.apply, ..view })
    }

    /// How full a pool is, how it grows, and when it will be full.
    #[crate::boxed]
    pub async fn usage(&self, _caller: &Caller, pool: &str) -> Result<UsageView> {
        Ok(usage_view(self.pools.usage(pool).await?))
    }

    /// Notes how pools fill and which files disks are, and tells what should worry somebody: at times, and soon after
    /// a pool was looked at anew.
    pub(crate) fn watch_storage(&self) {
        let (engine, mut events) = (self.clone(), self.pools.subscribe());
        let warned = Arc::new(Warned::default());
        self.watch_room(Arc::clone(&warned));
        self.spawn(async move {
            if let Err(error) = engine.storage.see_what_stands().await {
                tracing::warn!(%error, "which files stand on which is not seen yet");
            }
            let mut told = HashSet::new();
            loop {
                engine.look_at_storage(&warned, &mut told).await;
                let due = tokio::time::sleep(LOOK);
                tokio::pin!(due);
                loop {
                    tokio::select! {
                        () = &mut due => break,
                        event = events.recv() => match event {
                            Ok((_, _, PoolEvent::Refreshed | PoolEvent::Started)) | Err(RecvError::Lagged(_)) => {
                                tokio::time::sleep(CALM).await;
                                break;
                            }
                            Ok(_) => {}
                            Err(RecvError::Closed) => return,
                        }
                    }
                }
                while events.try_recv().is_ok() {}
            }
        });
    }

    /// Looks every few seconds at what is free where running guests write: such a pool may be full within minutes.
    fn watch_room(&self, warned: Arc<Warned>) {
        let engine = self.clone();
        self.spawn(async move {
            let mut watch = RoomWatch::default();
            loop {
                for filling in engine.pools.watch_room(&mut watch, &warned).await {
                    engine.tell_filling(&filling);
                }
                tokio::time::sleep(watch.pause()).await;
            }
        });
    }

    async fn look_at_storage(&self, warned: &Warned, told: &mut HashSet<String>) {
        match self.pools.sample(warned).await {
            Ok(filling) => filling.iter().for_each(|filling| self.tell_filling(filling)),
            Err(error) => tracing::warn!(%error, "how pools fill is not noted"),
        }
        let found = match self.pools.look_for_moves().await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "moved disks not looked for"),
        };
        for finding in
            found.into_iter().filter(|finding| told.insert(format!("{} {}", finding.id, finding.why)))
        {
            let kind = if finding.kind == FindingKind::Moved { "disk.moved" } else { "disk.replaced" };
            tracing::warn!(path = %finding.path.display(), "{}", finding.why);
            let data = serde_json::json!({ "why": finding.why, "next": finding.repair });
            self.feed.publish(kind, finding.path.display().to_string(), data);
        }
    }

    fn tell_filling(&self, filling: &Filling) {
        let Filling { pool, percent, available, full_ms } = filling;
        tracing::warn!(pool = %pool, percent, available, "pool is filling up");
        let data =
            serde_json::json!({ "percent": percent, "available_bytes": available, "full_ms": full_ms });
        self.feed.publish("pool.filling", pool.clone(), data);
    }
}

fn finding_view(finding: Finding) -> FindingView {
    FindingView {
        id: finding.id,
        kind: finding.kind.as_str().to_owned(),
        path: finding.path.display().to_string(),
        why: finding.why,
        repair: finding.repair,
        safe: finding.is_safe,
        repaired: false,
    }
}

fn usage_view(usage: Usage) -> UsageView {
    let growth = |growth: Growth| GrowthView { bytes_per_day: growth.bytes_per_day, full_ms: growth.full_ms };
    let promised = usage.disks.iter().map(|disk| disk.guest_bytes.max(disk.host_bytes));
    UsageView {
        pool: usage.pool.name,
        capacity_bytes: usage.pool.capacity,
        allocation_bytes: usage.pool.allocation,
        available_bytes: usage.pool.available,
        promised_bytes: promised.fold(0, u64::saturating_add),
        growth: growth(usage.growth),
        disks: usage
            .disks
            .into_iter()
            .map(|disk| DiskUsageView {
                path: disk.path.display().to_string(),
                format: disk.format.to_owned(),
                guest_bytes: disk.guest_bytes,
                host_bytes: disk.host_bytes,
                growth: growth(disk.growth),
                needed_by: disk.needs.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}
