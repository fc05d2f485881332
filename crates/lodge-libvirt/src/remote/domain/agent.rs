//! What is asked of the agent inside the guest.

use lodge_engine::InfoTypes;
use lodge_wire::Text;
use lodge_wire::remote::{
    DomainAgentSetResponseTimeoutArgs, DomainAgentSetResponseTimeoutRet, DomainAuthorizedSshKeysGetArgs,
    DomainAuthorizedSshKeysGetRet, DomainAuthorizedSshKeysSetArgs, DomainFsfreezeArgs, DomainFsfreezeRet,
    DomainFsinfo, DomainFsthawArgs, DomainFsthawRet, DomainFstrimArgs, DomainGetFsinfoArgs,
    DomainGetFsinfoRet, DomainGetGuestInfoArgs, DomainGetGuestInfoRet, DomainGetTimeArgs, DomainGetTimeRet,
    DomainSetTimeArgs, DomainSetUserPasswordArgs,
};

use super::params::{guest, to_wire};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// Calls that libvirt's QEMU driver refuses itself where the guest does not run.
fn not_running() -> Fault {
    Fault::new(Code::OperationInvalid, Origin::Qemu, "domain is not running")
}

pub(crate) async fn get_time(call: &Call, args: DomainGetTimeArgs) -> Result<DomainGetTimeRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let (seconds, nseconds) = guest(call, &args.dom)?.agent()?.time().await?;
    Ok(DomainGetTimeRet { seconds, nseconds })
}

pub(crate) async fn set_time(call: &Call, args: DomainSetTimeArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_TIME_SYNC`
    const SYNC: u32 = 1;
    call.only_flags(args.flags, SYNC)?;
    let time = (args.flags & SYNC == 0).then_some((args.seconds, args.nseconds));
    Ok(guest(call, &args.dom)?.set_time(time).await?)
}

pub(crate) async fn get_fsinfo(call: &Call, args: DomainGetFsinfoArgs) -> Result<DomainGetFsinfoRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    let systems = guest.agent()?.file_systems().await?;
    let info: Vec<_> = systems
        .into_iter()
        .map(|system| DomainFsinfo {
            dev_aliases: guest.targets_of(&system.disk).into_iter().map(Text::from).collect(),
            mountpoint: system.mountpoint.into(),
            name: system.name.into(),
            fstype: system.kind.into(),
        })
        .collect();
    Ok(DomainGetFsinfoRet { ret: u32::try_from(info.len()).unwrap_or(u32::MAX), info })
}

fn texts(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.to_string_lossy().into_owned()).collect()
}

pub(crate) async fn freeze(call: &Call, args: DomainFsfreezeArgs) -> Result<DomainFsfreezeRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let filesystems = guest(call, &args.dom)?.agent()?.freeze(&texts(&args.mountpoints)).await?;
    Ok(DomainFsfreezeRet { filesystems })
}

pub(crate) async fn thaw(call: &Call, args: DomainFsthawArgs) -> Result<DomainFsthawRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    if !args.mountpoints.is_empty() {
        let text = "specifying mountpoints is not supported";
        return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
    }
    Ok(DomainFsthawRet { filesystems: guest.agent()?.thaw().await? })
}

pub(crate) async fn trim(call: &Call, args: DomainFstrimArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    if args.mount_point.is_some() {
        let text = "Specifying mount point is not supported for now";
        return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
    }
    Ok(guest(call, &args.dom)?.agent()?.trim(args.minimum).await?)
}

pub(crate) async fn get_guest_info(
    call: &Call,
    args: DomainGetGuestInfoArgs,
) -> Result<DomainGetGuestInfoRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let figures = guest(call, &args.dom)?.info(InfoTypes(args.types)).await?;
    Ok(DomainGetGuestInfoRet { params: to_wire(figures, true) })
}

pub(crate) async fn set_user_password(call: &Call, args: DomainSetUserPasswordArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_PASSWORD_ENCRYPTED`
    const ENCRYPTED: u32 = 1;
    call.only_flags(args.flags, ENCRYPTED)?;
    let said = |text: Option<Text>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let agent = guest(call, &args.dom)?.agent()?;
    let (user, password) = (said(args.user), said(args.password));
    Ok(agent.set_password(&user, &password, args.flags & ENCRYPTED != 0).await?)
}

pub(crate) async fn get_ssh_keys(
    call: &Call,
    args: DomainAuthorizedSshKeysGetArgs,
) -> Result<DomainAuthorizedSshKeysGetRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        return Err(not_running());
    }
    let keys = guest.agent()?.ssh_keys(&args.user.to_string_lossy()).await?;
    Ok(DomainAuthorizedSshKeysGetRet { keys: keys.into_iter().map(Text::from).collect() })
}

pub(crate) async fn set_ssh_keys(call: &Call, args: DomainAuthorizedSshKeysSetArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND`, `…_REMOVE`
    const APPEND: u32 = 1;
    const REMOVE: u32 = 2;
    call.only_flags(args.flags, APPEND | REMOVE)?;
    if args.flags == APPEND | REMOVE {
        let text = "Flags 'VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND' and 'VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE' are mutually exclusive";
        return Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    }
    let guest = guest(call, &args.dom)?;
    if !guest.snapshot().is_active() {
        return Err(not_running());
    }
    let agent = guest.agent()?;
    let (user, keys) = (args.user.to_string_lossy(), texts(&args.keys));
    if args.flags & REMOVE != 0 {
        return Ok(agent.remove_ssh_keys(&user, &keys).await?);
    }
    Ok(agent.add_ssh_keys(&user, &keys, args.flags & APPEND == 0).await?)
}

pub(crate) async fn set_response_timeout(
    call: &Call,
    args: DomainAgentSetResponseTimeoutArgs,
) -> Result<DomainAgentSetResponseTimeoutRet, Fault> {
    call.only_flags(args.flags, 0)?;
    guest(call, &args.dom)?.set_agent_wait(args.timeout)?;
    Ok(DomainAgentSetResponseTimeoutRet { result: 0 })
}
