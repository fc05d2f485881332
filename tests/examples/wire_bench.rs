//! libvirt's wire, spoken raw: calls, lists, idle connections, a million calls; with `--peers` beside libvirtd.
//!
//! `cargo xtask bench wire [--peers]`. One client program for both daemons, without libvirt's client library, so that
//! what is measured is the daemon. Prints figures and ratios; judges nothing. libvirtd runs in mount, network and
//! process namespaces of its own and is gone afterwards.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lodge_tests::Host;
use lodge_tests::document::tiny;
use lodge_wire::packet::{self, Header, Kind, Status};
use lodge_wire::{Call, remote, xdr};

const CALLS: u32 = 40_000;
const CLIENTS: usize = 16;
const GUESTS: usize = 1000;
const LISTS: u32 = 200;
const IDLE: usize = 1000;
const MANY_CALLS: u32 = 1_000_000;

fn main() -> Result<()> {
    let peers = std::env::args().any(|arg| arg == "--peers");
    let theirs = if peers { Some(peer()?) } else { None };
    let host = Host::start()?;
    let socket = host.root().join("run/libvirt/libvirt-sock");
    let ours = measure(&socket, host.daemon_pid(), true)?;
    println!("{:34} {:>12} {:>12} {:>9}", "", "lodge", "libvirtd", "ratio");
    let row = |what: &str, figure: fn(&Figures) -> f64, less: bool| {
        let mine = figure(&ours);
        let Some(theirs) = theirs.as_ref().map(figure) else {
            println!("{what:34} {mine:>12.1} {:>12} {:>9}", "–", "–");
            return;
        };
        let ratio = if less { theirs / mine } else { mine / theirs };
        println!("{what:34} {mine:>12.1} {theirs:>12.1} {ratio:>8.2}×");
    };
    row("empty calls per second, 1 client", |figures| figures.one, false);
    row("… 16 clients", |figures| figures.sixteen, false);
    row("… 1 client, 5 in flight", |figures| figures.pipelined, false);
    row("list of 1,000, ms", |figures| figures.list_ms, true);
    row("1,000 idle connections, kB", |figures| figures.idle_kb, true);
    println!(
        "a million calls: memory grew by {:.0} kB, descriptors {} before and {} after",
        ours.grown_kb, ours.descriptors.0, ours.descriptors.1
    );
    Ok(())
}

#[derive(Debug)]
struct Figures {
    one: f64,
    sixteen: f64,
    pipelined: f64,
    list_ms: f64,
    idle_kb: f64,
    grown_kb: f64,
    descriptors: (usize, usize),
}

fn measure(socket: &Path, pid: u32, million: bool) -> Result<Figures> {
    let mut client = Client::open(socket)?;
    client.empty(2000)?;
    let one = rate(CALLS, || client.empty(CALLS))?;
    let pipelined = rate(CALLS, || client.pipelined(CALLS, 5))?;
    let sixteen = rate(CALLS * 4, || at_once(socket))?;
    let before = rss_kb(pid)?;
    let idle: Vec<Client> = (0..IDLE).map(|_| Client::open(socket)).collect::<Result<_>>()?;
    let idle_kb = rss_kb(pid)? - before;
    drop(idle);
    for number in 0..GUESTS {
        let args = remote::DomainDefineXmlArgs { xml: tiny(&format!("guest-{number}")).into() };
        client.call(remote::call::DomainDefineXml, &args)?;
    }
    let list = remote::ConnectListAllDomainsArgs { need_results: 1, flags: 3 };
    let begun = Instant::now();
    for _ in 0..LISTS {
        let reply = client.call(remote::call::ConnectListAllDomains, &list)?;
        ensure!(reply.domains.len() == GUESTS, "{} domains in the list", reply.domains.len());
    }
    let list_ms = begun.elapsed().as_secs_f64() * 1000.0 / f64::from(LISTS);
    let (before, descriptors) = (rss_kb(pid)?, descriptors(pid)?);
    if million {
        client.pipelined(MANY_CALLS, 5)?;
    }
    let grown_kb = rss_kb(pid)? - before;
    let descriptors = (descriptors, self::descriptors(pid)?);
    Ok(Figures { one, sixteen, pipelined, list_ms, idle_kb, grown_kb, descriptors })
}

fn at_once(socket: &Path) -> Result<()> {
    let each = CALLS * 4 / u32::try_from(CLIENTS)?;
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::open(socket)).collect::<Result<_>>()?;
    let threads: Vec<_> =
        clients.into_iter().map(|mut client| thread::spawn(move || client.empty(each))).collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
}

fn rate(count: u32, act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    act()?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// A client that waits for its answers.
struct Client {
    stream: UnixStream,
    serial: u32,
    buffer: Vec<u8>,
}

impl Client {
    fn open(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("cannot reach {}", socket.display()))?;
        let mut client = Self { stream, serial: 0, buffer: Vec::new() };
        client.call(remote::call::AuthList, &())?;
        let args = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 0 };
        client.call(remote::call::ConnectOpen, &args)?;
        Ok(client)
    }

    fn call<C: Call>(&mut self, _: C, args: &C::Args) -> Result<C::Ret> {
        self.serial += 1;
        let header = header(C::FACTS.number, self.serial);
        self.stream.write_all(&packet::message(&header, args)?)?;
        self.receive()?;
        let reply: Header = xdr::from_bytes(&self.buffer)?;
        let payload = &self.buffer[packet::HEADER..];
        if reply.status != Status::Ok {
            let error: packet::ErrorBody = xdr::from_bytes(payload)?;
            bail!("{}: {}", C::FACTS.name, error.message.unwrap_or_default());
        }
        Ok(xdr::from_bytes(payload)?)
    }

    /// CONNECT_GET_LIB_VERSION, which asks nothing of anybody.
    fn empty(&mut self, count: u32) -> Result<()> {
        let call = packet::message(&header(remote::Procedure::ConnectGetLibVersion.number(), 1), &())?;
        for _ in 0..count {
            self.stream.write_all(&call)?;
            self.receive()?;
        }
        Ok(())
    }

    fn pipelined(&mut self, count: u32, at_once: u32) -> Result<()> {
        let call = packet::message(&header(remote::Procedure::ConnectGetLibVersion.number(), 1), &())?;
        let calls = call.repeat(at_once as usize);
        for _ in 0..count / at_once {
            self.stream.write_all(&calls)?;
            for _ in 0..at_once {
                self.receive()?;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut word = [0; packet::LENGTH];
        self.stream.read_exact(&mut word)?;
        let length = packet::length(u32::from_be_bytes(word)).context("no libvirt message")?;
        self.buffer.resize(length, 0);
        self.stream.read_exact(&mut self.buffer)?;
        Ok(())
    }
}

fn header(procedure: i32, serial: u32) -> Header {
    Header { program: remote::PROGRAM, version: 1, procedure, kind: Kind::Call, serial, status: Status::Ok }
}

/// The daemon's namespaces, as root of its own; it says on its output when it listens.
const HOUSE: &str = r"
set -e
mount -t tmpfs none /run/libvirt 2>/dev/null || { mkdir -p /run/libvirt; mount -t tmpfs none /run/libvirt; }
mount -t tmpfs none /var/lib/libvirt
mount -t tmpfs none /var/log/libvirt
mount -t tmpfs none /var/cache/libvirt
cp -a /etc/libvirt $1/etc; mount --bind $1/etc /etc/libvirt
rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks
printf 'user = \042root\042\ngroup = \042root\042\ncgroup_controllers = []\nsecurity_driver = \042none\042\n' >> /etc/libvirt/qemu.conf
printf 'max_anonymous_clients = 2000\n' >> /etc/libvirt/libvirtd.conf
ip link set lo up
exec libvirtd --pid-file /run/libvirt/libvirtd.pid
";

fn peer() -> Result<Figures> {
    let directory = tempfile::Builder::new().prefix("lodge-peer-").tempdir_in("/var/tmp")?;
    let script = directory.path().join("house.sh");
    fs::write(&script, HOUSE)?;
    let mut house = Command::new("unshare")
        .args(["--mount", "--net", "--propagation", "private", "bash"])
        .arg(&script)
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run `unshare`")?;
    // `unshare` and `bash` became it.
    let socket = PathBuf::from(format!("/proc/{}/root/run/libvirt/libvirt-sock", house.id()));
    let figures = wait_for(&socket, &mut house).and_then(|()| measure(&socket, house.id(), false));
    house.kill()?;
    house.wait()?;
    figures.context("libvirtd was not measured")
}

fn wait_for(socket: &Path, house: &mut Child) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match UnixStream::connect(socket) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => bail!("libvirtd does not listen: {error}"),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!("needs root: {error}"),
            Err(_) => {}
        }
        ensure!(house.try_wait()?.is_none(), "libvirtd did not start");
        thread::sleep(Duration::from_millis(50));
    }
}

fn rss_kb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
