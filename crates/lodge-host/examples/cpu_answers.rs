//! Answers to `<cpu>` documents in files: `baseline FILE…` or `compare FILE`, as `virsh cpu-baseline` and `cpu-compare`.

use lodge_host::cpu::{Ground, baseline, compare, host_cpu};
use lodge_model::cpu::{CpuDescription, CpuKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (verb, files) = args.split_first().ok_or("baseline or compare?")?;
    let read = |kind| -> Result<Vec<CpuDescription>, Box<dyn std::error::Error>> {
        files.iter().map(|file| Ok(CpuDescription::parse(&std::fs::read_to_string(file)?, kind)?)).collect()
    };
    if verb == "baseline" {
        match baseline(&read(CpuKind::Host)?, &Ground::default()) {
            Ok(cpu) => print!("{}", cpu.to_guest_xml()),
            Err(error) => println!("error: {error}"),
        }
        return Ok(());
    }
    let host = host_cpu().description.ok_or("no model fits this host")?;
    for cpu in read(CpuKind::Unsaid)? {
        println!("{:?}", compare(&host, &cpu));
    }
    Ok(())
}
