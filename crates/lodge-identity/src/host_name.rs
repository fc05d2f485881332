//! The host name: where each distribution keeps it, and the files that repeat it.
//!
//! In files that repeat it only the old name itself is replaced, where it stands alone, in the lines that are about
//! the machine's own name; everything else in them is somebody's work.

use lodge_model::guest_disk::FilePath;

use super::{
    Identity, Item, Kind, PlanError, Purpose, State, Wish,
    draft::Draft,
    seen::{Seen, Sight},
    text::{self, Line, Separator},
};

/// Files that are only the name. SUSE wrote the second, and still links it.
const OWN: &[&str] = &["/etc/hostname", "/etc/HOSTNAME"];

/// Lines that are the name: RHEL's before 7, Gentoo's and Alpine's with OpenRC, hostnamed's.
const LINES: &[(&str, &str)] = &[
    ("/etc/sysconfig/network", "HOSTNAME"),
    ("/etc/conf.d/hostname", "hostname"),
    ("/etc/machine-info", "PRETTY_HOSTNAME"),
];

/// Files that repeat it in certain lines: a pattern, the lines' keys and how they are written.
const REPEATS: &[(&str, &[&str], Separator)] = &[
    ("/etc/postfix/main.cf", &["myhostname", "myorigin", "mydestination"], Separator::Equals),
    ("/etc/exim4/update-exim4.conf.conf", &["dc_other_hostnames", "dc_readhost"], Separator::Equals),
    ("/etc/dhcp/dhclient.conf", &["send host-name", "send fqdn.fqdn"], Separator::Blank),
    ("/etc/dhcp/dhclient-*.conf", &["send host-name", "send fqdn.fqdn"], Separator::Blank),
    ("/etc/sysconfig/network-scripts/ifcfg-*", &["DHCP_HOSTNAME", "DHCP_FQDN"], Separator::Equals),
    ("/etc/sysconfig/network/dhcp", &["DHCLIENT_HOSTNAME_OPTION"], Separator::Equals),
    ("/etc/NetworkManager/system-connections/*", &["dhcp-hostname", "dhcp-fqdn"], Separator::Equals),
    ("/etc/systemd/network/*.network", &["Hostname"], Separator::Equals),
    ("/etc/network/interfaces", &["hostname"], Separator::Blank),
    ("/etc/network/interfaces.d/*", &["hostname"], Separator::Blank),
];

const HOSTS: &str = "/etc/hosts";
const MAILNAME: &str = "/etc/mailname";

pub(crate) const WANTED: &[&str] = &[
    "/etc/hostname",
    "/etc/HOSTNAME",
    "/etc/sysconfig/network",
    "/etc/conf.d/hostname",
    "/etc/machine-info",
    HOSTS,
    MAILNAME,
    "/etc/postfix/main.cf",
    "/etc/exim4/update-exim4.conf.conf",
    "/etc/dhcp/dhclient.conf",
    "/etc/dhcp/dhclient-*.conf",
    "/etc/sysconfig/network/dhcp",
];

/// A name that says nothing.
const NO_NAMES: &[&str] = &["localhost", "localhost.localdomain", "(none)"];

/// Whether a text is a host name: RFC 1123 section 2.1, with the limits of DNS.
pub(crate) fn check(name: &str) -> Result<(), PlanError> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(PlanError::HostName(name.escape_debug().to_string()))
}

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    let mut has_any = false;
    for path in OWN {
        if !is_own_file(seen, path) {
            continue;
        }
        let (state, why) = seen.state(path);
        let name = seen.text(path).and_then(|text| own_name(&text));
        let item = match (state, name) {
            (State::Missing, _) => continue,
            (State::Unknown, _) => {
                Item::absent(Kind::HOST_NAME, *path, state).noting(why.unwrap_or_default())
            }
            (_, Some(name)) if !is_no_name(&name) => Item::present(Kind::HOST_NAME, *path, name),
            (_, Some(name)) => Item::absent(Kind::HOST_NAME, *path, State::Empty).noting(format!("`{name}`")),
            (_, None) => Item::absent(Kind::HOST_NAME, *path, State::Empty),
        };
        has_any = true;
        found.push(item);
    }
    for (path, key) in LINES {
        let Some(value) = seen.text(path).and_then(|text| text::shell_value(&text, key)) else { continue };
        has_any = true;
        let place = format!("{path}: {key}");
        found.push(if value.is_empty() || is_no_name(&value) {
            Item::absent(Kind::HOST_NAME, place, State::Empty)
        } else {
            Item::present(Kind::HOST_NAME, place, bounded(&value))
        });
    }
    if !has_any {
        found.push(Item::absent(Kind::HOST_NAME, OWN[0], State::Missing));
    }
    if let Some(name) = seen.text(MAILNAME).and_then(|text| own_name(&text)).filter(|name| !is_no_name(name))
    {
        found.push(Item::present(Kind::HOST_NAME, MAILNAME, name));
    }
}

/// SUSE's second name is a link to the first.
fn is_own_file(seen: &Seen<'_>, path: &str) -> bool {
    path == OWN[0] || !matches!(seen.sight(path), Sight::Link(_))
}

/// The first line that is no comment, hostname(5).
fn own_name(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')).map(bounded)
}

/// A name is at most 253 bytes; a hostile one is shown cut.
fn bounded(name: &str) -> String {
    name.chars().take(253).collect()
}

fn is_no_name(name: &str) -> bool {
    NO_NAMES.contains(&name)
}

/// The old name and the new, each with and without its domain.
struct Names {
    old_short: String,
    old_domain: Option<String>,
    new_short: String,
    new_domain: Option<String>,
}

impl Names {
    fn new(old: &str, new: &str) -> Self {
        let split = |name: &str| match name.split_once('.') {
            Some((short, domain)) => (short.to_owned(), Some(domain.to_owned())),
            None => (name.to_owned(), None),
        };
        let ((old_short, old_domain), (new_short, new_domain)) = (split(old), split(new));
        Self { old_short, old_domain, new_short, new_domain }
    }

    /// The new name in the form that the old one had: with a domain where it had one, if any is known.
    fn like_old(&self) -> String {
        // What stood there may have been no domain at all.
        let old_domain = self.old_domain.as_ref().filter(|domain| check(domain).is_ok());
        match self.new_domain.as_ref().or(old_domain) {
            Some(domain) => format!("{}.{domain}", self.new_short),
            None => self.new_short.clone(),
        }
    }

    /// A word in which the old name is replaced, where it is that name: alone or with a domain.
    fn replace(&self, word: &str) -> Option<String> {
        let rest = word.get(self.old_short.len()..)?;
        let is_old = word[..self.old_short.len()].eq_ignore_ascii_case(&self.old_short);
        if !is_old || self.old_short.is_empty() {
            return None;
        }
        match (rest.strip_prefix('.'), &self.new_domain) {
            (Some(_), Some(domain)) => Some(format!("{}.{domain}", self.new_short)),
            (Some(domain), None) => Some(format!("{}.{domain}", self.new_short)),
            (None, _) if rest.is_empty() => Some(self.new_short.clone()),
            (None, _) => None,
        }
    }

    /// A text in which each such word is replaced; everything between words stays.
    fn replace_in(&self, text: &str) -> String {
        let is_inner = |letter: char| text::is_label_char(letter) || letter == '.';
        let mut out = String::with_capacity(text.len());
        for piece in text.split_inclusive(|letter| !is_inner(letter)) {
            let word = piece.trim_end_matches(|letter| !is_inner(letter));
            match self.replace(word) {
                Some(new) => out.push_str(&new),
                None => out.push_str(word),
            }
            out.push_str(&piece[word.len()..]);
        }
        out
    }
}

pub(crate) fn plan(seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &mut Draft<'_>) {
    if !wish.does("net-hostname") {
        return;
    }
    let olds: Vec<&Item> = before.of(&Kind::HOST_NAME).filter(|item| item.value.is_some()).collect();
    match (wish.purpose, wish.host_name.as_deref()) {
        (_, Some(new)) => rename(seen, &olds, new, draft),
        (Purpose::Generalise, None) => forget(seen, &olds, draft),
        (Purpose::Clone, None) => {
            for item in olds {
                draft.keep(item, "no new name was given");
            }
        }
        (_, None) => {}
    }
}

fn rename(seen: &Seen<'_>, olds: &[&Item], new: &str, draft: &mut Draft<'_>) {
    let reason = "the new machine's name";
    let own: Vec<&str> = olds
        .iter()
        .filter(|item| item.place != MAILNAME && !item.place.ends_with("PRETTY_HOSTNAME"))
        .filter_map(|item| item.value.as_deref())
        .collect();
    let form = Names::new(own.first().copied().unwrap_or_default(), new);
    let mut is_written = false;
    for path in OWN.iter().filter(|path| is_own_file(seen, path)) {
        let Ok(file) = FilePath::new(*path) else { continue };
        // Debian's and everybody's file is made where it is missing, unless the name is kept elsewhere.
        if !draft.has(&file) && (*path != OWN[0] || !olds.is_empty()) {
            continue;
        }
        is_written = true;
        let old = olds.iter().find(|item| item.place == *path).and_then(|item| item.value.as_deref());
        draft.set_text(&file, format!("{}\n", form.like_old()));
        draft.change(&Kind::HOST_NAME, *path, old, Some(&form.like_old()), reason);
    }
    for (path, key) in LINES {
        let Ok(file) = FilePath::new(*path) else { continue };
        let Ok(text) = draft.text(&file) else { continue };
        let Some(old) = text::shell_value(&text, key) else { continue };
        is_written |= *key != "PRETTY_HOSTNAME";
        let name = if *key == "PRETTY_HOSTNAME" { new.to_owned() } else { form.like_old() };
        draft.set_text(&file, set_line(&text, key, &name));
        draft.change(&Kind::HOST_NAME, format!("{path}: {key}"), Some(&old), Some(&name), reason);
    }
    if !is_written {
        draft.flag(&Kind::HOST_NAME, OWN[0], "there is no place where the name could be written");
    }
    let mut done: Vec<&str> = Vec::new();
    for old in own.into_iter().filter(|old| !is_no_name(old)) {
        if !done.contains(&old) {
            done.push(old);
            repeat(seen, &Names::new(old, new), draft);
        }
    }
    mail_name(olds, new, draft);
}

fn set_line(whole: &str, key: &str, new: &str) -> String {
    text::map_lines(whole, |line| {
        text::with_value(line, key, Separator::Equals, new).map_or(Line::Keep, Line::Set)
    })
}

/// The files that repeat the name.
fn repeat(seen: &Seen<'_>, names: &Names, draft: &mut Draft<'_>) {
    if let Ok(hosts) = FilePath::new(HOSTS)
        && let Ok(text) = draft.text(&hosts)
    {
        let new = text::map_lines(&text, |line| {
            let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
            Line::Set(format!("{}{comment}", names.replace_in(entry)))
        });
        if new != text {
            draft.set_text(&hosts, new);
        }
    }
    for (pattern, keys, separator) in REPEATS {
        for path in seen.matching_any(&[pattern]).into_keys() {
            let Ok(text) = draft.text(path) else { continue };
            let new = text::map_lines(&text, |line| {
                let value = keys.iter().find_map(|key| text::line_value(line, key, *separator));
                let Some(value) = value.filter(|value| !value.is_empty()) else { return Line::Keep };
                let start = value.as_ptr() as usize - line.as_ptr() as usize;
                let (head, rest) = line.split_at(start);
                Line::Set(format!("{head}{}", names.replace_in(rest)))
            });
            if new != text {
                draft.set_text(path, new);
            }
        }
    }
}

fn mail_name(olds: &[&Item], new: &str, draft: &mut Draft<'_>) {
    let Some(item) = olds.iter().find(|item| item.place == MAILNAME) else { return };
    let (Some(old), Ok(path)) = (item.value.as_deref(), FilePath::new(MAILNAME)) else { return };
    let host = olds.iter().find(|item| item.place != MAILNAME).and_then(|item| item.value.as_deref());
    let replaced = host.and_then(|host| Names::new(host, new).replace(old));
    match replaced {
        Some(new) => {
            draft.set_text(&path, format!("{new}\n"));
            draft.change(
                &Kind::HOST_NAME,
                MAILNAME,
                Some(old),
                Some(&new),
                "mail is sent in the machine's name",
            );
        }
        None => draft.keep(item, "it is not the machine's own name"),
    }
}

/// A template has no name. `localhost` is what installers write, and all take it for none: hostname(5).
fn forget(seen: &Seen<'_>, olds: &[&Item], draft: &mut Draft<'_>) {
    let reason = "each machine made of the template gets its own";
    for item in olds {
        let old = item.value.as_deref();
        let (path, key) = item.place.split_once(": ").unwrap_or((&item.place, ""));
        let Ok(file) = FilePath::new(path) else { continue };
        if path == MAILNAME {
            draft.remove(file);
        } else if key.is_empty() {
            draft.set_text(&file, "localhost\n".to_owned());
        } else if let Ok(text) = draft.text(&file) {
            let drop_line = key == "PRETTY_HOSTNAME";
            let new = text::map_lines(&text, |line| {
                match text::with_value(line, key, Separator::Equals, "localhost") {
                    Some(_) if drop_line => Line::Drop,
                    Some(new) => Line::Set(new),
                    None => Line::Keep,
                }
            });
            draft.set_text(&file, new);
        }
        draft.change(&Kind::HOST_NAME, item.place.clone(), old, None, reason);
    }
    for old in olds.iter().filter(|item| item.place != MAILNAME).filter_map(|item| item.value.as_deref()) {
        forget_in_hosts(old, draft);
        repeat(seen, &Names::new(old, "localhost"), draft);
    }
}

/// Without the old name in `/etc/hosts`; an address that has no other name goes.
fn forget_in_hosts(old: &str, draft: &mut Draft<'_>) {
    let Ok(hosts) = FilePath::new(HOSTS) else { return };
    let Ok(text) = draft.text(&hosts) else { return };
    let names = Names::new(old, "localhost");
    let new = text::map_lines(&text, |line| {
        let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        let mut words = entry.split_whitespace();
        let Some(address) = words.next() else { return Line::Keep };
        let (own, others): (Vec<&str>, Vec<&str>) = words.partition(|word| names.replace(word).is_some());
        if own.is_empty() {
            Line::Keep
        } else if others.is_empty() {
            Line::Drop
        } else {
            Line::Set(format!("{address}\t{}{comment}", others.join(" ")))
        }
    });
    if new != text {
        draft.set_text(&hosts, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_what_is_none() {
        for good in ["web1", "web-1.example.com", "1a", &"a".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", "a_b", "a b", "a\nb", "é", &"a".repeat(64), &"a.".repeat(127)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_is_replaced_with_and_without_its_domain() {
        let names = Names::new("web.example.com", "db");
        assert_eq!(names.like_old(), "db.example.com");
        let line = "127.0.1.1\tweb.example.com web  web2 # web";
        assert_eq!(names.replace_in(line), "127.0.1.1\tdb.example.com db  web2 # db");
        let names = Names::new("web", "db.example.org");
        assert_eq!(names.replace_in("web.example.com, web,localhost"), "db.example.org, db,localhost");
    }
}
