//! `virsh save` and `managedsave`: the guest's memory to a file, then the guest is off.
//!
//! ```text
//!  note ▶ its part ▶ note its inode ▶ hold ▶ memory ▶ sync ▶ rename to FILE ▶ end QEMU
//!                                     └──── fails, aborted, crash: the guest goes on, the part goes ────┘
//! ```
//!
//! The rename decides: before it the guest is as it was, after it the guest is saved. A next daemon knows which by
//! the inode noted: an older file of that name is never mistaken for this save. The format is libvirt's
//! (`lodge_qemu::save_image`). Deliberately absent: compression, and going past the page cache.

mod saved;
mod settle;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use lodge_model::JobId;
use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{Event as Change, Request, ShutoffReason, State};
use lodge_qemu::qmp::Monitor;
use lodge_qemu::save_image::{SaveImageError, Saving};
use lodge_store::saga::{self, DbLog, Log, Position};
use lodge_sys::process::Process;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::act::{Begin, Ended, Reply, ended};
use crate::define::{blocking, judge};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::job::{JobOperation, JobPhase, JobStats, MemoryStats, elapsed_ms};
use crate::options::{Resumption, SaveOptions, Ticket};
use crate::owner::Owner;
use crate::start::remove_file;
use crate::stop;
use crate::vmm::BOOT_XML;

use self::saved::same_machine;
pub use self::saved::{SavedImage, read_saved_image};
pub(crate) use self::saved::{edit_managed_save, managed_save_of, read_for_restore, remove_managed_save};
pub(crate) use self::settle::resume;

/// The saga's kind in the store.
pub(crate) const SAGA: &str = "domain-save";
/// How long QEMU may take to end once all is saved.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// What is kept of a save under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    name: String,
    file: PathBuf,
    was_running: bool,
    /// Of the part, once it is there.
    inode: Option<(u64, u64)>,
}

impl saga::Context for Note {
    fn saved(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a note has string keys only")
    }
}

/// Where a domain's managed save is; libvirt's place.
pub(crate) fn managed_path(shared: &Shared, name: &str) -> PathBuf {
    shared.config.store.root().managed_saves().join(format!("{name}.save"))
}

/// The domains that have one.
pub(crate) fn managed_saves(dir: &Path) -> HashSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".save")?.to_owned())).collect()
}

/// `virsh save`.
pub(crate) fn save(owner: &mut Owner, file: PathBuf, options: SaveOptions, ticket: &Ticket) -> Begin {
    save_to(owner, "save", file, options, false, ticket)
}

/// `virsh managedsave`.
pub(crate) fn managed_save(owner: &mut Owner, options: SaveOptions, ticket: &Ticket) -> Begin {
    if !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "managedsave", name: owner.name() }));
    }
    let file = managed_path(&owner.shared, &owner.name());
    save_to(owner, "managedsave", file, options, true, ticket)
}

/// The document of the run, if it names what a save must look at.
fn live_document(owner: &Owner) -> Option<Domain> {
    let live = owner.entry.documents.load().live.clone()?;
    live.contains("<transient").then(|| Domain::parse(&live).ok()).flatten()
}

fn save_to(
    owner: &mut Owner,
    act: &'static str,
    file: PathBuf,
    options: SaveOptions,
    managed: bool,
    ticket: &Ticket,
) -> Begin {
    if let Err(error) = owner.admit(act, Request::Save) {
        return Begin::Now(Err(error));
    }
    let monitor = match owner.monitor() {
        Ok(monitor) => monitor,
        Err(error) => return Begin::Now(Err(error)),
    };
    let Some(vmm) = owner.vmm.as_deref() else {
        return Begin::Now(Err(DomainError::NotResponding { name: owner.name() }));
    };
    if !crate::block_job::BlockJobs::read(&vmm.dir).all().is_empty() {
        // The job would end with its QEMU, and half of what it was for.
        let refusal = crate::control::Refusal::invalid("domain has active block job");
        return Begin::Now(Err(refusal.into()));
    }
    if let Err(refusal) = live_document(owner).map_or(Ok(()), |live| crate::start::transient::refuse(&live)) {
        return Begin::Now(Err(refusal.into()));
    }
    if options.bypass_cache {
        tracing::warn!(domain = %owner.name(), "a save past the page cache is not supported; it goes through it");
    }
    let was_running = matches!(owner.state, State::Running { .. });
    // `domjobabort` breaks this save off and nothing else of the caller's.
    let cancel = ticket.cancel.child_token();
    let saving = Save {
        shared: Arc::clone(&owner.shared),
        entry: Arc::clone(&owner.entry),
        process: vmm.process.clone(),
        boot_xml: vmm.dir.join(BOOT_XML),
        monitor,
        options,
        ticket: Ticket { cancel: cancel.clone(), ..ticket.clone() },
        note: Note { name: owner.name().to_string(), file, was_running, inode: None },
        figures: Figures::default(),
        held: CancellationToken::new(),
    };
    let (figures, held) = (Arc::clone(&saving.figures), saving.held.clone());
    owner.advance(Change::SaveBegan(ticket.id.unwrap_or(JobId(0))), None);
    let work = async move {
        let outcome = saving.run().await;
        let end: Ended = ended(move |owner| match outcome {
            Ok(()) => {
                owner.amend_snapshot(|snapshot| {
                    snapshot.managed_save |= managed;
                    snapshot.completed_job = figures.get().cloned();
                });
                owner.is_off(ShutoffReason::Saved);
                Ok(Reply::Done)
            }
            Err(error) => {
                let resumed = EventKind::Lifecycle(Lifecycle::Resumed, 0);
                owner.advance(Change::SaveFailed, Some(resumed).filter(|_| held.is_cancelled()));
                crate::observe::look_again(owner);
                Err(error)
            }
        });
        end
    };
    Begin::Job { work: Box::pin(work), cancel }
}

/// One save.
struct Save {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    process: Process,
    boot_xml: PathBuf,
    monitor: Monitor,
    options: SaveOptions,
    ticket: Ticket,
    note: Note,
    figures: Figures,
    /// Set when the guest stands still for this save.
    held: CancellationToken,
}

/// The figures of a save that ended well, on their way to the owner.
type Figures = Arc<OnceLock<Arc<JobStats>>>;

impl Save {
    async fn run(mut self) -> Result<(), DomainError> {
        let since = SystemTime::now();
        let name = self.entry.name();
        let free = self.shared.ports.volumes.refuse_overwrite(&self.note.file).await;
        free.map_err(|source| DomainError::Port {
            act: "save to this file",
            name: Arc::clone(&name),
            source,
        })?;
        let xml = self.document().await?;
        let db_failed = {
            let name = Arc::clone(&name);
            move |source| DomainError::Db { name, source }
        };
        let db = self.shared.config.store.db();
        let job = self.ticket.id.map(|job| job.0);
        let begun = saga::begin(db, SAGA, &self.entry.id.to_string(), job, &self.note).await;
        let mut log = begun.map_err(db_failed)?;
        match self.fill_file(&xml, &mut log).await {
            Ok(()) => {
                self.tell_figures(since).await;
                self.ticket.tell("ending the guest", Some(1.0));
                let _ = stop::kill(&self.process, END_PATIENCE).await;
                stop::last_words(Some(&self.monitor)).await;
                stop::clear_away(&self.shared, self.entry.id, &name).await;
                end(&mut log).await;
                Ok(())
            }
            Err(error) => {
                self.take_back().await;
                end(&mut log).await;
                Err(error)
            }
        }
    }

    /// The document to keep: the one the run was started with, or another one of the same machine.
    async fn document(&self) -> Result<String, DomainError> {
        let path = self.boot_xml.clone();
        let read = {
            let path = path.clone();
            blocking(move || std::fs::read_to_string(path)).await
        };
        let own = read.map_err(|source| DomainError::File { act: "read", path, source })?;
        let Some(given) = &self.options.xml else { return Ok(own) };
        let own = Domain::parse(&own).map_err(|faults| DomainError::Document { faults })?;
        let given = judge(&self.shared, given, false)?;
        same_machine(&own, &given)?;
        Ok(given.to_xml(&lodge_model::xml::WriteOptions::STORED))
    }

    async fn fill_file(&mut self, xml: &str, log: &mut DbLog) -> Result<(), DomainError> {
        let (file, name) = (self.note.file.clone(), self.entry.name());
        let part = part_of(&file);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| DomainError::Save {
            name: Arc::clone(&name),
            path: file.clone(),
            source: error,
        };
        let runs_after = match self.options.resumption {
            Resumption::AsBefore => self.note.was_running,
            Resumption::Running => true,
            Resumption::Paused => false,
        };
        self.ticket.tell("making the file", None);
        let (at, target, xml) = (part.clone(), file.clone(), xml.to_owned());
        let made = blocking(move || {
            is_replaceable(&target)
                .map_err(|error| SaveImageError::Write { path: target.clone(), source: error })?;
            let saving = Saving::create(&at, &xml, runs_after)?;
            let inode = std::fs::metadata(&at).map(|metadata| (metadata.dev(), metadata.ino()));
            Ok::<_, SaveImageError>((
                saving,
                inode.map_err(|source| SaveImageError::Open { path: at, source })?,
            ))
        });
        let (saving, inode) = made.await.map_err(|error| failed(error.into()))?;
        self.note.inode = Some(inode);
        let noted = log.note(&Position::Forward { at: 1 }, &saga::Context::saved(&self.note)).await;
        noted.map_err(|source| DomainError::Db { name: Arc::clone(&name), source })?;
        let written = self.write(&saving);
        let cancel = self.ticket.cancel.clone();
        let written = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(DomainError::Aborted { act: "save", name }),
            written = written => written,
        };
        written.map_err(|error| failed(error.into()))?;
        self.ticket.tell("making it durable", Some(1.0));
        let kept = blocking(move || {
            saving.finish().map_err(Box::<dyn std::error::Error + Send + Sync>::from)?;
            commit(&part, &file)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        let path = self.note.file.clone();
        kept.await.map_err(|source| DomainError::Save { name, path, source })
    }

    /// The figures of the save, for whoever asks before the guest starts anew.
    async fn tell_figures(&self, begun: SystemTime) {
        let memory = self.monitor.migration().await.ok().as_ref().and_then(MemoryStats::of);
        let stats = Arc::new(JobStats {
            phase: JobPhase::Completed,
            operation: JobOperation::Save,
            elapsed_ms: elapsed_ms(begun),
            memory,
            dump: None,
        });
        let _ = self.figures.set(Arc::clone(&stats));
        self.shared.publish(&self.entry, EventKind::JobCompleted(stats));
    }

    async fn write(&self, saving: &Saving) -> Result<(), SaveImageError> {
        let failed = |source| SaveImageError::Monitor { act: "save", source };
        if self.note.was_running {
            self.monitor.stop().await.map_err(failed)?;
            self.shared.publish(&self.entry, EventKind::Lifecycle(Lifecycle::Suspended, 0));
            self.held.cancel();
        }
        // MIGRATION_PASS is told only to those who want it.
        self.monitor.set_migration_capabilities(&[("events", true)]).await.map_err(failed)?;
        let tell = |ram: lodge_qemu::save_image::Progress| {
            let Some(progress) = &self.ticket.progress else { return };
            let done = ram.total.saturating_sub(ram.remaining);
            #[expect(clippy::cast_precision_loss, reason = "it is a fraction for people")]
            let fraction = (ram.total > 0).then(|| done as f32 / ram.total as f32);
            progress.send_replace(crate::options::Progress {
                phase: "saving memory".to_owned(),
                fraction,
                bytes: Some((done, ram.total)),
            });
        };
        saving.take_memory(&self.monitor, tell).await
    }

    /// The guest goes on as it was.
    async fn take_back(&self) {
        undo(&self.monitor, &self.note, &self.entry.name()).await;
    }
}

/// Breaks a save off: the guest goes on as it was, and nothing of the file is left.
async fn undo(monitor: &Monitor, note: &Note, name: &str) {
    call_off(monitor).await;
    if note.was_running
        && let Err(error) = monitor.cont().await
    {
        tracing::error!(domain = name, error = %chain(&error), "a guest whose save failed could not go on");
    }
    let part = part_of(&note.file);
    if let Err(error) = remove_file(part.clone()).await {
        tracing::error!(domain = name, path = %part.display(), %error, "a half-made save was not removed");
    }
}

/// Breaks off what QEMU writes of its memory, and waits until it has.
pub(crate) async fn call_off(monitor: &Monitor) {
    let _ = monitor.migrate_cancel().await;
    // QEMU lets the processors run only after the migration has come to its end.
    for _ in 0..100 {
        match monitor.migration().await {
            Ok(now)
                if matches!(
                    now.status.as_str(),
                    "active" | "setup" | "cancelling" | "device" | "pre-switchover"
                ) =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => break,
        }
    }
}

async fn end(log: &mut DbLog) {
    if let Err(error) = log.end().await {
        tracing::warn!(saga = %log.id(), %error, "the end of a save could not be noted");
    }
}

/// The most bytes of a file's name that its part's has: a name has 255.
const NAME_BYTES: usize = 200;

/// The file under work beside `file`. It is overwritten and removed, so its name is nobody else's; nor does it end as that
/// of a managed save.
pub(crate) fn part_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().as_bytes();
    let mut part = OsString::from(".");
    part.push(OsStr::from_bytes(&name[..name.len().min(NAME_BYTES)]));
    part.push(".lodge-part");
    file.with_file_name(part)
}

/// Only a plain file is replaced; a device or a directory is somebody's mistake.
fn is_replaceable(file: &Path) -> io::Result<()> {
    match std::fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there and is no plain file"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn commit(part: &Path, file: &Path) -> io::Result<()> {
    std::fs::rename(part, file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(dir)?.sync_all()
}
