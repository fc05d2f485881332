//! Linux' software RAID, superblocks of version 1: linear, raid0, raid1 by one of its members, and, with all members and only
//! to be read, raid4, 5, 6 and 10.
//!
//! Layout: the kernel's include/uapi/linux/raid/md_p.h; the sum is md.c's. Deliberately absent: computing what is missing from
//! parity, arrays amid a change of their shape, a write journal, superblocks of version 0.90 (told as members, not read).

use std::{io, sync::Arc};

use lodge_model::guest_disk::Content;

use super::span::{Span, head};
use crate::{
    blocks::Blocks,
    source::{Mapped, Order, Part, Run, Segment, Shape},
};

const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: u64 = 512;
const DEVICES_MAX: u32 = 384;
/// Roles from here on are none: spare, faulty, journal.
const ROLE_MAX: u16 = 0xff00;
/// `MD_FEATURE_RECOVERY_OFFSET`: what is behind an offset is not on this member yet.
const AMID_FILLING: u32 = 2;
/// `MD_FEATURE_RESHAPE_ACTIVE`.
const AMID_CHANGE: u32 = 4;
/// `MD_FEATURE_JOURNAL`.
const JOURNAL: u32 = 0x200;

/// What a member says of itself and its array.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub array: String,
    pub name: String,
    pub device: String,
    level: i32,
    /// What a level has of variants.
    layout: u32,
    features: u32,
    disks: u32,
    chunk_bytes: u64,
    /// What each member gives, and where on this one its part begins and how long it is.
    each_bytes: u64,
    data_start: u64,
    data_bytes: u64,
    events: u64,
    role: u16,
}

impl Member {
    /// Whether all that it should hold is on it: it is in use, and nobody was still filling it.
    fn is_whole(&self) -> bool {
        self.role < ROLE_MAX && self.features & AMID_FILLING == 0
    }
}

/// The superblock of a member, if it is one.
pub(super) fn read(device: &dyn Blocks) -> io::Result<Option<Member>> {
    let end = (device.bytes() / SECTOR).checked_sub(16).map(|sector| (sector & !7) * SECTOR);
    for at in [Some(0), Some(4096), end].into_iter().flatten() {
        let bytes = head(device, at, 4096)?;
        if let Some(member) = parse(Span(&bytes)) {
            return Ok(Some(member));
        }
    }
    Ok(None)
}

/// The same as `blkid` tells it.
pub(super) fn member(device: &dyn Blocks) -> io::Result<Option<Content>> {
    Ok(read(device)?.map(|member| Content {
        kind: "linux_raid_member".to_owned(),
        uuid: Some(member.array),
        label: (!member.name.is_empty()).then(|| member.name.clone()),
        group: Some((member.name, member.device)),
        used: None,
    }))
}

fn parse(span: Span<'_>) -> Option<Member> {
    if span.u32_le(0) != Some(MAGIC) || span.u32_le(4) != Some(1) {
        return None;
    }
    let devices = span.u32_le(220).filter(|devices| *devices <= DEVICES_MAX)?;
    let length = 256 + 2 * devices as usize;
    let mut sum = 0_u64;
    for at in (0..length / 4 * 4).step_by(4).filter(|at| *at != 216) {
        sum += u64::from(span.u32_le(at)?);
    }
    if length % 4 == 2 {
        sum += u64::from(span.u16_le(length - 2)?);
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    if span.u32_le(216).map(u64::from) != Some(sum & 0xffff_ffff) {
        return None;
    }
    let number = span.u32_le(160).filter(|number| *number < devices)?;
    let sectors = |at| span.u64_le(at).and_then(|sectors| sectors.checked_mul(SECTOR));
    Some(Member {
        array: span.uuid(16)?,
        name: span.label(32, 32).unwrap_or_default(),
        device: span.uuid(168).unwrap_or_default(),
        level: span.u32_le(72)?.cast_signed(),
        layout: span.u32_le(76)?,
        features: span.u32_le(8)?,
        disks: span.u32_le(92)?,
        chunk_bytes: u64::from(span.u32_le(88)?) * SECTOR,
        each_bytes: sectors(80)?,
        data_start: sectors(128)?,
        data_bytes: sectors(136)?,
        events: span.u64_le(200)?,
        role: span.u16_le(256 + 2 * number as usize)?,
    })
}

/// The array's bytes, from those of its members that are there.
pub(super) fn assemble(members: &[(Member, Arc<dyn Blocks>)]) -> Result<Arc<dyn Blocks>, String> {
    let newest = members.iter().map(|(member, _)| member.events).max().unwrap_or(0);
    let mut current: Vec<&(Member, Arc<dyn Blocks>)> =
        members.iter().filter(|(member, _)| member.is_whole() && member.events == newest).collect();
    current.sort_by_key(|(member, _)| member.role);
    current.dedup_by_key(|(member, _)| member.role);
    let Some((first, device)) = current.first() else {
        return Err("none of its members is in use".to_owned());
    };
    let broken = |error: io::Error| format!("it cannot be put together: {error}");
    match first.level {
        1 => Part::new(device.clone(), first.data_start, first.each_bytes)
            .map(|part| Arc::new(ReadOnly(part)) as Arc<dyn Blocks>)
            .map_err(broken),
        0 | -1 => {
            if current.len() != first.disks as usize {
                return Err(format!("{} of its {} members are there", current.len(), first.disks));
            }
            let chunk = first.chunk_bytes;
            let usable = |member: &Member| match chunk {
                0 => member.data_bytes,
                chunk => member.data_bytes / chunk * chunk,
            };
            let run = |(member, device): &(Member, Arc<dyn Blocks>)| Run {
                of: device.clone(),
                start: member.data_start,
            };
            let segments = if first.level == -1 {
                let linear =
                    current.iter().map(|pair| Segment::Linear { bytes: usable(&pair.0), run: run(pair) });
                linear.collect()
            } else {
                let each = usable(first);
                if current.iter().any(|(member, _)| usable(member) != each) {
                    return Err("it is a raid0 of members of unlike sizes, which is not read here".to_owned());
                }
                let bytes = each.checked_mul(current.len() as u64).ok_or("its size is beyond measure")?;
                let runs = current.iter().map(|pair| run(pair)).collect();
                vec![Segment::Striped { bytes, chunk_bytes: chunk, runs }]
            };
            Mapped::new(segments, true).map(|map| Arc::new(map) as Arc<dyn Blocks>).map_err(broken)
        }
        4 | 5 | 6 | 10 => parity_or_copies(first, &current).and_then(|segment| {
            Mapped::new(vec![segment], false).map(|map| Arc::new(map) as Arc<dyn Blocks>).map_err(broken)
        }),
        level => Err(format!("raid{level} is not read here; start the guest, or read it with mdadm")),
    }
}

/// An array whose members hold more than data. All must be there: nothing is computed, nothing is guessed.
fn parity_or_copies(first: &Member, current: &[&(Member, Arc<dyn Blocks>)]) -> Result<Segment, String> {
    let (level, members) = (first.level, current.len() as u64);
    if members != u64::from(first.disks) {
        return Err(format!(
            "{members} of its {} members are there; a raid{level} is read here with all of them (start the guest)",
            first.disks
        ));
    }
    let said =
        |what: &str| Err(format!("it is a raid{level} {what}; start the guest, or read it with mdadm"));
    if current.iter().any(|(member, _)| member.features & AMID_CHANGE != 0) {
        return said("amid a change of its shape");
    }
    if current.iter().any(|(member, _)| member.features & JOURNAL != 0) {
        return said("with a write journal, which may hold what is not in its place yet");
    }
    let shape = match level {
        10 => {
            let (near, far) = (first.layout & 0xff, first.layout >> 8 & 0xff);
            let is_offset = first.layout >> 16 & 1 != 0;
            if first.layout >> 17 != 0 || near == 0 || far == 0 {
                return said(&format!("of the layout 0x{:x}, which is not read here", first.layout));
            }
            // Far copies lie behind all first ones: only as much of each member is theirs.
            let (rows, each) =
                if is_offset { (far, first.each_bytes) } else { (1, first.each_bytes / u64::from(far)) };
            return array(first, current, Shape::Copies { near, rows }, each);
        }
        4 => Shape::Parity { parity: 1, order: Order::Last },
        _ => {
            let Some(order) = Order::of(first.layout) else {
                return said(&format!("of the layout {}, which is not read here", first.layout));
            };
            Shape::Parity { parity: if level == 6 { 2 } else { 1 }, order }
        }
    };
    array(first, current, shape, first.each_bytes)
}

fn array(
    first: &Member,
    current: &[&(Member, Arc<dyn Blocks>)],
    shape: Shape,
    each_bytes: u64,
) -> Result<Segment, String> {
    let (chunk_bytes, members) = (first.chunk_bytes, current.len() as u64);
    if chunk_bytes == 0 || !shape.fits(members) {
        return Err("its superblock contradicts itself".to_owned());
    }
    let rows = each_bytes / chunk_bytes;
    let bytes = shape.chunks(members, rows).and_then(|chunks| chunks.checked_mul(chunk_bytes));
    let bytes = bytes.ok_or("its size is beyond measure")?;
    let runs = current.iter().map(|(member, device)| Run { of: device.clone(), start: member.data_start });
    Ok(Segment::Array { bytes, chunk_bytes, shape, each_bytes: rows * chunk_bytes, runs: runs.collect() })
}

/// One leg of a mirror: writing it alone would part it from the others.
#[derive(Debug)]
pub(super) struct ReadOnly<B>(pub B);

impl<B: Blocks> Blocks for ReadOnly<B> {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
