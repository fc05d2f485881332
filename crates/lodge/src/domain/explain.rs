//! `explain`: which element of a document became which argument of QEMU's.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::ExplanationView;

use crate::failure::{Failure, What};
use crate::output::or_dash;
use crate::session::Session;

use super::edit::read_file;

/// Explain QEMU's arguments.
///
/// Of a guest that runs: those of its process. Of one that does not, and of a file: those of a start, where numbers of
/// descriptors and ports that nobody fixed are stand-ins. `lodge` stands where every guest gets the argument, `unknown`
/// where this version would not give it.
#[derive(Debug, Args)]
pub struct Explain {
    /// domain name, id or uuid
    #[arg(value_name = "domain", required_unless_present = "file")]
    domain: Option<String>,
    /// a document that need not be defined, instead of a domain
    #[arg(long, value_name = "file", conflicts_with = "domain")]
    file: Option<PathBuf>,
    /// also the elements that became nothing of QEMU's, and why
    #[arg(long)]
    all: bool,
}

impl Explain {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = match (&self.file, self.domain.as_deref()) {
            (Some(file), _) => {
                let xml = read_file(file)?;
                let view = session.client().await?.explain_document(&xml).await;
                view.what(|| format!("Failed to explain {}", file.display()))?
            }
            (None, dom) => {
                let dom = dom.unwrap_or_default();
                session.client().await?.explain_domain(dom).await.on_domain(dom, "explain")?
            }
        };
        session.warn(&view.warnings);
        session.show(&view, |view| text(session, view, self.all));
        Ok(())
    }
}

fn text(session: &Session, view: &ExplanationView, all: bool) -> String {
    let mut rows = Vec::new();
    for argument in &view.arguments {
        let words = [Some(argument.option.as_str()), argument.value.as_deref()];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        rows.push(vec![argument.element.clone(), or_dash(argument.alias.as_ref()), words]);
    }
    for variable in &view.environment {
        rows.push(vec![
            "/domain/qemu:commandline".to_owned(),
            "-".to_owned(),
            format!("environment: {variable}"),
        ]);
    }
    for said in &view.commands {
        rows.push(vec![said.element.clone(), "-".to_owned(), format!("monitor: {}", said.command)]);
    }
    let mut text = session.table(&["Element", "Alias", "Argument"], &rows);
    if all {
        let row = |without: &lodge_client::api::ElementWithout| {
            vec![without.element.clone(), or_dash(without.alias.as_ref()), without.reason.clone()]
        };
        let rows: Vec<Vec<String>> = view.without.iter().map(row).collect();
        text += "\n";
        text += &session.table(&["Element", "Alias", "Nothing of QEMU's, because"], &rows);
    }
    text
}
