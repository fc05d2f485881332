//! All figures of many domains at once.

use lodge_engine::{Groups, Record};
use lodge_model::DomainId;
use lodge_wire::remote::{ConnectGetAllDomainStatsArgs, ConnectGetAllDomainStatsRet, DomainStatsRecord};
use uuid::Uuid;

use super::lookup::{passes, wire};
use super::params::to_wire;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT`: nothing here ever waits for an act on a guest.
const NOWAIT: u32 = 1 << 29;
/// `VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING`
const BACKING: u32 = 1 << 30;
/// `VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS`
const ENFORCE: u32 = 1 << 31;
/// The filters: those of `virConnectListAllDomains` for activity, persistence and state.
const FILTERS: u32 = (1 << 8) - 1;

pub(crate) async fn get_all(
    call: &Call,
    args: ConnectGetAllDomainStatsArgs,
) -> Result<ConnectGetAllDomainStatsRet, Fault> {
    call.only_flags(args.flags, FILTERS | NOWAIT | BACKING | ENFORCE)?;
    let unknown = args.stats & !Groups::ALL;
    if unknown != 0 && args.flags & ENFORCE != 0 {
        let text = format!("Stats types bits 0x{unknown:x} are not supported by this daemon or QEMU");
        return Err(Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text));
    }
    let all = call.engine().domain_snapshots(&call.caller());
    let passing = all.iter().filter(|snapshot| passes(snapshot, args.flags & FILTERS));
    let wanted: Vec<DomainId> = if args.doms.is_empty() {
        passing.map(|snapshot| snapshot.id).collect()
    } else {
        let there: std::collections::HashSet<DomainId> = passing.map(|snapshot| snapshot.id).collect();
        let asked = args.doms.iter().map(|dom| DomainId(Uuid::from_bytes(dom.uuid)));
        asked.filter(|id| there.contains(id)).collect()
    };
    let groups = Groups { bits: args.stats, backing: args.flags & BACKING != 0 };
    let records = call.engine().figures_of(&call.caller(), wanted, groups).await?;
    let record = |record: Record| DomainStatsRecord {
        dom: wire(&record.snapshot),
        params: to_wire(record.figures, true),
    };
    Ok(ConnectGetAllDomainStatsRet { ret_stats: records.into_iter().map(record).collect() })
}
