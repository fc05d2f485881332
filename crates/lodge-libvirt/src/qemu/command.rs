//! Commands of the monitor and of the agent, as they are.

use std::time::Duration;

use lodge_engine::Guest;
use lodge_wire::Text;
use lodge_wire::qemu::{
    DomainAgentCommandArgs, DomainAgentCommandRet, DomainMonitorCommandArgs, DomainMonitorCommandRet,
    DomainMonitorCommandWithFilesArgs, DomainMonitorCommandWithFilesRet,
};
use lodge_wire::remote::Domain;

use crate::call::Call;
use crate::fault::{Code, Fault, Origin};
use crate::remote::domain::lookup::find;

/// `VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP`
const HMP: u32 = 1;

fn guest(call: &Call, dom: &Domain) -> Result<Guest, Fault> {
    let handle = find(call, dom)?;
    let guest = call.engine().guest(&call.caller(), handle.id())?;
    guest.must_run()?;
    Ok(guest)
}

/// As libvirtd names the function for both calls.
fn only_known(flags: u32) -> Result<(), Fault> {
    if flags & !HMP == 0 {
        return Ok(());
    }
    let text =
        format!("unsupported flags (0x{:x}) in function qemuDomainQemuMonitorCommandWithFiles", flags & !HMP);
    Err(Fault::bare(Code::InvalidArg, Origin::Qemu, text))
}

async fn command(
    guest: &Guest,
    command: &Text,
    flags: u32,
    fd: Option<std::os::fd::OwnedFd>,
) -> Result<Text, Fault> {
    guest.taint("custom monitor control commands issued");
    let text = command.to_string_lossy();
    let answer = if flags & HMP != 0 {
        guest.human_command(&text).await?
    } else {
        guest.monitor_command(&text, fd).await?
    };
    Ok(answer.into())
}

pub(crate) async fn monitor(
    call: &Call,
    args: DomainMonitorCommandArgs,
) -> Result<DomainMonitorCommandRet, Fault> {
    only_known(args.flags)?;
    let guest = guest(call, &args.dom)?;
    Ok(DomainMonitorCommandRet { result: command(&guest, &args.cmd, args.flags, None).await? })
}

pub(crate) async fn monitor_with_files(
    call: &Call,
    args: DomainMonitorCommandWithFilesArgs,
) -> Result<DomainMonitorCommandWithFilesRet, Fault> {
    only_known(args.flags)?;
    let mut fds = call.take_fds();
    if fds.len() > 1 {
        let text = "at most 1 file descriptor can be passed to QEMU with a command";
        return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
    }
    let guest = guest(call, &args.dom)?;
    let result = command(&guest, &args.cmd, args.flags, fds.pop()).await?;
    Ok(DomainMonitorCommandWithFilesRet { result })
}

pub(crate) async fn agent(call: &Call, args: DomainAgentCommandArgs) -> Result<DomainAgentCommandRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let guest = guest(call, &args.dom)?;
    // -2: as long as it takes; -1: libvirt's default; 0: no answer is waited for.
    let wait = match args.timeout {
        ..=-2 => None,
        -1 => Some(Duration::from_secs(5)),
        seconds => Some(Duration::from_secs(u64::from(seconds.unsigned_abs()).max(1))),
    };
    let agent = guest.agent()?;
    guest.taint("custom guest agent control commands issued");
    let result = agent.raw(&args.cmd.to_string_lossy(), wait).await?;
    Ok(DomainAgentCommandRet { result: Some(result.into()) })
}
