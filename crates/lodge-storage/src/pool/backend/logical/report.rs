//! What `lvs`, `vgs` and `pvs` print with `--reportformat json`, read. Pure. See lvmreport(7).
//!
//! A line of `lvs` is a segment: a volume that lies in several places has several.

use lodge_model::storage::Extent;
use serde::Deserialize;

/// What `lvs` is asked for.
pub(crate) const VOLUME_FIELDS: &str =
    "lv_name,origin,lv_uuid,lv_size,seg_size,vg_extent_size,devices,lv_attr";

/// A group's sizes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub size: u64,
    pub free: u64,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logical {
    pub name: String,
    /// What it is a snapshot of.
    pub origin: Option<String>,
    pub uuid: String,
    /// Its size as LVM has it: of a snapshot, the room for what differs.
    pub allocation: u64,
    /// Where its parts lie.
    pub segments: Vec<(String, Extent)>,
}

#[derive(Deserialize)]
struct Printed<T> {
    report: Vec<T>,
}

#[derive(Deserialize)]
struct Volumes {
    lv: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    lv_name: String,
    origin: String,
    lv_uuid: String,
    lv_size: String,
    seg_size: String,
    vg_extent_size: String,
    devices: String,
    lv_attr: String,
}

#[derive(Deserialize)]
struct Groups {
    vg: Vec<Sizes>,
}

#[derive(Deserialize)]
struct Sizes {
    vg_size: String,
    vg_free: String,
}

#[derive(Deserialize)]
struct Members {
    pv: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    pv_name: String,
    vg_name: String,
}

fn parse<'a, T: Deserialize<'a>>(printed: &'a [u8], program: &str) -> Result<Vec<T>, String> {
    let read: Result<Printed<T>, _> = serde_json::from_slice(printed);
    read.map(|printed| printed.report)
        .map_err(|error| format!("what {program} printed is not understood: {error}"))
}

fn bytes(text: &str, field: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("malformed volume {field} value '{text}'"))
}

/// The volumes that a caller sees: no pool's innards, and what is a thin pool is no volume.
pub(crate) fn volumes(printed: &[u8]) -> Result<Vec<Logical>, String> {
    let mut found: Vec<Logical> = Vec::new();
    for segment in parse::<Volumes>(printed, "lvs")?.into_iter().flat_map(|volumes| volumes.lv) {
        // lvs(8): the first letter of the attributes is the type; `t` is a thin pool, in brackets is what is hidden.
        if segment.lv_name.starts_with('[') || segment.lv_attr.starts_with('t') {
            continue;
        }
        let length = bytes(&segment.seg_size, "extent length")?;
        let allocation = bytes(&segment.lv_size, "allocation")?;
        let extent_bytes = bytes(&segment.vg_extent_size, "extent size")?;
        let is_new = found.last().is_none_or(|last| last.name != segment.lv_name);
        if is_new {
            found.push(Logical {
                name: segment.lv_name.clone(),
                origin: Some(plain_origin(&segment.origin)).filter(|origin| !origin.is_empty()),
                uuid: segment.lv_uuid.clone(),
                allocation,
                segments: Vec::new(),
            });
        }
        let Some(volume) = found.last_mut() else { continue };
        volume.segments.extend(places(&segment.devices, extent_bytes, length));
    }
    Ok(found)
}

/// An origin that nobody sees (of a sparse volume) is written in brackets; it is none to a caller.
fn plain_origin(origin: &str) -> String {
    if origin.starts_with('[') { String::new() } else { origin.to_owned() }
}

/// `/dev/sdb(0),/dev/sdc(25)`: devices, each with its first extent. A striped segment is shared evenly.
fn places(devices: &str, extent_bytes: u64, length: u64) -> Vec<(String, Extent)> {
    let parts: Vec<_> = devices
        .split(',')
        .filter_map(|part| {
            let (device, first) = part.strip_suffix(')')?.rsplit_once('(')?;
            Some((device, first.parse::<u64>().ok()?))
        })
        .collect();
    let share = length / (parts.len().max(1) as u64);
    let place = |(device, first): (&str, u64)| {
        let start = first.saturating_mul(extent_bytes);
        (device.to_owned(), Extent { start, end: start.saturating_add(share) })
    };
    parts.into_iter().filter(|(device, _)| device.starts_with('/')).map(place).collect()
}

/// A group's sizes.
pub(crate) fn group(printed: &[u8]) -> Result<Group, String> {
    let sizes = parse::<Groups>(printed, "vgs")?.into_iter().flat_map(|groups| groups.vg).next();
    let sizes = sizes.ok_or_else(|| "vgs printed no volume group".to_owned())?;
    Ok(Group { size: bytes(&sizes.vg_size, "group size")?, free: bytes(&sizes.vg_free, "group room")? })
}

/// Physical volumes, each with its group's name, which may be empty.
pub(crate) fn members(printed: &[u8]) -> Result<Vec<(String, String)>, String> {
    let members = parse::<Members>(printed, "pvs")?.into_iter().flat_map(|members| members.pv);
    Ok(members.map(|member| (member.pv_name, member.vg_name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, origin: &str, sizes: (u64, u64), devices: &str) -> String {
        let (size, segment) = sizes;
        format!(
            r#"{{"lv_name":"{name}","origin":"{origin}","lv_uuid":"u-{name}","lv_size":"{size}","seg_size":"{segment}",
               "vg_extent_size":"4194304","devices":"{devices}","lv_attr":"-wi-a-----"}}"#
        )
    }

    #[test]
    fn segments_make_volumes() {
        let lines = [
            line("a", "", (12 << 20, 8 << 20), "/dev/sdb(0)"),
            line("a", "", (12 << 20, 4 << 20), "/dev/sdc(5)"),
            line("snap", "a", (4 << 20, 4 << 20), "/dev/sdb(2)"),
            line("thin", "", (1 << 30, 1 << 30), ""),
            line("[hidden]", "", (1, 1), "/dev/sdb(9)"),
            line("sparse", "[sparse_vorigin]", (4 << 20, 4 << 20), "/dev/sdb(3)"),
        ];
        let printed = format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, lines.join(","));
        let found = volumes(printed.as_bytes()).unwrap();
        let shown: Vec<_> =
            found.iter().map(|v| (v.name.as_str(), v.origin.as_deref(), v.allocation >> 20)).collect();
        let wanted = [("a", None, 12), ("snap", Some("a"), 4), ("thin", None, 1024), ("sparse", None, 4)];
        assert_eq!(shown, wanted);
        assert_eq!(found[0].segments[1], ("/dev/sdc".to_owned(), Extent { start: 20 << 20, end: 24 << 20 }));
    }

    #[test]
    fn groups_and_their_members_are_read() {
        let printed = br#"{"report":[{"vg":[{"vg_size":"104857600","vg_free":"4194304"}]}]}"#;
        assert_eq!(group(printed).unwrap(), Group { size: 104_857_600, free: 4_194_304 });
        let printed = br#"{"report":[{"pv":[{"pv_name":"/dev/sdb","vg_name":""},{"pv_name":"/dev/sdc","vg_name":"vg0"}]}]}"#;
        assert_eq!(members(printed).unwrap()[1], ("/dev/sdc".to_owned(), "vg0".to_owned()));
        assert!(group(br#"{"report":[{"vg":[]}]}"#).unwrap_err().contains("no volume group"));
        assert!(volumes(b"  WARNING: x").unwrap_err().starts_with("what lvs printed is not understood"));
        let bad =
            format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, line("a", "", (1, 1), "").replace("\"1\"", "\"x\""));
        assert_eq!(volumes(bad.as_bytes()).unwrap_err(), "malformed volume extent length value 'x'");
    }
}
