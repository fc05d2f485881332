//! `console`: this terminal is the guest's serial console until ^] or the guest's end.
//!
//! The terminal is raw meanwhile: ^C goes to the guest. It is put back whatever ends the console: ^], the guest, an
//! error, a signal, a panic (the guard's drop).

use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;

use clap::Args;
use lodge_client::Console as Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// ^], telnet's and virsh's.
const ESCAPE: u8 = 0x1d;

#[derive(Debug, Args)]
pub struct Console {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// force console connection (disconnect already connected sessions)
    #[arg(long)]
    force: bool,
}

impl Console {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        attach(&self.domain, self.force, session).await
    }
}

/// Attaches this terminal until it is detached.
pub async fn attach(dom: &str, force: bool, session: &mut Session) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(invalid("Cannot run interactive console without a controlling TTY").hint(
            "the console's log can be read without one: see run/lodge/guests/UUID/console.log under the root",
        ));
    }
    let client = session.client().await?;
    let view = client.domain(dom).await.on_domain(dom, "")?;
    let stream = client.console(dom, force).await.on_domain(&view.name, "open the console of")?;
    session.say(&format!("Connected to domain '{}'\nEscape character is ^] (Ctrl + ])\n", view.name));
    let raw = Raw::enter().map_err(|error| terminal("switch to raw mode", error))?;
    let ended = relay(stream).await;
    drop(raw);
    output::print("\n");
    ended.map_err(|error| {
        Failure::new(lodge_client::api::ErrorKind::Unavailable, "the console ended").because(error)
    })
}

fn terminal(act: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(lodge_client::api::ErrorKind::Internal, format!("cannot {act} this terminal")).because(error)
}

/// The terminal in raw mode, for as long as it lives.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that went away needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        // Guests leave colours, hidden cursors and alternate screens behind.
        output::print("\x1b[0m\x1b[?25h\x1b[?1049l\x1b[?2004l");
    }
}

/// Bytes both ways until one side ends.
async fn relay(mut stream: Stream) -> io::Result<()> {
    let (mut keys, _stop) = keyboard()?;
    let mut stops = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
    let [terminate, hangup, interrupt] = &mut stops;
    let (Ok(terminate), Ok(hangup), Ok(interrupt)) = (terminate, hangup, interrupt) else {
        return Err(io::Error::other("signals cannot be taken"));
    };
    let mut shown = vec![0; 16 << 10];
    let mut screen = tokio::io::stdout();
    loop {
        tokio::select! {
            typed = keys.recv() => {
                // No more keys: the terminal is gone.
                let typed = typed.unwrap_or_default();
                let end = typed.iter().position(|byte| *byte == ESCAPE);
                stream.write_all(&typed[..end.unwrap_or(typed.len())]).await?;
                stream.flush().await?;
                if end.is_some() || typed.is_empty() {
                    // Detached; the guest's side has nothing left to say to us.
                    return stream.shutdown().await;
                }
            }
            length = stream.read(&mut shown) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                screen.write_all(&shown[..length]).await?;
                screen.flush().await?;
            }
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// What is typed, read by a thread of its own until the second value is dropped.
///
/// The terminal is not made non-blocking: that mode belongs to everybody who has it. And no read is left behind that
/// would swallow the shell's next key: the thread reads only what is there.
fn keyboard() -> io::Result<(mpsc::Receiver<Vec<u8>>, OwnedFd)> {
    let (keys, typed) = mpsc::channel(16);
    let (stopped, stop) = rustix::pipe::pipe()?;
    std::thread::Builder::new().name("keyboard".into()).spawn(move || {
        let stdin = io::stdin();
        loop {
            let mut wanted = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&stopped, PollFlags::IN)];
            match poll(&mut wanted, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !wanted[1].revents().is_empty() => return,
                Ok(_) => {}
            }
            let mut bytes = vec![0; 1024];
            match rustix::io::read(&stdin, &mut bytes) {
                Ok(length) if length > 0 => bytes.truncate(length),
                Ok(_) | Err(_) => return,
            }
            if keys.blocking_send(bytes).is_err() {
                return;
            }
        }
    })?;
    Ok((typed, stop))
}
