//! The node as a machine: shape, times, firmware's words, sleep.

use lodge_wire::remote::{
    ConnectGetSysinfoArgs, ConnectGetSysinfoRet, NodeGetCpuMapArgs, NodeGetCpuMapRet, NodeGetCpuStats,
    NodeGetCpuStatsArgs, NodeGetCpuStatsRet, NodeGetInfoRet, NodeGetSecurityModelRet, NodeGetSevInfoArgs,
    NodeGetSevInfoRet, NodeSuspendForDurationArgs,
};

use super::node_fault;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// Figures of a processor's time.
const FIGURES: i32 = 4;

pub(crate) async fn info(call: &Call, (): ()) -> Result<NodeGetInfoRet, Fault> {
    let summary = call.engine().host_facts(&call.caller()).node().summary();
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut model = [0; 32];
    // The last byte stays zero.
    for (to, from) in model.iter_mut().zip(summary.model.bytes().take(31)) {
        *to = from;
    }
    Ok(NodeGetInfoRet {
        model,
        memory: summary.memory_kib,
        cpus: number(summary.cpus),
        mhz: number(summary.mhz),
        nodes: number(summary.cells),
        sockets: number(summary.sockets),
        cores: number(summary.cores),
        threads: number(summary.threads),
    })
}

pub(crate) async fn cpu_map(call: &Call, args: NodeGetCpuMapArgs) -> Result<NodeGetCpuMapRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let host = call.engine().host_facts(&call.caller());
    let (present, online) = (host.node().present(), host.node().online());
    let count = present.last().map_or(0, |last| last + 1);
    let mut cpumap = vec![0_u8; if args.need_map == 0 { 0 } else { count.div_ceil(8) as usize }];
    for cpu in &online {
        if let Some(byte) = cpumap.get_mut((cpu / 8) as usize) {
            *byte |= 1 << (cpu % 8);
        }
    }
    let online = if args.need_online == 0 { 0 } else { u32::try_from(online.len()).unwrap_or(u32::MAX) };
    Ok(NodeGetCpuMapRet { cpumap, online, ret: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn cpu_stats(call: &Call, args: NodeGetCpuStatsArgs) -> Result<NodeGetCpuStatsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    if args.nparams == 0 {
        return Ok(NodeGetCpuStatsRet { params: Vec::new(), nparams: FIGURES });
    }
    let host = call.engine().host_facts(&call.caller());
    // VIR_NODE_CPU_STATS_ALL_CPUS is -1.
    let times = host.node().cpu_times(u32::try_from(args.cpu_num).ok());
    let times = times.map_err(|error| node_fault(&error))?;
    let figures = [
        ("kernel", times.kernel_ns),
        ("user", times.user_ns),
        ("idle", times.idle_ns),
        ("iowait", times.iowait_ns),
    ];
    let most = usize::try_from(args.nparams).unwrap_or_default();
    let params = figures.into_iter().take(most);
    let params = params.map(|(field, value)| NodeGetCpuStats { field: field.into(), value }).collect();
    Ok(NodeGetCpuStatsRet { params, nparams: 0 })
}

/// No security driver labels guests: the model is `none`, with its final zero as libvirt sends it.
pub(crate) async fn security_model(_: &Call, (): ()) -> Result<NodeGetSecurityModelRet, Fault> {
    Ok(NodeGetSecurityModelRet { model: b"none\0".to_vec(), doi: b"0\0".to_vec() })
}

pub(crate) async fn sev_info(call: &Call, args: NodeGetSevInfoArgs) -> Result<NodeGetSevInfoRet, Fault> {
    /// `VIR_TYPED_PARAM_STRING_OKAY`
    const STRING_OKAY: u32 = 4;
    call.only_flags(args.flags, STRING_OKAY)?;
    Err(Fault::new(Code::OperationUnsupported, Origin::Qemu, "QEMU does not support SEV guest"))
}

pub(crate) async fn sysinfo(call: &Call, args: ConnectGetSysinfoArgs) -> Result<ConnectGetSysinfoRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let told = call.engine().host_facts(&call.caller()).node().firmware_words();
    let told = told.ok_or_else(|| {
        Fault::new(Code::ConfigUnsupported, Origin::Qemu, "Host SMBIOS information is not available")
    })?;
    Ok(ConnectGetSysinfoRet { sysinfo: told.into() })
}

/// Lodge does not put its host to sleep: guests would lose their connections, and another host is to be asked then.
pub(crate) async fn suspend(call: &Call, args: NodeSuspendForDurationArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let how = match args.target {
        0 => "Suspend-to-RAM",
        1 => "Suspend-to-Disk",
        2 => "Hybrid-Suspend",
        _ => return Err(Fault::new(Code::InvalidArg, Origin::None, "Invalid type of host suspend")),
    };
    Err(Fault::new(Code::ArgumentUnsupported, Origin::None, how))
}
