//! What lies inside a guest that runs: told by its agent, and a claim.
//!
//! Files of a known path are read one by one. Patterns need a listing, which the agent has no call for: where it may run
//! programs, a shell lists and reads them in one go; where it may not, that is a gap and told. All of it is bounded, and
//! what the agent answers is read as the answer of somebody who means harm.

use std::{fmt::Write as _, time::Duration};

use lodge_model::guest_disk::{FileNode, FilePath, Files, Gap, Owner, Wanted};
use lodge_qemu::agent::{Agent, AgentError};

/// Files that are read one by one.
const FILES_MAX: usize = 64;
/// Of each.
const FILE_MAX_BYTES: usize = 64 << 10;
/// Lines of a listing.
const LINES_MAX: usize = 20_000;

/// Asks the agent for the files that are wanted.
pub(super) async fn read(agent: &Agent, wanted: &[Wanted], patience: Duration) -> Result<Files, AgentError> {
    agent.ping(patience).await?;
    match listed(agent, wanted, patience).await {
        Ok(files) => Ok(files),
        Err(AgentError::Refused { class, description, .. }) => {
            tracing::debug!(class, description, "the agent runs no programs: files are read one by one");
            one_by_one(agent, wanted, patience).await
        }
        Err(error) => Err(error),
    }
}

/// By a shell in the guest.
async fn listed(agent: &Agent, wanted: &[Wanted], patience: Duration) -> Result<Files, AgentError> {
    let script = script(wanted);
    let ran = agent.run("/bin/sh", &["-c", &script], patience).await?;
    let mut files = parse(&ran.stdout);
    if ran.truncated || ran.exit_code != Some(0) {
        let why = "the listing in the guest did not come to its end".to_owned();
        files.gaps.push(Gap { place: "the guest".to_owned(), why });
    }
    for pattern in
        wanted.iter().map(|wanted| wanted.pattern.clone()).filter(|pattern| is_deep(pattern.parts()))
    {
        let why = "not looked for in a guest that runs".to_owned();
        files.gaps.push(Gap { place: String::from(pattern), why });
    }
    Ok(files)
}

fn is_deep<'a>(mut parts: impl Iterator<Item = &'a str>) -> bool {
    parts.any(|part| part == "**")
}

/// A line per file: path, sort, size, owner, group, mode, content, each without blanks.
fn script(wanted: &[Wanted]) -> String {
    let mut script = String::from(
        "export LC_ALL=C\n\
         one() { most=$1; shift; for f in \"$@\"; do\n\
         if [ -L \"$f\" ]; then s=link; c=$(readlink -n -- \"$f\" | base64 | tr -d '\\n')\n\
         elif [ -d \"$f\" ]; then s=directory; c=\n\
         elif [ -f \"$f\" ]; then s=file; c=$(head -c \"$most\" -- \"$f\" | base64 | tr -d '\\n')\n\
         elif [ -e \"$f\" ]; then s=other; c=\n\
         else continue; fi\n\
         p=$(printf %s \"$f\" | base64 | tr -d '\\n')\n\
         set -- $(stat -c '%s %u %g %a' -- \"$f\") \"$@\"\n\
         echo \"$p $s $1 $2 $3 $4 $c\"; shift 4\n\
         done; }\n",
    );
    for Wanted { pattern, most_bytes } in wanted {
        if is_deep(pattern.parts()) {
            continue;
        }
        let most = (*most_bytes).min(FILE_MAX_BYTES as u64);
        // A String takes all.
        let _ = write!(script, "one {most} ");
        for part in pattern.parts() {
            script.push('/');
            // Quoted but for the stars, which the shell is to fill.
            let pieces: Vec<String> = part.split('*').map(quoted).collect();
            script += &pieces.join("*");
        }
        script.push('\n');
    }
    script
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Reads the listing. A line that makes no sense is passed over: it says nothing of any file.
fn parse(output: &[u8]) -> Files {
    let mut files = Files::default();
    for line in String::from_utf8_lossy(output).lines().take(LINES_MAX) {
        let Some((path, node)) = parse_line(line) else { continue };
        // Two may want one file, and the other more of it.
        let has_more = match (files.nodes.get(&path), &node) {
            (Some(FileNode::File { bytes: old, .. }), FileNode::File { bytes: new, .. }) => {
                old.len() > new.len()
            }
            _ => false,
        };
        if !has_more {
            files.nodes.insert(path, node);
        }
    }
    files
}

fn parse_line(line: &str) -> Option<(FilePath, FileNode)> {
    let mut words = line.split(' ');
    let path = FilePath::new(base64(words.next()?)?).ok()?;
    let sort = words.next()?;
    let size = words.next()?.parse().ok()?;
    let owner = Owner {
        uid: words.next()?.parse().ok()?,
        gid: words.next()?.parse().ok()?,
        mode: u16::from_str_radix(words.next()?, 8).ok()?,
    };
    let content = base64(words.next().unwrap_or_default())?;
    let node = match sort {
        "link" => FileNode::Link(content),
        "directory" => FileNode::Directory(owner),
        "file" => FileNode::File { bytes: content, size, owner },
        "other" => FileNode::Other,
        _ => return None,
    };
    Some((path, node))
}

/// Of RFC 4648, padded.
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for group in digits.chunks(4) {
        let bits = group.iter().try_fold(0_u32, |bits, digit| Some(bits << 6 | u32::from(value(*digit)?)))?;
        let bits = bits << (6 * (4 - group.len()));
        let count = group.len().checked_sub(1)?;
        bytes.extend(bits.to_be_bytes().get(1..=count)?);
    }
    Some(bytes)
}

/// Each file of a known path by the agent's own calls, which follow links.
async fn one_by_one(agent: &Agent, wanted: &[Wanted], patience: Duration) -> Result<Files, AgentError> {
    let mut files = Files::default();
    let is_plain =
        |wanted: &&Wanted| wanted.most_bytes > 0 && !wanted.pattern.parts().any(|part| part.contains('*'));
    let mut left = wanted.iter().filter(is_plain);
    for wanted in left.by_ref().take(FILES_MAX) {
        let text = String::from(wanted.pattern.clone());
        let Ok(path) = FilePath::new(text.clone()) else { continue };
        match agent.read_file(&text, FILE_MAX_BYTES, patience).await {
            Ok(bytes) => {
                let size = bytes.len() as u64;
                let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
                files.nodes.insert(path, FileNode::File { bytes, size, owner });
            }
            Err(AgentError::Refused { class, description, .. }) if class != "CommandNotFound" => {
                if !description.contains("No such file") {
                    files.gaps.push(Gap { place: text, why: description });
                }
            }
            Err(AgentError::TooLong { .. }) => {
                files.gaps.push(Gap { place: text, why: "it is too long".to_owned() });
            }
            Err(error) => return Err(error),
        }
    }
    let others = wanted.iter().filter(|wanted| !is_plain(wanted)).chain(left);
    files.gaps.extend(others.map(|wanted| Gap {
        place: String::from(wanted.pattern.clone()),
        why: "the guest's agent may not run programs, so directories cannot be listed".to_owned(),
    }));
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use lodge_model::guest_disk::Pattern;

    use super::*;

    fn wanted(text: &str, most_bytes: u64) -> Wanted {
        Wanted { pattern: Pattern::new(text).unwrap(), most_bytes }
    }

    #[test]
    fn the_script_reads_what_is_there_and_quotes_what_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| format!("{}/{name}", directory.path().display());
        std::fs::write(directory.path().join("machine id'; touch x"), "abc\n").unwrap();
        std::fs::write(directory.path().join("key-1"), "12345").unwrap();
        std::os::unix::fs::symlink("key-1", directory.path().join("key-2")).unwrap();
        let asked = [
            wanted(&place("machine id'; touch x"), 9),
            wanted(&place("key-*"), 3),
            wanted(&place("none"), 9),
        ];
        let output = std::process::Command::new("/bin/sh").args(["-c", &script(&asked)]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = parse(&output.stdout);
        assert_eq!(files.nodes.len(), 3, "{files:?}");
        assert_eq!(files.text(&place("machine id'; touch x")).as_deref(), Some("abc\n"));
        assert_eq!(files.node(&place("key-2")), Some(&FileNode::Link(b"key-1".to_vec())));
        assert!(
            matches!(files.node(&place("key-1")), Some(FileNode::File { bytes, size: 5, .. }) if bytes == b"123")
        );
    }

    #[test]
    fn who_wants_more_of_a_file_has_it() {
        let (long, short) = ("L2E= file 3 0 0 644 YWJj", "L2E= file 3 0 0 644 YQ==");
        for text in [format!("{long}\n{short}"), format!("{short}\n{long}")] {
            assert_eq!(parse(text.as_bytes()).text("/a").as_deref(), Some("abc"), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        for line in [
            "",
            "x",
            "L2E= file",
            "L2E= file -1 0 0 644 YQ==",
            "L2E= what 1 0 0 644 YQ==",
            "L2EvLi4vYg== file 1 0 0 644 YQ==",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
        assert!(parse_line("L2E= file 1 0 0 644 YQ==").is_some());
        assert_eq!(base64("Zm9vYmE="), Some(b"fooba".to_vec()));
        assert_eq!(base64("Z"), Some(Vec::new()));
        assert_eq!(base64("Z!"), None);
    }
}
