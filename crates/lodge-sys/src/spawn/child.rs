#![expect(unsafe_code, reason = "UNSAFETY: clone3(2) with a pidfd and a cgroup has no safe binding")]
//! The way from clone to exec: everything laid out before, plain system calls only in between.

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use super::Command;
use super::jail::{Inward, Jail, Layout, keep_alone, keep_none};

/// `CLONE_INTO_CGROUP` of clone3(2); libc's constant of that name is too narrow for it and overflows to zero.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child says first: no step has this number.
const APART: u8 = 0;
/// How many processors a `cpu_set_t` can name.
const CPU_SETSIZE: usize = libc::CPU_SETSIZE as usize;
/// Of linux/capability.h.
const CAP_SYS_RAWIO: u32 = 17;

/// The steps between clone and exec which can fail.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Step {
    Session = 1,
    Cgroup,
    Affinity,
    Descriptors,
    Directory,
    Groups,
    Group,
    User,
    RawCommands,
    Privileges,
    JailMounts,
    JailLimits,
    JailCapabilities,
    JailFilter,
    Exec,
}

impl Step {
    const ALL: [Self; 15] = [
        Self::Session,
        Self::Cgroup,
        Self::Affinity,
        Self::Descriptors,
        Self::Directory,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::RawCommands,
        Self::Privileges,
        Self::JailMounts,
        Self::JailLimits,
        Self::JailCapabilities,
        Self::JailFilter,
        Self::Exec,
    ];

    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Session => "open a session",
            Self::Cgroup => "enter the cgroup",
            Self::Affinity => "set the processors",
            Self::Descriptors => "place the descriptors",
            Self::Directory => "enter the working directory",
            Self::Groups => "set the groups",
            Self::Group => "change the group",
            Self::User => "change the user",
            Self::RawCommands => "keep the right to raw commands (CAP_SYS_RAWIO)",
            Self::Privileges => "give up privileges",
            Self::JailMounts => "make a root of its own",
            Self::JailLimits => "set its limits",
            Self::JailCapabilities => "give up its capabilities",
            Self::JailFilter => "filter its system calls",
            Self::Exec => "run the program",
        }
    }
}

/// The set of these processors; `None`: of none.
fn processors(numbers: &[u32]) -> Option<libc::cpu_set_t> {
    // SAFETY: a `cpu_set_t` is an array of plain numbers, for which all zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let known = numbers.iter().map(|number| *number as usize).filter(|number| *number < CPU_SETSIZE);
    for number in known {
        // SAFETY: the number is within the array.
        unsafe { libc::CPU_SET(number, &mut set) };
    }
    (!numbers.is_empty()).then_some(set)
}

/// All that the child needs, laid out in memory before there is a child.
pub(super) struct Plan<'a> {
    command: &'a Command,
    program: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    null: OwnedFd,
    cgroup: Option<OwnedFd>,
    jail: Option<Layout>,
    /// Ourselves, whose end a jailed child looks for.
    parent: OwnedFd,
    doors: Vec<OwnedFd>,
    processors: Option<libc::cpu_set_t>,
    kept: Vec<RawFd>,
    read: OwnedFd,
    write: std::cell::RefCell<Option<OwnedFd>>,
    report: RawFd,
    /// No descriptor from here on is the child's.
    end: libc::c_uint,
}

impl<'a> Plan<'a> {
    pub(super) fn lay_out(command: &'a Command) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        use rustix::process::{PidfdFlags, getpid, pidfd_open};
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let directory = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let cgroup = command.cgroup.as_ref().map(|path| open(path, directory, Mode::empty())).transpose()?;
        let door = |path| open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let doors = command.doors.iter().map(door).collect::<Result<Vec<_>, _>>()?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = pidfd_open(getpid(), PidfdFlags::empty())?;
        let ended = |strings: &[CString]| {
            strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let given = command.kept.iter().chain(&command.input).chain(&command.output).chain(&command.errors);
        let given = given.chain(&doors).chain([&null, &read, &write, &parent]).map(AsRawFd::as_raw_fd);
        let given = given.chain(command.jail.iter().flat_map(Jail::descriptors)).max().unwrap_or_default();
        let end = given.saturating_add(1).max(crate::fs::apart_from());
        Ok(Self {
            end: end.cast_unsigned(),
            program: CString::new(command.program.as_os_str().as_bytes())?,
            argv: ended(&command.args),
            envp: ended(&command.env),
            null,
            cgroup,
            jail: command.jail.as_ref().map(Jail::lay_out).transpose()?,
            parent,
            doors,
            processors: processors(&command.processors),
            kept: command.kept.iter().map(AsRawFd::as_raw_fd).collect(),
            report: write.as_raw_fd(),
            read,
            write: Some(write).into(),
            command,
        })
    }

    /// Makes the process; in the child this does not return.
    pub(super) fn clone3(&self) -> io::Result<(u32, OwnedFd)> {
        let mut pidfd: c_int = -1;
        // SAFETY: `clone_args` and `sigset_t` are plain numbers, for which all zero is a value.
        let (mut args, mut all, mut old): (libc::clone_args, libc::sigset_t, libc::sigset_t) =
            unsafe { std::mem::zeroed() };
        // The daemon's descriptors for a moment; see `become_it`.
        args.flags = libc::CLONE_PIDFD as u64 | libc::CLONE_FILES as u64;
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = libc::SIGCHLD as u64;
        if let Some(jail) = &self.jail {
            args.flags |= jail.clone_flags();
        }
        if let Some(cgroup) = &self.cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
        }
        // Signals are held meanwhile: the child must not run the daemon's handlers.
        // SAFETY: both sets are live and of the right type for the whole call.
        unsafe {
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        }
        // SAFETY: `args` is initialised and its size goes with it. Without CLONE_VM the child has its own copy of
        // this memory and goes on in it on a copy of this stack, as after fork(2).
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
        let error = io::Error::last_os_error();
        if pid == 0 {
            // SAFETY: this is the fresh child with one thread; `self` is laid out in full.
            unsafe { self.become_it() }
        }
        // SAFETY: `old` was filled by the first call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut()) };
        match u32::try_from(pid) {
            // SAFETY: on success the kernel put a fresh descriptor there, which nobody else knows of.
            Ok(pid) => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
            Err(_) => Err(error),
        }
    }

    /// Until the child has descriptors of its own, nothing may be closed here. It may be killed before.
    fn wait_until_apart(&self, child: &OwnedFd) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let mut both = [PollFd::new(&self.read, PollFlags::IN), PollFd::new(child, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let has_said = both[0].revents().contains(PollFlags::IN);
            let mut said = [0u8; 1];
            if has_said && rustix::io::read(&self.read, &mut said)? == 1 && said == [APART] {
                return Ok(());
            }
            return Err(io::Error::other("the new process ended at once"));
        }
    }

    /// What the child said before exec. `None`: nothing, so exec has happened.
    pub(super) fn outcome(&self, child: &OwnedFd) -> io::Result<Option<(Step, io::Error)>> {
        self.wait_until_apart(child)?;
        drop(self.write.borrow_mut().take());
        let mut report = [0u8; 5];
        let size = loop {
            match rustix::io::read(&self.read, &mut report) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result?,
            }
        };
        if size < report.len() {
            return Ok(None);
        }
        let [step, a, b, c, d] = report;
        let step = Step::ALL.into_iter().find(|known| *known as u8 == step).unwrap_or(Step::Exec);
        Ok(Some((step, io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d])))))
    }

    /// The child's way from clone to exec. Plain system calls only.
    ///
    /// # Safety
    /// To be called once, in a fresh child whose only thread this is.
    unsafe fn become_it(&self) -> ! {
        // SAFETY: every pointer below points into `self`, which is whole and lives until exec or _exit; the numbers
        // are descriptors that `self` or its command own. The raw calls bypass glibc's cross-thread set*id.
        unsafe {
            let check = |result: libc::c_long, step: Step| {
                if result < 0 {
                    self.fail(step);
                }
            };
            // Before all else: descriptors of its own, and those only that lie low (`fs::apart`). A copy of one that a
            // server's file is written by would be closed at exec, and that waits until the server has all of it.
            if libc::syscall(libc::SYS_close_range, self.end, u32::MAX, libc::CLOSE_RANGE_UNSHARE) < 0 {
                // Linux before 5.9: it has copies of all.
                check(libc::c_long::from(libc::unshare(libc::CLONE_FILES)), Step::Descriptors);
            }
            // From here on the other side may close its own.
            libc::write(self.report, [APART].as_ptr().cast(), 1);
            let input = self.command.input.as_ref().unwrap_or(&self.null).as_raw_fd();
            let out = self.command.output.as_ref().unwrap_or(&self.null).as_raw_fd();
            let errors = self.command.errors.as_ref().map_or(out, AsRawFd::as_raw_fd);
            for (from, to) in [(input, 0), (out, 1), (errors, 2)] {
                check(libc::c_long::from(libc::dup2(from, to)), Step::Descriptors);
            }
            if self.command.session {
                check(libc::syscall(libc::SYS_setsid), Step::Session);
            }
            for door in &self.doors {
                check(libc::write(door.as_raw_fd(), b"0".as_ptr().cast(), 1) as libc::c_long, Step::Cgroup);
            }
            if let Some(set) = &self.processors {
                let size = size_of::<libc::cpu_set_t>();
                check(libc::c_long::from(libc::sched_setaffinity(0, size, set)), Step::Affinity);
            }
            check(libc::c_long::from(libc::chdir(self.command.directory.as_ptr())), Step::Directory);
            if self.command.lock_memory {
                // Where even root may not lift the limit, up to the limit: the program says whether that is enough.
                let lifted = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                if libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const lifted) < 0 {
                    let mut limit = lifted;
                    libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit);
                    limit.rlim_cur = limit.rlim_max;
                    libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
                }
            }
            if let Some(who) = &self.command.credentials {
                let (gid, uid) = (who.gid, who.uid);
                check(
                    libc::syscall(libc::SYS_setgroups, who.groups.len(), who.groups.as_ptr()),
                    Step::Groups,
                );
                check(libc::syscall(libc::SYS_setresgid, gid, gid, gid), Step::Group);
                if self.command.raw_commands {
                    let keep = libc::PR_SET_KEEPCAPS;
                    check(libc::syscall(libc::SYS_prctl, keep, 1, 0, 0, 0), Step::RawCommands);
                }
                check(libc::syscall(libc::SYS_setresuid, uid, uid, uid), Step::User);
                if self.command.raw_commands && keep_alone(CAP_SYS_RAWIO).is_err() {
                    self.fail(Step::RawCommands);
                }
                // Another user's are gone by the change; root's are not.
                if uid == 0 && !self.command.raw_commands && keep_none().is_err() {
                    self.fail(Step::Privileges);
                }
            }
            if self.command.no_new_privs {
                check(
                    libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                    Step::Privileges,
                );
            }
            // Marked, not closed: the report's pipe has to last until exec. Where the kernel is too old for it, all
            // descriptors of a Rust program are close-on-exec anyway.
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            for &fd in &self.kept {
                check(libc::c_long::from(libc::fcntl(fd, libc::F_SETFD, 0)), Step::Descriptors);
            }
            // The Rust runtime ignores SIGPIPE, and that would be inherited; so would the held signals.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if let Some(jail) = &self.jail
                && let Err(inward) = jail.enter(self.parent.as_raw_fd())
            {
                self.fail(match inward {
                    Inward::Mounts => Step::JailMounts,
                    Inward::Limits => Step::JailLimits,
                    Inward::Capabilities => Step::JailCapabilities,
                    Inward::Filter => Step::JailFilter,
                });
            }
            libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
            self.fail(Step::Exec)
        }
    }

    /// Reports the step and errno, and ends the child.
    unsafe fn fail(&self, step: Step) -> ! {
        // SAFETY: `errno` is this thread's own; the buffer is live; `_exit` runs no destructor and no handler.
        unsafe {
            let [a, b, c, d] = (*libc::__errno_location()).to_ne_bytes();
            let report = [step as u8, a, b, c, d];
            libc::write(self.report, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }
}
