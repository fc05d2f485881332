//! Every limit of the front in one place, and why it is what it is.

use std::time::Duration;

use lodge_wire::packet::LEGACY_PAYLOAD;

/// Calls of one connection that are not answered yet, where no file says otherwise (`max_client_requests`). Beyond it
/// the connection is not read.
pub(crate) const CALLS_MAX: usize = 5;

/// Bytes that may wait for a client that does not read. Events have no other brake: a client this far behind is gone.
pub(crate) const UNSENT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Calls that may be slow at work at the same time in the whole daemon.
pub(crate) const SLOW_CALLS: usize = 64;

/// A slow call that takes longer waits for something; it gives its place to others.
pub(crate) const SLOW_CALL_TURN: Duration = Duration::from_millis(100);

/// The longest message of a client that has not logged in: SASL's data, each byte a word, and room to spare. Others
/// may be as long as the protocol has them, and take as much memory as they are long.
pub(crate) const STRANGER_MESSAGE_MAX: usize = 512 * 1024;

/// Streams that one connection may have open.
pub(crate) const STREAMS_MAX: usize = 256;

/// Bytes of a stream's packet to a client that is known to take more than those of any age: fewer packets are fewer
/// turns for it, and calls between two of them still wait for less than a millisecond.
pub(crate) const LONG_PAYLOAD: usize = 4 * LEGACY_PAYLOAD;

/// Packets of a stream to the client that may wait to be written.
pub(crate) const PACKETS_IN_FLIGHT: usize = 2;

/// Callbacks that one connection may register.
pub(crate) const CALLBACKS_MAX: usize = 4096;

/// How long connections may take to end when the daemon stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);

/// One read takes so much at most.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How large a client's regular expression may become.
pub(crate) const REGEX_BYTES_MAX: usize = 256 * 1024;

/// Messages that one write takes at most.
pub(crate) const FRAMES_PER_WRITE: usize = 32;

/// Messages on their way beyond which the client is not read.
pub(crate) const SENDING_MAX: usize = 64;

/// A buffer up to this size is kept for the next message; a larger one is given back.
pub(crate) const SPARE_BYTES: usize = 4 * 1024;

/// A stream's packet from this size on is read to a buffer of its own.
pub(crate) const LONG_PACKET_BYTES: usize = 32 * 1024;

/// A stream's buffer is kept for the next packet up to this size: what clients of any age send, and its head.
pub(crate) const SPARE_PACKET_BYTES: usize = 2 * LEGACY_PAYLOAD;

/// Such buffers that a connection keeps while a stream is open.
pub(crate) const SPARE_PACKETS: usize = CALLS_MAX;

/// A message may be so many times as long as what has come of it, for room to be made for all of it at once.
pub(crate) const BELIEVED_TIMES: usize = 8;
