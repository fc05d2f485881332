//! Asking a binary: a QEMU without a machine, its monitor on a socket pair, a dozen questions, `quit`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::Kind;
use lodge_sys::process::Process;
use lodge_sys::spawn::{Command, SpawnError};
use lodge_sys::tool::Tool;
use serde_json::json;
use tokio::net::UnixStream;

use super::cache::{self, Key};
use super::processor::{self, Processor};
use super::{Capabilities, SERVED_DRIVERS};
use crate::Accelerator;
use crate::qmp::{Monitor, MonitorError};

/// A cold start from a slow disk may take seconds; a QEMU that hangs must not hang us.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a binary's capabilities are not known.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no such program.
    #[error("cannot find the QEMU `{}`", binary.display())]
    NoBinary {
        /// The program.
        binary: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It could not be started.
    #[error("cannot ask the QEMU `{}`", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// Why not.
        source: SpawnError,
    },
    /// A socket pair or a descriptor failed.
    #[error("cannot open a way to ask the QEMU `{}`", binary.display())]
    Channel {
        /// The program.
        binary: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It started, and did not answer as a QEMU does.
    #[error("the QEMU `{}` does not tell what it can do{}", binary.display(), said(last_words))]
    Monitor {
        /// The program.
        binary: PathBuf,
        /// What it printed.
        last_words: String,
        /// What went wrong with the question.
        source: MonitorError,
    },
}

fn said(last_words: &str) -> String {
    if last_words.is_empty() { String::new() } else { format!(" (it said: {last_words})") }
}

impl ProbeError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoBinary { .. } => Kind::NotFound,
            Self::Spawn { .. } | Self::Channel { .. } | Self::Monitor { .. } => Kind::Unavailable,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoBinary { .. } => {
                Some("install QEMU (Debian: qemu-system-x86), or name another one in the domain's <emulator>")
            }
            Self::Spawn { .. } | Self::Channel { .. } => None,
            Self::Monitor { .. } => Some("run it by hand with `-M none -nographic` to see what it says"),
        }
    }
}

/// A QEMU started for a question.
pub(crate) struct Throwaway {
    pub(crate) monitor: Monitor,
    pub(super) output: std::fs::File,
    _process: Killed,
}

/// Kills the process when this goes, however it goes: also when whoever waits for an answer gives up.
struct Killed(Process);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let process = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { process.ended().await });
        }
    }
}

impl Throwaway {
    /// Starts `binary` with `args` and a monitor on a socket pair.
    ///
    /// The descriptors `kept` go along under their numbers.
    pub(crate) async fn start(binary: &Path, args: &[&str], kept: Vec<OwnedFd>) -> Result<Self, ProbeError> {
        let channel = |source: io::Error| ProbeError::Channel { binary: binary.to_owned(), source };
        let (ours, theirs) = UnixStream::pair().map_err(channel)?;
        // QEMU wants a blocking socket to begin with.
        let theirs: OwnedFd =
            theirs.into_std().and_then(|s| s.set_nonblocking(false).map(|()| s)).map_err(channel)?.into();
        let output = std::fs::File::from(
            rustix::fs::memfd_create("lodge-qemu-output", rustix::fs::MemfdFlags::CLOEXEC)
                .map_err(|error| channel(error.into()))?,
        );
        let mut command = Command::new(binary);
        let monitor = format!("socket,id=m,fd={}", theirs.as_raw_fd());
        command.args(args).args(["-chardev", &monitor, "-mon", "chardev=m,mode=control"]);
        command.fd(theirs);
        for fd in kept {
            command.fd(fd);
        }
        command.output(output.try_clone().map_err(channel)?.into());
        let spawn = |source| ProbeError::Spawn { binary: binary.to_owned(), source };
        let process = Killed(command.spawn().map_err(spawn)?);
        match Monitor::over(ours, PATIENCE).await {
            Ok(monitor) => Ok(Self { monitor, output, _process: process }),
            Err(source) => {
                let _ = process.0.kill();
                let _ = process.0.ended().await;
                Err(failed(binary, &output, source))
            }
        }
    }
}

pub(super) fn failed(binary: &Path, mut output: &std::fs::File, source: MonitorError) -> ProbeError {
    use std::io::{Read, Seek};
    let mut text = String::new();
    let _ = output.rewind().and_then(|()| output.take(2000).read_to_string(&mut text));
    ProbeError::Monitor { binary: binary.to_owned(), last_words: crate::log::last_words(&text), source }
}

/// How a QEMU is started that is only asked.
pub(super) fn arguments(machine: &str) -> [&str; 6] {
    ["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", machine]
}

/// What a kept answer to this question must have been found with.
pub(super) fn key(binary: &Path, question: &str) -> Result<Key, ProbeError> {
    let host = (question == processor::question(Accelerator::Kvm)).then(cache::host);
    Key::of(binary, question, host)
        .map_err(|source| ProbeError::NoBinary { binary: binary.to_owned(), source })
}

/// Asks `binary` everything that needs no KVM, in one process and in one beside it that only lists displays.
pub(super) async fn ask(binary: &Path) -> Result<(Capabilities, Processor), ProbeError> {
    let (asked, displays) = tokio::join!(ask_monitor(binary), displays(binary));
    asked.map(|(found, processor)| (Capabilities { displays, ..found }, processor))
}

async fn ask_monitor(binary: &Path) -> Result<(Capabilities, Processor), ProbeError> {
    let qemu = Throwaway::start(binary, &arguments("none,accel=tcg"), Vec::new()).await?;
    match questions(binary, &qemu.monitor).await {
        Ok(answers) => {
            let _ = qemu.monitor.quit().await;
            Ok(answers)
        }
        Err(source) => Err(failed(binary, &qemu.output, source)),
    }
}

/// What it can show screens on: those whose module is installed. It says so to people only; none if it does not.
async fn displays(binary: &Path) -> BTreeSet<String> {
    let told = Tool::at(binary, PATIENCE).args(["-display", "help"]).run().await;
    match told {
        Ok(text) => listed(&String::from_utf8_lossy(&text)),
        Err(error) => {
            tracing::debug!(%error, "a QEMU does not tell its displays");
            BTreeSet::new()
        }
    }
}

/// A heading, a name a line, an empty line, words for people.
fn listed(text: &str) -> BTreeSet<String> {
    let names = text.lines().skip(1).take_while(|line| !line.trim().is_empty());
    names.map(|name| name.trim().to_owned()).filter(|name| !name.contains(' ')).collect()
}

/// Which drivers are there. QEMU's schema names those too whose module is not installed; so each is asked for a node
/// with a name that no node can have: QEMU looks for the driver first and at the name next, and connects to nothing.
async fn served_drivers(monitor: &Monitor) -> Result<BTreeSet<String>, MonitorError> {
    let mut found = BTreeSet::new();
    for driver in SERVED_DRIVERS {
        let inet = json!({ "type": "inet", "host": "127.0.0.1", "port": "1" });
        let mut node = match driver {
            "nbd" => json!({ "server": inet }),
            "ssh" => json!({ "server": { "host": "127.0.0.1", "port": "1" }, "path": "/" }),
            "iscsi" => json!({ "transport": "tcp", "portal": "127.0.0.1:1", "target": "a" }),
            "rbd" => json!({ "pool": "a", "image": "a" }),
            "nfs" => json!({ "server": { "type": "inet", "host": "127.0.0.1" }, "path": "/" }),
            "gluster" => json!({ "volume": "a", "path": "a", "server": [inet] }),
            url => json!({ "url": format!("{url}://127.0.0.1:1/") }),
        };
        node["driver"] = json!(driver);
        node["node-name"] = json!("-");
        match monitor.blockdev_add(node).await {
            Err(MonitorError::Refused { description, .. }) if description.contains("node-name") => {
                found.insert(driver.to_owned());
            }
            Ok(()) | Err(MonitorError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn questions(binary: &Path, monitor: &Monitor) -> Result<(Capabilities, Processor), MonitorError> {
    let version = monitor.version().await?;
    let options = monitor.command_line_options().await?;
    let machine_properties = options
        .iter()
        .filter(|option| option.option == "machine")
        .flat_map(|option| option.parameters.iter().map(|parameter| parameter.name.clone()))
        .collect();
    let names = async |parent: &str| {
        let types = monitor.types(parent).await?;
        Ok::<_, MonitorError>(types.into_iter().map(|kind| kind.name))
    };
    let served_drivers = served_drivers(monitor).await?;
    let cpu_models = monitor.cpu_models().await?;
    let processor = processor::fullest(monitor, Accelerator::Tcg, cpu_models.clone()).await?;
    let capabilities = Capabilities {
        binary: binary.to_owned(),
        version: version.qemu,
        package: version.package.trim_matches([' ', '(', ')']).to_owned(),
        machines: monitor.machines().await?,
        devices: names("device").await?.collect(),
        objects: names("user-creatable").await?.collect(),
        chardevs: names("chardev")
            .await?
            .filter_map(|name| Some(name.strip_prefix("chardev-")?.to_owned()))
            .collect(),
        served_drivers,
        displays: BTreeSet::new(),
        cpu_models,
        kvm: monitor.kvm().await?.present,
        options: options.into_iter().map(|option| option.option).collect(),
        machine_properties,
    };
    Ok((capabilities, processor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_are_read_from_a_list_for_people() {
        let text = "Available display backend types:\nnone\negl-headless\n\nSome display backends support suboptions\n";
        assert_eq!(listed(text).into_iter().collect::<Vec<_>>(), ["egl-headless", "none"]);
        assert!(listed("").is_empty());
    }
}
