//! Block jobs: begun, followed, limited, ended.

use lodge_engine::block_job::commit::{CommitOptions, commit};
use lodge_engine::block_job::copy::{CopyOptions, Destination, copy};
use lodge_engine::block_job::pull::{PullOptions, pull};
use lodge_engine::block_job::{abort, pivot, speed, speed_of};
use lodge_engine::control::tune::Setting;
use lodge_wire::Text;
use lodge_wire::remote as wire;

use super::lookup;
use super::params::{Kind, change, settings};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

fn text(text: Option<&Text>) -> Option<String> {
    text.map(|text| text.to_string_lossy().into_owned())
}

pub(crate) async fn get_info(
    call: &Call,
    args: wire::DomainGetBlockJobInfoArgs,
) -> Result<wire::DomainGetBlockJobInfoRet, Fault> {
    /// `VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES`
    const BYTES: u32 = 1;
    call.only_flags(args.flags, BYTES)?;
    let job = lookup::find(call, &args.dom)?.block_job(&args.path.to_string_lossy()).await?;
    let Some(job) = job else { return Ok(wire::DomainGetBlockJobInfoRet::default()) };
    let bandwidth = if args.flags & BYTES == 0 { job.speed.div_ceil(1 << 20) } else { job.speed };
    let r#type = i32::from(job.kind as u8);
    Ok(wire::DomainGetBlockJobInfoRet { found: 1, r#type, bandwidth, cur: job.done, end: job.all })
}

pub(crate) async fn abort(call: &Call, args: wire::DomainBlockJobAbortArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_JOB_ABORT_*`
    const ASYNC: u32 = 1;
    const PIVOT: u32 = 2;
    call.only_flags(args.flags, ASYNC | PIVOT)?;
    let (disk, wait) = (args.path.to_string_lossy().into_owned(), args.flags & ASYNC == 0);
    let end = if args.flags & PIVOT == 0 { abort::abort(disk, wait) } else { pivot::pivot(disk, wait) };
    change(call, &args.dom, end).await
}

pub(crate) async fn set_speed(call: &Call, args: wire::DomainBlockJobSetSpeedArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES`
    const BYTES: u32 = 1;
    call.only_flags(args.flags, BYTES)?;
    let limit = speed_of(args.bandwidth, args.flags & BYTES != 0)?;
    change(call, &args.dom, speed::set_speed(args.path.to_string_lossy().into_owned(), limit)).await
}

pub(crate) async fn pull_all(call: &Call, args: wire::DomainBlockPullArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES`
    const BYTES: u32 = 1 << 6;
    call.only_flags(args.flags, BYTES)?;
    let options =
        PullOptions { speed: speed_of(args.bandwidth, args.flags & BYTES != 0)?, ..PullOptions::default() };
    change(call, &args.dom, pull(args.path.to_string_lossy().into_owned(), options)).await
}

pub(crate) async fn rebase(call: &Call, args: wire::DomainBlockRebaseArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_REBASE_*`
    const SHALLOW: u32 = 1;
    const REUSE: u32 = 1 << 1;
    const RAW: u32 = 1 << 2;
    const COPY: u32 = 1 << 3;
    const RELATIVE: u32 = 1 << 4;
    const DEVICE: u32 = 1 << 5;
    const BYTES: u32 = 1 << 6;
    call.only_flags(args.flags, SHALLOW | REUSE | RAW | COPY | RELATIVE | DEVICE | BYTES)?;
    let has = |flag: u32| args.flags & flag != 0;
    let (disk, base) = (args.path.to_string_lossy().into_owned(), text(args.base.as_ref()));
    let speed = speed_of(args.bandwidth, has(BYTES))?;
    if !has(COPY) {
        if has(RELATIVE) && base.is_none() {
            let text = "flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base";
            return Err(Fault::new(Code::InvalidArg, Origin::Qemu, text));
        }
        return change(call, &args.dom, pull(disk, PullOptions { base, relative: has(RELATIVE), speed }))
            .await;
    }
    if has(RELATIVE) {
        let text = "Relative backing during copy not supported yet";
        return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
    }
    let destination = Destination {
        path: base.unwrap_or_default(),
        format: has(RAW).then(|| "raw".to_owned()),
        is_block: has(DEVICE),
        encryption: None,
    };
    let options = CopyOptions { shallow: has(SHALLOW), reuse: has(REUSE), speed, ..CopyOptions::default() };
    change(call, &args.dom, copy(disk, destination, options)).await
}

pub(crate) async fn commit_layers(call: &Call, args: wire::DomainBlockCommitArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_COMMIT_*`
    const SHALLOW: u32 = 1;
    const DELETE: u32 = 1 << 1;
    const ACTIVE: u32 = 1 << 2;
    const RELATIVE: u32 = 1 << 3;
    const BYTES: u32 = 1 << 4;
    call.only_flags(args.flags, SHALLOW | DELETE | ACTIVE | RELATIVE | BYTES)?;
    let has = |flag: u32| args.flags & flag != 0;
    let options = CommitOptions {
        base: text(args.base.as_ref()),
        top: text(args.top.as_ref()),
        shallow: has(SHALLOW),
        active: has(ACTIVE),
        relative: has(RELATIVE),
        delete: has(DELETE),
        speed: speed_of(args.bandwidth, has(BYTES))?,
    };
    change(call, &args.dom, commit(args.disk.to_string_lossy().into_owned(), options)).await
}

pub(crate) async fn copy_disk(call: &Call, args: wire::DomainBlockCopyArgs) -> Result<(), Fault> {
    /// `VIR_DOMAIN_BLOCK_COPY_*`
    const SHALLOW: u32 = 1;
    const REUSE: u32 = 1 << 1;
    const TRANSIENT: u32 = 1 << 2;
    const SYNCHRONOUS: u32 = 1 << 3;
    call.only_flags(args.flags, SHALLOW | REUSE | TRANSIENT | SYNCHRONOUS)?;
    let has = |flag: u32| args.flags & flag != 0;
    let known = [("bandwidth", Kind::Ullong), ("granularity", Kind::Uint), ("buf-size", Kind::Ullong)];
    let settings = settings(args.params, &known)?;
    let number = |wanted: &str| {
        let value = settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        value.map_or(0, Setting::unsigned)
    };
    let destination = Destination::parse(&args.destxml.to_string_lossy())?;
    let options = CopyOptions {
        shallow: has(SHALLOW),
        reuse: has(REUSE),
        transient_job: has(TRANSIENT),
        synchronous: has(SYNCHRONOUS),
        speed: number("bandwidth"),
        granularity: u32::try_from(number("granularity")).unwrap_or(u32::MAX),
        buffer_bytes: number("buf-size"),
    };
    change(call, &args.dom, copy(args.path.to_string_lossy().into_owned(), destination, options)).await
}
