//! What the fuzzers call: each takes any bytes and panics only where a reader is wrong.

use std::{fs::File, io::Write as _, path::PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    chain::OpenLink,
    file::{DiskFile, FileId},
    format::Format,
    img::{
        kind::guess,
        map,
        source::{Source, is_read_here},
    },
    qcow2,
    vol::probe::probe,
};

/// Guest bytes that are read of one image: its tables can claim more than there is time for.
const READ_BYTES: u64 = 8 << 20;
const RANGES: usize = 4096;

/// The first bytes of a file of any format that is looked at in lists; qcow2's header and its extensions.
pub fn header(bytes: &[u8]) {
    let _ = guess(bytes, bytes);
    if let Some(file) = in_memory(bytes)
        && let Ok(looks) = probe(&file, bytes.len() as u64)
    {
        assert!(looks.capacity.is_none_or(|bytes| i64::try_from(bytes).is_ok()));
    }
    if let Ok(header) = qcow2::parse(bytes) {
        assert!(header.cluster_bytes.is_power_of_two());
        assert!(header.refcount_bits.is_power_of_two());
    }
}

/// A VMDK's descriptor.
pub fn vmdk(bytes: &[u8]) {
    if let Ok(names) = crate::img::vmdk::names(bytes) {
        assert!(names.extents.len() <= crate::limits::VMDK_EXTENTS);
    }
}

/// A whole qcow2: mapped, and the first of it read.
pub fn tables(bytes: &[u8]) {
    let Some(source) = open(bytes) else { return };
    let (mut at, mut block) = (0, vec![0; 64 << 10]);
    for _ in 0..RANGES {
        if at >= source.virtual_bytes {
            return;
        }
        let Ok(extent) = map::next(&source, at) else { return };
        assert!(extent.length > 0 && extent.start == at && at + extent.length <= source.virtual_bytes);
        if at < READ_BYTES {
            let _ = source.read(&mut block, at);
        }
        at += extent.length;
    }
}

fn open(bytes: &[u8]) -> Option<Source> {
    let file = in_memory(bytes)?;
    let id = FileId { device: 0, inode: 0 };
    let disk = DiskFile { path: PathBuf::from("/image"), id, file, allocation: bytes.len() as u64 };
    let header = disk.qcow2_header().ok()?;
    if !is_read_here(&header) {
        return None;
    }
    let link =
        OpenLink { disk, format: Format::Qcow2, virtual_bytes: header.virtual_bytes, is_locked: false };
    Source::open_top(link).ok()
}

fn in_memory(bytes: &[u8]) -> Option<File> {
    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).ok()?);
    file.write_all(bytes).ok()?;
    Some(file)
}
