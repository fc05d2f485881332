//! Boards that are no usual PC, and other architectures: documents of lodge-model's corpus as libvirt has them.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use lodge_model::domain::Domain;
use lodge_qemu::qmp::Machine;
use lodge_qemu::{Accelerator, Capabilities, Stop, command_line, launch};

use crate::cases::{Fixed, claims, parse};
use crate::real::spec;

/// What a QEMU alone cannot start, and why.
const UNSTARTED: &[(&str, &str)] = &[
    ("-9p", "needs the host's vhost-vsock"),
    ("-fdc", "QEMU refuses it: the board has no floppy"),
    ("-gichost", "QEMU refuses it without KVM"),
    ("-host", "refused: the host's processor is another"),
    ("-smm", "QEMU refuses it: a PC's"),
    ("-efi", "needs the host's firmware"),
    ("-insecure", "needs the host's firmware"),
    ("-kernel", "needs a kernel"),
    ("-tpm", "needs an emulator of TPMs"),
];

fn text(name: &str) -> String {
    let path = format!("{}/../lodge-model/tests/corpus/{name}.out.xml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the documents of a sort.
fn names(prefix: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lodge-model/tests/corpus");
    let files =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        files.filter_map(|name| Some(name.strip_suffix(".out.xml")?.to_owned())).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort();
    names
}

/// A QEMU of Debian's for an architecture, as far as these documents ask.
fn capabilities(arch: &str) -> Capabilities {
    let mut all: Capabilities = serde_json::from_str(include_str!("capabilities.json")).unwrap();
    let machine = |name: &str, alias: Option<&str>, cpu: &str, ram: &str| Machine {
        name: name.to_owned(),
        alias: alias.map(str::to_owned),
        is_default: false,
        cpu_max: 512,
        deprecated: false,
        default_cpu_type: Some(cpu.to_owned()),
        default_ram_id: Some(ram.to_owned()),
        hotpluggable_cpus: false,
    };
    match arch {
        "aarch64" => {
            all.machines = vec![machine("virt-10.0", Some("virt"), "cortex-a15-arm-cpu", "mach-virt.ram")];
        }
        "riscv64" => all.machines = vec![machine("virt", None, "rv64-riscv-cpu", "riscv_virt_board.ram")],
        _ => all.machines.extend([
            machine("isapc", None, "486-x86_64-cpu", "pc.ram"),
            machine("microvm", None, "qemu64-x86_64-cpu", "microvm.ram"),
        ]),
    }
    for name in ["cortex-a15", "rv64", "486"] {
        let mut model = all.cpu_models[0].clone();
        name.clone_into(&mut model.name);
        model.unavailable_features = None;
        all.cpu_models.push(model);
    }
    let drivers = ["virtio-blk-device", "virtio-net-device", "virtio-balloon-device", "floppy", "isa-fdc"];
    all.devices.extend(drivers.map(str::to_owned));
    all.binary = PathBuf::from(format!("/usr/bin/qemu-system-{arch}"));
    all
}

#[test]
fn other_boards_as_arguments() {
    for (arch, name) in [
        ("aarch64", "aarch64-devices"),
        ("aarch64", "aarch64-usb"),
        ("aarch64", "aarch64-smmu"),
        ("riscv64", "riscv64-devices"),
        ("x86_64", "isapc-floppy"),
        ("x86_64", "microvm-mmio"),
    ] {
        let domain = parse(&text(name));
        let claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
        let line =
            command_line(&domain, &capabilities(arch), &claims).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        let file = format!("{}/tests/it/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        expect_file![file].assert_eq(&line.explain());
    }
}

#[test]
fn what_a_board_has_not_is_refused_with_the_element_named() {
    let refused = |arch: &str, name: &str, from: &str, to: &str| {
        let text = text(name);
        assert!(text.contains(from), "{text}");
        let domain = Domain::parse(&text.replacen(from, to, 1)).unwrap();
        let claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
        command_line(&domain, &capabilities(arch), &claims).unwrap_err().to_string()
    };
    let passthrough = refused("aarch64", "aarch64-host", "<domain", "<domain");
    assert!(passthrough.contains("/domain/cpu: CPU mode 'host-passthrough' for aarch64"), "{passthrough}");
    let board = refused("aarch64", "aarch64-bare", "virt-10.0", "raspi3b");
    assert!(board.contains("/domain/os/type: this QEMU (10.0.2) has no machine `raspi3b`"), "{board}");
    let missing = refused("x86_64", "aarch64-bare", "virt-10.0", "virt-10.0");
    assert!(missing.contains("this host has no QEMU for architecture `aarch64`"), "{missing}");
}

async fn start_all(arch: &str, prefix: &str) {
    let binary = PathBuf::from(format!("/usr/bin/qemu-system-{arch}"));
    if !binary.exists() {
        return eprintln!("skipped: there is no {}", binary.display());
    }
    let capabilities = Capabilities::probe(&binary, None).await.unwrap();
    let mut started = 0;
    for name in names(prefix) {
        if UNSTARTED.iter().any(|(part, _)| name.contains(part)) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let domain = parse(&text(&name));
        let spec = spec(dir.path(), &domain, &capabilities);
        let vmm = launch(spec).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(vmm.monitor().status().await.unwrap().status.as_str(), "prelaunch", "{name}");
        vmm.stop(Stop::Kill).await.unwrap();
        started += 1;
    }
    assert!(started > 0, "{prefix}");
    println!("{started} of {prefix}");
}

#[tokio::test]
async fn a_real_qemu_takes_every_document_of_arms() {
    start_all("aarch64", "aarch64-").await;
}

#[tokio::test]
async fn a_real_qemu_takes_every_document_of_32_bit_arms() {
    start_all("arm", "armv7l-").await;
}

#[tokio::test]
async fn a_real_qemu_takes_every_document_of_risc_v() {
    start_all("riscv64", "riscv64-").await;
}

#[tokio::test]
async fn a_real_qemu_takes_every_document_of_other_pcs() {
    start_all("x86_64", "isapc-").await;
    start_all("x86_64", "microvm-").await;
    start_all("i386", "i686-").await;
}
