//! One connection's state: who it is, what it opened, what it asked to be told.
//!
//! ```text
//!  connected ──login──▶ authenticated ──CONNECT_OPEN──▶ open ──CONNECT_CLOSE, or the client goes──▶ gone
//! ```
//!
//! Small facts behind one lock that is held for a few instructions. Deliberately absent: calls at work (their own
//! tasks) and bytes (`connection.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lodge_engine::Caller;
use tokio_util::sync::CancellationToken;

use crate::door::{Door, scram::Scram};
use crate::fault::{Fault, Origin};
use crate::outbox::Outbox;
use crate::stream::Streams;

/// A connection, as its calls see it.
pub struct Session {
    id: u64,
    door: Door,
    connected: SystemTime,
    outbox: Arc<Outbox>,
    streams: Arc<Streams>,
    gone: CancellationToken,
    state: Mutex<State>,
    /// The client asked to be pinged when it is silent.
    keepalive: AtomicBool,
}

struct State {
    authenticated: bool,
    caller: Caller,
    opened: Option<Opened>,
    /// A SASL login on its way.
    scram: Option<Scram>,
    sasl_user: Option<String>,
}

/// What CONNECT_OPEN opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The URI, as CONNECT_GET_URI tells it.
    pub uri: String,
    /// It may only look.
    pub read_only: bool,
}

impl Session {
    pub(crate) fn new(id: u64, door: Door, outbox: Arc<Outbox>) -> Self {
        let authenticated = door.logins.is_empty();
        if authenticated {
            door.logged_in();
        }
        let caller = door.caller();
        let state = State { authenticated, caller, opened: None, scram: None, sasl_user: None };
        Self {
            id,
            door,
            connected: SystemTime::now(),
            outbox,
            streams: Arc::default(),
            gone: CancellationToken::new(),
            state: Mutex::new(state),
            keepalive: AtomicBool::new(false),
        }
    }

    /// Its number, never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How it came in.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Since when.
    pub fn connected(&self) -> SystemTime {
        self.connected
    }

    /// Who asks.
    pub fn caller(&self) -> Caller {
        self.lock().caller.clone()
    }

    /// Whether it may call more than what leads to a login.
    pub fn is_authenticated(&self) -> bool {
        self.lock().authenticated
    }

    /// The login went well. A caller given here is who asks from now on.
    pub fn authenticate(&self, caller: Option<Caller>) {
        let mut state = self.lock();
        state.authenticated = true;
        if let Some(caller) = caller {
            state.caller = caller;
        }
        drop(state);
        self.door.logged_in();
    }

    /// The SASL login on its way, taken out for its next step: two steps at once are one too many.
    pub(crate) fn take_scram(&self) -> Option<Scram> {
        self.lock().scram.take()
    }

    /// Puts it back for the step after.
    pub(crate) fn put_scram(&self, scram: Scram) {
        self.lock().scram = Some(scram);
    }

    /// SASL has proven who it is.
    pub(crate) fn set_sasl_user(&self, user: String) {
        self.lock().sasl_user = Some(user);
    }

    /// Who it is by SASL.
    pub(crate) fn sasl_user(&self) -> Option<String> {
        self.lock().sasl_user.clone()
    }

    /// What was opened.
    pub fn opened(&self) -> Option<Opened> {
        self.lock().opened.clone()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().opened.is_some()
    }

    /// Opens; a second time is refused.
    pub(crate) fn open(&self, opened: Opened) -> Result<(), Fault> {
        let mut state = self.lock();
        if state.opened.is_some() {
            return Err(Fault::internal(Origin::Rpc, "connection already open"));
        }
        state.caller.read_only |= opened.read_only;
        state.opened = Some(opened);
        Ok(())
    }

    /// Whether nothing may be changed here: by the door, or by the flag of CONNECT_OPEN.
    pub fn is_read_only(&self) -> bool {
        self.lock().caller.read_only
    }

    /// The client answers pings.
    pub(crate) fn set_keepalive(&self) {
        self.keepalive.store(true, Ordering::Relaxed);
    }

    pub(crate) fn keepalive(&self) -> bool {
        self.keepalive.load(Ordering::Relaxed)
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Cancelled when the connection is gone: what was tied to it goes with it.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Ends the connection.
    pub fn disconnect(&self) {
        self.outbox.close();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
