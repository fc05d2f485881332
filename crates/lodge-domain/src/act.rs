//! What an owner is asked, what it makes of it, and what it answers.
//!
//! A verb turns an [`Act`] into a [`Begin`]: done at once, or a job whose end is a closure that the owner applies to
//! itself. Deliberately absent: the verbs.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use lodge_model::domain::Domain;
use tokio_util::sync::CancellationToken;

use crate::error::DomainError;
use crate::metadata::MetadataEdit;
use crate::observe;
use crate::options::{
    CreateOptions, DestroyOptions, DumpOptions, PowerOptions, RestoreOptions, SaveOptions, SleepMode,
    SnapshotCreateOptions, SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, UndefineOptions,
    Undefined,
};
use crate::owner::Owner;

/// What is asked of an owner.
#[derive(Debug)]
pub(crate) enum Act {
    /// Take up what an earlier daemon left.
    Settle,
    /// Take a hand edit of the definition in.
    Refresh(Box<lodge_store::definitions::Entry>),
    Define {
        domain: Arc<Domain>,
        /// The image in its managed save's place is its own.
        managed_save: bool,
    },
    Undefine(UndefineOptions),
    Start(StartOptions),
    Create {
        domain: Arc<Domain>,
        options: CreateOptions,
    },
    Restore {
        domain: Arc<Domain>,
        file: PathBuf,
        options: RestoreOptions,
    },
    Destroy(DestroyOptions),
    Shutdown(PowerOptions),
    Reboot(PowerOptions),
    Reset,
    Suspend,
    Resume,
    /// There is room again at these places; nobody asked for it.
    GoOn(Vec<PathBuf>),
    Save {
        file: PathBuf,
        options: SaveOptions,
    },
    ManagedSave(SaveOptions),
    RemoveManagedSave,
    SetAutostart(bool),
    Change(Box<crate::control::Change>),
    SetAutostartOnce(bool),
    Rename(String),
    SetMetadata(MetadataEdit),
    Dump {
        file: PathBuf,
        options: DumpOptions,
    },
    Sleep(SleepMode),
    Wakeup,
    /// Break the job at work off. It waits for nothing.
    AbortJob,
    ForgetCompletedJob,
    EditManagedSave {
        xml: Option<String>,
        running: Option<bool>,
    },
    SnapshotCreate {
        xml: String,
        options: SnapshotCreateOptions,
    },
    SnapshotRevert {
        name: String,
        options: SnapshotRevertOptions,
    },
    SnapshotDelete {
        name: String,
        options: SnapshotDeleteOptions,
    },
}

impl Act {
    /// virsh's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Settle => "what an earlier daemon left",
            Self::Refresh(_) => "refresh",
            Self::Define { .. } => "define",
            Self::Undefine(_) => "undefine",
            Self::Start(_) => "start",
            Self::Create { .. } => "create",
            Self::Restore { .. } => "restore",
            Self::Destroy(_) => "destroy",
            Self::Shutdown(_) => "shutdown",
            Self::Reboot(_) => "reboot",
            Self::Reset => "reset",
            Self::Suspend => "suspend",
            Self::Resume | Self::GoOn(_) => "resume",
            Self::Save { .. } => "save",
            Self::ManagedSave(_) => "managedsave",
            Self::RemoveManagedSave => "managedsave-remove",
            Self::Change(change) => change.what,
            Self::SetAutostart(_) | Self::SetAutostartOnce(_) => "autostart",
            Self::Rename(_) => "domrename",
            Self::SetMetadata(_) => "metadata",
            Self::Dump { .. } => "dump",
            Self::Sleep(_) => "dompmsuspend",
            Self::Wakeup => "dompmwakeup",
            Self::AbortJob => "domjobabort",
            Self::ForgetCompletedJob => "domjobinfo",
            Self::EditManagedSave { .. } => "managedsave-define",
            Self::SnapshotCreate { .. } => "snapshot-create",
            Self::SnapshotRevert { .. } => "snapshot-revert",
            Self::SnapshotDelete { .. } => "snapshot-delete",
        }
    }
}

/// What an owner answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Undefined(Undefined),
    /// The name of a snapshot that was taken.
    Snapshot(String),
}

pub(crate) type Answer = Result<Reply, DomainError>;
/// The end of a job: how it changes its owner, and what to answer.
pub(crate) type Ended = Box<dyn FnOnce(&mut Owner) -> Answer + Send>;
/// A job at work.
pub(crate) type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// What a verb makes of a request.
pub(crate) enum Begin {
    /// It is done, or refused.
    Now(Answer),
    /// It takes time.
    Job { work: Work, cancel: CancellationToken },
}

impl Begin {
    /// A job that cannot be aborted.
    pub fn job(work: impl Future<Output = Ended> + Send + 'static) -> Self {
        Self::Job { work: Box::pin(work), cancel: CancellationToken::new() }
    }
}

impl Begin {
    /// A job that talks to QEMU and may be broken off at any moment: QEMU is then asked how it stands.
    pub fn monitor(
        act: &'static str,
        owner: &Owner,
        work: impl Future<Output = Ended> + Send + 'static,
    ) -> Self {
        let (cancel, name) = (CancellationToken::new(), owner.name());
        let token = cancel.clone();
        let work = async move {
            tokio::select! {
                biased;
                end = work => end,
                () = token.cancelled() => ended(move |owner| {
                    observe::look_again(owner);
                    Err(DomainError::Aborted { act, name })
                }),
            }
        };
        Self::Job { work: Box::pin(work), cancel }
    }
}

/// Boxes the end of a job.
pub(crate) fn ended(apply: impl FnOnce(&mut Owner) -> Answer + Send + 'static) -> Ended {
    Box::new(apply)
}
