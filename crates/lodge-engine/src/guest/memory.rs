//! Memory: what the guest has, what it says it uses, what its process takes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Guest, Look, process};

/// One of libvirt's figures of memory: its number (`virDomainMemoryStatTags`), its word, its value.
pub type MemoryFigure = (i32, &'static str, u64);

/// QEMU's words, with libvirt's numbers and words; values are bytes where `true`.
const FIGURES: [(&str, i32, &str, bool); 11] = [
    ("stat-swap-in", 0, "swap_in", true),
    ("stat-swap-out", 1, "swap_out", true),
    ("stat-major-faults", 2, "major_fault", false),
    ("stat-minor-faults", 3, "minor_fault", false),
    ("stat-free-memory", 4, "unused", true),
    ("stat-total-memory", 5, "available", true),
    ("stat-available-memory", 8, "usable", true),
    ("last-update", 9, "last-update", false),
    ("stat-disk-caches", 10, "disk_caches", true),
    ("stat-htlb-pgalloc", 11, "hugetlb_pgalloc", false),
    ("stat-htlb-pgfail", 12, "hugetlb_pgfail", false),
];
/// `VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON`.
const ACTUAL: i32 = 6;
/// `VIR_DOMAIN_MEMORY_STAT_RSS`.
const RSS: i32 = 7;

/// The balloon is asked in passing; who needs it exactly reads the document.
const BALLOON_PATIENCE: Duration = Duration::from_millis(300);

impl Guest {
    /// Memory the guest has now, in KiB: as QEMU says, else as the document has it.
    #[crate::boxed]
    pub async fn memory_kib(&self) -> Look<u64> {
        let digest = self.digest()?;
        if digest.balloon.is_some()
            && let Ok(monitor) = self.monitor()
            && let Ok(answer) = monitor.execute_within::<Value>("query-balloon", (), BALLOON_PATIENCE).await
            && let Some(bytes) = answer.get("actual").and_then(Value::as_u64)
        {
            return Ok(bytes / 1024);
        }
        Ok(if digest.balloon.is_some() { digest.memory_kib } else { digest.memory_max_kib })
    }

    /// All figures of its memory that there are, in libvirt's order.
    #[crate::boxed]
    pub async fn memory_figures(&self) -> Look<Vec<MemoryFigure>> {
        let pid = self.pid()?;
        let digest = self.digest()?;
        let mut figures = vec![(ACTUAL, "actual", self.memory_kib().await?)];
        if let Some(alias) = &digest.balloon {
            figures.extend(self.told_by_guest(alias).await.unwrap_or_default());
        }
        figures.extend(process::resident_kib(pid).map(|kib| (RSS, "rss", kib)));
        Ok(figures)
    }

    /// What the guest's balloon driver has told; what it has not is left out.
    async fn told_by_guest(&self, alias: &str) -> Look<Vec<MemoryFigure>> {
        let question = json!({ "path": format!("/machine/peripheral/{alias}"), "property": "guest-stats" });
        let answer: Value = self.ask("qom-get", question).await?;
        let stats = answer.get("stats").cloned().unwrap_or_default();
        let figure = |(name, number, word, in_bytes): (&str, i32, &'static str, bool)| {
            let value = stats.get(name).or_else(|| answer.get(name))?.as_u64()?;
            // All bits set: not told.
            let told = value != u64::MAX;
            told.then_some((number, word, if in_bytes { value / 1024 } else { value }))
        };
        Ok(FIGURES.into_iter().filter_map(figure).collect())
    }

    /// Bytes of the guest's memory.
    #[crate::boxed]
    pub async fn peek_memory(&self, offset: u64, size: u32, physical: bool) -> Look<Vec<u8>> {
        let command = if physical { "pmemsave" } else { "memsave" };
        self.written_by_qemu(u64::from(size), |scratch| async move {
            let arguments = json!({ "val": offset, "size": size, "filename": scratch.file });
            self.ask::<serde::de::IgnoredAny>(command, arguments).await.map(drop)
        })
        .await
    }
}
