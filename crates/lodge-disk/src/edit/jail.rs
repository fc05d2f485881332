//! Running a tool on a view, shut in.
//!
//! It sees the view, `/usr` and nothing else: no network, no privilege, few system calls (`lodge_sys::spawn::Jail`). What
//! it says is kept to its last bytes.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::Path,
    time::Duration,
};

use lodge_sys::{
    process::{Ending, Process},
    spawn::{Command, Jail},
    tool,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver, runtime::Handle, sync::oneshot};

use super::{
    error::EditError,
    tool::{Act, PLACE, Said},
};

/// A check of a large file system keeps maps of its blocks and inodes.
const MEMORY_BYTES: u64 = 4 << 30;
const DESCRIPTORS: u64 = 64;
/// The last bytes kept of what it said.
const WORDS_BYTES: usize = 2000;
/// A script echoes its lines; a tool that talks for ever is ended by the deadline.
const PIECE_BYTES: usize = 64 << 10;

/// Runs one to its end; dropping the future kills it.
pub(crate) async fn run(act: &Act, mount: OwnedFd, limit: Duration) -> Result<Said, EditError> {
    let place = || "the guest's disk".to_owned();
    let program = tool::find(act.program()).ok_or_else(|| EditError::Missing {
        program: act.program().to_owned(),
        package: act.package().to_owned(),
        place: place(),
    })?;
    let failed = |source: &dyn std::error::Error| {
        let why = std::iter::successors(Some(source), |error| error.source());
        let why = why.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        EditError::Tool { program: act.program().to_owned(), place: place(), why }
    };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(&error))?;
    let said = Receiver::from_owned_fd(read).map_err(|error| failed(&error))?;
    let mut jail = Jail::new(MEMORY_BYTES, DESCRIPTORS);
    jail.mounts(mount, Path::new(PLACE));
    let mut command = Command::new(program);
    command.args(act.args()).env("LC_ALL", "C");
    // They look whether the file is mounted; nothing is, in a jail. And they do not wait for a person.
    command.env("EXT2FS_NO_MTAB_OK", "1").env("PAGER", "cat");
    command.output(write).jail(jail);
    let (begun, process) = oneshot::channel();
    let runtime = Handle::current();
    // The thread that starts it stays until it ends: the kernel ends it with that thread.
    let ending = tokio::task::spawn_blocking(move || {
        let process = match command.spawn() {
            Ok(process) => process,
            Err(error) => return drop(begun.send(Err(error))),
        };
        let ended = process.clone();
        drop(begun.send(Ok(Killer(process))));
        drop(runtime.block_on(ended.ended()));
    });
    let process = process.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let work = async {
        let words = last_words(said).await?;
        Ok::<_, io::Error>((words, process.0.ended().await?))
    };
    let Ok(worked) = tokio::time::timeout(limit, work).await else {
        let late =
            io::Error::new(io::ErrorKind::TimedOut, format!("it was not done in {} s", limit.as_secs()));
        return Err(failed(&late));
    };
    let (words, ended) = worked.map_err(|error| failed(&error))?;
    drop(ending.await);
    let code = match ended {
        Ending::Status(status) if status.signal().is_none() => status.code(),
        Ending::Status(_) | Ending::Unknown => None,
    };
    Ok(Said { code, words })
}

/// Ends a tool that nobody waits for any more.
struct Killer(Process);

impl Drop for Killer {
    fn drop(&mut self) {
        // It has ended, or ends with the view that it works on.
        let _ = self.0.kill();
    }
}

async fn last_words(mut from: Receiver) -> io::Result<String> {
    let (mut last, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&last).trim_end().to_owned());
        }
        last.extend_from_slice(&piece[..count]);
        last.drain(..last.len().saturating_sub(WORDS_BYTES));
    }
}
