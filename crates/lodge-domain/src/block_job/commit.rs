//! `virsh blockcommit`: what layers have goes into the one below them, and the disk stands on fewer files.

use lodge_qemu::qmp::{Commit, MonitorError};

use super::layers::{find, layers, show_mirror};
use super::{BlockJobKind, open, position, refuse_busy, start};
use crate::control::{Change, Refusal, Running, Scope, Sort};
use crate::snapshots::merged;

/// What is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitOptions {
    /// The layer that gets it: its file, or `vda[2]`. The lowest without.
    pub base: Option<String>,
    /// The highest layer that is committed. The guest's own without.
    pub top: Option<String>,
    /// Into the layer below `top` only.
    pub shallow: bool,
    /// The guest's own file is meant.
    pub active: bool,
    /// Names of files in headers stay relative.
    pub relative: bool,
    /// The files that were committed are deleted.
    pub delete: bool,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
}

/// Begins a commit; the job goes on beside all else.
pub fn commit(disk: String, options: CommitOptions) -> Change {
    Change::new("blockcommit", Scope::LIVE).live(move |mut guest| async move {
        let outcome = begin(&mut guest, &disk, &options, Own::Asked, &mut false).await.map(drop);
        (guest, outcome)
    })
}

/// Who commits, and so what becomes of the guest's own snapshots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// A person: they are looked after here.
    Asked,
    /// A deletion of snapshots, which has looked after them.
    Deletion,
}

/// Begins it; the job's name. `has_begun`: from here on bytes may have changed, whatever comes back.
async fn begin(
    guest: &mut Running,
    wanted: &str,
    options: &CommitOptions,
    own: Own,
    has_begun: &mut bool,
) -> Result<String, Refusal> {
    let disk = guest.document.devices.disks[position(guest, wanted)?].clone();
    let target = disk.target.dev.clone();
    if disk.source.is_none() {
        // libvirt's words: it looks for a base before it finds that there is nothing at all.
        return Err(Refusal::arg(format!("could not find base image in chain for '{target}'")));
    }
    super::refuse_transient(&disk)?;
    let layers = layers(&disk)?;
    let (top, base) = range(&layers, &target, options, || refuse_busy(guest, &target))?;
    if options.relative {
        let text = "keeping relative names of backing files is not supported yet";
        return Err(Refusal::new(Sort::ArgumentUnsupported, text));
    }
    if own == Own::Asked {
        merged::refuse_inside(guest, &target, &layers[top..base])?;
    }
    let kind = if top == 0 { BlockJobKind::ActiveCommit } else { BlockJobKind::Commit };
    let mut job = start::planned(&disk, kind, "commit", &layers[top].node());
    job.delete = options.delete;
    job.into = Some(layers[base].index);
    let device = start::device_node(guest, &disk).await?;
    // What could not be closed after another job.
    open::mend(guest, None).await;
    // The layer above the highest one gets another name in its header, and shows the same bytes: the guest's other
    // branches may stand on it.
    let above = top.checked_sub(1).filter(|above| *above > 0);
    let branches = merged::branches(guest, &target);
    for (at, besides) in
        [Some((base, &[][..])), above.map(|above| (above, &branches[..]))].into_iter().flatten()
    {
        match open::writable(guest, &disk, &layers, at, besides).await {
            Ok(opened) => job.opened.extend(opened),
            Err(refusal) => {
                start::take_back(guest, &job).await;
                return Err(refusal);
            }
        }
    }
    // What is deleted is gone, too.
    let written = if options.delete { top } else { top + 1 };
    let marked = match own {
        Own::Asked => merged::mark(guest, &target, &layers[written..=base]).await,
        Own::Deletion => Ok(None),
    };
    let marked = match marked {
        Ok(marked) => marked,
        Err(refusal) => {
            start::take_back(guest, &job).await;
            return Err(refusal);
        }
    };
    if let Err(refusal) = start::note(guest, &job) {
        merged::unmark(guest, marked).await;
        start::take_back(guest, &job).await;
        return Err(refusal);
    }
    let answer = guest
        .monitor
        .block_commit(&Commit {
            job: &job.id,
            device: &device,
            base: &layers[base].node(),
            top: &layers[top].node(),
            backing_file: (top > 0).then_some(layers[base].path.as_str()),
            speed: options.speed,
        })
        .await;
    // Without an answer it may have begun.
    let is_refused = matches!(answer, Err(MonitorError::Refused { .. }));
    *has_begun |= !is_refused;
    if let Err(refusal) = start::begun(guest, &job, answer).await {
        if is_refused {
            merged::unmark(guest, marked).await;
        }
        return Err(refusal);
    }
    if kind == BlockJobKind::ActiveCommit {
        let at = position(guest, &target)?;
        show_mirror(&mut guest.document.devices.disks[at], kind, &layers[base..], false);
    }
    Ok(job.id)
}

/// The places of the highest and the lowest layer, judged in libvirt's order and words.
fn range(
    layers: &[super::Layer],
    target: &str,
    options: &CommitOptions,
    idle: impl FnOnce() -> Result<(), Refusal>,
) -> Result<(usize, usize), Refusal> {
    let top = match options.top.as_deref() {
        None => 0,
        Some(name) if name == target => 0,
        name => find(layers, target, name, None)?,
    };
    let path = |at: usize| &layers[at].path;
    let base = match (options.base.as_deref(), options.shallow) {
        (None, true) => top + 1,
        (name, _) => find(layers, target, name, Some(top))?,
    };
    idle()?;
    if top == 0 && !options.active {
        return Err(Refusal::arg(format!("commit of '{target}' active layer requires active flag")));
    }
    if top > 0 && options.active {
        return Err(Refusal::arg(format!("active commit requested but '{}' is not active", path(top))));
    }
    if top + 1 >= layers.len() {
        let text = format!("top '{}' in chain for '{}' has no backing file", path(top), path(0));
        return Err(Refusal::arg(text));
    }
    if options.shallow && base != top + 1 {
        let (base, top, own) = (path(base), path(top), path(0));
        let text = format!("base '{base}' is not immediately below '{top}' in chain for '{own}'");
        return Err(Refusal::arg(text));
    }
    Ok((top, base))
}

/// Commits and waits until the disk stands on what is left; for other acts of the owner on the same guest. From the
/// guest's own file on, the disk changes over at the end. `has_begun`: bytes may have changed, whatever comes back.
pub(crate) async fn commit_now(
    guest: &mut Running,
    wanted: &str,
    options: &CommitOptions,
    has_begun: &mut bool,
) -> Result<(), Refusal> {
    let id = begin(guest, wanted, options, Own::Deletion, has_begun).await?;
    super::follow::run_to_end(guest, &id).await
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::Layer;
    use super::*;

    #[test]
    fn what_a_commit_spans_and_what_is_refused() {
        let layer = |index: u32| Layer {
            index,
            path: format!("/p/{index}"),
            format: "qcow2".to_owned(),
            is_block: false,
            encryption: None,
        };
        let layers = [layer(1), layer(2), layer(3)];
        let mut table = String::new();
        let mut case = |base: Option<&str>, top: Option<&str>, shallow: bool, active: bool| {
            let options = CommitOptions {
                base: base.map(str::to_owned),
                top: top.map(str::to_owned),
                shallow,
                active,
                ..CommitOptions::default()
            };
            let outcome = match range(&layers, "vda", &options, || Ok(())) {
                Ok((top, base)) => format!("{top} into {base}"),
                Err(refusal) => refusal.text,
            };
            writeln!(table, "{base:?} {top:?} {shallow} {active}: {outcome}").unwrap();
        };
        case(None, None, false, true);
        case(None, None, true, true);
        case(None, None, false, false);
        case(Some("vda[3]"), Some("/p/2"), false, false);
        case(None, Some("/p/2"), true, true);
        case(Some("/p/3"), None, true, true);
        case(None, Some("/p/3"), false, false);
        case(None, Some("/p/3"), true, false);
        expect_test::expect![[r#"
            None None false true: 0 into 2
            None None true true: 0 into 1
            None None false false: commit of 'vda' active layer requires active flag
            Some("vda[3]") Some("/p/2") false false: 1 into 2
            None Some("/p/2") true true: active commit requested but '/p/2' is not active
            Some("/p/3") None true true: base '/p/3' is not immediately below '/p/1' in chain for '/p/1'
            None Some("/p/3") false false: could not find base image in chain for 'vda'
            None Some("/p/3") true false: top '/p/3' in chain for '/p/1' has no backing file
        "#]]
        .assert_eq(&table);
    }
}
