//! `domid domuuid domname dominfo domstate`: one domain's facts.

use clap::Args;
use lodge_client::api::DomainView;

use crate::failure::{Failure, What};
use crate::output::{field, or_dash};
use crate::session::Session;

async fn view(dom: &str, session: &mut Session) -> Result<DomainView, Failure> {
    session.client().await?.domain(dom).await.on_domain(dom, "")
}

pub async fn domid(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(dom, session).await?;
    session.show(&view.id, |id| format!("{}\n", or_dash(*id)));
    Ok(())
}

pub async fn domuuid(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(dom, session).await?;
    session.show(&view.uuid, |uuid| format!("{uuid}\n"));
    Ok(())
}

pub async fn domname(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(dom, session).await?;
    session.show(&view.name, |name| format!("{name}\n"));
    Ok(())
}

pub async fn dominfo(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(dom, session).await?;
    session.show(&view, info);
    Ok(())
}

/// virsh's lines in virsh's order.
fn info(view: &DomainView) -> String {
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let mut text = String::new();
    field(&mut text, "Id", or_dash(view.id));
    field(&mut text, "Name", &view.name);
    field(&mut text, "UUID", view.uuid);
    field(&mut text, "OS Type", &view.os_type);
    field(&mut text, "State", view.state);
    field(&mut text, "CPU(s)", view.vcpus);
    if let Some(time_ns) = view.cpu_time_ns.filter(|time| *time > 0) {
        let tenths = time_ns / 100_000_000;
        field(&mut text, "CPU time", format!("{}.{}s", tenths / 10, tenths % 10));
    }
    field(&mut text, "Max memory", format!("{} KiB", view.max_memory_kib));
    field(&mut text, "Used memory", format!("{} KiB", view.memory_kib));
    field(&mut text, "Persistent", yes(view.persistent));
    field(&mut text, "Autostart", if view.autostart { "enable" } else { "disable" });
    field(&mut text, "Managed save", yes(view.managed_save));
    field(&mut text, "Security model", &view.security_model);
    field(&mut text, "Security DOI", &view.security_doi);
    for (at, warning) in view.warnings.iter().enumerate() {
        field(&mut text, if at == 0 { "Messages" } else { "" }, warning);
    }
    // A field without a name continues the one above.
    text.replace("\n:               ", "\n                ")
}

#[derive(Debug, Args)]
pub struct Domstate {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// also print reason for the state
    #[arg(long)]
    reason: bool,
}

impl Domstate {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = view(&self.domain, session).await?;
        let answer = serde_json::json!({ "state": view.state, "reason": view.reason });
        session.show(&answer, |_| {
            if self.reason {
                format!("{} ({})\n", view.state, view.reason)
            } else {
                format!("{}\n", view.state)
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn dominfo_has_virshs_lines() {
        let view: DomainView = serde_json::from_value(serde_json::json!({
            "id": 3, "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "name": "web1", "state": "running",
            "reason": "booted", "persistent": true, "autostart": false, "managed_save": false, "vcpus": 2,
            "max_memory_kib": 1_048_576, "memory_kib": 1_048_576, "os_type": "hvm", "security_model": "none",
            "security_doi": "0", "cpu_time_ns": 12_345_678_901_u64, "warnings": ["KVM is not usable", "no SPICE"],
        }))
        .unwrap();
        expect![[r"
            Id:             3
            Name:           web1
            UUID:           6695eb01-f6a4-8304-79aa-97f2502e193f
            OS Type:        hvm
            State:          running
            CPU(s):         2
            CPU time:       12.3s
            Max memory:     1048576 KiB
            Used memory:    1048576 KiB
            Persistent:     yes
            Autostart:      disable
            Managed save:   no
            Security model: none
            Security DOI:   0
            Messages:       KVM is not usable
                            no SPICE
        "]]
        .assert_eq(&info(&view));
    }
}
