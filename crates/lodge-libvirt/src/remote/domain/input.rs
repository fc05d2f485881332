//! Keys, interrupts, and what is measured of a guest on demand.

use lodge_engine::control::tune::block;
use lodge_wire::remote::{
    DomainBlockResizeArgs, DomainGetLaunchSecurityInfoArgs, DomainGetLaunchSecurityInfoRet,
    DomainGraphicsReloadArgs, DomainInjectNmiArgs, DomainSendKeyArgs, DomainSendProcessSignalArgs,
    DomainSetBlockThresholdArgs, DomainStartDirtyRateCalcArgs,
};

use super::params::{CONFIG, LIVE, STRINGS, change, guest};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_SEND_KEY_MAX_KEYS`
const KEYS_MAX: usize = 16;

pub(crate) async fn send_key(call: &Call, args: DomainSendKeyArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    if args.keycodes.is_empty() || args.keycodes.len() > KEYS_MAX {
        let text = format!("nkeycodes in virDomainSendKey must be between 1 and {KEYS_MAX}");
        return Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    }
    let guest = guest(call, &args.dom)?;
    Ok(guest.send_keys(args.codeset, &args.keycodes, args.holdtime).await?)
}

pub(crate) async fn inject_nmi(call: &Call, args: DomainInjectNmiArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(guest(call, &args.dom)?.inject_nmi().await?)
}

pub(crate) async fn block_resize(call: &Call, args: DomainBlockResizeArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_RESIZE_BYTES`
    const BYTES: u32 = 1;
    call.only_flags(args.flags, BYTES)?;
    guest(call, &args.dom)?.must_run()?;
    let bytes = if args.flags & BYTES == 0 { args.size.checked_mul(1024) } else { Some(args.size) };
    let bytes = bytes.filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(|| {
        Fault::new(Code::Overflow, Origin::Qemu, format!("size must be less than {}", i64::MAX / 1024))
    })?;
    let disk = args.disk.to_string_lossy().into_owned();
    change(call, &args.dom, block::resize(disk, bytes)).await
}

pub(crate) async fn set_block_threshold(call: &Call, args: DomainSetBlockThresholdArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    guest(call, &args.dom)?.must_run()?;
    let disk = args.dev.to_string_lossy().into_owned();
    change(call, &args.dom, block::set_threshold(disk, args.threshold)).await
}

pub(crate) async fn start_dirty_rate_calc(
    call: &Call,
    args: DomainStartDirtyRateCalcArgs,
) -> Result<(), Fault> {
    /// `VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP`, `…_RING`; neither: pages are sampled.
    const BITMAP: u32 = 1 << 1;
    const RING: u32 = 1 << 2;
    call.only_flags(args.flags, 1 | BITMAP | RING)?;
    if !(1..=60).contains(&args.seconds) {
        let text = format!("seconds={} is invalid, please choose value within [1, 60].", args.seconds);
        return Err(Fault::new(Code::ConfigUnsupported, Origin::Qemu, text));
    }
    let mode = match args.flags & (BITMAP | RING) {
        0 => "page-sampling",
        BITMAP => "dirty-bitmap",
        _ => "dirty-ring",
    };
    Ok(guest(call, &args.dom)?.measure_dirty_rate(args.seconds.unsigned_abs(), mode).await?)
}

/// No guest here has its memory hidden from the host.
pub(crate) async fn get_launch_security_info(
    call: &Call,
    args: DomainGetLaunchSecurityInfoArgs,
) -> Result<DomainGetLaunchSecurityInfoRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | STRINGS)?;
    guest(call, &args.dom)?;
    Ok(DomainGetLaunchSecurityInfoRet { params: Vec::new() })
}

/// A signal to a process inside: of containers only, as libvirt's QEMU driver answers.
pub(crate) async fn send_process_signal(call: &Call, args: DomainSendProcessSignalArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    guest(call, &args.dom)?;
    Err(Fault::new(Code::NoSupport, Origin::Domain, "virDomainSendProcessSignal"))
}

/// A screen's certificates are read anew.
pub(crate) async fn graphics_reload(call: &Call, args: DomainGraphicsReloadArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_GRAPHICS_RELOAD_TYPE_VNC`; 0 is any, of which it is the only one.
    const VNC: u32 = 1;
    call.only_flags(args.flags, 0)?;
    if args.r#type > VNC {
        let text = format!("unknown graphics type {}", args.r#type);
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    Ok(guest(call, &args.dom)?.reload_screen_certificates().await?)
}
