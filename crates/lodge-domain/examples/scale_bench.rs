//! How many definitions a daemon carries: defines per second, a list, its start, its memory.
//!
//! `cargo run --release -p lodge-domain --example scale_bench [DEFINITIONS]`. Targets for 10,000: start under 1.5 s,
//! at most 20 KB of memory each; a list of 1,000 with states in at most 5 ms.

#[path = "start_bench/nothing.rs"]
mod nothing;

use std::path::Path;
use std::time::{Duration, Instant};

use lodge_domain::{DefineOptions, Domains};
use lodge_qemu::Capabilities;

/// A document of the size that virt-install writes.
fn document(number: u32) -> String {
    let port = |index: u32| {
        let target = format!("<target chassis='{index}' port='0x1{index}'/>");
        format!("<controller type='pci' index='{index}' model='pcie-root-port'>{target}</controller>")
    };
    let ports = (1..8).map(port).collect::<Vec<_>>().concat();
    format!(
        "<domain type='kvm'><name>guest{number:05}</name><title>guest number {number}</title>\
         <memory unit='KiB'>4194304</memory><vcpu placement='static'>2</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/><apic/></features>\
         <cpu mode='host-model' check='partial'/><clock offset='utc'><timer name='rtc' tickpolicy='catchup'/>\
         <timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/></clock><devices>\
         <emulator>{}</emulator><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='/var/lib/libvirt/images/guest{number}.qcow2'/><target dev='vda' bus='virtio'/></disk>\
         <controller type='usb' index='0' model='qemu-xhci' ports='15'/>\
         <controller type='pci' index='0' model='pcie-root'/>{ports}\
         <interface type='network'><source network='default'/><model type='virtio'/></interface>\
         <serial type='pty'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         <graphics type='vnc' autoport='yes'/><video><model type='virtio'/></video>\
         <memballoon model='virtio'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
         </devices></domain>",
        nothing::QEMU
    )
}

/// Resident memory in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a resident size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

async fn define_all(domains: &Domains, from: u32, to: u32, clients: u32) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let domains = domains.clone();
            tokio::spawn(async move {
                for number in (from + client..to).step_by(clients as usize) {
                    domains.define(&document(number), DefineOptions::default()).await.expect("it is defined");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a client ends");
    }
    begun.elapsed()
}

/// A new daemon on `dir`, in a process of its own so that its memory can be told.
async fn reopen(dir: &Path) {
    let capabilities = Capabilities::probe(Path::new(nothing::QEMU), None).await.expect("QEMU answers");
    let before = resident_kib();
    let begun = Instant::now();
    let domains =
        Domains::open(nothing::config(dir, capabilities), nothing::ports()).await.expect("domains open");
    let (took, count) = (begun.elapsed(), domains.list().len());
    println!("start with {count} definitions in {:.3} s", took.as_secs_f64());
    println!("memory {} KiB before, {} KiB more for each", before, (resident_kib() - before) / count as u64);
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let first = words.next();
    if !Path::new(nothing::QEMU).exists() {
        return println!("there is no {}: nothing to measure", nothing::QEMU);
    }
    if first.as_deref() == Some("--reopen") {
        return reopen(Path::new(&words.next().expect("a directory"))).await;
    }
    let wanted: u32 = first.and_then(|number| number.parse().ok()).unwrap_or(10_000);
    let dir = tempfile::Builder::new().prefix("lodge-bench-").tempdir().expect("a directory");
    let capabilities = Capabilities::probe(Path::new(nothing::QEMU), None).await.expect("QEMU answers");
    let config = nothing::config(dir.path(), capabilities);
    let domains = Domains::open(config, nothing::ports()).await.expect("domains open");
    let one = define_all(&domains, 0, 1000, 1).await;
    println!("1 client   {:8.0} defines/s", 1000.0 / one.as_secs_f64());
    let begun = Instant::now();
    let listed = domains.list().len();
    println!("list of {listed} in {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
    let eight = define_all(&domains, 1000, wanted, 8).await;
    println!("8 clients  {:8.0} defines/s", f64::from(wanted.saturating_sub(1000)) / eight.as_secs_f64());
    domains.close(Duration::from_secs(5)).await;
    let program = std::env::current_exe().expect("this program's path");
    let again = std::process::Command::new(program).arg("--reopen").arg(dir.path()).status();
    assert!(again.expect("it starts again").success());
}
