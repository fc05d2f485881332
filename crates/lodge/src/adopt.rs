//! `lodge adopt`: a host's guests and networks come over from libvirt's daemons, and go back.

use clap::{Args, Subcommand};
use lodge_client::api::{AdoptOptions, AdoptedDomain, AdoptedNetwork, Adoption};
use lodge_store::Root;

use crate::failure::{self, Failure, What};
use crate::output::or_dash;
use crate::session::Session;

/// Verbs of moving.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take over what a stopped libvirtd left: running guests without a pause, networks with their leases
    Adopt(Adopt),
}

#[derive(Debug, Args)]
pub struct Adopt {
    /// Only list what would be taken over; works while libvirtd runs, and without a daemon of Lodge
    #[arg(long)]
    dry_run: bool,
    /// Give the networks back, with their leases: before lodge is stopped and libvirtd is started
    #[arg(long, conflicts_with = "dry_run")]
    back: bool,
}

/// Runs it.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    let Verb::Adopt(verb) = verb;
    if verb.dry_run {
        let adoption = look(session).await?;
        session.show(&adoption, text);
        return Ok(());
    }
    let options = AdoptOptions { back: verb.back };
    let adoption = session.client().await?.adopt(&options).await;
    let act = if verb.back { "give the networks back" } else { "take over from libvirt" };
    let adoption = adoption.what(|| format!("failed to {act}"))?;
    session.show(&adoption, text);
    if verb.back {
        session.say("\nNow stop lodge and start libvirtd: its guests and networks are its own again.\n");
    }
    Ok(())
}

/// The daemon's view where one answers, else what this process can read itself.
async fn look(session: &mut Session) -> Result<Adoption, Failure> {
    if let Ok(client) = session.client().await {
        return client.adoption().await.what(|| "failed to look at what libvirt has".to_owned());
    }
    let root = Root::new(None).map_err(|error| failure::invalid(error.to_string()))?;
    Ok(lodge_engine::adopt::survey(&root))
}

fn text(adoption: &Adoption) -> String {
    let mut text = String::new();
    for daemon in &adoption.daemons {
        let pid = daemon.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        text += &format!(
            "{}{pid} runs and has {}. Stop it before `lodge adopt`; its guests run on.\n",
            daemon.program,
            daemon.drivers.join(", ")
        );
    }
    section(
        &mut text,
        "Guests",
        adoption.domains.iter().map(|domain| (domain.name.as_str(), of_domain(domain))),
    );
    section(
        &mut text,
        "Networks",
        adoption.networks.iter().map(|network| (network.name.as_str(), of_network(network))),
    );
    for (title, files) in [("Storage pools", &adoption.pools), ("Secrets", &adoption.secrets)] {
        let autostart = |marked: bool| if marked { "autostart".to_owned() } else { String::new() };
        section(&mut text, title, files.iter().map(|file| (file.name.as_str(), autostart(file.autostart))));
    }
    for problem in &adoption.problems {
        text += &format!("\nproblem: {problem}\n");
    }
    if text.is_empty() {
        text += "libvirt has and left nothing on this host\n";
    }
    text
}

fn section<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, String)>) {
    let rows: Vec<_> = rows.collect();
    let Some(width) = rows.iter().map(|(name, _)| name.chars().count()).max() else { return };
    let gap = if text.is_empty() { "" } else { "\n" };
    *text += &format!("{gap}{title}\n");
    for (name, what) in rows {
        let line = format!("  {name:width$}   {what}");
        *text += line.trim_end();
        *text += "\n";
    }
}

fn of_domain(domain: &AdoptedDomain) -> String {
    let mut words = vec![match domain.pid {
        Some(pid) if domain.ours => format!("running (pid {pid}), lodge's already"),
        Some(pid) => format!("running (pid {pid})"),
        None => "shut off".to_owned(),
    }];
    words.extend((!domain.persistent).then(|| "transient".to_owned()));
    words.extend(domain.autostart.then(|| "autostart".to_owned()));
    words.extend(domain.managed_save.then(|| "saved".to_owned()));
    words.join(", ")
}

fn of_network(network: &AdoptedNetwork) -> String {
    let mut words = vec![if network.active {
        format!("active on {}", or_dash(network.bridge.as_ref()))
    } else {
        "inactive".to_owned()
    }];
    words.extend(network.dnsmasq_pid.map(|pid| format!("dnsmasq (pid {pid})")));
    words.extend(network.autostart.then(|| "autostart".to_owned()));
    words.extend(network.problem.as_ref().map(|problem| format!("left as it is: {problem}")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use lodge_client::api::{AdoptedFile, LibvirtDaemon};

    use super::*;

    #[test]
    fn what_there_is_reads_as_a_list() {
        let adoption = Adoption {
            daemons: vec![LibvirtDaemon {
                program: "libvirtd".into(),
                pid: Some(33),
                drivers: vec!["qemu".into(), "network".into()],
            }],
            domains: vec![
                AdoptedDomain {
                    name: "web1".into(),
                    persistent: true,
                    autostart: true,
                    pid: Some(170),
                    ..AdoptedDomain::default()
                },
                AdoptedDomain {
                    name: "db".into(),
                    persistent: true,
                    managed_save: true,
                    ..AdoptedDomain::default()
                },
            ],
            networks: vec![AdoptedNetwork {
                name: "default".into(),
                active: true,
                bridge: Some("virbr0".into()),
                dnsmasq_pid: Some(151),
                ..AdoptedNetwork::default()
            }],
            pools: vec![AdoptedFile { name: "images".into(), autostart: false }],
            ..Adoption::default()
        };
        let expected = "\
libvirtd (pid 33) runs and has qemu, network. Stop it before `lodge adopt`; its guests run on.

Guests
  web1   running (pid 170), autostart
  db     shut off, saved

Networks
  default   active on virbr0, dnsmasq (pid 151)

Storage pools
  images
";
        assert_eq!(text(&adoption), expected);
        assert_eq!(text(&Adoption::default()), "libvirt has and left nothing on this host\n");
    }
}
