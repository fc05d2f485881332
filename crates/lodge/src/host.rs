//! The host: `host check`, `host info`, and virsh's verbs about it: `version hostname uri`, [`node`], [`capabilities`].

mod capabilities;
mod node;

use clap::{Args, Subcommand};
use lodge_client::Endpoint;
use lodge_client::api::{CheckStatus, HostCheck, HostReport, HostView, Verdict};

use crate::failure::{Failure, What};
use crate::output::{field, size};
use crate::session::Session;

/// Verbs on the host.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What this host can do, and what to mend; its facts
    #[command(subcommand)]
    Host(Noun),
    /// show version
    Version(Version),
    /// print the hypervisor hostname
    Hostname,
    /// print the hypervisor canonical URI
    Uri,
    /// capabilities
    Capabilities,
    /// domain capabilities
    Domcapabilities(capabilities::Sort),
    /// CPU models
    CpuModels(capabilities::CpuModels),
    /// Hypervisor reported CPU models
    HypervisorCpuModels(capabilities::HypervisorCpuModels),
    /// compute baseline CPU
    CpuBaseline(capabilities::Baseline),
    /// compute baseline CPU usable by a specific hypervisor
    HypervisorCpuBaseline(capabilities::GuestBaseline),
    /// compare host CPU with a CPU described by an XML file
    CpuCompare(capabilities::Compare),
    /// compare a CPU with the CPU created by a hypervisor on the host
    HypervisorCpuCompare(capabilities::GuestCompare),
    /// connection vcpu maximum
    Maxvcpus(node::Maxvcpus),
    /// node information
    Nodeinfo,
    /// NUMA free memory
    Freecell(node::Freecell),
    /// Prints memory stats of the node.
    Nodememstats(node::Nodememstats),
    /// Prints cpu stats of the node.
    Nodecpustats(node::Nodecpustats),
    /// node cpu map
    Nodecpumap(node::Nodecpumap),
    /// print the hypervisor sysinfo
    Sysinfo,
}

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Check CPU, KVM (by running guest code), QEMU, cgroups, firewall; say the next step for each miss.
    /// Ends with 1 when guests cannot run
    Check(Check),
    /// The host as the daemon sees it
    Info,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Look at this machine from here, although a daemon answers
    #[arg(long)]
    local: bool,
    /// Only what is to be mended
    #[arg(long)]
    misses: bool,
}

#[derive(Debug, Args)]
pub struct Version {
    /// report daemon version too
    #[arg(long)]
    daemon: bool,
}

impl Verb {
    /// The noun is ours.
    pub fn is_of_virsh(&self) -> bool {
        !matches!(self, Self::Host(_))
    }
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Host(Noun::Check(check)) => check.run(session).await,
        Verb::Host(Noun::Info) => info(session).await,
        Verb::Version(verb) => verb.run(session).await,
        Verb::Hostname => {
            let host = host(session).await?;
            session.show(&host.hostname, |name| format!("{name}\n"));
            Ok(())
        }
        Verb::Uri => {
            let uri = uri(session).await?;
            session.show(&uri, |uri| format!("{uri}\n"));
            Ok(())
        }
        Verb::Capabilities => capabilities::capabilities(session).await,
        Verb::Domcapabilities(sort) => sort.run(session).await,
        Verb::CpuModels(verb) => verb.run(session).await,
        Verb::HypervisorCpuModels(verb) => verb.run(session).await,
        Verb::CpuBaseline(verb) => verb.run(None, session).await,
        Verb::HypervisorCpuBaseline(verb) => verb.run(session).await,
        Verb::CpuCompare(verb) => verb.run(None, session).await,
        Verb::HypervisorCpuCompare(verb) => verb.run(session).await,
        Verb::Maxvcpus(verb) => verb.run(session).await,
        Verb::Nodeinfo => node::nodeinfo(session).await,
        Verb::Freecell(verb) => verb.run(session).await,
        Verb::Nodememstats(verb) => verb.run(session).await,
        Verb::Nodecpustats(verb) => verb.run(session).await,
        Verb::Nodecpumap(verb) => verb.run(session).await,
        Verb::Sysinfo => node::sysinfo(session).await,
    }
}

async fn host(session: &mut Session) -> Result<HostView, Failure> {
    session.client().await?.host().await.what(|| "failed to get the host's information".to_owned())
}

/// What `--connect` would have to say to come to the same daemon.
async fn uri(session: &mut Session) -> Result<String, Failure> {
    let client = session.client().await?;
    let socket = client.socket().display().to_string();
    let named = ["lodge:///system", "lodge:///session"].into_iter().find(|uri| {
        Endpoint::find(Some(uri))
            .is_ok_and(|endpoint| endpoint.sockets().iter().any(|path| path == client.socket()))
    });
    Ok(named.map_or_else(|| format!("unix://{socket}"), str::to_owned))
}

async fn info(session: &mut Session) -> Result<(), Failure> {
    let host = host(session).await?;
    session.show(&host, |host| {
        let mut text = String::new();
        field(&mut text, "Host name", &host.hostname);
        field(&mut text, "Kernel", format!("{} on {}", host.kernel, host.arch));
        field(&mut text, "CPU", format!("{} × {}", host.cpus, host.cpu_model));
        let (free, all) = (size(host.memory_available_kib << 10), size(host.memory_kib << 10));
        field(&mut text, "Memory", format!("{free} of {all} to be had"));
        field(&mut text, "QEMU", host.qemu.as_deref().unwrap_or("none"));
        if let Some(accelerator) = &host.accelerator {
            field(&mut text, "Accelerator", format!("{}: {}", accelerator.name, accelerator.why));
        }
        if let Some(speed) = &host.speed {
            field(&mut text, "Speed", format!("{:.1} times slower than the bare host", speed.factor));
        }
        field(&mut text, "Domains", format!("{}, {} running", host.domains, host.domains_active));
        field(&mut text, "Networks", format!("{} running", host.networks_active));
        for warning in &host.warnings {
            field(&mut text, "Warning", warning);
        }
        text
    });
    Ok(())
}

impl Version {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let daemon =
            session.client().await?.version().await.what(|| "failed to get the version".to_owned())?;
        session.show(&daemon, |daemon| {
            let ours = env!("CARGO_PKG_VERSION");
            let qemu = daemon.qemu.as_deref().unwrap_or("none");
            let mut text = format!(
                "Compiled against library: lodge {ours}\nUsing library: lodge {ours}\nUsing API: QEMU {}\n\
                 Running hypervisor: QEMU {qemu}\n",
                daemon.lodge
            );
            if self.daemon {
                text += &format!("Running against daemon: {}\n", daemon.lodge);
            }
            text
        });
        Ok(())
    }
}

impl Check {
    /// The daemon's view where one answers (it has the rights and the disks), else this process's own.
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = if self.local { None } else { session.client().await.ok() };
        let report = match client {
            Some(client) => client.host_check().await.what(|| "failed to check the host".to_owned())?,
            None => local(lodge_host::check(std::path::Path::new("/var/lib/libvirt/images")).await),
        };
        session.show(&report, |report| text(report, self.misses));
        // The report itself says what is missing; the code is for scripts.
        if report.verdict == Verdict::Missing { Err(Failure::silent(1)) } else { Ok(()) }
    }
}

/// The same words as the daemon's answer.
fn local(report: lodge_host::HostReport) -> HostReport {
    HostReport {
        verdict: match report.verdict {
            lodge_host::Verdict::Ready => Verdict::Ready,
            lodge_host::Verdict::Slow => Verdict::Slow,
            lodge_host::Verdict::Missing => Verdict::Missing,
        },
        summary: report.summary,
        hypervisor: report.hypervisor,
        checks: report.checks.into_iter().map(finding).collect(),
    }
}

fn finding(check: lodge_host::Check) -> HostCheck {
    HostCheck {
        id: check.id,
        title: check.title,
        status: match check.status {
            lodge_host::Status::Ok => CheckStatus::Ok,
            lodge_host::Status::Info => CheckStatus::Info,
            lodge_host::Status::Warn => CheckStatus::Warn,
            lodge_host::Status::Miss => CheckStatus::Miss,
        },
        found: check.found,
        next_step: check.next_step,
    }
}

fn text(report: &HostReport, misses: bool) -> String {
    const COLUMNS: usize = 110;
    let mut text = String::new();
    for check in &report.checks {
        let miss = matches!(check.status, CheckStatus::Warn | CheckStatus::Miss);
        if misses && !miss {
            continue;
        }
        text += &wrap(&format!(" {:6}{}: ", check.status, check.title), &check.found, COLUMNS);
        if let Some(step) = &check.next_step {
            text += &wrap("        next: ", step, COLUMNS);
        }
    }
    text += &wrap("\nVerdict: ", &format!("{}: {}", report.verdict, report.summary), COLUMNS);
    text + &wrap("Hypervisor: ", &report.hypervisor, COLUMNS)
}

/// A paragraph whose further lines stand below its text.
fn wrap(head: &str, text: &str, columns: usize) -> String {
    const INDENT: &str = "        ";
    let mut lines = head.to_owned();
    let mut width = head.trim_start_matches('\n').chars().count();
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && width + 1 + length > columns {
            lines.push('\n');
            lines.push_str(INDENT);
            width = INDENT.len();
        } else if at > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_findings_are_wrapped_below_themselves() {
        assert_eq!(wrap(" ok    a: ", "bb cc dd", 14), " ok    a: bb\n        cc dd\n");
    }

    #[test]
    fn only_what_is_to_be_mended() {
        let check = |status| HostCheck {
            id: "x".into(),
            title: format!("{status}"),
            status,
            found: "found".into(),
            next_step: Some("step".into()),
        };
        let report = HostReport {
            verdict: Verdict::Slow,
            summary: "slow".into(),
            hypervisor: "type 2".into(),
            checks: vec![check(CheckStatus::Ok), check(CheckStatus::Warn)],
        };
        assert!(!text(&report, true).contains("ok:"));
        assert!(text(&report, true).contains(" warn  warn: found\n        next: step\n"));
        assert!(text(&report, false).contains("\nVerdict: slow: slow\n"));
    }
}
