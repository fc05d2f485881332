//! Disks: what was read and written, how large they are, which of them failed.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use lodge_domain::DiskFacts;
use lodge_domain::control::Refusal;
use lodge_domain::control::tune::block::position;
use lodge_model::domain::disk::Disk;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Guest, Look};

/// What was done to a disk since the guest started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockFigures {
    /// Reads.
    pub rd_req: u64,
    /// Bytes read.
    pub rd_bytes: u64,
    /// Nanoseconds they took.
    pub rd_ns: u64,
    /// Writes.
    pub wr_req: u64,
    /// Bytes written.
    pub wr_bytes: u64,
    /// Nanoseconds they took.
    pub wr_ns: u64,
    /// Flushes.
    pub fl_req: u64,
    /// Nanoseconds they took.
    pub fl_ns: u64,
    /// The highest byte written.
    pub highest: u64,
}

impl BlockFigures {
    fn plus(self, other: Self) -> Self {
        Self {
            rd_req: self.rd_req + other.rd_req,
            rd_bytes: self.rd_bytes + other.rd_bytes,
            rd_ns: self.rd_ns + other.rd_ns,
            wr_req: self.wr_req + other.wr_req,
            wr_bytes: self.wr_bytes + other.wr_bytes,
            wr_ns: self.wr_ns + other.wr_ns,
            fl_req: self.fl_req + other.fl_req,
            fl_ns: self.fl_ns + other.fl_ns,
            highest: self.highest.max(other.highest),
        }
    }
}

/// Sizes of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockSize {
    /// What the guest sees.
    pub capacity: u64,
    /// What it takes on the host, or the highest byte written.
    pub allocation: u64,
    /// How long its file is.
    pub physical: u64,
}

/// What may be read of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// From where.
    pub offset: u64,
    /// How much.
    pub size: u32,
}

/// One of `query-blockstats`, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Counted {
    #[serde(default)]
    pub node_name: Option<String>,
    #[serde(default)]
    pub qdev: Option<String>,
    pub stats: Counters,
    #[serde(default)]
    pub parent: Option<Box<Counted>>,
    #[serde(default)]
    pub backing: Option<Box<Counted>>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    rd_operations: u64,
    rd_bytes: u64,
    rd_total_time_ns: u64,
    wr_operations: u64,
    wr_bytes: u64,
    wr_total_time_ns: u64,
    flush_operations: u64,
    flush_total_time_ns: u64,
    wr_highest_offset: u64,
}

impl Counted {
    /// Its own counters; the highest byte is the file's below it.
    pub fn figures(&self) -> BlockFigures {
        let stats = &self.stats;
        let highest =
            self.parent.as_ref().map_or(stats.wr_highest_offset, |parent| parent.stats.wr_highest_offset);
        BlockFigures {
            rd_req: stats.rd_operations,
            rd_bytes: stats.rd_bytes,
            rd_ns: stats.rd_total_time_ns,
            wr_req: stats.wr_operations,
            wr_bytes: stats.wr_bytes,
            wr_ns: stats.wr_total_time_ns,
            fl_req: stats.flush_operations,
            fl_ns: stats.flush_total_time_ns,
            highest,
        }
    }

    /// The number in its node's name: `libvirt-2-format` is 2.
    pub fn index(&self) -> Option<u32> {
        self.node_name.as_deref()?.strip_prefix("libvirt-")?.split('-').next()?.parse().ok()
    }
}

/// The counters of every disk, by its alias.
pub(crate) fn by_alias(counted: Vec<Counted>) -> HashMap<String, Counted> {
    let alias = |path: &str| {
        let path = path.strip_suffix("/virtio-backend").unwrap_or(path);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    };
    counted.into_iter().filter_map(|one| Some((alias(one.qdev.as_deref()?), one))).collect()
}

/// Sizes of a disk's file: allocation is what its blocks take.
pub(crate) fn file_size(path: &Path, format: &str) -> std::io::Result<BlockSize> {
    let meta = std::fs::metadata(path)?;
    let physical = if meta.file_type().is_block_device() {
        use std::io::{Seek, SeekFrom};
        std::fs::File::open(path)?.seek(SeekFrom::End(0))?
    } else {
        meta.len()
    };
    let allocation =
        if meta.file_type().is_block_device() { physical } else { meta.blocks().saturating_mul(512) };
    let capacity = if format == "qcow2" { qcow2_size(path)? } else { physical };
    Ok(BlockSize { capacity, allocation, physical })
}

/// The size in a qcow2 image's header.
fn qcow2_size(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut header = [0_u8; 32];
    std::fs::File::open(path)?.read_exact_at(&mut header, 0)?;
    let (magic, size) = (&header[..4], &header[24..32]);
    if magic != b"QFI\xfb" {
        return Err(std::io::Error::other("it is no qcow2 image"));
    }
    Ok(size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)))
}

impl Guest {
    /// What was done to a disk (its target or path), or to all together (empty).
    #[crate::boxed]
    pub async fn block_figures(&self, path: &str) -> Look<BlockFigures> {
        self.must_run()?;
        let digest = self.digest()?;
        let wanted: Vec<&DiskFacts> = if path.is_empty() {
            digest.disks.iter().collect()
        } else {
            let is_it = |disk: &&DiskFacts| disk.target == path || disk.path.as_deref() == Some(path);
            let disk = digest.disks.iter().find(is_it);
            vec![disk.ok_or_else(|| Refusal::arg(format!("invalid path: {path}")))?]
        };
        let counted = by_alias(self.ask("query-blockstats", ()).await?);
        let of = |disk: &&DiskFacts| counted.get(disk.alias.as_deref()?).map(Counted::figures);
        let figures: Vec<BlockFigures> = wanted.iter().filter_map(of).collect();
        if figures.is_empty() && !path.is_empty() {
            let alias = wanted.first().and_then(|disk| disk.alias.clone()).unwrap_or_default();
            return Err(Refusal::internal(format!("cannot find statistics for device '{alias}'")));
        }
        Ok(figures.into_iter().fold(BlockFigures::default(), BlockFigures::plus))
    }

    /// Sizes of a disk (its target or path).
    #[crate::boxed]
    pub async fn block_size(&self, path: &str) -> Look<BlockSize> {
        let document = self.document()?;
        let at = position(&document, path)
            .ok_or_else(|| Refusal::arg(format!("invalid path {path} not assigned to domain")))?;
        let disk = &document.devices.disks[at];
        let Some(file) = disk.path().map(Path::new) else {
            if disk.source.is_none() {
                return Err(Refusal::arg(format!("disk '{path}' does not currently have a source assigned")));
            }
            if !self.snapshot.is_active() {
                let text = "sizes of disks that are no local file are told only while the guest runs";
                return Err(Refusal::unsupported(text));
            }
            return self.size_by_qemu(disk, path).await;
        };
        let mut size = file_size(file, disk.format()).map_err(|error| {
            let text = format!("Failed to open file '{}': {}", file.display(), plain(&error));
            Refusal::new(lodge_domain::control::Sort::System(error.raw_os_error().unwrap_or(0)), text)
        })?;
        // A running guest's device grows with what it writes; the kernel does not know how far.
        let is_device = disk.kind == lodge_model::domain::disk::SourceKind::Block;
        if is_device && disk.format() != "raw" && self.snapshot.is_active() {
            size.allocation = self.block_figures(path).await?.highest;
        }
        Ok(size)
    }

    /// Sizes as the running QEMU knows them: of an image that a server has.
    async fn size_by_qemu(&self, disk: &Disk, path: &str) -> Look<BlockSize> {
        let nodes: Vec<Value> = self.ask("query-named-block-nodes", json!({ "flat": true })).await?;
        let index = disk.source.as_deref().and_then(|source| source.index).unwrap_or_default();
        let name = format!("libvirt-{index}-format");
        let node = nodes.iter().find(|node| node.get("node-name").and_then(Value::as_str) == Some(&name));
        let size = |field: &str| node?.get("image")?.get(field)?.as_u64();
        let capacity = size("virtual-size")
            .ok_or_else(|| Refusal::internal(format!("QEMU does not tell the size of disk '{path}'")))?;
        let physical = size("actual-size").unwrap_or(capacity);
        let allocation = match size("actual-size") {
            Some(bytes) => bytes,
            None => self.block_figures(path).await?.highest,
        };
        Ok(BlockSize { capacity, allocation, physical })
    }

    /// Bytes of a disk's file. Only of a raw one: those of others are no disk's.
    pub fn peek_block(&self, path: &str, peek: &Peek) -> Look<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let document = self.document()?;
        let at = position(&document, path)
            .ok_or_else(|| Refusal::arg(format!("disk '{path}' not found in domain")))?;
        let disk = &document.devices.disks[at];
        if disk.format() != "raw" {
            let format = disk.format();
            return Err(Refusal::unsupported(format!(
                "peeking is only supported for disk with 'raw' format not '{format}'"
            )));
        }
        let file =
            disk.path().ok_or_else(|| Refusal::unsupported("peeking is only supported for local files"))?;
        let failed = |error: std::io::Error| {
            let text = format!("{file}: failed to seek or read: {}", plain(&error));
            Refusal::new(lodge_domain::control::Sort::System(error.raw_os_error().unwrap_or(0)), text)
        };
        let mut bytes = vec![0; peek.size as usize];
        std::fs::File::open(file)
            .and_then(|file| file.read_exact_at(&mut bytes, peek.offset))
            .map_err(failed)?;
        Ok(bytes)
    }

    /// The disks that QEMU has stopped for an error: target, and `virDomainDiskErrorCode` (1: unspecified, 2: full).
    #[crate::boxed]
    pub async fn disk_errors(&self) -> Look<Vec<(String, i32)>> {
        self.must_run()?;
        let digest = self.digest()?;
        let answer: Vec<Value> = self.ask("query-block", ()).await?;
        let status = |disk: &DiskFacts| {
            let alias = disk.alias.as_deref()?;
            let device = answer.iter().find(|device| {
                let qdev = device.get("qdev").and_then(Value::as_str).unwrap_or_default();
                qdev.split('/').any(|part| part == alias)
            })?;
            match device.get("io-status").and_then(Value::as_str)? {
                "failed" => Some((disk.target.clone(), 1)),
                "nospace" => Some((disk.target.clone(), 2)),
                _ => None,
            }
        };
        Ok(digest.disks.iter().filter_map(status).collect())
    }

    /// How many disks it has.
    pub fn disk_count(&self) -> Look<usize> {
        Ok(self.digest()?.disks.len())
    }
}

/// The kernel's words without Rust's number behind them.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
