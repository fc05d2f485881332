//! QEMU's monitor for those who want it raw, files it writes for us, and reasons to distrust the result.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use lodge_domain::control::{Refusal, Sort};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Guest, Look};

/// How long a command of somebody's may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// How many commands were given; libvirt numbers its own.
static COMMANDS: AtomicU64 = AtomicU64::new(1);

impl Guest {
    /// A line for people (HMP).
    #[crate::boxed]
    pub async fn human_command(&self, line: &str) -> Look<String> {
        let monitor = self.monitor()?;
        let answer: String = monitor
            .execute_within("human-monitor-command", json!({ "command-line": line }), PATIENCE)
            .await
            .map_err(Refusal::from)?;
        Ok(answer)
    }

    /// A command as JSON; its answer as JSON, QEMU's refusal among them, as libvirt gives it.
    #[crate::boxed]
    pub async fn monitor_command(&self, text: &str, fd: Option<OwnedFd>) -> Look<String> {
        use lodge_qemu::qmp::MonitorError;
        let monitor = self.monitor()?;
        let command: Value = serde_json::from_str(text)
            .map_err(|_| Refusal::internal("failed to parse JSON: unexpected character"))?;
        let name = command.get("execute").and_then(Value::as_str);
        let name =
            name.ok_or_else(|| Refusal::internal("malformed monitor command: 'execute' is missing"))?;
        let arguments = command.get("arguments").cloned().unwrap_or(Value::Null);
        let answer: std::result::Result<Box<RawValue>, MonitorError> = match fd {
            Some(fd) => monitor.execute_with_fd(name, arguments, fd).await,
            None => monitor.execute_within(name, arguments, PATIENCE).await,
        };
        // In QEMU's order and libvirt's form: people read it, and scripts cut it.
        let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
        let id = command.get("id").cloned().unwrap_or_else(|| json!(format!("libvirt-{number}")));
        match answer {
            Ok(answer) => Ok(format!(r#"{{"return":{},"id":{id}}}"#, compact(answer.get()))),
            Err(MonitorError::Refused { class, description, .. }) => {
                let (class, description) = (json!(class), json!(description));
                Ok(format!(r#"{{"id":{id},"error":{{"class":{class},"desc":{description}}}}}"#))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Has QEMU write a file, and reads it. `command` is given the file's name as QEMU knows it.
    ///
    /// The file has no name of its own: QEMU runs as another user and sees no directory of ours.
    pub(super) async fn written_by_qemu<F>(
        &self,
        longest: u64,
        command: impl FnOnce(Scratch) -> F,
    ) -> Look<Vec<u8>>
    where
        F: Future<Output = Look<()>>,
    {
        let monitor = self.monitor()?;
        let failed = |error: std::io::Error| {
            let text = format!("cannot make a file for QEMU: {error}");
            Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), text)
        };
        let memory = rustix::fs::memfd_create("lodge-scratch", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(memory.map_err(|error| failed(error.into()))?);
        // QEMU takes a descriptor of a set only if its mode is the very one it opens with.
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let copy: OwnedFd = File::options().write(true).open(own).map_err(failed)?.into();
        let added: Added = monitor
            .execute_with_fd("add-fd", json!({ "opaque": "wronly" }), copy)
            .await
            .map_err(Refusal::from)?;
        let written = command(Scratch {
            set: format!("/dev/fdset/{}", added.fdset_id),
            file: format!("/proc/self/fd/{}", added.fd),
        });
        let outcome = written.await;
        if let Err(error) = monitor.remove_fdset(added.fdset_id).await {
            tracing::debug!(%error, "a descriptor was not taken back from QEMU");
        }
        outcome?;
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.take(longest).read_to_end(&mut bytes)).map_err(failed)?;
        Ok(bytes)
    }
}

/// A file of ours, by QEMU's names of it.
pub(super) struct Scratch {
    /// For commands that know descriptor sets.
    pub set: String,
    /// For those that open plain files.
    pub file: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Added {
    fdset_id: u32,
    fd: i32,
}

/// JSON without the blanks between its parts, its order kept.
fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let mut keep = |letter: &char| {
        if inside {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => inside = false,
                _ => {}
            }
            return true;
        }
        inside = *letter == '"';
        !letter.is_ascii_whitespace()
    };
    json.chars().filter(|letter| keep(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn blanks_go_but_for_those_in_texts() {
        assert_eq!(compact(r#"{"b": [1, 2], "a": "x \" y: z"}"#), r#"{"b":[1,2],"a":"x \" y: z"}"#);
    }
}
