//! Starting, stopping and the guest's buttons.

use lodge_engine::verb::{DestroyOptions, PowerMode, PowerOptions, SleepMode, StartOptions};
use lodge_model::domain::lifecycle::State;
use lodge_wire::remote as wire;

use super::define::{start, ticket};
use super::lookup;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

pub(crate) async fn create(call: &Call, args: wire::DomainCreateArgs) -> Result<(), Fault> {
    begin(call, &args.dom, 0).await.map(drop)
}

pub(crate) async fn create_with_flags(
    call: &Call,
    args: wire::DomainCreateWithFlagsArgs,
) -> Result<wire::DomainCreateWithFlagsRet, Fault> {
    use start::{AUTODESTROY, BYPASS_CACHE, FORCE_BOOT, PAUSED, RESET_NVRAM};
    call.only_flags(args.flags, PAUSED | AUTODESTROY | BYPASS_CACHE | FORCE_BOOT | RESET_NVRAM)?;
    Ok(wire::DomainCreateWithFlagsRet { dom: begin(call, &args.dom, args.flags).await? })
}

/// Descriptors at a start are for containers.
pub(crate) async fn create_with_files(
    _call: &Call,
    _args: wire::DomainCreateWithFilesArgs,
) -> Result<wire::DomainCreateWithFilesRet, Fault> {
    Err(Fault::new(Code::NoSupport, Origin::Domain, "virDomainCreateWithFiles"))
}

async fn begin(call: &Call, dom: &wire::Domain, flags: u32) -> Result<wire::Domain, Fault> {
    let handle = lookup::find_to_change(call, dom)?;
    let options = StartOptions {
        paused: flags & start::PAUSED != 0,
        force_boot: flags & start::FORCE_BOOT != 0,
        bypass_cache: flags & start::BYPASS_CACHE != 0,
        reset_nvram: flags & start::RESET_NVRAM != 0,
    };
    handle.start(options, ticket(call, flags)).await?;
    Ok(lookup::wire(&handle.snapshot()))
}

pub(crate) async fn destroy(call: &Call, args: wire::DomainDestroyArgs) -> Result<(), Fault> {
    Ok(lookup::find_to_change(call, &args.dom)?.destroy(DestroyOptions::default()).await?)
}

pub(crate) async fn destroy_flags(call: &Call, args: wire::DomainDestroyFlagsArgs) -> Result<(), Fault> {
    const GRACEFUL: u32 = 1 << 0;
    /// Logs of a guest's disks that are to go with it: there are none.
    const REMOVE_LOGS: u32 = 1 << 1;
    call.only_flags(args.flags, GRACEFUL | REMOVE_LOGS)?;
    let options = DestroyOptions { graceful: args.flags & GRACEFUL != 0 };
    Ok(lookup::find_to_change(call, &args.dom)?.destroy(options).await?)
}

/// `VIR_DOMAIN_SHUTDOWN_*`, and the same numbers of a reboot.
mod way {
    pub const ACPI: u32 = 1 << 0;
    pub const AGENT: u32 = 1 << 1;
    pub const ALL: u32 = ACPI | AGENT;
}

/// The ways that the flags allow; without flags QEMU's driver chooses.
fn ways(flags: u32) -> PowerOptions {
    let ways = [(way::AGENT, PowerMode::Agent), (way::ACPI, PowerMode::Acpi)];
    PowerOptions {
        modes: ways.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, way)| way).collect(),
    }
}

pub(crate) async fn shutdown(call: &Call, args: wire::DomainShutdownArgs) -> Result<(), Fault> {
    shut(call, &args.dom, 0).await
}

pub(crate) async fn shutdown_flags(call: &Call, args: wire::DomainShutdownFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, way::ALL)?;
    shut(call, &args.dom, args.flags).await
}

async fn shut(call: &Call, dom: &wire::Domain, flags: u32) -> Result<(), Fault> {
    let handle = lookup::find_to_change(call, dom)?;
    must_run(&handle)?;
    Ok(handle.shutdown(ways(flags)).await?)
}

/// These two of libvirt's calls say it themselves, as QEMU's driver.
fn must_run(handle: &lodge_engine::Handle) -> Result<(), Fault> {
    if handle.snapshot().is_active() {
        return Ok(());
    }
    Err(Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is not running"))
}

pub(crate) async fn reboot(call: &Call, args: wire::DomainRebootArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, way::ALL)?;
    Ok(lookup::find_to_change(call, &args.dom)?.reboot(ways(args.flags)).await?)
}

pub(crate) async fn reset(call: &Call, args: wire::DomainResetArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(lookup::find_to_change(call, &args.dom)?.reset().await?)
}

pub(crate) async fn suspend(call: &Call, args: wire::DomainSuspendArgs) -> Result<(), Fault> {
    Ok(lookup::find_to_change(call, &args.dom)?.suspend().await?)
}

pub(crate) async fn resume(call: &Call, args: wire::DomainResumeArgs) -> Result<(), Fault> {
    let handle = lookup::find_to_change(call, &args.dom)?;
    // To lodge a guest that runs is resumed; libvirt refuses.
    if matches!(handle.snapshot().state, State::Running { .. }) {
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is already running"));
    }
    Ok(handle.resume().await?)
}

pub(crate) async fn pm_suspend(call: &Call, args: wire::DomainPmSuspendForDurationArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    if args.duration != 0 {
        let text = "Duration not supported. Use 0 for now";
        return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
    }
    let mode = match args.target {
        0 => SleepMode::Memory,
        1 => SleepMode::Disk,
        2 => SleepMode::Hybrid,
        other => {
            let text = format!("Unknown suspend target: {other}");
            return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
        }
    };
    let handle = lookup::find_to_change(call, &args.dom)?;
    must_run(&handle)?;
    Ok(handle.sleep(mode).await?)
}

pub(crate) async fn pm_wakeup(call: &Call, args: wire::DomainPmWakeupArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(lookup::find_to_change(call, &args.dom)?.wakeup().await?)
}
