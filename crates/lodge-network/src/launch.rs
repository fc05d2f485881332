//! Starting one network's netd, finding it again, ending it.
//!
//! The daemon opens everything netd needs, for netd itself can open nothing. The process has its own
//! session and cgroup; its pid and start time are in `netd.json`, so the next daemon can tell it from any
//! other process.

mod sockets;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lodge_sys::cgroup::{Cgroup, Outcome};
use lodge_sys::process::{Ending, Identity, Process, boot_id};
use lodge_sys::spawn::Command;
use serde::{Deserialize, Serialize};

use crate::client::{Netd, short_path};
use crate::netd::setup::{DhcpSetup, DnsSetup, SandboxSetup, Setup};
use crate::plan::Plan;
use crate::{NetworkError, NetworksConfig, limits};

/// First of the user ids netd runs as: far above all that accounts and containers use.
const UID_BASE: u32 = 0x6c64_0000;

/// The files and names of one network's netd.
#[derive(Debug, Clone)]
pub struct Places {
    /// `run/lodge/networks/UUID`.
    pub run: PathBuf,
    /// The document as it runs.
    pub live: PathBuf,
    /// Pid and start time of netd.
    pub process: PathBuf,
    /// netd's control socket.
    pub control: PathBuf,
    /// netd's journal of leases.
    pub journal: [PathBuf; 2],
    /// Which bridge of somebody else's has limits of this network's.
    pub limited: PathBuf,
    log: PathBuf,
    cgroup: PathBuf,
}

impl Places {
    /// Those of `plan`.
    pub fn of(config: &NetworksConfig, id: lodge_model::NetworkId, name: &str) -> Self {
        let run = config.root.running_networks().join(id.to_string());
        let journal = |which: &str| config.root.leases().join(format!("{id}.{which}"));
        Self {
            live: run.join("live.xml"),
            process: run.join("netd.json"),
            control: run.join("control.sock"),
            journal: [journal("a"), journal("b")],
            limited: run.join("limited"),
            log: config.root.logs().join(format!("netd-{name}.log")),
            cgroup: Path::new("lodge").join(config.root.tag()).join("networks").join(id.to_string()),
            run,
        }
    }

    /// Makes the directories that are missing.
    pub fn prepare(&self) -> Result<(), NetworkError> {
        let make = |path: &Path| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("make", path))
        };
        make(&self.run.join("empty"))?;
        for path in [&self.journal[0], &self.log] {
            path.parent().map_or(Ok(()), make)?;
        }
        // An ordinary user id must be able to enter its empty root; what lies beside it stays closed.
        Ok(())
    }

    /// Removes what a running network keeps; leases stay.
    pub fn remove_run(&self) -> Result<(), NetworkError> {
        match std::fs::remove_dir_all(&self.run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", &self.run)(error)),
            _ => Ok(()),
        }
    }

    /// Removes the leases: the network is undefined.
    pub fn remove_leases(&self) -> Result<(), NetworkError> {
        for path in &self.journal {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `netd.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    pid: u32,
    start_time: u64,
    boot_id: String,
}

/// Starts a netd for `plan` on interface `ifindex` and waits for its first answer.
pub async fn start(
    config: &NetworksConfig,
    plan: &Plan,
    ifindex: u32,
    upstreams: Vec<std::net::SocketAddr>,
) -> Result<Process, NetworkError> {
    let places = Places::of(config, plan.id, &plan.name);
    let process = spawn(config, plan, ifindex, upstreams, &places)?;
    let netd = Netd::at(&plan.name, places.control.clone());
    let Err(silent) = netd.status(limits::NETD_START).await else { return Ok(process) };
    // A process that ended has said why; one that has not is only slow.
    let Ok(ended) = tokio::time::timeout(limits::NETD_LAST_WORDS, process.ended()).await else {
        end(&process).await;
        return Err(silent);
    };
    let how = match ended {
        Ok(Ending::Status(status)) => status.to_string(),
        Ok(Ending::Unknown) => "it ended".to_owned(),
        Err(error) => error.to_string(),
    };
    let detail = format!("{how}: {}", last_words(&places.log));
    Err(NetworkError::Netd { network: plan.name.clone(), detail })
}

fn spawn(
    config: &NetworksConfig,
    plan: &Plan,
    ifindex: u32,
    upstreams: Vec<std::net::SocketAddr>,
    places: &Places,
) -> Result<Process, NetworkError> {
    places.prepare()?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&places.log);
    let log = log.map_err(file("open", &places.log))?;
    let mut command = Command::new(&config.netd.program);
    command.args(&config.netd.args).output(log.into());
    let mut setup = equip(plan, ifindex, upstreams, places, &mut command)?;
    let (scope, rules) =
        (setup.dhcp.as_mut().map(|dhcp| &mut dhcp.scope), setup.dns.as_mut().map(|dns| &mut dns.rules));
    config.tell_policy(scope, rules);
    let text = serde_json::to_vec(&setup).expect("a setup is plain data");
    let number = command.fd(memory_file(&text).map_err(|source| NetworkError::File {
        act: "write the setup for netd to",
        path: "memfd".into(),
        source,
    })?);
    command.args(["--network", &plan.name, "--config-fd", &number.to_string()]);
    if let Some(level) = std::env::var_os("RUST_LOG") {
        command.env("RUST_LOG", level);
    }
    let cgroup = match Cgroup::create(&places.cgroup) {
        Ok(Outcome::Made(cgroup)) => Some(cgroup),
        Ok(Outcome::Unavailable(why)) => {
            tracing::debug!(network = %plan.name, why, "netd runs without a cgroup of its own");
            None
        }
        Err(error) => {
            tracing::warn!(network = %plan.name, %error, "netd runs without a cgroup of its own");
            None
        }
    };
    if let Some(cgroup) = &cgroup {
        command.cgroup(cgroup);
    }
    let failed = |detail: String| NetworkError::Netd { network: plan.name.clone(), detail };
    let process = command.spawn().map_err(|error| {
        let cause = error.io().map(|cause| format!(": {cause}")).unwrap_or_default();
        failed(format!("{error}{cause}"))
    })?;
    record(&process, places).inspect_err(|_| {
        let _ = process.kill();
    })?;
    if let Some(cgroup) = cgroup {
        let pid = process.identity().pid;
        tokio::task::spawn_blocking(move || cgroup.join_v1(pid));
    }
    Ok(process)
}

fn equip(
    plan: &Plan,
    ifindex: u32,
    upstreams: Vec<std::net::SocketAddr>,
    places: &Places,
    command: &mut Command,
) -> Result<Setup, NetworkError> {
    let bridge = plan.bridge.as_deref().unwrap_or_default();
    let dhcp = match &plan.dhcp {
        Some(scope) => Some(DhcpSetup {
            receive_fd: command.fd(sockets::dhcp(bridge)?),
            send_fd: command.fd(sockets::frames(bridge)?),
            ifindex,
            scope: scope.clone(),
        }),
        None => None,
    };
    let dns = match (&plan.dns, plan.gateway()) {
        (Some(rules), Some(gateway)) => {
            let (udp, tcp) = sockets::dns(gateway.into())?;
            let mut rules = rules.clone();
            rules.upstreams = upstreams;
            Some(DnsSetup { udp_fds: vec![command.fd(udp)], tcp_fds: vec![command.fd(tcp)], rules })
        }
        _ => None,
    };
    let [first, second] = &places.journal;
    let journal_fds = [command.fd(journal(first)?), command.fd(journal(second)?)];
    let control_fd = command.fd(control(&places.control)?);
    let id = UID_BASE | u32::from(u16::from_be_bytes([plan.id.0.as_bytes()[14], plan.id.0.as_bytes()[15]]));
    let sandbox = SandboxSetup { root: places.run.join("empty"), id };
    Ok(Setup { network: plan.name.clone(), control_fd, journal_fds, sandbox, dhcp, dns })
}

fn journal(path: &Path) -> Result<OwnedFd, NetworkError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(OwnedFd::from).map_err(file("open", path))
}

/// The daemon's socket to netd. A new one each time: whoever held the old one is gone.
fn control(path: &Path) -> Result<OwnedFd, NetworkError> {
    let made = || {
        let _ = std::fs::remove_file(path);
        let (_directory, short) = short_path(path)?;
        UnixListener::bind(short)
    };
    made().map(OwnedFd::from).map_err(file("listen at", path))
}

fn memory_file(text: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("netd-setup", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file.into())
}

fn record(process: &Process, places: &Places) -> Result<(), NetworkError> {
    let Identity { pid, start_time } = process.identity();
    let boot_id = boot_id().map_err(file("read", Path::new("/proc/sys/kernel/random/boot_id")))?;
    let text = serde_json::to_vec(&Recorded { pid, start_time, boot_id }).expect("plain data");
    lodge_sys::fs::write_durable(&places.process, &text, 0o600).map_err(file("write", &places.process))
}

/// The netd that `netd.json` names, if it still runs.
pub fn find(places: &Places) -> Option<Process> {
    let text = std::fs::read(&places.process).ok()?;
    let recorded: Recorded = serde_json::from_slice(&text).ok()?;
    if boot_id().ok()? != recorded.boot_id {
        return None;
    }
    Process::hold(Identity { pid: recorded.pid, start_time: recorded.start_time }).ok()?
}

/// Ends a netd and removes its cgroup. Its promises are in the journal; it needs no farewell.
pub async fn end(process: &Process) {
    let _ = process.terminate();
    if tokio::time::timeout(limits::NETD_END, process.ended()).await.is_err() {
        let _ = process.kill();
        let _ = tokio::time::timeout(limits::NETD_END, process.ended()).await;
    }
}

/// Removes the cgroup of a netd that has ended.
pub fn remove_cgroup(places: &Places) {
    let removed =
        Cgroup::find(&places.cgroup).and_then(|cgroup| cgroup.map_or(Ok(()), |cgroup| cgroup.remove()));
    if let Err(error) = removed {
        tracing::warn!(cgroup = %places.cgroup.display(), %error, "cannot remove netd's cgroup");
    }
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2_000)..]).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

/// Makes a file's error of ours.
pub fn file<'p>(act: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> NetworkError + 'p {
    move |source| NetworkError::File { act, path: path.to_owned(), source }
}
