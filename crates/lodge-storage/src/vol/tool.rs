//! Other programs that read or write images: `qemu-img`, `scrub`.
//!
//! They may meet bytes a guest wrote, so they are shut in (see [`Jail`]): an empty root with `/usr` and just the files
//! they need, no network, a user that owns nothing, few system calls, an empty environment. An image that names other
//! files finds none.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_sys::{
    process::Ending,
    spawn::{Command, Jail, last_words},
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe::Receiver,
};

use crate::{limits, pool::error::PoolError, ports::SecretValue};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The last bytes kept of what a tool said.
const WORDS_BYTES: usize = 4000;
/// Address space of a tool. A check of the largest image keeps a count of 8 bytes per cluster in memory.
const MEMORY_BYTES: u64 = 8 << 30;
const DESCRIPTORS: u64 = 4096;
/// The most a tool may answer.
const ANSWER_BYTES: usize = 64 << 20;

/// One run of a tool.
#[derive(Debug)]
pub(crate) struct Run {
    program: &'static str,
    args: Vec<OsString>,
    files: Vec<(PathBuf, bool)>,
    /// A path, and what stands for it in messages.
    said: Option<(String, String)>,
    limit: Option<Duration>,
    secrets: Vec<Fed>,
    /// It looks whether its user may write, which a capability does not tell it.
    asks_for_user: bool,
}

/// What a tool answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its exit status; none: a signal ended it.
    pub code: Option<i32>,
    /// `exit status 1`, `fatal signal 6`.
    pub ending: String,
    /// All of its standard output, unless that was told as it came.
    pub out: Vec<u8>,
    /// The last of its standard error.
    pub words: String,
}

impl Run {
    pub fn new(program: &'static str) -> Self {
        Self {
            program,
            args: Vec::new(),
            files: Vec::new(),
            said: None,
            limit: None,
            secrets: Vec::new(),
            asks_for_user: false,
        }
    }

    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A file the tool may read.
    pub fn reads(self, path: &Path) -> Self {
        self.file(path, false)
    }

    /// A file the tool may write.
    pub fn writes(self, path: &Path) -> Self {
        self.file(path, true)
    }

    /// Messages say `path` for a file that has another name so far.
    pub fn said_as(mut self, now: &Path, path: &Path) -> Self {
        self.said = Some((now.display().to_string(), path.display().to_string()));
        self
    }

    /// What the tool reads once, through a pipe; `option` makes its argument of the pipe's name.
    pub fn secret(self, value: SecretValue, option: impl FnOnce(&str) -> String) -> Result<Self, PoolError> {
        let fed = Fed::new(value).map_err(|source| PoolError::system("cannot make a pipe", source))?;
        let path = fed.path.clone();
        let mut run = self.args(["--object".to_owned(), option(&path.to_string_lossy())]).reads(&path);
        run.secrets.push(fed);
        Ok(run)
    }

    /// It runs as the daemon's user: it asks by `access` before it writes.
    pub fn asks_for_user(mut self) -> Self {
        self.asks_for_user = true;
        self
    }

    /// It is ended if it takes longer.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    fn file(mut self, path: &Path, writes: bool) -> Self {
        // Two chains may have files in common.
        match self.files.iter_mut().find(|(known, _)| known == path) {
            Some((_, known)) => *known |= writes,
            None => self.files.push((path.to_owned(), writes)),
        }
        self
    }

    /// Runs it to its end; dropping the future kills it.
    pub async fn run(self) -> Result<(), PoolError> {
        let command = self.command_line()?;
        let said = self.said.clone();
        let said = |text: String| match &said {
            Some((now, path)) => text.replace(now, path),
            None => text,
        };
        let answer = self.answer().await?;
        if answer.code == Some(0) {
            return Ok(());
        }
        Err(PoolError::Tool { command: said(command), ending: answer.ending, words: said(answer.words) })
    }

    /// As [`run`](Self::run), whatever its exit status.
    pub async fn answer(self) -> Result<Answer, PoolError> {
        self.watched(None).await
    }

    /// As [`answer`](Self::answer); its output is how far it is, from 0 to 1 (`qemu-img`'s `-p`).
    pub async fn told(self, tell: &(dyn Fn(f32) + Send + Sync)) -> Result<Answer, PoolError> {
        self.watched(Some(tell)).await
    }

    async fn watched(mut self, tell: Option<&(dyn Fn(f32) + Send + Sync)>) -> Result<Answer, PoolError> {
        let (written, is_on_network) = Written::open(&self.files).await?;
        self.secrets.iter_mut().for_each(Fed::feed);
        let program = find(self.program)?;
        let failed = |source| PoolError::system(format!("cannot run '{}'", program.display()), source);
        let (out, words) = (Pipe::new().map_err(failed)?, Pipe::new().map_err(failed)?);
        let command = self.shut_in(&program, is_on_network, out.write, words.write);
        let (out, words) = (out.read, words.read);
        let process = command.spawn_tied().await.map_err(|error| failed(io::Error::other(error)))?;
        let work = async {
            let (out, words) = tokio::try_join!(read_out(out, tell), last_words(words, WORDS_BYTES))?;
            let words = String::from_utf8_lossy(&words).trim_end().to_owned();
            Ok::<_, io::Error>((out, words, process.ended().await?))
        };
        let silent = || {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            PoolError::system(format!("'{}' did not come to its end in time", program.display()), late)
        };
        let (out, words, ended) = match self.limit {
            Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| silent())?,
            None => work.await,
        }
        .map_err(failed)?;
        let status = match ended {
            Ending::Status(status) => Some(status),
            Ending::Unknown => None,
        };
        let code = status.and_then(|status| status.code());
        let ending = match (code, status.and_then(|status| status.signal())) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("fatal signal {}", signal.unwrap_or_default()),
        };
        if code == Some(0) {
            written.keep(self.said.as_ref()).await?;
        }
        Ok(Answer { code, ending, out, words })
    }

    fn command_line(&self) -> Result<String, PoolError> {
        let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        Ok(format!("{} {}", find(self.program)?.display(), words.join(" ")))
    }

    fn shut_in(&self, program: &Path, is_on_network: bool, out: OwnedFd, errors: OwnedFd) -> Command {
        let mut jail = Jail::new(MEMORY_BYTES, DESCRIPTORS);
        for (path, writes) in &self.files {
            if *writes {
                jail.writes(path);
            } else {
                jail.reads(path);
            }
        }
        jail.keeps_user(is_on_network || self.asks_for_user);
        let mut command = Command::new(program);
        command.args(&self.args).env("PATH", PATH).env("LC_ALL", "C");
        // e2fsprogs look whether the file is mounted; nothing is, in a jail.
        command.env("EXT2FS_NO_MTAB_OK", "1");
        command.output(out).errors(errors).jail(jail);
        command
    }
}

/// The files that a tool writes, open since before it began. What it has done is durable when it is told as done, and a
/// tool may not look: `qemu-img` flushes what it changed when it closes an image, and has no word for it if that fails.
/// The kernel tells each descriptor of every error of writing back since it was opened, whoever asked first.
struct Written(Vec<(PathBuf, File)>);

impl Written {
    /// Opens those of `files` that are written; says whether any of all is a server's. It may not answer.
    async fn open(files: &[(PathBuf, bool)]) -> Result<(Self, bool), PoolError> {
        let all = files.to_vec();
        let look = tokio::task::spawn_blocking(move || {
            let is_on_network = all.iter().any(|(path, _)| is_on_network(path));
            let written = all.into_iter().filter(|(_, writes)| *writes);
            let opened = written.filter_map(|(path, _)| Some((path.clone(), File::open(path).ok()?)));
            (Self(opened.collect()), is_on_network)
        });
        let paths =
            || files.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join("', '");
        let Ok(looked) = tokio::time::timeout(limits::LOOK, look).await else {
            let text = format!("'{}' did not answer in {} s", paths(), limits::LOOK.as_secs());
            return Err(PoolError::system(text, io::Error::from(io::ErrorKind::TimedOut)));
        };
        looked.map_err(|_| PoolError::Panicked { name: paths() })
    }

    async fn keep(self, said: Option<&(String, String)>) -> Result<(), PoolError> {
        let kept = tokio::task::spawn_blocking(move || {
            let failed = |(path, file): (PathBuf, File)| Some((path, file.sync_all().err()?));
            self.0.into_iter().find_map(failed)
        });
        let late =
            || PoolError::system("cannot write back in time", io::Error::from(io::ErrorKind::TimedOut));
        let kept = tokio::time::timeout(limits::LONG, kept).await.map_err(|_| late())?;
        let Some((path, source)) = kept.ok().flatten() else { return Ok(()) };
        let path = path.display().to_string();
        let path = said.filter(|(now, _)| *now == path).map_or(path.clone(), |(_, path)| path.clone());
        Err(PoolError::system(format!("cannot write back '{path}'"), source))
    }
}

/// A pipe with a name, for one who cannot be given a descriptor by number: a jail has no `/proc`. Only its owner may
/// open it, its name goes when it has been opened, and nothing is ever stored.
#[derive(Debug)]
struct Fed {
    path: PathBuf,
    value: Option<SecretValue>,
}

impl Fed {
    fn new(value: SecretValue) -> io::Result<Self> {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let name = format!("{FED}{}.{}", std::process::id(), uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(Self { path, value: Some(value) })
    }

    /// Waits for the reader on a thread of its own, and gives it all.
    fn feed(&mut self) {
        let (path, value) = (self.path.clone(), self.value.take());
        tokio::task::spawn_blocking(move || {
            let opened = std::fs::File::options().write(true).open(&path);
            let _ = std::fs::remove_file(&path);
            if let (Ok(mut pipe), Some(SecretValue(bytes))) = (opened, value) {
                // A reader that went is told by its status.
                let _ = io::Write::write_all(&mut pipe, &bytes);
            }
        });
    }
}

/// How pipes with names begin, before the number of the process that made them.
const FED: &str = "lodge-secret.";

/// Removes the pipes in `dir` of processes that were killed: each is there for the moment in which a tool begins.
pub(crate) fn sweep_pipes(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(FED)?.split('.').next());
        let Some(maker) = maker.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if entry.file_type()?.is_fifo() && !Path::new("/proc").join(maker.to_string()).exists() {
            tracing::info!(path = %entry.path().display(), "leftover of a crash removed");
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Should the tool not have read: whoever waits to feed it is let go.
impl Drop for Fed {
    fn drop(&mut self) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        drop(std::fs::File::options().read(true).custom_flags(flags).open(&self.path));
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where a tool's words come out.
struct Pipe {
    read: Receiver,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { read: Receiver::from_owned_fd(read)?, write })
    }
}

/// Whether a file is an NFS server's, which asks for the user and not for capabilities.
fn is_on_network(path: &Path) -> bool {
    const NFS_MAGIC: i64 = 0x6969;
    rustix::fs::statfs(path).is_ok_and(|stats| stats.f_type == NFS_MAGIC)
}

/// All of a tool's output, or none of it and how far it is.
async fn read_out(
    mut from: impl AsyncRead + Unpin,
    tell: Option<&(dyn Fn(f32) + Send + Sync)>,
) -> io::Result<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&piece[..count]);
        if let Some(tell) = tell {
            if let Some(part) = last_percent(&all) {
                tell(part);
            }
            // What is not the end of a number any more.
            all.drain(..all.len().saturating_sub(32));
        } else if all.len() > ANSWER_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it answers without end"));
        }
    }
}

/// The last `(12.34/100%)`.
fn last_percent(text: &[u8]) -> Option<f32> {
    let text = std::str::from_utf8(text).ok()?;
    let (before, _) = text.rsplit_once("/100%)")?;
    let (_, number) = before.rsplit_once('(')?;
    number.parse::<f32>().ok().map(|percent| percent / 100.0)
}

/// Where a program is.
fn find(program: &str) -> Result<PathBuf, PoolError> {
    let mut places = PATH.split(':').map(|dir| Path::new(dir).join(program));
    places.find(|path| path.exists()).ok_or_else(|| {
        PoolError::system(format!("Cannot find '{program}' in path"), rustix::io::Errno::NOENT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_of_who_was_killed_go_and_those_of_others_stay() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            mknodat(CWD, dir.path().join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        };
        // No process has a number as high as this.
        let (dead, alive) = (format!("{FED}4194999.a"), format!("{FED}{}.a", std::process::id()));
        for name in [&dead, &alive, "other"] {
            pipe(name);
        }
        std::fs::write(dir.path().join(format!("{FED}4194999.b")), "no pipe").unwrap();
        sweep_pipes(dir.path()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [alive.as_str(), &format!("{FED}4194999.b"), "other"].map(std::ffi::OsString::from));
    }
}
