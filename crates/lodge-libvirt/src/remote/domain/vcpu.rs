//! Processors and I/O threads of a domain.

use lodge_engine::control::vcpu::iothread::{self, Polling};
use lodge_engine::control::vcpu::pin::{self, Processors};
use lodge_engine::control::{Scope, vcpu};
use lodge_engine::{Figure, Value};
use lodge_wire::remote::{
    DomainAddIothreadArgs, DomainDelIothreadArgs, DomainGetEmulatorPinInfoArgs, DomainGetEmulatorPinInfoRet,
    DomainGetGuestVcpusArgs, DomainGetGuestVcpusRet, DomainGetIothreadInfoArgs, DomainGetIothreadInfoRet,
    DomainGetMaxVcpusArgs, DomainGetMaxVcpusRet, DomainGetVcpuPinInfoArgs, DomainGetVcpuPinInfoRet,
    DomainGetVcpusArgs, DomainGetVcpusFlagsArgs, DomainGetVcpusFlagsRet, DomainGetVcpusRet,
    DomainIothreadInfo, DomainPinEmulatorArgs, DomainPinIothreadArgs, DomainPinVcpuArgs,
    DomainPinVcpuFlagsArgs, DomainSetGuestVcpusArgs, DomainSetIothreadParamsArgs, DomainSetVcpuArgs,
    DomainSetVcpusArgs, DomainSetVcpusFlagsArgs, VcpuInfo,
};

use super::params::{CONFIG, Kind, LIVE, STRINGS, asks_live, change, guest, scope, settings, to_wire};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_VCPU_MAXIMUM`
const MAXIMUM: u32 = 4;
/// `VIR_DOMAIN_VCPU_GUEST`
const GUEST: u32 = 8;
/// `VIR_DOMAIN_VCPU_HOTPLUGGABLE`: every processor here is.
const HOTPLUGGABLE: u32 = 16;

pub(crate) async fn get_vcpus(call: &Call, args: DomainGetVcpusArgs) -> Result<DomainGetVcpusRet, Fault> {
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        let text = "cannot retrieve vcpu information for inactive domain";
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, text));
    }
    let (room, length) =
        (usize::try_from(args.maxinfo).unwrap_or(0), usize::try_from(args.maplen).unwrap_or(0));
    if room.saturating_mul(length) > 8_388_608 {
        return Err(Fault::internal(Origin::Rpc, "maxinfo * maplen > REMOTE_CPUMAPS_MAX"));
    }
    let vcpus = guest.vcpus().await?;
    let mut cpumaps = vec![0; room * length];
    let mut info = Vec::new();
    for (at, vcpu) in vcpus.into_iter().take(room).enumerate() {
        cpumaps[at * length..(at + 1) * length].copy_from_slice(&vcpu.affinity.to_map(length));
        // VIR_VCPU_RUNNING
        info.push(VcpuInfo { number: vcpu.number, state: 1, cpu_time: vcpu.time_ns, cpu: vcpu.cpu });
    }
    Ok(DomainGetVcpusRet { info, cpumaps })
}

pub(crate) async fn get_max_vcpus(
    call: &Call,
    args: DomainGetMaxVcpusArgs,
) -> Result<DomainGetMaxVcpusRet, Fault> {
    let guest = guest(call, &args.dom)?;
    guest.must_run()?;
    Ok(DomainGetMaxVcpusRet { num: count(guest.vcpu_count(true, true)?) })
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) async fn get_vcpus_flags(
    call: &Call,
    args: DomainGetVcpusFlagsArgs,
) -> Result<DomainGetVcpusFlagsRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | MAXIMUM | GUEST)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    if args.flags & GUEST != 0 {
        if !live {
            let text = "vCPU count provided by the guest agent can only be requested for live domains";
            return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
        }
        let vcpus = guest.agent()?.vcpus().await?;
        let all = args.flags & MAXIMUM != 0;
        let number = vcpus.iter().filter(|vcpu| all || vcpu.online).count();
        return Ok(DomainGetVcpusFlagsRet { num: i32::try_from(number).unwrap_or(i32::MAX) });
    }
    Ok(DomainGetVcpusFlagsRet { num: count(guest.vcpu_count(live, args.flags & MAXIMUM != 0)?) })
}

pub(crate) async fn set_vcpus(call: &Call, args: DomainSetVcpusArgs) -> Result<(), Fault> {
    change(call, &args.dom, vcpu::set_count(args.nvcpus, Scope::LIVE)).await
}

pub(crate) async fn set_vcpus_flags(call: &Call, args: DomainSetVcpusFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | MAXIMUM | GUEST | HOTPLUGGABLE)?;
    if args.flags & GUEST != 0 {
        return set_guest_count(call, &args).await;
    }
    if args.flags & MAXIMUM != 0 {
        let guest = guest(call, &args.dom)?;
        let scope = scope(args.flags).resolve(guest.snapshot().is_active(), guest.snapshot().persistent)?;
        if scope.live {
            let text = "cannot adjust maximum vcpus on running domain";
            return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, text));
        }
        return change(call, &args.dom, vcpu::set_maximum(args.nvcpus)).await;
    }
    change(call, &args.dom, vcpu::set_count(args.nvcpus, scope(args.flags))).await
}

/// By the agent: so many of those the guest has are switched on.
async fn set_guest_count(call: &Call, args: &DomainSetVcpusFlagsArgs) -> Result<(), Fault> {
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is not running"));
    }
    let agent = guest.agent()?;
    let vcpus = agent.vcpus().await?;
    let wanted = args.nvcpus as usize;
    if wanted > vcpus.len() {
        let text = format!(
            "requested vcpu count is greater than the count of enabled vcpus in the domain: {wanted} > {}",
            vcpus.len()
        );
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let mut online = vcpus.iter().filter(|vcpu| vcpu.online).count();
    let mut changes = Vec::new();
    for vcpu in &vcpus {
        if online < wanted && !vcpu.online {
            changes.push((vcpu.logical_id, true));
            online += 1;
        }
    }
    for vcpu in vcpus.iter().rev() {
        if online > wanted && vcpu.online && vcpu.can_offline {
            changes.push((vcpu.logical_id, false));
            online -= 1;
        }
    }
    if online != wanted {
        let text = "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count";
        return Err(Fault::internal(Origin::Qemu, text));
    }
    Ok(agent.set_vcpus(&changes).await?)
}

pub(crate) async fn set_vcpu(call: &Call, args: DomainSetVcpuArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let which = numbers(&args.cpumap.to_string_lossy())?;
    if !(0..=1).contains(&args.state) {
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, "unsupported state value"));
    }
    change(call, &args.dom, vcpu::set_plugged(which, args.state == 1, scope(args.flags))).await
}

fn numbers(text: &str) -> Result<Vec<u32>, Fault> {
    let set = Processors::parse(text).filter(|set| !set.numbers().is_empty());
    let invalid = || Fault::new(Code::InvalidArg, Origin::Qemu, format!("Failed to parse bitmap '{text}'"));
    Ok(set.ok_or_else(invalid)?.numbers().to_vec())
}

pub(crate) async fn get_vcpu_pin_info(
    call: &Call,
    args: DomainGetVcpuPinInfoArgs,
) -> Result<DomainGetVcpuPinInfoRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    let (room, length) =
        (usize::try_from(args.ncpumaps).unwrap_or(0), usize::try_from(args.maplen).unwrap_or(0));
    if room.saturating_mul(length) > 8_388_608 {
        return Err(Fault::internal(Origin::Rpc, "ncpumaps * maplen > REMOTE_CPUMAPS_MAX"));
    }
    let pins = guest.vcpu_pins(live)?;
    let given = pins.len().min(room);
    let mut cpumaps: Vec<u8> = pins.iter().take(room).flat_map(|pin| pin.to_map(length)).collect();
    cpumaps.resize(room * length, 0);
    Ok(DomainGetVcpuPinInfoRet { cpumaps, num: i32::try_from(given).unwrap_or(i32::MAX) })
}

pub(crate) async fn pin_vcpu(call: &Call, args: DomainPinVcpuArgs) -> Result<(), Fault> {
    let to = processors(&args.cpumap)?;
    change(call, &args.dom, pin::vcpu(args.vcpu, to, Scope::LIVE)).await
}

pub(crate) async fn pin_vcpu_flags(call: &Call, args: DomainPinVcpuFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    allowed(call, &args.dom, args.flags)?;
    let to = processors(&args.cpumap)?;
    change(call, &args.dom, pin::vcpu(args.vcpu, to, scope(args.flags))).await
}

/// The state is judged before the other arguments.
fn allowed(call: &Call, dom: &lodge_wire::remote::Domain, flags: u32) -> Result<(), Fault> {
    let guest = guest(call, dom)?;
    scope(flags).resolve(guest.snapshot().is_active(), guest.snapshot().persistent)?;
    Ok(())
}

fn processors(map: &[u8]) -> Result<Processors, Fault> {
    let set = Processors::of_map(map);
    if set.numbers().is_empty() {
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, "Empty cpu list for pinning"));
    }
    Ok(set)
}

pub(crate) async fn get_emulator_pin_info(
    call: &Call,
    args: DomainGetEmulatorPinInfoArgs,
) -> Result<DomainGetEmulatorPinInfoRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    let length = usize::try_from(args.maplen).unwrap_or(0).min(8_388_608);
    Ok(DomainGetEmulatorPinInfoRet { cpumaps: guest.emulator_pin(live)?.to_map(length), ret: 1 })
}

pub(crate) async fn pin_emulator(call: &Call, args: DomainPinEmulatorArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    allowed(call, &args.dom, args.flags)?;
    let to = processors(&args.cpumap)?;
    change(call, &args.dom, pin::emulator(to, scope(args.flags))).await
}

pub(crate) async fn get_iothread_info(
    call: &Call,
    args: DomainGetIothreadInfoArgs,
) -> Result<DomainGetIothreadInfoRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let guest = guest(call, &args.dom)?;
    let live = asks_live(&guest, args.flags)?;
    let length = (guest.host_processors() as usize).div_ceil(8);
    let threads = guest.iothreads(live).await?;
    let info: Vec<_> = threads
        .into_iter()
        .map(|thread| DomainIothreadInfo {
            iothread_id: thread.number,
            cpumap: thread.affinity.to_map(length),
        })
        .collect();
    Ok(DomainGetIothreadInfoRet { ret: u32::try_from(info.len()).unwrap_or(u32::MAX), info })
}

pub(crate) async fn pin_iothread(call: &Call, args: DomainPinIothreadArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    allowed(call, &args.dom, args.flags)?;
    let to = processors(&args.cpumap)?;
    change(call, &args.dom, pin::iothread(args.iothreads_id, to, scope(args.flags))).await
}

pub(crate) async fn add_iothread(call: &Call, args: DomainAddIothreadArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    not_zero(args.iothread_id)?;
    change(call, &args.dom, iothread::add(args.iothread_id, scope(args.flags))).await
}

pub(crate) async fn del_iothread(call: &Call, args: DomainDelIothreadArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    not_zero(args.iothread_id)?;
    change(call, &args.dom, iothread::remove(args.iothread_id, scope(args.flags))).await
}

fn not_zero(number: u32) -> Result<(), Fault> {
    if number > 0 {
        return Ok(());
    }
    Err(Fault::new(Code::InvalidArg, Origin::Qemu, "invalid value of 0 for iothread_id"))
}

pub(crate) async fn set_iothread_params(call: &Call, args: DomainSetIothreadParamsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | STRINGS)?;
    not_zero(args.iothread_id)?;
    let known = [
        ("poll_max_ns", Kind::Ullong),
        ("poll_grow", Kind::Uint),
        ("poll_shrink", Kind::Uint),
        ("thread_pool_min", Kind::Int),
        ("thread_pool_max", Kind::Int),
    ];
    let mut polling = Polling::default();
    for (name, value) in settings(args.params, &known)? {
        let narrow = || u32::try_from(value.unsigned()).unwrap_or(u32::MAX);
        let small = || i32::try_from(value.signed()).unwrap_or(i32::MAX);
        match name.as_str() {
            "poll_max_ns" => polling.max_ns = Some(value.unsigned()),
            "poll_grow" => polling.grow = Some(narrow()),
            "poll_shrink" => polling.shrink = Some(narrow()),
            "thread_pool_min" => polling.pool_min = Some(small()),
            _ => polling.pool_max = Some(small()),
        }
    }
    change(call, &args.dom, iothread::set(args.iothread_id, polling, scope(args.flags))).await
}

pub(crate) async fn get_guest_vcpus(
    call: &Call,
    args: DomainGetGuestVcpusArgs,
) -> Result<DomainGetGuestVcpusRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is not running"));
    }
    let vcpus = guest.agent()?.vcpus().await?;
    let set = |which: &dyn Fn(&lodge_engine::GuestVcpu) -> bool| {
        let mut map = vec![0_u8; 512];
        for vcpu in vcpus.iter().filter(|vcpu| which(vcpu)) {
            if let Some(byte) = map.get_mut(vcpu.logical_id as usize / 8) {
                *byte |= 1 << (vcpu.logical_id % 8);
            }
        }
        Value::Text(Processors::of_map(&map).to_string())
    };
    let figures = vec![
        Figure::new("vcpus", set(&|_| true)),
        Figure::new("online", set(&|vcpu| vcpu.online)),
        Figure::new("offlinable", set(&|vcpu| vcpu.can_offline)),
    ];
    Ok(DomainGetGuestVcpusRet { params: to_wire(figures, true) })
}

pub(crate) async fn set_guest_vcpus(call: &Call, args: DomainSetGuestVcpusArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    if !(0..=1).contains(&args.state) {
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, "unsupported state value"));
    }
    let which = numbers(&args.cpumap.to_string_lossy())?;
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is not running"));
    }
    let agent = guest.agent()?;
    let vcpus = agent.vcpus().await?;
    if let Some(unknown) = which.iter().find(|number| vcpus.iter().all(|vcpu| vcpu.logical_id != **number)) {
        let text = format!("guest is missing vCPUs '{unknown}'");
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let changes: Vec<(u32, bool)> = which.into_iter().map(|number| (number, args.state == 1)).collect();
    Ok(agent.set_vcpus(&changes).await?)
}
