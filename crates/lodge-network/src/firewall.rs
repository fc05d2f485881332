//! The rules of all running networks of one root: one nftables table of our own, and one of the bridge family that
//! guards guests' ports ([`guards`]).
//!
//! The table is a pure function of the plans ([`ruleset`]); loading replaces all of it in one transaction,
//! so there is never a moment with half the rules. [`Firewall`] is the reconciler: it knows what the
//! kernel's own listing of our table looked like after the last load, and loads again when that differs.
//!
//! Accepting here cannot overrule another table that drops: each base chain has its own say. Rejecting is
//! final, so isolation holds whatever others do. Deliberately absent: iptables, and any table not ours.

mod guards;
mod text;

use lodge_model::MacAddr;
use lodge_sys::tool::{Tool, ToolError};

use crate::plan::{Mode, Plan};
use crate::{NetworkError, limits};

use guards::{Guards, Shape};
pub use text::ruleset;

/// The tables of one root, and how they looked when they were right.
#[derive(Debug)]
pub struct Firewall {
    table: String,
    seen: Option<String>,
    guarded: Guarded,
}

/// The table that guards guests' ports.
#[derive(Debug)]
enum Guarded {
    /// Nobody has looked yet.
    Unknown,
    /// There is none, since there is no port.
    None,
    /// It holds these, and the kernel lists it so.
    Made(Guards, Shape),
    /// It could not be made, or others have changed it; it is made anew with the next port.
    Failed,
}

/// A guest's port on a bridge of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The bridge it is on.
    pub bridge: String,
    /// Its name on the host.
    pub ifname: String,
    /// The hardware address that the host gave the guest.
    pub mac: MacAddr,
}

impl Firewall {
    /// The table of the root with this tag: `lodge` for the host's own, `lodge_TAG` for others.
    pub fn new(tag: &str, is_system: bool) -> Self {
        let table = if is_system { "lodge".to_owned() } else { format!("lodge_{tag}") };
        Self { table, seen: None, guarded: Guarded::Unknown }
    }

    /// Makes the rules those of `plans`; without any the table goes.
    pub async fn load(&mut self, plans: &[&Plan]) -> Result<(), NetworkError> {
        // The mode `open` means just that: its user makes the rules.
        let ruled = |plan: &&Plan| plan.own_bridge() && plan.mode != Mode::Open;
        let with_rules: Vec<&Plan> = plans.iter().copied().filter(ruled).collect();
        self.seen = None;
        nft(&["-f", "-"], &ruleset(&self.table, &with_rules)).await?;
        self.seen = self.listing("inet").await?;
        Ok(())
    }

    /// Lets the hardware addresses of `ports` come from these ports alone; without any the table goes.
    pub async fn guard(&mut self, ports: &[Port]) -> Result<(), NetworkError> {
        if ports.is_empty() && matches!(self.guarded, Guarded::Unknown) {
            // An earlier daemon may have left one.
            if !matches!(self.listing("bridge").await, Ok(Some(_))) {
                self.guarded = Guarded::None;
            }
        }
        match &mut self.guarded {
            Guarded::None if ports.is_empty() => return Ok(()),
            Guarded::Made(made, _) if !ports.is_empty() => {
                let wanted = Guards::of(ports, made);
                let change = wanted.change(made, &self.table);
                if change.is_empty() {
                    return Ok(());
                }
                match nft(&["-f", "-"], &change).await {
                    Ok(_) => {
                        *made = wanted;
                        return Ok(());
                    }
                    // Others had their hands in it.
                    Err(error) => tracing::debug!(%error, "the guards of ports are made anew"),
                }
            }
            _ => {}
        }
        self.guarded = Guarded::Failed;
        let wanted = Guards::of(ports, &Guards::default());
        nft(&["-f", "-"], &wanted.whole(&self.table)).await?;
        self.guarded = if wanted.is_empty() {
            Guarded::None
        } else {
            match self.guards_shape(&wanted).await {
                Ok(Some(shape)) => Guarded::Made(wanted, shape),
                Ok(None) => Guarded::Failed,
                // They are there; that alone counts for the guests.
                Err(error) => {
                    tracing::warn!(%error, "the guards of ports cannot be watched");
                    Guarded::Failed
                }
            }
        };
        Ok(())
    }

    /// Are the rules as they were after the last load?
    pub async fn is_intact(&mut self) -> Result<bool, NetworkError> {
        if let Guarded::Made(made, shape) = &self.guarded
            && self.guards_shape(made).await?.as_ref() != Some(shape)
        {
            self.guarded = Guarded::Failed;
            return Ok(false);
        }
        Ok(self.seen.is_some() && self.listing("inet").await? == self.seen)
    }

    async fn guards_shape(&self, guards: &Guards) -> Result<Option<Shape>, NetworkError> {
        let listed = self.listed(&["-j", "-s"], "bridge").await?;
        Ok(listed.and_then(|text| guards.shape_in(&text)))
    }

    /// The kernel's listing of a table of ours without counters; `None` if there is no such table.
    async fn listing(&self, family: &str) -> Result<Option<String>, NetworkError> {
        self.listed(&["-s"], family).await
    }

    async fn listed(&self, how: &[&str], family: &str) -> Result<Option<String>, NetworkError> {
        let words = [how, &["list", "table", family, &self.table]].concat();
        match nft(&words, "").await {
            Ok(text) => Ok(Some(text)),
            Err(NetworkError::Firewall { detail }) if detail.contains("No such file or directory") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Runs nft with a script on its input.
pub(crate) async fn nft(args: &[&str], script: &str) -> Result<String, NetworkError> {
    let run = Tool::new("nft", limits::NFT_RUN).args(args).input(script.as_bytes().to_vec()).run();
    let detail = match run.await {
        Ok(said) => return Ok(String::from_utf8_lossy(&said).into_owned()),
        Err(ToolError::Missing { program }) => {
            format!("the program `{program}` is not there; install the package nftables")
        }
        Err(ToolError::Failed { words, .. }) => {
            words.chars().take(2_000).collect::<String>().trim().to_owned()
        }
        Err(ToolError::Run { program, source }) => format!("cannot run '{}': {source}", program.display()),
        Err(error @ (ToolError::Late { .. } | ToolError::TooMuch { .. })) => error.to_string(),
    };
    Err(NetworkError::Firewall { detail })
}
