//! Memory: how much, and what is behind it.

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::NumaCell;
use lodge_model::domain::memory::{
    HugePage, MemoryAccessMode, MemoryAllocationMode, MemoryBacking, MemorySourceKind,
};
use lodge_model::xml::Kept;

use lodge_model::domain::processors::Processors;

use lodge_model::Bytes;

use super::builder::Builder;
use super::props::Props;

/// Under which name the file is claimed that the whole memory is in.
const WHOLE: &str = "pc.ram";

/// `-m`, the object behind it, and whether it is locked.
pub(super) fn memory(b: &mut Builder<'_>) {
    b.at("/domain/memory");
    let size = b.domain.memory.size;
    if size.0 == 0 {
        b.refuse("a guest needs memory");
    }
    // What modules have comes with them.
    let own = Bytes(size.0.saturating_sub(super::module::total(b.domain).0));
    let mut text = format!("size={}k", own.kib());
    if let Some(most) = b.domain.max_memory.as_deref().filter(|most| most.size > own) {
        text += &format!(",slots={},maxmem={}k", most.slots.unwrap_or(16), most.size.kib());
    }
    b.arg("-m", text);
    at_backing(b);
    let none = MemoryBacking::default();
    let backing = b.domain.memory_backing.as_deref().unwrap_or(&none);
    if !super::numa::has_cells(b.domain) {
        let name = b.ram_id();
        let object = object(b, &name, own.0, None);
        // The host's cells are looked at on the way; what follows is of the backing again.
        at_backing(b);
        b.json("-object", &object);
    }
    b.arg("-overcommit", if backing.locked { "mem-lock=on" } else { "mem-lock=off" });
    if backing.locked {
        b.lock_memory();
    }
    b.at("/domain/currentMemory");
    match &b.domain.current_memory {
        Some(now) if now.size > size => b.refuse("the guest cannot have more than <memory> says"),
        Some(now) if now.size < size && !b.claims.incoming => {
            b.command("balloon", serde_json::json!({ "value": now.size.0 }));
        }
        _ => {}
    }
}

/// What says what is behind the memory; without it, the memory itself.
fn at_backing(b: &mut Builder<'_>) {
    b.at(if b.domain.memory_backing.is_some() { "/domain/memoryBacking" } else { "/domain/memory" });
}

/// What is behind the guest's memory, or behind that of one of its cells.
pub(super) fn object(b: &mut Builder<'_>, id: &str, size_bytes: u64, cell: Option<&NumaCell>) -> Props {
    at_backing(b);
    let none = MemoryBacking::default();
    let backing = b.domain.memory_backing.as_deref().unwrap_or(&none);
    let source = backing.source.as_ref().map(|source| source.kind);
    let shared = match cell.and_then(|cell| cell.access.as_deref()) {
        Some(access) => access == "shared",
        None => backing.access.as_ref().is_some_and(|access| access.mode == MemoryAccessMode::Shared),
    };
    let number = cell.and_then(|cell| cell.id);
    let pages = pages_of(backing, number);
    let kind = match (source, &pages) {
        (Some(MemorySourceKind::Memfd), _) | (_, Pages::Huge | Pages::HugeOf(_)) => "memory-backend-memfd",
        (Some(MemorySourceKind::File), Pages::Usual) => "memory-backend-file",
        _ => "memory-backend-ram",
    };
    let mut object = Props::object(kind, id);
    if kind == "memory-backend-file" {
        // Of the whole memory by one name, whatever the machine calls it.
        match b.claims.memory.get(if cell.is_some() { id } else { WHOLE }) {
            // Known by name only to QEMU, and without one: see `boot`.
            Some(fd) => object.set("mem-path", format!("/proc/self/fd/{fd}")),
            None => b.refuse("no file was made for it"),
        }
        if backing.discard {
            object.set("discard-data", true);
        }
    }
    if !matches!(pages, Pages::Usual) {
        object.set("hugetlb", true);
    }
    if let Pages::HugeOf(page) = pages {
        match lodge_model::Bytes::scaled(page.size, page.unit.as_deref().unwrap_or("KiB")) {
            Ok(size) => object.set("hugetlbsize", size.0),
            Err(error) => b.refuse(format!("the size of huge pages: {error}")),
        }
    }
    if shared {
        object.set("share", true);
    } else if kind != "memory-backend-ram" {
        object.set("share", false);
    }
    // Huge pages are taken at the start: a host that has too few says so then.
    let mode = backing.allocation.as_ref().and_then(|allocation| allocation.mode);
    if mode == Some(MemoryAllocationMode::Immediate) || !matches!(pages, Pages::Usual) {
        object.set("prealloc", true);
    }
    if let Some(threads) = backing.allocation.as_ref().and_then(|allocation| allocation.threads) {
        object.set("prealloc-threads", threads);
    }
    host_cells(b, object.with("size", size_bytes), number)
}

/// The names of the memory objects that are each in a file: [`Claims::memory`](crate::Claims) has one for each.
pub fn memory_files(domain: &Domain) -> Vec<String> {
    let Some(backing) = domain.memory_backing.as_deref() else { return Vec::new() };
    if backing.source.as_ref().is_none_or(|source| source.kind != MemorySourceKind::File) {
        return Vec::new();
    }
    let in_file = |cell: Option<u32>| matches!(pages_of(backing, cell), Pages::Usual);
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map(|numa| numa.cells.as_slice());
    match cells.unwrap_or_default() {
        [] => in_file(None).then(|| WHOLE.to_owned()).into_iter().collect(),
        cells => (0_u32..)
            .zip(cells)
            .filter(|(_, cell)| cell.memory > 0)
            .map(|(at, cell)| cell.id.unwrap_or(at))
            .filter(|number| in_file(Some(*number)))
            .map(|number| format!("ram-node{number}"))
            .collect(),
    }
}

/// What the memory of a cell, or the whole memory, is made of.
enum Pages<'a> {
    Usual,
    Huge,
    HugeOf(&'a HugePage),
}

fn pages_of(backing: &MemoryBacking, cell: Option<u32>) -> Pages<'_> {
    let Some(hugepages) = &backing.hugepages else { return Pages::Usual };
    match page_of(&hugepages.pages, cell) {
        (_, Some(page)) => Pages::HugeOf(page),
        (0, None) => Pages::Huge,
        // Pages of named sizes are for other cells.
        (_, None) => Pages::Usual,
    }
}

/// How many sizes of pages are named, and which of them the cell has: its own, or the one for all.
fn page_of(pages: &[HugePage], cell: Option<u32>) -> (usize, Option<&HugePage>) {
    let is_own = |page: &&HugePage| {
        let cells = page.nodeset.as_deref().and_then(Processors::parse).unwrap_or_default();
        cells.numbers().contains(&cell.unwrap_or(0))
    };
    let own = pages.iter().find(is_own);
    (pages.len(), own.or_else(|| pages.iter().find(|page| page.nodeset.is_none())))
}

/// `<numatune>`: the host's cells that the memory comes from. `restrictive` is a matter of the cgroup alone.
fn host_cells(b: &mut Builder<'_>, object: Props, cell: Option<u32>) -> Props {
    b.at("/domain/numatune");
    let tree = b.domain.numatune.tree("numatune").unwrap_or_default();
    let is_own = |item: &&Kept| item.attribute("cellid").and_then(|id| id.parse().ok()) == cell;
    let own = cell.and_then(|_| tree.all("memnode").find(is_own));
    let Some(memory) = own.or_else(|| tree.child("memory")) else { return object };
    if memory.attribute("placement") == Some("auto") {
        b.refuse("Advice from numad is needed in case of automatic numa placement");
        return object;
    }
    let Some(nodes) = memory.attribute("nodeset").and_then(Processors::parse) else {
        b.refuse(format!("<{}> needs a nodeset, such as 0-1", memory.name));
        return object;
    };
    let policy = match memory.attribute("mode").unwrap_or("strict") {
        "strict" => "bind",
        "preferred" => "preferred",
        "interleave" => "interleave",
        "restrictive" => return object,
        other => {
            b.refuse(format!("mode='{other}' is none of strict, preferred, interleave, restrictive"));
            return object;
        }
    };
    object.with("host-nodes", nodes.numbers().to_vec()).with("policy", policy)
}
