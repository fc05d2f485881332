//! `blockcommit blockpull blockcopy blockjob`.

use clap::Args;
use lodge_client::api::{
    BlockCommit, BlockCopy, BlockJobEnd, BlockJobSpeed, BlockJobView, BlockPull, ErrorKind,
};

use super::wait::{After, Waiting, follow, label};
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

/// A disk of a domain.
#[derive(Debug, Args)]
struct DiskOf {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// fully-qualified path of disk
    #[arg(value_name = "path")]
    path: String,
}

/// How fast.
#[derive(Debug, Args)]
struct Limit {
    /// bandwidth limit in MiB/s
    #[arg(long, value_name = "number")]
    bandwidth: Option<u64>,
    /// the bandwidth limit is in bytes/s rather than MiB/s
    #[arg(long)]
    bytes: bool,
}

impl Limit {
    fn bytes_per_second(&self) -> Result<u64, Failure> {
        in_bytes(self.bandwidth.unwrap_or(0), self.bytes)
    }
}

fn in_bytes(number: u64, bytes: bool) -> Result<u64, Failure> {
    let limit = if bytes { Some(number) } else { number.checked_mul(1 << 20) };
    limit.filter(|limit| i64::try_from(*limit).is_ok()).ok_or_else(|| invalid("the bandwidth is too large"))
}

/// Whether and how its end is awaited.
#[derive(Debug, Args)]
struct Patience {
    /// wait for job to complete
    #[arg(long)]
    wait: bool,
    /// with --wait, display the progress
    #[arg(long)]
    verbose: bool,
    /// implies --wait, abort if it exceeds timeout (in seconds)
    #[arg(long, value_name = "number")]
    timeout: Option<u64>,
    /// with --wait, don't wait for cancel to finish
    #[arg(long = "async")]
    is_async: bool,
}

impl Patience {
    /// What is awaited; `None`: nothing.
    fn waiting(&self, disk: &DiskOf, implied: bool, after: After) -> Result<Option<Waiting>, Failure> {
        if !(self.wait || implied || self.timeout.is_some()) {
            if self.verbose || self.is_async {
                return Err(invalid("missing --wait option"));
            }
            return Ok(None);
        }
        Ok(Some(Waiting {
            domain: disk.domain.clone(),
            disk: disk.path.clone(),
            verbose: self.verbose,
            timeout_s: self.timeout,
            is_async: self.is_async,
            after,
        }))
    }
}

#[derive(Debug, Args)]
pub struct Blockcommit {
    #[command(flatten)]
    disk: DiskOf,
    #[command(flatten)]
    limit: Limit,
    /// path of base file to commit into (default bottom of chain)
    #[arg(long, value_name = "string")]
    base: Option<String>,
    /// use backing file of top as base
    #[arg(long)]
    shallow: bool,
    /// path of top file to commit from (default top of chain)
    #[arg(long, value_name = "string")]
    top: Option<String>,
    /// trigger two-stage active commit of top file
    #[arg(long)]
    active: bool,
    /// delete files that were successfully committed
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    wait: Patience,
    /// implies --active --wait, pivot when commit is synced
    #[arg(long, conflicts_with = "keep_overlay")]
    pivot: bool,
    /// implies --active --wait, quit when commit is synced
    #[arg(long)]
    keep_overlay: bool,
}

impl Blockcommit {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let ends = self.pivot || self.keep_overlay;
        let active = self.active || ends;
        let after = match (self.pivot, self.keep_overlay) {
            (true, _) => After::Pivot,
            (_, true) => After::Quit,
            _ => After::Stay,
        };
        let waiting = self.wait.waiting(&self.disk, ends, after)?;
        let commit = BlockCommit {
            base: self.base,
            top: self.top,
            shallow: self.shallow,
            active,
            delete: self.delete,
            bytes_per_second: self.limit.bytes_per_second()?,
        };
        let client = session.client().await?;
        let (dom, disk) = (&self.disk.domain, &self.disk.path);
        client.commit_block(dom, disk, &commit).await.on_domain(dom, "")?;
        let Some(waiting) = waiting else {
            session.say(if active { "Active Block Commit started\n" } else { "Block Commit started\n" });
            return Ok(());
        };
        follow(&client, &waiting, "Block commit").await?;
        session.say(match after {
            After::Pivot => "\nSuccessfully pivoted\n",
            After::Quit => "\nCommit complete, overlay image kept\n",
            After::Stay if active => "\nNow in synchronized phase\n",
            After::Stay => "\nCommit complete\n",
        });
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Blockpull {
    #[command(flatten)]
    disk: DiskOf,
    #[command(flatten)]
    limit: Limit,
    /// path of backing file in chain for a partial pull
    #[arg(long, value_name = "string")]
    base: Option<String>,
    #[command(flatten)]
    wait: Patience,
}

impl Blockpull {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let waiting = self.wait.waiting(&self.disk, false, After::Stay)?;
        let pull = BlockPull { base: self.base, bytes_per_second: self.limit.bytes_per_second()? };
        let client = session.client().await?;
        let (dom, disk) = (&self.disk.domain, &self.disk.path);
        client.pull_block(dom, disk, &pull).await.on_domain(dom, "")?;
        let Some(waiting) = waiting else {
            session.say("Block Pull started\n");
            return Ok(());
        };
        follow(&client, &waiting, "Block Pull").await?;
        session.say("\nPull complete\n");
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Blockcopy {
    #[command(flatten)]
    disk: DiskOf,
    /// path of the copy to create
    #[arg(long, value_name = "string", required_unless_present = "xml", conflicts_with = "xml")]
    dest: Option<String>,
    #[command(flatten)]
    limit: Limit,
    /// make the copy share a backing chain
    #[arg(long)]
    shallow: bool,
    /// reuse existing destination
    #[arg(long)]
    reuse_external: bool,
    /// copy destination is block device instead of regular file
    #[arg(long, conflicts_with = "xml")]
    blockdev: bool,
    #[command(flatten)]
    wait: Patience,
    /// implies --wait, pivot when mirroring starts
    #[arg(long, conflicts_with = "finish")]
    pivot: bool,
    /// implies --wait, quit when mirroring starts
    #[arg(long)]
    finish: bool,
    /// filename containing XML description of the copy destination
    #[arg(long, value_name = "string")]
    xml: Option<String>,
    /// format of the destination file
    #[arg(long, value_name = "string", conflicts_with = "xml")]
    format: Option<String>,
    /// power-of-two granularity to use during the copy
    #[arg(long, value_name = "number", default_value_t = 0)]
    granularity: u32,
    /// maximum amount of in-flight data during the copy
    #[arg(long, value_name = "number", default_value_t = 0)]
    buf_size: u64,
    /// the copy job is not persisted if VM is turned off
    #[arg(long)]
    transient_job: bool,
    /// the copy job forces guest writes to be synchronously written to the destination
    #[arg(long)]
    synchronous_writes: bool,
}

impl Blockcopy {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let after = match (self.pivot, self.finish) {
            (true, _) => After::Pivot,
            (_, true) => After::Quit,
            _ => After::Stay,
        };
        let waiting = self.wait.waiting(&self.disk, self.pivot || self.finish, after)?;
        let xml = self.xml.as_deref().map(|file| super::super::read_file(file.as_ref())).transpose()?;
        let copy = BlockCopy {
            xml,
            path: self.dest.unwrap_or_default(),
            format: self.format,
            block_device: self.blockdev,
            shallow: self.shallow,
            reuse_external: self.reuse_external,
            transient_job: self.transient_job,
            synchronous_writes: self.synchronous_writes,
            bytes_per_second: self.limit.bytes_per_second()?,
            granularity: self.granularity,
            buf_size: self.buf_size,
        };
        let client = session.client().await?;
        let (dom, disk) = (&self.disk.domain, &self.disk.path);
        client.copy_block(dom, disk, &copy).await.on_domain(dom, "")?;
        let Some(waiting) = waiting else {
            session.say("Block Copy started\n");
            return Ok(());
        };
        follow(&client, &waiting, "Block Copy").await?;
        session.say(match after {
            After::Pivot => "\nSuccessfully pivoted\n",
            After::Quit => "\nSuccessfully copied\n",
            After::Stay => "\nNow in mirroring phase\n",
        });
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Blockjob {
    #[command(flatten)]
    disk: DiskOf,
    /// abort the active job on the specified disk
    #[arg(long)]
    abort: bool,
    /// implies --abort; request but don't wait for job end
    #[arg(long = "async")]
    is_async: bool,
    /// implies --abort; conclude and pivot a copy or commit job
    #[arg(long)]
    pivot: bool,
    /// get active job information for the specified disk
    #[arg(long)]
    info: bool,
    /// get/set bandwidth in bytes rather than MiB/s
    #[arg(long)]
    bytes: bool,
    /// implies --info; output details rather than human summary
    #[arg(long)]
    raw: bool,
    /// set the bandwidth limit in MiB/s
    #[arg(long, value_name = "number")]
    bandwidth: Option<u64>,
}

impl Blockjob {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let ends = self.abort || self.is_async || self.pivot;
        let shows = self.info || self.raw;
        if u8::from(ends) + u8::from(shows) + u8::from(self.bandwidth.is_some()) > 1 {
            return Err(invalid("conflict between abort, info, and bandwidth modes"));
        }
        let client = session.client().await?;
        let (dom, disk) = (&self.disk.domain, &self.disk.path);
        if ends {
            let end = BlockJobEnd { pivot: self.pivot, is_async: self.is_async };
            return client.end_block_job(dom, disk, &end).await.on_domain(dom, "");
        }
        if let Some(bandwidth) = self.bandwidth {
            let speed = BlockJobSpeed { bytes_per_second: in_bytes(bandwidth, self.bytes)? };
            return client.set_block_job_speed(dom, disk, &speed).await.on_domain(dom, "");
        }
        let Some(job) = client.block_job(dom, disk).await.on_domain(dom, "")? else {
            session.show(&None::<BlockJobView>, |_| {
                if self.raw { String::new() } else { format!("No current block job for {disk}\n") }
            });
            return Ok(());
        };
        session.show(&job, |job| if self.raw { self.details(job) } else { self.summary(job) });
        Ok(())
    }

    fn limit(&self, job: &BlockJobView) -> u64 {
        if self.bytes { job.bytes_per_second } else { job.bytes_per_second.div_ceil(1 << 20) }
    }

    fn details(&self, job: &BlockJobView) -> String {
        let (kind, limit) = (label(job), self.limit(job));
        format!(" type={kind}\n bandwidth={limit}\n cur={}\n end={}\n", job.done, job.all)
    }

    fn summary(&self, job: &BlockJobView) -> String {
        let mut text = super::wait::progress(label(job), job);
        if job.bytes_per_second > 0 {
            let unit = if self.bytes { "bytes/s" } else { "MiB/s" };
            text += &format!("    Bandwidth limit: {} {unit}", self.limit(job));
        }
        text.push('\n');
        text
    }
}

/// Said where a job ended otherwise than it was to.
pub(super) fn ended_otherwise(what: &str, status: &str) -> Failure {
    Failure::new(ErrorKind::InvalidState, format!("{what} {status}"))
}
