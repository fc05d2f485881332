//! The memory of a running guest in a file of its own, in the format of `virsh save`; the guest goes on afterwards.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lodge_model::Kind;
use lodge_qemu::qmp::Monitor;
use lodge_qemu::save_image::{SaveImageError, Saving};
use lodge_store::saga::Failure;

use crate::define::blocking;
use crate::error::chain;
use crate::save::part_of;
use crate::start::{file_failure, remove_file};

/// Passes over the memory of a guest that runs on, before it is held for the rest.
const PASSES: u64 = 3;
/// How often the passes are counted.
const LOOK: Duration = Duration::from_millis(100);

/// Writes it to `file`, whole and durable. The guest stands still afterwards.
pub(super) async fn write(
    monitor: &Monitor,
    file: &Path,
    xml: &str,
    runs_after: bool,
) -> Result<(), Failure> {
    let failed =
        |error: &SaveImageError| Failure::of(error.kind(), error).with_hint(error.hint().map(str::to_owned));
    let (part, text) = (part_of(file), xml.to_owned());
    let made = blocking(move || Saving::create(&part, &text, runs_after)).await;
    let saving = made.map_err(|error| failed(&error))?;
    let taken = saving.take_memory(monitor, |_| ()).await;
    taken.map_err(|error| {
        let text = format!("cannot write the memory to `{}`: {}", file.display(), chain(&error));
        Failure::new(error.kind(), text).with_hint(error.hint().map(str::to_owned))
    })?;
    let (part, file) = (part_of(file), file.to_owned());
    blocking(move || {
        saving.finish().map_err(|error| failed(&error))?;
        let moved = std::fs::rename(&part, &file)
            .and_then(|()| lodge_sys::fs::sync_dir(file.parent().unwrap_or(Path::new("/"))));
        moved.map_err(|error| file_failure("write", &file, &error))
    })
    .await
}

/// Holds a guest that makes its memory dirty faster than it is written: passes over it come to no end then.
pub(super) async fn hold_busy(monitor: &Monitor) -> std::convert::Infallible {
    let mut passes = tokio::time::interval(LOOK);
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        passes.tick().await;
        let ram = monitor.migration().await.ok().and_then(|now| now.ram);
        if ram.is_some_and(|ram| ram.dirty_sync_count > PASSES) {
            tracing::debug!("the guest is held: its memory changes faster than it is written");
            if monitor.stop().await.is_ok() {
                return std::future::pending().await;
            }
        }
    }
}

/// Calls a write off, and removes what came of it.
pub(super) async fn take_back(monitor: Option<&Monitor>, file: &Path) -> Result<(), Failure> {
    if let Some(monitor) = monitor {
        crate::save::call_off(monitor).await;
    }
    for path in [part_of(file), file.to_owned()] {
        remove_file(path.clone()).await.map_err(|error| file_failure("remove", &path, &error))?;
    }
    Ok(())
}

/// Whether the memory can go there: nothing is, or an empty file.
pub(super) fn check_place(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Ok(there) if !there.is_file() || there.size() > 0 => {
            let text = format!("the memory's file `{}` is there already", file.display());
            Err(Failure::new(Kind::Exists, text).with_hint("name a file that is not there".to_owned()))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file_failure("look at", file, &error))
        }
        _ => Ok(()),
    }
}
