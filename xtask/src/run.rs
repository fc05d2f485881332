//! `cargo xtask run`: from nothing to a running guest.
//!
//! Everything the product does here it does through the `lodge` program, as a user would: packages, build,
//! daemon, image, network, domain, seed, start, wait. A second run finds each in place and says so.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    apt,
    command::{cargo, output, run as run_command, target, workspace},
    stop,
};

/// Where the demonstration's daemon keeps everything; its own place, so that it disturbs nothing.
/// Not inside the checkout: guests run as users of their own, who may not enter somebody's home.
pub const DEFAULT_ROOT: &str = "/var/lib/lodge-demo";

const IMAGE: &str = "debian-12";
const NETWORK: &str = "default";
const DOMAIN: &str = "rhel8.0";
/// The disk's source in `examples/rhel8.0.xml`: the one thing that is changed in the document.
const DOCUMENT_DISK: &str = "/var/lib/libvirt/images/rhel8";

/// The demonstration's daemon, and how to talk to it.
pub struct Demo {
    /// The daemon's root.
    pub root: PathBuf,
    lodge: PathBuf,
}

impl Demo {
    pub fn new(root: PathBuf) -> Self {
        Self { root, lodge: target().join("release/lodge") }
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("run/lodge/lodge.sock")
    }

    pub fn built(&self) -> bool {
        self.lodge.is_file()
    }

    /// A `lodge` command for this daemon.
    pub fn lodge(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.lodge);
        command.arg("--connect").arg(self.socket()).args(args);
        command
    }

    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = output(self.lodge(args).args(["-o", "json"]))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`lodge {}` gave no JSON: {text}", args.join(" ")))
    }

    pub fn answers(&self) -> bool {
        self.built() && output(&mut self.lodge(&["list", "--all", "--name"])).is_ok()
    }
}

/// Reads `[--stop] [--root DIR]` and does it.
pub fn run(args: &[String]) -> Result<()> {
    let (mut root, mut stopping) = (PathBuf::from(DEFAULT_ROOT), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--stop" => stopping = true,
            "--root" => root = args.next().context("--root needs a directory")?.into(),
            other => bail!("`cargo xtask run` knows no `{other}`; it takes --stop and --root DIR"),
        }
    }
    if !apt::is_root() {
        bail!("this makes a bridge, taps and firewall rules, so run it as root");
    }
    let demo = Demo::new(std::path::absolute(root)?);
    if stopping { stop::stop(&demo) } else { start(&demo) }
}

fn start(demo: &Demo) -> Result<()> {
    let mut phases = Phases::new();
    apt::install(&[apt::RUN])?;
    phases.done("packages");
    run_command(cargo().args(["build", "--quiet", "--release", "-p", "lodge"]))?;
    phases.done("build");
    start_daemon(demo)?;
    phases.done("daemon");
    if output(&mut demo.lodge(&["image", "info", IMAGE])).is_err() {
        run_command(&mut demo.lodge(&["image", "build", IMAGE]))?;
    }
    phases.done("image");
    let key = ssh_key(demo)?;
    start_network(demo)?;
    phases.done("network");
    let warnings = start_domain(demo, &key)?;
    phases.done("start");
    run_command(&mut demo.lodge(&["wait", DOMAIN, "--for", "ready", "--timeout", "900"]))?;
    phases.done("ready");
    report(demo, &key, &warnings, &phases)
}

/// Starts the daemon unless it answers already.
pub fn start_daemon(demo: &Demo) -> Result<()> {
    if demo.answers() {
        return Ok(());
    }
    fs::create_dir_all(demo.root.join("var/log/lodge"))
        .with_context(|| format!("cannot make {}", demo.root.display()))?;
    let log_path = demo.root.join("var/log/lodge/daemon.out");
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    // A session of its own, so that ^C here does not reach it.
    let mut daemon = Command::new("setsid")
        .arg(&demo.lodge)
        .args(["daemon", "--root"])
        .arg(&demo.root)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start `lodge daemon`")?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !demo.answers() {
        let said = || fs::read_to_string(&log_path).unwrap_or_default();
        if let Some(status) = daemon.try_wait()? {
            bail!("`lodge daemon` ended with {status}:\n{}", said());
        }
        if Instant::now() > deadline {
            bail!(
                "`lodge daemon` does not answer after 30 s; its log is {}:\n{}",
                log_path.display(),
                said()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The key pair made for this demonstration.
fn ssh_key(demo: &Demo) -> Result<PathBuf> {
    let key = demo.root.join("id_ed25519");
    if !key.exists() {
        run_command(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "lodge-demo", "-f"])
                .arg(&key),
        )?;
    }
    Ok(key)
}

fn start_network(demo: &Demo) -> Result<()> {
    let networks = demo.json(&["net-list", "--all"])?;
    let known = networks.as_array().and_then(|all| all.iter().find(|network| network["name"] == NETWORK));
    if known.is_none() {
        let document = workspace().join("examples/default.xml");
        run_command(demo.lodge(&["net-define"]).arg(document))?;
    }
    if known.is_none_or(|network| network["active"] != true) {
        run_command(&mut demo.lodge(&["net-start", NETWORK]))?;
    }
    Ok(())
}

fn domain_exists(demo: &Demo) -> bool {
    output(&mut demo.lodge(&["domuuid", DOMAIN])).is_ok()
}

/// Defines, seeds and starts the domain, as far as that is not done; gives the start's warnings.
fn start_domain(demo: &Demo, key: &Path) -> Result<Vec<String>> {
    if !domain_exists(demo) {
        let clone = demo.json(&["image", "clone", IMAGE, DOMAIN])?;
        let disk = clone["path"].as_str().context("`lodge image clone` named no path")?.to_owned();
        let document =
            fs::read_to_string(workspace().join("examples/rhel8.0.xml"))?.replace(DOCUMENT_DISK, &disk);
        let path = demo.root.join("rhel8.0.xml");
        fs::write(&path, document)?;
        run_command(demo.lodge(&["define"]).arg(&path))?;
        let user_data = workspace().join("examples/test-system.yaml");
        let mut seed = demo.lodge(&["seed", "set", DOMAIN, "--user-data"]);
        run_command(seed.arg(user_data).arg("--ssh-key").arg(key.with_extension("pub")))?;
    }
    let state = output(&mut demo.lodge(&["domstate", DOMAIN]))?;
    if state.trim() == "shut off" {
        run_command(&mut demo.lodge(&["start", DOMAIN]))?;
    }
    let view = demo.json(&["dominfo", DOMAIN])?;
    let warnings = view["warnings"].as_array().into_iter().flatten();
    Ok(warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect())
}

fn report(demo: &Demo, key: &Path, warnings: &[String], phases: &Phases) -> Result<()> {
    let ip = output(&mut demo.lodge(&["ip", DOMAIN]))?;
    let ip = ip.lines().next().context("`lodge ip` named no address")?.trim().to_owned();
    let readiness = demo.json(&["readiness", DOMAIN])?;
    let ssh = format!(
        "ssh -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new debian@{ip}",
        key.display(),
        demo.root.join("known_hosts").display()
    );
    println!();
    println!("{DOMAIN} is ready.");
    println!("  address      {ip}");
    println!("  ssh          {ssh}");
    println!("  or           {} --connect {} ssh {DOMAIN}", demo.lodge.display(), demo.socket().display());
    println!(
        "  web          http://{ip}/  {}",
        first_line_of(&ip).unwrap_or_else(|error| format!("({error:#})"))
    );
    println!("  accelerator  {}", text(&readiness["accelerator"]["name"]));
    println!("               {}", text(&readiness["accelerator"]["why"]));
    for warning in warnings {
        println!("  warning      {warning}");
    }
    println!("  time here    {}", phases.shown());
    let timeline = readiness["timeline"].as_array().into_iter().flatten();
    let took = |phase: &Value| {
        let seconds = phase["duration_ms"].as_f64()? / 1000.0;
        Some(format!("{} {seconds:.1} s", text(&phase["phase"])))
    };
    let guest: Vec<String> = timeline.filter_map(took).collect();
    println!("  in the guest {}", guest.join(" · "));
    println!("Take it down with: cargo xtask run --stop");
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The status line and server of what answers on the guest's port 80.
fn first_line_of(ip: &str) -> Result<String> {
    let address: SocketAddr = format!("{ip}:80").parse().context("no address")?;
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("port 80 does not answer")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "HEAD / HTTP/1.0\r\nHost: test-system\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let server =
        answer.lines().find(|line| line.to_ascii_lowercase().starts_with("server:")).unwrap_or_default();
    Ok(format!("answers \"{}\" {server}", answer.lines().next().unwrap_or_default().trim()))
}

/// How long each phase took.
struct Phases {
    begun: Instant,
    last: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Phases {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, done: Vec::new() }
    }

    fn done(&mut self, name: &'static str) {
        let took = self.last.elapsed();
        if took > Duration::from_secs(1) {
            println!("✓ {name} ({:.1} s)", took.as_secs_f64());
        }
        self.last = Instant::now();
        self.done.push((name, took));
    }

    fn shown(&self) -> String {
        let phases: Vec<String> =
            self.done.iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64())).collect();
        format!("{} · in all {:.1} s", phases.join(" · "), self.begun.elapsed().as_secs_f64())
    }
}
