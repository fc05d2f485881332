//! `identity show check diff reset audit log rules`.

mod audit;
mod book;
mod rules;
mod shown;

use clap::{Args, Subcommand};
use lodge_client::api::{
    DomainFilter, ErrorKind, IdentityAct, IdentityDiff, IdentityDiffQuery, IdentityLogQuery, IdentityReset,
    IdentityView, Job, SubjectKind,
};

use super::keys::Keys;
use crate::failure::{Failure, What};
use crate::instance::{access, progress};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What domains and templates are known by: machine ids, keys, addresses, UUIDs
    Show(Show),
    /// Whether each domain has a machine id, and one of its own
    Check(Check),
    /// Two machines beside each other: what is alike, what differs
    Diff(Diff),
    /// Give domains that are shut off another identity
    Reset(Reset),
    /// Look at all machines for what more than one has; ends with 1 where there is such a thing
    Audit(audit::Audit),
    /// What became of identities: each clone, template and reset, item by item
    Log(Log),
    /// The rules of what makes a machine itself, those of etc/lodge/identity.d among them
    Rules(rules::Rules),
}

#[derive(Debug, Args)]
pub struct Show {
    /// Domains or templates
    #[arg(value_name = "DOMAIN", required = true)]
    subjects: Vec<String>,
    /// The machine id alone: what `dbus-uuidgen --get` answers inside
    #[arg(long)]
    get: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<String>,
    /// As `dbus-uuidgen --ensure`: silent where there is a machine id, and one is made where there is none. On the disk of
    /// a domain that is shut off, through the agent of one that runs
    #[arg(long)]
    ensure: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// A domain or template
    #[arg(value_name = "ONE")]
    one: String,
    /// Another
    #[arg(value_name = "OTHER")]
    other: String,
    /// Only what both have and must not
    #[arg(long)]
    alike: bool,
}

#[derive(Debug, Args)]
pub struct Reset {
    /// The domains
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<String>,
    /// The machine id of one that runs, through its agent; programs in it may become unstable
    #[arg(long)]
    force: bool,
    /// The host name inside [default: as it is]
    #[arg(long)]
    hostname: Option<String>,
    #[command(flatten)]
    keys: Keys,
    /// Change nothing; say what would be changed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Log {
    /// Of this machine only, by name or UUID
    #[arg(value_name = "DOMAIN")]
    domain: Option<String>,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Show(verb) => verb.run(session).await,
            Self::Check(verb) => verb.run(session).await,
            Self::Diff(verb) => verb.run(session).await,
            Self::Reset(verb) => verb.run(session).await,
            Self::Audit(verb) => verb.run(session).await,
            Self::Rules(verb) => verb.run(session).await,
            Self::Log(Log { domain }) => {
                let query = IdentityLogQuery { machine: domain };
                let acts = session.client().await?.identity_log(&query).await;
                let acts = acts.what(|| "Failed to read what became of identities".to_owned())?;
                session.show(&acts, |acts| acts.iter().map(book::entry).collect::<Vec<_>>().join("\n"));
                Ok(())
            }
        }
    }
}

async fn look(subject: &str, session: &mut Session) -> Result<IdentityView, Failure> {
    session.client().await?.identity(subject).await.on_domain(subject, "")
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut views = Vec::new();
        for subject in &self.subjects {
            let view = look(subject, session).await?;
            if self.get && view.machine_id.is_none() {
                let why = shown::why_none(&view).unwrap_or_else(|| "it has none".to_owned());
                return Err(
                    Failure::new(ErrorKind::NotFound, format!("no machine id of '{subject}'")).because(why)
                );
            }
            views.push(view);
        }
        let (get, is_one) = (self.get, views.len() == 1);
        session.show(&views, |views| match (get, is_one) {
            (true, true) => {
                views.iter().filter_map(|view| view.machine_id.clone()).map(|id| id + "\n").collect()
            }
            (true, false) => {
                let line = |view: &IdentityView| {
                    format!("{}  {}\n", view.machine_id.as_deref().unwrap_or("-"), view.subject)
                };
                views.iter().map(line).collect()
            }
            (false, _) => views.iter().map(shown::text).collect::<Vec<_>>().join("\n"),
        });
        Ok(())
    }
}

impl Check {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let names = if self.domains.is_empty() {
            let all = client.domains(&DomainFilter::default()).await;
            all.what(|| "Failed to list domains".to_owned())?.into_iter().map(|domain| domain.name).collect()
        } else {
            self.domains.clone()
        };
        let mut views = Vec::new();
        for name in &names {
            views.push(look(name, session).await?);
        }
        if self.ensure {
            return ensure(&views, session).await;
        }
        let faults = shown::faults(&views);
        if faults.is_empty() {
            session.done(&views, |views| match views.len() {
                1 => "It has a machine id of its own\n".to_owned(),
                count => format!("All {count} have machine ids of their own\n"),
            });
            return Ok(());
        }
        let failure = Failure::new(ErrorKind::Conflict, faults.join("\n       "));
        let none = views.iter().any(|view| view.machine_id.is_none());
        Err(failure.hint(if none {
            "`lodge identity check --ensure DOMAIN` makes a machine id where there is none; `lodge identity reset DOMAIN` \
             gives one that is shut off an identity of its own"
        } else {
            "`lodge identity reset DOMAIN` gives one that is shut off an identity of its own"
        }))
    }
}

/// A machine id for each that has none. What cannot get one does not keep the others from theirs.
async fn ensure(views: &[IdentityView], session: &mut Session) -> Result<(), Failure> {
    let wish = IdentityReset { ensure: true, ..IdentityReset::default() };
    let mut last = None;
    for view in views.iter().filter(|view| view.machine_id.is_none()) {
        let name = &view.subject;
        let got = match view.kind {
            SubjectKind::Domain => reset(name, &wish, session).await,
            _ => Err(Failure::new(ErrorKind::Conflict, format!("'{name}' has no machine id on purpose"))
                .hint("each clone of a template gets its own")),
        };
        match got {
            Ok(act) => {
                session.warn(&act.warnings);
                if let Some(made) = act.changes.iter().find(|change| change.item == "machine-id") {
                    session.done(&act, |_| format!("'{name}' had no machine id; it has {} now\n", made.new));
                }
            }
            Err(failure) => {
                if let Some(before) = last.replace(failure) {
                    before.tell(session);
                }
            }
        }
    }
    last.map_or(Ok(()), Err)
}

impl Diff {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let query = IdentityDiffQuery { one: self.one, other: self.other };
        let diff = session.client().await?.identity_diff(&query).await;
        let diff: IdentityDiff =
            diff.what(|| format!("Failed to compare '{}' and '{}'", query.one, query.other))?;
        session.warn(&diff.gaps);
        session.show(&diff, |diff| shown::diff(diff, self.alike));
        Ok(())
    }
}

impl Reset {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let wish = IdentityReset {
            force: self.force,
            dry_run: self.dry_run,
            hostname: self.hostname,
            private_keys: self.keys.into(),
            ..IdentityReset::default()
        };
        for domain in &self.domains {
            let act = reset(domain, &wish, session).await?;
            tell(&act, self.dry_run, session);
        }
        Ok(())
    }
}

/// Gives one guest another identity and waits for it.
pub async fn reset(
    domain: &str,
    wish: &IdentityReset,
    session: &mut Session,
) -> Result<IdentityAct, Failure> {
    let client = session.client().await?;
    let verb = if wish.operations.is_some() { "prepare" } else { "reset the identity of" };
    let job = client.reset_identity(domain, wish).await.on_domain(domain, verb)?;
    let act = entry_of(progress::follow(&client, job.id, session).await?)?;
    let has_new_key = act.changes.iter().any(|change| change.item == "ssh-host-key");
    if let Ok(guest) = act.uuid.parse()
        && has_new_key
        && !wish.dry_run
    {
        access::forget_host_key(guest);
    }
    Ok(act)
}

/// The entry of the book that a job made.
pub fn entry_of(job: Job) -> Result<IdentityAct, Failure> {
    serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
        Failure::new(ErrorKind::Corrupt, "the job's result is no entry of the book").because(error)
    })
}

/// Says what was changed.
pub fn tell(act: &IdentityAct, dry: bool, session: &Session) {
    session.warn(&act.warnings);
    let to_fill: Vec<String> = act.to_fill.iter().map(|place| format!("to be filled: {place}")).collect();
    session.warn(&to_fill);
    session.done(act, |act| {
        let mut text = book::entry(&IdentityAct { warnings: Vec::new(), to_fill: Vec::new(), ..act.clone() });
        if dry {
            text.push_str("Nothing was changed (--dry-run)\n");
        }
        text
    });
}
