//! Every limit of the REST front.

use std::time::Duration;

/// Connections at a time; one more is told so and closed.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// Those that are told so at a time; the rest is closed without a word.
pub(crate) const TURNED_AWAY_MAX: usize = 32;
/// How long telling one may take.
pub(crate) const TURN_AWAY_DEADLINE: Duration = Duration::from_secs(2);
/// The request line and headers together.
pub(crate) const HEAD_MAX_BYTES: usize = 64 << 10;
/// Headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// From a connection's opening, or its last answer, to the end of a request's headers.
pub(crate) const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// A request's body: a document, or user-data. libvirt takes 4 MiB in a string, too.
pub(crate) const BODY_MAX_BYTES: usize = 4 << 20;
/// What is read and thrown away of a body that is too large, so that its sender reads the answer.
pub(crate) const DRAIN_MAX_BYTES: usize = 64 << 20;
/// From a request's headers to the end of its body.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// A name in a path.
pub(crate) const NAME_MAX_BYTES: usize = 512;
/// A stream of events says something at least this often.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// The longest a job is waited for in one request.
pub(crate) const JOB_WAIT_MAX: Duration = Duration::from_mins(1);
/// What is read of a console at once, and the largest frame taken from a client.
pub(crate) const CONSOLE_CHUNK_BYTES: usize = 16 << 10;
/// The largest message taken from a console's client.
pub(crate) const CONSOLE_MESSAGE_MAX_BYTES: usize = 64 << 10;
/// How long requests that still run may take when the daemon stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// What is read of a volume, and written into it, at once: what a processor's own cache holds beside the next one.
pub(crate) const VOLUME_CHUNK_BYTES: usize = 256 << 10;
/// Pieces of a volume that are read before the client has taken those before them.
pub(crate) const PIECES_AHEAD: usize = 2;
