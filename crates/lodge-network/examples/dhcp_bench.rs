//! How many leases per second netd gives, and with `--peers` dnsmasq beside it in the same run.
//!
//! ```text
//! cargo run --release -p lodge-network --example dhcp_bench -- [--peers] [--leases 2000] [--window 64] [--json]
//! ```
//!
//! Needs root, `ip` and `nft`; for `--peers` also `dnsmasq` (package dnsmasq-base), without which it says so
//! and prints no ratio. Each server gets a bridge in a network namespace of its own; a client in another namespace
//! makes full exchanges (DISCOVER, OFFER, REQUEST, ACK) for as many hardware addresses, `--window` of them at
//! a time, and repeats what is not answered within a second. Both servers keep their leases in files of the
//! same file system. dnsmasq runs with `--no-ping`, its fastest way; as libvirt runs it, it is slower.
//!
//! With `--json` the last line is one object:
//! `{"netd":{"leases_per_s":…,"p50_ms":…,"p99_ms":…,"max_ms":…,"repeats":…},"dnsmasq":{…}|null,"ratio":…|null}`;
//! the milliseconds are from a REQUEST to its ACK.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use lodge_network::{NetdProgram, NetworkFilters, Networks, NetworksConfig};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const REPEAT_AFTER: Duration = Duration::from_secs(1);
const GIVE_UP_AFTER: Duration = Duration::from_mins(2);

struct Options {
    leases: u32,
    window: usize,
    peers: bool,
    json: bool,
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "netd") {
        return lodge_network::netd::run(args.split_off(1));
    }
    match options(&args).and_then(|options| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dhcp_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Outcome<Options> {
    let mut options = Options { leases: 2_000, window: 64, peers: false, json: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--leases" => options.leases = value()?.parse()?,
            "--window" => options.window = value()?.parse()?,
            "--peers" => options.peers = true,
            "--json" => options.json = true,
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }
    if !(1..=60_000).contains(&options.leases) || options.window == 0 {
        return Err("--leases is 1 to 60000, --window at least 1".into());
    }
    Ok(options)
}

fn compare(options: &Options) -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root: it makes network namespaces".into());
    }
    let netd = apart(netd, options.leases, options.window)?;
    netd.print("netd");
    let dnsmasq = if !options.peers {
        None
    } else if Command::new("dnsmasq").arg("--version").output().is_ok() {
        let dnsmasq = apart(dnsmasq, options.leases, options.window)?;
        dnsmasq.print("dnsmasq");
        Some(dnsmasq)
    } else {
        println!("dnsmasq is not installed (package dnsmasq-base): no ratio");
        None
    };
    let ratio = dnsmasq.as_ref().map(|dnsmasq| netd.rate() / dnsmasq.rate());
    if let Some(ratio) = ratio {
        println!("netd gives {ratio:.1} x the leases per second of dnsmasq");
    }
    if options.json {
        let dnsmasq = dnsmasq.map(|measured| measured.json());
        println!("{}", serde_json::json!({ "netd": netd.json(), "dnsmasq": dnsmasq, "ratio": ratio }));
    }
    Ok(())
}

/// Runs a server and its load in a namespace of their own.
fn apart(serve: fn(&Path, u32, usize) -> Outcome<Measured>, leases: u32, window: usize) -> Outcome<Measured> {
    let thread = std::thread::spawn(move || {
        new_namespaces()?;
        run("ip", &["link", "set", "lo", "up"])?;
        let dir = tempfile::tempdir()?;
        serve(dir.path(), leases, window)
    });
    thread.join().map_err(|_| "the measuring thread panicked")?
}

/// Of the network, and of mounts: `ip netns` mounts what it keeps its names in, and leaves that mounted.
#[expect(deprecated, reason = "these two take nothing away that other threads rely on")]
fn new_namespaces() -> Outcome<()> {
    rustix::thread::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    std::fs::create_dir_all("/run/netns")?;
    Ok(mount("none", "/run/netns", "tmpfs", MountFlags::empty(), None)?)
}

fn netd(dir: &Path, leases: u32, window: usize) -> Outcome<Measured> {
    let root = lodge_store::Root::at(dir)?;
    root.prepare()?;
    let program = NetdProgram { program: std::env::current_exe()?, args: vec!["netd".into()] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let filters = NetworkFilters::open(&root, true);
        let networks =
            Networks::open(NetworksConfig { root, netd: program, guest_names: false, filters }).await?;
        let network = networks
            .define(
                "<network><name>bench</name><bridge name='lb0' stp='off'/>\
                 <ip address='10.66.0.1' prefix='16'><dhcp><range start='10.66.1.0' end='10.66.255.250'/>\
                 </dhcp></ip></network>",
            )
            .await?;
        networks.start(network.id).await?;
        let measured = tokio::task::spawn_blocking(move || load(leases, window)).await?;
        networks.stop(network.id).await?;
        measured
    })
}

fn dnsmasq(dir: &Path, leases: u32, window: usize) -> Outcome<Measured> {
    run("ip", &["link", "add", "lb0", "type", "bridge"])?;
    run("ip", &["address", "add", "10.66.0.1/16", "dev", "lb0"])?;
    run("ip", &["link", "set", "lb0", "up"])?;
    let child = Command::new("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--bind-interfaces", "--interface=lb0"])
        .args(["--except-interface=lo", "--no-resolv", "--no-hosts", "--dhcp-authoritative", "--no-ping"])
        .args([
            "--dhcp-range=10.66.1.0,10.66.255.250,255.255.0.0,1h",
            "--dhcp-lease-max=65000",
            "--user=root",
        ])
        .arg(format!("--dhcp-leasefile={}", dir.join("leases").display()))
        .arg("--quiet-dhcp")
        .spawn()?;
    let _child = Killed(child);
    std::thread::sleep(Duration::from_millis(500));
    load(leases, window)
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A named namespace that goes with this.
struct Space(String);

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Puts a client beside bridge `lb0` and lets it ask.
fn load(leases: u32, window: usize) -> Outcome<Measured> {
    let space = Space(format!("lodge-bench-{}", std::process::id()));
    run("ip", &["netns", "add", &space.0])?;
    run("ip", &["link", "add", "lbh", "type", "veth", "peer", "name", "lbc", "netns", &space.0])?;
    run("ip", &["link", "set", "lbh", "master", "lb0", "up"])?;
    run("ip", &["-n", &space.0, "address", "add", "10.66.0.2/16", "dev", "lbc"])?;
    run("ip", &["-n", &space.0, "link", "set", "lbc", "up"])?;
    let namespace = File::open(Path::new("/run/netns").join(&space.0))?;
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Client::new()?.exchange(leases, window)
    });
    thread.join().map_err(|_| "the client panicked")?
}

fn run(program: &str, args: &[&str]) -> Outcome<()> {
    let output = Command::new(program).args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// What came of a run.
struct Measured {
    leases: u32,
    took: Duration,
    /// From each REQUEST to its ACK, sorted.
    waits: Vec<Duration>,
    repeats: u32,
}

impl Measured {
    fn rate(&self) -> f64 {
        f64::from(self.leases) / self.took.as_secs_f64()
    }

    /// The wait that `percent` of all are not above, in milliseconds.
    fn wait_ms(&self, percent: usize) -> f64 {
        let at = (self.waits.len() * percent / 100).min(self.waits.len() - 1);
        self.waits[at].as_secs_f64() * 1_000.0
    }

    fn print(&self, name: &str) {
        println!(
            "{name:8} {:9.0} leases/s   wait for the ACK: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms   repeats {}",
            self.rate(),
            self.wait_ms(50),
            self.wait_ms(99),
            self.wait_ms(100),
            self.repeats
        );
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "leases_per_s": self.rate(), "p50_ms": self.wait_ms(50), "p99_ms": self.wait_ms(99),
            "max_ms": self.wait_ms(100), "repeats": self.repeats,
        })
    }
}

struct Client {
    socket: UdpSocket,
}

/// An exchange under way.
struct Asked {
    message: Vec<u8>,
    sent: Instant,
    /// When the first REQUEST went.
    requested: Option<Instant>,
}

impl Client {
    fn new() -> Outcome<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(b"lbc"))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket: socket.into() })
    }

    fn exchange(&self, leases: u32, window: usize) -> Outcome<Measured> {
        let begun = Instant::now();
        let mut open: HashMap<u32, Asked> = HashMap::new();
        let (mut next, mut repeats) = (0, 0);
        let mut waits = Vec::new();
        let mut given = HashMap::new();
        let mut buffer = [0; 1_500];
        while waits.len() < leases as usize {
            while open.len() < window && next < leases {
                let asked = Asked { message: message(next, None), sent: Instant::now(), requested: None };
                self.send(&asked.message)?;
                open.insert(next, asked);
                next += 1;
            }
            if let Ok(length) = self.socket.recv(&mut buffer)
                && let Some((number, kind, ip, server)) = read(&buffer[..length])
                && let Some(asked) = open.get_mut(&number)
            {
                let now = Instant::now();
                match (kind, asked.requested) {
                    (2, None) => {
                        asked.message = message(number, Some((ip, server)));
                        (asked.sent, asked.requested) = (now, Some(now));
                        self.send(&asked.message)?;
                    }
                    (5, Some(requested)) => {
                        if let Some(other) = given.insert(ip, number).filter(|other| *other != number) {
                            return Err(format!("{ip} was given to clients {other} and {number}").into());
                        }
                        waits.push(now - requested);
                        open.remove(&number);
                    }
                    (6, _) => return Err(format!("client {number} was refused").into()),
                    _ => {}
                }
            }
            for asked in open.values_mut().filter(|asked| asked.sent.elapsed() > REPEAT_AFTER) {
                repeats += 1;
                asked.sent = Instant::now();
                self.send(&asked.message)?;
            }
            if begun.elapsed() > GIVE_UP_AFTER {
                return Err(format!("only {} of {leases} leases in {GIVE_UP_AFTER:?}", waits.len()).into());
            }
        }
        waits.sort();
        Ok(Measured { leases, took: begun.elapsed(), waits, repeats })
    }

    fn send(&self, message: &[u8]) -> Outcome<()> {
        self.socket.send_to(message, (Ipv4Addr::BROADCAST, 67))?;
        Ok(())
    }
}

/// DISCOVER of client `number`, or its REQUEST of what a server offered.
fn message(number: u32, offer: Option<(Ipv4Addr, [u8; 4])>) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    bytes[10] = 0x80; // answer by broadcast: the client has no hardware address of its own
    bytes[28..30].copy_from_slice(&[0x52, 0x54]);
    bytes[30..34].copy_from_slice(&number.to_be_bytes());
    bytes.extend([99, 130, 83, 99]);
    match offer {
        None => bytes.extend([53, 1, 1]),
        Some((ip, server)) => {
            bytes.extend([53, 1, 3, 50, 4]);
            bytes.extend(ip.octets());
            bytes.extend([54, 4]);
            bytes.extend(server);
        }
    }
    bytes.extend([55, 4, 1, 3, 6, 15, 255]);
    bytes.resize(300, 0);
    bytes
}

/// The client's number, the kind of message, the address and the server of a reply.
fn read(bytes: &[u8]) -> Option<(u32, u8, Ipv4Addr, [u8; 4])> {
    let number = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    let ip: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
    let (mut kind, mut server) = (0, [0; 4]);
    let mut options = bytes.get(240..)?;
    while let [code, rest @ ..] = options {
        if *code == 0 {
            options = rest;
            continue;
        }
        let [length, rest @ ..] = rest else { break };
        let value = rest.get(..usize::from(*length))?;
        match (*code, value) {
            (53, [value]) => kind = *value,
            (54, value) => server = value.try_into().ok()?,
            _ => {}
        }
        options = &rest[usize::from(*length)..];
    }
    Some((number, kind, ip.into(), server))
}
