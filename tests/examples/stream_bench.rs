//! How fast a volume's bytes come and go by the command line, and by virsh where there is one, beside `cp` in the same
//! run.
//!
//! `cargo xtask bench images`. Every copy ends with its bytes on disk: an upload always does, after a download and
//! after `cp` the file is fsynced. Rounds alternate; the best of each counts, since a disk that others write to, or
//! blocks that it never had before, only add. `LODGE_BENCH_MIB` is how much is moved. What the client itself worked is
//! shown, too: beneath that no daemon comes.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, host::lodge_program};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

const MIB: usize = 1 << 20;
const DISK_MIB: usize = 1024;
const ROUNDS: usize = 7;
const POOL: &str = "streams";
const VOLUME: &str = "streamed.img";

fn main() -> Result<()> {
    let mib = match std::env::var("LODGE_BENCH_MIB") {
        Ok(text) => text.parse().with_context(|| format!("LODGE_BENCH_MIB is no number: {text}"))?,
        Err(_) => DISK_MIB,
    };
    let host = Host::start()?;
    let source = host.root().join("source.img");
    fill(&source, mib)?;
    let ours = lodge(&host)?;
    fs::create_dir(pool(&host))?;
    run(&ours, &["pool-define-as", POOL, "dir", "--target", &text(&pool(&host))])?;
    run(&ours, &["pool-start", POOL])?;
    let mut ways = vec![("lodge", ours)];
    match virsh(&host) {
        Some(virsh) => ways.push(("virsh", virsh)),
        None => println!("virsh is not here, and left out"),
    }
    for (name, way) in ways {
        upload(&host, name, &way, &source, mib)?;
        download(&host, name, &way, &source)?;
    }
    Ok(())
}

fn pool(host: &Host) -> PathBuf {
    host.root().join(POOL)
}

/// The words that begin a command of one client.
type Way = Vec<String>;

fn lodge(host: &Host) -> Result<Way> {
    Ok(vec![text(&lodge_program()?), "--connect".to_owned(), text(&host.socket())])
}

fn virsh(host: &Host) -> Option<Way> {
    let socket = host.root().join("run/libvirt/libvirt-sock");
    let url = format!("qemu:///system?socket={}", socket.display());
    let way: Way = ["virsh".to_owned(), "-q".to_owned(), "-c".to_owned(), url].into();
    run(&way, &["uri"]).is_ok().then_some(way)
}

/// Nothing of it compresses, and nothing is a hole.
fn fill(path: &Path, mib: usize) -> Result<()> {
    let file = File::create(path)?;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = vec![0_u8; MIB];
    for number in 0..mib {
        for word in block.chunks_exact_mut(8) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            word.copy_from_slice(&seed.to_le_bytes());
        }
        file.write_all_at(&block, (number * MIB) as u64)?;
    }
    Ok(file.sync_all()?)
}

fn upload(host: &Host, name: &str, way: &Way, source: &Path, mib: usize) -> Result<()> {
    let volume = pool(host).join(VOLUME);
    let copy = host.root().join("copy.img");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let size = format!("{mib}MiB");
        run(way, &["vol-create-as", POOL, VOLUME, &size, "--format", "raw", "--allocation", "0"])?;
        ours.push(timed(|| run(way, &["vol-upload", VOLUME, &text(source), "--pool", POOL]))?);
        same(&volume, source)?;
        run(way, &["vol-delete", VOLUME, "--pool", POOL])?;
        theirs.push(timed(|| copied(source, &copy))?);
        fs::remove_file(&copy)?;
    }
    told(&format!("{name} vol-upload"), ours, theirs);
    Ok(())
}

fn download(host: &Host, name: &str, way: &Way, source: &Path) -> Result<()> {
    let volume = pool(host).join(VOLUME);
    copied(source, &volume)?;
    run(way, &["pool-refresh", POOL])?;
    let copy = host.root().join("copy.img");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(|| {
            run(way, &["vol-download", VOLUME, &text(&copy), "--pool", POOL])?;
            Ok(File::open(&copy)?.sync_all()?)
        })?);
        same(&copy, source)?;
        fs::remove_file(&copy)?;
        theirs.push(timed(|| copied(&volume, &copy))?);
        fs::remove_file(&copy)?;
    }
    run(way, &["vol-delete", VOLUME, "--pool", POOL])?;
    told(&format!("{name} vol-download"), ours, theirs);
    Ok(())
}

/// What everybody would do without either: a copy by `cp`, on disk.
fn copied(from: &Path, to: &Path) -> Result<()> {
    run(&vec!["cp".to_owned(), "--reflink=never".to_owned()], &[&text(from), &text(to)])?;
    Ok(File::open(to)?.sync_all()?)
}

fn same(one: &Path, other: &Path) -> Result<()> {
    run(&vec!["cmp".to_owned()], &[&text(one), &text(other)])
}

/// How long it took, and for how long programs run for it had a processor.
fn timed(act: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    // What others left to be written is not ours to wait for.
    rustix::fs::sync();
    let (begun, before) = (Instant::now(), worked()?);
    act()?;
    Ok((begun.elapsed(), worked()?.saturating_sub(before)))
}

/// What all programs that were run and have ended took of the processors.
fn worked() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

fn told(what: &str, ours: Vec<(Duration, Duration)>, theirs: Vec<(Duration, Duration)>) {
    let (ours, worked): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
    let (ours, worked) = (best(ours), best(worked));
    let theirs = best(theirs.into_iter().map(|(time, _)| time).collect());
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{what:22} {:8.1} ms   cp+fsync {:8.1} ms   {ratio:6.2} x  (at least 0.9 x)   the client worked {:.1} ms",
        ms(ours),
        ms(theirs),
        ms(worked)
    );
}

fn best(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap_or_default()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(way: &Way, args: &[&str]) -> Result<()> {
    let (program, first) = way.split_first().context("no command")?;
    let output = Command::new(program).args(first).args(args).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
