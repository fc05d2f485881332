//! `seed set show rm`: what a guest's cloud-init is given.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lodge_client::api::{SeedSpec, SeedView};

use crate::domain::{Dom, read_file};
use crate::failure::{Failure, What};
use crate::output::{field, or_dash};
use crate::session::Session;

use super::access;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Give a domain a seed for its next boot
    Set(Set),
    /// A domain's seed
    Show(Dom),
    /// Take a domain's seed away
    Rm(Dom),
}

#[derive(Debug, Args)]
pub struct Set {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// cloud-init's user-data: a cloud-config or a script; `-` for standard input
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// A public SSH key that may log in; may be given several times [default: see `lodge key`]
    #[arg(long = "ssh-key", value_name = "FILE")]
    ssh_keys: Vec<PathBuf>,
    /// The guest's host name [default: the user-data's, else the domain's name]
    #[arg(long)]
    hostname: Option<String>,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Set(verb) => verb.run(session).await,
            Self::Show(Dom { domain }) => {
                let seed = session.client().await?.seed(&domain).await;
                let seed = seed.on_domain(&domain, "get the seed of")?;
                session.show(&seed, text);
                Ok(())
            }
            Self::Rm(Dom { domain }) => {
                let client = session.client().await?;
                client.remove_seed(&domain).await.on_domain(&domain, "remove the seed of")?;
                session.say(&format!("Seed of domain '{domain}' removed\n"));
                Ok(())
            }
        }
    }
}

impl Set {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let keys = access::Keys::read(&self.ssh_keys)?;
        let seed = SeedSpec {
            user_data: self.user_data.as_deref().map(read_file).transpose()?,
            ssh_keys: keys.public,
            hostname: self.hostname,
        };
        let (client, dom) = (session.client().await?, &self.domain);
        let view = client.domain(dom).await.on_domain(dom, "")?;
        let seed = client.set_seed(dom, &seed).await.on_domain(&view.name, "set the seed of")?;
        access::remember(view.uuid, &access::Login { key: keys.private, user: None });
        session
            .done(&seed, |seed| format!("Seed of domain '{}' set: host name {}\n", view.name, seed.hostname));
        Ok(())
    }
}

fn text(seed: &SeedView) -> String {
    let mut text = String::new();
    field(&mut text, "Instance", &seed.instance_id);
    field(&mut text, "Host name", &seed.hostname);
    for key in &seed.ssh_keys {
        field(&mut text, "SSH key", key);
    }
    field(&mut text, "Image", or_dash(seed.path.as_ref()));
    if let Some(user_data) = &seed.user_data {
        text += &format!("\n{}\n", user_data.trim_end());
    }
    text
}
