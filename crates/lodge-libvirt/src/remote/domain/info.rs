//! What a domain is and how it is: figures of one question each.

use lodge_engine::{Figure, Peek, Source, Value};
use lodge_wire::remote::{
    DomainBlockPeekArgs, DomainBlockPeekRet, DomainBlockStatsArgs, DomainBlockStatsFlagsArgs,
    DomainBlockStatsFlagsRet, DomainBlockStatsRet, DomainDiskError, DomainGetBlockInfoArgs,
    DomainGetBlockInfoRet, DomainGetControlInfoArgs, DomainGetControlInfoRet, DomainGetCpuStatsArgs,
    DomainGetCpuStatsRet, DomainGetDiskErrorsArgs, DomainGetDiskErrorsRet, DomainGetHostnameArgs,
    DomainGetHostnameRet, DomainGetInfoArgs, DomainGetInfoRet, DomainGetSecurityLabelArgs,
    DomainGetSecurityLabelListArgs, DomainGetSecurityLabelListRet, DomainGetSecurityLabelRet,
    DomainInterface, DomainInterfaceAddressesArgs, DomainInterfaceAddressesRet, DomainInterfaceStatsArgs,
    DomainInterfaceStatsRet, DomainIpAddr, DomainMemoryPeekArgs, DomainMemoryPeekRet, DomainMemoryStat,
    DomainMemoryStatsArgs, DomainMemoryStatsRet,
};

use super::params::{STRINGS, guest, signed, to_wire, two_step};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

pub(crate) async fn get_info(call: &Call, args: DomainGetInfoArgs) -> Result<DomainGetInfoRet, Fault> {
    let guest = guest(call, &args.dom)?;
    let snapshot = guest.snapshot();
    let digest = guest.digest()?;
    let active = snapshot.is_active();
    Ok(DomainGetInfoRet {
        state: u8::try_from(snapshot.state.virt().0.number()).unwrap_or(0),
        max_mem: digest.memory_max_kib,
        memory: if active { guest.memory_kib().await? } else { digest.memory_kib },
        nr_virt_cpu: u16::try_from(digest.vcpus).unwrap_or(u16::MAX),
        // One whose QEMU ended this moment has none, as one that is off: who follows a shutdown is not told of an error.
        cpu_time: if active { guest.cpu_times().map_or(0, |times| times.total_ns) } else { 0 },
    })
}

pub(crate) async fn get_control_info(
    call: &Call,
    args: DomainGetControlInfoArgs,
) -> Result<DomainGetControlInfoRet, Fault> {
    /// `VIR_DOMAIN_CONTROL_OK`, `VIR_DOMAIN_CONTROL_OCCUPIED`
    const OK: u32 = 0;
    const OCCUPIED: u32 = 2;
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    let silent = guest.snapshot().silent_for();
    let state_time = silent.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Ok(DomainGetControlInfoRet {
        state: if silent.is_some() { OCCUPIED } else { OK },
        details: 0,
        state_time,
    })
}

/// The host has no security driver: a label is empty, its end included.
fn no_label() -> DomainGetSecurityLabelRet {
    DomainGetSecurityLabelRet { label: vec![0], enforcing: 0 }
}

pub(crate) async fn get_security_label(
    call: &Call,
    args: DomainGetSecurityLabelArgs,
) -> Result<DomainGetSecurityLabelRet, Fault> {
    guest(call, &args.dom)?;
    Ok(no_label())
}

pub(crate) async fn get_security_label_list(
    call: &Call,
    args: DomainGetSecurityLabelListArgs,
) -> Result<DomainGetSecurityLabelListRet, Fault> {
    let guest = guest(call, &args.dom)?;
    let mut labels: Vec<_> = guest.snapshot().is_active().then(no_label).into_iter().collect();
    if !labels.is_empty() {
        // Of libvirt's two drivers the first does nothing, and the second knows users.
        let document = guest.document()?;
        let label = document.seclabels.into_iter().find(|label| label.model.as_deref() == Some("dac"));
        labels.extend(label.map(|label| DomainGetSecurityLabelRet {
            label: label.label.unwrap_or_default().bytes().chain([0]).collect(),
            enforcing: 0,
        }));
    }
    Ok(DomainGetSecurityLabelListRet { ret: i32::try_from(labels.len()).unwrap_or(i32::MAX), labels })
}

pub(crate) async fn get_cpu_stats(
    call: &Call,
    args: DomainGetCpuStatsArgs,
) -> Result<DomainGetCpuStatsRet, Fault> {
    call.only_flags(args.flags, STRINGS)?;
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    if args.start_cpu == -1 {
        let times = guest.cpu_times()?;
        let figures = vec![
            Figure::new("cpu_time", Value::Ulong(times.total_ns)),
            Figure::new("user_time", Value::Ulong(times.user_ns)),
            Figure::new("system_time", Value::Ulong(times.system_ns)),
        ];
        let count = i32::try_from(figures.len()).unwrap_or(0);
        let room = usize::try_from(args.nparams).unwrap_or(0);
        let params = to_wire(figures, false).into_iter().take(room).collect::<Vec<_>>();
        let nparams = if room == 0 { count } else { i32::try_from(params.len()).unwrap_or(0) };
        return Ok(DomainGetCpuStatsRet { params, nparams });
    }
    let times = guest.cpu_times_by_processor()?;
    if args.ncpus == 0 {
        let nparams = i32::try_from(times.len()).unwrap_or(i32::MAX);
        return Ok(DomainGetCpuStatsRet { params: Vec::new(), nparams });
    }
    if args.nparams == 0 {
        return Ok(DomainGetCpuStatsRet { params: Vec::new(), nparams: 1 });
    }
    let first = usize::try_from(args.start_cpu).unwrap_or(0);
    if first >= times.len() {
        let text = format!("start_cpu {first} larger than maximum of {}", times.len().saturating_sub(1));
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let wanted = times.iter().skip(first).take(args.ncpus as usize);
    let figures = wanted.map(|ns| Figure::new("cpu_time", Value::Ulong(*ns))).collect();
    Ok(DomainGetCpuStatsRet { params: to_wire(figures, false), nparams: 1 })
}

pub(crate) async fn memory_stats(
    call: &Call,
    args: DomainMemoryStatsArgs,
) -> Result<DomainMemoryStatsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let figures = guest(call, &args.dom)?.memory_figures().await?;
    let stats = figures.into_iter().take(args.max_stats as usize);
    Ok(DomainMemoryStatsRet { stats: stats.map(|(tag, _, val)| DomainMemoryStat { tag, val }).collect() })
}

pub(crate) async fn block_stats(
    call: &Call,
    args: DomainBlockStatsArgs,
) -> Result<DomainBlockStatsRet, Fault> {
    let figures = guest(call, &args.dom)?.block_figures(&args.path.to_string_lossy()).await?;
    Ok(DomainBlockStatsRet {
        rd_req: signed(figures.rd_req),
        rd_bytes: signed(figures.rd_bytes),
        wr_req: signed(figures.wr_req),
        wr_bytes: signed(figures.wr_bytes),
        // QEMU counts no errors.
        errs: -1,
    })
}

pub(crate) async fn block_stats_flags(
    call: &Call,
    args: DomainBlockStatsFlagsArgs,
) -> Result<DomainBlockStatsFlagsRet, Fault> {
    call.only_flags(args.flags, STRINGS)?;
    let of = guest(call, &args.dom)?.block_figures(&args.path.to_string_lossy()).await?;
    let all = [
        ("wr_bytes", of.wr_bytes),
        ("wr_operations", of.wr_req),
        ("rd_bytes", of.rd_bytes),
        ("rd_operations", of.rd_req),
        ("flush_operations", of.fl_req),
        ("wr_total_times", of.wr_ns),
        ("rd_total_times", of.rd_ns),
        ("flush_total_times", of.fl_ns),
    ];
    let figures = all.map(|(name, value)| Figure::new(name, Value::Long(signed(value)))).to_vec();
    let count = i32::try_from(figures.len()).unwrap_or(0);
    let (params, nparams) = two_step(figures, args.nparams, args.flags);
    Ok(DomainBlockStatsFlagsRet { nparams: if params.is_empty() { count } else { nparams }, params })
}

pub(crate) async fn get_block_info(
    call: &Call,
    args: DomainGetBlockInfoArgs,
) -> Result<DomainGetBlockInfoRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let size = guest(call, &args.dom)?.block_size(&args.path.to_string_lossy()).await?;
    Ok(DomainGetBlockInfoRet {
        allocation: size.allocation,
        capacity: size.capacity,
        physical: size.physical,
    })
}

pub(crate) async fn get_disk_errors(
    call: &Call,
    args: DomainGetDiskErrorsArgs,
) -> Result<DomainGetDiskErrorsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    if args.maxerrors == 0 {
        // How much room is needed at most.
        let nerrors = i32::try_from(guest.disk_count()?).unwrap_or(i32::MAX);
        return Ok(DomainGetDiskErrorsRet { errors: Vec::new(), nerrors });
    }
    let errors = guest.disk_errors().await?.into_iter().take(args.maxerrors as usize);
    let errors: Vec<_> = errors.map(|(disk, error)| DomainDiskError { disk: disk.into(), error }).collect();
    Ok(DomainGetDiskErrorsRet { nerrors: i32::try_from(errors.len()).unwrap_or(i32::MAX), errors })
}

pub(crate) async fn block_peek(call: &Call, args: DomainBlockPeekArgs) -> Result<DomainBlockPeekRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let peek = Peek { offset: args.offset, size: args.size };
    let buffer = guest(call, &args.dom)?.peek_block(&args.path.to_string_lossy(), &peek)?;
    Ok(DomainBlockPeekRet { buffer })
}

pub(crate) async fn memory_peek(
    call: &Call,
    args: DomainMemoryPeekArgs,
) -> Result<DomainMemoryPeekRet, Fault> {
    /// `VIR_MEMORY_VIRTUAL`, `VIR_MEMORY_PHYSICAL`
    const VIRTUAL: u32 = 1;
    const PHYSICAL: u32 = 2;
    call.only_flags(args.flags, VIRTUAL | PHYSICAL)?;
    if args.flags != VIRTUAL && args.flags != PHYSICAL {
        let text = "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL";
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let guest = guest(call, &args.dom)?;
    let buffer = guest.peek_memory(args.offset, args.size, args.flags == PHYSICAL).await?;
    Ok(DomainMemoryPeekRet { buffer })
}

pub(crate) async fn interface_stats(
    call: &Call,
    args: DomainInterfaceStatsArgs,
) -> Result<DomainInterfaceStatsRet, Fault> {
    let figures = guest(call, &args.dom)?.nic_figures(&args.device.to_string_lossy())?;
    let ([rx_bytes, rx_packets, rx_errs, rx_drop], [tx_bytes, tx_packets, tx_errs, tx_drop]) =
        (figures.rx.map(signed), figures.tx.map(signed));
    Ok(DomainInterfaceStatsRet {
        rx_bytes,
        rx_packets,
        rx_errs,
        rx_drop,
        tx_bytes,
        tx_packets,
        tx_errs,
        tx_drop,
    })
}

pub(crate) async fn interface_addresses(
    call: &Call,
    args: DomainInterfaceAddressesArgs,
) -> Result<DomainInterfaceAddressesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    let source = match args.source {
        0 => Source::Lease,
        1 => Source::Agent,
        2 => Source::Arp,
        other => {
            let text = format!("Unknown IP address data source {other}");
            return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
        }
    };
    let interface = |card: lodge_api::InterfaceAddresses| DomainInterface {
        name: card.name.into(),
        hwaddr: card.mac.map(Into::into),
        addrs: card.addresses.into_iter().map(address).collect(),
    };
    Ok(DomainInterfaceAddressesRet {
        ifaces: guest.addresses(source).await?.into_iter().map(interface).collect(),
    })
}

fn address(address: lodge_api::Address) -> DomainIpAddr {
    DomainIpAddr {
        r#type: i32::from(address.family != lodge_api::AddressFamily::Ipv4),
        addr: address.ip.into(),
        prefix: u32::from(address.prefix),
    }
}

pub(crate) async fn get_hostname(
    call: &Call,
    args: DomainGetHostnameArgs,
) -> Result<DomainGetHostnameRet, Fault> {
    /// `VIR_DOMAIN_GET_HOSTNAME_LEASE`, `…_AGENT`
    const LEASE: u32 = 1;
    const AGENT: u32 = 2;
    call.only_flags(args.flags, LEASE | AGENT)?;
    if args.flags == LEASE | AGENT {
        let text = "Flags 'VIR_DOMAIN_GET_HOSTNAME_LEASE' and 'VIR_DOMAIN_GET_HOSTNAME_AGENT' are mutually exclusive";
        return Err(Fault::bare(Code::InvalidArg, Origin::Qemu, text));
    }
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    let hostname =
        if args.flags == LEASE { guest.leased_hostname().await? } else { guest.agent()?.hostname().await? };
    Ok(DomainGetHostnameRet { hostname: hostname.into() })
}
