//! What the tests of this room share: memory as a device, and real tools to make disks with.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    blocks::Blocks,
    source::{DiskImage, Layer, LayerFormat},
};

/// A disk in memory.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Vec<u8>>);

impl Memory {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    pub fn of(bytes: Vec<u8>) -> Arc<dyn Blocks> {
        Arc::new(Self::new(bytes))
    }

    pub fn all(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Blocks for Memory {
    fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at.checked_add(into.len()).filter(|end| *end <= all.len());
        into.copy_from_slice(&all[at..end.ok_or(io::ErrorKind::UnexpectedEof)?]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at.checked_add(bytes.len()).filter(|end| *end <= all.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        all[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a tool in a directory; it must succeed.
pub(crate) fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("PATH", path).env("LC_ALL", "C");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A sparse file of a size.
pub(crate) fn sparse(dir: &Path, name: &str, bytes: u64) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

/// Copies a file's bytes into another at an offset, without making its holes blocks.
pub(crate) fn put(into: &Path, at: u64, from: &Path) {
    let (from, into) = (std::fs::read(from).unwrap(), File::options().write(true).open(into).unwrap());
    for (index, block) in from.chunks(65536).enumerate().filter(|(_, block)| block.iter().any(|b| *b != 0)) {
        into.write_all_at(block, at + index as u64 * 65536).unwrap();
    }
}

/// Opens a file as a layer.
pub(crate) fn layer(path: &Path, format: LayerFormat, write: bool) -> Layer {
    Layer { file: File::options().read(true).write(write).open(path).unwrap(), format }
}

/// A raw file as a disk of this name.
pub(crate) fn raw(path: &Path, name: &str) -> (String, Arc<dyn Blocks>) {
    let layers = vec![layer(path, LayerFormat::Raw, false)];
    let disk = DiskImage { name: name.to_owned(), layers, writable: false }.open().unwrap();
    (name.to_owned(), Arc::new(disk))
}
