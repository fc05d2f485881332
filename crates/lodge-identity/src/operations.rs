//! virt-sysprep's operations by their names, and those that it has no name for.
//!
//! Deliberately absent: what an operation does. That stands where its items stand.

use std::collections::BTreeSet;

use super::{Catalogue, Operations};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// Whether it is done where nothing is said.
    pub is_default: bool,
    /// What it does, in a few words.
    pub description: &'static str,
    /// Why it cannot be done here. None: it can.
    pub unsupported: Option<&'static str>,
}

/// A name that is none, or one that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownOperation {
    /// Nobody knows it.
    #[error("`{0}` is no operation")]
    Unknown(String),
    /// It is virt-sysprep's, and not here.
    #[error("the operation `{name}` is not supported: {why}")]
    Unsupported {
        /// Which.
        name: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl UnknownOperation {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("see the names with `lodge sysprep --list-operations`".to_owned()),
            Self::Unsupported { .. } => None,
        }
    }
}

const fn on(name: &'static str, description: &'static str) -> Operation {
    Operation { name, is_default: true, description, unsupported: None }
}

const fn off(name: &'static str, description: &'static str) -> Operation {
    Operation { name, is_default: false, description, unsupported: None }
}

const fn never(name: &'static str, description: &'static str, why: &'static str) -> Operation {
    Operation { name, is_default: false, description, unsupported: Some(why) }
}

/// All of them, by name.
pub const OPERATIONS: &[Operation] = &[
    on("abrt-data", "Remove reports of the crash reporter"),
    on("agents", "Remove or renew the ids by which agents' servers know the machine"),
    on("backup-files", "Remove editors' backups in /etc and the home directories"),
    on("bash-history", "Remove shells' and other programs' histories"),
    on("blkid-tab", "Remove blkid's list of devices"),
    off("ca-certificates", "Remove certificates of authorities that were added"),
    on("cloud-init", "Make cloud-init take the machine for a new instance"),
    off("cluster", "Remove the ids by which a cluster knows the machine"),
    on("crash-data", "Remove dumps of crashed programs and kernels"),
    on("cron-spool", "Remove users' cron tables and at jobs"),
    on("customize", "Do what --write, --ssh-inject, --password and their kin say"),
    on("dhcp-client-state", "Remove DHCP clients' leases and ids"),
    on("dhcp-server-state", "Remove the leases that a DHCP server in the guest gave"),
    on("disk-ids", "Give disks and partitions new GUIDs (of clones)"),
    on("dovecot-data", "Remove the state of the mail server"),
    off("firewall-rules", "Remove the firewall's own rules"),
    off("flag-reconfiguration", "Have the guest ask its questions of the first boot again"),
    off("fs-uuids", "Give file systems and swap new UUIDs, with all that refers to them (clones: always)"),
    off("hostid", "Renew the number of gethostid(3)"),
    on("ipa-client", "Remove the membership of a FreeIPA realm"),
    on("iscsi-initiator", "Renew the name of the iSCSI initiator"),
    off("kerberos-data", "Remove the data of a Kerberos server"),
    on("kerberos-hostkeytab", "Remove the key by which a Kerberos realm knows the machine"),
    on("logfiles", "Remove logs"),
    on("lvm-system-devices", "Bring LVM's list of devices up to date"),
    on("lvm-uuids", "Give LVM's volumes and groups new UUIDs (clones: always)"),
    on("machine-id", "Empty or renew the machine id of systemd and D-Bus"),
    on("mail-spool", "Remove mailboxes and queued mail"),
    off("net-address", "Have cards with a static address ask DHCP for one (Lodge's own templates: always)"),
    on("net-hostname", "Remove or renew the host name"),
    on("net-hwaddr", "Remove or renew NICs' addresses in configurations"),
    on("net-nmconn", "Remove what NetworkManager learned, and renew its connections' UUIDs"),
    on("nvme-host-id", "Renew the id that NVMe controllers know the machine by"),
    on("nvme-host-nqn", "Renew the name that NVMe controllers know the machine by"),
    on("pacct-log", "Remove the accounting of processes"),
    on("package-manager-cache", "Remove fetched packages"),
    on("pam-data", "Remove PAM's state"),
    on("passwd-backups", "Remove backups of the accounts"),
    on("popularity-contest", "Renew Debian's id of the machine in its package survey"),
    on("private-keys", "Treat users' and services' private keys as the policy says"),
    on("puppet-data-log", "Remove Puppet's data and logs"),
    on("credential-secret", "Remove the key of systemd's encrypted credentials"),
    on("random-seed", "Renew the random state saved for the next boot"),
    on("rh-subscription-manager", "Remove a Red Hat subscription"),
    on("rhn-systemid", "Remove the id of a system registered with Satellite 5 or SUSE Manager"),
    on("rpm-db", "Remove RPM's shared state"),
    on("samba-db-log", "Remove Samba's databases and logs"),
    never("script", "Run scripts over the mounted disk", "a guest's file system is not mounted here"),
    on("smolt-uuid", "Renew Smolt's id of the hardware"),
    on("snapd-serial", "Remove the serial number by which the Snap store knows the machine"),
    on("ssh-hostkeys", "Remove or renew SSH host keys"),
    on("ssh-userdir", "Remove users' .ssh directories (of templates)"),
    on("sssd-db-log", "Remove SSSD's databases and logs"),
    on("suse-connect", "Remove the registration with the SUSE Customer Center"),
    on("tmp-files", "Remove temporary files"),
    on("ubuntu-pro", "Remove the machine's token of Ubuntu Pro"),
    on("udev-persistent-net", "Remove names that udev gave to NICs"),
    off(
        "user-account",
        "Remove the users that people have, with their homes (--keep-user-accounts, --remove-user-accounts)",
    ),
    on("utmp", "Remove the record of logins"),
    on("yum-uuid", "Remove package managers' ids of the machine"),
];

/// The operation of a name.
pub(crate) fn of(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

fn known<'a>(is_meant: impl Fn(&Operation) -> bool) -> impl Iterator<Item = &'a str> {
    OPERATIONS.iter().filter(move |operation| is_meant(operation)).map(|operation| operation.name)
}

impl Catalogue {
    /// As [`Operations::parse`], also with the operations of the owner's rules.
    pub fn operations(&self, list: &str) -> Result<Operations, UnknownOperation> {
        let own = self.rules.iter().map(|rule| rule.operation.as_str()).filter(|name| of(name).is_none());
        Operations::parse_with(list, &own.collect())
    }
}

impl Operations {
    /// What `--operations` and `--enable` say: names, `defaults` and `all`, each with `-` before it to take it away
    /// again, from left to right.
    pub fn parse(list: &str) -> Result<Self, UnknownOperation> {
        Self::parse_with(list, &BTreeSet::new())
    }

    /// The same, beside operations of the owner's rules, which are done by default.
    fn parse_with(list: &str, own: &BTreeSet<&str>) -> Result<Self, UnknownOperation> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (is_less, word) = word.strip_prefix('-').map_or((false, word), |word| (true, word));
            let these: Vec<&str> = match word {
                "all" => {
                    known(|operation| operation.unsupported.is_none()).chain(own.iter().copied()).collect()
                }
                "defaults" => known(|operation| operation.is_default).chain(own.iter().copied()).collect(),
                name => match (of(name), own.get(name)) {
                    (Some(Operation { name, unsupported: Some(why), .. }), _) if !is_less => {
                        return Err(UnknownOperation::Unsupported { name, why });
                    }
                    (Some(operation), _) => vec![operation.name],
                    (None, Some(name)) => vec![*name],
                    (None, None) => return Err(UnknownOperation::Unknown(name.escape_debug().to_string())),
                },
            };
            for name in these {
                if is_less {
                    names.remove(name);
                } else {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(Self::Only(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_operations_are_read_from_left_to_right() {
        let names = |list: &str| match Operations::parse(list) {
            Ok(Operations::Only(names)) => names,
            other => panic!("{other:?}"),
        };
        assert_eq!(names("machine-id, ssh-hostkeys").len(), 2);
        let defaults = names("defaults,-machine-id,firewall-rules");
        assert!(!defaults.contains("machine-id") && defaults.contains("firewall-rules"));
        assert!(defaults.contains("logfiles") && !defaults.contains("fs-uuids"));
        assert!(!names("all").contains("script"));
    }

    #[test]
    fn the_owners_rules_are_operations_too() {
        let rule =
            "[[rule]]\nname = 'licence'\nwhat = 'x'\npaths = ['/a']\nkind = 'id'\nreset = 'new-uuid'\n";
        let catalogue = Catalogue::builtin().with("x", rule).unwrap();
        let names = |list: &str| match catalogue.operations(list) {
            Ok(Operations::Only(names)) => names,
            other => panic!("{other:?}"),
        };
        assert!(names("defaults").contains("licence") && names("licence").len() == 1);
        assert!(!names("defaults,-licence").contains("licence"));
        assert!(Operations::parse("licence").is_err());
    }

    #[test]
    fn what_is_not_done_says_so_by_name() {
        assert_eq!(Operations::parse("colour").unwrap_err().to_string(), "`colour` is no operation");
        let fault = Operations::parse("script").unwrap_err().to_string();
        assert!(fault.starts_with("the operation `script` is not supported"), "{fault}");
        assert!(Operations::parse("all,-script").is_ok());
    }

    /// What `virt-sysprep --list-operations` of version 1.48.2 prints, the marked ones with a star.
    const THEIRS: &str = "abrt-data* backup-files* bash-history* blkid-tab* ca-certificates crash-data* cron-spool* customize* \
        dhcp-client-state* dhcp-server-state* dovecot-data* firewall-rules flag-reconfiguration fs-uuids ipa-client* \
        kerberos-data kerberos-hostkeytab* logfiles* lvm-uuids* machine-id* mail-spool* net-hostname* net-hwaddr* net-nmconn* \
        pacct-log* package-manager-cache* pam-data* passwd-backups* puppet-data-log* rh-subscription-manager* rhn-systemid* \
        rpm-db* samba-db-log* script* smolt-uuid* ssh-hostkeys* ssh-userdir* sssd-db-log* tmp-files* udev-persistent-net* \
        user-account utmp* yum-uuid*";

    #[test]
    fn each_of_virt_syspreps_operations_is_known_and_done_where_it_does_it() {
        for word in THEIRS.split_whitespace() {
            let name = word.trim_end_matches('*');
            let ours = of(name).unwrap_or_else(|| panic!("{name} is not known"));
            if name == "script" {
                assert!(ours.unsupported.is_some() && !ours.is_default);
                continue;
            }
            assert_eq!((ours.is_default, ours.unsupported), (word.ends_with('*'), None), "{name}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
