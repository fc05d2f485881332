//! Memory: free, by cell, by size of page, and how equal pages are merged.

use lodge_wire::remote::{
    NodeAllocPagesArgs, NodeAllocPagesRet, NodeGetCellsFreeMemoryArgs, NodeGetCellsFreeMemoryRet,
    NodeGetFreeMemoryRet, NodeGetFreePagesArgs, NodeGetFreePagesRet, NodeGetMemoryParametersArgs,
    NodeGetMemoryParametersRet, NodeGetMemoryStats, NodeGetMemoryStatsArgs, NodeGetMemoryStatsRet,
    NodeSetMemoryParametersArgs, TypedParam, TypedParamValue,
};

use lodge_engine::host_facts::node::NodeError;

use super::node_fault;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_NODE_ALLOC_PAGES_SET`: the pool is to be this large; otherwise it grows by so many.
const SET: u32 = 1;
/// `VIR_TYPED_PARAM_STRING_OKAY`: clients add it to every call with typed parameters.
const STRING_OKAY: u32 = 4;

pub(crate) async fn free_memory(call: &Call, (): ()) -> Result<NodeGetFreeMemoryRet, Fault> {
    let host = call.engine().host_facts(&call.caller());
    Ok(NodeGetFreeMemoryRet { free_mem: host.node().meminfo("MemFree") * 1024 })
}

pub(crate) async fn cells_free_memory(
    call: &Call,
    args: NodeGetCellsFreeMemoryArgs,
) -> Result<NodeGetCellsFreeMemoryRet, Fault> {
    let bad = |what: &str| {
        Fault::new(Code::InvalidArg, Origin::None, format!("{what} in virNodeGetCellsFreeMemory"))
    };
    let first = u32::try_from(args.start_cell).map_err(|_| bad("startCell"))?;
    let count =
        u32::try_from(args.maxcells).ok().filter(|count| *count > 0).ok_or_else(|| bad("maxCells"))?;
    let host = call.engine().host_facts(&call.caller());
    let cells = host
        .node()
        .cells_free_bytes(first, count)
        .map_err(|error| Fault::internal(Origin::None, error.to_string()))?;
    Ok(NodeGetCellsFreeMemoryRet { cells })
}

/// The cells that a call with a first cell and a count means; a first of -1 is the whole host.
fn cells(start: i32, count: u32) -> Vec<Option<u32>> {
    /// More cells than any host has.
    const MOST: u32 = 1024;
    match u32::try_from(start) {
        Err(_) => vec![None],
        Ok(start) => (0..count.clamp(1, MOST)).map(|next| start.checked_add(next)).collect(),
    }
}

pub(crate) async fn free_pages(
    call: &Call,
    args: NodeGetFreePagesArgs,
) -> Result<NodeGetFreePagesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let host = call.engine().host_facts(&call.caller());
    let node = host.node();
    let last = node.cells().iter().map(|cell| cell.id).max().unwrap_or_default();
    let mut counts = Vec::new();
    for cell in cells(args.start_cell, args.cell_count) {
        let cell = cell.unwrap_or_default();
        if cell > last {
            let text = format!("start cell {cell} out of range (0-{last})");
            return Err(Fault::internal(Origin::None, text));
        }
        for kib in &args.pages {
            counts.push(node.free_pages(cell, *kib).map_err(|error| node_fault(&error))?);
        }
    }
    Ok(NodeGetFreePagesRet { counts })
}

pub(crate) async fn alloc_pages(call: &Call, args: NodeAllocPagesArgs) -> Result<NodeAllocPagesRet, Fault> {
    call.only_flags(args.flags, SET)?;
    let pages: Vec<(u32, u64)> =
        args.page_sizes.iter().copied().zip(args.page_counts.iter().copied()).collect();
    let cells = cells(args.start_cell, args.cell_count);
    let changed = call.engine().set_huge_pages(&call.caller(), &pages, &cells, args.flags & SET == 0);
    let changed = changed.map_err(|error| match error.resource::<NodeError>() {
        Some(own) => node_fault(own),
        None => error.into(),
    })?;
    Ok(NodeAllocPagesRet { ret: i32::try_from(changed).unwrap_or(i32::MAX) })
}

pub(crate) async fn memory_stats(
    call: &Call,
    args: NodeGetMemoryStatsArgs,
) -> Result<NodeGetMemoryStatsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    /// `VIR_NODE_MEMORY_STATS_ALL_CELLS`
    const ALL_CELLS: i32 = -1;
    let figures: &[(&str, &str)] = match args.cell_num {
        ALL_CELLS => {
            &[("total", "MemTotal"), ("free", "MemFree"), ("buffers", "Buffers"), ("cached", "Cached")]
        }
        _ => &[("total", "MemTotal"), ("free", "MemFree")],
    };
    let count = i32::try_from(figures.len()).unwrap_or_default();
    let host = call.engine().host_facts(&call.caller());
    let node = host.node();
    let last = node.cells().iter().map(|cell| cell.id).max().unwrap_or_default();
    if u32::try_from(args.cell_num).is_ok_and(|cell| cell > last) {
        let text = format!("cellNum in virHostMemGetStats must be less than or equal to {last}");
        return Err(Fault::bare(Code::InvalidArg, Origin::None, text));
    }
    if args.nparams == 0 {
        return Ok(NodeGetMemoryStatsRet { params: Vec::new(), nparams: count });
    }
    let told = |name: &str| match u32::try_from(args.cell_num) {
        Ok(cell) => node.cell_figure(cell, name),
        Err(_) => Some(node.meminfo(name)),
    };
    let params = figures.iter().map(|(field, name)| {
        let value = told(name).unwrap_or_default();
        Ok(NodeGetMemoryStats { field: (*field).into(), value })
    });
    let most = usize::try_from(args.nparams).unwrap_or_default();
    Ok(NodeGetMemoryStatsRet { params: params.take(most).collect::<Result<_, Fault>>()?, nparams: 0 })
}

pub(crate) async fn memory_parameters(
    call: &Call,
    args: NodeGetMemoryParametersArgs,
) -> Result<NodeGetMemoryParametersRet, Fault> {
    call.only_flags(args.flags, STRING_OKAY)?;
    let host = call.engine().host_facts(&call.caller());
    let settings = host.node().merging();
    let count = i32::try_from(settings.len()).unwrap_or_default();
    if args.nparams == 0 {
        return Ok(NodeGetMemoryParametersRet { params: Vec::new(), nparams: count });
    }
    let param = |setting: lodge_engine::host_facts::node::MergeSetting| {
        let short = u32::try_from(setting.value).ok().filter(|_| setting.is_short);
        let value = short.map_or(TypedParamValue::Ullong(setting.value), TypedParamValue::Uint);
        TypedParam { field: setting.name.into(), value }
    };
    let most = usize::try_from(args.nparams).unwrap_or_default();
    let params = settings.into_iter().take(most).map(param).collect();
    Ok(NodeGetMemoryParametersRet { params, nparams: 0 })
}

pub(crate) async fn set_memory_parameters(
    call: &Call,
    args: NodeSetMemoryParametersArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, STRING_OKAY)?;
    let mut settings = Vec::new();
    for param in &args.params {
        let TypedParamValue::Uint(value) = param.value else {
            let text = format!("invalid type for parameter '{}', expected 'uint'", param.field);
            return Err(Fault::new(Code::InvalidArg, Origin::None, text));
        };
        settings.push((param.field.to_string_lossy().into_owned(), u64::from(value)));
    }
    Ok(call.engine().set_memory_merging(&call.caller(), &settings)?)
}
