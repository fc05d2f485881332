//! Where the packages come from: the mirror this host's own apt uses.
//!
//! Reads `/etc/apt/sources.list` and `sources.list.d/*.{list,sources}` (sources.list(5)). Only
//! archives of Debian's own layout count (`…/debian`, `…/debian-security`); the guest gets the
//! same ones, so what could be installed here can be installed there.

use std::{collections::BTreeSet, fs, path::Path};

use crate::BuildError;

/// The two archives that a release of Debian is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The main archive's URI.
    pub main: String,
    /// The security archive's URI.
    pub security: String,
}

impl Mirror {
    /// The mirror of the host's apt, from its directory (`/etc/apt`). None of our choosing: which mirror is near and
    /// trusted is the administrator's word, and on another distribution they give it by a source of Debian's there.
    pub fn of_host(etc_apt: &Path) -> Result<Self, BuildError> {
        let uris = host_uris(etc_apt);
        let find = |end: &str| uris.iter().find(|uri| uri.starts_with("http") && uri.ends_with(end)).cloned();
        let main = find("/debian").ok_or_else(|| BuildError::NoMirror { etc_apt: etc_apt.to_owned() })?;
        // Debian's mirrors have both archives side by side.
        let security = find("/debian-security").unwrap_or_else(|| format!("{main}-security"));
        Ok(Self { main, security })
    }

    /// The release's lines for apt, in sources.list(5)'s one-line form.
    pub fn lines(&self, suite: &str) -> Vec<String> {
        vec![
            format!("deb {} {suite} main", self.main),
            format!("deb {} {suite}-updates main", self.main),
            format!("deb {} {suite}-security main", self.security),
        ]
    }
}

fn host_uris(etc_apt: &Path) -> BTreeSet<String> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let mut uris = BTreeSet::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => uris.extend(one_line_uris(&text)),
            Some("sources") => uris.extend(deb822_uris(&text)),
            _ => {}
        }
    }
    uris
}

/// `deb [options] URI suite component…`
fn one_line_uris(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        Some(clean(rest.split_whitespace().next()?))
    })
}

/// Paragraphs with `URIs:`, unless `Enabled: no`.
fn deb822_uris(text: &str) -> impl Iterator<Item = String> {
    text.split("\n\n").flat_map(|paragraph| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let is_off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        let uris = if is_off { None } else { field("URIs") };
        uris.unwrap_or_default().split_whitespace().map(clean).collect::<Vec<_>>()
    })
}

fn clean(uri: &str) -> String {
    uri.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(files: &[(&str, &str)]) -> Mirror {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Mirror::of_host(dir.path()).unwrap()
    }

    #[test]
    fn deb822_and_one_line_sources_are_read() {
        let wanted = Mirror {
            main: "http://mirror.example/debian".into(),
            security: "http://mirror.example/debian-security".into(),
        };
        let deb822 = "Types: deb\n# old: http://x/debian\nURIs: http://mirror.example/debian/\n\
                      Suites: bookworm\n\nURIs: http://mirror.example/debian-security\n\n\
                      Enabled: no\nURIs: http://a.example/debian\n";
        assert_eq!(mirror(&[("sources.list.d/debian.sources", deb822)]), wanted);
        let lines = "# deb http://a.example/debian x main\n\
                     deb [arch=amd64 signed-by=/x] http://mirror.example/debian bookworm main\n\
                     deb http://mirror.example/debian-security bookworm-security main\n";
        assert_eq!(mirror(&[("sources.list", lines)]), wanted);
    }

    #[test]
    fn a_host_without_debians_archive_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        for text in
            ["", "deb http://mirror.example/ubuntu noble main\n", "deb cdrom:[x]/debian bookworm main\n"]
        {
            fs::write(dir.path().join("sources.list"), text).unwrap();
            let error = Mirror::of_host(dir.path()).unwrap_err();
            assert!(error.hint().unwrap().contains("sources.list"), "{error}");
        }
    }

    #[test]
    fn a_mirror_has_both_archives_side_by_side() {
        let security =
            mirror(&[("sources.list", "deb http://mirror.example/debian bookworm main\n")]).security;
        assert_eq!(security, "http://mirror.example/debian-security");
    }
}
