//! Why an image was not built.

use std::{io, path::PathBuf, time::Duration};

use lodge_disk::worker::WorkerError;
use lodge_model::Kind;

use crate::{progress::Phase, tool::MissingTool};

/// Why an image was not built. Whatever the variant: nothing of the build is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No recipe has this name.
    #[error("there is no recipe `{name}`; there are: {known}")]
    NoRecipe {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The builder makes trees with owners and device nodes.
    #[error("building an image needs root, this is user {uid}")]
    NotRoot {
        /// The effective user.
        uid: u32,
    },
    /// Programs which the build runs are not installed.
    #[error("programs are missing: {}", list(missing))]
    ToolsMissing {
        /// Which, and the Debian packages that bring them.
        missing: Vec<MissingTool>,
    },
    /// The host's apt knows no archive of Debian's.
    #[error("no mirror of Debian is named under `{}`", etc_apt.display())]
    NoMirror {
        /// Where apt's sources are.
        etc_apt: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    StartTool {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{program}` failed ({status}) while {phase}: {last_words}")]
    ToolFailed {
        /// Its name.
        program: &'static str,
        /// What the build was doing.
        phase: Phase,
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error.
        last_words: String,
    },
    /// A program ran longer than it may.
    #[error("`{program}` gave no result in {} minutes while {phase}", limit.as_secs() / 60)]
    ToolSlow {
        /// Its name.
        program: &'static str,
        /// What the build was doing.
        phase: Phase,
        /// Its deadline.
        limit: Duration,
    },
    /// The directory for builds could not be made, or is another build's.
    #[error("cannot make the work directory `{}`", path.display())]
    WorkDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The same recipe is being built into the same directory.
    #[error("`{name}` is being built by process {pid} already")]
    UnderWay {
        /// The recipe.
        name: String,
        /// The other builder.
        pid: u32,
    },
    /// A file of the guest could not be written or read.
    #[error("cannot {act} `{path}` in the guest's tree")]
    Tree {
        /// What was tried.
        act: &'static str,
        /// The path inside the guest.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The package set did not bring a file that the build counts on.
    #[error("the installed packages have no {what}")]
    NotInTree {
        /// What was looked for.
        what: String,
    },
    /// The boot loader's files are not of the known layout.
    #[error("GRUB's {file} is not as expected: {why}")]
    BootLoader {
        /// `boot.img` or `core.img`.
        file: &'static str,
        /// What differs.
        why: String,
    },
    /// The tree or the finished image says whose it is.
    #[error("the image would carry an identity: {}", found.join("; "))]
    Identity {
        /// Items and paths in the guest, each with what is wrong.
        found: Vec<String>,
    },
    /// The finished image cannot be read, so nothing is proven of it.
    #[error("the finished image cannot be read")]
    Prove(#[from] WorkerError),
    /// The disk's file could not be laid out.
    #[error("cannot {act} of the disk `{}`", path.display())]
    Disk {
        /// What was tried: "write the partition table".
        act: &'static str,
        /// The disk's file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The wanted disk is too small for the system.
    #[error("a disk of {size} bytes is too small, at least {needed} are needed")]
    TooSmall {
        /// What was asked for.
        size: u64,
        /// The least that works.
        needed: u64,
    },
    /// Somebody asked for the build to end.
    #[error("the build was cancelled while {phase}")]
    Cancelled {
        /// What the build was doing.
        phase: Phase,
    },
    /// A thread of the build ended early.
    #[error("a worker of the build panicked while {phase}")]
    Panicked {
        /// What the build was doing.
        phase: Phase,
    },
}

impl BuildError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoRecipe { .. } => Kind::NotFound,
            Self::NotRoot { .. } => Kind::Denied,
            Self::UnderWay { .. } => Kind::Busy,
            Self::TooSmall { .. } => Kind::InvalidInput,
            Self::Cancelled { .. } => Kind::InvalidState,
            Self::WorkDir { source, .. }
            | Self::Tree { source, .. }
            | Self::Disk { source, .. }
            | Self::StartTool { source, .. } => kind_of(source),
            Self::ToolFailed { last_words, .. } if is_full(last_words) => Kind::Exhausted,
            Self::ToolFailed { .. } | Self::ToolSlow { .. } => Kind::Unavailable,
            Self::ToolsMissing { .. }
            | Self::NoMirror { .. }
            | Self::NotInTree { .. }
            | Self::BootLoader { .. }
            | Self::Identity { .. } => Kind::Unsupported,
            Self::Prove(source) => source.kind(),
            Self::Panicked { .. } => Kind::Internal,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRecipe { .. } => Some("ask for one of those names".into()),
            Self::NotRoot { .. } => Some("run the daemon as root".into()),
            Self::ToolsMissing { missing } => Some(install_line(missing)),
            Self::NoMirror { .. } => Some(
                "add a `deb` line or a `.sources` file for a mirror of Debian to sources.list or sources.list.d there".into(),
            ),
            Self::UnderWay { .. } => Some("wait for it, or cancel its job".into()),
            Self::ToolFailed { last_words, .. } if is_full(last_words) => {
                Some("free some space (a build needs about 3 GiB) and build again".into())
            }
            Self::ToolFailed { program, .. } if *program == "mmdebstrap" => Some(
                "see that `apt-get update` works on this host, its mirror is used; then build again".into(),
            ),
            Self::WorkDir { source, .. } | Self::Disk { source, .. }
                if kind_of(source) == Kind::Exhausted =>
            {
                Some("free some space (a build needs about 3 GiB) and build again".into())
            }
            Self::TooSmall { .. } => Some("ask for a larger disk".into()),
            Self::ToolSlow { .. } => Some("see whether the mirror answers; then build again".into()),
            Self::Identity { .. } | Self::BootLoader { .. } | Self::NotInTree { .. } => {
                Some("a package changed its ways; please report it with this message".into())
            }
            Self::StartTool { .. }
            | Self::ToolFailed { .. }
            | Self::WorkDir { .. }
            | Self::Tree { .. }
            | Self::Disk { .. }
            | Self::Cancelled { .. }
            | Self::Prove(_)
            | Self::Panicked { .. } => None,
        }
    }
}

fn kind_of(source: &io::Error) -> Kind {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        _ => Kind::Internal,
    }
}

fn is_full(words: &str) -> bool {
    words.contains("No space left on device")
}

fn list(missing: &[MissingTool]) -> String {
    missing.iter().map(|tool| tool.program).collect::<Vec<_>>().join(", ")
}

fn install_line(missing: &[MissingTool]) -> String {
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    format!("install them: apt-get install {}", packages.join(" "))
}
