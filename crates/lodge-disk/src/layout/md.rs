//! Linux' software RAID, superblocks of version 1: linear, raid0, and raid1 by one of its members.
//!
//! Layout: the kernel's include/uapi/linux/raid/md_p.h; the sum is md.c's. Deliberately absent: parity, rebuilding,
//! superblocks of version 0.90 (told as members, not read).

use std::{io, sync::Arc};

use lodge_model::guest_disk::Content;

use super::span::{Span, head};
use crate::{
    blocks::Blocks,
    source::{Mapped, Part, Run, Segment},
};

const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: u64 = 512;
const DEVICES_MAX: u32 = 384;
const ROLE_MAX: u16 = 0xfff0;

/// What a member says of itself and its array.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub array: String,
    pub name: String,
    pub device: String,
    level: i32,
    disks: u32,
    chunk_bytes: u64,
    /// What each member gives, and where on this one its part begins and how long it is.
    each_bytes: u64,
    data_start: u64,
    data_bytes: u64,
    events: u64,
    role: u16,
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
        members.iter().filter(|(member, _)| member.events == newest && member.role < ROLE_MAX).collect();
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
        level => Err(format!("raid{level} is not read here; start the guest, or read it with mdadm")),
    }
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
