//! Calls about files: who needs them, chains, what guests are made of, what is wrong.

use lodge_api::{
    ChainClone, ChainCommit, ChainCommitted, ChainFlatten, ChainLinkView, ChainRebase, ChainTemplate,
    DoctorQuery, FileQuery, FindingView, GuestFileView, NeedView, Relocated, Relocation, RepairOptions,
    UsageView, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// Who needs a file.
    pub async fn needs(&self, path: &str) -> Answer<Vec<NeedView>> {
        let query = FileQuery { path: path.to_owned(), format: None };
        self.json(Call::get(route::NEEDS).query(&query)).await
    }

    /// How full a pool is.
    pub async fn pool_usage(&self, pool: &str) -> Answer<UsageView> {
        self.json(Call::get(route::of(route::POOL_USAGE, pool))).await
    }

    /// The files a disk is made of, the top one first.
    pub async fn chain(&self, query: &FileQuery) -> Answer<Vec<ChainLinkView>> {
        self.json(Call::get(route::CHAIN).query(query)).await
    }

    /// Merges upper files into a lower one.
    pub async fn commit_chain(&self, wish: &ChainCommit) -> Answer<ChainCommitted> {
        self.json(Call::post(route::CHAIN_COMMIT).json(wish)).await
    }

    /// Takes what lies below a disk into it.
    pub async fn flatten_chain(&self, wish: &ChainFlatten) -> Answer<Vec<ChainLinkView>> {
        self.json(Call::post(route::CHAIN_FLATTEN).json(wish)).await
    }

    /// Stands a disk on another file.
    pub async fn rebase_chain(&self, wish: &ChainRebase) -> Answer<Vec<ChainLinkView>> {
        self.json(Call::post(route::CHAIN_REBASE).json(wish)).await
    }

    /// Makes a disk a template, or an ordinary disk again.
    pub async fn make_template(&self, wish: &ChainTemplate) -> Answer<Vec<ChainLinkView>> {
        self.json(Call::post(route::CHAIN_TEMPLATE).json(wish)).await
    }

    /// Makes a disk that stands on another.
    pub async fn link_clone(&self, wish: &ChainClone) -> Answer<Vec<ChainLinkView>> {
        self.json(Call::post(route::CHAIN_CLONE).json(wish)).await
    }

    /// What is wrong with files.
    pub async fn doctor(&self, query: &DoctorQuery) -> Answer<Vec<FindingView>> {
        self.json(Call::get(route::DOCTOR).query(query)).await
    }

    /// Repairs one finding.
    pub async fn repair(&self, finding: &str, options: &RepairOptions) -> Answer<FindingView> {
        self.json(Call::post(route::of(route::DOCTOR_FINDING, finding)).query(options)).await
    }

    /// Every file that makes up a domain.
    pub async fn domain_files(&self, dom: &str) -> Answer<Vec<GuestFileView>> {
        self.json(Call::get(route::of(route::DOMAIN_FILES, dom))).await
    }

    /// Takes over the places a domain's disks were moved to.
    pub async fn relocate_domain(&self, dom: &str, options: &Relocation) -> Answer<Vec<Relocated>> {
        self.json(Call::post(route::of(route::DOMAIN_RELOCATE, dom)).query(options)).await
    }
}
