//! Starting a process that outlives us: own session, own cgroup, descriptors instead of paths.
//!
//! One clone3(2) gives the child its cgroup and us its pidfd, with no moment between in which it is elsewhere or
//! could be mistaken. A multi-threaded daemon may call this: everything is laid out before the clone, and between
//! clone and exec the child makes plain system calls only (no allocation, no lock; see signal-safety(7)).
//!
//! Rules: the environment starts empty, stdin is `/dev/null` unless it is given, every descriptor but those given is
//! closed, and a descriptor given keeps **the number it has here**, so a caller can name it in an argument beforehand.
//! A [`Jail`] is for the opposite kind: tools that are ours, and that meet foreign bytes.
//! Deliberately absent: a parent-death signal for others (they are not ours to take along), and waiting (see `process`).

mod child;
mod jail;
mod tied;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::child::Plan;
pub use self::jail::Jail;
pub use self::tied::{Tied, last_words};
use crate::cgroup::Cgroup;
use crate::process::{Identity, Process};

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A NUL byte in an argument, variable or path.
    #[error("`{}` has a NUL byte in its command line", program.display())]
    NulByte {
        /// What was to be started.
        program: PathBuf,
    },
    /// Something on this side of the clone: `/dev/null`, a pipe, a cgroup's directory.
    #[error("cannot prepare to start `{}`", program.display())]
    Prepare {
        /// What was to be started.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No new process was made.
    #[error("cannot make a process for `{}`", program.display())]
    Clone {
        /// What was to be started.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The new process could not become what it should.
    #[error("cannot {step} for `{}`", program.display())]
    Become {
        /// What was to be started.
        program: PathBuf,
        /// Which step failed, as a verb phrase: `change its user`, `run the program`.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl SpawnError {
    /// The system's error beneath, if it is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::NulByte { .. } => None,
            Self::Prepare { source, .. } | Self::Clone { source, .. } | Self::Become { source, .. } => {
                Some(source)
            }
        }
    }
}

/// Whom the process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups; all others are dropped.
    pub groups: Vec<u32>,
}

/// A process to be started.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<CString>,
    env: Vec<CString>,
    has_nul: bool,
    kept: Vec<OwnedFd>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    jail: Option<Jail>,
    session: bool,
    no_new_privs: bool,
    lock_memory: bool,
    raw_commands: bool,
    credentials: Option<Credentials>,
    cgroup: Option<PathBuf>,
    doors: Vec<PathBuf>,
    processors: Vec<u32>,
    directory: CString,
}

impl Command {
    /// Will run `program`, an absolute path: there is no search along PATH.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let mut command = Self {
            args: Vec::new(),
            env: Vec::new(),
            has_nul: false,
            kept: Vec::new(),
            input: None,
            output: None,
            errors: None,
            jail: None,
            session: true,
            no_new_privs: true,
            lock_memory: false,
            raw_commands: false,
            credentials: None,
            cgroup: None,
            doors: Vec::new(),
            processors: Vec::new(),
            directory: c"/".to_owned(),
            program,
        };
        let argv0 = command.program.clone();
        command.arg(argv0);
        command
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        let arg = self.c_string(arg.as_ref());
        self.args.push(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Self {
        args.into_iter().for_each(|arg| {
            self.arg(arg);
        });
        self
    }

    /// Sets a variable of the otherwise empty environment.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        let mut text = std::ffi::OsString::from(name);
        text.push("=");
        text.push(value);
        let text = self.c_string(&text);
        self.env.push(text);
        self
    }

    /// Hands `fd` over; it keeps the number it has here, which is returned.
    pub fn fd(&mut self, fd: OwnedFd) -> RawFd {
        let number = fd.as_raw_fd();
        self.kept.push(fd);
        number
    }

    /// What it reads as stdin.
    pub fn input(&mut self, fd: OwnedFd) -> &mut Self {
        self.input = Some(fd);
        self
    }

    /// Where stdout and stderr go; without it to `/dev/null`.
    pub fn output(&mut self, fd: OwnedFd) -> &mut Self {
        self.output = Some(fd);
        self
    }

    /// Where stderr goes, if elsewhere than stdout.
    pub fn errors(&mut self, fd: OwnedFd) -> &mut Self {
        self.errors = Some(fd);
        self
    }

    /// Shuts it in. It ends with the thread that calls [`spawn`](Self::spawn), so that thread has to wait for its end.
    pub fn jail(&mut self, jail: Jail) -> &mut Self {
        self.jail = Some(jail);
        self
    }

    /// Whether the process leads a session of its own (it does, unless told otherwise).
    pub fn session(&mut self, own: bool) -> &mut Self {
        self.session = own;
        self
    }

    /// Whether exec can never again give privileges, see prctl(2) (it cannot, unless told otherwise).
    pub fn no_new_privs(&mut self, on: bool) -> &mut Self {
        self.no_new_privs = on;
        self
    }

    /// Lets the process lock as much memory as the host allows at all, whoever it runs as; see setrlimit(2).
    pub fn lock_memory(&mut self, on: bool) -> &mut Self {
        self.lock_memory = on;
        self
    }

    /// Lets the process send devices whatever command it likes (`CAP_SYS_RAWIO`), also as another user.
    pub fn raw_commands(&mut self, on: bool) -> &mut Self {
        self.raw_commands = on;
        self
    }

    /// Whom to run as.
    pub fn credentials(&mut self, credentials: Credentials) -> &mut Self {
        self.credentials = Some(credentials);
        self
    }

    /// The working directory; `/` otherwise.
    pub fn directory(&mut self, path: &Path) -> &mut Self {
        self.directory = self.c_string(path.as_os_str());
        self
    }

    /// Born in `cgroup`'s v2 directory, where there is one. The v1 controllers are joined after the start with
    /// [`Cgroup::join_v1`]: the kernel may take 15 ms for it, and the process need not wait.
    pub fn cgroup(&mut self, cgroup: &Cgroup) -> &mut Self {
        self.cgroup = cgroup.v2().map(Path::to_path_buf);
        self
    }

    /// Counted in `cgroup`'s v1 controllers before the program runs: for limits that hold from its first page on.
    pub fn limited_by(&mut self, cgroup: &Cgroup) -> &mut Self {
        self.doors = cgroup.v1_doors().collect();
        self.cgroup(cgroup)
    }

    /// The host's processors that it may run on, by number; none: all that the daemon may.
    pub fn processors(&mut self, numbers: &[u32]) -> &mut Self {
        self.processors = numbers.to_vec();
        self
    }

    fn c_string(&mut self, text: &OsStr) -> CString {
        CString::new(text.as_bytes()).unwrap_or_else(|_| {
            self.has_nul = true;
            CString::default()
        })
    }

    /// Starts it. When this returns `Ok`, the program itself runs (exec has happened).
    pub fn spawn(self) -> Result<Process, SpawnError> {
        let program = &self.program;
        if self.has_nul {
            return Err(SpawnError::NulByte { program: program.clone() });
        }
        let prepare = |source: io::Error| SpawnError::Prepare { program: program.clone(), source };
        let plan = Plan::lay_out(&self).map_err(prepare)?;
        let (pid, pidfd) =
            plan.clone3().map_err(|source| SpawnError::Clone { program: program.clone(), source })?;
        // The other end closes by exec or exit; until then nothing of `self` or `plan` may go.
        let report = plan.outcome(&pidfd).map_err(prepare)?;
        if let Some((step, source)) = report {
            reap(&pidfd);
            return Err(SpawnError::Become { program: program.clone(), step: step.phrase(), source });
        }
        // Not reaped yet, so the number is still this process's. A zombie has a start time too.
        let start_time = Identity::of(pid).map_err(prepare)?.map_or(0, |identity| identity.start_time);
        Ok(Process::from_pidfd(Identity { pid, start_time }, pidfd))
    }
}

fn reap(pidfd: &OwnedFd) {
    use std::os::fd::AsFd;

    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::process::Ending;

    async fn run(command: Command) -> i32 {
        match command.spawn().unwrap().ended().await.unwrap() {
            Ending::Status(status) => status.code().unwrap(),
            Ending::Unknown => panic!("our own child has a status"),
        }
    }

    fn shell(script: &str) -> (Command, File) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).output(write);
        (command, File::from(read))
    }

    fn said(mut pipe: File) -> String {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn output_and_exit_status_come_back() {
        let (command, pipe) = shell("echo out; echo err >&2; exit 7");
        assert_eq!(run(command).await, 7);
        assert_eq!(said(pipe), "out\nerr\n");
    }

    #[tokio::test]
    async fn only_given_descriptors_arrive_under_their_numbers() {
        let leaked = File::open("/etc/hostname").unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        let given = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &given, b"hello").unwrap();
        let (mut command, pipe) = shell("");
        let number = command.fd(given.into());
        command.args = Vec::new();
        command.args(["sh", "-c", "cd /proc/self/fd; echo *; cat < /proc/self/fd/$0", &number.to_string()]);
        assert_eq!(run(command).await, 0);
        let said = said(pipe);
        let (fds, content) = said.split_once('\n').unwrap();
        // `*` is expanded by the shell, which holds the directory open by one more descriptor meanwhile.
        let mut fds: Vec<i32> = fds.split(' ').map(|fd| fd.parse().unwrap()).collect();
        fds.sort_unstable();
        assert!(fds.starts_with(&[0, 1, 2]) && fds.contains(&number) && fds.len() <= 5, "{fds:?}");
        assert_eq!(content, "hello");
    }

    #[tokio::test]
    async fn environment_is_empty_but_for_what_was_set() {
        let (mut command, pipe) = shell("");
        command.program = "/usr/bin/env".into();
        command.args.truncate(1);
        command.env("LC_ALL", "C.UTF-8");
        assert_eq!(run(command).await, 0);
        assert_eq!(said(pipe), "LC_ALL=C.UTF-8\n");
    }

    #[tokio::test]
    async fn the_process_leads_its_own_session() {
        let (command, pipe) =
            shell("read -r pid _ < /proc/self/stat; cut -d' ' -f1,6 /proc/$$/stat; echo $$");
        assert_eq!(run(command).await, 0);
        let said = said(pipe);
        let (fields, pid) = said.trim().split_once('\n').unwrap();
        assert_eq!(fields, format!("{pid} {pid}"));
    }

    #[tokio::test]
    async fn a_missing_program_is_told_with_the_step() {
        let error = Command::new("/nonexistent/qemu").spawn().unwrap_err();
        assert_eq!(error.to_string(), "cannot run the program for `/nonexistent/qemu`");
        assert_eq!(error.io().unwrap().kind(), io::ErrorKind::NotFound);
        let mut command = Command::new("/bin/true");
        command.directory(Path::new("/nonexistent"));
        assert!(matches!(
            command.spawn(),
            Err(SpawnError::Become { step: "enter the working directory", .. })
        ));
        let mut command = Command::new("/bin/true");
        command.arg("a\0b");
        assert!(matches!(command.spawn(), Err(SpawnError::NulByte { .. })));
    }

    #[tokio::test]
    async fn another_user_without_groups_and_new_privileges() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root to become another user");
            return;
        }
        let (mut command, pipe) = shell("id -u; id -g; grep NoNewPrivs /proc/self/status; id -G");
        command.credentials(Credentials { uid: 4242, gid: 4243, groups: vec![4244] });
        assert_eq!(run(command).await, 0);
        assert_eq!(said(pipe), "4242\n4243\nNoNewPrivs:\t1\n4243 4244\n");
    }

    #[tokio::test]
    async fn another_user_with_the_right_to_raw_commands_and_no_other() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root to become another user");
            return;
        }
        for (on, rights) in [(false, "0000000000000000"), (true, "0000000000020000")] {
            let (mut command, pipe) = shell("grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status; id -u");
            command.credentials(Credentials { uid: 4242, gid: 4243, groups: Vec::new() }).raw_commands(on);
            assert_eq!(run(command).await, 0);
            let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"];
            let wanted = sets.map(|set| format!("{set}:\t{rights}\n")).concat();
            assert_eq!(said(pipe), wanted + "4242\n");
        }
    }

    #[tokio::test]
    async fn who_is_told_to_be_root_has_no_rights_but_its_name() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root to become it");
            return;
        }
        let (mut command, pipe) = shell("grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status; id -u");
        command.credentials(Credentials { uid: 0, gid: 0, groups: Vec::new() });
        assert_eq!(run(command).await, 0);
        let none = ["CapPrm", "CapEff", "CapAmb"].map(|set| format!("{set}:\t{:016}\n", 0)).concat();
        assert_eq!(said(pipe), none + "0\n");
    }

    #[tokio::test]
    async fn many_at_once_from_many_threads() {
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                tokio::task::spawn_blocking(|| {
                    let (command, pipe) = shell("exit 3");
                    (command.spawn().unwrap(), pipe)
                })
            })
            .collect();
        for task in tasks {
            let (process, pipe) = task.await.unwrap();
            let (a, b) = tokio::join!(process.ended(), process.ended());
            assert_eq!(a.unwrap(), b.unwrap());
            assert_eq!(said(pipe), "");
        }
    }
}
