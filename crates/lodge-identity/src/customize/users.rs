//! Users of a guest: their removal, as userdel(8) would do it, and keys that let somebody in.

use std::collections::BTreeSet;

use lodge_model::guest_disk::{FilePath, Owner};

use super::{FILE_MAX_BYTES, PASSWD, SHADOW, Work, below};
use crate::{
    draft::There,
    text::{Line, map_lines},
};

const LOGIN_DEFS: &str = "/etc/login.defs";
const GROUPS: [&str; 2] = ["/etc/group", "/etc/gshadow"];
/// Files of a line per user, the name first.
const OF_USERS: [&str; 4] = [PASSWD, SHADOW, "/etc/subuid", "/etc/subgid"];
const MAIL: [&str; 2] = ["/var/mail", "/var/spool/mail"];
/// What login.defs(5) says where it says nothing.
const FIRST_USER: u32 = 1000;
const LAST_USER: u32 = 60_000;

/// A line of passwd(5).
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

pub(super) fn wanted() -> Vec<(String, u64)> {
    let texts =
        OF_USERS.iter().chain(&GROUPS).chain([&LOGIN_DEFS]).map(|path| ((*path).to_owned(), FILE_MAX_BYTES));
    let names = ["/home/*", "/var/mail/*", "/var/spool/mail/*"].map(|path| (path.to_owned(), 0));
    texts.chain(names).collect()
}

pub(super) fn wanted_of_keys() -> Vec<(String, u64)> {
    let homes = ["/root", "/home/*"];
    let mut all = vec![(PASSWD.to_owned(), FILE_MAX_BYTES)];
    for home in homes {
        all.push((home.to_owned(), 0));
        all.push((format!("{home}/.ssh"), 0));
        all.push((format!("{home}/.ssh/authorized_keys"), FILE_MAX_BYTES));
    }
    all
}

fn path(text: &str) -> Result<FilePath, String> {
    FilePath::new(text).map_err(|error| error.to_string())
}

fn all(work: &Work<'_, '_>) -> Result<Vec<User>, String> {
    let text = work.draft.text(&path(PASSWD)?).map_err(|why| format!("{PASSWD}: {why}"))?;
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some(User { name: (*fields.first()?).to_owned(), uid, gid, home: (*fields.get(5)?).to_owned() })
    };
    Ok(text.lines().filter_map(user).collect())
}

/// A public key that lets somebody in as a user that is there.
pub(super) fn plan_key(work: &mut Work<'_, '_>, user: &str, key: &str) -> Result<(), String> {
    let users = all(work)?;
    let user = users
        .iter()
        .find(|known| known.name == user)
        .ok_or_else(|| format!("the guest has no user `{user}`"))?;
    let home = path(&user.home)?;
    if !matches!(work.draft.there(&home), There::Directory(_)) {
        return Err(format!(
            "the home of `{}`, {home}, is not there, or not where homes are looked for (/root, /home)",
            user.name
        ));
    }
    let own = |mode| Owner { uid: user.uid, gid: user.gid, mode };
    let directory = below(&home, b".ssh")?;
    match work.draft.there(&directory) {
        There::Directory(_) => {}
        There::Nothing => work.draft.directory(directory.clone(), Some(own(0o700))),
        _ => return Err(format!("{directory} is there and no directory")),
    }
    let file = below(&directory, b"authorized_keys")?;
    // What a template's operations take away stands there again, with this key alone.
    work.overrule(&file)?;
    let has_it = work.draft.bytes(&file).is_ok_and(|bytes| {
        bytes.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == key.as_bytes())
    });
    if has_it { Ok(()) } else { work.append(&file, key, Some(own(0o600))) }
}

/// Removes users that people have. `remove`: these; none: all that are not kept.
pub(super) fn plan(
    work: &mut Work<'_, '_>,
    keep: &BTreeSet<String>,
    remove: &BTreeSet<String>,
) -> Result<(), String> {
    let defs = work.draft.text(&path(LOGIN_DEFS)?).unwrap_or_default();
    let limit = |key: &str, default| {
        let line = defs.lines().filter_map(|line| line.trim().strip_prefix(key)).next_back();
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(default)
    };
    let people = limit("UID_MIN", FIRST_USER)..=limit("UID_MAX", LAST_USER);
    let is_meant = |user: &&User| {
        people.contains(&user.uid)
            && !keep.contains(&user.name)
            && (remove.is_empty() || remove.contains(&user.name))
    };
    let users = all(work)?;
    let gone: Vec<&User> = users.iter().filter(is_meant).collect();
    let names: BTreeSet<&str> = gone.iter().map(|user| user.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    for file in OF_USERS {
        edit(work, file, |line| {
            let is_theirs = line.split(':').next().is_some_and(|name| names.contains(name));
            if is_theirs { Line::Drop } else { Line::Keep }
        })?;
    }
    for file in GROUPS {
        edit(work, file, |line| without(line, &names))?;
    }
    for user in gone {
        let others = users.iter().filter(|other| !names.contains(other.name.as_str()));
        remove_home(work, user, &others.map(|other| other.home.as_str()).collect::<Vec<_>>())?;
        for directory in MAIL {
            let spool = below(&path(directory)?, user.name.as_bytes())?;
            if work.draft.has(&spool) {
                work.draft.remove(spool);
            }
        }
        let place = path(PASSWD)?;
        work.told(&place, &format!("no user {}", user.name));
    }
    Ok(())
}

fn edit(work: &mut Work<'_, '_>, file: &str, change: impl FnMut(&str) -> Line) -> Result<(), String> {
    let file = path(file)?;
    if !work.draft.has(&file) {
        return Ok(());
    }
    let text = work.draft.text(&file).map_err(|why| format!("{file}: {why}"))?;
    work.draft.set_text(&file, map_lines(&text, change));
    Ok(())
}

/// A line of group(5) without these users: their own groups, which nobody else is in, go with them.
fn without(line: &str, names: &BTreeSet<&str>) -> Line {
    let Some((head, members)) = line.rsplit_once(':') else { return Line::Keep };
    let left: Vec<&str> =
        members.split(',').filter(|member| !member.is_empty() && !names.contains(member)).collect();
    let is_own = line.split(':').next().is_some_and(|group| names.contains(group));
    if is_own && left.is_empty() {
        return Line::Drop;
    }
    let changed = format!("{head}:{}", left.join(","));
    if changed == line { Line::Keep } else { Line::Set(changed) }
}

/// A home goes where it is one's alone and below a directory of homes; what else is said to be one stays, and is told.
fn remove_home(work: &mut Work<'_, '_>, user: &User, others: &[&str]) -> Result<(), String> {
    let Ok(home) = FilePath::new(user.home.as_str()) else { return Ok(()) };
    let is_needed =
        others.iter().any(|other| FilePath::new(*other).is_ok_and(|other| other.is_within(&home)));
    if home.parts().next() == Some(b"home") && home.parts().count() == 2 && !is_needed {
        if work.draft.has(&home) {
            work.overrule(&home)?;
            work.draft.remove(home);
        }
        return Ok(());
    }
    work.told(&home, &format!("stays, although {} had it as a home", user.name));
    Ok(())
}
