//! `--config`, `--live`, `--current`, `--persistent`: which of a domain's two documents a verb is for.

use clap::Args;
use lodge_client::Client;
use lodge_client::api::{ChangeScope, DomainChange};

use crate::failure::{Failure, What};

/// For a verb whose change is for one document or both.
#[derive(Clone, Copy, Debug, Args)]
pub struct Scope {
    /// affect next boot
    #[arg(long)]
    pub config: bool,
    /// affect running domain
    #[arg(long)]
    pub live: bool,
    /// affect current domain
    #[arg(long, conflicts_with_all = ["config", "live"])]
    pub current: bool,
}

impl Scope {
    /// For the daemon.
    pub fn asked(self) -> ChangeScope {
        ChangeScope { live: self.live, config: self.config }
    }
}

/// For a verb of devices: they have `--persistent` too.
#[derive(Clone, Copy, Debug, Args)]
pub struct Lasting {
    /// make live change persistent
    #[arg(long, conflicts_with = "current")]
    pub persistent: bool,
    #[command(flatten)]
    pub scope: Scope,
}

impl Lasting {
    /// For the daemon. As virsh has it: `--persistent` is `--config`, and `--live` too where the guest runs.
    pub async fn asked(self, dom: &str, client: &Client) -> Result<ChangeScope, Failure> {
        let mut scope = self.scope.asked();
        if self.persistent {
            scope.config = true;
            scope.live |= client.domain(dom).await.on_domain(dom, "")?.state.is_active();
        }
        Ok(scope)
    }
}

/// Does a change to a domain; `what` is virsh's first line of a failure, if it has one.
pub async fn change(
    client: &Client,
    dom: &str,
    scope: ChangeScope,
    change: &DomainChange,
    what: &str,
) -> Result<lodge_client::api::DomainView, Failure> {
    // An unknown domain is told before what was to be done to it.
    client.domain(dom).await.on_domain(dom, "")?;
    let changed = client.change_domain(dom, scope, change).await;
    if what.is_empty() { Ok(changed?) } else { changed.what(|| what.to_owned()) }
}
