//! `virsh blockjob DISK BANDWIDTH`: how fast a job may go.

use super::job_of;
use crate::control::{Change, Scope};

/// Bytes per second; 0: no limit.
pub fn set_speed(disk: String, bytes_per_second: u64) -> Change {
    Change::new("blockjob", Scope::LIVE).live(move |guest| async move {
        let outcome = match job_of(&guest, &disk) {
            Ok(job) => {
                let set = guest.monitor.set_block_job_speed(&job.id, bytes_per_second);
                set.await.map_err(crate::control::Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        (guest, outcome)
    })
}
