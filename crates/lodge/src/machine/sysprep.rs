//! `sysprep`: the options of virt-sysprep, as its users and scripts know them.
//!
//! What of them changes files is in `options` and `steps`; what a daemon cannot know, the caller's own files, is read there.

mod options;
mod password;
mod steps;

use clap::Args;
use lodge_client::api::{ErrorKind, IdentityReset, ImageSubject, ImageSysprep, SysprepOperation};

use super::{identity, keys::Keys};
use crate::failure::{Failure, What, invalid};
use crate::instance::progress;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Sysprep {
    /// The domain; it must be shut off. May be given several times
    #[arg(short, long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// An image file that is no domain's. May be given several times: they are the disks of one machine
    #[arg(short, long = "add", value_name = "FILE", conflicts_with = "domains")]
    add: Vec<String>,
    /// The format of the files of --add; `auto` takes them for what they look like
    #[arg(long, value_name = "raw|qcow2|auto", requires = "add")]
    format: Option<String>,
    /// Which: names, `defaults`, `all`, each with `-` before it to leave it out
    #[arg(long, alias = "operation", value_name = "OPERATIONS", allow_hyphen_values = true)]
    operations: Vec<String>,
    /// These and no others
    #[arg(long, value_name = "OPERATIONS", conflicts_with = "operations")]
    enable: Vec<String>,
    /// The host name inside
    #[arg(long)]
    hostname: Option<String>,
    /// Users that stay (of the operation user-account), parted by commas; may be given several times
    #[arg(long, value_name = "USERS")]
    keep_user_accounts: Vec<String>,
    /// Users that go, and no others (of the operation user-account); may be given several times
    #[arg(long, value_name = "USERS")]
    remove_user_accounts: Vec<String>,
    #[command(flatten)]
    steps: options::Said,
    /// How passwords are encrypted: sha512, sha256
    #[arg(long, value_name = "METHOD", default_value = "sha512")]
    password_crypto: String,
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
        if self.domains.is_empty() && self.add.is_empty() {
            return Err(invalid("a domain is missing")
                .hint("name it with --domain, or image files that are no domain's with --add"));
        }
        let asked = if self.enable.is_empty() { &self.operations } else { &self.enable };
        let mut operations: Vec<String> =
            asked.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
        // As virt-sysprep: what begins with what is left out begins with what is done anyway.
        if operations.first().is_none_or(|first| first.starts_with('-')) {
            operations.insert(0, "defaults".to_owned());
        }
        let method: password::Method = self.password_crypto.parse()?;
        let steps = steps::of(self.steps.in_order()?, method, session)?;
        let users = |lists: &[String]| -> Vec<String> {
            lists.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
        };
        let (keep_users, remove_users) = (users(&self.keep_user_accounts), users(&self.remove_user_accounts));
        if !self.add.is_empty() {
            let disks = self
                .add
                .iter()
                .map(|file| subject(file, self.format.as_deref()))
                .collect::<Result<_, _>>()?;
            let wish = ImageSysprep {
                disks,
                dry_run: self.dry_run,
                hostname: self.hostname,
                operations,
                private_keys: self.keys.into(),
                steps,
                keep_users,
                remove_users,
            };
            let client = session.client().await?;
            let job = client.sysprep_images(&wish).await;
            let job = job.what(|| format!("Failed to prepare {}", self.add.join(", ")))?;
            let job = progress::follow(&client, job.id, session).await?;
            identity::tell(&identity::entry_of(job)?, wish.dry_run, session);
            return Ok(());
        }
        let wish = IdentityReset {
            dry_run: self.dry_run,
            hostname: self.hostname,
            operations: Some(operations),
            private_keys: self.keys.into(),
            steps,
            keep_users,
            remove_users,
            ..IdentityReset::default()
        };
        for domain in &self.domains {
            let act = identity::reset(domain, &wish, session).await?;
            identity::tell(&act, self.dry_run, session);
        }
        Ok(())
    }
}

/// An image file as the daemon is told of it.
fn subject(file: &str, format: Option<&str>) -> Result<ImageSubject, Failure> {
    if file.contains("://") {
        let text = format!("`{file}` is no file of this host");
        return Err(Failure::new(ErrorKind::Unsupported, text).hint("fetch it first, and give its path"));
    }
    let path = std::path::absolute(file).ok().and_then(|path| path.into_os_string().into_string().ok());
    let path = path.ok_or_else(|| invalid(format!("`{file}` is no path")))?;
    let probe = format == Some("auto");
    let format = format.filter(|_| !probe).map(str::to_owned);
    Ok(ImageSubject { path: Some(path), format, probe, ..ImageSubject::default() })
}

fn line(operation: &SysprepOperation) -> String {
    let mark = if operation.is_default { "*" } else { " " };
    format!("{:26} {mark} {}\n", operation.name, operation.about)
}
