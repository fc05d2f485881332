//! What `virt-admin` may do with the daemon.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::idle::Patience;
use super::log::Log;

/// The daemon's handles, as the admin socket has them.
pub struct Controls {
    /// The log.
    pub log: Log,
    /// How long it waits for something to do.
    pub patience: Patience,
    /// Told once when it is to stop.
    pub stop: Arc<Notify>,
}

impl lodge_libvirt::admin::Controls for Controls {
    fn log_outputs(&self) -> String {
        self.log.outputs()
    }

    fn set_log_outputs(&self, outputs: &str) -> Result<(), String> {
        self.log.set_outputs(outputs)
    }

    fn log_filters(&self) -> String {
        self.log.filters()
    }

    fn set_log_filters(&self, filters: &str) -> Result<(), String> {
        self.log.set_filters(filters)
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        self.patience.set(timeout);
    }

    fn shut_down(&self) {
        tracing::info!("an administrator stops the daemon");
        self.stop.notify_one();
    }
}
