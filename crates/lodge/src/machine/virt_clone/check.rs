//! `--check`: virt-install(1)'s checks by their names. What they look for is always looked for here, so to ask for one is to
//! ask for what happens anyway, and to switch one off is refused with the reason.

use lodge_client::api::ErrorKind;

use crate::failure::{Failure, invalid};

/// Each check, and why it stays on.
const CHECKS: &[(&str, &str)] = &[
    ("mac_in_use", "two machines of one address harm both: leave --mac out to get a free one"),
    (
        "path_in_use",
        "a disk that somebody writes to is copied as no moment had it: `lodge storage needs FILE` says who has it",
    ),
    (
        "path_exists",
        "a clone is written over no file: remove it first, or take it as it is with --preserve-data",
    ),
    (
        "disk_size",
        "a copy that does not fit fails and is taken back: there is no way to have more than there is",
    ),
];

/// Judges one `CHECK=on|off`.
pub fn judge(asked: &str) -> Result<(), Failure> {
    for one in asked.split(',') {
        let (name, value) = one.split_once('=').unwrap_or((one, "on"));
        let is_on = match value {
            "on" | "yes" | "1" | "true" => true,
            "off" | "no" | "0" | "false" => false,
            other => return Err(invalid(format!("--check {name}: `{other}` is neither on nor off"))),
        };
        let why = match (name, CHECKS.iter().find(|(known, _)| *known == name)) {
            ("all", _) => "what they look for harms both machines, or all that is on the disk",
            (_, Some((_, why))) => why,
            (_, None) => {
                let known: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
                return Err(invalid(format!("--check: there is no check `{name}`"))
                    .hint(format!("there are all, {}", known.join(", "))));
            }
        };
        if !is_on {
            let text = format!("--check {name}=off is not supported: the check stays on");
            return Err(Failure::new(ErrorKind::Unsupported, text).hint(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_stay_on() {
        for good in ["all=on", "mac_in_use=on", "path_exists=yes,disk_size=on", "path_in_use"] {
            assert!(judge(good).is_ok(), "{good}");
        }
        for bad in
            ["all=off", "mac_in_use=off", "disk_size=off", "all=on,path_exists=off", "colour=on", "all=maybe"]
        {
            assert!(judge(bad).is_err(), "{bad}");
        }
        assert_eq!(judge("mac_in_use=off").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
