//! Random sequences of what is done to disks, compared byte by byte with a plain model.
//!
//! The model is what each guest's disk and each snapshot show, as bytes in memory. After every act, whether it was done,
//! refused or cut off, every living disk, snapshot and template must show exactly that. The acts may be refused (they
//! often must be), never do harm. `LODGE_MODEL_CASES` and `LODGE_MODEL_SEED` make it longer or other.

mod disks;

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use self::disks::{BLOCKS, Model};
use crate::world::{assert_sound, can_run};

/// One act; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Act {
    Write { guest: usize, block: usize, blocks: usize, byte: u8 },
    SnapInside { guest: usize },
    SnapOutside { guest: usize },
    Revert { snapshot: usize },
    DeleteSnapshot { snapshot: usize },
    Template { guest: usize },
    Clone { file: usize },
    Commit { file: usize, depth: usize, after: usize, cut_ms: Option<u64> },
    Flatten { file: usize, depth: usize, cut_ms: Option<u64> },
    Rebase { file: usize, onto: usize, proven: bool, cut_ms: Option<u64> },
    Delete { file: usize },
    Undefine { guest: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let any = 0..64_usize;
    let cut_ms = || prop_oneof![2 => Just(None), 1 => (0..120_u64).prop_map(Some)];
    let write = (any.clone(), 0..BLOCKS, 1..12_usize, 0..5_u8)
        .prop_map(|(guest, block, blocks, byte)| Act::Write { guest, block, blocks, byte });
    let act = prop_oneof![
        6 => write,
        2 => any.clone().prop_map(|guest| Act::SnapInside { guest }),
        3 => any.clone().prop_map(|guest| Act::SnapOutside { guest }),
        2 => any.clone().prop_map(|snapshot| Act::Revert { snapshot }),
        2 => any.clone().prop_map(|snapshot| Act::DeleteSnapshot { snapshot }),
        1 => any.clone().prop_map(|guest| Act::Template { guest }),
        2 => any.clone().prop_map(|file| Act::Clone { file }),
        3 => (any.clone(), 0..3_usize, 0..3_usize, cut_ms())
            .prop_map(|(file, depth, after, cut_ms)| Act::Commit { file, depth, after, cut_ms }),
        2 => (any.clone(), 0..3_usize, cut_ms())
            .prop_map(|(file, depth, cut_ms)| Act::Flatten { file, depth, cut_ms }),
        2 => (any.clone(), any.clone(), proptest::bool::ANY, cut_ms())
            .prop_map(|(file, onto, proven, cut_ms)| Act::Rebase { file, onto, proven, cut_ms }),
        3 => any.clone().prop_map(|file| Act::Delete { file }),
        1 => any.prop_map(|guest| Act::Undefine { guest }),
    ];
    proptest::collection::vec(act, 12..24)
}

fn play(acts: &[Act]) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new().await;
        for act in acts {
            model.act(act).await;
            model.settle().await;
            model.compare(act);
        }
        for file in model.files() {
            assert_sound(&file);
        }
        (model.done, model.refused)
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_is_done_to_disks_each_shows_its_own_bytes() {
    if !can_run() {
        return;
    }
    let config = Config {
        cases: u32::try_from(number("LODGE_MODEL_CASES", 8)).unwrap(),
        rng_seed: RngSeed::Fixed(number("LODGE_MODEL_SEED", 811)),
        max_shrink_iters: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let counts = std::cell::Cell::new((0, 0));
    let played = TestRunner::new(config).run(&acts(), |acts| {
        let (done, refused) = play(&acts);
        counts.set((counts.get().0 + done, counts.get().1 + refused));
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
    let (done, refused) = counts.get();
    eprintln!("{done} acts done, {refused} refused or cut off");
    assert!(done > refused / 2, "hardly anything is done: {done} of {}", done + refused);
}

/// virt-manager's issue 811: with an internal snapshot, take an external one, go back to the internal one, delete the
/// external one. There the base image was deleted.
#[test]
fn deleting_an_external_snapshot_above_an_internal_one_leaves_the_base() {
    if !can_run() {
        return;
    }
    let write = |byte| Act::Write { guest: 0, block: 0, blocks: 9, byte };
    let acts = [
        write(1),
        Act::SnapInside { guest: 0 },
        write(2),
        Act::SnapOutside { guest: 0 },
        write(3),
        Act::Revert { snapshot: 0 },
        Act::DeleteSnapshot { snapshot: 1 },
        // Everything that may go: the base is not among it.
        Act::Delete { file: 0 },
        Act::Delete { file: 1 },
        Act::Delete { file: 2 },
        Act::Delete { file: 3 },
        Act::Revert { snapshot: 0 },
    ];
    play(&acts);
}
