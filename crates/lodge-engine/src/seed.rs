//! Use cases of seeds: what cloud-init finds at the first boot.

use lodge_api::{SeedSpec, SeedView};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Keeps a domain's seed; the next start attaches it.
    pub async fn set_seed(&self, _caller: &Caller, _dom: &str, _seed: SeedSpec) -> Result<SeedView> {
        Err(not_yet())
    }
    /// A domain's seed.
    pub async fn seed(&self, _caller: &Caller, _dom: &str) -> Result<SeedView> {
        Err(not_yet())
    }
    /// Forgets a domain's seed.
    pub async fn remove_seed(&self, _caller: &Caller, _dom: &str) -> Result<()> {
        Err(not_yet())
    }
}
