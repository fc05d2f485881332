//! How much memory a domain has, and how often it tells of its use.

use lodge_engine::control::{Scope, memory};
use lodge_wire::remote::{
    DomainSetMaxMemoryArgs, DomainSetMemoryArgs, DomainSetMemoryFlagsArgs, DomainSetMemoryStatsPeriodArgs,
};

use super::params::{CONFIG, LIVE, change, scope};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_MEM_MAXIMUM`
const MAXIMUM: u32 = 4;

pub(crate) async fn set_memory(call: &Call, args: DomainSetMemoryArgs) -> Result<(), Fault> {
    change(call, &args.dom, memory::set(args.memory, Scope::LIVE)).await
}

pub(crate) async fn set_max_memory(call: &Call, args: DomainSetMaxMemoryArgs) -> Result<(), Fault> {
    change(call, &args.dom, memory::set_maximum(args.memory, Scope::default())).await
}

pub(crate) async fn set_memory_flags(call: &Call, args: DomainSetMemoryFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | MAXIMUM)?;
    let to = if args.flags & MAXIMUM == 0 { memory::set } else { memory::set_maximum };
    change(call, &args.dom, to(args.memory, scope(args.flags))).await
}

pub(crate) async fn set_memory_stats_period(
    call: &Call,
    args: DomainSetMemoryStatsPeriodArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let seconds = u32::try_from(args.period).map_err(|_| {
        let text = "period in virDomainSetMemoryStatsPeriod must be zero or greater";
        Fault::bare(Code::InvalidArg, Origin::Domain, text)
    })?;
    change(call, &args.dom, memory::set_stats_period(seconds, scope(args.flags))).await
}
