//! `virt-ssh-helper [-r] URI`: carries bytes between its standard streams and the local socket the URI means.
//!
//! `qemu+ssh://HOST/system` runs it on HOST. Which socket: `?socket=PATH`, else the modular daemon's if it is there,
//! else libvirtd's, under `/run/libvirt`, or for a user's session under its own run directory, where the daemon is
//! started if none listens. Deliberately absent: any look into the bytes.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lodge_store::Root;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::daemon::background;
use crate::{args, output};

/// As libvirt's clients: so often and so long is a session's daemon waited for.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);
/// A session's daemon goes after so long with nothing to do, as one that a libvirt client starts.
const SESSION_TIMEOUT_S: &str = "120";

/// Its command line.
#[derive(Debug, Parser)]
#[command(
    name = "virt-ssh-helper",
    version,
    about = "Carries a libvirt connection over standard input and output"
)]
struct Words {
    /// Connect to the read-only socket
    #[arg(short, long)]
    readonly: bool,
    /// Which daemon: qemu:///system, qemu:///session
    #[arg(value_name = "URI")]
    uri: String,
}

/// Runs it to its end.
pub fn run(words: Vec<OsString>) -> ExitCode {
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            drop(error.print());
            return code;
        }
    };
    let outcome = Target::of(&words.uri, words.readonly, &Places::of_this_process())
        .map_err(Trouble::Uri)
        .and_then(|target| {
            let runtime = args::runtime();
            let outcome = runtime.block_on(target.carry());
            // A read of standard input may never end.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            output::complain(&format!("virt-ssh-helper: {trouble}\n"));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Uri(String),
    #[error("cannot connect to '{}': {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the session's daemon does not start")]
    Start,
    #[error("the connection broke: {0}")]
    Carry(io::Error),
}

/// Where sockets may be.
struct Places {
    system: PathBuf,
    /// An ordinary user's; root has none of its own.
    session: Option<PathBuf>,
}

impl Places {
    fn of_this_process() -> Self {
        let root = rustix::process::geteuid().is_root();
        let session = if root { None } else { Root::new(None).ok() };
        Self { system: Root::system().libvirt_run(), session: session.map(|session| session.libvirt_run()) }
    }
}

/// The socket, and whether its daemon may be started.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    socket: PathBuf,
    session: bool,
}

impl Target {
    fn of(uri: &str, read_only: bool, places: &Places) -> Result<Self, String> {
        let (scheme, rest) =
            uri.split_once("://").ok_or_else(|| format!("'{uri}' is no URI: qemu:///system is one"))?;
        let driver = scheme.split('+').next().unwrap_or(scheme);
        if driver.is_empty() || !driver.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("'{uri}' names no driver"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = place.find('/').map_or("", |at| &place[at..]);
        let given = query.split('&').find_map(|part| part.strip_prefix("socket="));
        if let Some(socket) = given {
            return Ok(Self { socket: PathBuf::from(socket), session: false });
        }
        if let ("/session", Some(directory)) = (path, &places.session) {
            return Ok(Self { socket: choose(directory, driver, "sock", query), session: true });
        }
        // Any other path as well: the daemon refuses it, in the words that users know.
        let suffix = if read_only { "sock-ro" } else { "sock" };
        Ok(Self { socket: choose(&places.system, driver, suffix, query), session: false })
    }

    async fn carry(self) -> Result<(), Trouble> {
        let mut stream = self.connect().await?;
        let (mut input, mut out) = (tokio::io::stdin(), tokio::io::stdout());
        let (mut from, mut to) = stream.split();
        // The end of either side is the end: a client that closes its input reads nothing more.
        let ended = tokio::select! {
            ended = tokio::io::copy(&mut input, &mut to) => ended,
            ended = copy_flushing(&mut from, &mut out) => ended,
        };
        ended.map(drop).map_err(Trouble::Carry)
    }

    async fn connect(&self) -> Result<UnixStream, Trouble> {
        let failed = |source| Trouble::Connect { path: self.socket.clone(), source };
        let nobody = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        };
        match UnixStream::connect(&self.socket).await {
            Err(error) if self.session && nobody(&error) => {}
            other => return other.map_err(failed),
        }
        let words = ["--timeout", SESSION_TIMEOUT_S].map(OsString::from).to_vec();
        let started = tokio::task::spawn_blocking(|| background::start(words)).await;
        if started.ok() != Some(ExitCode::SUCCESS) {
            return Err(Trouble::Start);
        }
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..TRIES {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) if nobody(&error) => last = error,
                Err(error) => return Err(failed(error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(failed(last))
    }
}

/// The modular daemon's socket if it is there, else libvirtd's.
fn choose(directory: &Path, driver: &str, suffix: &str, query: &str) -> PathBuf {
    let modular = directory.join(format!("virt{driver}d-{suffix}"));
    let legacy = directory.join(format!("libvirt-{suffix}"));
    match query.split('&').find_map(|part| part.strip_prefix("mode=")) {
        Some("direct") => modular,
        Some("legacy") => legacy,
        _ if modular.exists() || !legacy.exists() && driver == "qemu" => modular,
        _ => legacy,
    }
}

async fn copy_flushing(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<u64> {
    use tokio::io::AsyncReadExt;
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..count]).await?;
        // Standard output is buffered, and a reply is smaller than any buffer.
        to.flush().await?;
        total += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_chooses_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let system = directory.path().join("system");
        let session = directory.path().join("session");
        std::fs::create_dir_all(&system).unwrap();
        std::fs::create_dir_all(&session).unwrap();
        std::fs::write(system.join("libvirt-sock"), "").unwrap();
        let places = Places { system: system.clone(), session: Some(session.clone()) };
        let of = |uri, read_only| {
            Target::of(uri, read_only, &places).map(|target| (target.socket, target.session))
        };
        assert_eq!(of("qemu:///system", false), Ok((system.join("libvirt-sock"), false)));
        std::fs::write(system.join("virtqemud-sock"), "").unwrap();
        assert_eq!(of("qemu:///system", false), Ok((system.join("virtqemud-sock"), false)));
        assert_eq!(of("qemu:///system?mode=legacy", true), Ok((system.join("libvirt-sock-ro"), false)));
        assert_eq!(
            of("qemu+ssh://host/system?mode=direct", true),
            Ok((system.join("virtqemud-sock-ro"), false))
        );
        assert_eq!(of("qemu:///session", true), Ok((session.join("virtqemud-sock"), true)));
        assert_eq!(of("qemu:///system?socket=/x/y", false), Ok((PathBuf::from("/x/y"), false)));
        assert_eq!(of("qemu:///other", false), Ok((system.join("virtqemud-sock"), false)));
        assert!(of("system", false).is_err() && of("://x", false).is_err());
    }

    #[test]
    fn root_has_no_session_of_its_own() {
        let places = Places { system: "/run/libvirt".into(), session: None };
        assert!(!Target::of("qemu:///session", false, &places).unwrap().session);
    }
}
