//! QEMU's migration stream to and from a file, by descriptor.
//!
//! Since 8.2 QEMU has `file:` with an offset, and since 9.1 it frowns on `fd:` for files; before it has only `fd:`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::time::Duration;

use super::SaveImageError;
use crate::qmp::{Migration, MigrationState, Monitor, MonitorError};

/// How far it is, in bytes of the guest's memory.
pub type Progress = crate::qmp::MigrationRam;

/// The set of descriptors a stream goes through; none of a start's sets has so high a number.
const SET: u32 = 900_000;
const NAME: &str = "lodge-memory";

/// Writes the guest to `file` from `offset` on.
pub(super) async fn send(
    monitor: &Monitor,
    file: &File,
    offset: u64,
    progress: impl FnMut(Progress),
) -> Result<(), SaveImageError> {
    let act = "save";
    let failed = |source| SaveImageError::Monitor { act, source };
    // By default QEMU spares the network: 128 MiB/s. A disk is taken at what it can.
    let unlimited = serde_json::json!({ "max-bandwidth": i64::MAX });
    monitor.set_migration_parameters(unlimited).await.map_err(failed)?;
    let uri = hand_over(monitor, file, offset).await.map_err(|error| error.into_save(act))?;
    let result = match monitor.migrate(&uri).await {
        Ok(()) => follow(monitor, act, progress).await,
        Err(source) => Err(failed(source)),
    };
    take_back(monitor).await;
    result
}

/// Reads the guest from `file` at `offset`.
pub(super) async fn receive(
    monitor: &Monitor,
    file: &File,
    offset: u64,
    progress: impl FnMut(Progress),
) -> Result<(), SaveImageError> {
    let act = "restore";
    let uri = hand_over(monitor, file, offset).await.map_err(|error| error.into_save(act))?;
    let result = match monitor.migrate_incoming(&uri).await {
        Ok(()) => follow(monitor, act, progress).await,
        Err(source) => Err(SaveImageError::Monitor { act, source }),
    };
    take_back(monitor).await;
    result
}

enum HandOver {
    File(io::Error),
    Monitor(MonitorError),
}

impl HandOver {
    fn into_save(self, act: &'static str) -> SaveImageError {
        match self {
            Self::File(error) => SaveImageError::Failed { act, reason: error.to_string() },
            Self::Monitor(source) => SaveImageError::Monitor { act, source },
        }
    }
}

async fn hand_over(monitor: &Monitor, mut file: &File, offset: u64) -> Result<String, HandOver> {
    let copy = file.try_clone().map_err(HandOver::File)?;
    // QEMU 9 and later: they dup it from the set, so its mode must be the one they ask for, and it is.
    if monitor.greeting().version.qemu.at_least(9, 0) {
        let flags = rustix::fs::fcntl_getfl(&copy).map_err(|error| HandOver::File(error.into()))?;
        let blocking = flags.difference(rustix::fs::OFlags::NONBLOCK);
        rustix::fs::fcntl_setfl(&copy, blocking).map_err(|error| HandOver::File(error.into()))?;
        monitor.add_fd(SET, NAME, copy.into()).await.map_err(HandOver::Monitor)?;
        Ok(format!("file:/dev/fdset/{SET},offset={offset}"))
    } else {
        file.seek(SeekFrom::Start(offset)).map_err(HandOver::File)?;
        monitor.give_fd(NAME, copy.into()).await.map_err(HandOver::Monitor)?;
        Ok(format!("fd:{NAME}"))
    }
}

/// QEMU has its own copy by now, or will never take it.
async fn take_back(monitor: &Monitor) {
    if monitor.greeting().version.qemu.at_least(9, 0) {
        let _ = monitor.remove_fdset(SET).await;
    }
}

async fn follow(
    monitor: &Monitor,
    act: &'static str,
    mut progress: impl FnMut(Progress),
) -> Result<(), SaveImageError> {
    let mut pause = Duration::from_millis(5);
    loop {
        let now = monitor.migration().await.map_err(|source| SaveImageError::Monitor { act, source })?;
        if let Some(ram) = now.ram {
            progress(ram);
        }
        let Migration { status, error_desc, .. } = now;
        match status {
            MigrationState::Completed => return Ok(()),
            MigrationState::Cancelled => return Err(SaveImageError::Cancelled { act }),
            MigrationState::Failed => {
                let reason = error_desc.unwrap_or_else(|| "it gives no reason".to_owned());
                return Err(SaveImageError::Failed { act, reason });
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
