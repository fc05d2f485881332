//! What `launch` costs over a bare QEMU with the same arguments: `cargo test -p lodge-qemu -- --ignored bench`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_qemu::{Stop, launch};
use lodge_sys::cgroup::{Cgroup, Outcome};

use crate::cases::parse;
use crate::documents::RHEL8;
use crate::probe::{QEMU, has_qemu};
use crate::real::{capabilities, spec, with_user_network};

/// The seed's document with what needs no descriptors, so that a bare QEMU can take the same arguments.
fn document() -> String {
    let xml = with_user_network(RHEL8).replace("KiB'>4194304", "KiB'>1048576");
    let (begin, rest) = xml.split_once("<disk").unwrap();
    let (_, end) = rest.split_once("</disk>").unwrap();
    format!("{begin}{end}").replace("<name>rhel8.0", "<name>bench")
}

fn bare(words: &[String], dir: &Path) -> Duration {
    let socket = dir.join("bare.sock");
    let mut args = Vec::new();
    for word in words {
        args.push(match word.split_once(",fd=") {
            Some((begin, _)) if begin.contains("charmonitor") => {
                format!("{begin},path={},server=on,wait=off", socket.display())
            }
            Some((begin, _)) if word.contains("charchannel0") => {
                format!("{begin},path={},server=on,wait=off", dir.join("a.sock").display())
            }
            _ if word.starts_with("pty,id=charserial0") => "pty,id=charserial0".to_owned(),
            _ => word.clone(),
        });
    }
    while let Some(at) = args.iter().position(|word| word == "-add-fd") {
        args.drain(at..at + 2);
    }
    let begun = Instant::now();
    let mut child = std::process::Command::new(QEMU).args(&args).spawn().unwrap();
    let stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |text: &str| {
        (&stream).write_all(text.as_bytes()).unwrap();
        while !lines.next().unwrap().unwrap().contains("\"return\"") {}
    };
    ask("{\"execute\": \"qmp_capabilities\"}\n");
    ask("{\"execute\": \"cont\"}\n");
    let took = begun.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = std::fs::remove_file(&socket);
    took
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure for people, not a check"]
async fn bench_of_launch_and_stop_against_bare_qemu() {
    if !has_qemu() {
        return;
    }
    let known = capabilities().await;
    let domain = parse(&document());
    let (mut bares, mut launches, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let relative = format!("lodge-bench-{}/{round}", std::process::id());
        let mut spec = spec(dir.path(), &domain, &known);
        if let Outcome::Made(cgroup) = Cgroup::create(Path::new(&relative)).unwrap() {
            spec.cgroup = Some(cgroup);
        }
        let cgroup = spec.cgroup.clone();
        let words: Vec<String> = spec.command_line.words().map(str::to_owned).collect();
        let path = dir.path().to_owned();
        bares.push(tokio::task::spawn_blocking(move || bare(&words, &path)).await.unwrap());
        let begun = Instant::now();
        let vmm = launch(spec).await.unwrap();
        vmm.monitor().cont().await.unwrap();
        launches.push(begun.elapsed());
        let begun = Instant::now();
        vmm.stop(Stop::Kill).await.unwrap();
        stops.push(begun.elapsed());
        if let Some(cgroup) = cgroup {
            cgroup.remove().unwrap();
        }
    }
    for figures in [&mut bares, &mut launches, &mut stops] {
        figures.sort_unstable();
    }
    let middle = |figures: &[Duration]| figures[figures.len() / 2];
    println!(
        "bare QEMU to `cont` {:?}, launch to `cont` {:?} ({:.2} ×), stop {:?}",
        middle(&bares),
        middle(&launches),
        middle(&launches).as_secs_f64() / middle(&bares).as_secs_f64(),
        middle(&stops)
    );
}
