//! `lodge explain`, for those who may read: a document shows nothing here that `dumpxml` would hide.

use lodge_api::{ElementWithout, ExplainedArgument, ExplainedCommand, ExplanationView};
use lodge_domain::Explained;

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// Which element of a domain's document became which argument: of the QEMU that runs, else of the next start.
    #[crate::boxed]
    pub async fn explain_domain(&self, _caller: &Caller, dom: &str) -> Result<ExplanationView> {
        Ok(view(self.find_domain(dom)?.explain().await?))
    }

    /// The same of a document that is not defined.
    #[crate::boxed]
    pub async fn explain_document(&self, _caller: &Caller, xml: String) -> Result<ExplanationView> {
        Ok(view(self.domains.explain(&xml).await?))
    }
}

fn view(explained: Explained) -> ExplanationView {
    let Explained { name, pid, emulator, explanation } = explained;
    let argument = |explained: lodge_qemu::Explained| ExplainedArgument {
        element: explained.argument.element,
        alias: explained.alias,
        option: explained.argument.option,
        value: explained.argument.value,
    };
    let without = |without: lodge_qemu::Without| ElementWithout {
        element: without.element,
        alias: without.alias,
        reason: without.reason.to_owned(),
    };
    let command =
        |(command, element): (&str, String)| ExplainedCommand { element, command: command.to_owned() };
    ExplanationView {
        name,
        pid,
        emulator,
        arguments: explanation.arguments.into_iter().map(argument).collect(),
        environment: explanation.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        commands: explanation.commands.into_iter().map(command).collect(),
        without: explanation.without.into_iter().map(without).collect(),
        warnings: explanation.warnings.iter().map(ToString::to_string).collect(),
    }
}
