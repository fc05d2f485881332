//! What the host is: capabilities, processors, memory, the node's times.
//!
//! Answers come from [`lodge_engine::Host`]; here they get libvirt's shape, flags and error numbers.

mod cpu;
mod memory;
mod system;

pub(crate) use cpu::{
    baseline_cpu, baseline_hypervisor_cpu, capabilities, compare_cpu, compare_hypervisor_cpu,
    domain_capabilities, max_vcpus, model_names,
};
pub(crate) use memory::{
    alloc_pages, cells_free_memory, free_memory, free_pages, memory_parameters, memory_stats,
    set_memory_parameters,
};
pub(crate) use system::{cpu_map, cpu_stats, info, security_model, sev_info, suspend, sysinfo};

use lodge_engine::HostError;
use lodge_engine::host_facts::cpu::CpuError;
use lodge_engine::host_facts::node::NodeError;
use lodge_model::cpu::BadCpu;

use crate::fault::{Code, Fault, Origin, whole};

/// The host's errors in libvirt's numbers.
pub(crate) fn host_fault(error: &HostError) -> Fault {
    let text = whole(error);
    match error {
        HostError::Argument(_) => Fault::new(Code::InvalidArg, Origin::Qemu, text),
        HostError::Config(_) => Fault::new(Code::ConfigUnsupported, Origin::Qemu, text),
        HostError::NoProgram { program, source } => {
            let reason = std::io::Error::from(source.kind());
            let text = match source.kind() {
                std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
                _ => reason.to_string(),
            };
            let text = format!("Cannot check QEMU binary {program}: {text}");
            Fault::system(Origin::Qemu, text, source.raw_os_error().unwrap_or(-1))
        }
        HostError::Probe { .. } => Fault::new(Code::InternalError, Origin::Qemu, text),
        HostError::Description(BadCpu::Xml(_)) => Fault::new(Code::XmlError, Origin::Cpu, text),
        HostError::Description(BadCpu::Unsupported(_)) => {
            Fault::new(Code::ConfigUnsupported, Origin::Cpu, text)
        }
        HostError::Description(BadCpu::Schema(_)) => Fault::new(Code::XmlInvalidSchema, Origin::Xml, text),
        HostError::Cpu(CpuError::NoBaseline(_)) => Fault::new(Code::OperationFailed, Origin::Cpu, text),
        HostError::Cpu(CpuError::Incompatible(_) | CpuError::UnknownHost) => {
            Fault::new(Code::CpuIncompatible, Origin::Cpu, text)
        }
        HostError::Cpu(
            CpuError::UnknownModel(_) | CpuError::UnknownFeature(_) | CpuError::NoModel | CpuError::NoFit,
        ) => Fault::new(Code::InternalError, Origin::Cpu, text),
    }
}

/// The node's errors in libvirt's numbers.
pub(crate) fn node_fault(error: &NodeError) -> Fault {
    let code = match error {
        NodeError::NoSuch(_) | NodeError::Invalid(_) => Code::InvalidArg,
        NodeError::Unsupported(_) => Code::OperationUnsupported,
        NodeError::NoPages(_) => Code::OperationFailed,
        NodeError::File { .. } => Code::SystemError,
    };
    let text = whole(error);
    // One of libvirt's checks that says its words alone.
    if text.starts_with("Invalid cpuNum") {
        return Fault::bare(code, Origin::None, text);
    }
    Fault::new(code, Origin::None, text)
}

/// Work that reads many of the kernel's files, away from the threads that serve connections.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::internal(Origin::Qemu, format!("the host could not be read: {error}")))
}
