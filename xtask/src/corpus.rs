//! `cargo xtask corpus`: what libvirtd makes of the documents of `crates/lodge-model/tests`: domains, networks, filters.
//!
//! Of each `NAME.in.xml` without a `NAME.out.xml`: `virsh define`, and what `virsh dumpxml --inactive` then prints, or the
//! verbs of its kind. Of each `NAME.refused.xml` without a `NAME.refused.txt`: the words with which libvirtd refuses it. A
//! document that turns out to be of the other sort is told and left alone. libvirtd runs in a house of `tests/compat`, where it is the host's
//! only one; this program starts itself anew inside of it. Deliberately absent: any judgement of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    apt,
    command::{cargo, run as run_command, target, words, workspace},
};

/// How the program is called inside of the house; nobody types it.
const INSIDE: &str = "--inside";

/// What documents of a directory are to virsh: its verbs, with the name last.
struct Kind {
    dir: &'static str,
    define: &'static str,
    print: &'static [&'static str],
    undefine: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        dir: "corpus",
        define: "define",
        print: &["dumpxml", "--inactive"],
        undefine: &["undefine", "--nvram", "--tpm"],
    },
    Kind {
        dir: "corpus-network",
        define: "net-define",
        print: &["net-dumpxml", "--inactive"],
        undefine: &["net-undefine"],
    },
    Kind {
        dir: "nwfilters",
        define: "nwfilter-define",
        print: &["nwfilter-dumpxml"],
        undefine: &["nwfilter-undefine"],
    },
];

/// Makes the missing texts; those of the named documents, or with `--fresh` of all of them, anew.
pub fn run(args: &[String]) -> Result<()> {
    if let [word, words @ ..] = args
        && word == INSIDE
    {
        return inside(words);
    }
    let (options, names) = words(args, &["--fresh"], usize::MAX)?;
    let documents = missing(&workspace().join("crates/lodge-model/tests"), &options, &names)?;
    if documents.is_empty() {
        println!("every document has its text");
        return Ok(());
    }
    apt::install(&[apt::PEERS, apt::OTHER_QEMUS])?;
    run_command(cargo().args(["build", "--quiet", "-p", "lodge-compat"]))?;
    let status = house(&["corpus", INSIDE])?
        .args(&documents)
        .stdin(Stdio::null())
        .status()
        .context("the house cannot be started")?;
    ensure!(status.success(), "not every document was answered as its name says");
    Ok(())
}

/// This program with these words in a house of libvirtd's; `lodge-compat` is built, documents are yet to be named.
pub fn house(words: &[&str]) -> Result<Command> {
    let this = std::env::current_exe().context("this program has no path")?;
    let mut house = Command::new(target().join("debug/lodge-compat"));
    // The house wants both sides' programs; ours is not run in this one.
    house.arg("--lodge").arg(&this).args(["--program", "libvirtd"]);
    house.arg(&this).args(words).arg(unpacked_tpm()?);
    Ok(house)
}

/// The emulator of TPMs, unpacked and not installed: what libvirtd knows of TPMs depends on it.
fn unpacked_tpm() -> Result<PathBuf> {
    let root = target().join("compat/corpus");
    apt::unpack(&["libtpms0", "swtpm-libs", "swtpm", "swtpm-tools"], &root)?;
    Ok(root)
}

/// The documents to be asked about, of all kinds.
fn missing(dir: &Path, options: &[&str], names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for kind in &KINDS {
        let dir = dir.join(kind.dir);
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            let Some((name, answer)) = sort(&path) else { continue };
            let asked = names.contains(&name.as_str());
            if asked || (names.is_empty() && (options.contains(&"--fresh") || !answer.exists())) {
                found.push(path);
            }
            known.push(name);
        }
    }
    if let Some(unknown) = names.iter().find(|name| !known.iter().any(|known| known == *name)) {
        bail!("there is neither {unknown}.in.xml nor {unknown}.refused.xml in {}", dir.display());
    }
    found.sort();
    Ok(found)
}

/// A document's name, and the file of libvirtd's answer; `None` if the file is no document.
fn sort(path: &Path) -> Option<(String, PathBuf)> {
    let file = path.file_name()?.to_str()?;
    let of = |name: &str, ending| (name.to_owned(), path.with_file_name(format!("{name}{ending}")));
    let taken = file.strip_suffix(".in.xml").map(|name| of(name, ".out.xml"));
    taken.or_else(|| file.strip_suffix(".refused.xml").map(|name| of(name, ".refused.txt")))
}

/// Puts what was unpacked where libvirtd looks for it; gives the words after it.
pub fn settle(words: &[String]) -> Result<&[String]> {
    let (unpacked, documents) = words.split_first().context("no packages are named")?;
    // The house's /usr is an overlay; what is put there goes with it.
    run_command(Command::new("cp").arg("-a").arg(format!("{unpacked}/usr/.")).arg("/usr/"))?;
    Ok(documents)
}

/// Asks the libvirtd of this house about each document.
fn inside(words: &[String]) -> Result<()> {
    let documents = settle(words)?;
    // The network that its package brings; a document has the same name. It may be gone, or not run.
    for verb in ["net-destroy", "net-undefine"] {
        virsh(&[verb, "default"])?;
    }
    let mut wrong = Vec::new();
    for path in documents.iter().map(Path::new) {
        let (name, answer) = sort(path).context("no document")?;
        match ask(path)? {
            Answer::Text(text) if path.ends_with(format!("{name}.in.xml")) => fs::write(answer, text)?,
            Answer::Refusal(words) if !path.ends_with(format!("{name}.in.xml")) => fs::write(answer, words)?,
            Answer::Text(_) => wrong.push(format!("{name}.refused.xml is accepted")),
            Answer::Refusal(words) => wrong.push(format!("{name}.in.xml is refused: {}", words.trim_end())),
        }
    }
    println!("{} of {} answered as their names say", documents.len() - wrong.len(), documents.len());
    ensure!(wrong.is_empty(), "of the other sort:\n{}", wrong.join("\n"));
    Ok(())
}

enum Answer {
    Text(String),
    Refusal(String),
}

/// Defines a document, prints it, and undefines it.
fn ask(path: &Path) -> Result<Answer> {
    let file = path.to_str().context("a document's path is no text")?;
    let kind = KINDS.iter().find(|kind| path.parent().is_some_and(|dir| dir.ends_with(kind.dir)));
    let kind = kind.with_context(|| format!("{file} lies in no directory of documents"))?;
    let defined = virsh(&[kind.define, file])?;
    if !defined.status.success() {
        let said = String::from_utf8_lossy(&defined.stderr);
        // virsh's own line comes first, then libvirtd's words.
        let words: Vec<_> = said.lines().filter(|line| !line.starts_with("error: Failed to")).collect();
        return Ok(Answer::Refusal(words.join("\n").trim_start_matches("error: ").to_owned() + "\n"));
    }
    let said = String::from_utf8_lossy(&defined.stdout);
    let name = defined_name(&said).with_context(|| format!("virsh does not say what it defined: {said}"))?;
    let text = virsh(&[kind.print, &[name]].concat())?;
    let gone = virsh(&[kind.undefine, &[name]].concat())?;
    ensure!(
        text.status.success() && gone.status.success(),
        "{file} was defined as `{name}`, but not printed or not undefined: {}{}",
        String::from_utf8_lossy(&text.stderr),
        String::from_utf8_lossy(&gone.stderr)
    );
    Ok(Answer::Text(String::from_utf8_lossy(&text.stdout).into_owned()))
}

/// What `virsh` says that it has defined: `Domain 'a' defined from FILE`, `Network a defined from FILE`,
/// `Network filter a defined from FILE`.
fn defined_name(said: &str) -> Option<&str> {
    let (what, _) = said.trim_start().split_once(" defined from ")?;
    let quoted = what.strip_prefix("Domain '").and_then(|name| name.strip_suffix('\''));
    let filter = || what.strip_prefix("Network filter ");
    quoted.or_else(filter).or_else(|| what.strip_prefix("Network "))
}

fn virsh(args: &[&str]) -> Result<Output> {
    Command::new("virsh")
        .env("LC_ALL", "C.UTF-8")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot run virsh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virsh_says_what_it_has_defined() {
        for (said, name) in [
            ("Domain 'a b' defined from /d/a.in.xml\n\n", Some("a b")),
            ("Network a defined from /d/a.in.xml\n\n", Some("a")),
            ("Network filter a defined from /d/a.in.xml\n\n", Some("a")),
            ("", None),
        ] {
            assert_eq!(defined_name(said), name, "{said}");
        }
    }

    #[test]
    fn a_document_says_by_its_name_what_answer_it_gets() {
        let sort = |path| sort(Path::new(path)).map(|(name, answer)| format!("{name} {}", answer.display()));
        assert_eq!(sort("/d/a.in.xml").as_deref(), Some("a /d/a.out.xml"));
        assert_eq!(sort("/d/a.b.refused.xml").as_deref(), Some("a.b /d/a.b.refused.txt"));
        assert_eq!(sort("/d/a.out.xml"), None);
        assert_eq!(sort("/d/live.xml"), None);
    }
}
