//! `ssh`: the system's ssh with the guest's address, user and key, and a host key of the guest's own.
//!
//! Addresses are used again by other guests, so host keys are kept per guest: this user's `known_hosts` is neither
//! asked nor filled. The first key seen is taken (the path to a guest on this host's own bridge is this host's).

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use lodge_client::api::{DomainView, ErrorKind};

use crate::failure::{Failure, What};
use crate::session::Session;

use super::{access, wait};

#[derive(Debug, Args)]
pub struct Ssh {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// The user to log in as [default: the image's own, debian]
    #[arg(short, long, value_name = "NAME")]
    login: Option<String>,
    /// The private key [default: the one named at `lodge run` or `lodge seed set`, else see `lodge key`]
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A command to run instead of a login, after `--`
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Ssh {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        log_in(&self.domain, self.login, self.identity, &self.command, session).await
    }
}

/// Runs ssh in this terminal; its exit code becomes ours.
pub async fn log_in(
    dom: &str,
    user: Option<String>,
    key: Option<PathBuf>,
    command: &[String],
    session: &mut Session,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let view = client.domain(dom).await.on_domain(dom, "")?;
    if !view.state.is_active() {
        return Err(Failure::new(
            ErrorKind::InvalidState,
            format!("domain '{}' is {}", view.name, view.state),
        )
        .hint(format!("`lodge start {}` starts it", view.name)));
    }
    let address = wait::addresses(&view, session).await?.into_iter().next().ok_or_else(|| {
        Failure::new(ErrorKind::Unavailable, format!("domain '{}' has no address yet", view.name))
            .hint(format!("`lodge wait {} --for address` waits for it", view.name))
    })?;
    let mut ssh = Command::new("ssh");
    ssh.args(arguments(&view, user, key, &address)?).args(command);
    let status = ssh.status().map_err(|error| {
        Failure::new(ErrorKind::Unavailable, "cannot run ssh")
            .because(error)
            .hint("`apt install openssh-client`")
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(255))),
        None => Err(Failure::silent(255)),
    }
}

/// ssh's arguments before the command.
fn arguments(
    view: &DomainView,
    user: Option<String>,
    key: Option<PathBuf>,
    address: &str,
) -> Result<Vec<String>, Failure> {
    let directory = access::guest_directory(view.uuid)?;
    let remembered = access::recall(view.uuid);
    access::remember(
        view.uuid,
        &access::Login { key: remembered.key.clone(), user: remembered.user.clone() },
    );
    let user = user.or(remembered.user).unwrap_or_else(|| image_user(view.image.as_deref()).to_owned());
    let option = |text: String| ["-o".to_owned(), text];
    let mut words: Vec<String> = Vec::new();
    words.extend(option(format!("UserKnownHostsFile=\"{}\"", directory.join("known_hosts").display())));
    words.extend(option("GlobalKnownHostsFile=/dev/null".into()));
    words.extend(option(format!("HostKeyAlias=lodge-{}", view.uuid)));
    words.extend(option("StrictHostKeyChecking=accept-new".into()));
    words.extend(option("LogLevel=ERROR".into()));
    if let Some(key) = key.or(remembered.key) {
        words.extend(option("IdentitiesOnly=yes".into()));
        words.extend(["-i".to_owned(), key.display().to_string()]);
    }
    words.extend(["-l".to_owned(), user, address.to_owned()]);
    Ok(words)
}

/// The user that the image's cloud-init makes.
fn image_user(image: Option<&str>) -> &'static str {
    match image.unwrap_or_default().split('-').next() {
        Some("ubuntu") => "ubuntu",
        Some("fedora") => "fedora",
        Some("alpine") => "alpine",
        _ => "debian",
    }
}
