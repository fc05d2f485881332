//! Why an act on disks failed.

use std::{io, path::PathBuf};

use lodge_model::{Bytes, Kind};
use lodge_store::DbError;

use crate::img::kind::ImageFormat;

/// Why an act on disks failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file is not there.
    #[error("disk `{}` does not exist", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A file that another names as its backing file is not there.
    #[error("`{}` stands on `{}`, which does not exist", path.display(), backing.display())]
    BackingMissing {
        /// The file that names it.
        path: PathBuf,
        /// The missing file.
        backing: PathBuf,
    },
    /// The file could not be opened.
    #[error("cannot open disk `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a directory, a FIFO, a socket ….
    #[error("`{}` is {what}, not a disk", path.display())]
    NotADisk {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A path is not absolute.
    #[error("the disk's path `{}` is not absolute", path.display())]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// The bytes are not of the format they are said to be.
    #[error("`{}` is not a {format} image: {why} (it looks like {looks_like})", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// The format that was expected.
        format: &'static str,
        /// What is wrong.
        why: String,
        /// What it may be instead.
        looks_like: &'static str,
    },
    /// QEMU marked the image as damaged.
    #[error("image `{}` is marked as corrupt", path.display())]
    MarkedCorrupt {
        /// The file.
        path: PathBuf,
    },
    /// What is said of the snapshots inside an image cannot be.
    #[error("the snapshots inside `{}` cannot be read: {why}", path.display())]
    Snapshots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A feature of the image that is not handled.
    #[error("image `{}` {what}, which is not supported", path.display())]
    UnsupportedImage {
        /// The file.
        path: PathBuf,
        /// What it has: "keeps its data in another file".
        what: &'static str,
    },
    /// It is encrypted, and whoever is to open it does not know the secret.
    #[error("image `{}` is encrypted, and nothing says with which secret", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A format that is not handled.
    #[error("disk `{}` has format `{format}`, which is not supported", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The word in the document or header.
        format: String,
    },
    /// The header names a backing file without its format.
    #[error("`{}` names its backing file `{backing}` without a format", path.display())]
    BackingFormat {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        backing: String,
    },
    /// The header names a file that nobody vouches for.
    #[error("`{}` names `{}` as its backing file, which is outside of every pool", path.display(), backing.display())]
    BackingOutside {
        /// The file that names it.
        path: PathBuf,
        /// What it names.
        backing: PathBuf,
    },
    /// The backing files go round in a circle or are too many.
    #[error("the backing files of `{}` are {what}", path.display())]
    Chain {
        /// The top file.
        path: PathBuf,
        /// "a circle", "more than 200".
        what: String,
    },
    /// Another domain has it.
    #[error("disk `{}` is in use by domain `{holder}`: {how}", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The domain's name.
        holder: String,
        /// How it uses it: "it writes to it".
        how: &'static str,
    },
    /// An act of ours is at it.
    #[error("{what} is at work on `{}`", path.display())]
    AtWork {
        /// The file.
        path: PathBuf,
        /// The act: "a commit".
        what: String,
    },
    /// Somebody needs the bytes.
    #[error("`{}` is needed: {need}", path.display())]
    NeededBy {
        /// The file.
        path: PathBuf,
        /// Who, and why.
        need: crate::graph::need::Need,
    },
    /// A process that is none of ours has it.
    #[error("disk `{}` is locked by another program{}", path.display(), by(*pid))]
    Locked {
        /// The file.
        path: PathBuf,
        /// Its process, if the kernel tells.
        pid: Option<i32>,
    },
    /// A domain would write to an image that clones stand on.
    #[error("`{}` is the image `{image}`, which is never written to", path.display())]
    WritesImage {
        /// The file.
        path: PathBuf,
        /// The image's name.
        image: String,
    },
    /// A file that something else stands on would be written.
    #[error("`{}` is not written: {need}", path.display())]
    Needed {
        /// The file.
        path: PathBuf,
        /// Who needs it.
        need: crate::graph::need::Need,
    },
    /// A domain would write to a file that somebody else stands on.
    #[error("`{}` is not written: {by}", path.display())]
    StoodOn {
        /// The file.
        path: PathBuf,
        /// Who stands on it.
        by: Box<crate::graph::stands::Stander>,
    },
    /// A domain would write to a template.
    #[error("`{}` is a template, which is never written to", path.display())]
    WritesTemplate {
        /// The file.
        path: PathBuf,
    },
    /// A name that cannot be a volume's or an image's.
    #[error("`{name}` cannot be the name of {of}: {why}")]
    BadName {
        /// The name.
        name: String,
        /// "a volume", "an image".
        of: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A size no disk can have.
    #[error("a disk cannot have {} bytes", size.0)]
    BadSize {
        /// The size.
        size: Bytes,
    },
    /// A clone smaller than what it is made of.
    #[error("a clone of `{image}` has at least {} bytes, {} were asked for", least.0, size.0)]
    SmallerThanImage {
        /// The image.
        image: String,
        /// Its size.
        least: Bytes,
        /// What was asked for.
        size: Bytes,
    },
    /// There is a volume of this name.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be made.
    #[error("cannot make `{}`", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be deleted.
    #[error("cannot delete `{}`", path.display())]
    Delete {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file must stay.
    #[error("`{}` is not deleted: {why}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A directory could not be read.
    #[error("cannot read the directory `{}`", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such image.
    #[error("there is no image `{name}`")]
    NoImage {
        /// The name.
        name: String,
    },
    /// Clones stand on the image.
    #[error("image `{name}` is in use: {} stand on it", clones(users))]
    ImageInUse {
        /// The name.
        name: String,
        /// The volumes.
        users: Vec<PathBuf>,
    },
    /// The registry of images gave no answer.
    #[error("cannot {act} in the registry of images")]
    Registry {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: DbError,
    },
    /// The file system does not answer.
    #[error("the storage of `{}` gave no answer in {seconds} s", path.display())]
    Silent {
        /// What was asked for.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The format was not said, and is not known.
    #[error("the format of `{}` is not said", path.display())]
    Undeclared {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        looks_like: ImageFormat,
    },
    /// An image names something that is not followed.
    #[error("the {field} of `{}` is `{value}`: {why}", path.display())]
    Named {
        /// The image.
        path: PathBuf,
        /// Which of its fields: "backing file", "extent 2".
        field: String,
        /// What it says.
        value: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// A size was refused.
    #[error("`{}` {what}", path.display())]
    Refused {
        /// The image.
        path: PathBuf,
        /// Why: "has 8 GiB, and 4 GiB are less".
        what: String,
        /// What to do.
        hint: String,
    },
    /// An act on a file failed.
    #[error("cannot {act} `{}`", path.display())]
    Act {
        /// What was done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tool failed on a file.
    #[error("cannot {act} `{}`: {words}", path.display())]
    Tool {
        /// What was done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        words: String,
    },
    /// Somebody asked for the act to end.
    #[error("copying `{}` was cancelled", path.display())]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// A pool's volume that a disk names is not to be had.
    #[error(transparent)]
    Volume {
        /// What the pool said.
        source: Box<crate::pool::error::PoolError>,
    },
    /// A worker ended early.
    #[error("a worker of the storage panicked on `{}`", path.display())]
    Panicked {
        /// What it was at.
        path: PathBuf,
    },
}

impl StorageError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } | Self::BackingMissing { .. } | Self::NoImage { .. } => Kind::NotFound,
            Self::Open { source, .. }
            | Self::Create { source, .. }
            | Self::Delete { source, .. }
            | Self::Act { source, .. }
            | Self::List { source, .. } => kind_of(source),
            Self::NotADisk { .. }
            | Self::NotAbsolute { .. }
            | Self::NotAnImage { .. }
            | Self::BadName { .. }
            | Self::BadSize { .. }
            | Self::SmallerThanImage { .. }
            | Self::Undeclared { .. }
            | Self::NoKey { .. }
            | Self::Refused { .. } => Kind::InvalidInput,
            Self::Tool { words, .. } if words.contains("No space left") => Kind::Exhausted,
            Self::Tool { .. } | Self::MarkedCorrupt { .. } | Self::Chain { .. } | Self::Snapshots { .. } => {
                Kind::Corrupt
            }
            Self::UnsupportedImage { .. } | Self::UnsupportedFormat { .. } | Self::BackingFormat { .. } => {
                Kind::Unsupported
            }
            Self::BackingOutside { .. } | Self::Named { .. } => Kind::Denied,
            Self::InUse { .. }
            | Self::AtWork { .. }
            | Self::NeededBy { .. }
            | Self::Locked { .. }
            | Self::WritesImage { .. }
            | Self::Needed { .. }
            | Self::StoodOn { .. }
            | Self::WritesTemplate { .. }
            | Self::Kept { .. }
            | Self::ImageInUse { .. } => Kind::Conflict,
            Self::Exists { .. } => Kind::Exists,
            Self::Registry { source, .. } => source.kind(),
            Self::Silent { .. } => Kind::Unavailable,
            Self::Volume { source } => source.kind(),
            Self::Cancelled { .. } => Kind::InvalidState,
            Self::Panicked { .. } => Kind::Internal,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => "create it, or correct `<source>` in the domain's document".to_owned(),
            Self::BackingMissing { path, .. } => format!(
                "put it back, or point the disk elsewhere: qemu-img rebase -u -b FILE -F FORMAT {}",
                path.display()
            ),
            Self::NotADisk { .. } => "name a file or a block device".to_owned(),
            Self::NotAbsolute { .. } => "write the path from `/` on".to_owned(),
            Self::NotAnImage { path, .. } => format!(
                "see what it is: qemu-img info {0}; then name that format in `<driver type=…>`, or convert it: \
                 qemu-img convert -O qcow2 {0} NEW",
                path.display()
            ),
            Self::MarkedCorrupt { path } => {
                format!("copy the file, then repair it: qemu-img check -r all {}", path.display())
            }
            Self::Snapshots { path, .. } => {
                format!("copy the file, then look at it: qemu-img check {}", path.display())
            }
            Self::NoKey { .. } => {
                "say it in the disk's <encryption>, or in that of the <source> in its <backingStore>"
                    .to_owned()
            }
            Self::UnsupportedImage { what: "is encrypted", .. } => {
                "its secret is named by the guest's document (say it in the disk's <encryption>) and by the volume: let \
                 those do it that know it, as lodge blockcommit, blockpull, blockcopy, vol-clone, vol-resize"
                    .to_owned()
            }
            Self::UnsupportedImage { path, .. } | Self::UnsupportedFormat { path, .. } => {
                format!("convert it: qemu-img convert -O qcow2 {} NEW", path.display())
            }
            Self::BackingFormat { path, backing } => format!(
                "write the format into the header: qemu-img rebase -u -b {backing} -F FORMAT {}",
                path.display()
            ),
            Self::BackingOutside { .. } => {
                "move it into the pool and rebase, or name it in the disk's `<backingStore>`".to_owned()
            }
            Self::InUse { holder, .. } => {
                format!("stop `{holder}` first, or give each its own disk (`<shareable/>` if both can share)")
            }
            Self::AtWork { .. } => "wait until that is done, and try again".to_owned(),
            Self::NeededBy { need, .. } => need.next_step(),
            Self::StoodOn { by, .. } => by.next_step(),
            Self::Locked { .. } => "end that program, or use another disk".to_owned(),
            Self::WritesImage { image, .. } => {
                format!("make a clone of `{image}` and use that, or mark the disk `<readonly/>`")
            }
            Self::Needed { .. } => {
                "commit into a layer above it, or pull instead: that writes the guest's own file".to_owned()
            }
            Self::WritesTemplate { path } => {
                format!("make a clone and use that: lodge chain clone {} NAME", path.display())
            }
            Self::SmallerThanImage { .. } => "ask for more, or for no size at all".to_owned(),
            Self::Exists { .. } => "choose another name".to_owned(),
            Self::Create { source, .. } if kind_of(source) == Kind::Exhausted => {
                "free some space and try again".to_owned()
            }
            Self::NoImage { .. } => "see `lodge image list`; `lodge image build NAME` makes one".to_owned(),
            Self::ImageInUse { .. } => "remove the guests that were made of it first".to_owned(),
            Self::Registry { source, .. } => return source.hint(),
            Self::Volume { source } => return source.hint(),
            Self::Silent { .. } => "see whether its server or device answers (dmesg, df)".to_owned(),
            Self::Undeclared { looks_like, .. } => {
                format!(
                    "say it: -f {looks_like} if it is what it looks like (a guest can make its disk look so)"
                )
            }
            Self::Named { .. } => "only files beside the image or in a pool are opened for it".to_owned(),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Act { source, .. } if kind_of(source) == Kind::Exhausted => {
                "free some space and try again".to_owned()
            }
            Self::Tool { .. } if self.kind() == Kind::Exhausted => "free some space and try again".to_owned(),
            Self::Act { .. }
            | Self::Tool { .. }
            | Self::Open { .. }
            | Self::Chain { .. }
            | Self::BadName { .. }
            | Self::BadSize { .. }
            | Self::Create { .. }
            | Self::Delete { .. }
            | Self::Kept { .. }
            | Self::List { .. }
            | Self::Cancelled { .. }
            | Self::Panicked { .. } => return None,
        };
        Some(hint)
    }
}

pub(crate) fn kind_of(source: &io::Error) -> Kind {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Internal,
    }
}

fn by(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn clones(users: &[PathBuf]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = users.iter().take(SHOWN).map(|path| format!("`{}`", path.display())).collect();
    let more = users.len().saturating_sub(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &tail
}
