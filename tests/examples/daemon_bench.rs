//! The daemon over its API, beside the bare floor and, with `--peers`, beside libvirtd on the same machine.
//!
//! `cargo xtask bench daemon [--peers]`. Prints what was measured and the ratio; judges nothing. The program measured
//! is `lodge` of the same build profile. libvirtd runs in mount and network namespaces of its own and is gone afterwards.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_api::{DefineOptions, DestroyOptions, DomainFilter, StartOptions};
use lodge_client::{Client, Endpoint};
use lodge_tests::{Host, document::tiny};

const DEFINES: usize = 1000;
const CLIENTS: usize = 8;
const STARTS: usize = 10;
const MANY: usize = 10_000;
const AT_REST: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let peers = std::env::args().any(|arg| arg == "--peers");
    let runtime = tokio::runtime::Runtime::new()?;
    let peer = if peers { Some(libvirtd()?) } else { None };
    let ours = runtime.block_on(ours())?;
    let own: Vec<&str> = ours.arguments.iter().map(String::as_str).collect();
    let bare = bare_start(&own)?;
    let least = bare_start(&NO_DEVICES)?;
    println!("{:34} {:>12} {:>12} {:>9}", "", "lodge", "libvirtd", "ratio");
    let row =
        |what: &str, ours: f64, theirs: Option<f64>, ratio: fn(f64, f64) -> f64, unit: &str| match theirs {
            Some(theirs) => println!(
                "{what:34} {ours:>9.1} {unit:2} {theirs:>9.1} {unit:2} {:>8.2}×",
                ratio(ours, theirs)
            ),
            None => println!("{what:34} {ours:>9.1} {unit:2} {:>12} {:>9}", "–", "–"),
        };
    let more = |ours: f64, theirs: f64| ours / theirs;
    let less = |ours: f64, theirs: f64| theirs / ours;
    let peer = peer.as_ref();
    row("defines per second, one client", ours.defines, peer.map(|peer| peer.defines), more, "");
    row("defines per second, 8 clients", ours.defines_many, peer.map(|peer| peer.defines), more, "");
    row("list of 1,000 with states", ours.list_ms, peer.map(|peer| peer.list_ms), less, "ms");
    row("start to running", ours.start_ms, peer.map(|peer| peer.start_ms), less, "ms");
    row("destroy", ours.destroy_ms, peer.map(|peer| peer.destroy_ms), less, "ms");
    println!(
        "start beside bare QEMU with the guest's own arguments (exec to cont): {bare:.1} ms, ratio {:.2}×",
        ours.start_ms / bare
    );
    println!(
        "  and beside one that has no device but the machine's: {least:.1} ms, ratio {:.2}×",
        ours.start_ms / least
    );
    println!("daemon's start with {MANY} definitions: {:.0} ms", ours.many_start_ms);
    println!(
        "memory: {:.1} MB at rest, {:.1} KB per defined guest",
        ours.rest_kb / 1000.0,
        (ours.many_kb - ours.rest_kb) / MANY as f64
    );
    Ok(())
}

#[derive(Debug)]
struct Ours {
    defines: f64,
    defines_many: f64,
    list_ms: f64,
    start_ms: f64,
    /// What its QEMU was started with.
    arguments: Vec<String>,
    destroy_ms: f64,
    many_start_ms: f64,
    rest_kb: f64,
    many_kb: f64,
}

async fn client(host: &Host) -> Result<Client> {
    Ok(Client::connect(&Endpoint::at_path(&host.socket())).await?)
}

async fn ours() -> Result<Ours> {
    let mut host = Host::start()?;
    let rest_kb = at_rest_kb(&host)?;
    let first = client(&host).await?;
    let options = DefineOptions::default();
    let begun = Instant::now();
    for number in 0..DEFINES {
        first.define_domain(&tiny(&format!("one{number}")), &options).await?;
    }
    let defines = per_second(DEFINES, begun);

    let list_ms = {
        let mut best = f64::MAX;
        for _ in 0..20 {
            let begun = Instant::now();
            let all = first.domains(&DomainFilter::default()).await?;
            ensure!(all.len() == DEFINES, "{} domains are listed", all.len());
            best = best.min(ms(begun));
        }
        best
    };

    let begun = Instant::now();
    let mut tasks = Vec::new();
    for worker in 0..CLIENTS {
        let client = client(&host).await?;
        tasks.push(tokio::spawn(async move {
            for number in 0..DEFINES / CLIENTS {
                let document = tiny(&format!("many{worker}-{number}"));
                client.define_domain(&document, &DefineOptions::default()).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let defines_many = per_second(DEFINES / CLIENTS * CLIENTS, begun);

    let (mut start_ms, mut destroy_ms, mut arguments) = (f64::MAX, f64::MAX, Vec::new());
    for _ in 0..STARTS {
        let begun = Instant::now();
        first.start_domain("one0", &StartOptions::default()).await?;
        start_ms = start_ms.min(ms(begun));
        arguments = without_descriptors(&words_of_the_guest(&host)?);
        let begun = Instant::now();
        first.destroy_domain("one0", &DestroyOptions::default()).await?;
        destroy_ms = destroy_ms.min(ms(begun));
    }

    // The daemon's start: definitions written as files, as a host would have them.
    host.kill_daemon()?;
    let directory = host.root().join("etc/libvirt/qemu");
    for number in 0..MANY - DEFINES - DEFINES / CLIENTS * CLIENTS {
        let uuid = uuid::Uuid::new_v4();
        let document =
            tiny(&format!("file{number}")).replace("<memory", &format!("<uuid>{uuid}</uuid>\n  <memory"));
        fs::write(directory.join(format!("file{number}.xml")), document)?;
    }
    let begun = Instant::now();
    host.start_daemon()?;
    let all = client(&host).await?.domains(&DomainFilter::default()).await?.len();
    let many_start_ms = ms(begun);
    ensure!(all == MANY, "{all} domains are listed");
    let many_kb = at_rest_kb(&host)?;
    Ok(Ours {
        defines,
        defines_many,
        list_ms,
        start_ms,
        arguments,
        destroy_ms,
        many_start_ms,
        rest_kb,
        many_kb,
    })
}

/// The least that makes a machine.
const NO_DEVICES: [&str; 10] =
    ["-S", "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg", "-m", "64"];

/// What the one guest's QEMU was started with.
fn words_of_the_guest(host: &Host) -> Result<Vec<String>> {
    let guests = fs::read_dir(host.root().join("run/lodge/guests"))?;
    let guest =
        guests.flatten().find(|entry| entry.path().join("vmm.json").exists()).context("no guest runs")?;
    let note: serde_json::Value = serde_json::from_slice(&fs::read(guest.path().join("vmm.json"))?)?;
    let words = fs::read(format!("/proc/{}/cmdline", note.get("pid").context("no pid is noted")?))?;
    let words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    Ok(words.filter(|word| !word.is_empty()).collect())
}

/// The arguments that a shell could give: without the monitor, which comes anew, and the console's log.
fn without_descriptors(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if !matches!(word.as_str(), "-add-fd" | "-mon" | "-chardev") {
            kept.push(word.clone());
            continue;
        }
        let Some(value) = words.next() else { continue };
        if word == "-chardev" && !value.contains("fd=") {
            let plain: Vec<&str> = value.split(',').filter(|part| !part.starts_with("log")).collect();
            kept.extend([word.clone(), plain.join(",")]);
        }
    }
    kept
}

/// Exec of QEMU to the answer to `cont`, with nothing around it; the best of some.
fn bare_start(arguments: &[&str]) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("qmp");
    let mut best = f64::MAX;
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut qemu = Command::new("/usr/bin/qemu-system-x86_64")
            .args(arguments)
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let continued = cont(&socket);
        best = best.min(ms(begun));
        qemu.kill()?;
        qemu.wait()?;
        continued?;
        fs::remove_file(&socket)?;
    }
    Ok(best)
}

fn cont(socket: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(200)),
            Err(error) => return Err(error).context("QEMU does not listen"),
        }
    };
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || lines.next().context("QEMU closed its monitor")?.context("monitor");
    next()?;
    for command in ["qmp_capabilities", "cont"] {
        writeln!(writer, "{{\"execute\":\"{command}\"}}")?;
        while !next()?.contains("\"return\"") {}
    }
    Ok(())
}

#[derive(Debug)]
struct Peer {
    defines: f64,
    list_ms: f64,
    start_ms: f64,
    destroy_ms: f64,
}

/// What is run inside libvirtd's namespaces: the same documents, one Python client.
const PEER: &str = r"
import libvirt, sys, time
connection = None
for _ in range(200):
    try:
        connection = libvirt.open('qemu:///system')
        break
    except libvirt.libvirtError:
        time.sleep(0.1)
document = open(sys.argv[1]).read()
begun = time.monotonic()
for number in range(1000):
    connection.defineXML(document.replace('NAME', 'one%d' % number))
print('defines', 1000 / (time.monotonic() - begun))
def best(count, act):
    least = 1e9
    for _ in range(count):
        begun = time.monotonic()
        act()
        least = min(least, time.monotonic() - begun)
    return least * 1000
print('list', best(20, lambda: [(d.name(), d.state()) for d in connection.listAllDomains()]))
domain = connection.lookupByName('one0')
starts, destroys = [], []
for _ in range(5):
    begun = time.monotonic(); domain.create(); starts.append(time.monotonic() - begun)
    begun = time.monotonic(); domain.destroy(); destroys.append(time.monotonic() - begun)
print('start', min(starts) * 1000)
print('destroy', min(destroys) * 1000)
";

/// libvirtd in a place of its own: private mounts over its directories, its own network namespace.
const HOUSE: &str = r"
set -e
mount -t tmpfs none /run/libvirt 2>/dev/null || { mkdir -p /run/libvirt; mount -t tmpfs none /run/libvirt; }
mount -t tmpfs none /var/lib/libvirt
mount -t tmpfs none /var/log/libvirt
mount -t tmpfs none /var/cache/libvirt
cp -a /etc/libvirt $1/etc; mount --bind $1/etc /etc/libvirt
rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks
printf 'user = \042root\042\ngroup = \042root\042\ncgroup_controllers = []\nsecurity_driver = \042none\042\n' >> /etc/libvirt/qemu.conf
ip link set lo up
virtlogd & logd=$!
libvirtd & daemon=$!
/usr/bin/python3 $1/peer.py $1/document.xml || true
kill $daemon $logd; wait
";

fn libvirtd() -> Result<Peer> {
    let directory = tempfile::Builder::new().prefix("lodge-peer-").tempdir_in("/var/tmp")?;
    let path = directory.path();
    fs::write(path.join("peer.py"), PEER)?;
    fs::write(path.join("document.xml"), tiny("NAME"))?;
    fs::write(path.join("house.sh"), HOUSE)?;
    let peer: Child = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--propagation", "private", "bash"])
        .arg(path.join("house.sh"))
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run `unshare`")?;
    let output = peer.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("libvirtd gave no `{name}`: {text}"))?
            .trim()
            .parse()
            .context("no number")
    };
    Ok(Peer {
        defines: figure("defines")?,
        list_ms: figure("list")?,
        start_ms: figure("start")?,
        destroy_ms: figure("destroy")?,
    })
}

fn per_second(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// What the daemon holds when nobody has asked it anything for a while, as long as it takes it to give back the memory of
/// its start.
fn at_rest_kb(host: &Host) -> Result<f64> {
    std::thread::sleep(AT_REST);
    let status = fs::read_to_string(format!("/proc/{}/status", host.daemon_pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
