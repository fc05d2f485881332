//! How long it takes to plug a guest in and out, alone on its bridge and beside many, beside the bare floor: `ip` making
//! a tap and putting it on a bridge, and removing it.
//!
//! ```text
//! cargo run --release -p lodge-network --example plug_bench -- [PORTS]
//! ```
//!
//! Needs root, `ip` and `nft`; all happens in a network namespace of its own. A plug is a tap, its place on the bridge,
//! its guest's names in the DNS, and the rules that keep other guests from using its address. PORTS (1,000; a bridge of
//! Linux's takes 1,024 at most) are plugged in on one network. Figures are medians.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lodge_model::{DomainId, MacAddr};
use lodge_network::{
    AttachRequest, Attached, CardOptions, NetdProgram, NetworkFilters, Networks, NetworksConfig,
};
use rustix::thread::UnshareFlags;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many plugs a figure is the median of.
const SAMPLE: usize = 20;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "netd") {
        return lodge_network::netd::run(args.split_off(1));
    }
    match measure(args.first().map(String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plug_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(deprecated, reason = "NEWNET takes nothing away that other threads rely on")]
fn new_network_namespace() -> Outcome<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNET)?)
}

fn measure(ports: Option<&str>) -> Outcome<()> {
    let ports: usize = ports.unwrap_or("1000").parse().map_err(|_| "PORTS is a number")?;
    if !(SAMPLE..=1_000).contains(&ports) {
        return Err(format!("PORTS is {SAMPLE} to 1000").into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("needs root: it makes a network namespace".into());
    }
    new_network_namespace()?;
    ip("link set lo up")?;
    let dir = tempfile::tempdir()?;
    let root = lodge_store::Root::at(dir.path())?;
    root.prepare()?;
    let program = NetdProgram { program: std::env::current_exe()?, args: vec!["netd".into()] };
    // The namespace is this thread's: everything stays on it.
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
        let measured = beside_many(&networks, ports).await;
        networks.stop(network.id).await?;
        measured
    })
}

async fn beside_many(networks: &Networks, ports: usize) -> Outcome<()> {
    let (mut plugs, mut plugged) = (Vec::new(), Vec::new());
    for number in 0..ports {
        let begun = Instant::now();
        plugged.push(networks.attach(request(number)).await?);
        plugs.push(begun.elapsed());
    }
    let floor = floor()?;
    let mut unplugs = Vec::new();
    for Attached { ifname, taps, .. } in plugged.into_iter().rev() {
        let begun = Instant::now();
        networks.detach(&ifname).await?;
        unplugs.push(begun.elapsed());
        drop(taps);
    }
    unplugs.reverse();
    println!("{:24} {:>9} {:>9}", "", "plug", "unplug");
    let line = |what: String, plug: Duration, unplug: Duration| {
        println!("{what:24} {:>6.2} ms {:>6.2} ms", plug.as_secs_f64() * 1e3, unplug.as_secs_f64() * 1e3);
    };
    let sample = |times: &[Duration], end: usize| median(times[end - SAMPLE..end].to_vec());
    line("`ip`, on a bare bridge".to_owned(), floor.0, floor.1);
    for end in [SAMPLE, 100, ports].into_iter().filter(|end| *end <= ports) {
        let (plug, unplug) = (sample(&plugs, end), sample(&unplugs, end));
        line(format!("beside {} others", end - 1), plug, unplug);
        let ratio = |ours: Duration, floor: Duration| ours.div_duration_f64(floor);
        println!("{:24} {:>8.2}× {:>8.2}×", "", ratio(plug, floor.0), ratio(unplug, floor.1));
    }
    Ok(())
}

fn request(number: usize) -> AttachRequest {
    let [.., high, low] = number.to_be_bytes();
    AttachRequest {
        network: "bench".into(),
        domain: DomainId::random(),
        domain_name: format!("guest{number}"),
        hostnames: Vec::new(),
        mac: MacAddr([0x52, 0x54, 0, 0x10, high, low]),
        target: None,
        mtu: None,
        queues: 1,
        isolated: None,
        options: CardOptions::default(),
    }
}

/// What a person would type.
fn floor() -> Outcome<(Duration, Duration)> {
    ip("link add bare0 type bridge")?;
    let (mut plugs, mut unplugs) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLE {
        let begun = Instant::now();
        ip("tuntap add dev bare1 mode tap")?;
        ip("link set dev bare1 master bare0 up")?;
        plugs.push(begun.elapsed());
        let begun = Instant::now();
        ip("link del bare1")?;
        unplugs.push(begun.elapsed());
    }
    ip("link del bare0")?;
    Ok((median(plugs), median(unplugs)))
}

fn ip(words: &str) -> Outcome<()> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    if !output.status.success() {
        return Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
