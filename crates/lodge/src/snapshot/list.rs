//! `snapshot-list snapshot-info snapshot-parent`: what there is.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args;
use lodge_client::api::{ErrorKind, SnapshotView};

use super::Which;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// The snapshot that is meant.
pub async fn resolve(which: &Which, session: &mut Session) -> Result<String, Failure> {
    match (&which.snapshotname, which.current) {
        (Some(_), true) => Err(invalid("--current and <snapshotname> are mutually exclusive")),
        (Some(name), false) => Ok(name.clone()),
        (None, false) => Err(invalid("--snapshotname or --current is required")),
        (None, true) => {
            let all = all(&which.domain, session).await?;
            let current = all.into_iter().find(|snapshot| snapshot.current);
            current.map(|snapshot| snapshot.name).ok_or_else(|| {
                Failure::new(ErrorKind::NotFound, "the domain does not have a current snapshot")
            })
        }
    }
}

async fn all(dom: &str, session: &mut Session) -> Result<Vec<SnapshotView>, Failure> {
    session.client().await?.snapshots(dom).await.on_domain(dom, "")
}

/// `lodge snapshot tree`.
pub async fn tree(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let all = all(dom, session).await?;
    session.show(&all, |all| drawn(all));
    Ok(())
}

#[derive(Debug, Default, Args)]
pub struct List {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// add a column showing parent snapshot
    #[arg(long)]
    parent: bool,
    /// list only snapshots without parents
    #[arg(long)]
    roots: bool,
    /// list only snapshots without children
    #[arg(long)]
    leaves: bool,
    /// list only snapshots that are not leaves (with children)
    #[arg(long)]
    no_leaves: bool,
    /// list only snapshots that have metadata that would prevent undefine
    #[arg(long)]
    metadata: bool,
    /// list only snapshots that have no metadata managed by libvirt
    #[arg(long)]
    no_metadata: bool,
    /// filter by snapshots taken while inactive
    #[arg(long)]
    inactive: bool,
    /// filter by snapshots taken while active (full system snapshots)
    #[arg(long)]
    active: bool,
    /// filter by disk-only snapshots
    #[arg(long)]
    disk_only: bool,
    /// filter by internal snapshots
    #[arg(long)]
    internal: bool,
    /// filter by external snapshots
    #[arg(long)]
    external: bool,
    /// list snapshots in a tree
    #[arg(long)]
    tree: bool,
    /// limit list to children of given snapshot
    #[arg(long, value_name = "string")]
    from: Option<String>,
    /// limit list to children of current snapshot
    #[arg(long)]
    current: bool,
    /// with --from, list all descendants
    #[arg(long)]
    descendants: bool,
    /// list snapshot names only
    #[arg(long)]
    name: bool,
    /// sort list topologically rather than by name
    #[arg(long)]
    topological: bool,
}

impl List {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        for (one, other, words) in [
            (self.tree, self.name, "--tree and --name"),
            (self.parent, self.roots, "--parent and --roots"),
            (self.parent, self.tree, "--parent and --tree"),
            (self.roots, self.tree, "--roots and --tree"),
            (self.roots, self.from.is_some(), "--roots and --from"),
            (self.roots, self.current, "--roots and --current"),
            (self.from.is_some(), self.current, "--from and --current"),
        ] {
            if one && other {
                return Err(invalid(format!("Options {words} are mutually exclusive")));
            }
        }
        let mut snapshots = all(&self.domain, session).await?;
        let from = match (&self.from, self.current) {
            (Some(from), _) => Some(from.clone()),
            (None, true) => {
                let which = Which { domain: self.domain.clone(), snapshotname: None, current: true };
                Some(resolve(&which, session).await?)
            }
            (None, false) => None,
        };
        if let Some(from) = from.as_deref().filter(|from| !snapshots.iter().any(|one| one.name == **from)) {
            let text = format!("no domain snapshot with matching name '{from}'");
            return Err(Failure::new(ErrorKind::NotFound, text));
        }
        self.keep(&mut snapshots, from.as_deref());
        session.show(&snapshots, |snapshots| self.text(snapshots, session.quiet()));
        Ok(())
    }

    fn keep(&self, snapshots: &mut Vec<SnapshotView>, from: Option<&str>) {
        if let Some(from) = from {
            let parents: BTreeMap<String, Option<String>> =
                snapshots.iter().map(|one| (one.name.clone(), one.parent.clone())).collect();
            let is_below = |one: &SnapshotView| {
                let above =
                    std::iter::successors(one.parent.clone(), |name| parents.get(name).cloned().flatten());
                let deep = self.descendants || self.tree;
                above.take(if deep { usize::MAX } else { 1 }).any(|name| name == from)
            };
            snapshots.retain(|one| is_below(one) || (self.tree && one.name == from));
        }
        let group = |asked: &[(bool, bool)]| {
            asked.iter().all(|(wanted, _)| !wanted) || asked.iter().any(|(wanted, is)| *wanted && *is)
        };
        snapshots.retain(|one| {
            let (off, disks) = (one.state == "shutoff", one.state == "disk-snapshot");
            let (leaf, external) = (one.children == 0, one.location == "external");
            (!self.roots || one.parent.is_none())
                && group(&[(self.leaves, leaf), (self.no_leaves, !leaf)])
                && group(&[(self.metadata, true), (self.no_metadata, false)])
                && group(&[(self.inactive, off), (self.active, !off && !disks), (self.disk_only, disks)])
                && group(&[(self.internal, !external), (self.external, external)])
        });
        if !self.topological {
            snapshots.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }

    fn text(&self, snapshots: &[SnapshotView], quiet: bool) -> String {
        if self.tree {
            return drawn(snapshots);
        }
        if self.name {
            return output::lines(snapshots.iter().map(|snapshot| &snapshot.name));
        }
        let row = |snapshot: &SnapshotView| {
            let mut row =
                vec![snapshot.name.clone(), local_time(snapshot.created_ms), snapshot.state.clone()];
            if self.parent {
                row.push(snapshot.parent.clone().unwrap_or_default());
            }
            row
        };
        let rows: Vec<_> = snapshots.iter().map(row).collect();
        let mut heading = vec!["Name", "Creation Time", "State"];
        if self.parent {
            heading.push("Parent");
        }
        output::table(&heading, &rows, quiet)
    }
}

/// virsh's form: with the zone.
fn local_time(time_ms: u64) -> String {
    let time = i64::try_from(time_ms).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    let zone = jiff::tz::TimeZone::system();
    time.map_or_else(
        || "-".to_owned(),
        |time| time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %z").to_string(),
    )
}

/// virsh's drawing of a tree.
fn drawn(snapshots: &[SnapshotView]) -> String {
    let is_there = |name: &str| snapshots.iter().any(|one| one.name == name);
    let mut text = String::new();
    for root in snapshots.iter().filter(|one| !one.parent.as_deref().is_some_and(is_there)) {
        branch(&mut text, snapshots, root, &mut String::new(), true, true);
    }
    text
}

fn branch(
    text: &mut String,
    all: &[SnapshotView],
    own: &SnapshotView,
    indent: &mut String,
    is_root: bool,
    is_last: bool,
) {
    let mark = if is_root { "" } else { "+- " };
    writeln!(text, "{indent}{mark}{}", own.name).expect("a String takes all");
    if !is_root {
        indent.push_str(if is_last { "  " } else { "| " });
    }
    let children: Vec<_> = all.iter().filter(|one| one.parent.as_ref() == Some(&own.name)).collect();
    if !children.is_empty() {
        writeln!(text, "{indent}  |").expect("a String takes all");
    }
    indent.push_str("  ");
    for (at, child) in children.iter().enumerate() {
        branch(text, all, child, indent, false, at + 1 == children.len());
    }
    indent.truncate(indent.len() - 2);
    if children.is_empty() && is_last {
        writeln!(text, "{indent}").expect("a String takes all");
    }
    if !is_root {
        indent.truncate(indent.len() - 2);
    }
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    which: Which,
}

impl Info {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let name = resolve(&self.which, session).await?;
        let view = session.client().await?.snapshot(&self.which.domain, &name).await;
        let view = view.what(|| format!("Failed to look at snapshot '{name}'"))?;
        session.show(&view, facts);
        Ok(())
    }
}

fn facts(view: &SnapshotView) -> String {
    let mut text = String::new();
    output::field(&mut text, "Name", &view.name);
    output::field(&mut text, "Domain", &view.domain);
    output::field(&mut text, "Current", if view.current { "yes" } else { "no" });
    output::field(&mut text, "State", &view.state);
    output::field(&mut text, "Location", &view.location);
    output::field(&mut text, "Parent", view.parent.as_deref().unwrap_or("-"));
    output::field(&mut text, "Children", view.children);
    output::field(&mut text, "Descendants", view.descendants);
    output::field(&mut text, "Metadata", "yes");
    text
}

#[derive(Debug, Args)]
pub struct Parent {
    #[command(flatten)]
    which: Which,
}

impl Parent {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let name = resolve(&self.which, session).await?;
        let view = session.client().await?.snapshot(&self.which.domain, &name).await;
        let view = view.what(|| format!("Failed to look at snapshot '{name}'"))?;
        let Some(parent) = view.parent else {
            return Err(Failure::new(ErrorKind::NotFound, format!("snapshot '{name}' has no parent")));
        };
        session.show(&parent, |parent| format!("{parent}\n"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn view(name: &str, parent: Option<&str>, children: u32) -> SnapshotView {
        SnapshotView {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            state: "shutoff".to_owned(),
            location: "internal".to_owned(),
            children,
            ..SnapshotView::default()
        }
    }

    fn views() -> Vec<SnapshotView> {
        vec![
            view("s1", None, 2),
            view("s2", Some("s1"), 1),
            view("s3", Some("s1"), 0),
            view("a4", Some("s2"), 0),
        ]
    }

    /// Compared with virsh's own drawing of the same tree.
    #[test]
    fn the_tree_is_virshs() {
        let wanted = "s1\n  |\n  +- s2\n  |   |\n  |   +- a4\n  |     \n  +- s3\n    \n";
        assert_eq!(drawn(&views()), wanted);
    }

    #[test]
    fn filters_are_virshs() {
        let names = |list: List, from: Option<&str>| {
            let mut views = views();
            list.keep(&mut views, from);
            views.into_iter().map(|view| view.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(List::default(), None), "a4 s1 s2 s3");
        assert_eq!(names(List { topological: true, ..List::default() }, None), "s1 s2 s3 a4");
        assert_eq!(names(List { roots: true, ..List::default() }, None), "s1");
        assert_eq!(names(List { leaves: true, ..List::default() }, None), "a4 s3");
        assert_eq!(names(List { active: true, ..List::default() }, None), "");
        assert_eq!(names(List::default(), Some("s1")), "s2 s3");
        assert_eq!(names(List { descendants: true, ..List::default() }, Some("s1")), "a4 s2 s3");
        assert_eq!(names(List { no_metadata: true, ..List::default() }, None), "");
    }

    #[test]
    fn facts_are_virshs() {
        let view = SnapshotView { domain: "web1".to_owned(), current: true, ..view("s2", Some("s1"), 1) };
        expect![[r"
            Name:           s2
            Domain:         web1
            Current:        yes
            State:          shutoff
            Location:       internal
            Parent:         s1
            Children:       1
            Descendants:    0
            Metadata:       yes
        "]]
        .assert_eq(&facts(&view));
    }
}
