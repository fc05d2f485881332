//! Whether there is anything a daemon has to be there for.

use crate::open::Engine;

impl Engine {
    /// Nothing runs and nobody waits for a job: a session's daemon may go, as libvirtd's with `--timeout`. The next
    /// one finds everything as it was.
    pub fn is_idle(&self) -> bool {
        let guests = self.domains.list().iter().any(|domain| domain.is_active());
        let networks = self.networks.list().iter().any(|network| network.active);
        !guests && !networks && !self.jobs.any_at_work()
    }
}
