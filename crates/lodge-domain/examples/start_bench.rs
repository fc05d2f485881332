//! How long a guest takes to start and to be destroyed, beside bare QEMU in the same run.
//!
//! `cargo run --release -p lodge-domain --example start_bench [ROUNDS]`. Bare QEMU is exec to the answer of QMP's
//! `cont`, with the very command line that Lodge uses as far as a shell could write it. The two take turns, so that a
//! busy machine slows both. Figures are medians.

#[path = "start_bench/nothing.rs"]
mod nothing;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_domain::{DefineOptions, DestroyOptions, Domains, StartOptions, Ticket};
use lodge_qemu::Capabilities;
use nothing::QEMU;

fn document() -> String {
    format!(
        "<domain type='qemu'><name>bench</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>\
         <devices><emulator>{QEMU}</emulator><controller type='usb' model='none'/><serial type='pty'/>\
         <memballoon model='virtio'/></devices></domain>"
    )
}

/// Exec to the answer of `cont`.
fn bare(dir: &Path) -> Duration {
    let socket = dir.join("bare.sock");
    let _ = std::fs::remove_file(&socket);
    let begun = Instant::now();
    let mut qemu = std::process::Command::new(QEMU)
        .args(["-name", "guest=bare,debug-threads=on", "-S", "-accel", "tcg,thread=multi"])
        .args([
            "-machine",
            "q35,usb=off,dump-guest-core=off,memory-backend=pc.ram",
            "-cpu",
            "qemu64",
            "-m",
            "128",
        ])
        .args(["-object", "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":134217728}"])
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-no-shutdown", "-boot", "strict=on"])
        .args(["-chardev", "pty,id=charserial0", "-device", "isa-serial,chardev=charserial0,id=serial0"])
        .args(["-device", "virtio-balloon-pci,id=balloon0"])
        .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("QEMU starts");
    let stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    let mut stream = stream;
    lines.next().expect("a greeting").expect("a greeting");
    for command in ["{\"execute\":\"qmp_capabilities\"}\n", "{\"execute\":\"cont\"}\n"] {
        stream.write_all(command.as_bytes()).expect("a command goes");
        while !lines.next().expect("an answer").expect("an answer").contains("\"return\"") {}
    }
    let took = begun.elapsed();
    qemu.kill().expect("it ends");
    qemu.wait().expect("it ended");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::main]
async fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    if !Path::new(QEMU).exists() {
        return println!("there is no {QEMU}: nothing to measure");
    }
    let dir = tempfile::Builder::new().prefix("lodge-bench-").tempdir().expect("a directory");
    let capabilities = Capabilities::probe(Path::new(QEMU), None).await.expect("QEMU answers");
    let domains = Domains::open(nothing::config(dir.path(), capabilities), nothing::ports())
        .await
        .expect("domains open");
    let guest = domains.define(&document(), DefineOptions::default()).await.expect("it is defined");
    let (mut starts, mut destroys, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let at = dir.path().to_owned();
        bares.push(tokio::task::spawn_blocking(move || bare(&at)).await.expect("bare QEMU ran"));
        let begun = Instant::now();
        guest.start(StartOptions::default(), Ticket::default()).await.expect("it starts");
        starts.push(begun.elapsed());
        let begun = Instant::now();
        guest.destroy(DestroyOptions::default()).await.expect("it ends");
        destroys.push(begun.elapsed());
    }
    domains.close(Duration::from_secs(5)).await;
    let (start, destroy, bare) = (median(starts), median(destroys), median(bares));
    println!("{rounds} rounds, medians");
    println!("bare QEMU, exec to cont   {:7.1} ms", bare.as_secs_f64() * 1e3);
    println!(
        "start, to running         {:7.1} ms   {:.2} x bare (at most 1.50)",
        start.as_secs_f64() * 1e3,
        start.div_duration_f64(bare)
    );
    println!("destroy, to shut off      {:7.1} ms   (at most 100)", destroy.as_secs_f64() * 1e3);
}
