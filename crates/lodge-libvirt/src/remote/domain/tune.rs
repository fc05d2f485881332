//! Limits and weights of a domain, as typed parameters.

use lodge_engine::control::tune::{block, nic, numa, perf, scheduler, weight};
use lodge_engine::control::{Scope, lifecycle};
use lodge_model::domain::features::LifecycleAction;
use lodge_wire::remote::{
    DomainGetBlkioParametersArgs, DomainGetBlkioParametersRet, DomainGetBlockIoTuneArgs,
    DomainGetBlockIoTuneRet, DomainGetInterfaceParametersArgs, DomainGetInterfaceParametersRet,
    DomainGetMemoryParametersArgs, DomainGetMemoryParametersRet, DomainGetNumaParametersArgs,
    DomainGetNumaParametersRet, DomainGetPerfEventsArgs, DomainGetPerfEventsRet,
    DomainGetSchedulerParametersArgs, DomainGetSchedulerParametersFlagsArgs,
    DomainGetSchedulerParametersFlagsRet, DomainGetSchedulerParametersRet, DomainGetSchedulerTypeArgs,
    DomainGetSchedulerTypeRet, DomainSetBlkioParametersArgs, DomainSetBlockIoTuneArgs,
    DomainSetInterfaceParametersArgs, DomainSetLifecycleActionArgs, DomainSetMemoryParametersArgs,
    DomainSetNumaParametersArgs, DomainSetPerfEventsArgs, DomainSetSchedulerParametersArgs,
    DomainSetSchedulerParametersFlagsArgs,
};

use super::params::{
    CONFIG, Kind, LIVE, STRINGS, asks_live, change, guest, scope, settings, to_wire, two_step,
};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

const ALL: u32 = LIVE | CONFIG | STRINGS;

const SCHEDULER: [(&str, Kind); 9] = [
    ("cpu_shares", Kind::Ullong),
    ("vcpu_period", Kind::Ullong),
    ("vcpu_quota", Kind::Llong),
    ("global_period", Kind::Ullong),
    ("global_quota", Kind::Llong),
    ("emulator_period", Kind::Ullong),
    ("emulator_quota", Kind::Llong),
    ("iothread_period", Kind::Ullong),
    ("iothread_quota", Kind::Llong),
];

pub(crate) async fn get_scheduler_type(
    call: &Call,
    args: DomainGetSchedulerTypeArgs,
) -> Result<DomainGetSchedulerTypeRet, Fault> {
    let guest = guest(call, &args.dom)?;
    // A running guest is asked what its host gives it.
    if guest.snapshot().is_active() {
        guest.scheduler(true)?;
    }
    Ok(DomainGetSchedulerTypeRet { r#type: "posix".into(), nparams: 9 })
}

pub(crate) async fn get_scheduler(
    call: &Call,
    args: DomainGetSchedulerParametersArgs,
) -> Result<DomainGetSchedulerParametersRet, Fault> {
    let guest = guest(call, &args.dom)?;
    let figures = guest.scheduler(guest.snapshot().is_active())?;
    Ok(DomainGetSchedulerParametersRet { params: two_step(figures, args.nparams, 0).0 })
}

pub(crate) async fn get_scheduler_flags(
    call: &Call,
    args: DomainGetSchedulerParametersFlagsArgs,
) -> Result<DomainGetSchedulerParametersFlagsRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let figures = guest.scheduler(asks_live(&guest, args.flags)?)?;
    Ok(DomainGetSchedulerParametersFlagsRet { params: two_step(figures, args.nparams, args.flags).0 })
}

pub(crate) async fn set_scheduler(call: &Call, args: DomainSetSchedulerParametersArgs) -> Result<(), Fault> {
    let settings = settings(args.params, &SCHEDULER)?;
    change(call, &args.dom, scheduler::set(settings, Scope::default())).await
}

pub(crate) async fn set_scheduler_flags(
    call: &Call,
    args: DomainSetSchedulerParametersFlagsArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let settings = settings(args.params, &SCHEDULER)?;
    change(call, &args.dom, scheduler::set(settings, scope(args.flags))).await
}

pub(crate) async fn get_blkio(
    call: &Call,
    args: DomainGetBlkioParametersArgs,
) -> Result<DomainGetBlkioParametersRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let figures = guest.disk_weights(asks_live(&guest, args.flags)?)?;
    let (params, nparams) = two_step(figures, args.nparams, args.flags);
    Ok(DomainGetBlkioParametersRet { params, nparams })
}

pub(crate) async fn set_blkio(call: &Call, args: DomainSetBlkioParametersArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let known = [
        ("weight", Kind::Uint),
        ("device_weight", Kind::String),
        ("device_read_iops_sec", Kind::String),
        ("device_write_iops_sec", Kind::String),
        ("device_read_bytes_sec", Kind::String),
        ("device_write_bytes_sec", Kind::String),
    ];
    let settings = settings(args.params, &known)?;
    change(call, &args.dom, weight::set_disks(settings, scope(args.flags))).await
}

pub(crate) async fn get_memory(
    call: &Call,
    args: DomainGetMemoryParametersArgs,
) -> Result<DomainGetMemoryParametersRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let figures = guest.memory_limits(asks_live(&guest, args.flags)?)?;
    let (params, nparams) = two_step(figures, args.nparams, args.flags);
    Ok(DomainGetMemoryParametersRet { params, nparams })
}

pub(crate) async fn set_memory(call: &Call, args: DomainSetMemoryParametersArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let known =
        [("hard_limit", Kind::Ullong), ("soft_limit", Kind::Ullong), ("swap_hard_limit", Kind::Ullong)];
    let settings = settings(args.params, &known)?;
    change(call, &args.dom, weight::set_memory(settings, scope(args.flags))).await
}

pub(crate) async fn get_numa(
    call: &Call,
    args: DomainGetNumaParametersArgs,
) -> Result<DomainGetNumaParametersRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let figures = guest.memory_cells(asks_live(&guest, args.flags)?)?;
    let (params, nparams) = two_step(figures, args.nparams, args.flags);
    Ok(DomainGetNumaParametersRet { params, nparams })
}

pub(crate) async fn set_numa(call: &Call, args: DomainSetNumaParametersArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let settings = settings(args.params, &[("numa_mode", Kind::Int), ("numa_nodeset", Kind::String)])?;
    change(call, &args.dom, numa::set(settings, scope(args.flags))).await
}

pub(crate) async fn get_perf(
    call: &Call,
    args: DomainGetPerfEventsArgs,
) -> Result<DomainGetPerfEventsRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let figures = guest.counted_events(asks_live(&guest, args.flags)?)?;
    Ok(DomainGetPerfEventsRet { params: to_wire(figures, true) })
}

pub(crate) async fn set_perf(call: &Call, args: DomainSetPerfEventsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let known = perf::EVENTS.map(|name| (name, Kind::Boolean));
    let settings = settings(args.params, &known)?;
    change(call, &args.dom, perf::set(settings, scope(args.flags))).await
}

pub(crate) async fn get_block(
    call: &Call,
    args: DomainGetBlockIoTuneArgs,
) -> Result<DomainGetBlockIoTuneRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    let disk = args.disk.map(|disk| disk.to_string_lossy().into_owned());
    let Some(disk) = disk else {
        // Without a disk only the count can be asked for.
        let nparams = i32::try_from(block::LIMITS.len() + 1).unwrap_or(i32::MAX);
        return Ok(DomainGetBlockIoTuneRet { params: Vec::new(), nparams });
    };
    let (params, nparams) = two_step(guest.disk_limits(&disk, live)?, args.nparams, args.flags);
    Ok(DomainGetBlockIoTuneRet { params, nparams })
}

pub(crate) async fn set_block(call: &Call, args: DomainSetBlockIoTuneArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let mut known: Vec<(&str, Kind)> = block::LIMITS.iter().map(|name| (*name, Kind::Ullong)).collect();
    known.push(("group_name", Kind::String));
    let settings = settings(args.params, &known)?;
    let disk = args.disk.to_string_lossy().into_owned();
    change(call, &args.dom, block::set(disk, settings, scope(args.flags))).await
}

pub(crate) async fn get_interface(
    call: &Call,
    args: DomainGetInterfaceParametersArgs,
) -> Result<DomainGetInterfaceParametersRet, Fault> {
    call.only_flags(args.flags, ALL)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    let figures = guest.nic_limits(&args.device.to_string_lossy(), live)?;
    let (params, nparams) = two_step(figures, args.nparams, args.flags);
    Ok(DomainGetInterfaceParametersRet { params, nparams })
}

pub(crate) async fn set_interface(call: &Call, args: DomainSetInterfaceParametersArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, ALL)?;
    let known = [
        ("inbound.average", Kind::Uint),
        ("inbound.peak", Kind::Uint),
        ("inbound.burst", Kind::Uint),
        ("inbound.floor", Kind::Uint),
        ("outbound.average", Kind::Uint),
        ("outbound.peak", Kind::Uint),
        ("outbound.burst", Kind::Uint),
    ];
    let settings = settings(args.params, &known)?;
    let device = args.device.to_string_lossy().into_owned();
    change(call, &args.dom, nic::set(device, settings, scope(args.flags))).await
}

pub(crate) async fn set_lifecycle_action(
    call: &Call,
    args: DomainSetLifecycleActionArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let out_of_range = |what: &str| {
        let text = format!("{what} in virDomainSetLifecycleAction must be less than 6");
        Fault::bare(Code::InvalidArg, Origin::Domain, text)
    };
    // VIR_DOMAIN_LIFECYCLE_*, VIR_DOMAIN_LIFECYCLE_ACTION_*
    let occasion = match args.r#type {
        0 => lifecycle::Occasion::Poweroff,
        1 => lifecycle::Occasion::Reboot,
        2 => lifecycle::Occasion::Crash,
        _ => return Err(out_of_range("type")),
    };
    let action = match args.action {
        0 => LifecycleAction::Destroy,
        1 => LifecycleAction::Restart,
        2 => LifecycleAction::RenameRestart,
        3 => LifecycleAction::Preserve,
        4 => LifecycleAction::CoredumpDestroy,
        5 => LifecycleAction::CoredumpRestart,
        _ => return Err(out_of_range("action")),
    };
    change(call, &args.dom, lifecycle::set(occasion, action, scope(args.flags))).await
}
