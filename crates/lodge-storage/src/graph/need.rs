//! Why somebody needs a file, and what to do about it. Pure.

use std::{fmt, path::PathBuf, sync::Arc};

use lodge_model::DomainId;

use crate::ports::Part;

/// One reason why a file's bytes must stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// A guest that runs has it.
    Running {
        /// The guest.
        guest: Arc<str>,
        /// Its identity.
        id: DomainId,
        /// How it uses it: "it writes to it".
        how: &'static str,
    },
    /// An act of ours is at it.
    Act {
        /// Which: "a commit".
        what: Arc<str>,
        /// What the act is known by among those that have files.
        id: DomainId,
    },
    /// A guest's definition names it.
    Defined {
        /// The guest.
        guest: Arc<str>,
        /// Its identity.
        id: DomainId,
        /// As what.
        part: Part,
        /// The guest writes to it.
        writes: bool,
        /// Together with others that do.
        shareable: bool,
    },
    /// A snapshot of a guest is kept in it.
    Snapshot {
        /// The guest.
        guest: Arc<str>,
        /// The snapshot's name.
        snapshot: Arc<str>,
        /// Inside the file; else it is the file as it stands.
        inside: bool,
    },
    /// Another file stands on it.
    Backing {
        /// The file that names it.
        path: PathBuf,
    },
    /// It is a registered image.
    Image {
        /// The image's name.
        name: String,
    },
    /// It was made a template.
    Template,
    /// A program that is none of ours has it open and locked.
    Locked {
        /// Its process, if the kernel tells.
        pid: Option<i32>,
    },
}

impl Need {
    /// The guest's name, where it is a guest's need.
    pub fn guest(&self) -> Option<&str> {
        match self {
            Self::Running { guest, .. } | Self::Defined { guest, .. } | Self::Snapshot { guest, .. } => {
                Some(guest)
            }
            Self::Act { .. }
            | Self::Backing { .. }
            | Self::Image { .. }
            | Self::Template
            | Self::Locked { .. } => None,
        }
    }

    /// What to do so that it needs the file no more.
    pub fn next_step(&self) -> String {
        match self {
            Self::Running { guest, .. } => format!("stop it first: lodge shutdown {guest}"),
            Self::Act { .. } => "wait until that is done".to_owned(),
            Self::Defined { guest, part: Part::Disk(target), .. } => format!(
                "remove the disk from the guest (lodge detach-disk {guest} {target} --config), or the guest with its \
                 disk (lodge undefine {guest} --storage {target})"
            ),
            Self::Defined { guest, .. } => {
                format!("correct the guest's definition first: lodge edit {guest}")
            }
            Self::Snapshot { guest, snapshot, .. } => {
                format!("delete the snapshot first: lodge snapshot-delete {guest} {snapshot}")
            }
            Self::Backing { path } => {
                format!("remove `{0}` first, or let it stand alone: lodge chain flatten {0}", path.display())
            }
            Self::Image { name } => format!("remove the image instead: lodge image rm {name}"),
            Self::Template => {
                "let it be no template any more first: lodge chain template FILE --undo".to_owned()
            }
            Self::Locked { .. } => "end that program first".to_owned(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { guest, .. } => write!(f, "domain '{guest}' uses it"),
            Self::Act { what, .. } => write!(f, "{what} is at work on it"),
            Self::Defined { guest, part, .. } => write!(f, "domain '{guest}' has it as its {part}"),
            Self::Snapshot { guest, snapshot, .. } => {
                write!(f, "snapshot '{snapshot}' of domain '{guest}' is kept in it")
            }
            Self::Backing { path } => write!(f, "volume '{}' stands on it", path.display()),
            Self::Image { name } => write!(f, "it is the image '{name}'"),
            Self::Template => f.write_str("it is a template"),
            Self::Locked { pid: None } => f.write_str("another program has locked it"),
            Self::Locked { pid: Some(pid) } => write!(f, "another program has locked it (process {pid})"),
        }
    }
}

/// What is to be done to a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It goes, or becomes unreadable.
    Destroy,
    /// Its bytes are replaced or cut: an upload, a smaller size, a commit into it.
    Change,
    /// It gets longer; the bytes it has stay.
    Grow,
}

/// How much a definition of a guest that does not run weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definitions {
    /// It holds the disk.
    Count,
    /// libvirt's: clients remove a guest's disks before its definition. Only a disk of two guests is held.
    OfOneDoNot,
}

/// The first need that stands against `harm`.
///
/// A guest's own disk may be filled, cut and grown while it is off: that is how it gets its content. What stands on a
/// file, is kept in it, or is somebody else's too, is never touched.
pub fn against(harm: Harm, definitions: Definitions, needs: &[Need]) -> Option<&Need> {
    let guests: Vec<_> = needs
        .iter()
        .filter_map(|need| match need {
            Need::Defined { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    let of_one = guests.iter().all(|id| Some(id) == guests.first());
    let counts = |need: &&Need| match need {
        Need::Defined { writes, shareable, part, .. } => {
            let own = of_one && *writes && !*shareable && matches!(part, Part::Disk(_));
            match (harm, definitions) {
                (Harm::Destroy, Definitions::Count) => true,
                (Harm::Destroy, Definitions::OfOneDoNot) => !of_one,
                (Harm::Change, _) => !own,
                (Harm::Grow, _) => false,
            }
        }
        // Even growing: what stands on a longer file shows bytes that it did not have.
        Need::Template
        | Need::Image { .. }
        | Need::Backing { .. }
        | Need::Snapshot { .. }
        | Need::Running { .. }
        | Need::Act { .. }
        | Need::Locked { .. } => true,
    };
    needs.iter().find(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_of(guest: &str, number: u128, writes: bool) -> Need {
        Need::Defined {
            guest: guest.into(),
            id: DomainId(uuid::Uuid::from_u128(number)),
            part: Part::Disk("vda".to_owned()),
            writes,
            shareable: false,
        }
    }

    #[test]
    fn what_stands_against_what() {
        use Definitions::{Count, OfOneDoNot};
        use Harm::{Change, Destroy, Grow};
        use std::fmt::Write as _;
        let backing = Need::Backing { path: "/p/b".into() };
        let snapshot = Need::Snapshot { guest: "a".into(), snapshot: "s".into(), inside: true };
        let cases = [
            ("nothing", vec![]),
            ("one guest", vec![disk_of("a", 1, true)]),
            ("one reads", vec![disk_of("a", 1, false)]),
            ("two guests", vec![disk_of("a", 1, true), disk_of("b", 2, true)]),
            ("overlay", vec![backing]),
            ("snapshot", vec![disk_of("a", 1, true), snapshot]),
        ];
        let mut table = String::new();
        for (name, needs) in cases {
            let verdicts = [(Destroy, Count), (Destroy, OfOneDoNot), (Change, Count), (Grow, Count)]
                .map(|(harm, definitions)| against(harm, definitions, &needs).map_or("goes", |_| "stays"));
            writeln!(table, "{name:10} {}", verdicts.join(" ")).unwrap();
        }
        expect_test::expect![[r"
            nothing    goes goes goes goes
            one guest  stays goes goes goes
            one reads  stays goes stays goes
            two guests stays stays stays goes
            overlay    stays stays stays stays
            snapshot   stays stays stays stays
        "]]
        .assert_eq(&table);
    }
}
