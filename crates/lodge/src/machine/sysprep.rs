//! `sysprep`: the options of virt-sysprep, as its users and scripts know them.

use clap::Args;
use lodge_client::api::{ErrorKind, IdentityReset, SysprepOperation};

use super::{identity, keys::Keys};
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Sysprep {
    /// The domain; it must be shut off. May be given several times
    #[arg(short, long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Not supported: a disk that is no domain's
    #[arg(short, long = "add", value_name = "FILE")]
    add: Vec<String>,
    /// Which: names, `defaults`, `all`, each with `-` before it to leave it out
    #[arg(long, alias = "operation", value_name = "OPERATIONS", allow_hyphen_values = true)]
    operations: Vec<String>,
    /// These and no others
    #[arg(long, value_name = "OPERATIONS", conflicts_with = "operations")]
    enable: Vec<String>,
    /// The host name inside
    #[arg(long)]
    hostname: Option<String>,
    #[command(flatten)]
    keys: Keys,
    /// Change nothing; say what would be changed
    #[arg(short = 'n', long, alias = "dryrun")]
    dry_run: bool,
    /// Print what can be done; `*` marks what is done where nothing is said
    #[arg(long)]
    list_operations: bool,
}

impl Sysprep {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.list_operations {
            let operations = session.client().await?.sysprep_operations().await;
            let operations = operations.what(|| "Failed to list operations".to_owned())?;
            session.show(&operations, |operations| operations.iter().map(line).collect());
            return Ok(());
        }
        if !self.add.is_empty() {
            let text = "the option --add is not supported: whose disk it is would not be known";
            return Err(Failure::new(ErrorKind::Unsupported, text)
                .hint("define a domain with that disk and name it with --domain"));
        }
        if self.domains.is_empty() {
            return Err(invalid("a domain is missing").hint("name it with --domain"));
        }
        let asked = if self.enable.is_empty() { &self.operations } else { &self.enable };
        let mut operations: Vec<String> =
            asked.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
        // As virt-sysprep: what begins with what is left out begins with what is done anyway.
        if operations.first().is_none_or(|first| first.starts_with('-')) {
            operations.insert(0, "defaults".to_owned());
        }
        let wish = IdentityReset {
            force: false,
            dry_run: self.dry_run,
            hostname: self.hostname,
            operations: Some(operations),
            private_keys: self.keys.into(),
        };
        for domain in &self.domains {
            let act = identity::reset(domain, &wish, session).await?;
            identity::tell(&act, self.dry_run, session);
        }
        Ok(())
    }
}

fn line(operation: &SysprepOperation) -> String {
    let mark = if operation.is_default { "*" } else { " " };
    format!("{:26} {mark} {}\n", operation.name, operation.about)
}
