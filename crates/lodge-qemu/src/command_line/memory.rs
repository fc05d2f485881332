//! Memory: how much, and what is behind it.

use lodge_model::domain::memory::{MemoryAccessMode, MemoryAllocationMode, MemoryBacking, MemorySourceKind};

use lodge_model::domain::processors::Processors;

use lodge_model::Bytes;

use super::builder::Builder;
use super::props::Props;

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
    b.at("/domain/memoryBacking");
    let none = MemoryBacking::default();
    let backing = b.domain.memory_backing.as_deref().unwrap_or(&none);
    let object = object(b, backing, own.0);
    // The cells are looked at on the way; what follows is of the backing again.
    b.at("/domain/memoryBacking");
    b.json("-object", &object);
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

/// `pc.ram` is the name that memory has inside a saved or migrated guest.
fn object(b: &mut Builder<'_>, backing: &MemoryBacking, size_bytes: u64) -> Props {
    let source = backing.source.as_ref().map(|source| source.kind);
    let shared = backing.access.as_ref().is_some_and(|access| access.mode == MemoryAccessMode::Shared);
    let kind = match (source, &backing.hugepages) {
        (Some(MemorySourceKind::File), _) => {
            b.refuse_hinted(
                "memory out of a file is not supported yet",
                "<source type='memfd'/> does the same here",
            );
            return Props::object("memory-backend-ram", "pc.ram");
        }
        (Some(MemorySourceKind::Memfd), _) | (_, Some(_)) => "memory-backend-memfd",
        _ => "memory-backend-ram",
    };
    let mut object = Props::object(kind, "pc.ram");
    if let Some(hugepages) = &backing.hugepages {
        object.set("hugetlb", true);
        match hugepages.pages.as_slice() {
            [] => {}
            [page] if page.nodeset.is_none() => {
                let unit = page.unit.as_deref().unwrap_or("KiB");
                match lodge_model::Bytes::scaled(page.size, unit) {
                    Ok(size) => object.set("hugetlbsize", size.0),
                    Err(error) => b.refuse(format!("the size of huge pages: {error}")),
                }
            }
            _ => b.refuse("huge pages of several sizes are not supported yet"),
        }
    }
    if shared {
        object.set("share", true);
    } else if kind == "memory-backend-memfd" {
        object.set("share", false);
    }
    if let Some(allocation) = &backing.allocation {
        if allocation.mode == Some(MemoryAllocationMode::Immediate) {
            object.set("prealloc", true);
        }
        if let Some(threads) = allocation.threads {
            object.set("prealloc-threads", threads);
        }
    }
    cells(b, object.with("size", size_bytes))
}

/// `<numatune>`: the host's cells that the memory comes from. `restrictive` is a matter of the cgroup alone.
fn cells(b: &mut Builder<'_>, object: Props) -> Props {
    b.at("/domain/numatune");
    let tree = b.domain.numatune.tree("numatune").unwrap_or_default();
    if tree.child("memnode").is_some() {
        b.refuse("cells of the guest's own (<memnode>) are not supported yet");
    }
    let Some(memory) = tree.child("memory") else { return object };
    if memory.attribute("placement") == Some("auto") {
        b.refuse_hinted("numad is not available on this host", "name a nodeset");
        return object;
    }
    let Some(nodes) = memory.attribute("nodeset").and_then(Processors::parse) else {
        b.refuse("<memory> needs a nodeset, such as 0-1");
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
