//! Random sequences of what is done to the disk of a guest that runs, compared byte by byte with a plain model.
//!
//! The model is what the guest sees, as bytes in memory. The guest writes (QEMU does it for it, through its device)
//! between the acts and while jobs are at work; jobs are let end or ended; QEMU is killed when one is done. After every act,
//! whether it was done or refused, the disk must show exactly what was written. `LODGE_MODEL_CASES` and
//! `LODGE_MODEL_SEED` make it longer or other.

use std::time::{Duration, Instant};

use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{abort, pivot, speed};
use lodge_domain::control::Change;
use lodge_domain::{
    DestroyOptions, Domains, Handle, SnapshotCreateOptions, SnapshotDeleteOptions, StartOptions, Ticket,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::house::{House, is_clean, kill_qemu, text_of, top_of};
use crate::support::{has_qemu, qemu_img, until};

const BLOCK_KIB: usize = 64;
/// Of the guest's disk.
const BLOCKS: usize = 128;
/// The disk's device: what is written through it is what the guest writes.
const DEVICE: &str = "/machine/peripheral/virtio-disk0/virtio-backend";
/// Jobs go so slowly that writes come between their beginning and their end.
const SLOW: u64 = 1 << 20;

/// One act; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Act {
    Write(Write),
    Snapshot,
    DeleteSnapshot { which: usize },
    Commit { top: usize, base: usize, job: Job },
    Pull { base: usize, job: Job },
    Restart,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    block: usize,
    blocks: usize,
    byte: u8,
}

/// What happens while a job is at work, and how it ends.
#[derive(Debug, Clone)]
struct Job {
    writes: Vec<Write>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// Its own.
    Done,
    Abort,
    /// Its own, and QEMU is killed right behind it.
    Kill,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let any = 0..64_usize;
    let write =
        || (0..BLOCKS, 1..24_usize, 0..6_u8).prop_map(|(block, blocks, byte)| Write { block, blocks, byte });
    let end = || {
        prop_oneof![
            6 => Just(End::Done),
            1 => Just(End::Abort),
            2 => Just(End::Kill),
        ]
    };
    let job =
        || (proptest::collection::vec(write(), 0..4), end()).prop_map(|(writes, end)| Job { writes, end });
    let act = prop_oneof![
        5 => write().prop_map(Act::Write),
        4 => Just(Act::Snapshot),
        3 => any.clone().prop_map(|which| Act::DeleteSnapshot { which }),
        3 => (any.clone(), any.clone(), job()).prop_map(|(top, base, job)| Act::Commit { top, base, job }),
        2 => (any, job()).prop_map(|(base, job)| Act::Pull { base, job }),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 10..20)
}

struct Model {
    house: House,
    domains: Domains,
    guest: Handle,
    /// What the guest sees.
    bytes: Vec<u8>,
    taken: usize,
    done: usize,
    refused: usize,
}

impl Model {
    async fn new() -> Self {
        let house = House::idle(2);
        let bytes = house.bytes(2);
        assert_eq!(bytes.len(), (BLOCKS * BLOCK_KIB) << 10);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        Self { house, domains, guest, bytes, taken: 0, done: 0, refused: 0 }
    }

    async fn act(&mut self, act: &Act) {
        let done = match act {
            Act::Write(write) => {
                self.write(*write).await;
                true
            }
            Act::Snapshot => self.snapshot().await,
            Act::DeleteSnapshot { which } => self.delete_snapshot(*which).await,
            Act::Commit { top, base, job } => self.commit(*top, *base, job).await,
            Act::Pull { base, job } => self.pull(*base, job).await,
            Act::Restart => {
                self.guest.destroy(DestroyOptions::default()).await.unwrap();
                self.start().await;
                true
            }
        };
        *(if done { &mut self.done } else { &mut self.refused }) += 1;
    }

    /// Writes, and waits until the disk has said that it is written.
    async fn write(&mut self, Write { block, blocks, byte }: Write) {
        let blocks = blocks.min(BLOCKS - block);
        self.io(&format!("write -q -P {byte} {}k {}k", block * BLOCK_KIB, blocks * BLOCK_KIB)).await;
        self.io("flush").await;
        let bytes = BLOCK_KIB << 10;
        self.bytes[block * bytes..(block + blocks) * bytes].fill(byte);
    }

    async fn io(&self, command: &str) {
        let monitor = self.guest.monitor().unwrap();
        let said = monitor.human(&format!("qemu-io -d {DEVICE} \"{command}\"")).await.unwrap();
        assert_eq!(said, "", "{command}");
    }

    async fn start(&self) {
        self.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    }

    async fn snapshot(&mut self) -> bool {
        self.taken += 1;
        let xml = format!("<domainsnapshot><name>s{}</name></domainsnapshot>", self.taken);
        let options = SnapshotCreateOptions { disk_only: true, ..SnapshotCreateOptions::default() };
        self.guest.create_snapshot(xml, options, Ticket::default()).await.is_ok()
    }

    async fn delete_snapshot(&self, which: usize) -> bool {
        let names: Vec<String> = self.guest.snapshots().names().map(str::to_owned).collect();
        let Some(name) = names.get(which % names.len().max(1)) else { return false };
        self.guest.delete_snapshot(name.clone(), SnapshotDeleteOptions::default()).await.is_ok()
    }

    /// The disk's files, the guest's own first.
    async fn layers(&self) -> Vec<String> {
        let text = text_of(&self.guest, false).await;
        text.split("<source file='")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned()))
            .collect()
    }

    async fn commit(&mut self, top: usize, base: usize, job: &Job) -> bool {
        let layers = self.layers().await;
        if layers.len() < 2 {
            return false;
        }
        let top = top % (layers.len() - 1);
        let base = top + 1 + base % (layers.len() - 1 - top);
        let options = CommitOptions {
            base: Some(layers[base].clone()),
            top: Some(layers[top].clone()),
            active: top == 0,
            speed: SLOW,
            ..CommitOptions::default()
        };
        self.run(commit("vda".to_owned(), options), job).await
    }

    async fn pull(&mut self, base: usize, job: &Job) -> bool {
        let layers = self.layers().await;
        // The lowest may come up, too.
        let base = layers.get(2 + base % layers.len()).cloned();
        let options = PullOptions { base, speed: SLOW, ..PullOptions::default() };
        self.run(pull("vda".to_owned(), options), job).await
    }

    async fn run(&mut self, change: Change, job: &Job) -> bool {
        if self.guest.change(change).await.is_err() {
            return false;
        }
        for write in &job.writes {
            self.write(*write).await;
        }
        // Either is refused where it is over already.
        let _ = match job.end {
            End::Done | End::Kill => self.guest.change(speed::set_speed("vda".to_owned(), 0)).await,
            End::Abort => self.guest.change(abort::abort("vda".to_owned(), true)).await,
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.guest.block_job("vda").await.unwrap().is_some() {
            // Refused until it is ready, and where there is nothing to change over to.
            let _ = self.guest.change(pivot::pivot("vda".to_owned(), true)).await;
            assert!(Instant::now() < deadline, "the job does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if matches!(job.end, End::Kill) {
            kill_qemu(&self.guest);
            until(&self.guest, "off", |snapshot| !snapshot.is_active()).await;
            self.start().await;
        }
        true
    }

    /// Reads the disk behind QEMU's back, once QEMU has nothing of it in its own caches.
    async fn compare(&self, act: &Act) {
        self.io("flush").await;
        let (top, seen) = (top_of(&self.guest), self.house.world.dir.path().join("seen"));
        let (top, to) = (top.display().to_string(), seen.display().to_string());
        qemu_img(&["convert", "-U", "-f", "qcow2", "-O", "raw", &top, &to]).unwrap();
        let seen = std::fs::read(seen).unwrap();
        let differs = seen.iter().zip(&self.bytes).position(|(seen, written)| seen != written);
        assert!(
            seen.len() == self.bytes.len() && differs.is_none(),
            "after {act:?} byte {differs:?} of {top} is another"
        );
    }
}

fn play(acts: &[Act]) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new().await;
        for act in acts {
            model.act(act).await;
            model.compare(act).await;
        }
        model.guest.destroy(DestroyOptions::default()).await.unwrap();
        is_clean(&top_of(&model.guest));
        let Model { domains, guest, done, refused, house: _house, .. } = model;
        drop(guest);
        domains.close(Duration::from_secs(5)).await;
        (done, refused)
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_is_done_below_a_guest_that_runs_it_sees_its_own_bytes() {
    if !has_qemu() {
        return;
    }
    let config = Config {
        cases: u32::try_from(number("LODGE_MODEL_CASES", 6)).unwrap(),
        rng_seed: RngSeed::Fixed(number("LODGE_MODEL_SEED", 811)),
        max_shrink_iters: 32,
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
    eprintln!("{done} acts done, {refused} refused");
    assert!(done > refused * 2, "hardly anything is done: {done} of {}", done + refused);
}

/// The guest is idle, so nothing is flushed for it: all that a job did is on disk by the job's own end.
#[test]
fn what_a_job_brought_survives_a_qemu_that_is_killed_behind_it() {
    if !has_qemu() {
        return;
    }
    let job = || Job { writes: Vec::new(), end: End::Kill };
    for act in [
        Act::Pull { base: 1, job: job() },
        Act::Commit { top: 1, base: 0, job: job() },
        Act::Commit { top: 0, base: 1, job: job() },
    ] {
        assert_eq!(play(&[act]), (1, 0));
    }
}
