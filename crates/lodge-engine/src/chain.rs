//! Use cases of chains: what a disk stands on, who needs it, and acts on chains of guests that are off.

use std::path::{Path, PathBuf};

use lodge_api::{
    ChainAfter, ChainClone, ChainCommit, ChainCommitted, ChainFlatten, ChainLinkView, ChainRebase,
    ChainTemplate, FileQuery, NeedView,
};
use lodge_model::{Bytes, Kind};
use lodge_storage::{AfterCommit, Commit, Format, Need, RebaseMode};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

impl Engine {
    /// Who needs a file, and why.
    #[crate::boxed]
    pub async fn needs(&self, _caller: &Caller, path: &str) -> Result<Vec<NeedView>> {
        let needs = self.storage.who_needs(absolute(path)?).await?;
        Ok(needs.iter().map(need_view).collect())
    }

    /// The files a disk is made of, the top one first.
    #[crate::boxed]
    pub async fn chain(&self, _caller: &Caller, query: &FileQuery) -> Result<Vec<ChainLinkView>> {
        let format = query.format.as_deref().map_or(Ok(Format::Qcow2), format)?;
        self.links(absolute(&query.path)?, format).await
    }

    /// Merges the upper files of a chain into a lower one.
    #[crate::boxed]
    pub async fn commit_chain(&self, caller: &Caller, wish: ChainCommit) -> Result<ChainCommitted> {
        caller.may_change()?;
        let commit = Commit {
            top: absolute(&wish.top)?.to_owned(),
            base: wish.base.as_deref().map(absolute).transpose()?.map(Path::to_owned),
            after: match wish.after {
                ChainAfter::Keep => AfterCommit::Keep,
                ChainAfter::Empty => AfterCommit::Empty,
                ChainAfter::Delete => AfterCommit::Delete,
            },
            behalf: None,
        };
        let done = self.storage.commit(&commit).await?;
        for path in done.removed.iter().chain([&done.base, &commit.top]) {
            self.pools.noticed(path).await;
        }
        let data = serde_json::json!({ "base": done.base, "removed": done.removed });
        self.feed.publish("chain.committed", wish.top, data);
        let text = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
        Ok(ChainCommitted {
            base: done.base.display().to_string(),
            format: done.format.to_string(),
            turned: text(done.turned),
            removed: text(done.removed),
        })
    }

    /// Takes what lies below a disk into it.
    #[crate::boxed]
    pub async fn flatten_chain(&self, caller: &Caller, wish: ChainFlatten) -> Result<Vec<ChainLinkView>> {
        caller.may_change()?;
        let onto = wish.onto.as_deref().map(absolute).transpose()?;
        self.storage.flatten(absolute(&wish.path)?, onto).await?;
        self.chain_changed("chain.flattened", wish.path, Format::Qcow2).await
    }

    /// Stands a disk on another file.
    #[crate::boxed]
    pub async fn rebase_chain(&self, caller: &Caller, wish: ChainRebase) -> Result<Vec<ChainLinkView>> {
        caller.may_change()?;
        let mode = if wish.is_unsafe { RebaseMode::Proven } else { RebaseMode::Safe };
        let onto = (absolute(&wish.onto)?, format(&wish.format)?);
        self.storage.rebase(absolute(&wish.path)?, onto, mode).await?;
        self.chain_changed("chain.rebased", wish.path, Format::Qcow2).await
    }

    /// Makes a disk a template, or an ordinary disk again.
    #[crate::boxed]
    pub async fn make_template(&self, caller: &Caller, wish: ChainTemplate) -> Result<Vec<ChainLinkView>> {
        caller.may_change()?;
        let (path, format) = (absolute(&wish.path)?, format(&wish.format)?);
        let event = if wish.undo {
            self.storage.unmake_template(path).await?;
            "template.removed"
        } else {
            self.storage.make_template(path, format).await?;
            "template.made"
        };
        self.chain_changed(event, wish.path.clone(), format).await
    }

    /// Makes a disk that begins as another and keeps only what differs.
    #[crate::boxed]
    pub async fn link_clone(&self, caller: &Caller, wish: ChainClone) -> Result<Vec<ChainLinkView>> {
        caller.may_change()?;
        let base = (absolute(&wish.base)?, format(&wish.format)?);
        let path = if Path::new(&wish.name).is_absolute() {
            PathBuf::from(&wish.name)
        } else {
            self.storage.volume_path(&wish.name, Format::Qcow2)?
        };
        self.storage.link_clone(base, &path, wish.size_bytes.map(Bytes)).await?;
        self.chain_changed("volume.cloned", path.display().to_string(), Format::Qcow2).await
    }

    /// Tells of a change, and shows the chain as it is now.
    async fn chain_changed(&self, event: &str, path: String, format: Format) -> Result<Vec<ChainLinkView>> {
        self.pools.noticed(Path::new(&path)).await;
        let links = self.links(Path::new(&path), format).await?;
        self.feed.publish(event, path, serde_json::Value::Null);
        Ok(links)
    }

    async fn links(&self, path: &Path, format: Format) -> Result<Vec<ChainLinkView>> {
        let mut views = Vec::new();
        for link in self.storage.chain(path, format).await? {
            views.push(ChainLinkView {
                needs: self.storage.who_needs(&link.path).await?.iter().map(need_view).collect(),
                path: link.path.display().to_string(),
                format: link.format.to_string(),
                guest_bytes: link.virtual_size.0,
                host_bytes: link.allocation.0,
                encrypted: link.is_encrypted,
            });
        }
        Ok(views)
    }
}

/// A need as the API shows it.
pub(crate) fn need_view(need: &Need) -> NeedView {
    let kind = match need {
        Need::Running { .. } => "running",
        Need::Act { .. } => "act",
        Need::Defined { .. } => "defined",
        Need::Snapshot { .. } => "snapshot",
        Need::Backing { .. } => "backing",
        Need::Image { .. } => "image",
        Need::Template => "template",
        Need::Locked { .. } => "locked",
    };
    NeedView {
        kind: kind.to_owned(),
        why: need.to_string(),
        next: need.next_step(),
        domain: need.guest().map(str::to_owned),
    }
}

fn absolute(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let text = format!("the path `{}` is not absolute", path.display());
    Err(EngineError::new(Kind::InvalidInput, text).with_hint("write the path from `/` on"))
}

fn format(word: &str) -> Result<Format> {
    word.parse().map_err(|error: lodge_storage::UnknownFormat| {
        EngineError::new(Kind::InvalidInput, error.to_string())
    })
}
