//! An image is nobody: what makes one machine this machine is taken out of the tree, and the proof that it is.
//!
//! What an identity is stands in the catalogue (`lodge-identity`), the same that clones and templates are judged by:
//! [`strip`] follows its plan, [`verify`] its proof over the tree, and [`crate::prove`] the same over the finished
//! image. A build fails with the name of whatever is found, so no package's new habit slips through unseen. Private
//! keys are never wanted in an image, whoever's they are.
//!
//! Beside it stands what is no identity and may not stay either: the host's traces and what a build must leave empty.

use lodge_identity::{Catalogue, Fresh, HostFacts, Identity, PrivateKeys, Purpose, Wish};
use lodge_model::guest_disk::{Edit, Layout};

use crate::{error::BuildError, tree::Tree};

/// What must hold of a path beside the catalogue.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// In this directory nothing whose name starts and ends so.
    NoNames(&'static str, &'static str, &'static str),
    /// A directory with nothing in it.
    EmptyDir(&'static str),
}

use Rule::{EmptyDir, NoNames};

const RULES: &[Rule] = &[
    // A template may bring its own seed; an image's would be in the way of each guest's.
    EmptyDir("var/lib/cloud/seed"),
    // Rendered networks, whoever wrote them.
    EmptyDir("etc/netplan"),
    // Nobody has a home in it: cloud-init makes the first user.
    EmptyDir("home"),
    // What lies under these mounts nobody would ever see again.
    EmptyDir("run"),
    EmptyDir("tmp"),
    // What the host's apt left.
    EmptyDir("var/lib/apt/lists"),
    EmptyDir("var/cache/apt/archives"),
    NoNames("etc/apt/apt.conf.d", "", "mmdebstrap"),
];

/// Takes everything out that is somebody's.
pub(crate) fn strip(catalogue: &Catalogue, tree: &Tree) -> Result<(), BuildError> {
    for rule in RULES {
        for path in broken(tree, *rule)? {
            tree.remove(&path)?;
        }
    }
    // No device of its own yet: the disk is made of the stripped tree.
    let layout = Layout::default();
    let mut wanted = catalogue.wanted();
    wanted.extend(catalogue.wanted_to_plan());
    let files = tree.survey(&wanted)?;
    let before = catalogue.read(&layout, &files, &HostFacts::default());
    // A template gets nothing new, so there is nothing to be random.
    let mut wish = Wish::new(Purpose::Generalise, Fresh::new([0; 32]));
    wish.private_keys = PrivateKeys::Remove;
    let plan = catalogue.plan(&before, &layout, &files, &wish);
    let plan = plan.map_err(|error| BuildError::Identity { found: vec![error.to_string()] })?;
    plan.edits.iter().filter_map(Edit::as_file).try_for_each(|edit| tree.apply(edit))
}

/// Fails with everything by which the tree would still be somebody.
pub(crate) fn verify(catalogue: &Catalogue, tree: &Tree) -> Result<(), BuildError> {
    let files = tree.survey(&catalogue.wanted())?;
    let identity = catalogue.read(&Layout::default(), &files, &HostFacts::default());
    let mut found = left(catalogue, &identity);
    for rule in RULES {
        found.extend(broken(tree, *rule)?.into_iter().map(|path| format!("/{path} is left")));
    }
    if found.is_empty() { Ok(()) } else { Err(BuildError::Identity { found }) }
}

/// What the catalogue finds, each with its place and the reason.
pub(crate) fn left(catalogue: &Catalogue, identity: &Identity) -> Vec<String> {
    if identity.system.family.is_none() {
        return vec!["no Linux was found in it, so nothing is proven".to_owned()];
    }
    let left = catalogue.clean(identity).into_iter();
    left.map(|left| format!("{} {} ({})", left.kind, left.place, left.why)).collect()
}

/// The paths that break a rule.
fn broken(tree: &Tree, rule: Rule) -> Result<Vec<String>, BuildError> {
    let (dir, start, end) = match rule {
        NoNames(dir, start, end) => (dir, start, end),
        EmptyDir(dir) => (dir, "", ""),
    };
    let names = tree.names(dir)?;
    let is_bad = |name: &&String| name.starts_with(start) && name.ends_with(end);
    Ok(names.iter().filter(is_bad).map(|name| format!("{dir}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Debian that was used: for each item a file, with what it holds.
    const LIVED_IN: &[(&str, &str, &str)] = &[
        ("machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("machine-id", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("host-name", "etc/hostname", "builder\n"),
        ("host-name", "etc/mailname", "builder.example.org\n"),
        ("ssh-host-key", "etc/ssh/ssh_host_ed25519_key", "a key"),
        ("random-seed", "var/lib/systemd/random-seed", "noise"),
        ("random-seed", "boot/efi/loader/random-seed", "noise"),
        ("credential-secret", "var/lib/systemd/credential.secret", "secret"),
        ("resolved-state", "var/lib/private/systemd/resolve/netif/2", "x"),
        ("cloud-init-instance", "var/lib/cloud/data/instance-id", "i-1\n"),
        ("cloud-init-state", "var/lib/cloud/instances/i-1/x", "x"),
        ("cloud-init-state", "var/lib/cloud/sem/x", "x"),
        ("cloud-init-network", "etc/systemd/network/10-cloud-init-eth0.network", "[Match]\n"),
        ("dhcp-lease", "var/lib/dhcp/dhclient.leases", "lease {}\n"),
        ("dhcp-duid", "var/lib/dhcpcd/duid", "00:01"),
        ("dhcp-lease", "var/lib/systemd/network/x", "x"),
        ("network-manager-secret", "var/lib/NetworkManager/secret_key", "x"),
        ("udev-persistent-net", "etc/udev/rules.d/70-persistent-net.rules", "x"),
        (
            "iscsi-initiator",
            "etc/iscsi/initiatorname.iscsi",
            "InitiatorName=iqn.1993-08.org.debian:01:abcdef\n",
        ),
        ("nvme-host-id", "etc/nvme/hostid", "2cd2c43b-a90a-45c1-a8cd-86b33ab273b5\n"),
        (
            "nvme-host-nqn",
            "etc/nvme/hostnqn",
            "nqn.2014-08.org.nvmexpress:uuid:2cd2c43b-a90a-45c1-a8cd-86b33ab273b5\n",
        ),
        (
            "popularity-contest",
            "etc/popularity-contest.conf",
            "MY_HOSTID=\"0123456789abcdef0123456789abcdef\"\n",
        ),
        ("tls-key", "etc/ssl/private/ssl-cert-snakeoil.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("user-ssh-key", "root/.ssh/id_ed25519", "a key"),
        ("shell-history", "root/.bash_history", "ls\n"),
        ("logfiles", "var/log/apt/history.log", "x"),
        ("journal", "var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "x"),
        ("utmp", "var/log/lastlog", "x"),
        ("tmp-files", "var/tmp/x", "x"),
        ("debconf-backup", "var/cache/debconf/config.dat-old", "x"),
        ("passwd-backups", "etc/shadow-", "x"),
    ];

    fn debian() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.write("etc/os-release", b"ID=debian\n", 0o644).unwrap();
        tree.write("etc/passwd", b"root:x:0:0::/root:/bin/bash\n", 0o644).unwrap();
        tree.write("etc/machine-id", b"", 0o444).unwrap();
        tree.write("etc/hostname", b"localhost\n", 0o644).unwrap();
        tree.write("usr/sbin/sshd", b"", 0o755).unwrap();
        tree.write("var/log/README", b"why", 0o644).unwrap();
        tree.make_dir("var/log/private", 0o700).unwrap();
        (dir, tree)
    }

    fn found(tree: &Tree) -> Vec<String> {
        match verify(&Catalogue::builtin(), tree) {
            Err(BuildError::Identity { found }) => found,
            other => panic!("found nothing: {other:?}"),
        }
    }

    #[test]
    fn a_tree_that_is_nobody_is_proven() {
        let (_dir, tree) = debian();
        verify(&Catalogue::builtin(), &tree).unwrap();
        strip(&Catalogue::builtin(), &tree).unwrap();
        verify(&Catalogue::builtin(), &tree).unwrap();
    }

    #[test]
    fn each_item_alone_fails_the_build_by_its_name() {
        for (item, path, text) in LIVED_IN {
            let (_dir, tree) = debian();
            tree.write(path, text.as_bytes(), 0o600).unwrap();
            let found = found(&tree);
            assert!(found.iter().any(|line| line.starts_with(&format!("{item} /"))), "{item}: {found:#?}");
            strip(&Catalogue::builtin(), &tree).unwrap();
            verify(&Catalogue::builtin(), &tree).unwrap_or_else(|error| panic!("{item}: {error}"));
        }
    }

    #[test]
    fn all_of_it_together_goes_and_the_rest_stays() {
        let (dir, tree) = debian();
        for (_, path, text) in LIVED_IN {
            tree.write(path, text.as_bytes(), 0o600).unwrap();
        }
        for rule in RULES {
            let (NoNames(dir, ..) | EmptyDir(dir)) = rule;
            tree.write(&format!("{dir}/sub/mmdebstrap"), b"x", 0o644).unwrap();
            tree.write(&format!("{dir}/99mmdebstrap"), b"x", 0o644).unwrap();
        }
        let before = found(&tree);
        for rule in RULES {
            let (NoNames(dir, ..) | EmptyDir(dir)) = rule;
            assert!(before.iter().any(|line| line.starts_with(&format!("/{dir}/"))), "{dir}: {before:#?}");
        }
        strip(&Catalogue::builtin(), &tree).unwrap();
        verify(&Catalogue::builtin(), &tree).unwrap();
        assert_eq!(tree.read("var/log/README").unwrap(), b"why");
        assert!(tree.has("var/log/private").unwrap() && tree.has("var/log/apt").unwrap());
        assert_eq!(tree.read("etc/hostname").unwrap(), b"localhost\n");
        // Empty and not missing: systemd would take the first boot for a factory reset, machine-id(5).
        assert_eq!(tree.read("etc/machine-id").unwrap(), b"");
        let dbus = std::fs::read_link(dir.path().join("var/lib/dbus/machine-id")).unwrap();
        assert_eq!(dbus.to_str(), Some("/etc/machine-id"));
    }

    #[test]
    fn a_tree_without_a_machine_id_is_refused() {
        let (_dir, tree) = debian();
        tree.remove("etc/machine-id").unwrap();
        assert_eq!(found(&tree), ["machine-id /etc/machine-id (it must be there and empty)"]);
        strip(&Catalogue::builtin(), &tree).unwrap();
        verify(&Catalogue::builtin(), &tree).unwrap();
    }

    #[test]
    fn nothing_is_proven_of_a_tree_without_a_system() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!(found(&tree), ["no Linux was found in it, so nothing is proven"]);
    }

    #[test]
    fn a_rule_of_the_owners_holds_for_images_too() {
        let (_dir, tree) = debian();
        tree.write("opt/ours/licence.id", b"4711\n", 0o644).unwrap();
        let rule = "[[rule]]\nname = 'licence'\nwhat = 'our licence'\npaths = ['/opt/ours/*']\nkind = 'id'\n\
                    reset = 'new-uuid'\n";
        let catalogue = Catalogue::builtin().with("ours.toml", rule).unwrap();
        verify(&Catalogue::builtin(), &tree).unwrap();
        let Err(BuildError::Identity { found }) = verify(&catalogue, &tree) else { panic!("found nothing") };
        assert_eq!(found, ["licence /opt/ours/licence.id (our licence)"]);
        strip(&catalogue, &tree).unwrap();
        assert!(!tree.has("opt/ours/licence.id").unwrap());
    }
}
