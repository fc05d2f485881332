//! Figures of domains, as the REST API has them.

use lodge_api::{
    DomainFigures, Figure, FigureGroup, FigureQuery, FigureTopic, FigureValue, FiguresQuery, VcpuView,
    VcpusView,
};
use lodge_domain::control::{Refusal, Scope};

use crate::{Caller, Engine, Groups, Guest, error::Result, guest};

impl Engine {
    /// Figures of many domains, or of one, by groups.
    #[crate::boxed]
    pub async fn figures(&self, caller: &Caller, query: FiguresQuery) -> Result<Vec<DomainFigures>> {
        let wanted = match &query.domain {
            Some(dom) => vec![self.find_domain(dom)?.id()],
            None => self.domains.list().iter().map(|snapshot| snapshot.id).collect(),
        };
        let bit = |group: &FigureGroup| FigureGroup::ALL.iter().position(|known| known == group);
        let bits = query.groups.iter().filter_map(bit).fold(0, |bits, at| bits | 1 << at);
        let groups = Groups { bits, backing: query.backing };
        let records = self.figures_of(caller, wanted, groups).await?;
        let told = records.into_iter().map(|record| DomainFigures {
            name: record.snapshot.name.to_string(),
            uuid: record.snapshot.id.0,
            figures: record.figures.into_iter().map(figure).collect(),
        });
        Ok(told.collect())
    }

    /// Figures of one domain about one thing.
    #[crate::boxed]
    pub async fn domain_figures(
        &self,
        _caller: &Caller,
        dom: &str,
        query: FigureQuery,
    ) -> Result<Vec<Figure>> {
        let guest = self.look_at(self.find_domain(dom)?);
        let device = query.device.as_deref();
        let number = |(name, value): (&str, u64)| Figure {
            name: name.to_owned(),
            value: FigureValue::Unsigned(value),
        };
        Ok(match query.of {
            FigureTopic::Memory => {
                let told = guest.memory_figures().await?;
                told.into_iter().map(|(_, name, value)| number((name, value))).collect()
            }
            FigureTopic::Cpu => {
                let times = guest.cpu_times()?;
                let all = [
                    ("cpu_time", times.total_ns),
                    ("user_time", times.user_ns),
                    ("system_time", times.system_ns),
                ];
                all.map(number).to_vec()
            }
            FigureTopic::CpuByProcessor => {
                let times = guest.cpu_times_by_processor()?.into_iter().enumerate();
                times.map(|(at, ns)| number((&format!("cpu{at}.cpu_time"), ns))).collect()
            }
            FigureTopic::Disk => {
                disk(&guest.block_figures(device.unwrap_or_default()).await?).map(number).to_vec()
            }
            FigureTopic::Nic => {
                let device = device.ok_or_else(|| Refusal::arg("a card's name or address is needed"))?;
                nic(&guest.nic_figures(device)?).map(number).to_vec()
            }
            FigureTopic::Scheduler => {
                let scope = Scope { live: query.live, config: query.config };
                let snapshot = guest.snapshot();
                let live = scope.resolve(snapshot.is_active(), snapshot.persistent)?.live;
                guest.scheduler(live)?.into_iter().map(figure).collect()
            }
        })
    }

    /// A domain's processors: those it runs on, or those its definition gives it.
    #[crate::boxed]
    pub async fn domain_vcpus(&self, _caller: &Caller, dom: &str) -> Result<VcpusView> {
        let guest = self.look_at(self.find_domain(dom)?);
        let vcpus = if guest.snapshot().is_active() { running(&guest).await? } else { resting(&guest)? };
        Ok(VcpusView { host_processors: guest.host_processors(), vcpus })
    }
}

async fn running(guest: &Guest) -> Result<Vec<VcpuView>> {
    let vcpus = guest.vcpus().await?.into_iter().map(|vcpu| VcpuView {
        number: vcpu.number,
        cpu: u32::try_from(vcpu.cpu).ok(),
        time_ns: Some(vcpu.time_ns),
        affinity: vcpu.affinity.numbers().to_vec(),
    });
    Ok(vcpus.collect())
}

fn resting(guest: &Guest) -> Result<Vec<VcpuView>> {
    let count = guest.vcpu_count(false, false)? as usize;
    let pins = guest.vcpu_pins(false)?.into_iter().take(count).zip(0..);
    Ok(pins
        .map(|(pin, number)| VcpuView { number, cpu: None, time_ns: None, affinity: pin.numbers().to_vec() })
        .collect())
}

/// libvirt's names, in its order.
fn disk(figures: &guest::BlockFigures) -> [(&'static str, u64); 8] {
    [
        ("rd_req", figures.rd_req),
        ("rd_bytes", figures.rd_bytes),
        ("wr_req", figures.wr_req),
        ("wr_bytes", figures.wr_bytes),
        ("flush_operations", figures.fl_req),
        ("rd_total_times", figures.rd_ns),
        ("wr_total_times", figures.wr_ns),
        ("flush_total_times", figures.fl_ns),
    ]
}

fn nic(figures: &guest::NicFigures) -> [(&'static str, u64); 8] {
    let (rx, tx) = (&figures.rx, &figures.tx);
    [
        ("rx_bytes", rx[0]),
        ("rx_packets", rx[1]),
        ("rx_errs", rx[2]),
        ("rx_drop", rx[3]),
        ("tx_bytes", tx[0]),
        ("tx_packets", tx[1]),
        ("tx_errs", tx[2]),
        ("tx_drop", tx[3]),
    ]
}

fn figure(figure: guest::Figure) -> Figure {
    let unsigned_or =
        |number: i64| u64::try_from(number).map_or(FigureValue::Signed(number), FigureValue::Unsigned);
    let value = match figure.value {
        guest::Value::Int(number) => unsigned_or(i64::from(number)),
        guest::Value::Uint(number) => FigureValue::Unsigned(u64::from(number)),
        guest::Value::Long(number) => unsigned_or(number),
        guest::Value::Ulong(number) => FigureValue::Unsigned(number),
        guest::Value::Double(number) => FigureValue::Fraction(number),
        guest::Value::Flag(flag) => FigureValue::Flag(flag),
        guest::Value::Text(text) => FigureValue::Text(text),
    };
    Figure { name: figure.name.into_owned(), value }
}
