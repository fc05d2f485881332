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
    process::Ending,
    spawn::{Command, Jail, last_words},
    tool,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;

use super::{
    error::EditError,
    tool::{Act, PLACE, Said},
};

/// A check of a large file system keeps maps of its blocks and inodes.
const MEMORY_BYTES: u64 = 4 << 30;
const DESCRIPTORS: u64 = 64;
/// The last bytes kept of what it said: a script echoes its lines, and one that talks for ever is ended by the deadline.
const WORDS_BYTES: usize = 2000;

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
    let process = command.spawn_tied().await.map_err(|error| failed(&error))?;
    let work = async {
        let words = last_words(said, WORDS_BYTES).await?;
        let words = String::from_utf8_lossy(&words).trim_end().to_owned();
        Ok::<_, io::Error>((words, process.ended().await?))
    };
    let Ok(worked) = tokio::time::timeout(limit, work).await else {
        let late =
            io::Error::new(io::ErrorKind::TimedOut, format!("it was not done in {} s", limit.as_secs()));
        return Err(failed(&late));
    };
    let (words, ended) = worked.map_err(|error| failed(&error))?;
    let code = match ended {
        Ending::Status(status) if status.signal().is_none() => status.code(),
        Ending::Status(_) | Ending::Unknown => None,
    };
    Ok(Said { code, words })
}
