//! `run`: from an image to a machine one can log in to.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use lodge_client::Client;
use lodge_client::api::{DomainView, ErrorKind, InstanceRemoval, InstanceSpec, Readiness, WaitFor};
use lodge_model::Bytes;

use crate::domain::read_file;
use crate::failure::{Failure, What};
use crate::session::Session;

use super::{access, progress, ssh, wait};

#[derive(Debug, Args)]
pub struct Run {
    /// The image; one that Lodge can build (debian-12, debian-13) is built first
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The new domain's name [default: the image's with a number]
    #[arg(long)]
    name: Option<String>,
    /// Memory: 2GiB, 512M; a bare number is MiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    memory: Option<Bytes>,
    /// Virtual processors [default: 2, or what the host has]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    vcpus: Option<u32>,
    /// The disk's size: 20GiB; a bare number is GiB [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = gibibytes)]
    disk: Option<Bytes>,
    /// The network [default: default, which is made if there is none]
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// cloud-init's user-data: a cloud-config or a script; `-` for standard input
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// A public SSH key that may log in; may be given several times [default: see `lodge key`]
    #[arg(long = "ssh-key", value_name = "FILE")]
    ssh_keys: Vec<PathBuf>,
    /// The guest's host name [default: the user-data's, else the domain's name]
    #[arg(long)]
    hostname: Option<String>,
    /// Log in when it is ready
    #[arg(long)]
    ssh: bool,
    /// Wait until it is ready (the default)
    #[arg(long)]
    wait: bool,
    /// Do not wait until it is ready
    #[arg(long, conflicts_with_all = ["ssh", "wait"])]
    no_wait: bool,
    /// With --ssh: remove it, with its disk, when the login ends
    #[arg(long, requires = "ssh")]
    rm: bool,
}

impl Run {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let keys = access::Keys::read(&self.ssh_keys)?;
        let client = session.client().await?;
        let started = client.run_instance(&self.spec(&keys)?).await;
        let job = started.what(|| format!("Failed to run an instance of '{}'", self.image))?;
        let job = progress::follow(&client, job.id, session).await?;
        let view: DomainView = serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
            Failure::new(ErrorKind::Corrupt, "the job's result is no domain").because(error)
        })?;
        access::remember(view.uuid, &access::Login { key: keys.private, user: None });
        session.warn(&view.warnings);
        if self.no_wait {
            session.show(&view, |view| format!("{}\n", view.name));
            return Ok(());
        }
        let readiness = wait::follow(&view.name, WaitFor::Ready, None, session).await?;
        if self.ssh {
            self.log_in(&view, &client, session).await
        } else {
            tell(&view.name, &readiness, session).await
        }
    }

    fn spec(&self, keys: &access::Keys) -> Result<InstanceSpec, Failure> {
        Ok(InstanceSpec {
            image: self.image.clone(),
            name: self.name.clone(),
            memory_kib: self.memory.map(Bytes::kib),
            vcpus: self.vcpus,
            disk_bytes: self.disk.map(|size| size.0),
            network: self.network.clone(),
            user_data: self.user_data.as_deref().map(read_file).transpose()?,
            ssh_keys: keys.public.clone(),
            hostname: self.hostname.clone(),
            no_start: false,
        })
    }

    async fn log_in(&self, view: &DomainView, client: &Client, session: &mut Session) -> Result<(), Failure> {
        let ended = ssh::log_in(&view.name, None, None, &[], session).await;
        if self.rm {
            let removal = InstanceRemoval { force: true, dry_run: false };
            client.remove_instance(&view.name, &removal).await.on_domain(&view.name, "remove")?;
            access::forget(view.uuid);
        }
        ended
    }
}

async fn tell(name: &str, readiness: &Readiness, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.domain(name).await.on_domain(name, "")?;
    session.show(&view, |view| {
        let address = view.addresses.first().map_or("no address", String::as_str);
        let name = &view.name;
        format!("{name} is {}\n  address  {address}\n  login    lodge ssh {name}\n", wait::summary(readiness))
    });
    Ok(())
}

/// `512` is MiB, as in virt-install; with a unit it is what it says.
fn mebibytes(text: &str) -> Result<Bytes, String> {
    amount(text, "MiB")
}

/// `20` is GiB.
fn gibibytes(text: &str) -> Result<Bytes, String> {
    amount(text, "GiB")
}

fn amount(text: &str, unit: &str) -> Result<Bytes, String> {
    let bare = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let text = if bare { format!("{text}{unit}") } else { text.to_owned() };
    let amount = Bytes::from_str(&text).map_err(|error| error.to_string())?;
    if amount.0 == 0 { Err("it must be more than nothing".to_owned()) } else { Ok(amount) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_a_unit() {
        assert_eq!(mebibytes("512"), Ok(Bytes::from_mib(512)));
        assert_eq!(mebibytes("2GiB"), Ok(Bytes::from_gib(2)));
        assert_eq!(gibibytes("20"), Ok(Bytes::from_gib(20)));
        assert!(gibibytes("0").is_err() && mebibytes("x").is_err());
    }
}
