//! How many are inside: clients, and those among them that have not logged in.
//!
//! As libvirtd does, a door that is full does not turn anybody away: connections wait in the kernel's queue until
//! somebody goes. Each [`Pass`] counts until it is dropped; until [`Pass::logged_in`] it also counts as a stranger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts those inside, of one of the daemon's two servers.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<Crowd>,
    room: Notify,
}

/// How many there are and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Clients inside.
    pub clients: usize,
    /// Clients that may be.
    pub clients_max: usize,
    /// Of those inside, not logged in.
    pub strangers: usize,
    /// Of those, how many may be; 0: all.
    pub strangers_max: usize,
}

impl Crowd {
    fn has_room(&self) -> bool {
        self.clients < self.clients_max && (self.strangers_max == 0 || self.strangers < self.strangers_max)
    }
}

/// One client inside.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    stranger: AtomicBool,
}

impl Gate {
    /// Nobody is inside.
    pub fn new(clients_max: usize, strangers_max: usize) -> Arc<Self> {
        let crowd = Crowd { clients: 0, clients_max, strangers: 0, strangers_max };
        Arc::new(Self { state: Mutex::new(crowd), room: Notify::new() })
    }

    /// How many there are now.
    pub fn crowd(&self) -> Crowd {
        *self.lock()
    }

    /// Sets how many may be; those inside stay.
    pub fn set_limits(&self, clients_max: usize, strangers_max: usize) {
        let mut crowd = self.lock();
        crowd.clients_max = clients_max;
        crowd.strangers_max = strangers_max;
        drop(crowd);
        self.room.notify_waiters();
    }

    /// Waits for room, then counts one more, a stranger until it says otherwise.
    pub async fn enter(self: &Arc<Self>) -> Pass {
        loop {
            // Before the look, so that one who goes in between is not missed.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            {
                let mut crowd = self.lock();
                if crowd.has_room() {
                    crowd.clients += 1;
                    crowd.strangers += 1;
                    return Pass { gate: Arc::clone(self), stranger: AtomicBool::new(true) };
                }
            }
            room.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// It is no stranger any more.
    pub fn logged_in(&self) {
        if self.stranger.swap(false, Ordering::AcqRel) {
            self.gate.lock().strangers -= 1;
            self.gate.room.notify_waiters();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.logged_in();
        self.gate.lock().clients -= 1;
        self.gate.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn strangers_wait_until_one_logs_in() {
        let gate = Gate::new(3, 1);
        let first = gate.enter().await;
        assert!(gate.enter().now_or_never().is_none());
        first.logged_in();
        let second = gate.enter().await;
        second.logged_in();
        first.logged_in();
        let third = gate.enter().await;
        third.logged_in();
        assert!(gate.enter().now_or_never().is_none());
        assert_eq!(gate.crowd(), Crowd { clients: 3, clients_max: 3, strangers: 0, strangers_max: 1 });
        drop(second);
        assert_eq!(gate.enter().await.gate.crowd().clients, 3);
        assert_eq!(gate.crowd().clients, 2);
    }

    #[tokio::test]
    async fn one_that_waits_comes_in_when_there_is_room() {
        let gate = Gate::new(1, 0);
        let inside = gate.enter().await;
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { drop(gate.enter().await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.set_limits(2, 0);
        waiting.await.unwrap();
        drop(inside);
        assert_eq!(gate.crowd().clients, 0);
    }
}
