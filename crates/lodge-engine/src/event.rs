//! Events: every change, numbered.

use lodge_api::Event;

use crate::{Caller, Engine, error::Result, open::not_yet};

/// A reader's place in the stream of events.
pub struct Events {
    pub(crate) kept: std::collections::VecDeque<Event>,
    pub(crate) live: tokio::sync::broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the engine closes. A reader that fell too far behind is told how many it missed.
    pub async fn next(&mut self) -> Option<std::result::Result<Event, Missed>> {
        use tokio::sync::broadcast::error::RecvError;
        if let Some(event) = self.kept.pop_front() {
            return Some(Ok(event));
        }
        match self.live.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(count)) => Some(Err(Missed(count))),
            Err(RecvError::Closed) => None,
        }
    }
}

/// So many events went by unread; ask again with `since`.
#[derive(Clone, Copy, Debug)]
pub struct Missed(pub u64);

impl Engine {
    /// Events after number `since` that are still kept, then the new ones.
    pub async fn events(&self, _caller: &Caller, _since: Option<u64>) -> Result<Events> {
        Err(not_yet())
    }
}
