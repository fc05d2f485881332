//! Options as the daemon takes them: with the caller's own files in them, and no password that anybody could read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use lodge_client::api::{SysprepFile, SysprepStep};

use super::password::{self, Method};
use crate::failure::{Failure, invalid};
use crate::session::Session;

/// What one request carries, and base64 makes a third more of.
const FILES_MAX_BYTES: u64 = 2_900_000;

/// The steps of options in their order. Passwords that were chosen here are told.
pub fn of(
    said: Vec<(String, String)>,
    method: Method,
    session: &Session,
) -> Result<Vec<SysprepStep>, Failure> {
    let mut steps = Vec::new();
    let mut left = FILES_MAX_BYTES;
    for (option, value) in said {
        let plain = |value: String| SysprepStep { option: option.clone(), value, files: Vec::new() };
        match option.as_str() {
            // No log is left in any case, and nothing has a network.
            "no-logfile" | "no-network" => {}
            "link" => {
                let (target, links) = value.split_once(':').unwrap_or((value.as_str(), ""));
                steps.extend(links.split(':').map(|link| plain(format!("{target}:{link}"))));
            }
            "password" => {
                let (user, selector) = pair(&option, &value)?;
                let secret = password::settle(user, selector, method, session)?;
                steps.push(plain(format!("{user}:{secret}")));
            }
            "root-password" => steps.push(plain(password::settle("root", &value, method, session)?)),
            "ssh-inject" => {
                let (user, selector) = value.split_once(':').unwrap_or((value.as_str(), ""));
                steps.push(plain(format!("{user}:string:{}", key(selector)?)));
            }
            "upload" | "copy-in" => {
                let (local, _) = pair(&option, &value)?;
                let files = read(Path::new(local), option == "copy-in", &mut left)?;
                steps.push(SysprepStep { files, ..plain(value.clone()) });
            }
            "firstboot" => {
                let files = read(Path::new(&value), false, &mut left)?;
                steps.push(SysprepStep { files, ..plain(value.clone()) });
            }
            _ => steps.push(plain(value)),
        }
    }
    Ok(steps)
}

fn pair<'v>(option: &str, value: &'v str) -> Result<(&'v str, &'v str), Failure> {
    value.split_once(':').ok_or_else(|| invalid(format!("--{option}: `{value}` has no `:` in it")))
}

/// The public key that a selector names; an empty one: the only one of this user's.
fn key(selector: &str) -> Result<String, Failure> {
    let text = match selector.split_once(':') {
        Some(("string", key)) => key.to_owned(),
        Some(("file", file)) => text_of(Path::new(file))?,
        None if selector.is_empty() => text_of(&own_key()?)?,
        _ => {
            return Err(invalid(format!("--ssh-inject: `{selector}` is no selector"))
                .hint("it is file:FILE or string:KEY; nothing means your own key in ~/.ssh"));
        }
    };
    let key = text.trim();
    if key.is_empty() || key.contains('\n') {
        return Err(invalid("--ssh-inject: that is not one public key"));
    }
    Ok(key.to_owned())
}

fn own_key() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".ssh");
    let default = home.join("default.pub");
    if default.exists() {
        return Ok(default);
    }
    let entries = std::fs::read_dir(&home).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut keys: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "pub")).collect();
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        (None, _) => Err(invalid(format!("there is no public key in {}", home.display()))
            .hint("name one: --ssh-inject USER:file:FILE")),
        (Some(_), false) => Err(invalid(format!("there are several public keys in {}", home.display()))
            .hint("name one: --ssh-inject USER:file:FILE")),
    }
}

fn text_of(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| unread(file, error))
}

fn unread(file: &Path, error: std::io::Error) -> Failure {
    invalid(format!("cannot read `{}`", file.display())).because(error)
}

/// A file of the caller's, or a directory with all that is in it, each under its own name.
fn read(local: &Path, is_tree: bool, left: &mut u64) -> Result<Vec<SysprepFile>, Failure> {
    let name = local.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| invalid(format!("`{}` has no name to go by", local.display())))?;
    let mut files = Vec::new();
    let mut rest = vec![(local.to_owned(), name.to_owned())];
    while let Some((from, path)) = rest.pop() {
        // What was named is followed; links in a tree are links in the guest.
        let metadata = if from == local { from.metadata() } else { from.symlink_metadata() };
        let metadata = metadata.map_err(|error| unread(&from, error))?;
        let mode = u16::try_from(metadata.mode() & 0o7777).unwrap_or(0o644);
        let mut file = SysprepFile {
            path: path.clone(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode,
            ..SysprepFile::default()
        };
        if metadata.is_file() {
            *left = left.checked_sub(metadata.len()).ok_or_else(|| {
                invalid("the files are larger than what is taken at once").hint(format!(
                    "{FILES_MAX_BYTES} bytes in all; put larger ones into an image: lodge image build"
                ))
            })?;
            let bytes = std::fs::read(&from).map_err(|error| unread(&from, error))?;
            file.base64 = Some(BASE64_STANDARD.encode(bytes));
        } else if metadata.is_symlink() {
            let to = std::fs::read_link(&from).map_err(|error| unread(&from, error))?;
            let to = to.into_os_string().into_string();
            file.link =
                Some(to.map_err(|_| invalid(format!("`{}` points to what is no text", from.display())))?);
        } else if metadata.is_dir() && is_tree {
            let entries = std::fs::read_dir(&from).map_err(|error| unread(&from, error))?;
            for entry in entries {
                let entry = entry.map_err(|error| unread(&from, error))?;
                let name = entry.file_name().into_string();
                let name = name.map_err(|_| invalid(format!("a name in `{}` is no text", from.display())))?;
                rest.push((entry.path(), format!("{path}/{name}")));
            }
        } else {
            return Err(invalid(format!("`{}` is no file that could be sent", from.display())));
        }
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_whole_and_within_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("a"), "1").unwrap();
        std::os::unix::fs::symlink("a", tree.join("b")).unwrap();
        let mut left = 10;
        let files = read(&tree, true, &mut left).unwrap();
        let of = |path: &str| files.iter().find(|file| file.path == path).unwrap();
        assert_eq!((of("tree").base64.as_ref(), of("tree").link.as_ref()), (None, None));
        assert_eq!((of("tree/a").base64.as_deref(), of("tree/b").link.as_deref()), (Some("MQ=="), Some("a")));
        assert_eq!((files.len(), left), (3, 9));
        // A directory comes before what is in it.
        assert_eq!(files[0].path, "tree");
        assert!(read(&tree, false, &mut left).is_err());
        assert!(read(&tree.join("a"), false, &mut 0).is_err());
    }

    #[test]
    fn keys_are_named_by_selectors() {
        assert_eq!(key("string:ssh-ed25519 A b").unwrap(), "ssh-ed25519 A b");
        assert!(key("string:a\nb").is_err() && key("colour").is_err() && key("file:/never").is_err());
    }
}
