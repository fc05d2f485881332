//! `wait`, `readiness`, `ip`: how far a guest is.

use clap::{Args, ValueEnum};
use lodge_client::Client;
use lodge_client::api::{AddressSource, DomainView, ErrorKind, Phase, Readiness, WaitFor, WaitQuery};

use crate::failure::{Failure, What};
use crate::output::{duration, field};
use crate::session::Session;

use super::progress::Spinner;

#[derive(Debug, Args)]
pub struct Wait {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t = Target::Ready, value_name = "WHAT")]
    target: Target,
    /// Give up after so many seconds [default: when the guest's own deadline passes, scaled by its speed]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Its own set-up (cloud-init) is done
    Ready,
    /// It has an address
    Address,
    /// Its agent answers
    Agent,
    /// It is shut off
    Stopped,
    /// Its processors run
    Running,
}

impl From<Target> for WaitFor {
    fn from(target: Target) -> Self {
        match target {
            Target::Ready => Self::Ready,
            Target::Address => Self::Address,
            Target::Agent => Self::Agent,
            Target::Stopped => Self::Stopped,
            Target::Running => Self::Running,
        }
    }
}

impl Wait {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let readiness = follow(&self.domain, self.target.into(), self.timeout, session).await?;
        let name = &self.domain;
        session.done(&readiness, |readiness| match self.target {
            Target::Stopped => format!("{name} is stopped\n"),
            Target::Running => format!("{name} is running\n"),
            Target::Ready | Target::Address | Target::Agent => format!("{name} is {}\n", summary(readiness)),
        });
        Ok(())
    }
}

/// Waits, and shows meanwhile where the guest is.
pub async fn follow(
    dom: &str,
    target: WaitFor,
    timeout_s: Option<u64>,
    session: &mut Session,
) -> Result<Readiness, Failure> {
    let client = session.client().await?;
    let query = WaitQuery { target, timeout_s };
    let spinner = Spinner::start(session, &format!("{dom}: waiting"));
    let waited = tokio::select! {
        waited = client.wait(dom, &query) => waited.on_domain(dom, "wait for"),
        never = show_phases(&client, dom, &spinner) => match never {},
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::new(ErrorKind::Conflict, format!("stopped waiting for '{dom}', which goes on"))
                .hint(format!("`lodge wait {dom}` waits again, `lodge readiness {dom}` shows where it is")))
        }
    };
    spinner.stop();
    waited
}

/// Until it is dropped. A miss is no matter: the wait itself tells what is wrong.
async fn show_phases(client: &Client, dom: &str, spinner: &Spinner) -> std::convert::Infallible {
    loop {
        if let Ok(readiness) = client.readiness(dom).await {
            let message =
                if readiness.message.is_empty() { String::new() } else { format!(": {}", readiness.message) };
            spinner.say(format!("{dom}: {}{message}", readiness.phase));
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// `ready (booting 3.2 s · address 1.0 s · …)`.
pub fn summary(readiness: &Readiness) -> String {
    let phases: Vec<String> = readiness
        .timeline
        .iter()
        .filter_map(|phase| Some(format!("{} {}", phase.phase, duration(phase.duration_ms?))))
        .collect();
    if phases.is_empty() {
        readiness.phase.to_string()
    } else {
        format!("{} ({})", readiness.phase, phases.join(" · "))
    }
}

pub async fn readiness(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let readiness = session.client().await?.readiness(dom).await.on_domain(dom, "")?;
    session.show(&readiness, text);
    Ok(())
}

fn text(readiness: &Readiness) -> String {
    let mut text = String::new();
    field(&mut text, "Phase", readiness.phase);
    if !readiness.message.is_empty() {
        field(&mut text, "Seen", &readiness.message);
    }
    if let Some(hostname) = &readiness.hostname {
        field(&mut text, "Host name", hostname);
    }
    for interface in &readiness.interfaces {
        let addresses: Vec<_> =
            interface.addresses.iter().map(|address| format!("{}/{}", address.ip, address.prefix)).collect();
        field(&mut text, "Address", format!("{} on {}", addresses.join(" "), interface.name));
    }
    if let Some(accelerator) = &readiness.accelerator {
        field(&mut text, "Accelerator", format!("{}: {}", accelerator.name, accelerator.why));
    }
    if let Some(speed) = &readiness.speed {
        field(&mut text, "Speed", format!("{:.1} times slower than the bare host", speed.factor));
    }
    for phase in &readiness.timeline {
        let took = phase.duration_ms.map_or_else(|| "now".to_owned(), duration);
        field(&mut text, &format!("  {}", phase.phase), took);
    }
    if let Some(failure) = readiness.failure.as_ref().filter(|_| readiness.phase == Phase::Failed) {
        field(&mut text, "Failed", format!("{}: {}", failure.module, failure.message));
        if let Some(line) = &failure.log_line {
            field(&mut text, "Log", line);
        }
        if let Some(hint) = &failure.hint {
            field(&mut text, "Next", hint);
        }
    }
    text
}

pub async fn ip(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.domain(dom).await.on_domain(dom, "")?;
    let addresses = addresses(&view, session).await?;
    if addresses.is_empty() {
        let why = if view.state.is_active() {
            "has no address yet".to_owned()
        } else {
            format!("is {}", view.state)
        };
        let name = &view.name;
        let hint = if view.state.is_active() {
            format!("`lodge wait {name} --for address` waits for it")
        } else {
            format!("`lodge start {name}` starts it")
        };
        return Err(Failure::new(ErrorKind::Unavailable, format!("domain '{name}' {why}")).hint(hint));
    }
    session.show(&addresses, |addresses| addresses.join("\n") + "\n");
    Ok(())
}

/// The daemon's own list, else what the leases say, IPv4 first.
pub async fn addresses(view: &DomainView, session: &mut Session) -> Result<Vec<String>, Failure> {
    if !view.addresses.is_empty() || !view.state.is_active() {
        return Ok(view.addresses.iter().map(|address| bare(address)).collect());
    }
    let client = session.client().await?;
    let found = client.domain_interfaces(&view.name, AddressSource::Lease).await;
    let found = found.on_domain(&view.name, "query for interfaces addresses of")?;
    let mut all: Vec<_> = found.into_iter().flat_map(|interface| interface.addresses).collect();
    all.sort_by_key(|address| address.ip.contains(':'));
    Ok(all.into_iter().map(|address| address.ip).collect())
}

/// Without a prefix.
fn bare(address: &str) -> String {
    address.split('/').next().unwrap_or(address).to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_failure_names_its_module_and_line() {
        let readiness: Readiness = serde_json::from_value(serde_json::json!({
            "phase": "failed", "since_ms": 0, "hostname": "web1",
            "timeline": [{ "phase": "booting", "entered_ms": 0, "duration_ms": 3200 }, { "phase": "failed", "entered_ms": 3200 }],
            "failure": { "module": "locale", "message": "the package locales is missing", "log_line": "x" },
        }))
        .unwrap();
        expect![[r"
            Phase:          failed
            Host name:      web1
              booting:      3.2 s
              failed:       now
            Failed:         locale: the package locales is missing
            Log:            x
        "]]
        .assert_eq(&text(&readiness));
        assert_eq!(summary(&readiness), "failed (booting 3.2 s)");
    }
}
