//! The keepalive program: two empty messages, either way.

/// The program's number.
pub const PROGRAM: u32 = 0x6b65_6570;
/// Its version.
pub const VERSION: u32 = 1;
/// Are you there?
pub const PING: i32 = 1;
/// I am.
pub const PONG: i32 = 2;
