//! `identity rules`: what is looked for beside what the program knows by itself.

use clap::Args;
use lodge_client::api::IdentityRule;

use super::book::plain;
use crate::failure::{Failure, What};
use crate::output::or_dash;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Rules {
    /// Only those of this host's owner, from etc/lodge/identity.d
    #[arg(long)]
    own: bool,
}

impl Rules {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let rules = session.client().await?.identity_rules().await;
        let mut rules = rules.what(|| "Failed to list the rules of identities".to_owned())?;
        rules.retain(|rule| !self.own || rule.file.is_some());
        session.show(&rules, |rules| {
            let rows: Vec<_> = rules.iter().map(row).collect();
            plain(&session.table(&["Rule", "In clones", "In templates", "Paths", "File"], &rows))
        });
        Ok(())
    }
}

fn row(rule: &IdentityRule) -> Vec<String> {
    let first = rule.paths.first().cloned().unwrap_or_default();
    let paths = match rule.paths.len() {
        0 | 1 => first,
        count => format!("{first} (+{})", count - 1),
    };
    vec![rule.name.clone(), rule.reset.clone(), rule.generalise.clone(), paths, or_dash(rule.file.as_ref())]
}
