//! The agent's calls that Lodge uses, one typed method each. Source: QEMU's docs/interop/qemu-ga-ref.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Agent, AgentError, AgentVersion, Executed, FreezeStatus, GuestInterface, GuestOs, GuestTimezone,
    ShutdownMode,
};

/// How much of a file one read asks for. In base64 it stays far below the longest answer.
const PIECE: usize = 256 << 10;

impl Agent {
    /// `guest-ping`: is anybody there?
    pub async fn ping(&self, patience: Duration) -> Result<(), AgentError> {
        self.call::<IgnoredAny>("guest-ping", (), patience).await.map(drop)
    }

    /// `guest-info`: version and what it can do.
    pub async fn version(&self, patience: Duration) -> Result<AgentVersion, AgentError> {
        self.call("guest-info", (), patience).await
    }

    /// `guest-shutdown`. There is no answer on success; so a guest that says nothing until `patience` ends is taken
    /// to be going down: what QEMU's events and process say is the truth.
    pub async fn shutdown(&self, mode: ShutdownMode, patience: Duration) -> Result<(), AgentError> {
        self.raw_call("guest-shutdown".into(), json!({ "mode": mode.word() }), patience, true).await.map(drop)
    }

    /// `guest-network-get-interfaces`.
    pub async fn interfaces(&self, patience: Duration) -> Result<Vec<GuestInterface>, AgentError> {
        self.call("guest-network-get-interfaces", (), patience).await
    }

    /// `guest-get-host-name`.
    pub async fn host_name(&self, patience: Duration) -> Result<String, AgentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Answer {
            host_name: String,
        }
        self.call::<Answer>("guest-get-host-name", (), patience).await.map(|answer| answer.host_name)
    }

    /// `guest-get-osinfo`.
    pub async fn os(&self, patience: Duration) -> Result<GuestOs, AgentError> {
        self.call("guest-get-osinfo", (), patience).await
    }

    /// `guest-get-time`: nanoseconds since 1970 by the guest's clock.
    pub async fn time_ns(&self, patience: Duration) -> Result<i64, AgentError> {
        self.call("guest-get-time", (), patience).await
    }

    /// `guest-set-time`: `None` takes the guest's hardware clock.
    pub async fn set_time_ns(&self, time_ns: Option<i64>, patience: Duration) -> Result<(), AgentError> {
        let arguments = time_ns.map_or_else(|| json!({}), |time| json!({ "time": time }));
        self.call::<IgnoredAny>("guest-set-time", arguments, patience).await.map(drop)
    }

    /// `guest-get-timezone`.
    pub async fn timezone(&self, patience: Duration) -> Result<GuestTimezone, AgentError> {
        self.call("guest-get-timezone", (), patience).await
    }

    /// `guest-fsfreeze-freeze`: how many file systems are frozen now.
    pub async fn freeze(&self, patience: Duration) -> Result<u64, AgentError> {
        self.call("guest-fsfreeze-freeze", (), patience).await
    }

    /// `guest-fsfreeze-thaw`: how many were thawed.
    pub async fn thaw(&self, patience: Duration) -> Result<u64, AgentError> {
        self.call("guest-fsfreeze-thaw", (), patience).await
    }

    /// `guest-fsfreeze-status`.
    pub async fn freeze_status(&self, patience: Duration) -> Result<FreezeStatus, AgentError> {
        let word: String = self.call("guest-fsfreeze-status", (), patience).await?;
        Ok(match word.as_str() {
            "thawed" => FreezeStatus::Thawed,
            "frozen" => FreezeStatus::Frozen,
            _ => FreezeStatus::Other(word),
        })
    }

    /// Reads a whole file of the guest (open, read to its end, close), at most `longest` bytes of it; more is
    /// [`AgentError::TooLong`]. `patience` is for the whole.
    pub async fn read_file(
        &self,
        path: &str,
        longest: usize,
        patience: Duration,
    ) -> Result<Vec<u8>, AgentError> {
        let deadline = Instant::now() + patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        let handle: i64 =
            self.call("guest-file-open", json!({ "path": path, "mode": "r" }), patience).await?;
        let content = self.read_open_file(path, handle, longest, deadline).await;
        // Closed whatever came: the agent keeps handles forever. A moment of its own, even after the deadline.
        let close = json!({ "handle": handle });
        let closed = self
            .call::<IgnoredAny>("guest-file-close", close, left().max(Duration::from_secs(2)))
            .await
            .map(drop);
        if let Err(error) = closed {
            tracing::debug!(%error, path, "guest file not closed");
        }
        content
    }

    async fn read_open_file(
        &self,
        path: &str,
        handle: i64,
        longest: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, AgentError> {
        #[derive(Deserialize)]
        struct Piece {
            #[serde(rename = "buf-b64")]
            base64: String,
            eof: bool,
        }
        let mut content = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let arguments = json!({ "handle": handle, "count": PIECE });
            let piece: Piece = self.call("guest-file-read", arguments, left).await?;
            let before = content.len();
            decode_base64(&piece.base64, &mut content)
                .ok_or_else(|| malformed("guest-file-read", "the content is no base64"))?;
            if content.len() > longest {
                return Err(AgentError::TooLong { path: path.to_owned(), longest });
            }
            if piece.eof {
                return Ok(content);
            }
            if content.len() == before {
                return Err(malformed("guest-file-read", "neither content nor an end"));
            }
        }
    }

    /// Runs a program in the guest, without a shell, and waits for its end and output. `patience` is for the whole;
    /// a program still running then goes on in the guest.
    pub async fn run(
        &self,
        program: &str,
        args: &[&str],
        patience: Duration,
    ) -> Result<Executed, AgentError> {
        self.run_with(program, args, &[], patience).await
    }

    /// As [`Agent::run`], with something to read: what must not be seen in the guest's list of processes.
    pub async fn run_with(
        &self,
        program: &str,
        args: &[&str],
        input: &[u8],
        patience: Duration,
    ) -> Result<Executed, AgentError> {
        #[derive(Deserialize)]
        struct Started {
            pid: i64,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Now {
            exited: bool,
            exitcode: Option<i64>,
            signal: Option<i64>,
            out_data: Option<String>,
            err_data: Option<String>,
            #[serde(default)]
            out_truncated: bool,
            #[serde(default)]
            err_truncated: bool,
        }
        let deadline = Instant::now() + patience;
        let mut arguments = json!({ "path": program, "arg": args, "capture-output": true });
        if !input.is_empty() {
            arguments["input-data"] = json!(encode_base64(input));
        }
        let Started { pid } = self.call("guest-exec", arguments, patience).await?;
        let mut pause = Duration::from_millis(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let now: Now = self.call("guest-exec-status", json!({ "pid": pid }), left).await?;
            if now.exited {
                let decode = |text: Option<String>| {
                    let mut bytes = Vec::new();
                    decode_base64(&text.unwrap_or_default(), &mut bytes)
                        .map(|()| bytes)
                        .ok_or_else(|| malformed("guest-exec-status", "the output is no base64"))
                };
                return Ok(Executed {
                    exit_code: now.exitcode,
                    signal: now.signal,
                    stdout: decode(now.out_data)?,
                    stderr: decode(now.err_data)?,
                    truncated: now.out_truncated || now.err_truncated,
                });
            }
            if deadline <= Instant::now() + pause {
                return Err(AgentError::Silent { command: "guest-exec-status".to_owned(), waited: patience });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Any call by name, as JSON in and out (`virsh qemu-agent-command`).
    pub async fn command(
        &self,
        command: &'static str,
        arguments: Value,
        patience: Duration,
    ) -> Result<Value, AgentError> {
        self.call(command, arguments, patience).await
    }
}

fn malformed(command: &str, reason: &str) -> AgentError {
    AgentError::Malformed { command: command.to_owned(), reason: reason.to_owned() }
}

/// Base64 of RFC 4648, padded.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// Appends what base64 (RFC 4648, padded, no line breaks: what `GLib` writes) stands for. `None`: it is none.
fn decode_base64(text: &str, into: &mut Vec<u8>) -> Option<()> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &byte in group {
            bits = bits << 6 | u32::from(value(byte)?);
        }
        match (group.len(), bits) {
            (4, bits) => into.extend_from_slice(&bits.to_be_bytes()[1..]),
            (3, bits) => into.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            (2, bits) => into.extend_from_slice(&(bits >> 4).to_be_bytes()[3..]),
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).map(|at: u8| at.wrapping_mul(37)).collect();
            let mut back = Vec::new();
            assert_eq!(decode_base64(&encode_base64(&bytes), &mut back), Some(()));
            assert_eq!(back, bytes);
        }
        assert_eq!(encode_base64(b"fooba"), "Zm9vYmE=");
    }

    #[test]
    fn base64_is_decoded_and_nonsense_refused() {
        let decode = |text: &str| {
            let mut bytes = Vec::new();
            decode_base64(text, &mut bytes).map(|()| String::from_utf8_lossy(&bytes).into_owned())
        };
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
        for bad in ["Z", "Zg=", "Zg", "Z===", "====", "Zm9*", "Zm=v", "\u{e9}aa"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
