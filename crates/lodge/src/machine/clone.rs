//! `clone`: other machines of one.

use clap::Args;
use lodge_client::api::{CloneMode, CloneReport, CloneSpec, ClonedGuest, ErrorKind, InsideState};

use super::keys::Keys;
use crate::failure::{Failure, What};
use crate::instance::progress;
use crate::output::duration;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Clone {
    /// A domain, or a template: NAME, NAME:VERSION, NAME:latest. One that runs is cloned with its memory
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The new domain's name; with --count the beginning of the names
    #[arg(value_name = "NAME")]
    name: String,
    /// So many clones: NAME-1, NAME-2 …
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// Disks that stand on the template's and keep only what differs (what templates' clones get unless told otherwise)
    #[arg(long, conflicts_with = "full")]
    linked: bool,
    /// Disks that stand alone
    #[arg(long)]
    full: bool,
    /// Leave all inside as it is, and addresses and serial numbers too: to replace a machine that is lost
    #[arg(long)]
    keep_identity: bool,
    /// An interface's address, or `random`; may be given several times, in the interfaces' order
    #[arg(long = "mac", value_name = "MAC")]
    macs: Vec<String>,
    /// The host name inside [default: the domain's name]
    #[arg(long)]
    hostname: Option<String>,
    /// An interface's address inside: NIC=ADDRESS/PREFIX[,ROUTER], NIC=dhcp, or with --count a range, NIC=FIRST-LAST/PREFIX[,ROUTER].
    /// NIC is its number from 0, its MAC in the source, or its name in the guest; may be given several times [default: a
    /// static address stays and is warned of]
    #[arg(long = "address", value_name = "NIC=ADDRESS")]
    addresses: Vec<String>,
    #[command(flatten)]
    keys: Keys,
    /// Where a copied disk's file goes; may be given several times, in the disks' order [default: the source's pool]
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<String>,
    /// A disk, by target, that both have; may be given several times
    #[arg(long = "skip-copy", value_name = "TARGET")]
    share: Vec<String>,
    /// Start each when it is made (a clone with memory goes on by itself)
    #[arg(long)]
    start: bool,
    /// A clone with memory stays saved, its interfaces' links down, until it is started
    #[arg(long, conflicts_with = "start")]
    no_start: bool,
    /// Of a domain that runs: its disks as they are at one moment, without its memory
    #[arg(long)]
    disks_only: bool,
    /// Clone with memory also where nothing can tell the guest that it is another machine, and let it onto its networks
    #[arg(long)]
    force: bool,
    /// Make nothing; say what would be made
    #[arg(long)]
    dry_run: bool,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

impl Clone {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let no_wait = self.no_wait;
        let spec = CloneSpec {
            source: self.source,
            name: self.name,
            count: self.count,
            mode: match (self.linked, self.full) {
                (true, _) => CloneMode::Linked,
                (false, true) => CloneMode::Full,
                (false, false) => CloneMode::Auto,
            },
            keep_identity: self.keep_identity,
            macs: self.macs,
            hostname: self.hostname,
            start: self.start,
            no_start: self.no_start,
            disks_only: self.disks_only,
            force: self.force,
            files: self.files,
            share: self.share,
            addresses: self.addresses,
            private_keys: self.keys.into(),
            dry_run: self.dry_run,
            ..CloneSpec::default()
        };
        if no_wait {
            let job = begin(&spec, session).await?;
            session.show(&job, |job| format!("{}\n", job.id));
            return Ok(());
        }
        let report = made(&spec, session).await?;
        tell(&report, &spec, session);
        Ok(())
    }
}

async fn begin(spec: &CloneSpec, session: &mut Session) -> Result<lodge_client::api::Job, Failure> {
    let client = session.client().await?;
    client.clone_guest(spec).await.what(|| format!("Failed to clone '{}'", spec.source))
}

/// Makes them and waits for it.
pub async fn made(spec: &CloneSpec, session: &mut Session) -> Result<CloneReport, Failure> {
    let job = begin(spec, session).await?;
    let client = session.client().await?;
    let job = progress::follow(&client, job.id, session).await?;
    serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
        Failure::new(ErrorKind::Corrupt, "the job's result is no report of clones").because(error)
    })
}

/// Says what was made.
pub fn tell(report: &CloneReport, spec: &CloneSpec, session: &Session) {
    let mut warnings: Vec<String> = report.guests.iter().flat_map(|guest| guest.warnings.clone()).collect();
    let to_fill = report.guests.iter().flat_map(|guest| &guest.to_fill);
    warnings.extend(to_fill.map(|place| format!("to be filled: {place}")));
    warnings.sort();
    warnings.dedup();
    session.warn(&warnings);
    session.done(report, |report| {
        let mut text: String = report.guests.iter().map(|guest| line(guest, report, spec.dry_run)).collect();
        if spec.dry_run {
            text.push_str("Nothing was made (--dry-run)\n");
        }
        text
    });
}

fn line(guest: &ClonedGuest, report: &CloneReport, dry: bool) -> String {
    let inside = match guest.inside {
        InsideState::Reset => "with an identity of its own",
        InsideState::Kept => "with its source's identity",
        InsideState::NotReset => "its identity inside is still its source's",
    };
    if dry {
        let disks: Vec<String> =
            guest.disks.iter().map(|(target, path)| format!("{target} {path}")).collect();
        return format!(
            "'{}' would be made of '{}', {inside}: {}\n",
            guest.name,
            report.source,
            disks.join(", ")
        );
    }
    format!(
        "Domain '{}' cloned from '{}', {inside} ({})\n",
        guest.name,
        report.source,
        duration(guest.took_ms)
    )
}
