//! What the fuzzers call: each takes any bytes as a device and panics only where a reader is wrong.
//!
//! Checksums are not looked at here, which no fuzzer could make; all that lies behind them is reached.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use lodge_model::guest_disk::FilePath;

use crate::{
    blocks::Blocks,
    edit,
    fs::{FileSystem, FsError, NodeKind, btrfs::Btrfs, ext::Ext, fat::Fat, xfs::Xfs},
    initramfs,
    layout::Devices,
    root, source, view, worker, workshop,
};

/// Files, directories and links that are looked at.
const LOOKS: usize = 48;
const NAMES: usize = 1 << 12;
const READ_BYTES: usize = 1 << 16;

/// Any bytes as an XFS.
pub fn xfs(bytes: &[u8]) {
    xfs_on(Arc::new(Device(bytes.to_vec())));
}

/// Any bytes as a btrfs.
pub fn btrfs(bytes: &[u8]) {
    btrfs_on(Arc::new(Device(bytes.to_vec())));
}

/// Any bytes as a disk, and as four: tables, arrays, volumes. Each device that was found can be read at its ends.
pub fn layout(bytes: &[u8]) {
    for each in [bytes.len(), bytes.len().div_ceil(4)] {
        let disk = |bytes: &[u8]| Arc::new(Device(bytes.to_vec())) as Arc<dyn Blocks>;
        let disks = bytes.chunks(each.max(1)).enumerate();
        layout_of(disks.map(|(number, bytes)| (format!("sd{number}"), disk(bytes))).collect());
    }
}

fn layout_of(disks: Vec<(String, Arc<dyn Blocks>)>) {
    let devices = Devices::read(disks);
    for device in devices.layout().devices() {
        if let Some(blocks) = devices.device(&device.name) {
            let mut byte = [0];
            let ends = [Some(0), blocks.bytes().checked_sub(1)];
            let read = ends.into_iter().flatten().filter(|at| *at < blocks.bytes());
            read.for_each(|at| assert!(blocks.read_at(at, &mut byte).is_ok()));
        }
    }
}

/// Any bytes as an ext file system, and as a FAT.
pub fn tree(bytes: &[u8]) {
    let blocks: Arc<dyn Blocks> = Arc::new(Device(bytes.to_vec()));
    if let Ok(fs) = Ext::open(&blocks) {
        look(&fs);
    }
    if let Ok(fs) = Fat::open(blocks) {
        look(&fs);
    }
}

/// Any bytes as an initramfs, packed or not.
pub fn initramfs(bytes: &[u8]) {
    initramfs::fuzz(bytes);
}

/// Any bytes as an ext file system below what the crate reads: names, maps, attributes, and another UUID.
pub fn ext(bytes: &[u8]) {
    edit::fuzz::ext(&writable(bytes));
}

/// Any bytes as a device that is given another identity, of each kind that there is.
pub fn identities(bytes: &[u8]) {
    edit::fuzz::identities(&writable(bytes));
}

/// Any bytes as a qcow2 that is read at its ends.
pub fn qcow2(bytes: &[u8]) {
    let made = rustix::fs::memfd_create("qcow2", rustix::fs::MemfdFlags::CLOEXEC).map(File::from);
    let Ok(mut file) = made else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let layers = vec![source::Layer { file, format: source::LayerFormat::Qcow2 }];
    if let Ok(disk) = (source::DiskImage { name: "vda".to_owned(), layers, writable: false }).open() {
        let mut piece = [0; 512];
        for at in [0, disk.bytes() / 2, disk.bytes().saturating_sub(512)] {
            let _ = disk.read_at(at, &mut piece);
        }
    }
}

/// Any bytes as words of another process or program: requests, answers, a kernel's requests, a console, a redo log, a
/// guest's table of mounts.
pub fn words(bytes: &[u8]) {
    edit::fuzz::words(bytes);
    worker::fuzz(bytes);
    view::fuzz(bytes);
    workshop::fuzz(bytes);
    root::fuzz(bytes);
    let disk: Arc<dyn Blocks> = Arc::new(Device(vec![0; 1 << 20]));
    let _ = edit::fuzz::redo_log(bytes, &disk);
}

fn writable(bytes: &[u8]) -> Arc<dyn Blocks> {
    Arc::new(Writable(Mutex::new(bytes.to_vec())))
}

/// Lists and reads what is there without asking more than a look can answer: a reader of others' makes no promises.
fn look(fs: &dyn FileSystem) {
    let Ok(root) = FilePath::new("/") else { return };
    for entry in fs.list(&root, NAMES).unwrap_or_default().into_iter().take(LOOKS) {
        let Ok(path) = FilePath::new([b"/", &entry.name[..]].concat()) else { continue };
        let _ = (fs.node(&path), fs.link(&path), fs.list(&path, NAMES), fs.read(&path, 0, READ_BYTES));
    }
}

/// Any device as an XFS. The answer is how many files were looked at.
pub fn xfs_on(blocks: Arc<dyn Blocks>) -> usize {
    Xfs::open_with(blocks, false).map_or(0, |fs| walk(&fs))
}

/// Any device as a btrfs.
pub fn btrfs_on(blocks: Arc<dyn Blocks>) -> usize {
    Btrfs::open_with(blocks, false).map_or(0, |fs| walk(&fs))
}

/// Looks at what is there, level by level, until there was enough.
fn walk(fs: &dyn FileSystem) -> usize {
    let Ok(root) = FilePath::new("/") else { return 0 };
    let (mut ahead, mut looks) = (std::collections::VecDeque::from([root]), 0);
    while let Some(path) = ahead.pop_front() {
        looks += 1;
        if looks > LOOKS {
            break;
        }
        let Ok(node) = fs.node(&path) else { continue };
        match node.kind {
            NodeKind::File => {
                for offset in [0, node.size / 2] {
                    if let Ok(bytes) = fs.read(&path, offset, READ_BYTES) {
                        let whole = node.size.saturating_sub(offset);
                        assert_eq!(bytes.len() as u64, whole.min(READ_BYTES as u64));
                    }
                }
            }
            NodeKind::Link => assert!(fs.link(&path).map_or(0, |target| target.len()) <= 4096),
            NodeKind::Directory => match fs.list(&path, NAMES) {
                Ok(entries) => {
                    assert!(entries.len() <= NAMES);
                    ahead.extend(entries.into_iter().take(LOOKS).filter_map(|entry| {
                        let parent = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes());
                        FilePath::new([parent, b"/", &entry.name].concat()).ok()
                    }));
                }
                Err(FsError::NotADirectory) => unreachable!("it was a directory a moment ago"),
                Err(_) => {}
            },
            NodeKind::Other => {}
        }
    }
    looks
}

#[derive(Debug)]
struct Device(Vec<u8>);

impl Blocks for Device {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Writable(Mutex<Vec<u8>>);

impl Writable {
    fn with(&self, offset: u64, length: usize, act: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        act(bytes.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Blocks for Writable {
    fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(offset, into.len(), |bytes| into.copy_from_slice(bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(offset, bytes.len(), |into| into.copy_from_slice(bytes))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
