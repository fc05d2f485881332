//! virt-sysprep's customizations as the API takes them, for the catalogue. A step whose operation is not wished is refused:
//! nothing is said and then not minded.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use lodge_api::{SysprepFile, SysprepStep};
use lodge_identity::{BadStep, Operations, Step, Upload};
use lodge_model::{Kind, guest_disk::Owner};

use crate::error::{EngineError, Result};

/// The steps of a wish, those of operations among them. `users`: those to be kept, and those to be removed.
pub(super) fn parse(
    said: &[SysprepStep],
    (keep, remove): (&[String], &[String]),
    operations: Option<&Operations>,
) -> Result<Vec<Step>> {
    let does = |name: &str| matches!(operations, Some(Operations::Only(names)) if names.contains(name));
    let is_of = |name: &str, what: &str| {
        if does(name) {
            return Ok(());
        }
        let text = format!("{what} is of the operation `{name}`, which is not wished");
        Err(EngineError::new(Kind::InvalidInput, text)
            .with_hint(format!("add it: --operations defaults,{name}")))
    };
    let mut steps = Vec::new();
    if does("flag-reconfiguration") {
        steps.push(Step::reconfiguration());
    }
    if !keep.is_empty() || !remove.is_empty() {
        is_of("user-account", "which users stay and which go")?;
    }
    if does("user-account") {
        steps.push(Step::users(keep.iter().cloned().collect(), remove.iter().cloned().collect()));
    }
    for step in said {
        let parsed = parse_one(step).map_err(told)?;
        is_of("customize", &format!("--{}", step.option))?;
        steps.push(parsed);
    }
    Ok(steps)
}

fn parse_one(step: &SysprepStep) -> std::result::Result<Step, BadStep> {
    let files = step.files.iter().map(upload).collect::<std::result::Result<Vec<_>, _>>()?;
    Step::parse(&step.option, &step.value, files)
}

fn upload(file: &SysprepFile) -> std::result::Result<Upload, BadStep> {
    let owner = Owner { uid: file.uid, gid: file.gid, mode: file.mode & 0o7777 };
    let fault =
        |why: &str| BadStep::Value { option: "upload".to_owned(), why: format!("{}: {why}", file.path) };
    match (&file.base64, &file.link) {
        (Some(_), Some(_)) => Err(fault("it is a file or a link, and not both")),
        (Some(text), None) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| fault("its bytes are no base64"))?;
            Upload::file(&file.path, bytes, owner)
        }
        (None, Some(to)) => Upload::link(&file.path, to, owner),
        (None, None) => Upload::directory(&file.path, owner),
    }
}

fn told(error: BadStep) -> EngineError {
    let kind = match &error {
        BadStep::Unsupported { .. } => Kind::Unsupported,
        BadStep::Unknown(_) | BadStep::Value { .. } => Kind::InvalidInput,
    };
    EngineError::of(kind, None, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    fn step(option: &str, value: &str) -> SysprepStep {
        SysprepStep { option: option.to_owned(), value: value.to_owned(), files: Vec::new() }
    }

    #[test]
    fn a_step_is_of_an_operation_that_is_wished() {
        let operations = |list: &str| Operations::parse(list).unwrap();
        let of = |list: &str, said: &[SysprepStep], keep: &[String]| {
            parse(said, (keep, &[]), Some(&operations(list)))
                .map(|steps| steps.len())
                .map_err(|error| error.to_string())
        };
        let write = [step("write", "/a:b")];
        assert_eq!(of("defaults", &write, &[]), Ok(1));
        assert_eq!(of("defaults,user-account", &write, &["bob".to_owned()]), Ok(2));
        assert!(of("machine-id", &write, &[]).unwrap_err().contains("`customize`"));
        assert!(of("defaults", &[], &["bob".to_owned()]).unwrap_err().contains("`user-account`"));
        assert!(parse(&write, (&[], &[]), None).is_err());
        // Refused by its own name before that.
        let error = parse(&[step("run", "x")], (&[], &[]), Some(&operations("machine-id"))).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        let file = SysprepFile { path: "a".into(), base64: Some("%".into()), ..SysprepFile::default() };
        let bad = SysprepStep { files: vec![file], ..step("upload", "a:/b") };
        assert!(of("defaults", &[bad], &[]).unwrap_err().contains("base64"));
    }
}
