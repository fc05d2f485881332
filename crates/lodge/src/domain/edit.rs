//! `edit`: a document in the user's own editor, and all other `…-edit`s' half of the same.

use std::path::Path;
use std::process::Command;

use clap::Args;
use lodge_client::api::{DefineOptions, XmlOptions};

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Edit {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// skip validation of the XML against the schema
    #[arg(long)]
    skip_validate: bool,
}

impl Edit {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let options = XmlOptions { inactive: true, security_info: true, ..XmlOptions::default() };
        let before = client.domain_xml(&self.domain, &options).await.on_domain(&self.domain, "")?;
        let name = client.domain(&self.domain).await.on_domain(&self.domain, "")?.name;
        let document = Document { subject: format!("Domain '{name}'"), name: &name, text: &before };
        let options = DefineOptions { validate: !self.skip_validate, ..DefineOptions::default() };
        let define = async |text: &str| {
            client.define_domain(text, &options).await.what(|| format!("Failed to edit domain '{name}'"))
        };
        if let Some(view) = document.edit(session, false, define).await? {
            session.warn(&view.warnings);
            session.say(&format!("Domain '{}' XML configuration edited.\n", view.name));
        }
        Ok(())
    }
}

/// A document that is to be edited.
pub struct Document<'a> {
    /// `Network default`, as messages begin.
    pub subject: String,
    pub name: &'a str,
    pub text: &'a str,
}

impl Document<'_> {
    /// Lets the user change it until `define` takes it or the user gives up. `None`: it is as it was, and `as_it_is` does
    /// not say that this is to be defined too.
    pub async fn edit<T>(
        &self,
        session: &Session,
        as_it_is: bool,
        define: impl AsyncFn(&str) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut text = self.text.to_owned();
        loop {
            text = edit_text(self.name, &text)?;
            if text == self.text && !as_it_is {
                session.say(&format!("{} XML configuration not changed.\n", self.subject));
                return Ok(None);
            }
            match define(&text).await {
                Ok(defined) => return Ok(Some(defined)),
                Err(failure) if !try_again(&failure, session) => return Err(failure),
                Err(_) => {}
            }
        }
    }
}

/// Tells the failure and asks whether to go on editing; without a terminal nobody can answer.
fn try_again(failure: &Failure, session: &Session) -> bool {
    use std::io::{BufRead, IsTerminal};
    if !std::io::stdin().is_terminal() {
        return false;
    }
    failure.tell(session);
    output::complain("Failed. Try again? [y,n]: ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim_start().starts_with(['y', 'Y'])
}

/// Lets the user change `text` in `$VISUAL`, `$EDITOR` or `vi`; `name` shows in the file's name.
pub fn edit_text(name: &str, text: &str) -> Result<String, Failure> {
    let safe: String =
        name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
    let directory = std::env::temp_dir().join(format!("lodge-edit-{}", std::process::id()));
    let failed = |act: &str, error: std::io::Error| {
        Failure::new(lodge_client::api::ErrorKind::Internal, format!("cannot {act} the document for editing"))
            .because(error)
    };
    private_directory(&directory).map_err(|error| failed("lay out", error))?;
    let file = directory.join(format!("{safe}.xml"));
    let edited = std::fs::write(&file, text)
        .map_err(|error| failed("write", error))
        .and_then(|()| run_editor(&file))
        .and_then(|()| std::fs::read_to_string(&file).map_err(|error| failed("read back", error)));
    // The document may hold passwords; a directory that stays is told by nobody but harms nobody either.
    drop(std::fs::remove_dir_all(&directory));
    edited
}

/// Documents may hold passwords.
fn private_directory(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(directory)
}

fn run_editor(file: &Path) -> Result<(), Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // An editor may come with options (`code --wait`), which is the shell's business to take apart.
    let status = Command::new("/bin/sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(invalid(format!("the editor `{editor}` ended with {status}; nothing was changed"))
            .hint("set VISUAL or EDITOR to the editor to use")),
        Err(error) => Err(invalid(format!("cannot run the editor `{editor}`")).because(error)),
    }
}

/// A document's file, `-` for standard input.
pub fn read_file(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
            _ => error.to_string(),
        };
        invalid(format!("Failed to open file '{}': {why}", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_as_virsh_tells_it() {
        let failure = read_file(Path::new("/nosuch")).unwrap_err();
        assert!(format!("{failure:?}").contains("Failed to open file '/nosuch': No such file or directory"));
    }
}
