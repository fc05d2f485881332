//! The one task that owns an agent's channel: one call at a time, synchronised before it is believed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::{AgentError, Call};
use crate::qmp::{Lines, TooLong};

/// The longest answer taken from a guest. `guest-exec-status` may carry 2 × 16 MiB of output in base64.
const LONGEST_ANSWER: usize = 48 << 20;

/// Marks the end of rubbish from before; never part of UTF-8.
const SENTINEL: u8 = 0xFF;

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "return")]
    answer: Option<Box<RawValue>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

/// The channel, and whether the guest is known to be in step with us.
struct Channel {
    stream: UnixStream,
    lines: Lines,
    in_step: bool,
}

/// Serves calls until the last [`Agent`](super::Agent) goes.
pub(super) async fn run(path: Arc<Path>, mut mailbox: mpsc::Receiver<Call>) {
    let mut channel: Option<Channel> = None;
    let mut next_sync: u64 = u64::from(std::process::id()) << 20 | 1;
    while let Some(call) = mailbox.recv().await {
        if call.reply.is_closed() {
            continue;
        }
        next_sync += 1;
        let attended = timeout_at(call.deadline, attend(&path, &mut channel, &call, next_sync)).await;
        let result = attended.unwrap_or_else(|_| {
            // Its answer may still come: nothing on this channel counts until it is in step again.
            let was_sent = channel.as_mut().is_some_and(|channel| std::mem::take(&mut channel.in_step));
            if was_sent && call.may_stay_silent {
                Ok(nothing())
            } else {
                Err(AgentError::Silent { command: call.command.to_string(), waited: call.patience })
            }
        });
        let _ = call.reply.send(result);
    }
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("null is JSON")
}

async fn attend(
    path: &Path,
    slot: &mut Option<Channel>,
    call: &Call,
    sync: u64,
) -> Result<Box<RawValue>, AgentError> {
    let channel = match slot {
        Some(channel) => channel,
        None => slot.insert(Channel::open(path).await?),
    };
    let result = async {
        if !channel.in_step {
            channel.synchronise(call, sync).await?;
        }
        match channel.ask(call, &call.command, &call.arguments, false).await {
            Err(AgentError::Closed { .. }) if call.may_stay_silent => {
                channel.in_step = false;
                Ok(nothing())
            }
            result => result,
        }
    }
    .await;
    // After these the stream's place is not known, or there is no stream.
    if matches!(result, Err(AgentError::Closed { .. } | AgentError::Malformed { .. })) {
        *slot = None;
    }
    result
}

impl Channel {
    async fn open(path: &Path) -> Result<Self, AgentError> {
        let failed = |source| AgentError::Connect { path: path.to_owned(), source: Arc::new(source) };
        let stream = crate::socket::connect(path).await.map_err(failed)?;
        Ok(Self { stream, lines: Lines::new(LONGEST_ANSWER), in_step: false })
    }

    /// Brings both sides to a known place: a sentinel makes the agent drop a half command, and its answer's sentinel
    /// ends whatever it still had to say.
    async fn synchronise(&mut self, call: &Call, id: u64) -> Result<(), AgentError> {
        self.lines.clear();
        let arguments = serde_json::json!({ "id": id });
        loop {
            let answer = self.ask(call, "guest-sync-delimited", &arguments, true).await?;
            // An older synchronisation's late answer is not this one's.
            if answer.get().trim().parse() == Ok(id) {
                self.in_step = true;
                return Ok(());
            }
        }
    }

    /// Sends a command and takes the next answer; if `delimited`, the next after a sentinel.
    async fn ask(
        &mut self,
        call: &Call,
        command: &str,
        arguments: &serde_json::Value,
        delimited: bool,
    ) -> Result<Box<RawValue>, AgentError> {
        let lost = |_: io::Error| AgentError::Closed { command: call.command.to_string() };
        let mut message = serde_json::json!({ "execute": command });
        if let (Some(message), false) = (message.as_object_mut(), arguments.is_null()) {
            message.insert("arguments".to_owned(), arguments.clone());
        }
        let mut bytes = if delimited { vec![SENTINEL] } else { Vec::new() };
        bytes.extend_from_slice(message.to_string().as_bytes());
        bytes.push(b'\n');
        self.stream.write_all(&bytes).await.map_err(lost)?;
        loop {
            let line = self.line(call).await?;
            let line = match (delimited, line.iter().rposition(|&byte| byte == SENTINEL)) {
                (true, Some(at)) => line.get(at + 1..).unwrap_or_default(),
                (true, None) => continue,
                (false, _) => &line,
            };
            return Self::understand(call, line);
        }
    }

    fn understand(call: &Call, line: &[u8]) -> Result<Box<RawValue>, AgentError> {
        let malformed = |reason: String| AgentError::Malformed { command: call.command.to_string(), reason };
        let said: Said = serde_json::from_slice(line).map_err(|error| malformed(error.to_string()))?;
        match (said.answer, said.error) {
            (Some(answer), _) => Ok(answer),
            (None, Some(no)) => Err(AgentError::Refused {
                command: call.command.to_string(),
                class: no.class,
                description: escape(&no.desc),
            }),
            (None, None) => Err(malformed("neither a result nor an error".to_owned())),
        }
    }

    async fn line(&mut self, call: &Call) -> Result<Vec<u8>, AgentError> {
        let mut bytes = vec![0u8; 64 << 10];
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(TooLong) => {
                    let reason = format!("longer than {LONGEST_ANSWER} bytes");
                    return Err(AgentError::Malformed { command: call.command.to_string(), reason });
                }
            }
            let closed = || AgentError::Closed { command: call.command.to_string() };
            let size =
                tokio::io::AsyncReadExt::read(&mut self.stream, &mut bytes).await.map_err(|_| closed())?;
            if size == 0 {
                return Err(closed());
            }
            self.lines.push(bytes.get(..size).unwrap_or_default());
        }
    }
}

/// A guest's words, fit for a terminal and a log.
fn escape(text: &str) -> String {
    text.chars().take(400).flat_map(char::escape_debug).collect()
}
