//! `virsh blockpull`: the guest's own file is filled from those below it, and needs fewer of them or none.

use lodge_qemu::qmp::Stream;

use super::layers::{find, layers};
use super::{BlockJobKind, idle_disk, start};
use crate::control::{Change, Refusal, Running, Scope, Sort};
use crate::snapshots::merged;

/// What is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullOptions {
    /// The layer that stays: its file, or `vda[2]`. None without.
    pub base: Option<String>,
    /// The name of that file in the header stays relative.
    pub relative: bool,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
}

/// Begins a pull; the job goes on beside all else.
pub fn pull(disk: String, options: PullOptions) -> Change {
    Change::new("blockpull", Scope::LIVE).live(move |mut guest| async move {
        let outcome = begin(&mut guest, &disk, &options).await;
        (guest, outcome)
    })
}

async fn begin(guest: &mut Running, wanted: &str, options: &PullOptions) -> Result<(), Refusal> {
    let disk = idle_disk(guest, wanted)?.clone();
    let layers = layers(&disk)?;
    let base = options.base.as_deref().map(|base| find(&layers, &disk.target.dev, Some(base), Some(0)));
    let at = base.transpose()?;
    let base = at.map(|at| &layers[at]);
    if options.relative {
        let text = "keeping relative names of backing files is not supported yet";
        return Err(Refusal::new(Sort::ArgumentUnsupported, text));
    }
    if at.unwrap_or(layers.len()) > 1 {
        merged::refuse_inside(guest, &disk.target.dev, &layers[..1])?;
    }
    let mut job = start::planned(&disk, BlockJobKind::Pull, "pull", &layers[0].node());
    let below = at.map_or(&[][..], |at| &layers[at..]);
    job.expected = std::iter::once(&layers[0]).chain(below).map(|layer| layer.index).collect();
    start::note(guest, &job)?;
    let node = base.map(super::Layer::node);
    let answer = guest
        .monitor
        .block_stream(&Stream {
            job: &job.id,
            device: &layers[0].node(),
            base: node.as_deref(),
            backing_file: base.map(|base| base.path.as_str()),
            speed: options.speed,
        })
        .await;
    start::begun(guest, &job, answer).await
}
