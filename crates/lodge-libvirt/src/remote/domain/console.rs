//! Consoles, channels and screens: streams and descriptors.

use std::os::fd::OwnedFd;

use lodge_wire::remote::{
    DomainOpenChannelArgs, DomainOpenConsoleArgs, DomainOpenGraphicsArgs, DomainOpenGraphicsFdArgs,
    DomainScreenshotArgs, DomainScreenshotRet,
};

use super::params::guest;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};
use crate::stream::Reader;

/// `VIR_DOMAIN_CONSOLE_FORCE`, `VIR_DOMAIN_CHANNEL_FORCE`
const FORCE: u32 = 1;
/// `VIR_DOMAIN_CONSOLE_SAFE`: nobody else has the console, as always here.
const SAFE: u32 = 2;
/// `VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH`
const SKIP_AUTH: u32 = 1;

pub(crate) async fn open_console(call: &Call, args: DomainOpenConsoleArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, FORCE | SAFE)?;
    let name = args.dev_name.as_ref().map(lodge_wire::Text::to_string_lossy);
    let terminal = guest(call, &args.dom)?.open_console(name.as_deref(), args.flags & FORCE != 0).await?;
    call.duplex_stream(terminal);
    Ok(())
}

pub(crate) async fn open_channel(call: &Call, args: DomainOpenChannelArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, FORCE)?;
    let name = args.name.as_ref().map(lodge_wire::Text::to_string_lossy);
    let terminal = guest(call, &args.dom)?.open_channel(name.as_deref(), args.flags & FORCE != 0).await?;
    call.duplex_stream(terminal);
    Ok(())
}

pub(crate) async fn screenshot(
    call: &Call,
    args: DomainScreenshotArgs,
) -> Result<DomainScreenshotRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let picture = guest(call, &args.dom)?.screenshot(args.screen).await?;
    call.send_stream(Reader(std::io::Cursor::new(picture.bytes)));
    Ok(DomainScreenshotRet { mime: Some(picture.mime.into()) })
}

pub(crate) async fn open_graphics(call: &Call, args: DomainOpenGraphicsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, SKIP_AUTH)?;
    let fd: OwnedFd = call
        .take_fds()
        .into_iter()
        .next()
        .ok_or_else(|| Fault::new(Code::InternalError, Origin::Rpc, "No FD available at slot 0"))?;
    Ok(guest(call, &args.dom)?.open_graphics(args.idx, fd, args.flags & SKIP_AUTH != 0).await?)
}

pub(crate) async fn open_graphics_fd(call: &Call, args: DomainOpenGraphicsFdArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, SKIP_AUTH)?;
    let fd = guest(call, &args.dom)?.graphics_connection(args.idx, args.flags & SKIP_AUTH != 0).await?;
    call.reply_fds(vec![fd]);
    Ok(())
}
