//! `list`.

use clap::Args;
use lodge_client::api::{DomainFilter, DomainState, DomainView};

use crate::failure::{Failure, What, invalid};
use crate::output::or_dash;
use crate::session::Session;

#[derive(Debug, Default, Args)]
pub struct List {
    /// list inactive domains
    #[arg(long)]
    inactive: bool,
    /// list inactive & active domains
    #[arg(long)]
    all: bool,
    /// list transient domains
    #[arg(long)]
    transient: bool,
    /// list persistent domains
    #[arg(long)]
    persistent: bool,
    /// list domains with existing snapshot
    #[arg(long)]
    with_snapshot: bool,
    /// list domains without a snapshot
    #[arg(long)]
    without_snapshot: bool,
    /// list domains in running state
    #[arg(long)]
    state_running: bool,
    /// list domains in paused state
    #[arg(long)]
    state_paused: bool,
    /// list domains in shutoff state
    #[arg(long)]
    state_shutoff: bool,
    /// list domains in other states
    #[arg(long)]
    state_other: bool,
    /// list domains with autostart enabled
    #[arg(long)]
    autostart: bool,
    /// list domains with autostart disabled
    #[arg(long)]
    no_autostart: bool,
    /// list domains with managed save state
    #[arg(long)]
    with_managed_save: bool,
    /// list domains without managed save
    #[arg(long)]
    without_managed_save: bool,
    /// list uuid's only
    #[arg(long)]
    uuid: bool,
    /// list domain names only
    #[arg(long)]
    name: bool,
    /// list domain IDs only
    #[arg(long)]
    id: bool,
    /// list table (default)
    #[arg(long)]
    table: bool,
    /// mark inactive domains with managed save state
    #[arg(long)]
    managed_save: bool,
    /// show domain title
    #[arg(long)]
    title: bool,
    /// show the machine id inside, as it was read last (`lodge identity audit` reads all)
    #[arg(long)]
    identity: bool,
}

impl List {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        for (other, word) in [(self.name, "name"), (self.id, "id")] {
            if self.table && other {
                return Err(invalid(format!("Options --table and --{word} are mutually exclusive")));
            }
        }
        let client = session.client().await?;
        let mut domains =
            client.domains(&self.filter()).await.what(|| "Failed to list domains".to_owned())?;
        sort(&mut domains);
        session.show(&domains, |domains| self.text(domains, session.quiet()));
        Ok(())
    }

    /// virsh lists the active domains unless told otherwise; `--state-shutoff` tells otherwise too.
    fn filter(&self) -> DomainFilter {
        let either = |yes: bool, no: bool| (yes != no).then_some(yes);
        let states = [
            (self.state_running, &[DomainState::Running][..]),
            (self.state_paused, &[DomainState::Paused]),
            (self.state_shutoff, &[DomainState::ShutOff]),
            (
                self.state_other,
                &[
                    DomainState::NoState,
                    DomainState::Idle,
                    DomainState::InShutdown,
                    DomainState::Crashed,
                    DomainState::PmSuspended,
                ],
            ),
        ];
        DomainFilter {
            active: match (self.all, self.inactive || self.state_shutoff) {
                (true, _) => None,
                (false, inactive) => Some(!inactive),
            },
            persistent: either(self.persistent, self.transient),
            autostart: either(self.autostart, self.no_autostart),
            managed_save: either(self.with_managed_save, self.without_managed_save),
            snapshots: either(self.with_snapshot, self.without_snapshot),
            identity: self.identity,
            state: states
                .iter()
                .filter(|(asked, _)| *asked)
                .flat_map(|(_, states)| states.iter().copied())
                .collect(),
        }
    }

    fn text(&self, domains: &[DomainView], quiet: bool) -> String {
        if (self.uuid || self.name || self.id) && !self.table {
            return self.words(domains);
        }
        let extra = [(self.title, "Title"), (self.uuid, "UUID"), (self.identity, "Machine id")];
        let heading: Vec<&str> = ["Id", "Name", "State"]
            .into_iter()
            .chain(extra.iter().filter(|(asked, _)| *asked).map(|(_, name)| *name))
            .collect();
        let row = |domain: &DomainView| {
            let saved = self.managed_save && domain.managed_save && !domain.state.is_active();
            let state = if saved { "saved".to_owned() } else { domain.state.to_string() };
            let mut row = vec![or_dash(domain.id), domain.name.clone(), state];
            row.extend(self.title.then(|| domain.title.clone().unwrap_or_default()));
            row.extend(self.uuid.then(|| domain.uuid.to_string()));
            row.extend(self.identity.then(|| or_dash(domain.machine_id.as_ref())));
            row
        };
        crate::output::table(&heading, &domains.iter().map(row).collect::<Vec<_>>(), quiet)
    }

    /// `--uuid`, `--id`, `--name`: one domain a line, in this order where several are asked for.
    fn words(&self, domains: &[DomainView]) -> String {
        let line = |domain: &DomainView| {
            let alone = self.id && !self.name && !self.uuid;
            if alone && domain.id.is_none() {
                return None;
            }
            let words = [
                self.uuid.then(|| domain.uuid.to_string()),
                self.id.then(|| or_dash(domain.id)),
                self.name.then(|| domain.name.clone()),
            ];
            Some(words.into_iter().flatten().collect::<Vec<_>>().join(" ") + "\n")
        };
        domains.iter().filter_map(line).collect()
    }
}

/// The active ones by number, then the others by name, as virsh sorts them.
fn sort(domains: &mut [DomainView]) {
    domains.sort_by_cached_key(|domain| (domain.id.unwrap_or(i32::MAX), domain.name.to_lowercase()));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn domain(id: Option<i32>, name: &str, state: &str) -> DomainView {
        serde_json::from_value(serde_json::json!({
            "id": id, "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "name": name, "title": "A title", "state": state,
            "reason": "unknown", "persistent": true, "autostart": false, "managed_save": state == "shut off", "vcpus": 1,
            "max_memory_kib": 1024, "memory_kib": 1024, "os_type": "hvm", "security_model": "none",
        }))
        .unwrap()
    }

    fn domains() -> Vec<DomainView> {
        let mut domains = vec![
            domain(None, "Zulu", "shut off"),
            domain(Some(12), "db", "paused"),
            domain(None, "alpha", "shut off"),
            domain(Some(2), "web1", "running"),
        ];
        sort(&mut domains);
        domains
    }

    #[test]
    fn the_table_and_its_extra_columns() {
        let text = List::default().text(&domains(), false);
        expect![[r"
             Id   Name    State
            ------------------------
             2    web1    running
             12   db      paused
             -    alpha   shut off
             -    Zulu    shut off
        "]]
        .assert_eq(&text);
        let list = List { title: true, managed_save: true, ..List::default() };
        expect![[r"
             Id   Name    State     Title
            ---------------------------------
             2    web1    running   A title
             12   db      paused    A title
             -    alpha   saved     A title
             -    Zulu    saved     A title
        "]]
        .assert_eq(&list.text(&domains(), false));
    }

    #[test]
    fn words_only() {
        let list = List { name: true, id: true, ..List::default() };
        assert_eq!(list.text(&domains(), false), "2 web1\n12 db\n- alpha\n- Zulu\n");
        let list = List { id: true, ..List::default() };
        assert_eq!(list.text(&domains(), false), "2\n12\n");
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(List::default().filter().active, Some(true));
        assert_eq!(List { state_shutoff: true, ..List::default() }.filter().active, Some(false));
        assert_eq!(List { all: true, inactive: true, ..List::default() }.filter().active, None);
        let both = List { state_running: true, state_paused: true, ..List::default() }.filter();
        assert_eq!(both.state, [DomainState::Running, DomainState::Paused]);
    }
}
