//! `virt-clone`: the options of virt-manager's program, as its users and scripts know them.
//!
//! Unlike there, what lies inside the clone gets an identity of its own; `--keep-identity` leaves it. What has no meaning
//! here is refused by name (`check.rs`), and nothing is taken and then not minded.

mod check;

use clap::Args;
use lodge_client::api::{CloneReport, CloneSpec, DomainFilter, ErrorKind};

use super::clone;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// Names that are tried.
const TRIES: u32 = 100_000;

#[derive(Debug, Args)]
pub struct VirtClone {
    /// The domain to clone; it must be shut off
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "original_xml",
        conflicts_with = "original_xml"
    )]
    original: Option<String>,
    /// The document of a machine to clone, which need not be defined here; it must be shut off
    #[arg(long, value_name = "FILE")]
    original_xml: Option<String>,
    /// The new domain's name
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Choose name and files: NAME-clone
    #[arg(long)]
    auto_clone: bool,
    /// The new domain's UUID
    #[arg(short, long, value_name = "UUID")]
    uuid: Option<String>,
    /// Where a copied disk's file goes; may be given several times, in the disks' order
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<String>,
    /// A disk, by target, that is copied although both could have it: a read-only or shareable one; may be given several times
    #[arg(long, value_name = "TARGET")]
    force_copy: Vec<String>,
    /// A disk, by target, that both have; may be given several times
    #[arg(long, value_name = "TARGET")]
    skip_copy: Vec<String>,
    /// Take the files named by --file as they are
    #[arg(long, requires = "files")]
    preserve_data: bool,
    /// Copies share blocks with the original, or nothing is done
    #[arg(long)]
    reflink: bool,
    /// Copies' files have no holes: the space that they may take is theirs from the beginning
    #[arg(long, conflicts_with = "reflink")]
    nonsparse: bool,
    /// Where the UEFI variables go
    #[arg(long, value_name = "FILE")]
    nvram: Option<String>,
    /// An interface's address, or RANDOM; may be given several times, in the interfaces' order
    #[arg(short, long = "mac", value_name = "MAC")]
    macs: Vec<String>,
    /// Stop and undefine a domain that has the new name before; its disks stay
    #[arg(long)]
    replace: bool,
    /// Print the new domain's document and make nothing
    #[arg(long)]
    print_xml: bool,
    /// Checks by name: `all=on`, `mac_in_use=on` … They cannot be switched off here; what is asked so is refused with the reason
    #[arg(long, value_name = "CHECK")]
    check: Vec<String>,
    /// Leave what lies inside as it is, as virt-clone does
    #[arg(long)]
    keep_identity: bool,
}

impl VirtClone {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.check.iter().try_for_each(|asked| check::judge(asked))?;
        let document = self.original_xml.as_deref().map(read).transpose()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None if self.auto_clone => {
                let of = self.original.clone().or_else(|| document.as_deref().and_then(name_in));
                free_name(&of.unwrap_or_default(), session).await?
            }
            None => {
                return Err(invalid("a name for the new domain is missing")
                    .hint("give it with --name, or let it be chosen with --auto-clone"));
            }
        };
        let print_xml = self.print_xml;
        let targets = |lists: &[String]| -> Vec<String> {
            lists.iter().flat_map(|targets| targets.split(',')).map(str::to_owned).collect()
        };
        let spec = CloneSpec {
            source: self.original.unwrap_or_default(),
            document,
            name,
            uuid: self.uuid,
            files: self.files.iter().map(|file| absolute(file)).collect::<Result<_, _>>()?,
            share: targets(&self.skip_copy),
            copy: targets(&self.force_copy),
            preserve_data: self.preserve_data,
            reflink: self.reflink,
            allocate: self.nonsparse,
            nvram: self.nvram.as_deref().map(absolute).transpose()?,
            macs: self.macs,
            replace: self.replace,
            keep_identity: self.keep_identity,
            dry_run: print_xml,
            ..CloneSpec::default()
        };
        let report = clone::made(&spec, session).await?;
        if print_xml {
            print(&report, session);
        } else {
            clone::tell(&report, &spec, session);
        }
        Ok(())
    }
}

/// `web-clone`, `web-clone1` …: the first that no domain has. A clone's clone is not `web-clone-clone`.
async fn free_name(of: &str, session: &mut Session) -> Result<String, Failure> {
    let domains = session.client().await?.domains(&DomainFilter::default()).await;
    let domains = domains.what(|| "Failed to list domains".to_owned())?;
    let is_free = |name: &String| domains.iter().all(|domain| domain.name != *name);
    candidates(of).find(is_free).ok_or_else(|| invalid(format!("no name like `{of}-clone` is free")))
}

fn candidates(of: &str) -> impl Iterator<Item = String> {
    let clone = of.rfind("-clone").and_then(|at| {
        let number = &of[at + "-clone".len()..];
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        is_number.then(|| (&of[..at], number.parse::<u32>().unwrap_or(0)))
    });
    let (base, from) = clone.map_or((of, None), |(base, number)| (base, Some(number.saturating_add(1))));
    let first = from.is_none().then(|| format!("{base}-clone"));
    let base = base.to_owned();
    let numbered =
        (from.unwrap_or(1)..).take(TRIES as usize).map(move |number| format!("{base}-clone{number}"));
    first.into_iter().chain(numbered)
}

/// The name that a document gives, to name a clone after; the daemon reads it whole.
fn name_in(document: &str) -> Option<String> {
    let (_, rest) = document.split_once("<name>")?;
    rest.split_once("</name>").map(|(name, _)| name.trim().to_owned())
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(ErrorKind::NotFound, format!("cannot read `{file}`")).because(error))
}

fn print(report: &CloneReport, session: &Session) {
    session.show(report, |report| {
        report.guests.iter().filter_map(|guest| guest.document.clone()).collect::<Vec<_>>().join("\n")
    });
}

/// The daemon has no working directory of ours.
fn absolute(file: &str) -> Result<String, Failure> {
    let path = std::path::absolute(file).ok().and_then(|path| path.into_os_string().into_string().ok());
    path.ok_or_else(|| invalid(format!("`{}` is no path", output::or_dash(Some(file)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_named_as_virt_clone_names_them() {
        let first = |of: &str| candidates(of).take(3).collect::<Vec<_>>().join(" ");
        assert_eq!(first("web"), "web-clone web-clone1 web-clone2");
        assert_eq!(first("web-clone"), "web-clone1 web-clone2 web-clone3");
        assert_eq!(first("web-clone7"), "web-clone8 web-clone9 web-clone10");
        assert_eq!(first("web-clones"), "web-clones-clone web-clones-clone1 web-clones-clone2");
    }

    #[test]
    fn a_documents_name_is_found() {
        assert_eq!(name_in("<domain type='kvm'>\n <name> a b</name></domain>").as_deref(), Some("a b"));
        assert_eq!(name_in("<domain/>"), None);
    }
}
