//! Scripts that a guest runs at its next boot, once and in order: a unit of systemd's, which takes each out of its directory
//! before it runs, so that one that hangs or fails is not run again.
//!
//! Deliberately absent: init systems of other kinds (refused by name), Windows.

use lodge_model::guest_disk::{FilePath, Owner};

use super::Work;
use crate::{Init, draft::There};

const SCRIPTS: &str = "/usr/lib/lodge/first-boot";
const RUNNER: &str = "/usr/lib/lodge/run-first-boot";
const UNIT: &str = "/etc/systemd/system/lodge-first-boot.service";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants/lodge-first-boot.service";

pub(super) const WANTED: &[&str] = &["/usr/lib/lodge/first-boot/*", RUNNER, UNIT, WANTS];

const PROGRAM: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };
const FILE: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

/// What each says stands in the journal, and in a file for those who look later.
const RUN: &str = r#"#!/bin/sh
# Runs what lies in the directory, once each, in the order of the names.
dir=/usr/lib/lodge/first-boot
for script in "$dir"/*; do
    [ -f "$script" ] || continue
    begun=$dir.begun/${script##*/}
    mkdir -p "$dir.begun" && mv "$script" "$begun" || exit 1
    echo "first boot: ${script##*/}"
    "$begun" </dev/null
    echo "first boot: ${script##*/} ended with $?"
done 2>&1 | tee -a /var/log/lodge-first-boot.log
rm -rf "$dir.begun"
"#;

const SERVICE: &str = "[Unit]
Description=What this machine was told to do at its first boot
ConditionDirectoryNotEmpty=/usr/lib/lodge/first-boot
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/lib/lodge/run-first-boot
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
";

/// Letters of a script's name that are kept of what it is called.
const NAME_LETTERS: usize = 40;

pub(super) fn plan(work: &mut Work<'_, '_>, name: &str, script: &[u8]) -> Result<(), String> {
    if work.seen.system.init != Init::Systemd {
        return Err("the guest has no systemd, which alone is told of scripts here".to_owned());
    }
    if script.is_empty() {
        return Err("the script is empty".to_owned());
    }
    let path = |text: &str| FilePath::new(text).map_err(|error| error.to_string());
    for (at, bytes, owner) in [(RUNNER, RUN, PROGRAM), (UNIT, SERVICE, FILE)] {
        let at = path(at)?;
        if !work.draft.put(at.clone(), bytes.as_bytes().to_vec(), Some(owner)) {
            return Err(format!("{at} is there and no file"));
        }
    }
    work.draft.link(path(WANTS)?, UNIT);
    // Behind those that wait there already.
    let waiting = work.draft.matching_any(&[WANTED[0]]);
    let number = |path: &FilePath| {
        let name = path.name().split(|byte| *byte == b'-').next()?;
        std::str::from_utf8(name).ok()?.parse::<u32>().ok()
    };
    let last = waiting.iter().filter_map(number).max().unwrap_or(0);
    let kept: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .take(NAME_LETTERS)
        .collect();
    let at = path(&format!("{SCRIPTS}/{:04}-{kept}", last.saturating_add(1)))?;
    debug_assert!(work.draft.there(&at) == There::Nothing, "its number is the next");
    work.write(&at, script.to_vec(), Some(PROGRAM))
}

/// A script that installs packages by whatever the guest installs packages with. The names were looked at.
pub(super) fn install(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!(
        "#!/bin/sh
if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update && exec apt-get -q -y install {packages}
elif command -v dnf >/dev/null; then exec dnf -y install {packages}
elif command -v yum >/dev/null; then exec yum -y install {packages}
elif command -v zypper >/dev/null; then exec zypper -n install -l {packages}
elif command -v apk >/dev/null; then exec apk add {packages}
elif command -v pacman >/dev/null; then exec pacman -Sy --noconfirm {packages}
fi
echo 'no package manager was found' >&2
exit 1
"
    )
}
