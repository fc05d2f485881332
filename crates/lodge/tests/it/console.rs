//! The console in a real terminal: raw while it is attached, as before whatever ends it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use crate::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(20);

/// `lodge console web1` at a terminal of its own.
struct Terminal {
    keyboard: File,
    screen: OwnedFd,
    seen: String,
    child: Child,
    _peer: Peer,
    _home: tempfile::TempDir,
}

impl Terminal {
    fn open() -> Self {
        let view = json!({
            "id": 1, "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "name": "web1", "state": "running",
            "reason": "booted", "persistent": true, "autostart": false, "managed_save": false, "vcpus": 1,
            "max_memory_kib": 1024, "memory_kib": 1024, "os_type": "hvm", "security_model": "none",
        });
        let peer = Peer::answering(&[("GET /v1/domains/web1", 200, view)]);
        let home = tempfile::tempdir().expect("a directory");
        let outside =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&outside).expect("granted");
        unlockpt(&outside).expect("unlocked");
        let name = ptsname(&outside, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let inside = File::options().read(true).write(true).open(name).expect("its inside");
        let child = Command::new(env!("CARGO_BIN_EXE_lodge"))
            .args(["-c", &peer.socket, "console", "web1"])
            .env("HOME", home.path())
            .stdin(inside.try_clone().expect("a copy"))
            .stdout(inside.try_clone().expect("a copy"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program runs");
        let keyboard = File::from(outside);
        Self { screen: inside.into(), keyboard, seen: String::new(), child, _peer: peer, _home: home }
    }

    fn types(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("typed");
    }

    /// Reads the screen until `text` stands there.
    fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            assert!(Instant::now() < deadline, "no `{text}` in {:?}", self.seen);
            let mut wanted = [PollFd::new(&self.keyboard, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if poll(&mut wanted, Some(&timeout)).expect("polled") > 0 {
                let mut bytes = [0; 1024];
                let length = self.keyboard.read(&mut bytes).expect("read");
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.screen).expect("its modes").local_modes.contains(LocalModes::ICANON)
    }

    /// Its exit code; the terminal must be as it was.
    fn ends(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                assert!(!self.is_raw(), "the terminal is still raw");
                return status.code();
            }
            assert!(Instant::now() < deadline, "the console does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Gone already where the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn keys_go_to_the_guest_until_the_escape_character() {
    let mut terminal = Terminal::open();
    terminal.shows("Escape character is ^] (Ctrl + ])");
    terminal.shows("ready");
    assert!(terminal.is_raw());
    terminal.types(b"hello\x03");
    terminal.shows("HELLO\u{3}");
    terminal.types(b"\x1d");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let mut terminal = Terminal::open();
    terminal.shows("ready");
    kill_process(Pid::from_child(&terminal.child), Signal::TERM).expect("sent");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn the_guests_end_ends_the_console() {
    let mut terminal = Terminal::open();
    terminal.shows("ready");
    terminal.types(b"!");
    assert_eq!(terminal.ends(), Some(0));
}
