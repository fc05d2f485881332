//! What a QEMU can do: asked for the first time, and remembered; beside `qemu -version` and, with `--peers`, beside the
//! first `virsh domcapabilities` of a libvirtd that remembers nothing.
//!
//! `cargo xtask bench capabilities [--peers]`. Prints figures and ratios; judges nothing. libvirtd runs in mount, network
//! and process namespaces of its own and is gone afterwards.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lodge_qemu::{Accelerator, Capabilities, Processor};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const ROUNDS: usize = 15;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let floor = median((0..ROUNDS).map(|_| version()).collect::<Outcome<_>>()?);
    let kept = tempfile::tempdir()?;
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        Capabilities::probe(Path::new(QEMU), None).await?;
        asked.push(begun.elapsed());
    }
    let asked = median(asked);
    Capabilities::probe(Path::new(QEMU), Some(kept.path())).await?;
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        Capabilities::probe(Path::new(QEMU), Some(kept.path())).await?;
        Processor::probe(Path::new(QEMU), Accelerator::Tcg, Some(kept.path())).await?;
        known.push(begun.elapsed());
    }
    let known = median(known);
    row("qemu -version", floor, floor);
    row("asked for the first time", asked, floor);
    row("remembered", known, floor);
    if std::env::args().any(|arg| arg == "--peers") {
        let [theirs, again] = libvirtd()?;
        row("libvirtd's first domcapabilities", theirs, floor);
        row("libvirtd's second", again, floor);
        println!("libvirtd's first to Lodge's first: {:.1} ×", theirs.as_secs_f64() / asked.as_secs_f64());
    }
    Ok(())
}

fn row(what: &str, time: Duration, floor: Duration) {
    let ms = time.as_secs_f64() * 1000.0;
    println!("{what:34} {ms:>9.1} ms {:>8.2} × the floor", time.as_secs_f64() / floor.as_secs_f64());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn version() -> Outcome<Duration> {
    let begun = Instant::now();
    let done = Command::new(QEMU).arg("-version").stdout(Stdio::null()).status()?;
    if done.success() { Ok(begun.elapsed()) } else { Err("QEMU does not run".into()) }
}

/// Three daemons one after the other, each with an empty cache; the clock runs around the client, whose own start
/// (`virsh hostname`) is taken off.
const HOUSE: &str = r#"
set -e
mkdir -p /run/libvirt
for d in /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do mount -t tmpfs none $d; done
cp -a /etc/libvirt /run/libvirt/etc; mount --bind /run/libvirt/etc /etc/libvirt
rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks
printf 'cgroup_controllers = []\nsecurity_driver = "none"\n' >> /etc/libvirt/qemu.conf
ip link set lo up
took() { local begun=$(date +%s%N); "$@" > /dev/null; echo $(($(date +%s%N) - begun)); }
for round in 1 2 3; do
    rm -rf /var/cache/libvirt/*
    libvirtd > /dev/null 2>&1 & daemon=$!
    for try in $(seq 200); do virsh -q hostname > /dev/null 2>&1 && break; sleep 0.1; done
    client=$(took virsh -q hostname)
    first=$(took virsh -q domcapabilities --virttype qemu --machine q35)
    second=$(took virsh -q domcapabilities --virttype qemu --machine q35)
    echo "$((first - client)) $((second - client))"
    kill $daemon; wait $daemon || true
done
"#;

/// The median of its first answers, and of its second ones.
fn libvirtd() -> Outcome<[Duration; 2]> {
    let done = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["--propagation", "private", "bash", "-c", HOUSE])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut columns = [Vec::new(), Vec::new()];
    for line in text.lines() {
        for (column, word) in columns.iter_mut().zip(line.split(' ')) {
            column.push(Duration::from_nanos(word.parse::<i64>()?.try_into().unwrap_or_default()));
        }
    }
    if columns.iter().any(Vec::is_empty) {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("libvirtd answered nothing: {said}").into());
    }
    Ok(columns.map(median))
}
