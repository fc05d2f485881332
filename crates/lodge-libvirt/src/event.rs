//! Events: what the engine tells, made into messages once and given to each callback that asked for it.
//!
//! ```text
//!  engine's broadcasts ──▶ event/domain.rs … (what libvirt says of it) ──▶ Hub ──▶ outbox of each that asked
//! ```
//!
//! One task per source reads its broadcast in order, so a callback's events come in the order they happened. Every
//! message begins with the callback's number: it is encoded once and that word is set for each receiver.

pub(crate) mod domain;
pub(crate) mod monitor;
pub(crate) mod network;
mod node_device;
pub(crate) mod pool;
pub(crate) mod secret;

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lodge_engine::Engine;
use lodge_wire::Text;
use lodge_wire::packet::{self, HEADER, Header, Kind, LENGTH, Status};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::{Fault, Origin};
use crate::limits::CALLBACKS_MAX;
use crate::outbox::{Frame, Outbox};
use crate::session::Session;

/// A family of events; each numbers its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Domain,
    Network,
    Pool,
    NodeDevice,
    Secret,
    /// QEMU's own events, of the QEMU program.
    Monitor,
}

/// What an event is about, and what a callback can be narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Uuid([u8; 16]),
    Name(Text),
}

/// An event as a message, its callback's number still open.
#[derive(Debug)]
pub(crate) struct Told {
    class: Class,
    id: i32,
    subject: Subject,
    /// QEMU's name of the event.
    monitor: Option<Text>,
    bytes: Vec<u8>,
    /// For clients that registered without a callback's number.
    old: Option<Vec<u8>>,
}

impl Told {
    /// The event `id` of its class about `subject`. `message` begins with `callback_id`; its value does not matter.
    pub fn new<M: lodge_wire::Event>(class: Class, id: i32, subject: Subject, message: &M) -> Option<Self> {
        let bytes = Self::message(message)?;
        Some(Self { class, id, subject, monitor: None, bytes, old: None })
    }

    /// A message's bytes.
    fn message<M: lodge_wire::Event>(message: &M) -> Option<Vec<u8>> {
        let header = Header {
            program: M::FACTS.program,
            version: M::FACTS.version,
            procedure: M::FACTS.number,
            kind: Kind::Message,
            serial: 0,
            status: Status::Ok,
        };
        let told = packet::message(&header, message);
        told.inspect_err(|error| {
            tracing::error!(event = M::FACTS.name, %error, "event does not fit the protocol");
        })
        .ok()
    }

    /// The message for one callback.
    fn to(&self, callback_id: i32) -> Vec<u8> {
        const AT: usize = LENGTH + HEADER;
        let mut bytes = self.bytes.clone();
        if let Some(word) = bytes.get_mut(AT..AT + 4) {
            word.copy_from_slice(&callback_id.to_be_bytes());
        }
        bytes
    }
}

/// A callback that some client registered.
struct Callback {
    id: i32,
    session: u64,
    class: Class,
    event: i32,
    only: Only,
    /// It was registered without a number, and is told without one.
    old: bool,
    outbox: Arc<Outbox>,
}

/// What a callback is narrowed to.
#[derive(Debug, Default)]
pub(crate) struct Only {
    pub subject: Option<Subject>,
    /// QEMU's names of events.
    pub monitor: Option<monitor::Names>,
}

impl Only {
    fn admits(&self, told: &Told) -> bool {
        let by_name = |names: &monitor::Names| {
            names.admit(told.monitor.as_ref().map(Text::as_bytes).unwrap_or_default())
        };
        self.subject.as_ref().is_none_or(|subject| *subject == told.subject)
            && self.monitor.as_ref().is_none_or(by_name)
    }
}

/// Who wants to be told what.
#[derive(Default)]
pub(crate) struct Hub {
    callbacks: Mutex<Vec<Callback>>,
    next: AtomicI32,
    /// Somebody asked for events of devices.
    devices: tokio::sync::Notify,
}

impl Hub {
    /// Begins to hear the engine.
    pub fn listen(self: &Arc<Self>, engine: &Engine, tasks: &TaskTracker, closing: &CancellationToken) {
        self.hear(engine, engine.domain_events(), domain::messages, tasks, closing);
        self.hear(engine, engine.monitor_events(), monitor::messages, tasks, closing);
        self.hear(engine, engine.network_events(), network::messages, tasks, closing);
        self.hear(engine, engine.secret_events(), secret::messages, tasks, closing);
        self.hear(engine, engine.pool_events(), pool::messages, tasks, closing);
        node_device::watch(self, engine, tasks, closing);
    }

    /// Tells everything that `source` brings, in order, as `messages` makes it.
    fn hear<E: Clone + Send + 'static>(
        self: &Arc<Self>,
        engine: &Engine,
        mut source: broadcast::Receiver<E>,
        messages: fn(&Engine, &E) -> Vec<Told>,
        tasks: &TaskTracker,
        closing: &CancellationToken,
    ) {
        let (hub, engine, closing) = (Arc::clone(self), engine.clone(), closing.clone());
        tasks.spawn(async move {
            loop {
                let heard = tokio::select! {
                    () = closing.cancelled() => return,
                    heard = source.recv() => heard,
                };
                match heard {
                    Ok(event) if hub.lock().is_empty() => drop(event),
                    Ok(event) => messages(&engine, &event).iter().for_each(|told| hub.tell(told)),
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Gives an event to every callback that asked for it.
    pub fn tell(&self, told: &Told) {
        let asked = |callback: &&Callback| {
            callback.class == told.class && callback.event == told.id && callback.only.admits(told)
        };
        for callback in self.lock().iter().filter(asked) {
            let bytes = if callback.old { told.old.clone() } else { Some(told.to(callback.id)) };
            if let Some(bytes) = bytes {
                callback.outbox.push(Frame::plain(bytes));
            }
        }
    }

    /// When somebody next asks for events of devices.
    async fn asked_for_devices(&self) {
        self.devices.notified().await;
    }

    /// Whether anybody asked for events of this class.
    fn wants(&self, class: Class) -> bool {
        self.lock().iter().any(|callback| callback.class == class)
    }

    /// A new callback; says its number.
    pub fn register(&self, session: &Session, class: Class, event: i32, only: Only) -> Result<i32, Fault> {
        self.add(session, class, event, only, false)
    }

    /// A client that knows no callbacks' numbers wants to be told of a domain's event.
    pub fn register_old(&self, session: &Session, event: i32) -> Result<(), Fault> {
        self.add(session, Class::Domain, event, Only::default(), true).map(drop)
    }

    fn add(&self, session: &Session, class: Class, event: i32, only: Only, old: bool) -> Result<i32, Fault> {
        let mut callbacks = self.lock();
        if callbacks.iter().filter(|callback| callback.session == session.id()).count() >= CALLBACKS_MAX {
            return Err(Fault::internal(Origin::Rpc, "too many event callbacks registered"));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let outbox = Arc::clone(session.outbox());
        if class == Class::NodeDevice {
            self.devices.notify_one();
        }
        callbacks.push(Callback { id, session: session.id(), class, event, only, old, outbox });
        Ok(id)
    }

    /// Forgets a callback; `false`: there is none such.
    pub fn deregister(&self, session: &Session, class: Class, id: i32) -> bool {
        let mut callbacks = self.lock();
        let own = |callback: &Callback| {
            callback.id == id && callback.class == class && callback.session == session.id() && !callback.old
        };
        let found = callbacks.iter().position(own);
        found.map(|at| callbacks.remove(at)).is_some()
    }

    /// Forgets what [`register_old`](Self::register_old) noted; `false`: there is nothing such.
    pub fn deregister_old(&self, session: &Session, event: i32) -> bool {
        let mut callbacks = self.lock();
        let own =
            |callback: &Callback| callback.old && callback.event == event && callback.session == session.id();
        let found = callbacks.iter().position(own);
        found.map(|at| callbacks.remove(at)).is_some()
    }

    /// Forgets all callbacks of a connection.
    pub fn forget(&self, session: u64) {
        self.lock().retain(|callback| callback.session != session);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Callback>> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
