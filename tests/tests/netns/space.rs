//! A host of one's own: a thread in a fresh network namespace, a root in a temporary directory, and a check
//! that nothing is left of it at the end.

use std::future::Future;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lodge_network::{NetdProgram, NetworkFilters, Networks, NetworksConfig};
use lodge_store::Root;
use lodge_sys::cgroup::Cgroup;

/// How long anything may take that is waited for.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The host of one test.
pub struct Space {
    pub dir: tempfile::TempDir,
    pub root: Root,
}

impl Space {
    /// Opens the networks of this host: what a daemon does when it starts.
    pub async fn open(&self) -> Networks {
        Networks::open(self.config()).await.unwrap()
    }

    /// What they are opened with.
    pub fn config(&self) -> NetworksConfig {
        let program = env!("CARGO_BIN_EXE_lodge-test-netd").into();
        let netd = NetdProgram { program, args: Vec::new() };
        // The guests of most tests are namespaces, to which the host gave no names.
        let filters = NetworkFilters::open(&self.root, true);
        NetworksConfig { root: self.root.clone(), netd, guest_names: true, filters }
    }

    /// Links, rules, files and processes of this host.
    pub fn trace(&self) -> String {
        let links = run("ip", &["-br", "link"]);
        let rules = run("nft", &["list", "ruleset"]);
        let run_dir = list(&self.dir.path().join("run"));
        let cgroup = Cgroup::find(&Path::new("lodge").join(self.root.tag())).unwrap();
        format!("{links}\n{rules}\n{run_dir}\n{:?}\n{cgroup:?}", self.netds())
    }

    /// Processes started for this root.
    pub fn netds(&self) -> Vec<u32> {
        let log_dir = self.root.logs();
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Their output goes to a log of this root.
            let output = std::fs::read_link(process.path().join("fd/2")).unwrap_or_default();
            if output.starts_with(&log_dir) {
                found.push(pid);
            }
        }
        found
    }
}

/// Runs a test on a host of its own. Skips, saying why, where that cannot be.
pub fn in_space<F: Future<Output = ()>>(test: impl FnOnce(Space) -> F + Send + 'static) {
    if !lodge_tests::root_or_skip() {
        return;
    }
    for (program, package) in
        [("ip", "iproute2"), ("nft", "nftables"), ("busybox", "busybox"), ("dig", "bind9-dnsutils")]
    {
        if Command::new(program).arg("-V").output().is_err() {
            return lodge_tests::skip(&format!("needs the program `{program}` (package {package})"));
        }
    }
    // Seen only where a test fails.
    let _ = tracing_subscriber::fmt().with_env_filter("lodge_network=debug").with_test_writer().try_init();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        new_namespaces();
        run("ip", &["link", "set", "lo", "up"]);
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        root.prepare().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(Space { dir, root }));
    });
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

impl Drop for Space {
    /// Prints what netd logged, seen only where the test fails, and ends what a failed test left running.
    fn drop(&mut self) {
        for pid in self.netds() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let cgroup = Path::new("lodge").join(self.root.tag());
        for network in
            std::fs::read_dir(self.root.running_networks()).into_iter().flatten().filter_map(Result::ok)
        {
            let left = cgroup.join("networks").join(network.file_name());
            let _ = Cgroup::find(&left).map(|found| found.map(|found| found.remove()));
        }
        for log in std::fs::read_dir(self.root.logs()).into_iter().flatten().filter_map(Result::ok) {
            eprintln!("{}", std::fs::read_to_string(log.path()).unwrap_or_default());
        }
    }
}

/// Runs a program, which must succeed; returns what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program to its end.
pub fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap()
}

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn list(dir: &Path) -> String {
    let mut names = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            names.push(entry.path().display().to_string());
            if entry.path().is_dir() {
                open.push(entry.path());
            }
        }
    }
    names.sort();
    names.join("\n")
}

/// Of the network, and of mounts: `ip netns` mounts what it keeps its names in, and leaves that mounted.
#[expect(
    deprecated,
    reason = "these two take nothing away that other threads rely on; the crate has no other safe call"
)]
fn new_namespaces() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::{UnshareFlags, unshare};
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    std::fs::create_dir_all("/run/netns").unwrap();
    mount("none", "/run/netns", "tmpfs", MountFlags::empty(), None).unwrap();
}
