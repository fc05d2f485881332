//! Use cases of a domain's disks: sizes, errors, block jobs.

use lodge_api::{BlockCommit, BlockCopy, BlockError, BlockJobEnd, BlockJobView, BlockPull, BlockSizes};
use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{abort, pivot, speed};
use lodge_domain::control::Change;
use lodge_domain::control::tune::block;

use crate::{Caller, Engine, error::Result};

impl Engine {
    async fn change_block(&self, caller: &Caller, dom: &str, change: Change) -> Result<()> {
        caller.may_change()?;
        self.find_domain(dom)?.change(change).await?;
        Ok(())
    }

    /// A disk's sizes.
    #[crate::boxed]
    pub async fn domain_block(&self, caller: &Caller, dom: &str, disk: &str) -> Result<BlockSizes> {
        let id = self.find_domain(dom)?.id();
        let size = self.guest(caller, id)?.block_size(disk).await?;
        Ok(BlockSizes { capacity: size.capacity, allocation: size.allocation, physical: size.physical })
    }

    /// The disks that stopped the guest.
    #[crate::boxed]
    pub async fn domain_block_errors(&self, caller: &Caller, dom: &str) -> Result<Vec<BlockError>> {
        let id = self.find_domain(dom)?.id();
        let errors = self.guest(caller, id)?.disk_errors().await?;
        let word = |code: i32| if code == 2 { "no space" } else { "unspecified error" };
        Ok(errors
            .into_iter()
            .map(|(target, code)| BlockError { target, error: word(code).to_owned() })
            .collect())
    }

    /// Gives a running guest's disk another size.
    #[crate::boxed]
    pub async fn resize_block(&self, caller: &Caller, dom: &str, disk: String, bytes: u64) -> Result<()> {
        self.change_block(caller, dom, block::resize(disk, bytes)).await
    }

    /// Says when a disk's growth is told.
    #[crate::boxed]
    pub async fn set_block_threshold(
        &self,
        caller: &Caller,
        dom: &str,
        disk: String,
        bytes: u64,
    ) -> Result<()> {
        self.change_block(caller, dom, block::set_threshold(disk, bytes)).await
    }

    /// Begins a commit.
    #[crate::boxed]
    pub async fn commit_block(
        &self,
        caller: &Caller,
        dom: &str,
        disk: String,
        asked: BlockCommit,
    ) -> Result<()> {
        let BlockCommit { base, top, shallow, active, delete, bytes_per_second } = asked;
        let options =
            CommitOptions { base, top, shallow, active, relative: false, delete, speed: bytes_per_second };
        self.change_block(caller, dom, commit(disk, options)).await
    }

    /// Begins a pull.
    #[crate::boxed]
    pub async fn pull_block(&self, caller: &Caller, dom: &str, disk: String, asked: BlockPull) -> Result<()> {
        let options = PullOptions { base: asked.base, relative: false, speed: asked.bytes_per_second };
        self.change_block(caller, dom, pull(disk, options)).await
    }

    /// Begins a copy.
    #[crate::boxed]
    pub async fn copy_block(&self, caller: &Caller, dom: &str, disk: String, asked: BlockCopy) -> Result<()> {
        let destination = match &asked.xml {
            Some(xml) => Destination::parse(xml).map_err(lodge_domain::DomainError::from)?,
            None => Destination {
                path: asked.path,
                format: asked.format,
                is_block: asked.block_device,
                encryption: None,
            },
        };
        let options = CopyOptions {
            shallow: asked.shallow,
            reuse: asked.reuse_external,
            transient_job: asked.transient_job,
            synchronous: asked.synchronous_writes,
            speed: asked.bytes_per_second,
            granularity: asked.granularity,
            buffer_bytes: asked.buf_size,
        };
        self.change_block(caller, dom, copy(disk, destination, options)).await
    }

    /// The block job of a disk.
    #[crate::boxed]
    pub async fn block_job(&self, _caller: &Caller, dom: &str, disk: &str) -> Result<Option<BlockJobView>> {
        let job = self.find_domain(dom)?.block_job(disk).await?;
        Ok(job.map(|job| BlockJobView {
            kind: job.kind.as_str().to_owned(),
            bytes_per_second: job.speed,
            done: job.done,
            all: job.all,
            ready: job.ready,
        }))
    }

    /// Sets its limit.
    #[crate::boxed]
    pub async fn set_block_job_speed(
        &self,
        caller: &Caller,
        dom: &str,
        disk: String,
        bytes_per_second: u64,
    ) -> Result<()> {
        self.change_block(caller, dom, speed::set_speed(disk, bytes_per_second)).await
    }

    /// Ends it.
    #[crate::boxed]
    pub async fn end_block_job(
        &self,
        caller: &Caller,
        dom: &str,
        disk: String,
        end: BlockJobEnd,
    ) -> Result<()> {
        let wait = !end.is_async;
        let change = if end.pivot { pivot::pivot(disk, wait) } else { abort::abort(disk, wait) };
        self.change_block(caller, dom, change).await
    }
}
