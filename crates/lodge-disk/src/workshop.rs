//! Editing file systems for which no program outside a kernel exists: XFS, btrfs.
//!
//! ```text
//!  the guest's tree ── kernel, modules ──┐            QEMU: no network, no default device, TCG, 512 MiB
//!  edits ── job ── initramfs (cpio) ─────┴─▶ /init: load ▸ mount nosuid,nodev,noexec ▸ edit ▸ sync ▸ unmount
//!  our own first process ────────────────┘        └─▶ console: `lodge-workshop: done`
//! ```
//! A kernel must mount them, and the host's never does: it is the guest's own, taken from its disk by our readers (or
//! from any other tree that has one), in a virtual machine of which it is the only program beside a first process of
//! some kilobytes ([`lodge_sys::workshop`]). What it does to the device is believed as little as the device: the edits
//! are read back with our own readers by whoever asked.
//!
//! The device is changed edit by edit, so it must be something that can be thrown away until the last one is done: a
//! clone in the making, or a view whose writes are kept apart ([`crate::view`]).
//! The arguments are fixed and few, so `lodge_qemu`'s command line for guests' documents is not needed here.
//!
//! - [`kernel`]: a kernel with the modules it takes, in the order in which they are loaded.
//! - [`archive`]: the initramfs. [`job`]: what the first process is told, and what it says.
//! - [`machine`]: QEMU's arguments.
//!
//! Deliberately absent: starting it, which is the editor's matter as with all tools (`edit::jail`).

mod archive;
mod job;
mod kernel;
mod machine;

use lodge_model::guest_disk::{FileEdit, FilePath};

pub(crate) use machine::{arguments, program};

/// Why a file system was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkshopError {
    /// No kernel in the tree has what is needed.
    #[error("no kernel that can edit {kind} was found in the tree ({why})")]
    NoKernel {
        /// The file system.
        kind: String,
        /// What the last one lacks.
        why: String,
    },
    /// A kernel's file could not be used.
    #[error("cannot use {path} of the kernel: {why}")]
    KernelFile {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A path or a file that is larger than the workshop takes.
    #[error("cannot edit {path}: it is more than the workshop takes")]
    TooLarge {
        /// The guest's path.
        path: String,
    },
    /// An edit failed.
    #[error("cannot edit {path} in the guest: {step}: {why}")]
    Edit {
        /// The guest's path.
        path: String,
        /// What was to be done: `mkdir`, `write`, `rename`.
        step: String,
        /// The kernel's reason.
        why: String,
    },
    /// What comes before the first edit and after the last failed.
    #[error("the guest's kernel does not edit the file system: {step}: {why}")]
    Kernel {
        /// What was to be done: `module`, `mount`, `unmount`.
        step: String,
        /// The kernel's reason.
        why: String,
    },
    /// The machine ended without a word.
    #[error("the workshop ended without a word; its kernel said last: {words}")]
    Silent {
        /// The end of the console.
        words: String,
    },
}

/// A tree that may have a kernel.
pub(crate) trait Tree {
    /// At most `most` bytes of a plain file; none where there is no such file.
    fn read(&self, path: &FilePath, most: usize) -> Option<Vec<u8>>;

    /// The names in a directory; none where there is no such directory.
    fn names(&self, path: &FilePath) -> Vec<Vec<u8>>;
}

/// What the machine is started with.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// Its initramfs.
    pub initramfs: Vec<u8>,
    edits: Vec<FileEdit>,
    /// Records of the job that come before the first edit.
    before: usize,
}

/// The file system that is edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// `xfs`, `btrfs`.
    pub kind: &'a str,
    /// The options that choose a subvolume: `subvol=…`, or nothing.
    pub options: &'a str,
    /// The partition of the disk that the machine is given; none: the disk is the device itself.
    pub partition: Option<u32>,
}

impl Workshop {
    /// All that carries `edits` out on a file system, with a kernel of `tree`. Paths are the file system's own.
    pub fn new(tree: &dyn Tree, target: &Target<'_>, edits: &[FileEdit]) -> Result<Self, WorkshopError> {
        let kernel::Kernel { image, modules } = kernel::find(tree, target.kind)?;
        let (job, before) = job::write(&modules, target, edits)?;
        let mut archive = archive::Archive::default();
        archive.directory("dev").directory("mnt").console();
        archive.program("init", lodge_sys::workshop::INIT);
        for (number, module) in modules.iter().enumerate() {
            archive.file(&job::module_name(number), &module.bytes);
        }
        archive.file("job", &job);
        Ok(Self { kernel: image, initramfs: archive.end(), edits: edits.to_vec(), before })
    }

    /// What the machine said on its console: all edits are in place, or which is not and why.
    pub fn outcome(&self, console: &[u8]) -> Result<(), WorkshopError> {
        job::outcome(console, self.before, &self.edits)
    }
}

/// Any bytes as what a console said.
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = job::outcome(bytes, 1, &[]);
}
