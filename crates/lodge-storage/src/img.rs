//! Acts on image files themselves: what they are, which bytes they have, whether they are sound, other formats,
//! other sizes.
//!
//! ```text
//!  info   header, bounded          ─┐
//!  map    tables, by imago          ├─ raw, qcow2: in this process
//!  convert, compact: read by imago, │
//!           written by `pour`      ─┘
//!  everything else: `qemu-img`, shut in (see `vol::tool`), with every file it may open named one by one
//! ```
//!
//! Rules:
//! - The format is said by whoever asks; nothing here looks at the bytes to find it out. [`looks`](crate::Storage::looks)
//!   is for messages, and for a caller that asked for a guess and is told that it is one.
//! - A backing file is opened through the same gate as a guest's disk ([`crate::chain`]), and `qemu-img` is given the
//!   chain node by node, so that it has no name of the image's to follow.
//! - What is read or rewritten is claimed and locked meanwhile: no guest can begin to write to it.
//!
//! Deliberately absent: what is done to whole chains (commit, rebase), and to a running guest's disks (QEMU's).

pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod convert;
pub(crate) mod describe;
mod foreign;
pub(crate) mod grow;
pub(crate) mod hold;
pub(crate) mod kind;
pub(crate) mod map;
pub(crate) mod pack;
mod pour;
mod qcow2_writer;
pub(crate) mod resize;
pub(crate) mod source;
pub(crate) mod vmdk;
