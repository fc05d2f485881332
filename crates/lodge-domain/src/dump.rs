//! `virsh dump`: the guest's memory to a file, for a debugger; the guest goes on, stops or boots anew.
//!
//! ```text
//!  FILE made ▶ hold (unless live) ▶ memory ▶ sync ▶ go on · reset · end as crashed
//!                                     └── fails, aborted: FILE goes, the guest goes on
//! ```
//!
//! Memory only is an ELF (or kdump) image by QEMU's `dump-guest-memory`; the other sort is a bare migration stream, as
//! libvirt writes it. Deliberately absent: a log; a daemon that dies leaves a part of a file and a guest that stands,
//! which the next daemon sees and `resume` mends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lodge_model::domain::lifecycle::{
    Event as Change, PausedReason, Request, RunningReason, ShutoffReason, State,
};
use lodge_qemu::qmp::{Monitor, MonitorError};
use lodge_qemu::save_image::{self, SaveImageError};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::act::{Begin, Reply, ended};
use crate::define::blocking;
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::job::DumpStatus;
use crate::options::{DumpFormat, DumpOptions, Ticket};
use crate::owner::Owner;
use crate::start::remove_file;
use crate::vmm::Due;

/// `virsh dump`.
pub(crate) fn dump(owner: &mut Owner, file: PathBuf, options: DumpOptions, ticket: &Ticket) -> Begin {
    // A guest that crashed and is kept is the very one that is to be dumped.
    if !matches!(owner.state, State::Crashed { .. })
        && let Err(error) = owner.admit("dump", Request::Save)
    {
        return Begin::Now(Err(error));
    }
    let monitor = match owner.monitor() {
        Ok(monitor) => monitor,
        Err(error) => return Begin::Now(Err(error)),
    };
    let name = owner.name();
    let was_running = matches!(owner.state, State::Running { .. });
    let holds = was_running && !options.live;
    let cancel = ticket.cancel.child_token();
    let token = cancel.clone();
    let shared = Arc::clone(&owner.shared);
    let entry = Arc::clone(&owner.entry);
    let work = async move {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DomainError::Dump {
            name: Arc::clone(&name),
            path: file.clone(),
            source,
        };
        let outcome = async {
            let path = file.clone();
            shared.ports.volumes.refuse_overwrite(&path).await.map_err(|error| failed(error.into()))?;
            let made = blocking(move || make(&path)).await.map_err(|error| failed(error.into()))?;
            if holds {
                monitor.stop().await.map_err(|error| failed(error.into()))?;
                shared.publish(&entry, EventKind::Lifecycle(Lifecycle::Suspended, 0));
            }
            let written = write(&monitor, made, options, &token).await.map_err(failed);
            if written.is_err() {
                let _ = remove_file(file.clone()).await;
            }
            written
        };
        let outcome = outcome.await;
        let goes_on = was_running && !(options.crash && outcome.is_ok());
        let mut went = Ok(());
        if options.reset && outcome.is_ok() {
            went = monitor.reset().await;
        }
        // QEMU stands still after it gave its memory away, asked or not.
        if goes_on && (holds || !options.memory_only) && went.is_ok() {
            went = monitor.cont().await;
        }
        let aborted = token.is_cancelled();
        ended(move |owner| {
            if options.crash && outcome.is_ok() {
                if let Some(vmm) = owner.vmm.as_deref_mut() {
                    vmm.due = Some(Due::End(ShutoffReason::Crashed));
                }
                return Ok(Reply::Done);
            }
            if holds {
                if goes_on && went.is_ok() {
                    let told = EventKind::Lifecycle(Lifecycle::Resumed, 0);
                    owner.advance(Change::Continued(RunningReason::Unpaused), Some(told));
                } else {
                    owner.advance(Change::Stopped(PausedReason::Dumping), None);
                }
            }
            owner.heard("go on with", went)?;
            match outcome {
                Err(_) if aborted => Err(DomainError::Aborted { act: "dump", name: owner.name() }),
                outcome => outcome.map(|()| Reply::Done),
            }
        })
    };
    Begin::Job { work: Box::pin(work), cancel }
}

fn make(path: &std::path::Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags((rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it is there and is no plain file",
        ));
    }
    Ok(file)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn write(
    monitor: &Monitor,
    file: File,
    options: DumpOptions,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let copy = file.try_clone()?;
    if options.memory_only {
        elf(monitor, copy, options.format).await?;
    } else {
        stream(monitor, &copy, cancel).await?;
    }
    Ok(blocking(move || file.sync_all()).await?)
}

/// The name QEMU has the descriptor under.
const NAME: &str = "lodge-dump";

async fn elf(monitor: &Monitor, file: File, format: DumpFormat) -> Result<(), Failure> {
    if format != DumpFormat::Raw {
        let can: DumpFormats = monitor.execute("query-dump-guest-memory-capability", ()).await?;
        if !can.formats.iter().any(|can| can == format.as_str()) {
            return Err(Box::new(FormatMissing(format.as_str())));
        }
    }
    monitor.give_fd(NAME, file.into()).await?;
    let mut arguments = json!({ "paging": false, "protocol": format!("fd:{NAME}"), "detach": true });
    if format != DumpFormat::Raw {
        arguments["format"] = json!(format.as_str());
    }
    let begun: Result<IgnoredAny, MonitorError> = monitor.execute("dump-guest-memory", arguments).await;
    if let Err(error) = begun {
        let _ = monitor.close_fd(NAME).await;
        return Err(error.into());
    }
    let mut pause = Duration::from_millis(5);
    loop {
        let now: DumpStatus = monitor.execute("query-dump", ()).await?;
        match now.status.as_str() {
            "active" => {}
            "completed" => return Ok(()),
            _ => return Err("QEMU could not write the dump".into()),
        }
        // QEMU cannot break a dump off: an abort is seen when it is done.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

async fn stream(monitor: &Monitor, file: &File, cancel: &CancellationToken) -> Result<(), Failure> {
    tokio::select! {
        written = save_image::stream_to(monitor, file, |_| ()) => Ok(written?),
        () = cancel.cancelled() => {
            let _ = monitor.migrate_cancel().await;
            Err(Box::new(SaveImageError::Cancelled { act: "dump" }))
        }
    }
}

#[derive(serde::Deserialize)]
struct DumpFormats {
    formats: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("this QEMU does not write `{0}`")]
struct FormatMissing(&'static str);
