//! Prints what this host tells of itself: `capabilities`, or with a machine's name `domcapabilities` (`--kvm`: of KVM).

use std::path::Path;

use lodge_host::{DomainDocument, HostDocument, cpu, node::Node};
use lodge_qemu::{Accelerator, Capabilities, Processor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let kvm = args.iter().any(|arg| arg == "--kvm");
    let qemu = Capabilities::probe(Path::new("/usr/bin/qemu-system-x86_64"), None).await?;
    let cpu = cpu::host_cpu();
    let Some(machine) = args.iter().find(|arg| !arg.starts_with("--")) else {
        let node = Node::default();
        let document =
            HostDocument { uuid: uuid::Uuid::nil(), cpu: &cpu, node: &node, qemu: &qemu, others: &[], kvm };
        print!("{}", document.to_xml());
        return Ok(());
    };
    let machine = qemu.machine(machine).ok_or("no such machine")?;
    let accelerator = if kvm { Accelerator::Kvm } else { Accelerator::Tcg };
    let processor = Processor::probe(&qemu.binary, accelerator, None).await?;
    let document = DomainDocument {
        qemu: &qemu,
        processor: &processor,
        machine: &machine.name,
        kvm,
        vcpus_max: machine.cpu_max,
        address_bits: cpu.address_bits,
        swtpm: false,
        vfio: false,
        launch_security: Vec::new(),
    };
    print!("{}", document.to_xml());
    Ok(())
}
