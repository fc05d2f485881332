//! Capabilities and processors.

use lodge_engine::host_facts::GuestSort;
use lodge_engine::host_facts::cpu::Comparison;
use lodge_wire::Text;
use lodge_wire::remote::{
    ConnectBaselineCpuArgs, ConnectBaselineCpuRet, ConnectBaselineHypervisorCpuArgs,
    ConnectBaselineHypervisorCpuRet, ConnectCompareCpuArgs, ConnectCompareCpuRet,
    ConnectCompareHypervisorCpuArgs, ConnectCompareHypervisorCpuRet, ConnectGetCapabilitiesRet,
    ConnectGetCpuModelNamesArgs, ConnectGetCpuModelNamesRet, ConnectGetDomainCapabilitiesArgs,
    ConnectGetDomainCapabilitiesRet, ConnectGetMaxVcpusArgs, ConnectGetMaxVcpusRet,
};

use super::{aside, host_fault};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE`
const FAIL_INCOMPATIBLE: u32 = 1;
/// `VIR_CONNECT_COMPARE_CPU_VALIDATE_XML`
const VALIDATE_XML: u32 = 2;
/// `VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES`
const EXPAND_FEATURES: u32 = 1;
/// `VIR_CONNECT_BASELINE_CPU_MIGRATABLE`
const MIGRATABLE: u32 = 2;
/// `VIR_CONNECT_GET_DOMAIN_CAPABILITIES_DISABLE_DEPRECATED_FEATURES`
const NO_DEPRECATED: u32 = 1;

pub(crate) async fn capabilities(call: &Call, (): ()) -> Result<ConnectGetCapabilitiesRet, Fault> {
    let host = call.engine().host_facts(&call.caller());
    let capabilities = aside(move || host.capabilities()).await?;
    Ok(ConnectGetCapabilitiesRet { capabilities: capabilities.into() })
}

/// An argument that may be left out, as text.
fn told(text: Option<&Text>) -> Option<String> {
    text.map(|text| text.to_string_lossy().into_owned())
}

/// A sort of guest as a client says it.
struct Sort {
    emulator: Option<String>,
    arch: Option<String>,
    machine: Option<String>,
    virt_type: Option<String>,
}

impl Sort {
    fn of([emulator, arch, machine, virt_type]: [Option<&Text>; 4]) -> Self {
        Self {
            emulator: told(emulator),
            arch: told(arch),
            machine: told(machine),
            virt_type: told(virt_type),
        }
    }

    fn asked(&self) -> GuestSort<'_> {
        GuestSort {
            emulator: self.emulator.as_deref(),
            arch: self.arch.as_deref(),
            machine: self.machine.as_deref(),
            virt_type: self.virt_type.as_deref(),
        }
    }
}

pub(crate) async fn domain_capabilities(
    call: &Call,
    args: ConnectGetDomainCapabilitiesArgs,
) -> Result<ConnectGetDomainCapabilitiesRet, Fault> {
    // No model of this processor's family has features that are to be left out.
    call.only_flags(args.flags, NO_DEPRECATED)?;
    let sort = Sort::of([
        args.emulatorbin.as_ref(),
        args.arch.as_ref(),
        args.machine.as_ref(),
        args.virttype.as_ref(),
    ]);
    let host = call.engine().host_facts(&call.caller());
    let text = host.domain_capabilities(&sort.asked()).await.map_err(|error| host_fault(&error))?;
    Ok(ConnectGetDomainCapabilitiesRet { capabilities: text.into() })
}

pub(crate) async fn max_vcpus(
    call: &Call,
    args: ConnectGetMaxVcpusArgs,
) -> Result<ConnectGetMaxVcpusRet, Fault> {
    let kind = told(args.r#type.as_ref());
    let host = call.engine().host_facts(&call.caller());
    let most = host.vcpus_max_of(kind.as_deref()).map_err(|error| host_fault(&error))?;
    Ok(ConnectGetMaxVcpusRet { max_vcpus: i32::try_from(most).unwrap_or(i32::MAX) })
}

pub(crate) async fn model_names(
    call: &Call,
    args: ConnectGetCpuModelNamesArgs,
) -> Result<ConnectGetCpuModelNamesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let arch = args.arch.to_string_lossy().into_owned();
    let host = call.engine().host_facts(&call.caller());
    let names = host.model_names(&arch).map_err(|error| match error {
        lodge_engine::HostError::Config(text) => Fault::new(Code::NoSupport, Origin::Cpu, text),
        other => host_fault(&other),
    })?;
    let ret = i32::try_from(names.len()).unwrap_or(i32::MAX);
    let models =
        if args.need_results == 0 { Vec::new() } else { names.into_iter().map(Text::from).collect() };
    Ok(ConnectGetCpuModelNamesRet { models, ret })
}

/// `virCPUCompareResult`
fn number(comparison: Comparison) -> i32 {
    match comparison {
        Comparison::Incompatible => 0,
        Comparison::Identical => 1,
        Comparison::Superset => 2,
    }
}

/// Checks a description against what a `<cpu>` can have, where the client wants that.
fn validated(xml: &Text, flags: u32) -> Result<String, Fault> {
    let xml = text(xml)?;
    if flags & VALIDATE_XML != 0 {
        lodge_model::cpu::CpuDescription::validate(&xml).map_err(|error| host_fault(&error.into()))?;
    }
    Ok(xml)
}

fn text(xml: &Text) -> Result<String, Fault> {
    let text =
        xml.to_str().map_err(|_| Fault::new(Code::XmlError, Origin::Cpu, "the document is no UTF-8"))?;
    Ok(text.to_owned())
}

pub(crate) async fn compare_cpu(
    call: &Call,
    args: ConnectCompareCpuArgs,
) -> Result<ConnectCompareCpuRet, Fault> {
    call.only_flags(args.flags, FAIL_INCOMPATIBLE | VALIDATE_XML)?;
    let xml = validated(&args.xml, args.flags)?;
    let host = call.engine().host_facts(&call.caller());
    let strictly = args.flags & FAIL_INCOMPATIBLE != 0;
    let result = aside(move || host.compare_cpu(&xml, strictly)).await?;
    Ok(ConnectCompareCpuRet { result: number(result.map_err(|error| host_fault(&error))?) })
}

pub(crate) async fn compare_hypervisor_cpu(
    call: &Call,
    args: ConnectCompareHypervisorCpuArgs,
) -> Result<ConnectCompareHypervisorCpuRet, Fault> {
    call.only_flags(args.flags, FAIL_INCOMPATIBLE | VALIDATE_XML)?;
    let xml = validated(&args.xml_cpu, args.flags)?;
    let sort =
        Sort::of([args.emulator.as_ref(), args.arch.as_ref(), args.machine.as_ref(), args.virttype.as_ref()]);
    let host = call.engine().host_facts(&call.caller());
    let strictly = args.flags & FAIL_INCOMPATIBLE != 0;
    let result = host.compare_guest_cpu(&sort.asked(), &xml, strictly).await;
    Ok(ConnectCompareHypervisorCpuRet { result: number(result.map_err(|error| host_fault(&error))?) })
}

fn texts(xmls: &[Text]) -> Result<Vec<String>, Fault> {
    xmls.iter().map(text).collect()
}

pub(crate) async fn baseline_cpu(
    call: &Call,
    args: ConnectBaselineCpuArgs,
) -> Result<ConnectBaselineCpuRet, Fault> {
    call.only_flags(args.flags, EXPAND_FEATURES | MIGRATABLE)?;
    let (expand, migratable) = (args.flags & EXPAND_FEATURES != 0, args.flags & MIGRATABLE != 0);
    let host = call.engine().host_facts(&call.caller());
    let cpu = host.baseline_cpu(&texts(&args.xml_cp_us)?, expand, migratable);
    Ok(ConnectBaselineCpuRet { cpu: cpu.map_err(|error| host_fault(&error))?.into() })
}

pub(crate) async fn baseline_hypervisor_cpu(
    call: &Call,
    args: ConnectBaselineHypervisorCpuArgs,
) -> Result<ConnectBaselineHypervisorCpuRet, Fault> {
    call.only_flags(args.flags, EXPAND_FEATURES | MIGRATABLE)?;
    let (expand, migratable) = (args.flags & EXPAND_FEATURES != 0, args.flags & MIGRATABLE != 0);
    let sort =
        Sort::of([args.emulator.as_ref(), args.arch.as_ref(), args.machine.as_ref(), args.virttype.as_ref()]);
    let host = call.engine().host_facts(&call.caller());
    let cpus = texts(&args.xml_cp_us)?;
    let cpu = host.baseline_guest_cpu(&sort.asked(), &cpus, expand, migratable).await;
    Ok(ConnectBaselineHypervisorCpuRet { cpu: cpu.map_err(|error| host_fault(&error))?.into() })
}
