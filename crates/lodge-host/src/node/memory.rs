//! Memory by cell and by size of page, and the kernel's merging of equal pages (KSM).

use std::fs;

use super::{Node, NodeError};

/// Pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize {
    /// The size.
    pub kib: u32,
    /// How many the cell has in all.
    pub count: u64,
}

/// A setting or figure of KSM, by libvirt's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeSetting {
    /// libvirt's name.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// It is told in 32 bits.
    pub is_short: bool,
}

/// libvirt's name, the kernel's file, whether it is told in 32 bits, whether it can be set.
const MERGE: [(&str, &str, bool, bool); 8] = [
    ("shm_pages_to_scan", "pages_to_scan", true, true),
    ("shm_sleep_millisecs", "sleep_millisecs", true, true),
    ("shm_pages_shared", "pages_shared", false, false),
    ("shm_pages_sharing", "pages_sharing", false, false),
    ("shm_pages_unshared", "pages_unshared", false, false),
    ("shm_pages_volatile", "pages_volatile", false, false),
    ("shm_full_scans", "full_scans", false, false),
    ("shm_merge_across_nodes", "merge_across_nodes", true, true),
];

/// A line `NAME: 12 kB`, which in a cell's file begins with `Node 0 `.
pub(super) fn figure(text: &str, name: &str) -> Option<u64> {
    let of = |line: &str| {
        let (before, value) = line.split_once(':')?;
        (before.split_whitespace().next_back()? == name).then_some(())?;
        value.split_whitespace().next()?.parse().ok()
    };
    text.lines().find_map(of)
}

/// The size of the kernel's ordinary pages.
fn page_kib() -> u32 {
    u32::try_from(rustix::param::page_size() / 1024).unwrap_or(4)
}

impl Node {
    /// A figure of a cell's memory in KiB.
    pub fn cell_figure(&self, cell: u32, name: &str) -> Option<u64> {
        match self.text(&format!("/sys/devices/system/node/node{cell}/meminfo")) {
            Some(text) => figure(&text, name),
            // A kernel without cells has one, which is all.
            None => (cell == 0).then(|| self.meminfo(name)),
        }
    }

    /// Sizes of pages there are, small ones first.
    pub fn page_sizes(&self) -> Vec<u32> {
        let entries = fs::read_dir(self.path("/sys/kernel/mm/hugepages")).into_iter().flatten().flatten();
        let huge = entries.filter_map(|entry| {
            entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        });
        let mut sizes: Vec<u32> = std::iter::once(page_kib()).chain(huge).collect();
        sizes.sort_unstable();
        sizes
    }

    fn huge(&self, cell: u32, kib: u32, file: &str) -> Option<u64> {
        let own = format!("/sys/devices/system/node/node{cell}/hugepages/hugepages-{kib}kB/{file}");
        let all = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/{file}");
        self.number(&own).or_else(|| (cell == 0).then(|| self.number(&all)).flatten())
    }

    /// The pages of a cell. Ordinary ones are what the huge ones leave.
    pub fn cell_pages(&self, cell: u32) -> Vec<PageSize> {
        let total = self.cell_figure(cell, "MemTotal").unwrap_or_default();
        let mut pages: Vec<PageSize> = self
            .page_sizes()
            .into_iter()
            .skip(1)
            .map(|kib| PageSize { kib, count: self.huge(cell, kib, "nr_hugepages").unwrap_or_default() })
            .collect();
        let taken: u64 = pages.iter().map(|page| u64::from(page.kib) * page.count).sum();
        let kib = page_kib();
        pages.insert(0, PageSize { kib, count: total.saturating_sub(taken) / u64::from(kib) });
        pages
    }

    /// Free pages of a size in a cell.
    pub fn free_pages(&self, cell: u32, kib: u32) -> Result<u64, NodeError> {
        let no_cell =
            || NodeError::NoSuch(format!("unable to get free memory of cell {cell}: there is none"));
        if kib == page_kib() {
            let free = self.cell_figure(cell, "MemFree").ok_or_else(no_cell)?;
            return Ok(free / u64::from(kib));
        }
        self.huge(cell, kib, "free_hugepages")
            .ok_or_else(|| NodeError::NoPages(format!("page size {kib} is not available on node {cell}")))
    }

    /// Bytes free in each of `count` cells from `first` on.
    pub fn cells_free_bytes(&self, first: u32, count: u32) -> Result<Vec<u64>, NodeError> {
        let ids: Vec<u32> = self.cells().iter().map(|cell| cell.id).collect();
        let last = ids.last().copied().unwrap_or_default();
        if first > last {
            let text = format!("start cell {first} out of range (0-{last})");
            return Err(NodeError::NoSuch(text));
        }
        let wanted = ids.into_iter().filter(|id| *id >= first && *id - first < count);
        Ok(wanted.map(|id| self.cell_figure(id, "MemFree").unwrap_or_default() * 1024).collect())
    }

    /// Makes the pool of huge pages of a cell this large, or larger by so many.
    pub fn set_pages(&self, cell: Option<u32>, kib: u32, count: u64, add: bool) -> Result<(), NodeError> {
        if kib == page_kib() {
            return Err(NodeError::Unsupported("system pages pool can't be modified".to_owned()));
        }
        let base = match cell {
            Some(cell) => format!("/sys/devices/system/node/node{cell}/hugepages"),
            None => "/sys/kernel/mm/hugepages".to_owned(),
        };
        let file = format!("{base}/hugepages-{kib}kB/nr_hugepages");
        let Some(now) = self.number::<u64>(&file) else {
            return Err(NodeError::NoPages(format!("page size {kib} is not available")));
        };
        let wanted = if add { now.saturating_add(count) } else { count };
        let path = self.path(&file);
        fs::write(&path, wanted.to_string()).map_err(|source| NodeError::File {
            act: "write",
            path: path.clone(),
            source,
        })?;
        match self.number::<u64>(&file) {
            Some(made) if made == wanted => Ok(()),
            made => Err(NodeError::Unsupported(format!(
                "Unable to allocate {wanted} pages. Allocated only {}",
                made.unwrap_or(now)
            ))),
        }
    }

    /// KSM's settings and figures that this kernel has.
    pub fn merging(&self) -> Vec<MergeSetting> {
        let told = |(name, file, is_short, _): &(&'static str, &str, bool, bool)| {
            let value = self.number(&format!("/sys/kernel/mm/ksm/{file}"))?;
            Some(MergeSetting { name, value, is_short: *is_short })
        };
        MERGE.iter().filter_map(told).collect()
    }

    /// Changes KSM's settings. Nothing is changed where a name is no setting.
    pub fn set_merging(&self, settings: &[(String, u64)]) -> Result<(), NodeError> {
        let mut files = Vec::new();
        for (name, value) in settings {
            let known = MERGE.iter().find(|(known, _, _, can_be_set)| known == name && *can_be_set);
            let (_, file, ..) =
                known.ok_or_else(|| NodeError::Invalid(format!("parameter '{name}' not supported")))?;
            let path = self.path(&format!("/sys/kernel/mm/ksm/{file}"));
            if !path.exists() {
                return Err(NodeError::Unsupported(format!(
                    "Parameter '{name}' is not supported by this kernel"
                )));
            }
            files.push((path, value));
        }
        for (path, value) in files {
            fs::write(&path, value.to_string()).map_err(|source| NodeError::File {
                act: "write",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}
