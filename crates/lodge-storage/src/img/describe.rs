//! What an image is, by its header alone.

use std::path::{Path, PathBuf};

use lodge_model::Bytes;
use serde::Deserialize;

use super::{
    foreign::{self, ask, of_json, time_for},
    kind::{ImageFormat, guess},
};
use crate::{
    Storage,
    chain::{Gate, Keys, open_chain},
    error::StorageError,
    file::{Access, DiskFile},
    format::{Format, looks_like},
    limits,
    qcow2::{self, Header},
    vol::tool::Run,
};

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its file.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// The disk's size as a guest sees it.
    pub virtual_size: Bytes,
    /// Bytes the file takes on the host.
    pub allocation: Bytes,
    /// The file's length.
    pub length: Bytes,
    /// Bytes of a cluster, where the format has them.
    pub cluster_size: Option<Bytes>,
    /// qcow2: `0.10` (version 2) or `1.1` (3).
    pub compat: Option<&'static str>,
    /// qcow2: what compressed clusters are compressed by.
    pub compression: Option<&'static str>,
    /// qcow2: bits of a reference count.
    pub refcount_bits: Option<u32>,
    /// The name of the file it stands on, and its format, in the image's words.
    pub backing: Option<(String, Option<String>)>,
    /// Snapshots inside of it.
    pub snapshots: u32,
    /// What else there is to say: `dirty`, `corrupt`, `encrypted`, `extended L2 entries` ….
    pub marks: Vec<&'static str>,
}

impl Storage {
    /// Describes an image of a known format; with `chain`, all it stands on as well, the top one first.
    pub async fn describe_image(
        &self,
        path: &Path,
        format: ImageFormat,
        chain: bool,
    ) -> Result<Vec<Description>, StorageError> {
        if let Some(format) = format.of_disks() {
            let (owned, gate) = (path.to_owned(), self.gate());
            return self
                .blocking(path, limits::LOOK, move || {
                    if chain {
                        describe_chain(&owned, format, &gate)
                    } else {
                        Ok(vec![describe(&owned, format)?])
                    }
                })
                .await;
        }
        let owned = path.to_owned();
        let look = move || {
            let disk = DiskFile::open(&owned, Access::Read)?;
            let length = disk.length()?;
            Ok((foreign::node_of_one(&owned, format)?, disk.allocation, length))
        };
        let (node, allocation, length) = self.blocking(path, limits::LOOK, look).await?;
        let run = Run::new("qemu-img").args(["info", "--output=json", node.name.as_str()]);
        let run = node.files.iter().fold(run, |run, file| run.reads(file)).within(time_for(0));
        let said: Said = of_json(&ask(run, "look at", path, &[]).await?.out, "look at", path)?;
        Ok(vec![Description {
            path: path.to_owned(),
            format,
            virtual_size: Bytes(said.virtual_size),
            allocation: Bytes(allocation),
            length: Bytes(length),
            cluster_size: said.cluster_size.map(Bytes),
            compat: None,
            compression: None,
            refcount_bits: None,
            backing: None,
            snapshots: 0,
            marks: said.dirty_flag.then_some("dirty").into_iter().collect(),
        }])
    }

    /// What a file looks like. A guest can make its raw disk look like anything: whoever acts on this must have
    /// been told so.
    pub async fn looks(&self, path: &Path) -> Result<ImageFormat, StorageError> {
        const SECTOR: u64 = 512;
        let owned = path.to_owned();
        self.blocking(path, limits::LOOK, move || {
            let disk = DiskFile::open(&owned, Access::Read)?;
            let start = disk.start(limits::VMDK_TEXT_BYTES)?;
            let mut end = [0; 512];
            let at = disk.length()?.saturating_sub(SECTOR);
            super::source::read_full(&disk.file, &mut end, at)
                .map_err(|source| StorageError::Open { path: owned, source })?;
            Ok(guess(&start, &end))
        })
        .await
    }
}

/// The part of `qemu-img info --output=json` that formats have in common.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Said {
    virtual_size: u64,
    #[serde(default)]
    cluster_size: Option<u64>,
    #[serde(default)]
    dirty_flag: bool,
}

fn describe_chain(path: &Path, format: Format, gate: &Gate) -> Result<Vec<Description>, StorageError> {
    let gate = Gate { keys: Keys::Asked, ..gate.clone() };
    let links = open_chain(path, format, Access::Read, &gate)?;
    links.iter().map(|link| of_file(&link.disk, link.format)).collect()
}

fn describe(path: &Path, format: Format) -> Result<Description, StorageError> {
    of_file(&DiskFile::open(path, Access::Read)?, format)
}

fn of_file(disk: &DiskFile, format: Format) -> Result<Description, StorageError> {
    let length = disk.length()?;
    let plain = Description {
        path: disk.path.clone(),
        format: format.into(),
        virtual_size: Bytes(length),
        allocation: Bytes(disk.allocation),
        length: Bytes(length),
        cluster_size: None,
        compat: None,
        compression: None,
        refcount_bits: None,
        backing: None,
        snapshots: 0,
        marks: Vec::new(),
    };
    if format == Format::Raw {
        let marks = disk.luks_length().is_ok().then_some("LUKS container").into_iter().collect();
        return Ok(Description { marks, ..plain });
    }
    // Even what no guest could use is described: corrupt, encrypted, its data elsewhere.
    let start = disk.start(qcow2::READ_BYTES)?;
    let header = qcow2::parse(&start).map_err(|fault| StorageError::NotAnImage {
        path: disk.path.clone(),
        format: Format::Qcow2.as_str(),
        why: fault.to_string(),
        looks_like: looks_like(&start),
    })?;
    Ok(Description {
        virtual_size: Bytes(header.virtual_bytes),
        cluster_size: Some(Bytes(header.cluster_bytes)),
        compat: Some(if header.version == 2 { "0.10" } else { "1.1" }),
        compression: Some(if header.has_zstd { "zstd" } else { "zlib" }),
        refcount_bits: Some(header.refcount_bits),
        snapshots: header.snapshots,
        marks: marks(&header),
        backing: header.backing.map(|backing| (backing.name, backing.format)),
        ..plain
    })
}

fn marks(header: &Header) -> Vec<&'static str> {
    [
        (header.is_corrupt, "corrupt"),
        (header.is_dirty, "dirty"),
        (header.is_encrypted, "encrypted"),
        (header.has_data_file, "data in another file"),
        (header.has_lazy_refcounts, "lazy refcounts"),
        (header.has_extended_l2, "extended L2 entries"),
        (header.has_bitmaps, "bitmaps"),
        (header.has_unknown_features, "unknown features"),
    ]
    .into_iter()
    .filter_map(|(is_so, mark)| is_so.then_some(mark))
    .collect()
}
