//! What cloud-init's own records say: `/run/cloud-init/status.json` and `result.json`, and its log.
//!
//! Pure. The files are the guest's: bounded by who reads them, and anything unexpected in them is passed over.
//! Shapes: 22.4 writes `{"v1": {"datasource", "stage", "init-local": {errors, start, finished}, …}}`; 23.4 adds
//! `recoverable_errors` by level to each stage (`cloudinit/cmd/main.py`, `status_wrapper`). A stage's errors are
//! the texts of Python tuples `('locale', ProcessExecutionError(…))`, or of plain exceptions.

mod failure;
mod log;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Failure;
use failure::{failure, module_failure, seed_not_read};
pub use log::{ds_identify_line, is_packages, log_line, package_manager_line};

/// The records' digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Where it leads.
    pub verdict: Verdict,
    /// The stage that runs now.
    pub stage: Option<String>,
    /// Where its data came from.
    pub datasource: Option<String>,
    /// Modules that failed so far.
    pub failed: Vec<String>,
    /// What it complained of and went on.
    pub recoverable: Vec<String>,
    /// What to tell a person.
    pub message: String,
    /// Differs from the last report's when something moved.
    pub mark: u64,
}

/// Where the records lead.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It works, or is going to.
    Running,
    /// It is through.
    Done,
    /// It is through, and something failed.
    Failed(Failure),
}

/// The stages in their order. `modules-init` belongs to `init` in all versions; its entry stays empty.
const STAGES: [&str; 4] = ["init-local", "init", "modules-config", "modules-final"];

/// Complaints kept.
const COMPLAINTS_MAX: usize = 20;
/// Characters of a guest's text that are looked at, and that are shown.
const TEXT_MAX_CHARS: usize = 4000;
const LINE_MAX_CHARS: usize = 400;

/// What was read of a guest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Records<'a> {
    /// `status.json`.
    pub status: Option<&'a [u8]>,
    /// `result.json`.
    pub result: Option<&'a [u8]>,
    /// The end of `/var/log/cloud-init-output.log`.
    pub output: Option<&'a [u8]>,
    /// The guest was given a seed.
    pub seed: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    v1: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stage {
    errors: Vec<Value>,
    start: Option<f64>,
    finished: Option<f64>,
    recoverable_errors: Map<String, Value>,
}

/// Digests the records.
pub fn digest(records: &Records<'_>) -> Report {
    let status = parse(records.status);
    let result = records.result.map(|bytes| parse(Some(bytes)));
    let stage_of = |name: &str| -> Stage {
        status.get(name).and_then(|stage| serde_json::from_value(stage.clone()).ok()).unwrap_or_default()
    };
    let stages = STAGES.map(|name| (name, stage_of(name)));
    let text_of = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).map(|text| clean(text, 80))
    };
    let running = text_of(&status, "stage").filter(|stage| !stage.is_empty());
    let datasource = result.as_ref().and_then(|result| text_of(result, "datasource"));
    let datasource = datasource.or_else(|| text_of(&status, "datasource"));
    let errors =
        stages.iter().flat_map(|(name, stage)| stage.errors.iter().map(|error| failure(name, &text(error))));
    let mut failures: Vec<Failure> = errors.collect();
    for (_, complaint) in stages.iter().flat_map(|(_, stage)| complaints_of(stage)) {
        failures.extend(
            module_failure(&complaint).filter(|new| failures.iter().all(|old| old.module != new.module)),
        );
    }
    let is_over = running.is_none()
        && (result.is_some() || stages.last().is_some_and(|(_, stage)| stage.finished.unwrap_or(0.0) > 0.0));
    let failed: Vec<String> = failures.iter().map(|failure| failure.module.clone()).collect();
    let verdict = match failures.into_iter().next() {
        _ if !is_over => Verdict::Running,
        Some(failure) => Verdict::Failed(failure),
        None => match result_errors(result.as_ref()) {
            Some(error) => Verdict::Failed(failure("cloud-init", &error)),
            None if records.seed && is_fallback(datasource.as_deref()) => Verdict::Failed(seed_not_read()),
            None => Verdict::Done,
        },
    };
    let recoverable = complaints(&stages);
    let output = records.output.and_then(last_line);
    let message = message(&verdict, running.as_deref(), &stages, &failed, &recoverable, output.as_deref());
    let mark = mark(records);
    Report { verdict, stage: running, datasource, failed, recoverable, message, mark }
}

/// Digests what `cloud-init status --format json` printed, for guests whose agent runs programs but reads no
/// files. `None`: it printed something else.
pub fn digest_command(output: &[u8], seed: bool) -> Option<Report> {
    let document: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let status = document.get("status")?.as_str()?;
    if matches!(status, "not run" | "not started") {
        return Some(not_begun());
    }
    if status == "disabled" {
        return seed.then(switched_off);
    }
    // 23.4 and later print the stages of status.json, too; before, only the errors of them all.
    let ended = matches!(status, "done" | "error") && document.get("stage").is_none_or(Value::is_null);
    let datasource = document
        .get("detail")
        .filter(|detail| detail.as_str().is_some_and(|detail| detail.starts_with("DataSource")));
    let mut v1 = document.clone();
    v1.insert("datasource".to_owned(), datasource.cloned().unwrap_or(Value::Null));
    let status = serde_json::json!({ "v1": v1 }).to_string();
    let result = serde_json::json!({ "v1": { "datasource": datasource, "errors": document.get("errors") } });
    let result = ended.then(|| result.to_string());
    let records = Records {
        status: Some(status.as_bytes()),
        result: result.as_deref().map(str::as_bytes),
        output: None,
        // Its data source is not always told there: what is not known is not held against it.
        seed: seed && datasource.is_some(),
    };
    Some(digest(&records))
}

/// cloud-init is there and switched on, but has not begun.
pub fn not_begun() -> Report {
    Report {
        verdict: Verdict::Running,
        stage: None,
        datasource: None,
        failed: Vec::new(),
        recoverable: Vec::new(),
        message: "cloud-init has not begun yet".to_owned(),
        mark: 1,
    }
}

/// cloud-init found no data source and switched itself off, though there is a seed.
pub fn switched_off() -> Report {
    Report {
        verdict: Verdict::Failed(seed_not_read()),
        message: "cloud-init found no data source and did not run".to_owned(),
        mark: 2,
        ..not_begun()
    }
}

fn parse(bytes: Option<&[u8]>) -> Map<String, Value> {
    bytes.and_then(|bytes| serde_json::from_slice::<Document>(bytes).ok()).unwrap_or_default().v1
}

fn is_fallback(datasource: Option<&str>) -> bool {
    datasource.is_none_or(|datasource| datasource.starts_with("DataSourceNone"))
}

fn result_errors(result: Option<&Map<String, Value>>) -> Option<String> {
    result?.get("errors")?.as_array()?.first().map(text)
}

fn complaints(stages: &[(&str, Stage)]) -> Vec<String> {
    let mut all = Vec::new();
    for (level, complaint) in stages.iter().flat_map(|(_, stage)| complaints_of(stage)) {
        let complaint = format!("{level}: {complaint}");
        if all.len() < COMPLAINTS_MAX && !all.contains(&complaint) {
            all.push(complaint);
        }
    }
    all
}

/// A stage's complaints, each with its level.
fn complaints_of(stage: &Stage) -> impl Iterator<Item = (String, String)> {
    stage.recoverable_errors.iter().flat_map(|(level, texts)| {
        let texts = texts.as_array().into_iter().flatten();
        texts.map(move |complaint| (clean(level, 40), text(complaint)))
    })
}

fn message(
    verdict: &Verdict,
    running: Option<&str>,
    stages: &[(&str, Stage)],
    failed: &[String],
    recoverable: &[String],
    output: Option<&str>,
) -> String {
    match verdict {
        Verdict::Failed(failure) if failed.is_empty() => format!("cloud-init: {} failed", failure.module),
        Verdict::Failed(_) => format!("cloud-init: {} failed", failed.join(", ")),
        Verdict::Done if recoverable.is_empty() => "cloud-init is done".to_owned(),
        Verdict::Done => "cloud-init is done, with complaints".to_owned(),
        Verdict::Running => {
            let last = stages.iter().rev().find(|(_, stage)| stage.start.is_some()).map(|(name, _)| *name);
            let mut words = match (running, last) {
                (Some(stage), _) => format!("cloud-init: stage {stage}"),
                (None, Some(stage)) => format!("cloud-init: stage {stage} is done"),
                (None, None) => "cloud-init: begins".to_owned(),
            };
            if !failed.is_empty() {
                words.push_str("; failed so far: ");
                words.push_str(&failed.join(", "));
            }
            if let Some(output) = output {
                words.push_str("; ");
                words.push_str(output);
            }
            words
        }
    }
}

/// The output's last line with something in it, shortened.
fn last_line(output: &[u8]) -> Option<String> {
    let output = String::from_utf8_lossy(output);
    let line = output.lines().rev().find(|line| !line.trim().is_empty())?;
    // Progress bars overwrite themselves with carriage returns.
    let line = line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or(line);
    Some(clean(line.trim(), 120))
}

/// A number that differs when the records do.
fn mark(records: &Records<'_>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (records.status, records.result, records.output).hash(&mut hasher);
    hasher.finish() | 1 << 63
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| clean(&value.to_string(), TEXT_MAX_CHARS), |text| clean(text, TEXT_MAX_CHARS))
}

/// A guest's text for our terminal and log: one line, no control characters, bounded.
fn clean(text: &str, most_chars: usize) -> String {
    let mut cleaned = String::new();
    for c in text.chars().take(most_chars) {
        match c {
            '\n' | '\t' => cleaned.push(' '),
            c if c.is_control() => cleaned.extend(c.escape_debug()),
            c => cleaned.push(c),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests;
