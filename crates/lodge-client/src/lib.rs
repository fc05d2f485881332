//! The typed client of the REST API: what the CLI and the tests use, and nothing else.
//!
//! [`Endpoint`] says where the daemon may listen, [`Client::connect`] finds it, and the client has one
//! method per route (`calls.rs`). Long things have their own files: events as a stream (`events.rs`), a
//! console as a byte stream (`console.rs`), a job followed to its end (`jobs.rs`).
//!
//! No call has a time-out of its own: a start under emulation takes what it takes. A daemon that dies
//! closes its socket, which every call notices at once; one that hangs is noticed at [`Client::connect`].
//! Deliberately absent: TCP. A daemon elsewhere is reached through ssh by whoever asks for it.

mod ahead;
mod amend;
mod blocks;
mod calls;
mod clones;
mod console;
mod disks;
mod endpoint;
mod error;
mod events;
mod guest_disks;
mod image_files;
mod jobs;
mod network_filters;
mod node;
mod secrets;
mod snapshots;
mod storage;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use console::Console;
pub use endpoint::{Endpoint, Places};
pub use error::ClientError;
pub use events::Events;
pub use lodge_api as api;
pub use storage::Download;

/// How long a daemon may take to say who it is before it is taken for hung.
const HELLO_DEADLINE: Duration = Duration::from_secs(20);

/// A connection to a daemon. Cheap to clone; clones share their idle connections.
#[derive(Clone, Debug)]
pub struct Client {
    wire: Arc<wire::Wire>,
}

impl Client {
    /// Connects to the first of the endpoint's sockets that a daemon answers on.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let wire = wire::Wire::open(endpoint).await?;
        let client = Self { wire: Arc::new(wire) };
        match tokio::time::timeout(HELLO_DEADLINE, client.version()).await {
            Ok(answer) => answer.map(|_| client),
            Err(_) => Err(ClientError::Silent { socket: client.socket().to_owned(), waited: HELLO_DEADLINE }),
        }
    }

    /// The socket of the daemon that was found.
    pub fn socket(&self) -> &Path {
        self.wire.socket()
    }
}
