//! Jobs of the block layer: commit, stream, mirror, and what ends them.
//!
//! All are started with `auto-finalize` off: one that has done its work is `pending` and changes neither headers nor how
//! nodes stand on each other until it is told to, so what it has written can be made durable before.
//! Commits and mirrors are started with `auto-dismiss` off too: one that has ended stays until somebody has read how, so
//! a daemon that was away learns of it. Not so streams: a stream that has ended and is not dismissed leaves a node
//! without a child behind, and `query-named-block-nodes` then crashes QEMU (seen with 10.0.2).
//! Deliberately absent: what a job means for a guest's document.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::open_enum::open_enum;
use super::{Monitor, MonitorError};

/// QEMU drains a disk before it starts or completes a job on it, and that is as slow as the disk.
const PATIENCE: Duration = Duration::from_mins(2);

open_enum! {
    /// How a job is doing (`JobStatus`).
    JobStatus {
        /// Made, not begun.
        Created = "created",
        /// At work.
        Running = "running",
        /// Held.
        Paused = "paused",
        /// All is copied, and kept so until it is told to end.
        Ready = "ready",
        /// Held in that state.
        Standby = "standby",
        /// Done; waits for others of its transaction.
        Waiting = "waiting",
        /// Done; waits to be told to finish.
        Pending = "pending",
        /// It failed or was cancelled, and clears up.
        Aborting = "aborting",
        /// It has ended and can be asked how.
        Concluded = "concluded",
        /// It is gone.
        Null = "null",
    }
}

/// One of `query-jobs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// Its name.
    pub id: String,
    /// `commit`, `stream`, `mirror`, `create` …
    #[serde(rename = "type")]
    pub kind: String,
    /// How it is doing.
    pub status: JobStatus,
    /// Why it failed; none: it did not.
    #[serde(default)]
    pub error: Option<String>,
}

/// One of `query-block-jobs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockJob {
    /// Its name.
    pub device: String,
    /// `commit`, `stream`, `mirror` …
    #[serde(rename = "type")]
    pub kind: String,
    /// What there is to do, in bytes or what else it counts.
    pub len: u64,
    /// What is done of it.
    pub offset: u64,
    /// Its limit in bytes per second; 0: none.
    pub speed: u64,
    /// Whether it may be completed now.
    #[serde(default)]
    pub ready: bool,
    /// How it is doing.
    pub status: JobStatus,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// `block-commit`: what the layers from `top` down to `base` have goes into `base`.
#[derive(Debug, Clone, Default)]
pub struct Commit<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The node that the guest's device is on.
    pub device: &'a str,
    /// The node of the lowest layer.
    pub base: &'a str,
    /// The node of the highest layer.
    pub top: &'a str,
    /// What the layer above `top` is to have in its header as its backing file; none where `top` is the guest's own.
    pub backing_file: Option<&'a str>,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
}

/// `block-stream`: what the layers below `device` have, above `base`, goes into `device`.
#[derive(Debug, Clone, Default)]
pub struct Stream<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The node that is filled.
    pub device: &'a str,
    /// The node that stays below it; none: nothing does.
    pub base: Option<&'a str>,
    /// What `device` is to have in its header as its backing file then.
    pub backing_file: Option<&'a str>,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
}

/// `blockdev-mirror`: `target` becomes and stays a copy of `device`.
#[derive(Debug, Clone, Default)]
pub struct Mirror<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The node that the guest's device is on.
    pub device: &'a str,
    /// The node that is filled.
    pub target: &'a str,
    /// The node that `target` takes the place of when the job is completed.
    pub replaces: &'a str,
    /// Only the highest layer.
    pub shallow: bool,
    /// The guest's writes go to both at once.
    pub synchronous: bool,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
    /// Bytes that one bit of the map of changes stands for; 0: QEMU's choice.
    pub granularity: u32,
    /// Bytes under way; 0: QEMU's choice.
    pub buffer_bytes: u64,
}

/// A descriptor in one of QEMU's sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct InSet {
    /// The set.
    pub set: u32,
    /// QEMU's number of the descriptor.
    pub fd: i32,
}

fn put(arguments: &mut Value, name: &str, value: impl Into<Value>) {
    arguments[name] = value.into();
}

impl Monitor {
    async fn begin(&self, command: &str, arguments: Value) -> Result<(), MonitorError> {
        self.execute_within::<IgnoredAny>(command, arguments, PATIENCE).await.map(drop)
    }

    /// `block-commit`.
    pub async fn block_commit(&self, commit: &Commit<'_>) -> Result<(), MonitorError> {
        let mut arguments = json!({
            "job-id": commit.job, "device": commit.device, "base-node": commit.base, "top-node": commit.top,
            "speed": commit.speed, "auto-finalize": false, "auto-dismiss": false,
        });
        if let Some(name) = commit.backing_file {
            put(&mut arguments, "backing-file", name);
        }
        self.begin("block-commit", arguments).await
    }

    /// `block-stream`.
    pub async fn block_stream(&self, stream: &Stream<'_>) -> Result<(), MonitorError> {
        let mut arguments = json!({
            "job-id": stream.job, "device": stream.device, "speed": stream.speed, "auto-finalize": false,
        });
        if let Some(base) = stream.base {
            put(&mut arguments, "base-node", base);
        }
        if let Some(name) = stream.backing_file {
            put(&mut arguments, "backing-file", name);
        }
        self.begin("block-stream", arguments).await
    }

    /// `blockdev-mirror`.
    pub async fn blockdev_mirror(&self, mirror: &Mirror<'_>) -> Result<(), MonitorError> {
        let mut arguments = json!({
            "job-id": mirror.job, "device": mirror.device, "target": mirror.target, "replaces": mirror.replaces,
            "sync": if mirror.shallow { "top" } else { "full" }, "speed": mirror.speed, "auto-finalize": false,
            "auto-dismiss": false,
        });
        if mirror.synchronous {
            put(&mut arguments, "copy-mode", "write-blocking");
        }
        if mirror.granularity > 0 {
            put(&mut arguments, "granularity", mirror.granularity);
        }
        if mirror.buffer_bytes > 0 {
            put(&mut arguments, "buf-size", mirror.buffer_bytes);
        }
        self.begin("blockdev-mirror", arguments).await
    }

    /// `query-jobs`.
    pub async fn jobs(&self) -> Result<Vec<Job>, MonitorError> {
        self.execute("query-jobs", ()).await
    }

    /// `query-block-jobs`.
    pub async fn block_jobs(&self) -> Result<Vec<BlockJob>, MonitorError> {
        self.execute("query-block-jobs", ()).await
    }

    /// `block-job-cancel`: ends a job that is at work, and a ready one without its last step.
    pub async fn block_job_cancel(&self, job: &str) -> Result<(), MonitorError> {
        self.execute_within::<IgnoredAny>("block-job-cancel", json!({ "device": job }), PATIENCE)
            .await
            .map(drop)
    }

    /// `job-complete`: the last step of a job that is ready.
    pub async fn job_complete(&self, job: &str) -> Result<(), MonitorError> {
        self.execute_within::<IgnoredAny>("job-complete", json!({ "id": job }), PATIENCE).await.map(drop)
    }

    /// `job-finalize`: a job that is `pending` may end; it has when this answers.
    pub async fn job_finalize(&self, job: &str) -> Result<(), MonitorError> {
        self.execute_within::<IgnoredAny>("job-finalize", json!({ "id": job }), PATIENCE).await.map(drop)
    }

    /// `job-dismiss`: a job that has ended is forgotten.
    pub async fn job_dismiss(&self, job: &str) -> Result<(), MonitorError> {
        self.execute::<IgnoredAny>("job-dismiss", json!({ "id": job })).await.map(drop)
    }

    /// `block-job-set-speed`: bytes per second; 0: no limit.
    pub async fn set_block_job_speed(&self, job: &str, bytes_per_second: u64) -> Result<(), MonitorError> {
        let arguments = json!({ "device": job, "speed": bytes_per_second });
        self.execute::<IgnoredAny>("block-job-set-speed", arguments).await.map(drop)
    }

    /// `remove-fd` of one descriptor of a set; those who use it keep it.
    pub async fn remove_fd(&self, fd: InSet) -> Result<(), MonitorError> {
        let arguments = json!({ "fdset-id": fd.set, "fd": fd.fd });
        self.execute::<IgnoredAny>("remove-fd", arguments).await.map(drop)
    }
}

impl Monitor {
    /// The layers under each guest device, by the device's place in QEMU's tree: names of nodes, the highest first.
    /// Asked of `query-blockstats`, which is the one stable command that tells how nodes stand on each other.
    pub async fn block_chains(&self) -> Result<Vec<(String, Vec<String>)>, MonitorError> {
        let counted: Vec<Layered> = self.execute("query-blockstats", ()).await?;
        let chain = |layered: Layered| {
            let mut names = Vec::new();
            let place = layered.qdev.clone().unwrap_or_default();
            let mut next = Some(Box::new(layered));
            while let Some(layer) = next {
                names.extend(layer.node_name);
                next = layer.backing;
            }
            (place, names)
        };
        Ok(counted.into_iter().map(chain).collect())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Layered {
    #[serde(default)]
    qdev: Option<String>,
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    backing: Option<Box<Layered>>,
}
