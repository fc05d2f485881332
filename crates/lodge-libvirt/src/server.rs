//! The front as a whole: who is connected, who wants to be told what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lodge_engine::Engine;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Connection, Lookout};
use crate::door::Door;
use crate::event::Hub;
use crate::limits::{SLOW_CALLS, STOP_GRACE};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::transport::Transport;

/// The libvirt front of one engine.
pub struct Server {
    engine: Engine,
    hub: Arc<Hub>,
    sessions: Mutex<HashMap<u64, Weak<Session>>>,
    next_session: AtomicU64,
    pub(crate) slow_calls: Arc<Semaphore>,
    pub(crate) lookout: Lookout,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// A front for `engine`; from now on it hears the engine's events.
    pub fn new(engine: Engine) -> Arc<Self> {
        let server = Arc::new(Self {
            hub: Arc::new(Hub::default()),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            slow_calls: Arc::new(Semaphore::new(SLOW_CALLS)),
            lookout: Lookout::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            engine,
        });
        server.hub.listen(&server.engine, &server.tasks, &server.closing);
        server
    }

    /// The use cases.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Who wants to be told what.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Resolves when the daemon stops.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Tasks that end with the front.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Every connection there is, by its number.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        sessions.sort_by_key(|session| session.id());
        sessions
    }

    /// Serves one client until either side ends it. Calls at work then go on; nobody reads their replies.
    pub async fn serve_connection(self: Arc<Self>, transport: impl Transport, door: Door) {
        let outbox = Arc::new(Outbox::default());
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(id, door, Arc::clone(&outbox)));
        self.lock().insert(id, Arc::downgrade(&session));
        tracing::debug!(session = id, peer = ?session.door().peer, "connected");
        let connection = Connection::new(Arc::clone(&self), Arc::clone(&session), Box::new(transport));
        tokio::select! {
            end = connection => tracing::debug!(session = id, %end, "disconnected"),
            () = self.closing.cancelled() => {}
        }
        outbox.close();
        session.streams().end();
        session.gone().cancel();
        self.hub.forget(id);
        self.lock().remove(&id);
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "calls cut off");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
