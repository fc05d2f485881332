//! How much and how long at most.

use std::time::Duration;

/// One look at files (open, headers, a directory). A local disk answers in milliseconds; an NFS
/// server that restarts is given the time to do so.
pub(crate) const LOOK: Duration = Duration::from_secs(20);
/// A look, at a start, at files of other guests that were seen before. What does not answer is judged by that.
pub(crate) const SIGHT: Duration = Duration::from_secs(1);
/// The same at files that were not: there is nothing to judge them by.
pub(crate) const FIRST_SIGHT: Duration = Duration::from_secs(10);
/// Making or deleting one file.
pub(crate) const CHANGE: Duration = Duration::from_mins(1);
/// A piece of a stream: what the slowest disk has done in a second.
pub(crate) const PIECE: Duration = Duration::from_mins(1);
/// What is left of a stream when its last piece was written: most is on disk by then.
pub(crate) const SETTLE: Duration = Duration::from_mins(3);
/// Files of one chain. QEMU has no limit of its own; libvirt's is 200. A guest's document nests them, and documents are
/// read to a depth of 128 elements: one that is deeper could not be read again.
pub(crate) const CHAIN_FILES: usize = 120;
/// Volumes looked at in one directory.
pub(crate) const DIRECTORY_FILES: usize = 100_000;
/// qcow2 specification: "backing_file_size … must not exceed 1023".
pub(crate) const BACKING_NAME_BYTES: u32 = 1023;
/// File names end at 255 bytes; the temporary name is longer than the final one.
pub(crate) const VOLUME_NAME_BYTES: usize = 200;
/// The least a disk may be, and what sizes are rounded up to: a sector.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// QEMU's limit: qcow2 with clusters of 64 KiB and an L1 table of 32 MiB.
pub(crate) const DISK_BYTES: u64 = 1 << 51;
/// Looking at all files of a directory: 10,000 over a slow network file system.
pub(crate) const SCAN: Duration = Duration::from_mins(1);
/// How long a daemon that starts waits for pools that ran.
pub(crate) const TAKE_UP: Duration = Duration::from_secs(10);
/// How long an act on a pool waits for the one before it.
pub(crate) const TURN: Duration = Duration::from_secs(30);
/// Directories of which the kernel is to tell what changes in them: a pool has one, and users are given some ten thousands.
pub(crate) const WATCHES: usize = 1024;
/// Threads that look at files of one pool at once.
pub(crate) const LOOKS_AT_ONCE: usize = 8;
/// Events a slow reader may be behind.
pub(crate) const EVENTS_KEPT: usize = 1024;
/// Ranges of one disk's map.
pub(crate) const EXTENTS: usize = 1_000_000;
/// The description at the start of a VMDK, or a file that is nothing else.
pub(crate) const VMDK_TEXT_BYTES: usize = 64 << 10;
/// Files of one VMDK.
pub(crate) const VMDK_EXTENTS: usize = 1024;
/// A tool that reads tables only, whatever it does beside; each GiB of the file adds a second.
pub(crate) const TOOL: Duration = Duration::from_mins(2);
/// What the slowest disk does in a second.
const SLOWEST_BYTES: u64 = 4 << 20;
/// Bringing a large new file to disk.
pub(crate) const LONG: Duration = Duration::from_mins(30);
/// One run of a program on devices (`mkfs`, `lvcreate`, `parted`): `mkfs` of a disk of some TiB takes its minute.
pub(crate) const DEVICE_TOOL: Duration = Duration::from_mins(5);
/// Mounting: a server that restarts is given the time to do so, less than `mount.nfs` itself would wait.
pub(crate) const MOUNT: Duration = Duration::from_secs(50);
/// One act of a backend: some runs of programs, or looking at all files of a directory.
pub(crate) const LASTING: Duration = Duration::from_mins(6);

/// Reading or writing so many bytes. A server that is gone ends it, slow disks do not.
pub(crate) const fn work(bytes: u64) -> Duration {
    Duration::from_secs(CHANGE.as_secs() + bytes / SLOWEST_BYTES)
}
