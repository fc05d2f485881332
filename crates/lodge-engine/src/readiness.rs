//! How far guests are, and waiting for them.

use lodge_api::{Readiness, WaitQuery};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// How far the guest in a domain is.
    pub async fn readiness(&self, _caller: &Caller, _dom: &str) -> Result<Readiness> {
        Err(not_yet())
    }
    /// Waits until it is so; an error says why it will not be.
    pub async fn wait(&self, _caller: &Caller, _dom: &str, _query: WaitQuery) -> Result<Readiness> {
        Err(not_yet())
    }
}
