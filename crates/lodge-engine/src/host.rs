//! What is told of the host and the daemon.

use lodge_api::{HostReport, HostView, Version};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Which daemon this is.
    pub async fn version(&self, _caller: &Caller) -> Result<Version> {
        Err(not_yet())
    }
    /// The host as the daemon sees it.
    pub async fn host(&self, _caller: &Caller) -> Result<HostView> {
        Err(not_yet())
    }
    /// What a hypervisor needs of this host.
    pub async fn host_check(&self, _caller: &Caller) -> Result<HostReport> {
        Err(not_yet())
    }
}
