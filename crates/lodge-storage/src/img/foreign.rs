//! Images that this process does not read itself: `qemu-img`, shut in, with each file named.
//!
//! Rules: what an image names is read from its header here, before, and judged; `qemu-img` gets the image as a tree
//! of nodes that has every file in it and `null` where a backing file would go, so it follows no name. What it could
//! still want to open (a VMDK's extents) is not in its root unless it was judged.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    kind::ImageFormat,
    map::{Extent, Map},
    vmdk,
};
use crate::{
    Storage,
    chain::{Gate, open_chain},
    error::StorageError,
    file::{Access, DiskFile},
    format::{Format, looks_like},
    limits,
    pool::error::PoolError,
    vol::tool::{Answer, Run},
};

/// An image as `qemu-img` is told of it.
pub(crate) struct Node {
    /// `json:{…}`
    pub name: String,
    /// All files that are opened for it, its own first.
    pub files: Vec<PathBuf>,
    /// Their bytes on the host.
    pub bytes: u64,
}

/// Describes an image and all it stands on.
pub(crate) fn node(path: &Path, format: ImageFormat, gate: &Gate) -> Result<Node, StorageError> {
    let Some(format) = format.of_disks() else { return node_of_one(path, format) };
    let links = open_chain(path, format, Access::Read, gate)?;
    let mut tree = Value::Null;
    for link in links.iter().rev() {
        tree = match link.format {
            Format::Raw => json!({ "driver": "raw", "file": file_node(&link.disk.path)? }),
            Format::Qcow2 => {
                json!({ "driver": "qcow2", "file": file_node(&link.disk.path)?, "backing": tree })
            }
        };
    }
    Ok(Node {
        name: format!("json:{tree}"),
        files: links.iter().map(|link| link.disk.path.clone()).collect(),
        bytes: links.iter().map(|link| link.disk.allocation).sum(),
    })
}

/// Describes an image without what it stands on.
pub(crate) fn node_of_one(path: &Path, format: ImageFormat) -> Result<Node, StorageError> {
    let disk = DiskFile::open(path, Access::Read)?;
    let mut files = vec![path.to_owned()];
    files.extend(judged(&disk, format)?);
    let mut tree = json!({ "driver": format.as_str(), "file": file_node(path)? });
    if matches!(format, ImageFormat::Qcow2 | ImageFormat::Qed | ImageFormat::Vmdk) {
        tree["backing"] = Value::Null;
    }
    Ok(Node { name: format!("json:{tree}"), files, bytes: disk.allocation })
}

fn file_node(path: &Path) -> Result<Value, StorageError> {
    let text = path.to_str().ok_or_else(|| StorageError::Named {
        path: path.to_owned(),
        field: "path".to_owned(),
        value: path.display().to_string(),
        why: "it is not text, and qemu-img is told of files in JSON",
    })?;
    Ok(json!({ "driver": "file", "filename": text }))
}

/// The further files of an image, if all it names may be opened.
fn judged(disk: &DiskFile, format: ImageFormat) -> Result<Vec<PathBuf>, StorageError> {
    match format {
        ImageFormat::Vmdk => judged_vmdk(disk),
        ImageFormat::Qed => refuse_qed_backing(disk).map(|()| Vec::new()),
        ImageFormat::Qcow2 => refuse_data_file(disk).map(|()| Vec::new()),
        ImageFormat::Raw
        | ImageFormat::Vdi
        // QEMU knows of no parents of these.
        | ImageFormat::Vpc
        | ImageFormat::Vhdx => Ok(Vec::new()),
    }
}

fn judged_vmdk(disk: &DiskFile) -> Result<Vec<PathBuf>, StorageError> {
    let start = disk.start(limits::VMDK_TEXT_BYTES)?;
    let names = vmdk::names(&start).map_err(|fault| StorageError::NotAnImage {
        path: disk.path.clone(),
        format: ImageFormat::Vmdk.as_str(),
        why: fault.to_string(),
        looks_like: looks_like(&start),
    })?;
    let refuse = |field: String, value: &str, why| StorageError::Named {
        path: disk.path.clone(),
        field,
        value: value.to_owned(),
        why,
    };
    if let Some(parent) = &names.parent {
        return Err(refuse("parent".to_owned(), parent, "a VMDK is read alone; let its maker flatten it"));
    }
    let dir = disk.path.parent().unwrap_or(Path::new("/"));
    let mut files = Vec::new();
    for (number, name) in names.extents.iter().enumerate() {
        let field = || format!("extent {}", number + 1);
        if name.is_empty() || name.contains('/') || name.contains(':') || name == ".." {
            return Err(refuse(field(), name, "extents lie beside their descriptor"));
        }
        let path = dir.join(name);
        let is_file = path.symlink_metadata().map(|metadata| metadata.is_file());
        match is_file {
            Ok(true) => files.push(path),
            Ok(false) => return Err(refuse(field(), name, "it is not a plain file")),
            Err(_) => return Err(refuse(field(), name, "there is no such file")),
        }
    }
    Ok(files)
}

fn refuse_data_file(disk: &DiskFile) -> Result<(), StorageError> {
    match disk.qcow2_header() {
        // A check is what can help it.
        Err(StorageError::MarkedCorrupt { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A QED's header, from QEMU's docs/specs/qed_spec.rst: features at 16, the name's place and length at 56 and 60.
fn refuse_qed_backing(disk: &DiskFile) -> Result<(), StorageError> {
    const HAS_BACKING: u8 = 1;
    let start = disk.start(limits::VMDK_TEXT_BYTES)?;
    let number = |at: usize| {
        let bytes = start.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    if start.get(16).is_none_or(|features| features & HAS_BACKING == 0) {
        return Ok(());
    }
    let (at, length) = (number(56), number(60));
    let name = start.get(at..at.saturating_add(length)).unwrap_or_default();
    Err(StorageError::Named {
        path: disk.path.clone(),
        field: "backing file".to_owned(),
        value: String::from_utf8_lossy(name).into_owned(),
        why: "a QED is read alone",
    })
}

/// How long a tool may read or write so much. A disk that is slower than this is ill.
pub(crate) fn time_for(bytes: u64) -> Duration {
    const BYTES_A_SECOND: u64 = 4 << 20;
    limits::TOOL + Duration::from_secs(bytes / BYTES_A_SECOND)
}

/// Runs `qemu-img` on an image; one that does not succeed is an error unless its status is in `good`.
pub(crate) async fn ask(
    run: Run,
    act: &'static str,
    path: &Path,
    good: &[i32],
) -> Result<Answer, StorageError> {
    let answer = run.answer().await.map_err(|error| of_pool(error, path))?;
    match answer.code {
        Some(code) if code == 0 || good.contains(&code) => Ok(answer),
        _ => Err(said(&answer, act, path)),
    }
}

/// What a tool that failed said.
pub(crate) fn said(answer: &Answer, act: &'static str, path: &Path) -> StorageError {
    let words = answer.words.strip_prefix("qemu-img: ").unwrap_or(&answer.words);
    let words = if words.is_empty() { answer.ending.clone() } else { words.to_owned() };
    StorageError::Tool { act, path: path.to_owned(), words }
}

pub(crate) fn of_pool(error: PoolError, path: &Path) -> StorageError {
    tracing::debug!(path = %path.display(), %error, "tool not run");
    match error {
        PoolError::Disk(error) => error,
        error => StorageError::Volume { source: Box::new(error) },
    }
}

/// `qemu-img map`.
pub(crate) async fn map(storage: &Storage, path: &Path, format: ImageFormat) -> Result<Map, StorageError> {
    let (owned, gate) = (path.to_owned(), storage.gate());
    let node = storage.blocking(path, limits::LOOK, move || self::node(&owned, format, &gate)).await?;
    let run = Run::new("qemu-img").args(["map", "--output=json", node.name.as_str()]);
    let run = node.files.iter().fold(run, |run, file| run.reads(file)).within(time_for(node.bytes));
    let answer = ask(run, "map", path, &[]).await?;
    let extents: Vec<Extent> = of_json(&answer.out, "map", path)?;
    Ok(Map { files: node.files, extents })
}

/// Reads a tool's JSON.
pub(crate) fn of_json<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    act: &'static str,
    path: &Path,
) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| StorageError::Tool {
        act,
        path: path.to_owned(),
        words: format!("its answer is not what it should be: {error}"),
    })
}
