//! `setmem`, `setmaxmem`, `setvcpus`, `vcpuinfo`, `schedinfo`: memory and processors of a domain.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use lodge_client::api::{
    ChangeScope, DomainChange, FigureQuery, FigureTopic, FigureValue, VcpuView, VcpusView,
};

use super::scope::{Scope, change};
use crate::failure::{Failure, What, invalid};
use crate::session::Session;
use crate::storage::size;

#[derive(Debug, Args)]
pub struct Setmem {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// new memory size, as scaled integer (default KiB)
    #[arg(value_name = "size")]
    size: String,
    #[command(flatten)]
    scope: Scope,
}

#[derive(Debug, Args)]
pub struct Setmaxmem {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// new maximum memory size, as scaled integer (default KiB)
    #[arg(value_name = "size")]
    size: String,
    #[command(flatten)]
    scope: Scope,
}

/// virsh's amount of memory: KiB where no unit is named, in whole KiB.
fn kib(text: &str) -> Result<u64, Failure> {
    let plain = text.chars().all(|letter| letter.is_ascii_digit());
    let bytes = size(&if plain { format!("{text}KiB") } else { text.to_owned() }, "size")?;
    Ok(bytes.div_ceil(1024))
}

impl Setmem {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let to = DomainChange::Memory { memory_kib: kib(&self.size)? };
        let view = change(&session.client().await?, &self.domain, self.scope.asked(), &to, "").await?;
        session.done(&view, |_| String::new());
        Ok(())
    }
}

impl Setmaxmem {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let to = DomainChange::MaxMemory { memory_kib: kib(&self.size)? };
        let what = "Unable to change MaxMemorySize";
        let view = change(&session.client().await?, &self.domain, self.scope.asked(), &to, what).await?;
        session.done(&view, |_| String::new());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Setvcpus {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// number of virtual CPUs
    #[arg(value_name = "count")]
    count: u32,
    /// set maximum limit on next boot
    #[arg(long)]
    maximum: bool,
    #[command(flatten)]
    scope: Scope,
}

impl Setvcpus {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let count = self.count;
        if count == 0 {
            return Err(invalid("Invalid value '0' for number of virtual CPUs"));
        }
        if self.maximum && !self.scope.config {
            return Err(invalid("Option --maximum is required by option --config").hint("add --config"));
        }
        let to = if self.maximum { DomainChange::MaxVcpus { count } } else { DomainChange::Vcpus { count } };
        let view = change(&session.client().await?, &self.domain, self.scope.asked(), &to, "").await?;
        session.done(&view, |_| String::new());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Vcpuinfo {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// return human readable output
    #[arg(long)]
    pretty: bool,
}

impl Vcpuinfo {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let dom = &self.domain;
        let view = session.client().await?.domain_vcpus(dom).await.on_domain(dom, "")?;
        session.show(&view, |view| {
            let all: Vec<String> = view.vcpus.iter().map(|vcpu| info(vcpu, view, self.pretty)).collect();
            all.join("\n")
        });
        Ok(())
    }
}

/// virsh's lines of one processor.
fn info(vcpu: &VcpuView, all: &VcpusView, pretty: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:15} {value}").expect("a String takes all");
    };
    line("VCPU:", &vcpu.number.to_string());
    if let (Some(cpu), Some(time_ns)) = (vcpu.cpu, vcpu.time_ns) {
        line("CPU:", &cpu.to_string());
        line("State:", "running");
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
        line("CPU time:", &format!("{:.1}s", time_ns as f64 / 1e9));
    } else {
        line("CPU:", "N/A");
        line("State:", "N/A");
        line("CPU time", "N/A");
    }
    let affinity = if pretty {
        let set = lodge_model::domain::processors::Processors::of(&vcpu.affinity);
        format!("{set} (out of {})", all.host_processors)
    } else {
        let may = |cpu: u32| if vcpu.affinity.contains(&cpu) { 'y' } else { '-' };
        (0..all.host_processors).map(may).collect()
    };
    line("CPU Affinity:", &affinity);
    text
}

#[derive(Debug, Args)]
pub struct Schedinfo {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// weight for XEN_CREDIT
    #[arg(long, value_name = "number", hide = true)]
    weight: Option<u32>,
    /// parameter=value
    #[arg(long, value_name = "string", num_args = 1..)]
    set: Vec<String>,
    #[command(flatten)]
    scope: Scope,
}

impl Schedinfo {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let dom = &self.domain;
        if self.weight.is_some() {
            return Err(invalid("invalid scheduler option: weight").hint("--set cpu_shares=NUMBER"));
        }
        let client = session.client().await?;
        client.domain(dom).await.on_domain(dom, "")?;
        let ChangeScope { live, config } = self.scope.asked();
        // virsh shows what was set where; of both, the running guest's.
        let query = FigureQuery { of: FigureTopic::Scheduler, device: None, live, config: config && !live };
        if !self.set.is_empty() {
            let known = client.domain_figures(dom, &query).await?;
            let settings = settings(&self.set, |name| known.iter().any(|figure| figure.name == name))?;
            let to = DomainChange::Scheduler { settings };
            change(&client, dom, self.scope.asked(), &to, "").await?;
        }
        let figures = client.domain_figures(dom, &query).await?;
        session.show(&figures, |figures| {
            let mut text = format!("{:15}: posix\n", "Scheduler");
            for figure in figures {
                writeln!(text, "{:15}: {}", figure.name, shown(&figure.value)).expect("a String takes all");
            }
            text
        });
        Ok(())
    }
}

fn shown(value: &FigureValue) -> String {
    value.to_string()
}

/// `cpu_shares=1000`, word by word or with commas between.
fn settings(words: &[String], known: impl Fn(&str) -> bool) -> Result<BTreeMap<String, i64>, Failure> {
    let mut settings = BTreeMap::new();
    for word in words.iter().flat_map(|word| word.split(',')) {
        let no_option = || invalid(format!("invalid scheduler option: {word}"));
        let (name, value) = word.split_once('=').ok_or_else(no_option)?;
        if !known(name) {
            return Err(no_option());
        }
        let value =
            value.parse().map_err(|_| invalid(format!("Invalid value for field '{name}': {value}")))?;
        settings.insert(name.to_owned(), value);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_kib_unless_said() {
        assert_eq!(kib("65536").unwrap(), 65536);
        assert_eq!(kib("1G").unwrap(), 1 << 20);
        assert_eq!(kib("1000").unwrap(), 1000);
        assert_eq!(kib("1500B").unwrap(), 2);
        assert!(kib("x").is_err());
    }

    #[test]
    fn a_processor_is_shown_as_virsh_shows_it() {
        let vcpu = VcpuView { number: 0, cpu: Some(1), time_ns: Some(2_340_000_000), affinity: vec![0, 2] };
        let all = VcpusView { host_processors: 3, vcpus: Vec::new() };
        let text = "VCPU:           0\nCPU:            1\nState:          running\nCPU time:       2.3s\n\
                    CPU Affinity:   y-y\n";
        assert_eq!(info(&vcpu, &all, false), text);
        let off = VcpuView { cpu: None, time_ns: None, ..vcpu };
        let text = "VCPU:           0\nCPU:            N/A\nState:          N/A\nCPU time        N/A\n\
                    CPU Affinity:   0,2 (out of 3)\n";
        assert_eq!(info(&off, &all, true), text);
    }

    #[test]
    fn settings_are_told_from_nonsense() {
        let known = |name: &str| name == "cpu_shares" || name == "vcpu_quota";
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = settings(&words("cpu_shares=5,vcpu_quota=-1"), known).unwrap();
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            [("cpu_shares".into(), 5), ("vcpu_quota".into(), -1)]
        );
        assert!(settings(&words("nonsense=1"), known).is_err());
        assert!(settings(&words("cpu_shares=x"), known).is_err());
    }
}
