//! Builds guest images from a distribution's packages: `lodge image build debian-12`.
//!
//! ```text
//!  packages ──▶ tree ──▶ dressed, stripped, verified ──▶ disk.raw ──▶ proven ──▶ NAME-SHA.qcow2
//!  mmdebstrap   a directory   [`dress`] [`identity`]     GPT, FAT, ext4  [`prove`]
//! ```
//!
//! Place: a resource crate; the engine runs [`build`] as a job and hands the [`Built`] file to the
//! registry of images. The result boots by BIOS and by UEFI, grows with its disk, and carries no
//! identity: two clones have nothing in common that must be unique.
//!
//! Deliberately absent: mounts and loop devices (the file systems are written by `mke2fs -d` and
//! `fatfs`), any network but apt's, and any registry of images to download from.
//!
//! Programs are started here and not through `lodge-sys`: its `spawn` is made for processes which
//! outlive the daemon, these must die with it. See `tool.rs`.

mod apt;
mod boot;
mod build;
mod disk;
mod dress;
mod error;
mod esp;
mod identity;
mod packages;
mod progress;
mod prove;
mod recipe;
mod survey;
mod tool;
mod tree;
mod work;

pub use apt::Mirror;
pub use build::{Built, Settings, build};
pub use error::BuildError;
pub use packages::Package;
pub use progress::{Phase, Progress};
pub use recipe::Recipe;
pub use tool::{MissingTool, missing_tools};
pub use work::sweep;
