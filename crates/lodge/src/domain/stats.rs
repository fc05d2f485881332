//! `domstats`, `dommemstat`, `domblkstat`, `domifstat`, `cpu-stats`: figures of domains.

use std::fmt::Write as _;

use clap::Args;
use lodge_client::api::{
    DomainFigures, DomainFilter, DomainState, Figure, FigureGroup, FigureQuery, FigureTopic, FigureValue,
    FiguresQuery,
};

use crate::failure::{Failure, What};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Domstats {
    /// report domain state
    #[arg(long)]
    state: bool,
    /// report domain physical cpu usage
    #[arg(long)]
    cpu_total: bool,
    /// report domain balloon statistics
    #[arg(long)]
    balloon: bool,
    /// report domain virtual cpu information
    #[arg(long)]
    vcpu: bool,
    /// report domain network interface information
    #[arg(long)]
    interface: bool,
    /// report domain block device statistics
    #[arg(long)]
    block: bool,
    /// report domain perf event statistics
    #[arg(long)]
    perf: bool,
    /// report domain `IOThread` information
    #[arg(long)]
    iothread: bool,
    /// report domain memory usage
    #[arg(long)]
    memory: bool,
    /// report domain dirty rate information
    #[arg(long)]
    dirtyrate: bool,
    /// report hypervisor-specific statistics
    #[arg(long)]
    vm: bool,
    /// list only active domains
    #[arg(long)]
    list_active: bool,
    /// list only inactive domains
    #[arg(long)]
    list_inactive: bool,
    /// list only persistent domains
    #[arg(long)]
    list_persistent: bool,
    /// list only transient domains
    #[arg(long)]
    list_transient: bool,
    /// list only running domains
    #[arg(long)]
    list_running: bool,
    /// list only paused domains
    #[arg(long)]
    list_paused: bool,
    /// list only shutoff domains
    #[arg(long)]
    list_shutoff: bool,
    /// do not pretty-print the fields
    #[arg(long)]
    raw: bool,
    /// enforce requested stats parameters
    #[arg(long)]
    enforce: bool,
    /// add backing chain information to block stats
    #[arg(long)]
    backing: bool,
    /// report only stats that are accessible instantly
    #[arg(long)]
    nowait: bool,
    /// list of domains to get stats for
    #[arg(value_name = "domain")]
    domains: Vec<String>,
}

impl Domstats {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        // Nothing here ever waits for an act on a guest, knows a group it cannot tell, or makes a field pretty.
        let Self { raw: _, nowait: _, enforce: _, .. } = &self;
        let client = session.client().await?;
        let mut records: Vec<DomainFigures> = Vec::new();
        let query = FiguresQuery { groups: self.groups(), backing: self.backing, domain: None };
        if self.domains.is_empty() {
            records = client.figures(&query).await?;
        }
        for dom in &self.domains {
            let query = FiguresQuery { domain: Some(dom.clone()), ..query.clone() };
            records.extend(client.figures(&query).await.on_domain(dom, "")?);
        }
        let filter = self.filter();
        if filter != DomainFilter::default() {
            let passing = client.domains(&filter).await?;
            records.retain(|record| passing.iter().any(|view| view.uuid == record.uuid));
        }
        session.show(&records, |records| records.iter().map(shown).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    fn groups(&self) -> Vec<FigureGroup> {
        let asked = [
            (self.state, FigureGroup::State),
            (self.cpu_total, FigureGroup::CpuTotal),
            (self.balloon, FigureGroup::Balloon),
            (self.vcpu, FigureGroup::Vcpu),
            (self.interface, FigureGroup::Interface),
            (self.block, FigureGroup::Block),
            (self.perf, FigureGroup::Perf),
            (self.iothread, FigureGroup::Iothread),
            (self.memory, FigureGroup::Memory),
            (self.dirtyrate, FigureGroup::Dirtyrate),
            (self.vm, FigureGroup::Vm),
        ];
        asked.into_iter().filter_map(|(asked, group)| asked.then_some(group)).collect()
    }

    /// What must be so of a domain: one of the two of each pair, if either is asked for.
    fn filter(&self) -> DomainFilter {
        let either = |yes: bool, no: bool| (yes != no).then_some(yes);
        let states = [
            (self.list_running, DomainState::Running),
            (self.list_paused, DomainState::Paused),
            (self.list_shutoff, DomainState::ShutOff),
        ];
        let state = states.into_iter().filter_map(|(asked, state)| asked.then_some(state)).collect();
        DomainFilter {
            active: either(self.list_active, self.list_inactive),
            persistent: either(self.list_persistent, self.list_transient),
            state,
            ..DomainFilter::default()
        }
    }
}

fn shown(record: &DomainFigures) -> String {
    let mut text = format!("Domain: '{}'\n", record.name);
    for figure in &record.figures {
        writeln!(text, "  {}={}", figure.name, figure.value).expect("a String takes all");
    }
    text
}

/// `NAME VALUE` lines, with what they are of before.
fn lines(of: Option<&str>, figures: &[Figure]) -> String {
    let before = of.map(|of| format!("{of} ")).unwrap_or_default();
    let mut text = String::new();
    for figure in figures {
        writeln!(text, "{before}{} {}", figure.name, figure.value).expect("a String takes all");
    }
    text
}

async fn figures(
    session: &mut Session,
    dom: &str,
    of: FigureTopic,
    device: Option<&str>,
    what: &str,
) -> Result<Vec<Figure>, Failure> {
    let client = session.client().await?;
    client.domain(dom).await.on_domain(dom, "")?;
    let query = FigureQuery { of, device: device.map(str::to_owned), live: false, config: false };
    client.domain_figures(dom, &query).await.what(|| what.to_owned())
}

#[derive(Debug, Args)]
pub struct Dommemstat {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
}

impl Dommemstat {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let what = format!("Failed to get memory statistics for domain {}", self.domain);
        let figures = figures(session, &self.domain, FigureTopic::Memory, None, &what).await?;
        session.show(&figures, |figures| lines(None, figures));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Domblkstat {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// block device
    #[arg(value_name = "device")]
    device: Option<String>,
    /// print a more human readable output
    #[arg(long)]
    human: bool,
}

/// virsh's words for people.
const FOR_PEOPLE: [(&str, &str); 8] = [
    ("rd_req", "number of read operations:"),
    ("rd_bytes", "number of bytes read:"),
    ("wr_req", "number of write operations:"),
    ("wr_bytes", "number of bytes written:"),
    ("flush_operations", "number of flush operations:"),
    ("rd_total_times", "total duration of reads (ns):"),
    ("wr_total_times", "total duration of writes (ns):"),
    ("flush_total_times", "total duration of flushes (ns):"),
];

impl Domblkstat {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let device = self.device.as_deref().unwrap_or_default();
        let what = format!("Failed to get block stats for domain '{}' device '{device}'", self.domain);
        let topic = FigureTopic::Disk;
        let figures = figures(session, &self.domain, topic, self.device.as_deref(), &what).await?;
        session.show(&figures, |figures| {
            if !self.human {
                return lines(Some(device), figures);
            }
            let mut text = format!("Device: {device}\n");
            for figure in figures {
                let words = FOR_PEOPLE.iter().find(|(name, _)| *name == figure.name);
                let words = words.map_or(figure.name.as_str(), |(_, words)| words);
                writeln!(text, " {words:<31} {}", figure.value).expect("a String takes all");
            }
            text
        });
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Domifstat {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// interface device specified by name or MAC Address
    #[arg(value_name = "interface")]
    interface: String,
}

impl Domifstat {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let device = &self.interface;
        let what = format!("Failed to get interface stats {} {device}", self.domain);
        let figures = figures(session, &self.domain, FigureTopic::Nic, Some(device), &what).await?;
        session.show(&figures, |figures| lines(Some(device), figures));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct CpuStats {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// Show total statistics only
    #[arg(long)]
    total: bool,
    /// Show statistics from this CPU
    #[arg(long, value_name = "number", default_value_t = 0)]
    start: usize,
    /// Number of shown CPUs at most
    #[arg(long, value_name = "number")]
    count: Option<usize>,
}

impl CpuStats {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (dom, mut shown) = (&self.domain, String::new());
        let whole = !self.total && self.count.is_none() && self.start == 0;
        let mut all = Vec::new();
        if !self.total {
            let what = "Failed to retrieve CPU statistics for domain";
            let what = format!("{what} '{dom}'");
            let by_processor = figures(session, dom, FigureTopic::CpuByProcessor, None, &what).await?;
            let chosen = by_processor.iter().enumerate().skip(self.start);
            for (at, figure) in chosen.take(self.count.unwrap_or(usize::MAX)) {
                writeln!(shown, "CPU{at}:\n\tcpu_time   {:>14} seconds", seconds(&figure.value))
                    .expect("a String takes all");
            }
            all.extend(by_processor);
        }
        if self.total || whole {
            let what = format!("Failed to retrieve CPU statistics for domain '{dom}'");
            let total = figures(session, dom, FigureTopic::Cpu, None, &what).await?;
            shown += "Total:\n";
            for figure in &total {
                writeln!(shown, "\t{:<11}{:>14} seconds", figure.name, seconds(&figure.value))
                    .expect("a String takes all");
            }
            all.extend(total);
        }
        session.show(&all, |_| shown);
        Ok(())
    }
}

/// Nanoseconds as virsh shows them: seconds with nine digits after the point.
fn seconds(value: &FigureValue) -> String {
    let ns = match value {
        FigureValue::Unsigned(ns) => *ns,
        _ => 0,
    };
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_virsh_shows_them() {
        let figure = |name: &str, value| Figure { name: name.to_owned(), value };
        let figures =
            vec![figure("state.state", FigureValue::Unsigned(1)), figure("x", FigureValue::Flag(true))];
        let record = DomainFigures { name: "a".to_owned(), uuid: uuid::Uuid::nil(), figures };
        assert_eq!(shown(&record), "Domain: 'a'\n  state.state=1\n  x=yes\n");
        assert_eq!(lines(Some("vda"), &record.figures), "vda state.state 1\nvda x yes\n");
        assert_eq!(seconds(&FigureValue::Unsigned(1_020_000_000)), "1.020000000");
    }
}
