//! Events: every change, numbered.
//!
//! One task numbers and stores them in the order they came, then tells whoever listens. Whoever publishes never waits
//! for the disk; a reader that is too slow is told how many it missed.

use std::collections::VecDeque;

use lodge_api::Event;
use lodge_store::{Db, db::events::EventRow};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};

use crate::{Caller, Engine, error::Result};

/// Events that wait for the disk; beyond that the host is in trouble and events are dropped with a word in the log.
const WAITING: usize = 16_384;
/// Events a slow reader may be behind.
const BEHIND: usize = 4096;
/// Events read from the store at once.
const PAGE: u32 = 1000;

/// Where events are published and listened to.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    to_store: mpsc::Sender<(String, String, Value)>,
    live: broadcast::Sender<Event>,
}

impl Feed {
    /// Starts the task that numbers events.
    pub fn new(db: Db) -> Self {
        let (to_store, mut from_publishers) = mpsc::channel::<(String, String, Value)>(WAITING);
        let live = broadcast::channel(BEHIND).0;
        let feed = Self { to_store, live: live.clone() };
        tokio::spawn(async move {
            while let Some((kind, subject, data)) = from_publishers.recv().await {
                match db.append_event(&kind, &subject, data).await {
                    Ok(row) => drop(live.send(event(row))),
                    Err(error) => tracing::error!(kind, subject, %error, "event not stored"),
                }
            }
        });
        feed
    }

    /// Tells that something changed.
    pub fn publish(&self, kind: impl Into<String>, subject: impl Into<String>, data: Value) {
        let (kind, subject) = (kind.into(), subject.into());
        if let Err(error) = self.to_store.try_send((kind, subject, data)) {
            tracing::error!(%error, "event dropped");
        }
    }
}

/// A reader's place in the stream of events.
#[derive(Debug)]
pub struct Events {
    kept: VecDeque<Event>,
    live: broadcast::Receiver<Event>,
    last: u64,
}

/// So many events went by unread; ask again with `since`.
#[derive(Clone, Copy, Debug)]
pub struct Missed(pub u64);

impl Events {
    /// The next event; `None` when the engine closes. A reader that fell too far behind is told how many it missed.
    #[crate::boxed]
    pub async fn next(&mut self) -> Option<std::result::Result<Event, Missed>> {
        use broadcast::error::RecvError;
        if let Some(event) = self.kept.pop_front() {
            return Some(Ok(event));
        }
        loop {
            match self.live.recv().await {
                // Stored and told between our subscription and our look into the store: already given.
                Ok(event) if event.seq <= self.last => {}
                Ok(event) => return Some(Ok(event)),
                Err(RecvError::Lagged(count)) => return Some(Err(Missed(count))),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Engine {
    /// Events after number `since` that are still kept, then the new ones.
    #[crate::boxed]
    pub async fn events(&self, _caller: &Caller, since: Option<u64>) -> Result<Events> {
        // Subscribed first, so that nothing falls between the store and the live stream.
        let mut events = Events { kept: VecDeque::new(), live: self.feed.live.subscribe(), last: 0 };
        let Some(mut since) = since else { return Ok(events) };
        loop {
            let page = self.store.db().events_after(since, PAGE).await?.events;
            let Some(last) = page.last() else { return Ok(events) };
            since = last.seq;
            events.last = since;
            events.kept.extend(page.into_iter().map(event));
        }
    }
}

fn event(row: EventRow) -> Event {
    let EventRow { seq, time_ms, kind, subject, data } = row;
    Event { seq, time_ms: time_ms.cast_unsigned(), kind, subject, data }
}
