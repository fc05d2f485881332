//! The daemon's log: standard error, and `var/log/lodge/daemon.log` under the root.
//!
//! What is logged and where can be said in libvirt's words, in `libvirtd.conf` and by `virt-admin`:
//! outputs `LEVEL:stderr` and `LEVEL:file:PATH`, filters `LEVEL:MATCH`, levels 1 (debug) to 4 (errors). A filter's
//! match is a part of a module's name (`qemu` matches `lodge_qemu::monitor`); the first that matches decides.
//! `RUST_LOG` wins over the file. Not there: syslog and journald (systemd takes standard error into its journal).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use lodge_libvirt::Settings;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The log as it can be changed while the daemon runs.
#[derive(Clone)]
pub struct Log {
    outputs: Arc<RwLock<Vec<Output>>>,
    filter: reload::Handle<Filter, Registry>,
    /// The filters, in libvirt's words.
    said: Arc<RwLock<String>>,
    level: Level,
}

/// Logs from now on. A log that cannot be opened is said on standard error and is no reason not to run.
pub fn start(directory: &Path, settings: &Settings, verbose: bool) -> Log {
    let level = match settings.log_level {
        _ if verbose => Level::DEBUG,
        None => Level::INFO,
        Some(number) => level_of(number),
    };
    let filters = settings.log_filters.clone().unwrap_or_default();
    let rules = parse_filters(&filters);
    let filter = match EnvFilter::try_from_default_env() {
        Ok(environment) => Filter::Environment(Box::new(environment)),
        Err(_) => Filter::Rules { level, rules: rules.clone().unwrap_or_default() },
    };
    let (filter, handle) = reload::Layer::new(filter);
    let (outputs, trouble) = match settings.log_outputs.as_deref().filter(|outputs| !outputs.is_empty()) {
        Some(outputs) => match parse_outputs(outputs) {
            Ok(outputs) => (outputs, None),
            Err(error) => (usual_outputs(directory).0, Some(error)),
        },
        None => usual_outputs(directory),
    };
    let outputs = Arc::new(RwLock::new(outputs));
    let written =
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Writers(Arc::clone(&outputs)));
    Registry::default().with(filter).with(written).init();
    if let Some(error) = trouble {
        tracing::warn!(error, "log outputs not as asked for");
    }
    if let Err(error) = &rules {
        tracing::warn!(error, "log filters not as asked for");
    }
    let said = if rules.is_ok() { filters } else { String::new() };
    Log { outputs, filter: handle, said: Arc::new(RwLock::new(said)), level }
}

impl Log {
    /// Where it goes, in libvirt's words.
    pub fn outputs(&self) -> String {
        let outputs = self.outputs.read().unwrap_or_else(PoisonError::into_inner);
        outputs.iter().map(Output::words).collect::<Vec<_>>().join(" ")
    }

    /// Sends it elsewhere; the text says what is wrong.
    pub fn set_outputs(&self, words: &str) -> Result<(), String> {
        let fresh = parse_outputs(words)?;
        if fresh.is_empty() {
            return Err("a daemon without a log: name at least one output".to_owned());
        }
        *self.outputs.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// What is logged, in libvirt's words.
    pub fn filters(&self) -> String {
        self.said.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs other things; the text says what is wrong. Without any filter: what the daemon logs at its start.
    pub fn set_filters(&self, words: &str) -> Result<(), String> {
        let rules = parse_filters(words)?;
        let filter = Filter::Rules { level: self.level, rules };
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        words.clone_into(&mut self.said.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// One place the log goes to.
struct Output {
    level: Level,
    sink: Sink,
}

enum Sink {
    Stderr,
    File(PathBuf, Arc<File>),
}

impl Output {
    fn words(&self) -> String {
        let level = number_of(self.level);
        match &self.sink {
            Sink::Stderr => format!("{level}:stderr"),
            Sink::File(path, _) => format!("{level}:file:{}", path.display()),
        }
    }
}

fn usual_outputs(directory: &Path) -> (Vec<Output>, Option<String>) {
    let mut outputs = Vec::new();
    // In the background standard error is that of whoever started it.
    if std::env::var_os(super::background::MARK).is_none() {
        outputs.push(Output { level: Level::TRACE, sink: Sink::Stderr });
    }
    let path = directory.join("daemon.log");
    match std::fs::create_dir_all(directory).and_then(|()| open(&path)) {
        Ok(file) => {
            outputs.push(Output { level: Level::TRACE, sink: Sink::File(path, Arc::new(file)) });
            (outputs, None)
        }
        Err(error) => (outputs, Some(format!("no log file, standard error only: {error}"))),
    }
}

fn parse_outputs(words: &str) -> Result<Vec<Output>, String> {
    words.split_whitespace().map(parse_output).collect()
}

fn parse_output(word: &str) -> Result<Output, String> {
    let malformed = || format!("Malformed format for log output '{word}'");
    let (number, place) = word.split_once(':').ok_or_else(malformed)?;
    let level =
        level_word(number).ok_or_else(|| format!("Invalid priority '{number}' for log output '{word}'"))?;
    let sink = match place.split_once(':') {
        None if place == "stderr" => Sink::Stderr,
        None if place == "journald" => {
            return Err(format!(
                "Lodge writes no '{place}': log to stderr, systemd takes it into the journal"
            ));
        }
        Some(("file", path)) if path.starts_with('/') => {
            let path = PathBuf::from(path);
            let file = open(&path).map_err(|error| format!("cannot open '{}': {error}", path.display()))?;
            Sink::File(path, Arc::new(file))
        }
        Some(("syslog", _)) => {
            return Err(
                "Lodge writes no 'syslog': log to stderr, systemd takes it into the journal".to_owned()
            );
        }
        _ => {
            let destination = place.split(':').next().unwrap_or(place);
            return Err(format!("Invalid log destination '{destination}' for log output '{word}'"));
        }
    };
    Ok(Output { level, sink })
}

/// What a filter's word says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    level: Level,
    part: String,
}

fn parse_filters(words: &str) -> Result<Vec<Rule>, String> {
    words
        .split_whitespace()
        .map(|word| {
            let (number, part) =
                word.split_once(':').ok_or_else(|| format!("Malformed format for filter '{word}'"))?;
            let level = level_word(number)
                .ok_or_else(|| format!("Invalid priority '{number}' for filter '{word}'"))?;
            // libvirt takes every match as `*MATCH*`.
            let part = part.trim_start_matches('+').trim_matches('*').to_owned();
            Ok(Rule { level, part })
        })
        .collect()
}

fn level_word(word: &str) -> Option<Level> {
    word.parse().ok().filter(|number| (1..=4).contains(number)).map(level_of)
}

fn level_of(number: u8) -> Level {
    match number {
        0 | 1 => Level::DEBUG,
        2 => Level::INFO,
        3 => Level::WARN,
        _ => Level::ERROR,
    }
}

fn number_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 4,
        Level::WARN => 3,
        Level::INFO => 2,
        _ => 1,
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Decides what is logged at all.
enum Filter {
    Environment(Box<EnvFilter>),
    Rules { level: Level, rules: Vec<Rule> },
}

impl Filter {
    fn admits(level: Level, rules: &[Rule], metadata: &Metadata<'_>) -> bool {
        let rule = rules.iter().find(|rule| metadata.target().contains(&rule.part));
        *metadata.level() <= rule.map_or(level, |rule| rule.level)
    }
}

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self {
            Self::Environment(filter) => Layer::<S>::register_callsite(&**filter, metadata),
            Self::Rules { level, rules } if Self::admits(*level, rules, metadata) => Interest::always(),
            Self::Rules { .. } => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        match self {
            Self::Environment(filter) => Layer::<S>::enabled(&**filter, metadata, context),
            Self::Rules { level, rules } => Self::admits(*level, rules, metadata),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        match self {
            Self::Environment(filter) => Layer::<S>::max_level_hint(&**filter),
            Self::Rules { level, rules } => {
                rules.iter().map(|rule| rule.level).chain([*level]).max().map(LevelFilter::from_level)
            }
        }
    }
}

/// Writes each line wherever its level goes.
struct Writers(Arc<RwLock<Vec<Output>>>);

struct Writer {
    outputs: Arc<RwLock<Vec<Output>>>,
    level: Level,
}

impl<'a> MakeWriter<'a> for Writers {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        Writer { outputs: Arc::clone(&self.0), level: Level::ERROR }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Writer {
        Writer { outputs: Arc::clone(&self.0), level: *metadata.level() }
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let outputs = self.outputs.read().unwrap_or_else(PoisonError::into_inner);
        for output in outputs.iter() {
            // TRACE goes where DEBUG goes: libvirt has no finer level.
            if number_of(self.level) < number_of(output.level) {
                continue;
            }
            // A place that cannot be written to must not keep the line from the others.
            let _ = match &output.sink {
                Sink::Stderr => io::stderr().write_all(line),
                Sink::File(_, file) => (&**file).write_all(line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_libvirts_words() {
        let rules = parse_filters("1:qemu 4:*remote*").unwrap();
        assert_eq!(rules[0], Rule { level: Level::DEBUG, part: "qemu".into() });
        assert_eq!(rules[1], Rule { level: Level::ERROR, part: "remote".into() });
        assert_eq!(parse_filters("9:x").unwrap_err(), "Invalid priority '9' for filter '9:x'");
        assert!(parse_filters("x").is_err());
    }

    #[test]
    fn outputs_are_libvirts_words() {
        let directory = tempfile::tempdir().unwrap();
        let words = format!("3:stderr 1:file:{}", directory.path().join("log").display());
        let outputs = parse_outputs(&words).unwrap();
        assert_eq!(outputs.iter().map(Output::words).collect::<Vec<_>>().join(" "), words);
        let refused = |words| parse_outputs(words).err().unwrap();
        assert_eq!(refused("1:nofile"), "Invalid log destination 'nofile' for log output '1:nofile'");
        assert_eq!(refused("7:stderr"), "Invalid priority '7' for log output '7:stderr'");
        assert!(refused("1:journald").contains("journald"));
    }
}
