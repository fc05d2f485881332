//! `virt-clone`: the options of virt-manager's program, as its users and scripts know them.
//!
//! Unlike there, what lies inside the clone gets an identity of its own; `--keep-identity` leaves it.

use clap::Args;
use lodge_client::api::{CloneReport, CloneSpec, DomainFilter};

use super::clone;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct VirtClone {
    /// The domain to clone; it must be shut off
    #[arg(long, value_name = "NAME", required = true)]
    original: String,
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
    /// A disk, by target, that both have; may be given several times
    #[arg(long, value_name = "TARGET")]
    skip_copy: Vec<String>,
    /// Take the files named by --file as they are
    #[arg(long, requires = "files")]
    preserve_data: bool,
    /// Copies share blocks with the original, or nothing is done
    #[arg(long)]
    reflink: bool,
    /// Where the UEFI variables go
    #[arg(long, value_name = "FILE")]
    nvram: Option<String>,
    /// An interface's address, or RANDOM; may be given several times, in the interfaces' order
    #[arg(short, long = "mac", value_name = "MAC")]
    macs: Vec<String>,
    /// Print the new domain's document and make nothing
    #[arg(long)]
    print_xml: bool,
    /// `all=on` only: Lodge's checks cannot be switched off
    #[arg(long, value_name = "CHECK")]
    check: Option<String>,
    /// Leave what lies inside as it is, as virt-clone does
    #[arg(long)]
    keep_identity: bool,
    /// Not supported: a document that is no domain's
    #[arg(long, value_name = "FILE")]
    original_xml: Option<String>,
    /// Not supported: remove the domain of that name first
    #[arg(long)]
    replace: bool,
    /// Not supported: copies are as sparse as their source
    #[arg(long)]
    nonsparse: bool,
}

impl VirtClone {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.refuse()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None if self.auto_clone => self.free_name(session).await?,
            None => {
                return Err(invalid("a name for the new domain is missing")
                    .hint("give it with --name, or let it be chosen with --auto-clone"));
            }
        };
        let print_xml = self.print_xml;
        let spec = CloneSpec {
            source: self.original,
            name,
            uuid: self.uuid,
            files: self.files.iter().map(|file| absolute(file)).collect::<Result<_, _>>()?,
            share: self.skip_copy.iter().flat_map(|targets| targets.split(',')).map(str::to_owned).collect(),
            preserve_data: self.preserve_data,
            reflink: self.reflink,
            nvram: self.nvram.as_deref().map(absolute).transpose()?,
            macs: self.macs,
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

    fn refuse(&self) -> Result<(), Failure> {
        let refused = [
            (
                self.original_xml.is_some(),
                "--original-xml",
                "define the document first, and clone that domain",
            ),
            (self.replace, "--replace", "remove that domain first: lodge rm NAME"),
            (self.nonsparse, "--nonsparse", "copies are as sparse as their source"),
            (
                self.check.as_deref().is_some_and(|check| check != "all=on"),
                "--check",
                "what it would allow is never safe: see `lodge storage needs FILE` for who has a file",
            ),
        ];
        match refused.into_iter().find(|(is_given, ..)| *is_given) {
            None => Ok(()),
            Some((_, option, hint)) => {
                let kind = lodge_client::api::ErrorKind::Unsupported;
                Err(Failure::new(kind, format!("the option {option} is not supported")).hint(hint))
            }
        }
    }

    /// `web-clone`, `web-clone1` …: the first that no domain has.
    async fn free_name(&self, session: &mut Session) -> Result<String, Failure> {
        let domains = session.client().await?.domains(&DomainFilter::default()).await;
        let domains = domains.what(|| "Failed to list domains".to_owned())?;
        let is_free = |name: &String| domains.iter().all(|domain| domain.name != *name);
        let first = format!("{}-clone", self.original);
        let mut names =
            std::iter::once(first.clone()).chain((1_u32..).map(|number| format!("{first}{number}")));
        Ok(names.find(is_free).unwrap_or(first))
    }
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
