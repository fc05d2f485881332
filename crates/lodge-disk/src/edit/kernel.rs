//! Edits of XFS and btrfs, which only a kernel writes: by the [workshop](crate::workshop), in the jail of all tools.
//!
//! The kernel is the guest's own, read from its tree. It mounts the device, so it replays the log too: what was not
//! unmounted cleanly is settled by a job without edits, before anything is planned on what was read.

use lodge_model::guest_disk::FileEdit;

use super::{
    carry_out::Ground,
    error::EditError,
    plan::Step,
    tool::{Act, Said, Tools},
    tree::Tree,
    verify::verify,
};
use crate::{
    fs,
    root::Mount,
    view::View,
    workshop::{Target, Workshop, WorkshopError},
};

/// What is edited here.
pub(crate) fn is_ours(kind: &str) -> bool {
    matches!(kind, "xfs" | "btrfs")
}

/// Whether a log has to be replayed before what is read can be relied upon.
pub(crate) fn is_unsettled(mount: &Mount) -> bool {
    mount.fs.as_ref().is_ok_and(|fs| is_ours(&fs.content().kind) && !fs.warnings().is_empty())
}

/// Carries steps out on one mount of a guest, and reads back what came of them. Without steps it is only settled.
pub(crate) fn carry_out(
    ground: &dyn Ground,
    mounts: &[Mount],
    mount: &Mount,
    steps: &[Step],
    tools: &mut dyn Tools,
) -> Result<(), EditError> {
    let device = &mount.device;
    let place = format!("{} on {device}", mount.at);
    let Ok(there) = &mount.fs else {
        return Err(EditError::Unsupported { place, why: "it cannot be read".to_owned() });
    };
    let content = there.content();
    let options = there.mount_option();
    let target =
        Target { kind: &content.kind, options: options.as_deref().unwrap_or_default(), partition: None };
    let workshop = Workshop::new(&Tree::new(mounts), &target, &edits(steps));
    let workshop = workshop.map_err(|error| failed(&error, &place, None))?;
    let blocks = ground.blocks(device)?;
    let mut view = View::of_disk(blocks.clone());
    view.inputs = vec![workshop.kernel.as_slice().into(), workshop.initramfs.as_slice().into()];
    let said = tools.run(Act::Workshop, view)?;
    workshop.outcome(said.words.as_bytes()).map_err(|error| failed(&error, &place, Some(&said)))?;
    let read_back = fs::open(content, blocks, options.as_deref())
        .map_err(|error| EditError::Damaged { place: place.clone(), why: error.to_string() })?;
    verify(&*read_back, steps)
        .map_err(|(path, why)| Act::Workshop.failed(&format!("{path} on {device}"), &why, &said))
}

/// Steps as the workshop's edits. It makes directories on the way by itself, removes what is in a directory with it, and
/// replaces a file in one act, so that the new one has the label of the old.
fn edits(steps: &[Step]) -> Vec<FileEdit> {
    let mut edits: Vec<FileEdit> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::MakeDirectory(_) => {}
            Step::Directory { path, owner } => {
                edits.push(FileEdit::Directory { path: path.clone(), owner: Some(*owner) });
            }
            Step::Own { path, owner, .. } => {
                edits.push(FileEdit::Own { path: path.clone(), owner: *owner });
            }
            Step::Write { path, bytes, owner } => {
                edits.push(FileEdit::Write { path: path.clone(), bytes: bytes.clone(), owner: Some(*owner) });
            }
            Step::Append { path, at, bytes } => {
                edits.push(FileEdit::Append { path: path.clone(), at: *at, bytes: bytes.clone() });
            }
            Step::Link { path, to } => edits.push(FileEdit::Link { path: path.clone(), to: to.clone() }),
            Step::Remove(path) => {
                let next = match steps.get(number + 1) {
                    Some(Step::Write { path, .. } | Step::Link { path, .. }) => Some(path),
                    _ => None,
                };
                if next != Some(path) {
                    edits.push(FileEdit::Remove(path.clone()));
                }
            }
            Step::RemoveDirectory(path) => {
                edits.retain(|edit| !edit.path().is_within(path));
                edits.push(FileEdit::Remove(path.clone()));
            }
        }
    }
    edits
}

fn failed(error: &WorkshopError, place: &str, said: Option<&Said>) -> EditError {
    let place = place.to_owned();
    match (error, said) {
        (WorkshopError::NoKernel { .. } | WorkshopError::TooLarge { .. }, _) => {
            let why = format!("{error} (start the guest and change it there)");
            EditError::Unsupported { place, why }
        }
        (WorkshopError::Silent { .. }, Some(said)) => Act::Workshop.failed(&place, &error.to_string(), said),
        _ => EditError::Tool { program: Act::Workshop.program().to_owned(), place, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::guest_disk::{FilePath, Owner};

    use super::*;

    #[test]
    fn steps_are_as_few_edits_as_the_workshop_needs() {
        let path = |text: &str| FilePath::new(text).unwrap();
        let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
        let write = |at: &str| Step::Write { path: path(at), bytes: vec![1], owner };
        let steps = [
            Step::Remove(path("/etc/id")),
            write("/etc/id"),
            Step::MakeDirectory(path("/new")),
            write("/new/file"),
            Step::Remove(path("/keys/a")),
            Step::Remove(path("/keys/b/c")),
            Step::RemoveDirectory(path("/keys/b")),
            Step::RemoveDirectory(path("/keys")),
            Step::Remove(path("/gone")),
        ];
        let of = |at: &str| FileEdit::Write { path: path(at), bytes: vec![1], owner: Some(owner) };
        let wanted = [
            of("/etc/id"),
            of("/new/file"),
            FileEdit::Remove(path("/keys")),
            FileEdit::Remove(path("/gone")),
        ];
        assert_eq!(edits(&steps), wanted);
    }
}
