//! `--daemon`: the daemon goes on in the background; whoever started it goes on when its sockets are there.
//!
//! Nothing is forked: the same program is started again, in a session of its own, and says that it is ready the way
//! it says so to systemd (`sd_notify(3)`), only that the one who listens is this process. Until then it has our
//! standard error, so that a daemon that does not start says why.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

use lodge_sys::process::Process;
use lodge_sys::spawn::Command;

use crate::output;

/// Tells the daemon that its standard error is not its own for long.
pub const MARK: &str = "LODGE_BACKGROUND";
/// How often is looked whether the daemon has ended instead.
const LOOK: Duration = Duration::from_millis(100);
/// Longest word of the protocol's.
const MESSAGE_MAX_BYTES: usize = 4096;

/// Starts `lodge daemon` with these words behind this process and waits until it serves or is gone.
pub fn start(words: Vec<OsString>) -> ExitCode {
    match spawn(words) {
        Ok(true) => ExitCode::SUCCESS,
        // It has said why.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("error: the daemon does not start in the background: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Says whether it is ready; else it has ended.
fn spawn(words: Vec<OsString>) -> io::Result<bool> {
    let directory = std::env::temp_dir().join(format!("lodge-ready-{}", std::process::id()));
    std::fs::DirBuilder::new().create(&directory)?;
    let place = directory.join("notify");
    let outcome = UnixDatagram::bind(&place).and_then(|ready| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("daemon").args(words).no_new_privs(false);
        for (name, value) in std::env::vars_os() {
            if let Some(name) = name.to_str().filter(|name| *name != "NOTIFY_SOCKET") {
                command.env(name, value);
            }
        }
        command.env("NOTIFY_SOCKET", &place).env(MARK, "1");
        command.output(io::stderr().as_fd().try_clone_to_owned()?);
        let daemon = command.spawn().map_err(io::Error::other)?;
        wait(&ready, &daemon)
    });
    // The directory is ours and has nothing else in it.
    drop(std::fs::remove_dir_all(&directory));
    outcome
}

fn wait(ready: &UnixDatagram, daemon: &Process) -> io::Result<bool> {
    ready.set_read_timeout(Some(LOOK))?;
    let mut message = [0; MESSAGE_MAX_BYTES];
    loop {
        match ready.recv(&mut message) {
            Ok(length) if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if daemon.poll_ended()?.is_some() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
