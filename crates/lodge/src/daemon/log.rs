//! The daemon's log: standard error, and `var/log/lodge/daemon.log` under the root. `RUST_LOG` chooses what.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

/// Logs from now on. A log that cannot be opened is said on standard error and is no reason not to run.
pub fn start(directory: &Path) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    let colours = std::io::stderr().is_terminal();
    match open(directory) {
        Ok(file) => subscriber.with_ansi(false).with_writer(std::io::stderr.and(Arc::new(file))).init(),
        Err(error) => {
            subscriber.with_ansi(colours).with_writer(std::io::stderr).init();
            tracing::warn!(%error, "no log file: log goes to standard error only");
        }
    }
}

fn open(directory: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(directory)?;
    OpenOptions::new().create(true).append(true).mode(0o640).open(directory.join("daemon.log"))
}
