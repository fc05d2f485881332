//! `chain show commit flatten rebase template clone`.

use clap::{Args, Subcommand, ValueEnum};
use lodge_client::api::{
    ChainAfter, ChainClone, ChainCommit, ChainFlatten, ChainLinkView, ChainRebase, ChainTemplate, FileQuery,
};
use lodge_model::Bytes;

use crate::failure::{Failure, What};
use crate::output::size;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// The files a disk is made of, the guest's own first, and who needs each
    Show(Show),
    /// Merge a disk into the one it stands on, or into a lower one
    Commit(Commit),
    /// Take what lies below a disk into it, so that it stands alone
    #[command(alias = "pull")]
    Flatten(Flatten),
    /// Stand a disk on another file; the guest sees the same bytes
    Rebase(Rebase),
    /// Make a disk a template: written no more, and not deleted by mistake
    Template(Template),
    /// Make a disk that begins as a template or image file and keeps only what differs
    Clone(Clone),
}

/// A disk's format; it is never guessed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DiskFormat {
    /// QEMU's own
    #[default]
    Qcow2,
    /// The bare bytes
    Raw,
}

impl DiskFormat {
    fn word(self) -> String {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
        .to_owned()
    }
}

/// What becomes of the upper file.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum After {
    /// It stays as it is
    #[default]
    Keep,
    /// It becomes an empty file on the lower one
    Empty,
    /// What stood on it stands on the lower file, and it goes
    Delete,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The disk's path on the daemon's host
    #[arg(value_name = "FILE")]
    path: String,
    /// Its format
    #[arg(long, value_enum, default_value_t)]
    format: DiskFormat,
}

#[derive(Debug, Args)]
pub struct Commit {
    /// The upper file
    #[arg(value_name = "TOP")]
    top: String,
    /// The lower file [default: the one the upper stands on]
    #[arg(long, value_name = "FILE")]
    base: Option<String>,
    /// What becomes of the upper file
    #[arg(long, value_enum, default_value_t)]
    after: After,
}

#[derive(Debug, Args)]
pub struct Flatten {
    /// The disk
    #[arg(value_name = "FILE")]
    path: String,
    /// Only what lies above this file of its chain
    #[arg(long, value_name = "FILE")]
    onto: Option<String>,
}

#[derive(Debug, Args)]
pub struct Rebase {
    /// The disk
    #[arg(value_name = "FILE")]
    path: String,
    /// What it is to stand on
    #[arg(long, value_name = "FILE")]
    onto: String,
    /// That file's format
    #[arg(long, value_enum, default_value_t)]
    format: DiskFormat,
    /// Copy nothing: only the name changes, if both files are found to have the same bytes
    #[arg(long = "unsafe")]
    is_unsafe: bool,
}

#[derive(Debug, Args)]
pub struct Template {
    /// The disk
    #[arg(value_name = "FILE")]
    path: String,
    /// Its format
    #[arg(long, value_enum, default_value_t)]
    format: DiskFormat,
    /// Make it an ordinary disk again
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, Args)]
pub struct Clone {
    /// The disk that it begins as
    #[arg(value_name = "BASE")]
    base: String,
    /// The new disk's name in the default pool, or its path
    #[arg(value_name = "NAME")]
    name: String,
    /// The format of BASE
    #[arg(long, value_enum, default_value_t)]
    format: DiskFormat,
    /// The new disk's size: 20GiB [default: that of BASE]
    #[arg(long, value_name = "SIZE")]
    size: Option<Bytes>,
}

impl Noun {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let links = match self {
            Self::Show(Show { path, format }) => {
                let query = FileQuery { path: path.clone(), format: Some(format.word()) };
                client.chain(&query).await.what(|| format!("failed to look at '{path}'"))?
            }
            Self::Commit(verb) => return verb.run(session).await,
            Self::Flatten(Flatten { path, onto }) => {
                let wish = ChainFlatten { path: path.clone(), onto };
                client.flatten_chain(&wish).await.what(|| format!("failed to flatten '{path}'"))?
            }
            Self::Rebase(Rebase { path, onto, format, is_unsafe }) => {
                let wish = ChainRebase { path: path.clone(), onto, format: format.word(), is_unsafe };
                client.rebase_chain(&wish).await.what(|| format!("failed to rebase '{path}'"))?
            }
            Self::Template(Template { path, format, undo }) => {
                let wish = ChainTemplate { path: path.clone(), format: format.word(), undo };
                client.make_template(&wish).await.what(|| format!("failed to make a template of '{path}'"))?
            }
            Self::Clone(Clone { base, name, format, size }) => {
                let size_bytes = size.map(|size| size.0);
                let wish = ChainClone { base: base.clone(), format: format.word(), name, size_bytes };
                client.link_clone(&wish).await.what(|| format!("failed to clone '{base}'"))?
            }
        };
        session.show(&links, |links| chain(links, session));
        Ok(())
    }
}

impl Commit {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let after = match self.after {
            After::Keep => ChainAfter::Keep,
            After::Empty => ChainAfter::Empty,
            After::Delete => ChainAfter::Delete,
        };
        let wish = ChainCommit { top: self.top.clone(), base: self.base, after };
        let done = session.client().await?.commit_chain(&wish).await;
        let done = done.what(|| format!("failed to commit '{}'", self.top))?;
        session.done(&done, |done| {
            let mut text = format!("'{}' is merged into '{}'\n", self.top, done.base);
            for path in &done.turned {
                text += &format!("'{path}' stands on '{}' now\n", done.base);
            }
            for path in &done.removed {
                text += &format!("'{path}' removed\n");
            }
            text
        });
        Ok(())
    }
}

fn chain(links: &[ChainLinkView], session: &Session) -> String {
    let row = |link: &ChainLinkView| {
        let needs: Vec<_> = link.needs.iter().map(|need| need.why.as_str()).collect();
        vec![
            link.path.clone(),
            if link.encrypted { format!("{}, encrypted", link.format) } else { link.format.clone() },
            size(link.guest_bytes),
            size(link.host_bytes),
            needs.join("; "),
        ]
    };
    let rows: Vec<_> = links.iter().map(row).collect();
    session.table(&["File", "Format", "Guest size", "Host size", "Needed because"], &rows)
}
