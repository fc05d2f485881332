//! Doors of a test's own, and real clients that knock: virsh, virt-admin. Where a client is not installed the test
//! says so and is skipped.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lodge_libvirt::admin::Controls;
use lodge_libvirt::door::Users;
use lodge_libvirt::{Doors, Opening, Settings};
use lodge_store::Root;

use crate::raw::{House, house};

/// Doors under a directory of their own, on the front that all tests share.
pub struct Doorway {
    pub house: &'static House,
    pub doors: Doors,
    pub controls: Arc<Recorder>,
    pub users: Users,
    directory: tempfile::TempDir,
}

/// Opens them, with `conf` as libvirtd.conf and `change` on top.
pub fn open(conf: &str, change: impl FnOnce(&mut Opening, &Path)) -> Doorway {
    let house = house();
    let directory = tempfile::tempdir().unwrap();
    // A client of another user has to get to the sockets.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = Root::at(directory.path()).unwrap();
    std::fs::create_dir_all(root.libvirt_configuration()).unwrap();
    std::fs::write(root.libvirt_configuration().join("libvirtd.conf"), conf).unwrap();
    let controls = Arc::new(Recorder::default());
    let mut opening = Opening {
        settings: Settings::read(&root, None).unwrap(),
        listen: false,
        sasl_in_clear: false,
        // There is no such bus: what this host has must not decide.
        bus: Some(format!("unix:path={}/no-bus", directory.path().display())),
        handed: Vec::new(),
        controls: Arc::clone(&controls) as Arc<dyn Controls>,
    };
    change(&mut opening, directory.path());
    let users = Users::at(root.configuration().join("sasl-users"));
    let doors = house.enter(|| Doors::open(&house.server, &root, opening)).unwrap();
    Doorway { house, doors, controls, users, directory }
}

impl Doorway {
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.path().join("run/libvirt").join(name)
    }

    /// A URI of a UNIX socket for `program`'s driver.
    pub fn uri(&self, driver: &str, socket: &str) -> String {
        format!("{driver}+unix:///system?socket={}", self.socket(socket).display())
    }

    /// Runs virsh on a URI.
    pub fn virsh(&self, uri: &str, words: &str) -> Outcome {
        let mut command = Command::new("virsh");
        command.args(["-c", uri]).args(words.split(' '));
        run(&mut command)
    }

    /// Runs virsh on a URI as a user who is nobody here.
    pub fn virsh_as_nobody(&self, uri: &str, words: &str) -> Outcome {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "virsh", "-c", uri]);
        run(command.args(words.split(' ')))
    }

    /// Runs virt-admin on the admin socket.
    pub fn admin(&self, words: &str) -> Outcome {
        let mut command = Command::new("virt-admin");
        command.args(["-c", &self.uri("libvirtd", "libvirt-admin-sock")]).args(words.split(' '));
        run(&mut command)
    }
}

/// How a client ended.
#[derive(Debug)]
pub struct Outcome {
    pub success: bool,
    pub out: String,
    pub error: String,
}

impl Outcome {
    /// What it printed; it must have gone well.
    #[track_caller]
    pub fn fine(self) -> String {
        assert!(self.success, "{self:?}");
        self.out
    }

    /// What it complained; it must have failed.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.success, "{self:?}");
        self.error
    }
}

pub fn run(command: &mut Command) -> Outcome {
    // Whatever the machine's user has set must not decide.
    for variable in ["LIBVIRT_DEFAULT_URI", "VIRSH_DEFAULT_CONNECT_URI"] {
        command.env_remove(variable);
    }
    command.env("LC_ALL", "C").stdin(std::process::Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Outcome { success: status.success(), out: text(&stdout), error: text(&stderr) }
}

/// Whether all these programs are installed; says which is not.
pub fn have(programs: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let missing = programs.iter().find(|program| {
        !std::env::split_paths(&paths).any(|directory| directory.join(OsStr::new(program)).is_file())
    });
    if let Some(program) = missing {
        eprintln!("skipped: {program} is not installed");
    }
    missing.is_none()
}

/// Whether the test runs as root, which is needed to be somebody else.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can be somebody else");
    }
    root
}

/// A daemon's controls that only note what was asked.
#[derive(Default)]
pub struct Recorder {
    filters: Mutex<String>,
    pub timeouts: Mutex<Vec<Option<Duration>>>,
    pub stopped: Mutex<bool>,
}

impl Controls for Recorder {
    fn log_outputs(&self) -> String {
        "1:stderr 2:file:/var/log/x".to_owned()
    }

    fn set_log_outputs(&self, outputs: &str) -> Result<(), String> {
        Err(format!("Invalid log destination '{outputs}'"))
    }

    fn log_filters(&self) -> String {
        self.filters.lock().unwrap().clone()
    }

    fn set_log_filters(&self, filters: &str) -> Result<(), String> {
        filters.clone_into(&mut self.filters.lock().unwrap());
        Ok(())
    }

    fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeouts.lock().unwrap().push(timeout);
    }

    fn shut_down(&self) {
        *self.stopped.lock().unwrap() = true;
    }
}
