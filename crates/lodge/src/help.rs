//! `help`: the verbs by group, one group, one verb. The groups of virsh keep virsh's titles and keywords.

use clap::{Args, Command};

use crate::args;
use crate::failure::{EXIT_CODES, Failure, invalid};

/// A group of verbs.
struct Group {
    title: &'static str,
    keyword: &'static str,
    /// Whether virsh has these verbs too.
    of_virsh: bool,
    verbs: &'static [&'static str],
}

const GROUPS: [Group; 14] = [
    Group {
        title: "Instances",
        keyword: "instance",
        of_virsh: false,
        verbs: &["run", "ssh", "ip", "wait", "readiness", "rm", "seed", "key"],
    },
    Group { title: "Images and Jobs", keyword: "image", of_virsh: false, verbs: &["image", "job", "event"] },
    Group {
        title: "Machines and their Identity",
        keyword: "machine",
        of_virsh: false,
        verbs: &["clone", "template", "identity", "sysprep", "virt-clone", "explain"],
    },
    Group {
        title: "Domain Management",
        keyword: "domain",
        of_virsh: true,
        verbs: &[
            "attach-device",
            "attach-disk",
            "attach-interface",
            "autostart",
            "blockcommit",
            "blockcopy",
            "blockjob",
            "blockpull",
            "blockresize",
            "change-media",
            "console",
            "create",
            "define",
            "desc",
            "destroy",
            "detach-device",
            "detach-disk",
            "detach-interface",
            "domblkthreshold",
            "domid",
            "domname",
            "domrename",
            "domuuid",
            "dumpxml",
            "edit",
            "managedsave",
            "managedsave-remove",
            "metadata",
            "migrate",
            "reboot",
            "reset",
            "restore",
            "resume",
            "save",
            "schedinfo",
            "screenshot",
            "send-key",
            "setmaxmem",
            "setmem",
            "setvcpus",
            "shutdown",
            "start",
            "suspend",
            "undefine",
            "update-device",
            "vcpuinfo",
        ],
    },
    Group {
        title: "Domain Monitoring",
        keyword: "monitor",
        of_virsh: true,
        verbs: &[
            "cpu-stats",
            "domblkerror",
            "domblkinfo",
            "domblklist",
            "domblkstat",
            "domifaddr",
            "domiflist",
            "domifstat",
            "dominfo",
            "dommemstat",
            "domstate",
            "domstats",
            "domtime",
            "list",
        ],
    },
    Group {
        title: "Snapshot",
        keyword: "snapshot",
        of_virsh: true,
        verbs: &[
            "snapshot-create",
            "snapshot-create-as",
            "snapshot-current",
            "snapshot-delete",
            "snapshot-dumpxml",
            "snapshot-edit",
            "snapshot-info",
            "snapshot-list",
            "snapshot-parent",
            "snapshot-revert",
        ],
    },
    Group {
        title: "Network Filter",
        keyword: "filter",
        of_virsh: true,
        verbs: &[
            "nwfilter-binding-create",
            "nwfilter-binding-delete",
            "nwfilter-binding-dumpxml",
            "nwfilter-binding-list",
            "nwfilter-define",
            "nwfilter-dumpxml",
            "nwfilter-edit",
            "nwfilter-list",
            "nwfilter-undefine",
        ],
    },
    Group {
        title: "Networking",
        keyword: "network",
        of_virsh: true,
        verbs: &[
            "net-autostart",
            "net-create",
            "net-define",
            "net-destroy",
            "net-dhcp-leases",
            "net-dumpxml",
            "net-edit",
            "net-info",
            "net-list",
            "net-name",
            "net-start",
            "net-undefine",
            "net-update",
            "net-uuid",
        ],
    },
    Group {
        title: "Storage Pool",
        keyword: "pool",
        of_virsh: true,
        verbs: &[
            "find-storage-pool-sources",
            "find-storage-pool-sources-as",
            "pool-autostart",
            "pool-build",
            "pool-capabilities",
            "pool-create",
            "pool-create-as",
            "pool-define",
            "pool-define-as",
            "pool-delete",
            "pool-destroy",
            "pool-dumpxml",
            "pool-edit",
            "pool-event",
            "pool-info",
            "pool-list",
            "pool-name",
            "pool-refresh",
            "pool-start",
            "pool-undefine",
            "pool-uuid",
        ],
    },
    Group {
        title: "Secret",
        keyword: "secret",
        of_virsh: true,
        verbs: &[
            "secret-define",
            "secret-dumpxml",
            "secret-event",
            "secret-get-value",
            "secret-list",
            "secret-set-value",
            "secret-undefine",
        ],
    },
    Group {
        title: "Storage Volume",
        keyword: "volume",
        of_virsh: true,
        verbs: &[
            "vol-clone",
            "vol-create",
            "vol-create-as",
            "vol-create-from",
            "vol-delete",
            "vol-download",
            "vol-dumpxml",
            "vol-info",
            "vol-key",
            "vol-list",
            "vol-name",
            "vol-path",
            "vol-pool",
            "vol-resize",
            "vol-upload",
            "vol-wipe",
        ],
    },
    Group {
        title: "Host and Hypervisor",
        keyword: "host",
        of_virsh: true,
        verbs: &[
            "capabilities",
            "cpu-baseline",
            "cpu-compare",
            "cpu-models",
            "domcapabilities",
            "freecell",
            "hostname",
            "hypervisor-cpu-baseline",
            "hypervisor-cpu-compare",
            "hypervisor-cpu-models",
            "maxvcpus",
            "nodecpumap",
            "nodecpustats",
            "nodeinfo",
            "nodememstats",
            "sysinfo",
            "uri",
            "version",
        ],
    },
    Group {
        title: "Shell",
        keyword: "shell",
        of_virsh: true,
        verbs: &["cd", "connect", "echo", "exit", "help", "pwd", "quit"],
    },
    Group {
        title: "Lodge itself",
        keyword: "lodge",
        of_virsh: false,
        verbs: &[
            "host",
            "adopt",
            "network",
            "pool",
            "volume",
            "storage",
            "chain",
            "disk",
            "files",
            "snapshot",
            "shell",
            "daemon",
            "netd",
            "sasl-user",
            "install-links",
            "completion",
            "man",
        ],
    },
];

/// Prints the commands by group, one group, or one command
#[derive(Debug, Args)]
pub struct Help {
    /// A command, a group's keyword, or `exit-codes`
    #[arg(value_name = "command")]
    command: Option<String>,
}

impl Help {
    /// The text.
    pub fn text(&self) -> Result<String, Failure> {
        let mut grammar = args::grammar();
        // Lays the options for everywhere over every command.
        grammar.build();
        let Some(asked) = self.command.as_deref() else { return Ok(groups(&grammar)) };
        if asked == "exit-codes" {
            return Ok(exit_codes());
        }
        // A verb wins over a group of the same name, but for those where virsh knows the group.
        let group = GROUPS.iter().find(|group| group.keyword == asked);
        if let Some(group) = group.filter(|group| group.of_virsh || grammar.find_subcommand(asked).is_none())
        {
            let mut text = list(&grammar, group);
            if let Some(verb) = grammar.find_subcommand(asked).filter(|verb| verb.has_subcommands()) {
                text += &format!("\n{}", verb.clone().bin_name(format!("lodge {asked}")).render_long_help());
            }
            return Ok(text);
        }
        let Some(verb) = grammar.find_subcommand(asked).filter(|verb| !verb.is_hide_set()) else {
            return Err(invalid(format!("command or command group '{asked}' doesn't exist"))
                .hint("`lodge help` lists the commands"));
        };
        Ok(verb.clone().bin_name(format!("lodge {asked}")).render_long_help().to_string())
    }
}

/// Whether virsh has this verb too.
pub fn is_of_virsh(verb: &str) -> bool {
    GROUPS.iter().any(|group| group.of_virsh && group.verbs.contains(&verb))
}

/// What `lodge --help` prints.
pub fn overview(grammar: &Command) -> String {
    let about = grammar.get_about().map(ToString::to_string).unwrap_or_default();
    format!(
        "{about}\n\nUsage: lodge [--connect URI] [--output table|json] [--quiet] COMMAND …\n\n{}\n\
         `lodge help COMMAND` tells a command's options, `lodge help exit-codes` the exit codes, `lodge shell` is the\n\
         interactive shell. The verbs of virsh have virsh's meaning, columns and exit codes.\n",
        groups(grammar)
    )
}

fn groups(grammar: &Command) -> String {
    let lists: Vec<_> = GROUPS.iter().map(|group| list(grammar, group)).collect();
    format!("Grouped commands:\n\n{}", lists.join("\n"))
}

/// virsh's form of a group.
fn list(grammar: &Command, group: &Group) -> String {
    let mut text = format!(" {} (help keyword '{}'):\n", group.title, group.keyword);
    for verb in group.verbs {
        let about = grammar.find_subcommand(verb).and_then(Command::get_about).map(ToString::to_string);
        text += &format!("    {verb:30} {}\n", about.unwrap_or_default());
    }
    text
}

fn exit_codes() -> String {
    let mut text = "Exit codes:\n\n".to_owned();
    for (code, meaning) in EXIT_CODES {
        text += &format!("    {code:2}  {meaning}\n");
    }
    text + "\n`lodge ssh` ends with the code of the command it ran.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_one_group_and_has_its_line() {
        let grammar = args::grammar();
        for verb in grammar.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            let count = GROUPS.iter().filter(|group| group.verbs.contains(&name)).count();
            assert_eq!(count, 1, "`{name}` is in {count} groups");
            assert!(verb.get_about().is_some(), "`{name}` has no help");
            for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "`{name}`: `{}` has no help", argument.get_id());
            }
        }
        for verb in GROUPS.iter().flat_map(|group| group.verbs) {
            assert!(grammar.find_subcommand(verb).is_some(), "`{verb}` is listed and not there");
        }
    }

    #[test]
    fn a_group_a_verb_and_an_unknown_word() {
        let text = |word: &str| Help { command: Some(word.to_owned()) }.text();
        assert!(
            text("monitor")
                .unwrap()
                .starts_with(" Domain Monitoring (help keyword 'monitor'):\n    cpu-stats  ")
        );
        assert!(text("start").unwrap().contains("--paused"));
        assert!(text("exit-codes").unwrap().contains(" 3  no such thing"));
        assert!(text("nosuch").is_err());
    }
}
