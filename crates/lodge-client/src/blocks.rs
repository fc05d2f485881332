//! Calls about disks of running guests. `disk` is a disk's target or file.

use lodge_api::{
    BlockCommit, BlockCopy, BlockError, BlockJobEnd, BlockJobSpeed, BlockJobView, BlockPull, BlockResize,
    BlockSizes, BlockThreshold, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// A disk's sizes.
    pub async fn domain_block(&self, dom: &str, disk: &str) -> Answer<BlockSizes> {
        self.json(Call::get(route::of_both(route::DOMAIN_BLOCK, dom, disk))).await
    }

    /// The disks that stopped the guest.
    pub async fn domain_block_errors(&self, dom: &str) -> Answer<Vec<BlockError>> {
        self.json(Call::get(route::of(route::DOMAIN_BLOCK_ERRORS, dom))).await
    }

    /// Gives a running guest's disk another size.
    pub async fn resize_block(&self, dom: &str, disk: &str, resize: &BlockResize) -> Answer<()> {
        self.nothing(Call::post(route::of_both(route::BLOCK_RESIZE, dom, disk)).json(resize)).await
    }

    /// Says when a disk's growth is told.
    pub async fn set_block_threshold(&self, dom: &str, disk: &str, threshold: &BlockThreshold) -> Answer<()> {
        self.nothing(Call::put(route::of_both(route::BLOCK_THRESHOLD, dom, disk)).json(threshold)).await
    }

    /// Begins a commit.
    pub async fn commit_block(&self, dom: &str, disk: &str, commit: &BlockCommit) -> Answer<()> {
        self.nothing(Call::post(route::of_both(route::BLOCK_COMMIT, dom, disk)).json(commit)).await
    }

    /// Begins a pull.
    pub async fn pull_block(&self, dom: &str, disk: &str, pull: &BlockPull) -> Answer<()> {
        self.nothing(Call::post(route::of_both(route::BLOCK_PULL, dom, disk)).json(pull)).await
    }

    /// Begins a copy.
    pub async fn copy_block(&self, dom: &str, disk: &str, copy: &BlockCopy) -> Answer<()> {
        self.nothing(Call::post(route::of_both(route::BLOCK_COPY, dom, disk)).json(copy)).await
    }

    /// The block job of a disk.
    pub async fn block_job(&self, dom: &str, disk: &str) -> Answer<Option<BlockJobView>> {
        self.json(Call::get(route::of_both(route::BLOCK_JOB, dom, disk))).await
    }

    /// Limits it.
    pub async fn set_block_job_speed(&self, dom: &str, disk: &str, speed: &BlockJobSpeed) -> Answer<()> {
        self.nothing(Call::put(route::of_both(route::BLOCK_JOB, dom, disk)).json(speed)).await
    }

    /// Ends it.
    pub async fn end_block_job(&self, dom: &str, disk: &str, end: &BlockJobEnd) -> Answer<()> {
        self.nothing(Call::delete(route::of_both(route::BLOCK_JOB, dom, disk)).query(end)).await
    }
}
