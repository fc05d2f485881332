//! Edits on open disks, from the plan to what was read back. Runs in the confined process.
//!
//! Files come first, grouped by the file system they lie on, for the guest's table of mounts may name devices by what is
//! to be changed; then the devices themselves. Nothing is written to an image here: the disks are [`Redo`](super::redo)s.

use std::{collections::BTreeMap, sync::Arc};

use lodge_model::guest_disk::{DeviceEdit, Edit, FileEdit};

use super::{
    Outcome,
    error::EditError,
    ext::Ext,
    fat::edit as edit_fat,
    kernel,
    plan::{Step, plan},
    tool::Tools,
    tree::Tree,
    verify::verify,
};
use crate::{blocks::Blocks, fs::FileSystem, root::Mount};

/// A guest's disks, as whoever edits them needs them.
pub(crate) trait Ground {
    /// Journals are replayed, so that all that the guest wrote is seen.
    fn make_ready(&self, tools: &mut dyn Tools) -> Result<(), EditError>;
    /// The guest's tree of files: the file systems that it mounts, `/` among them.
    fn mounts(&self) -> Result<Vec<Mount>, EditError>;
    /// A device's bytes.
    fn blocks(&self, device: &str) -> Result<Arc<dyn Blocks>, EditError>;
    /// Opens what lies in a device, as it is now.
    fn open(&self, device: &str) -> Result<Box<dyn FileSystem>, EditError>;
    /// Carries out an edit of a device.
    fn edit_device(&self, edit: &DeviceEdit, tools: &mut dyn Tools) -> Result<Outcome, EditError>;
}

/// Carries edits out.
pub(crate) fn carry_out(
    ground: &dyn Ground,
    edits: &[Edit],
    tools: &mut dyn Tools,
) -> Result<Vec<Outcome>, EditError> {
    let files: Vec<&FileEdit> = edits.iter().filter_map(Edit::as_file).collect();
    let mut of_files = edit_files(ground, &files, tools)?.into_iter();
    let mut outcomes = Vec::with_capacity(edits.len());
    for edit in edits {
        outcomes.push(match edit {
            // One for each of them, in their order.
            Edit::File(_) => of_files.next().unwrap_or(Outcome::Already),
            Edit::Device(edit) => ground.edit_device(edit, tools)?,
        });
    }
    Ok(outcomes)
}

fn edit_files(
    ground: &dyn Ground,
    edits: &[&FileEdit],
    tools: &mut dyn Tools,
) -> Result<Vec<Outcome>, EditError> {
    if edits.is_empty() {
        return Ok(Vec::new());
    }
    ground.make_ready(tools)?;
    let mut mounts = ground.mounts()?;
    let (mut outcomes, mut by_mount) = plan_all(&mounts, edits)?;
    // What was not unmounted cleanly may be other than it looks; only what is edited is put in order.
    let unsettled = by_mount.keys().map(|mount| &mounts[*mount]).filter(|mount| kernel::is_unsettled(mount));
    let unsettled: Vec<&Mount> = unsettled.collect();
    if !unsettled.is_empty() {
        for mount in unsettled {
            kernel::carry_out(ground, &mounts, mount, &[], tools)?;
        }
        mounts = ground.mounts()?;
        (outcomes, by_mount) = plan_all(&mounts, edits)?;
    }
    for (mount, steps) in by_mount.into_iter().filter(|(_, steps)| !steps.is_empty()) {
        edit_file_system(ground, &mounts, mount, &steps, tools)?;
    }
    Ok(outcomes)
}

/// The steps on each mount, by its number.
type ByMount = BTreeMap<usize, Vec<Step>>;

/// What each edit comes to, and the steps on each mount that is looked at.
fn plan_all(mounts: &[Mount], edits: &[&FileEdit]) -> Result<(Vec<Outcome>, ByMount), EditError> {
    let mut tree = Tree::new(mounts);
    let mut outcomes = Vec::with_capacity(edits.len());
    let mut by_mount = ByMount::new();
    for edit in edits {
        let planned = plan(&mut tree, edit)?;
        outcomes.push(if planned.steps.is_empty() { Outcome::Already } else { Outcome::Changed });
        by_mount.entry(planned.mount).or_default().extend(planned.steps);
    }
    Ok((outcomes, by_mount))
}

/// The one place that knows how each kind of file system is edited.
fn edit_file_system(
    ground: &dyn Ground,
    mounts: &[Mount],
    mount: usize,
    steps: &[Step],
    tools: &mut dyn Tools,
) -> Result<(), EditError> {
    let mount = &mounts[mount];
    let device = &mount.device;
    let kind = mount.fs.as_ref().map_or("", |fs| fs.content().kind.as_str());
    match kind {
        "ext2" | "ext3" | "ext4" => {
            let ext = Ext { device, blocks: ground.blocks(device)? };
            ext.carry_out(steps, &|| ground.open(device), tools)
        }
        "vfat" => {
            edit_fat(&ground.blocks(device)?, device, steps)?;
            let read_back = ground.open(device)?;
            verify(&*read_back, steps)
                .map_err(|(path, why)| EditError::Damaged { place: format!("{path} on {device}"), why })
        }
        kind if kernel::is_ours(kind) => kernel::carry_out(ground, mounts, mount, steps, tools),
        kind => Err(EditError::Unsupported {
            place: format!("{} on {device}", mount.at),
            why: format!("files of {kind} are not edited yet (start the guest and change them there)"),
        }),
    }
}
