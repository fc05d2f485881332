//! Which files snapshots are kept in, by libvirt's metadata: `var/lib/libvirt/qemu/snapshot/DOMAIN/NAME.xml`.
//!
//! A snapshot stands in the files that were the guest's disks when it was taken (its `<domain>`), whether it is kept
//! inside them or they only stay as they were, and in its file of memory. The overlays that an external one made are
//! not its own: whoever writes to them names them.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lodge_model::xml::{DOCUMENT_MAX_BYTES, Kept};

use crate::vol::facts::Stamp;

/// The files of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFiles {
    pub guest: Arc<str>,
    pub name: Arc<str>,
    /// Where its state is, and whether inside the file (or it is the file as it stands).
    pub files: Vec<(PathBuf, bool)>,
    /// Those of them that are raw, whatever they look like.
    pub raw: Vec<PathBuf>,
    /// What it made: overlays that go with it.
    pub made: Vec<PathBuf>,
    /// Its document.
    pub metadata: PathBuf,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Known {
    guests: HashMap<PathBuf, KnownGuest>,
}

/// The documents of one guest.
#[derive(Debug, Default)]
struct KnownGuest {
    /// The state of their directory, where nothing can have come since that it does not show. Documents are replaced
    /// whole, so it changes with each of them.
    settled: Option<Stamp>,
    /// By path, each with the state it was read in.
    documents: HashMap<PathBuf, (Stamp, Option<Arc<SnapshotFiles>>)>,
}

/// A directory that was changed so long ago has shown all of it: clocks of file systems tick in milliseconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Reads all of them below `dir`; what did not change is not read again. Broken ones are told and name nothing.
pub(crate) fn read(dir: &Path, known: &mut Known) -> io::Result<Vec<Arc<SnapshotFiles>>> {
    let mut found = HashMap::new();
    for guest in entries(dir)? {
        let Ok(name) = guest.file_name().into_string() else { continue };
        let path = guest.path();
        let stamp = guest.metadata().ok().map(|metadata| Stamp::of(&metadata));
        let before = known.guests.remove(&path).unwrap_or_default();
        let now = match (stamp, before.settled) {
            (Some(stamp), Some(settled)) if stamp == settled => before,
            _ => read_guest(&path, &name, stamp, before)?,
        };
        found.insert(path, now);
    }
    known.guests = found;
    let documents = known.guests.values().flat_map(|guest| guest.documents.values());
    Ok(documents.filter_map(|(_, files)| files.clone()).collect())
}

fn read_guest(
    dir: &Path,
    name: &str,
    stamp: Option<Stamp>,
    mut before: KnownGuest,
) -> io::Result<KnownGuest> {
    let is_settled = |stamp: &Stamp| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(stamp.changed.0).is_ok_and(|changed| Duration::from_secs(changed) + SETTLED < now)
    };
    let mut now = KnownGuest { settled: stamp.filter(is_settled), ..KnownGuest::default() };
    for document in entries(dir)? {
        let path = document.path();
        if path.extension().is_none_or(|ending| ending != "xml") {
            continue;
        }
        let Ok(metadata) = document.metadata() else { continue };
        let stamp = Stamp::of(&metadata);
        let files = match before.documents.remove(&path) {
            Some((seen, files)) if seen == stamp => files,
            _ => parse_file(&path, name, metadata.len()),
        };
        now.documents.insert(path, (stamp, files));
    }
    Ok(now)
}

fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        entries => entries?.collect(),
    }
}

fn parse_file(path: &Path, guest: &str, length: u64) -> Option<Arc<SnapshotFiles>> {
    let text = (length <= DOCUMENT_MAX_BYTES as u64).then(|| fs::read_to_string(path).ok()).flatten();
    let files = text.and_then(|text| parse(&text, guest, path));
    if files.is_none() {
        tracing::warn!(path = %path.display(), "snapshot's document not understood");
    }
    files.map(Arc::new)
}

fn parse(text: &str, guest: &str, path: &Path) -> Option<SnapshotFiles> {
    let document = Kept::parse(text).filter(|document| document.name == "domainsnapshot")?;
    let name = document.child("name")?.text.clone();
    let disks = document.child("disks");
    let external = |disk: &&Kept| disk.attribute("snapshot") == Some("external");
    // A document of an internal one may leave its disks out.
    let how = |target: &str| -> Option<&str> {
        let mut listed = disks?.all("disk").filter(|disk| disk.attribute("name") == Some(target));
        listed.next().and_then(|disk| disk.attribute("snapshot"))
    };
    let (mut files, mut raw) = (Vec::new(), Vec::new());
    for domain in ["domain", "inactiveDomain"].iter().filter_map(|name| document.child(name)) {
        let Some(devices) = domain.child("devices") else { continue };
        for disk in devices.all("disk").filter(|disk| is_kept(disk)) {
            let target = disk.child("target").and_then(|target| target.attribute("dev")).unwrap_or_default();
            let is_inside = match how(target) {
                Some("no") => continue,
                how => how != Some("external"),
            };
            let Some(path) = source_of(disk) else { continue };
            // A document that says nothing means raw, as that of a guest does.
            let format = disk.child("driver").and_then(|driver| driver.attribute("type")).unwrap_or("raw");
            raw.extend((format == "raw").then(|| path.clone()));
            files.push((path, is_inside));
        }
    }
    let memory = document.child("memory").and_then(|memory| memory.attribute("file")).map(PathBuf::from);
    raw.extend(memory.clone());
    let made = disks.into_iter().flat_map(|disks| disks.all("disk")).filter(external).filter_map(source_of);
    let made: Vec<_> = made.chain(memory.clone()).collect();
    files.extend(memory.map(|path| (path, false)));
    files.sort();
    files.dedup();
    let (guest, name, metadata) = (guest.into(), name.into(), path.to_owned());
    Some(SnapshotFiles { guest, name, files, raw, made, metadata })
}

/// What the guest could not write did not change: it is no part of a snapshot.
fn is_kept(disk: &Kept) -> bool {
    disk.child("readonly").is_none() && disk.attribute("device") != Some("cdrom")
}

fn source_of(disk: &Kept) -> Option<PathBuf> {
    let source = disk.child("source")?;
    let path = source.attribute("file").or_else(|| source.attribute("dev"))?;
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTERNAL: &str = "<!--\nWARNING\n-->\n<domainsnapshot><name>s1</name><state>running</state>\
        <memory snapshot='external' file='/m/s1.mem'/>\
        <disks><disk name='vda' snapshot='external' type='file'><source file='/p/a.s1'/></disk>\
          <disk name='sda' snapshot='no'/></disks>\
        <domain type='kvm'><devices>\
          <disk type='file' device='disk'><source file='/p/a.qcow2'/><target dev='vda'/></disk>\
          <disk type='file' device='cdrom'><source file='/p/c.iso'/><target dev='sda'/><readonly/></disk>\
        </devices></domain></domainsnapshot>";

    #[test]
    fn a_snapshot_is_kept_in_the_files_that_were_the_disks() {
        let seen = parse(EXTERNAL, "web1", Path::new("/s/web1/s1.xml")).unwrap();
        let path = |path: &str| PathBuf::from(path);
        assert_eq!(seen.files, [(path("/m/s1.mem"), false), (path("/p/a.qcow2"), false)]);
        assert_eq!(seen.made, [path("/p/a.s1"), path("/m/s1.mem")]);
        assert_eq!((&*seen.guest, &*seen.name), ("web1", "s1"));
        let inside = EXTERNAL.replace("snapshot='external' type", "snapshot='internal' type");
        let seen = parse(&inside, "web1", Path::new("/x")).unwrap();
        assert_eq!(seen.files[1], (path("/p/a.qcow2"), true));
        assert_eq!(parse("<domain/>", "web1", Path::new("/x")), None);
    }

    #[test]
    fn documents_are_read_again_when_they_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = Known::default();
        assert!(read(&dir.path().join("none"), &mut known).unwrap().is_empty());
        fs::create_dir(dir.path().join("web1")).unwrap();
        let path = dir.path().join("web1/s1.xml");
        fs::write(&path, EXTERNAL).unwrap();
        assert_eq!(read(dir.path(), &mut known).unwrap()[0].files.len(), 2);
        fs::write(&path, EXTERNAL.replace(" file='/m/s1.mem'", "")).unwrap();
        assert_eq!(read(dir.path(), &mut known).unwrap()[0].files.len(), 1);
        fs::write(&path, "<no").unwrap();
        assert!(read(dir.path(), &mut known).unwrap().is_empty());
    }
}
