//! Guests, their disks and snapshots as a test acts on them, and what each must show, as bytes in memory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use lodge_model::Bytes;
use lodge_storage::{
    AfterCommit, Behalf, Commit, Definitions, FileUse, Format, GuestFiles, Harm, Need, Part, RebaseMode,
};

use super::Act;
use crate::{
    reader::content,
    world::{Fixed, World, domain, qemu_img, run, text},
};

const DISK_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 32 << 10;
pub const BLOCKS: usize = DISK_BYTES / BLOCK_BYTES;

#[derive(Debug)]
struct Guest {
    name: String,
    number: u128,
    top: PathBuf,
    shows: Vec<u8>,
}

#[derive(Debug)]
struct Snapshot {
    guest: String,
    number: u128,
    name: String,
    /// Where its state is.
    file: PathBuf,
    inside: bool,
    /// What an external one made.
    overlay: Option<PathBuf>,
    shows: Vec<u8>,
}

pub struct Model {
    world: World,
    known: Arc<Fixed>,
    guests: Vec<Guest>,
    snapshots: Vec<Snapshot>,
    templates: BTreeMap<PathBuf, Vec<u8>>,
    count: u128,
    pub done: usize,
    pub refused: usize,
}

impl Model {
    pub async fn new() -> Self {
        let world = World::new().await;
        let known = Arc::new(Fixed(std::sync::Mutex::default()));
        world.storage.set_guests(known.clone());
        let mut model = Self {
            world,
            known,
            guests: Vec::new(),
            snapshots: Vec::new(),
            templates: BTreeMap::new(),
            count: 0,
            done: 0,
            refused: 0,
        };
        for _ in 0..2 {
            let top = model.file();
            model
                .world
                .storage
                .create_volume(name_of(&top), Format::Qcow2, Bytes(DISK_BYTES as u64))
                .await
                .unwrap();
            model.define(top, vec![0; DISK_BYTES]);
        }
        model
    }

    fn next(&mut self) -> u128 {
        self.count += 1;
        self.count
    }

    fn file(&mut self) -> PathBuf {
        let number = self.next();
        self.world.pool(&format!("f{number}.qcow2"))
    }

    fn define(&mut self, top: PathBuf, shows: Vec<u8>) {
        let number = self.next();
        self.guests.push(Guest { name: format!("g{number}"), number, top, shows });
        self.tell();
    }

    /// What the engine would say of guests.
    fn tell(&self) {
        let guest = |guest: &Guest| GuestFiles {
            id: domain(guest.number),
            name: guest.name.as_str().into(),
            is_active: false,
            files: [FileUse {
                path: guest.top.clone(),
                part: Part::Disk("vda".to_owned()),
                format: Some("qcow2".to_owned()),
                writes: true,
                shareable: false,
            }]
            .into(),
        };
        *self.known.0.lock().unwrap() = self.guests.iter().map(guest).collect();
    }

    /// libvirt's metadata.
    fn write_metadata(&self, snapshot: &Snapshot) {
        let dir = self.metadata_of(snapshot).parent().unwrap().to_owned();
        std::fs::create_dir_all(&dir).unwrap();
        let (how, source) = match &snapshot.overlay {
            Some(overlay) => ("external", format!("<source file='{}'/>", overlay.display())),
            None => ("internal", String::new()),
        };
        let text = format!(
            "<domainsnapshot><name>{}</name><state>shutoff</state>\
             <disks><disk name='vda' snapshot='{how}'>{source}</disk></disks>\
             <domain type='kvm'><name>{}</name><devices><disk type='file' device='disk'>\
             <source file='{}'/><target dev='vda'/></disk></devices></domain></domainsnapshot>",
            snapshot.name,
            snapshot.guest,
            snapshot.file.display()
        );
        std::fs::write(self.metadata_of(snapshot), text).unwrap();
    }

    fn metadata_of(&self, snapshot: &Snapshot) -> PathBuf {
        let dir = self.world.dir.path().join("var/lib/libvirt/qemu/snapshot");
        dir.join(&snapshot.guest).join(format!("{}.xml", snapshot.name))
    }

    fn forget(&mut self, at: usize) {
        let snapshot = self.snapshots.remove(at);
        std::fs::remove_file(self.metadata_of(&snapshot)).unwrap();
    }

    /// The disks in the pool, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let names = self.world.pool_names().into_iter().filter(|name| name.starts_with('f'));
        names.map(|name| self.world.pool(&name)).collect()
    }

    /// A tool that was killed has its files until the kernel has taken it down.
    pub async fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for file in self.files() {
            while self.needs(&file).await.iter().any(|need| matches!(need, Need::Locked { .. })) {
                assert!(Instant::now() < deadline, "{} stays locked", file.display());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn needs(&self, path: &Path) -> Vec<Need> {
        self.world.storage.who_needs(path).await.unwrap()
    }

    pub async fn act(&mut self, act: &Act) {
        let was_done = match act.clone() {
            Act::Write { guest, block, blocks, byte } => self.write(guest, block, blocks, byte),
            Act::SnapInside { guest } => self.snap_inside(guest),
            Act::SnapOutside { guest } => self.snap_outside(guest).await,
            Act::Revert { snapshot } => self.revert(snapshot).await,
            Act::DeleteSnapshot { snapshot } => self.delete_snapshot(snapshot).await,
            Act::Template { guest } => self.make_template(guest).await,
            Act::Clone { file } => self.clone_of(file).await,
            Act::Commit { file, depth, after, cut_ms } => self.commit(file, depth, after, cut_ms).await,
            Act::Flatten { file, depth, cut_ms } => self.flatten(file, depth, cut_ms).await,
            Act::Rebase { file, onto, proven, cut_ms } => self.rebase(file, onto, proven, cut_ms).await,
            Act::Delete { file } => self.delete(file).await,
            Act::Undefine { guest } => self.undefine(guest),
        };
        if was_done {
            self.done += 1;
        } else {
            self.refused += 1;
        }
    }

    fn write(&mut self, guest: usize, block: usize, blocks: usize, byte: u8) -> bool {
        let Some(guest) = pick(&mut self.guests, guest) else { return false };
        let (from, to) = (block * BLOCK_BYTES, (block + blocks).min(BLOCKS) * BLOCK_BYTES);
        guest.shows[from..to].fill(byte);
        let command = match byte {
            0 => format!("write -z {from} {}", to - from),
            byte => format!("write -P {byte} {from} {}", to - from),
        };
        run("qemu-io", &["-f", "qcow2", "-c", &command, text(&guest.top)]);
        true
    }

    fn snap_inside(&mut self, guest: usize) -> bool {
        let number = self.next();
        let Some(guest) = pick(&mut self.guests, guest) else { return false };
        let snapshot = Snapshot {
            guest: guest.name.clone(),
            number: guest.number,
            name: format!("s{number}"),
            file: guest.top.clone(),
            inside: true,
            overlay: None,
            shows: guest.shows.clone(),
        };
        qemu_img(&["snapshot", "-c", &snapshot.name, text(&snapshot.file)]);
        self.write_metadata(&snapshot);
        self.snapshots.push(snapshot);
        true
    }

    async fn snap_outside(&mut self, guest: usize) -> bool {
        let (overlay, number) = (self.file(), self.next());
        let Some(guest) = pick(&mut self.guests, guest) else { return false };
        self.world.storage.overlay((&guest.top, Format::Qcow2), &overlay, None).await.unwrap();
        let snapshot = Snapshot {
            guest: guest.name.clone(),
            number: guest.number,
            name: format!("s{number}"),
            file: std::mem::replace(&mut guest.top, overlay.clone()),
            inside: false,
            overlay: Some(overlay),
            shows: guest.shows.clone(),
        };
        self.tell();
        self.write_metadata(&snapshot);
        self.snapshots.push(snapshot);
        true
    }

    async fn revert(&mut self, snapshot: usize) -> bool {
        let fresh = self.file();
        let Some(snapshot) = pick(&mut self.snapshots, snapshot) else { return false };
        let (file, name, shows) = (snapshot.file.clone(), snapshot.name.clone(), snapshot.shows.clone());
        let (inside, number) = (snapshot.inside, snapshot.number);
        let Some(at) = self.guests.iter().position(|guest| guest.number == number) else { return false };
        if inside {
            // In place only where nothing needs the file as it stands.
            let is_free = self.guests[at].top == file
                && self.needs(&file).await.iter().all(|need| {
                    matches!(need, Need::Defined { id, .. } if *id == domain(number))
                        || matches!(need, Need::Snapshot { inside: true, .. })
                });
            if is_free {
                qemu_img(&["snapshot", "-a", &name, text(&file)]);
            } else {
                let formats = ["convert", "-q", "-f", "qcow2", "-O", "qcow2", "-l"];
                qemu_img(&[&formats[..], &[&name, text(&file), text(&fresh)]].concat());
                self.guests[at].top = fresh;
            }
        } else {
            // A new overlay on the state; the old one stays until somebody deletes it.
            self.world.storage.overlay((&file, Format::Qcow2), &fresh, None).await.unwrap();
            self.guests[at].top = fresh;
        }
        self.guests[at].shows = shows;
        self.tell();
        true
    }

    async fn delete_snapshot(&mut self, at: usize) -> bool {
        if self.snapshots.is_empty() {
            return false;
        }
        let at = at % self.snapshots.len();
        let snapshot = &self.snapshots[at];
        let (file, name, number) = (snapshot.file.clone(), snapshot.name.clone(), snapshot.number);
        if snapshot.inside {
            qemu_img(&["snapshot", "-d", &name, text(&file)]);
            self.forget(at);
            return true;
        }
        let above: Vec<PathBuf> = self
            .needs(&file)
            .await
            .into_iter()
            .filter_map(|need| match need {
                Need::Backing { path } => Some(path),
                _ => None,
            })
            .collect();
        let [overlay] = above.as_slice() else {
            if !above.is_empty() {
                return false;
            }
            // Nothing goes on from it: its file goes, if it is nobody else's.
            self.forget(at);
            self.remove(&file).await;
            return true;
        };
        let is_top = self.guests.iter().any(|guest| guest.top == *overlay);
        let wish = Commit {
            top: overlay.clone(),
            base: Some(file.clone()),
            after: if is_top { AfterCommit::Keep } else { AfterCommit::Delete },
            behalf: Some(Behalf { guest: domain(number), snapshots: vec![name] }),
        };
        if self.world.storage.commit(&wish).await.is_err() {
            return false;
        }
        // What stood on the merged file, or was it, is the lower one now.
        for guest in self.guests.iter_mut().filter(|guest| guest.top == *overlay) {
            guest.top.clone_from(&file);
        }
        for index in 0..self.snapshots.len() {
            if self.snapshots[index].file == *overlay {
                self.snapshots[index].file.clone_from(&file);
                self.write_metadata(&self.snapshots[index]);
            }
        }
        self.forget(at);
        self.tell();
        self.remove(overlay).await;
        true
    }

    /// Deletes a file if nobody needs it. Says whether it is gone.
    async fn remove(&self, path: &Path) -> bool {
        path.exists() && self.world.storage.delete_volume(domain(0), path).await.is_ok()
    }

    async fn make_template(&mut self, guest: usize) -> bool {
        if self.guests.len() < 2 {
            return false;
        }
        let guest = guest % self.guests.len();
        if self.snapshots.iter().any(|snapshot| snapshot.number == self.guests[guest].number) {
            return false;
        }
        let guest = self.guests.remove(guest);
        self.tell();
        let made = self.world.storage.make_template(&guest.top, Format::Qcow2).await.is_ok();
        if made {
            self.templates.insert(guest.top, guest.shows);
        } else {
            self.guests.push(guest);
            self.tell();
        }
        made
    }

    async fn clone_of(&mut self, file: usize) -> bool {
        let top = self.file();
        let Some(base) = pick(&mut self.files(), file).cloned() else { return false };
        let shows = content(&base, None);
        match self.world.storage.link_clone((&base, Format::Qcow2), &top, None).await {
            Ok(_) => {
                self.define(top, shows);
                true
            }
            Err(_) => false,
        }
    }

    async fn commit(&mut self, file: usize, depth: usize, after: usize, cut_ms: Option<u64>) -> bool {
        let Some(top) = pick(&mut self.files(), file).cloned() else { return false };
        let Ok(chain) = self.world.storage.chain(&top, Format::Qcow2).await else { return false };
        let base = chain[1..].get(depth % chain.len().max(1)).map(|link| link.path.clone());
        let after = [AfterCommit::Keep, AfterCommit::Empty, AfterCommit::Delete][after % 3];
        let wish = Commit { top, base, after, behalf: None };
        cut(cut_ms, self.world.storage.commit(&wish)).await.is_some_and(|done| done.is_ok())
    }

    async fn flatten(&mut self, file: usize, depth: usize, cut_ms: Option<u64>) -> bool {
        let Some(top) = pick(&mut self.files(), file).cloned() else { return false };
        let Ok(chain) = self.world.storage.chain(&top, Format::Qcow2).await else { return false };
        let onto = chain[1..].get(depth % chain.len().max(1)).map(|link| link.path.clone());
        cut(cut_ms, self.world.storage.flatten(&top, onto.as_deref())).await.is_some_and(|done| done.is_ok())
    }

    async fn rebase(&mut self, file: usize, onto: usize, proven: bool, cut_ms: Option<u64>) -> bool {
        let mut files = self.files();
        let Some(onto) = pick(&mut files, onto).cloned() else { return false };
        let Some(top) = pick(&mut files, file) else { return false };
        let mode = if proven { RebaseMode::Proven } else { RebaseMode::Safe };
        let act = self.world.storage.rebase(top, (&onto, Format::Qcow2), mode);
        cut(cut_ms, act).await.is_some_and(|done| done.is_ok())
    }

    async fn delete(&mut self, file: usize) -> bool {
        let Some(path) = pick(&mut self.files(), file).cloned() else { return false };
        let is_free = self.world.storage.refuse_harm(&path, Harm::Destroy, Definitions::Count).await.is_ok();
        let is_gone = self.remove(&path).await;
        assert_eq!(is_free, is_gone, "two answers of one question on {}", path.display());
        is_gone
    }

    /// The guest goes with its snapshots; its files stay, nobody's.
    fn undefine(&mut self, guest: usize) -> bool {
        if self.guests.len() < 3 {
            return false;
        }
        let guest = self.guests.remove(guest % self.guests.len());
        while let Some(at) = self.snapshots.iter().position(|snapshot| snapshot.number == guest.number) {
            self.forget(at);
        }
        self.tell();
        true
    }

    /// Every living disk, snapshot and template shows what it must.
    pub fn compare(&self, after: &dyn std::fmt::Debug) {
        for guest in &self.guests {
            same(&content(&guest.top, None), &guest.shows, &format!("disk of {} ({after:?})", guest.name));
        }
        for snapshot in &self.snapshots {
            let inside = snapshot.inside.then_some(snapshot.name.as_str());
            let what = format!("snapshot {} of {} ({after:?})", snapshot.name, snapshot.guest);
            same(&content(&snapshot.file, inside), &snapshot.shows, &what);
        }
        for (path, shows) in &self.templates {
            same(&content(path, None), shows, &format!("template {} ({after:?})", path.display()));
        }
    }
}

fn same(seen: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(seen.len(), wanted.len(), "length of the {what}");
    let differs = seen.iter().zip(wanted).position(|(seen, wanted)| seen != wanted);
    assert_eq!(differs, None, "first other byte of the {what}");
}

fn pick<T>(from: &mut [T], number: usize) -> Option<&mut T> {
    let count = from.len();
    from.get_mut(number % count.max(1))
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Runs an act, or cuts it off: its tool is killed. `None`: it was.
async fn cut<T>(after_ms: Option<u64>, act: impl Future<Output = T>) -> Option<T> {
    match after_ms {
        None => Some(act.await),
        Some(after_ms) => tokio::time::timeout(Duration::from_millis(after_ms), act).await.ok(),
    }
}
