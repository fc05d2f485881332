//! Rules of the host's owner: `etc/lodge/identity.d/*.toml`, taken in once, when the daemon starts.
//!
//! One that is wrong stops the daemon's start, with its file and line: passed over, it would leave in templates and images
//! what its owner wants out of them.

use std::{fs, io};

use lodge_api::IdentityRule;
use lodge_identity::Catalogue;
use lodge_model::Kind;
use lodge_store::Root;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// Where they lie, below the configuration.
const DIRECTORY: &str = "identity.d";

/// The catalogue with the owner's rules. A later file's rule of a name that is known replaces the earlier ones.
pub(crate) fn catalogue(root: &Root) -> Result<Catalogue> {
    let directory = root.configuration().join(DIRECTORY);
    let failed = |act: &str, path: &std::path::Path, error: &io::Error| {
        EngineError::new(Kind::Unavailable, format!("cannot {act} `{}`: {error}", path.display()))
            .with_hint("let the daemon's user read it, or move it away")
    };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Catalogue::builtin()),
        Err(error) => return Err(failed("list", &directory, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed("list", &directory, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut catalogue = Catalogue::builtin();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        catalogue = catalogue.with(&path.display().to_string(), &text).map_err(|error| {
            let next = "put the rule right, or move the file away; docs/identity.md has the form";
            EngineError::of(Kind::InvalidInput, Some(next.to_owned()), error)
        })?;
    }
    Ok(catalogue)
}

impl Engine {
    /// The rules that are in force, in their order.
    #[crate::boxed]
    pub async fn identity_rules(&self, _caller: &Caller) -> Result<Vec<IdentityRule>> {
        let view = |rule: lodge_identity::RuleInForce| IdentityRule {
            name: rule.name,
            what: rule.what,
            file: rule.origin,
            paths: rule.paths,
            reset: rule.reset,
            generalise: rule.generalise,
            operation: rule.operation,
            is_private: rule.is_private,
        };
        Ok(self.inside.catalogue().rules().map(view).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    const RULE: &str =
        "[[rule]]\nname = 'licence'\nwhat = 'ours'\npaths = ['/opt/*']\nkind = 'id'\nreset = 'new-uuid'\n";

    #[test]
    fn the_owners_rules_are_taken_in_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert!(catalogue(&root).unwrap().rules().all(|rule| rule.origin.is_none()));
        let rules = root.configuration().join(DIRECTORY);
        fs::create_dir_all(&rules).unwrap();
        fs::write(rules.join("10-ours.toml"), RULE).unwrap();
        fs::write(rules.join("20-ours.toml"), RULE.replace("'/opt/*'", "'/srv/*'")).unwrap();
        fs::write(rules.join("notes.txt"), "no rule").unwrap();
        let found: Vec<_> = catalogue(&root).unwrap().rules().filter(|rule| rule.origin.is_some()).collect();
        let later = rules.join("20-ours.toml").display().to_string();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].paths.as_slice(), found[0].origin.as_deref()),
            (&["/srv/*".to_owned()][..], Some(&*later))
        );
    }

    #[test]
    fn a_fault_names_the_file_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let rules = root.configuration().join(DIRECTORY);
        fs::create_dir_all(&rules).unwrap();
        fs::write(rules.join("x.toml"), format!("{RULE}colour = 1\n")).unwrap();
        let fault = crate::error::chain_of(&catalogue(&root).unwrap_err());
        let place = format!("{}:7: unknown field `colour`", rules.join("x.toml").display());
        assert!(fault.contains(&place), "{fault}");
    }
}
