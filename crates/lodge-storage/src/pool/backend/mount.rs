//! Mounting and unmounting, and what the kernel says is mounted.
//!
//! The kernel's table is asked and no device or server: what does not answer delays nobody here. Something else at a
//! pool's place is never mounted over.

pub(crate) mod options;
pub(crate) mod table;

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use lodge_sys::tool::Tool;

use self::table::{Entry, entries};
use super::{Truth, off_thread};
use crate::{limits, pool::error::PoolError};

/// What is to be mounted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// As `mount` is told it: a device's path, `host:/dir`, `//host/share`.
    pub source: String,
    /// It is a device or a file, not a name.
    pub is_local: bool,
    /// `-t`'s word; none: `mount` finds out.
    pub kind: Option<String>,
    pub options: Vec<String>,
    pub target: PathBuf,
}

/// What is at a mount's place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum There {
    Nothing,
    Ours,
    /// Its source, as the kernel says it.
    Other(String),
}

impl Mount {
    /// `mount`'s arguments, in libvirt's order.
    fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["-o".into(), self.options.join(",").into()];
        if let Some(kind) = &self.kind {
            args.extend(["-t".into(), kind.into()]);
        }
        args.extend([self.source.clone().into(), self.target.clone().into()]);
        args
    }
}

/// Whether the kernel has it mounted.
pub(super) async fn truth(mount: Mount) -> Result<Truth, PoolError> {
    let there = look(mount).await?;
    Ok(if there == There::Ours { Truth::Runs } else { Truth::Rests })
}

pub(super) async fn mount(mount: Mount) -> Result<(), PoolError> {
    match look(mount.clone()).await? {
        There::Ours => return Ok(()),
        There::Other(source) => {
            let target = mount.target.display();
            return Err(PoolError::State(format!("'{source}' is mounted on '{target}' already")));
        }
        There::Nothing => {}
    }
    let run = Tool::new("mount", limits::MOUNT).args(mount.args());
    run.run().await.map_err(PoolError::from).map(drop)
}

pub(super) async fn unmount(mount: Mount) -> Result<(), PoolError> {
    if look(mount.clone()).await? != There::Ours {
        return Ok(());
    }
    // `umount` itself does not stat the place: a server that is gone does not hold it.
    Tool::new("umount", limits::MOUNT).arg(&mount.target).run().await.map_err(PoolError::from).map(drop)
}

async fn look(mount: Mount) -> Result<There, PoolError> {
    off_thread(move || {
        let failed =
            |source| PoolError::system("cannot read mount list '/proc/thread-self/mountinfo'", source);
        let text = std::fs::read_to_string("/proc/thread-self/mountinfo").map_err(failed)?;
        let target = real_parent(&mount.target);
        // The last one covers those before it.
        let found = entries(&text).filter(|entry| entry.target == target).last();
        Ok(found.map_or(There::Nothing, |entry| {
            if is_of(&mount, &entry) { There::Ours } else { There::Other(entry.source) }
        }))
    })
    .await
}

/// The path as the kernel has it, without touching what is mounted there: links above it are followed, it itself not.
fn real_parent(path: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    std::fs::canonicalize(parent).map_or_else(|_| path.to_owned(), |parent| parent.join(name))
}

/// Whether an entry's source is the mount's.
fn is_of(mount: &Mount, entry: &Entry) -> bool {
    if mount.source == entry.source {
        return true;
    }
    if !mount.is_local {
        return mount.source.trim_end_matches('/') == entry.source.trim_end_matches('/');
    }
    let (Ok(ours), Ok(theirs)) = (std::fs::metadata(&mount.source), std::fs::metadata(&entry.source)) else {
        return false;
    };
    // A device by one of its other names, or the loop device of a file.
    (ours.rdev() != 0 && ours.rdev() == theirs.rdev()) || backing_file(&entry.source) == real(&mount.source)
}

fn real(path: &str) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// The file behind a loop device.
fn backing_file(device: &str) -> Option<PathBuf> {
    let name = Path::new(device).strip_prefix("/dev").ok()?;
    let file = std::fs::read_to_string(Path::new("/sys/block").join(name).join("loop/backing_file")).ok()?;
    Some(file.trim_end_matches('\n').into())
}
