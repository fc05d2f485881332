//! What is installed in a tree, from dpkg's status file (deb822 paragraphs).

use sha2::{Digest as _, Sha256};

use crate::{error::BuildError, tree::Tree};

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The installed packages, from dpkg's own status file.
pub(crate) fn installed(tree: &Tree) -> Result<Vec<Package>, BuildError> {
    let status = tree.read("var/lib/dpkg/status")?;
    let packages = parse_status(&String::from_utf8_lossy(&status));
    if packages.is_empty() {
        return Err(BuildError::NotInTree { what: "installed packages".into() });
    }
    Ok(packages)
}

fn parse_status(text: &str) -> Vec<Package> {
    let mut packages: Vec<_> = text
        .split("\n\n")
        .filter_map(|paragraph| {
            let field =
                |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let is_installed = field("Status: ")?.ends_with(" installed");
            let package = Package { name: field("Package: ")?, version: field("Version: ")? };
            is_installed.then_some(package)
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// What decides the ids of a disk: the same packages give the same.
pub(crate) fn id_seed(recipe: &str, packages: &[Package]) -> Vec<u8> {
    let mut digest = Sha256::new().chain_update(recipe);
    for package in packages {
        digest.update(format!("\n{}={}", package.name, package.version));
    }
    digest.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let text = "Package: b\nStatus: install ok installed\nVersion: 2\n\n\
                    Package: c\nStatus: deinstall ok config-files\nVersion: 3\n\n\
                    Package: a\nStatus: install ok installed\nVersion: 1:1-1\n";
        let names: Vec<_> =
            parse_status(text).into_iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        assert_eq!(names, ["a=1:1-1", "b=2"]);
    }
}
