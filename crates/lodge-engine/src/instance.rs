//! Instances: an image, a seed and a domain in one act.

use lodge_api::{InstanceRemoval, InstanceSpec, Job, UndefineReport};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Makes and starts an instance; the job's result is a `DomainView`.
    pub async fn run_instance(&self, _caller: &Caller, _spec: InstanceSpec) -> Result<Job> {
        Err(not_yet())
    }
    /// Removes an instance with all its files.
    pub async fn remove_instance(
        &self,
        _caller: &Caller,
        _dom: &str,
        _removal: InstanceRemoval,
    ) -> Result<UndefineReport> {
        Err(not_yet())
    }
}
