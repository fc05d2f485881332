//! Jobs on a guest: how far, how they ended, and breaking them off.

use lodge_engine::verb::{JobPhase, JobStats};
use lodge_wire::remote::{self as wire, TypedParam, TypedParamValue};

use super::lookup;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

pub(crate) async fn get_info(
    call: &Call,
    args: wire::DomainGetJobInfoArgs,
) -> Result<wire::DomainGetJobInfoRet, Fault> {
    let stats = lookup::find(call, &args.dom)?.job().await?;
    let (total, processed, remaining) = bytes(&stats);
    Ok(wire::DomainGetJobInfoRet {
        r#type: i32::from(stats.phase as u8),
        time_elapsed: stats.elapsed_ms,
        time_remaining: 0,
        data_total: total,
        data_processed: processed,
        data_remaining: remaining,
        mem_total: total,
        mem_processed: processed,
        mem_remaining: remaining,
        file_total: 0,
        file_processed: 0,
        file_remaining: 0,
    })
}

fn bytes(stats: &JobStats) -> (u64, u64, u64) {
    match (stats.memory, stats.dump) {
        (Some(memory), _) => (memory.total, memory.transferred, memory.remaining),
        (None, Some((done, all))) => (all, done, all.saturating_sub(done)),
        (None, None) => (0, 0, 0),
    }
}

pub(crate) async fn get_stats(
    call: &Call,
    args: wire::DomainGetJobStatsArgs,
) -> Result<wire::DomainGetJobStatsRet, Fault> {
    const COMPLETED: u32 = 1 << 0;
    const KEEP_COMPLETED: u32 = 1 << 1;
    call.only_flags(args.flags, COMPLETED | KEEP_COMPLETED)?;
    let handle = lookup::find(call, &args.dom)?;
    let stats = if args.flags & COMPLETED != 0 {
        handle.completed_job(args.flags & KEEP_COMPLETED != 0).await?.unwrap_or_default()
    } else {
        handle.job().await?
    };
    Ok(wire::DomainGetJobStatsRet { r#type: i32::from(stats.phase as u8), params: params(&stats) })
}

/// `VIR_DOMAIN_JOB_*`, in libvirt's order. Without a job there are none.
pub(crate) fn params(stats: &JobStats) -> Vec<TypedParam> {
    if stats.phase == JobPhase::None {
        return Vec::new();
    }
    let mut params = Vec::new();
    let mut put = |field: &str, value| params.push(TypedParam { field: field.into(), value });
    let number = TypedParamValue::Ullong;
    put("operation", TypedParamValue::Int(i32::from(stats.operation as u8)));
    put("time_elapsed", number(stats.elapsed_ms));
    if let Some(memory) = &stats.memory {
        if let Some(downtime) = memory.downtime_ms {
            put("downtime", number(downtime));
        }
        if let Some(setup) = memory.setup_ms {
            put("setup_time", number(setup));
        }
    }
    let (total, processed, remaining) = bytes(stats);
    for part in ["data", "memory"] {
        put(&format!("{part}_total"), number(total));
        put(&format!("{part}_processed"), number(processed));
        put(&format!("{part}_remaining"), number(remaining));
    }
    if let Some(memory) = &stats.memory {
        put("memory_bps", number(memory.bytes_per_second));
        put("memory_constant", number(memory.constant));
        put("memory_normal", number(memory.normal));
        put("memory_normal_bytes", number(memory.normal_bytes));
        put("memory_dirty_rate", number(memory.dirty_rate));
        put("memory_iteration", number(memory.iteration));
        put("memory_postcopy_requests", number(memory.postcopy_requests));
        put("memory_page_size", number(memory.page_size));
    }
    params
}

pub(crate) async fn abort(call: &Call, args: wire::DomainAbortJobArgs) -> Result<(), Fault> {
    let handle = lookup::find_to_change(call, &args.dom)?;
    running(&handle)?;
    Ok(handle.abort_job().await?)
}

pub(crate) async fn abort_flags(call: &Call, args: wire::DomainAbortJobFlagsArgs) -> Result<(), Fault> {
    const POSTCOPY: u32 = 1 << 0;
    call.only_flags(args.flags, POSTCOPY)?;
    let handle = lookup::find_to_change(call, &args.dom)?;
    running(&handle)?;
    if args.flags & POSTCOPY != 0 {
        let text = "current job is not outgoing migration in post-copy mode";
        return Err(Fault::new(Code::OperationInvalid, Origin::Qemu, text));
    }
    Ok(handle.abort_job().await?)
}

fn running(handle: &lodge_engine::Handle) -> Result<(), Fault> {
    if handle.snapshot().is_active() { Ok(()) } else { Err(crate::fault::domain::not_running()) }
}

#[cfg(test)]
mod tests {
    use lodge_engine::verb::{JobOperation, MemoryStats};

    use super::*;

    #[test]
    fn a_saves_figures_have_libvirts_names_and_order() {
        let memory = MemoryStats {
            downtime_ms: Some(5),
            total: 10,
            transferred: 4,
            remaining: 6,
            ..MemoryStats::default()
        };
        let stats = JobStats {
            phase: JobPhase::Completed,
            operation: JobOperation::Save,
            elapsed_ms: 7,
            memory: Some(memory),
            dump: None,
        };
        let names: Vec<_> = params(&stats).iter().map(|param| param.field.to_string()).collect();
        assert_eq!(names[..4], ["operation", "time_elapsed", "downtime", "data_total"]);
        assert_eq!(names.last().unwrap(), "memory_page_size");
        assert_eq!(names.len(), 17);
        assert_eq!(params(&stats)[0].value, TypedParamValue::Int(2));
        assert!(params(&JobStats::default()).is_empty());
    }
}
