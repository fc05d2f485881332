//! lodge-wire's tables: from facts, a line each, to the lines of its macros.
//!
//! A facts file is ours, one per program:
//! - `program NAME NUMBER VERSION`
//! - `call|event NUMBER NAME [high] [before-login] [args=T] [ret=T] [msg=T] [stream=in|out|both] [sparse=FLAG] [fds-in]
//!   [fds-out] [acl=OBJECT:PERMISSION[@+FLAGS|@-FLAGS|@ARGUMENT=VALUE]]…`
//! - `struct NAME`, then its fields, indented: `NAME TYPE`
//! - `union NAME`, then its arms, indented: `NUMBER NAME TYPE`
//!
//! Types: `i8 … u64 f64 text`, `bytes[MAX]`, `bytes[=LENGTH]`, `T[MAX]`, `T[=LENGTH]`, `?T`, a name, `program.Name`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The programs, each a facts file and a generated module.
pub const PROGRAMS: [&str; 4] = ["remote", "qemu", "lxc", "admin"];

/// The facts of a program.
pub fn facts(program: &str) -> PathBuf {
    room().join("facts").join(format!("{program}.facts"))
}

/// The module made of them.
pub fn module(program: &str) -> PathBuf {
    room().join("src").join(format!("{program}.rs"))
}

fn room() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/lodge-wire")
}

/// The module's text.
pub fn generate(facts: &str) -> Result<String> {
    let mut table = Table::default();
    for (index, line) in facts.lines().enumerate() {
        table.line(line).with_context(|| format!("line {}: `{line}`", index + 1))?;
    }
    table.write()
}

#[derive(Default)]
struct Table {
    program: Vec<String>,
    calls: Vec<Procedure>,
    events: Vec<Procedure>,
    shapes: Vec<Shape>,
}

struct Procedure {
    number: i32,
    name: String,
    words: Vec<String>,
}

struct Shape {
    union: bool,
    name: String,
    members: Vec<Vec<String>>,
}

impl Table {
    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Some(first) = words.first() else { return Ok(()) };
        if line.starts_with(' ') {
            self.shapes.last_mut().context("a field outside a struct")?.members.push(words);
            return Ok(());
        }
        match first.as_str() {
            "program" => self.program = words,
            "call" | "event" => {
                ensure!(words.len() >= 3, "a procedure has a number and a name");
                let procedure = Procedure {
                    number: words[1].parse()?,
                    name: words[2].clone(),
                    words: words[3..].to_vec(),
                };
                if first == "call" { self.calls.push(procedure) } else { self.events.push(procedure) }
            }
            "struct" | "union" => {
                let name = words.get(1).context("a struct has a name")?.clone();
                self.shapes.push(Shape { union: first == "union", name, members: Vec::new() });
            }
            other => bail!("`{other}` begins no line"),
        }
        Ok(())
    }

    fn write(&self) -> Result<String> {
        let [_, name, number, version] = self.program.as_slice() else { bail!("no `program` line") };
        let mut out = String::new();
        writeln!(out, "//! Program `{name}`: its types and procedures.\n//!")?;
        writeln!(
            out,
            "//! Written by `cargo xtask codegen` from `facts/{name}.facts`; change that, not this.\n"
        )?;
        let fields = || self.shapes.iter().flat_map(|shape| &shape.members).filter_map(|words| words.last());
        if fields().any(|kind| kind.contains("text")) {
            writeln!(out, "use crate::Text;")?;
        }
        if fields().any(|kind| kind.contains("remote.")) {
            writeln!(out, "use crate::remote;")?;
        }
        writeln!(out, "\nprocedures! {{\n    program {} version {version};", grouped(number))?;
        writeln!(out, "    calls {{")?;
        for call in &self.calls {
            let (args, ret) = (call.value("args").unwrap_or("()"), call.value("ret").unwrap_or("()"));
            let facts = call.facts()?;
            let Procedure { number, name, .. } = call;
            writeln!(out, "        {number} {} \"{name}\" ({args}) -> {ret} {{{facts}}}", camel(name))?;
        }
        writeln!(out, "    }}\n    events {{")?;
        for event in &self.events {
            let message = event.value("msg").context("an event has a message")?;
            let facts = event.facts()?;
            let Procedure { number, name, .. } = event;
            writeln!(out, "        {number} {} \"{name}\" ({message}) {{{facts}}}", camel(name))?;
        }
        writeln!(out, "    }}\n}}")?;
        self.write_shapes(&mut out)?;
        Ok(out)
    }

    fn write_shapes(&self, out: &mut String) -> Result<()> {
        for (union, keyword) in [(false, "structs!"), (true, "unions!")] {
            let shapes: Vec<&Shape> = self.shapes.iter().filter(|shape| shape.union == union).collect();
            if shapes.is_empty() {
                continue;
            }
            writeln!(out, "\n{keyword} {{")?;
            for shape in shapes {
                let members =
                    shape.members.iter().map(|words| member(words, union)).collect::<Result<Vec<_>>>()?;
                writeln!(out, "    {} {{ {} }}", shape.name, members.join(" "))?;
            }
            writeln!(out, "}}")?;
        }
        Ok(())
    }
}

impl Procedure {
    /// A line's facts in the macro's words.
    fn facts(&self) -> Result<String> {
        let mut out = Vec::new();
        for word in ["high", "before-login", "fds-in", "fds-out"] {
            if self.words.iter().any(|have| have == word) {
                out.push(word.replace('-', "_"));
            }
        }
        if let Some(way) = self.value("stream") {
            out.push(format!("stream[{}]", camel(way)));
        }
        if let Some(flag) = self.value("sparse") {
            out.push(format!("sparse[{flag}]"));
        }
        let (mut rules, mut asks) = (Vec::new(), Vec::new());
        for rule in self.words.iter().filter_map(|word| word.strip_prefix("acl=")) {
            let (rule, when) = rule.split_once('@').map_or((rule, None), |(rule, when)| (rule, Some(when)));
            let rule = rule.replace(':', ".");
            rules.push(match when {
                None => rule,
                Some(when) => format!("{rule} if {}", condition(when, &mut asks)?),
            });
        }
        if !rules.is_empty() {
            out.push(format!("acl[{}]", rules.join(", ")));
        }
        out.append(&mut asks);
        let pad = |text: String| if text.is_empty() { text } else { format!(" {text} ") };
        Ok(pad(out.join(" ")))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A rule's condition; what its judge must ask the arguments for is added to `asks`, once.
fn condition(when: &str, asks: &mut Vec<String>) -> Result<String> {
    let (text, ask) = if let Some(mask) = when.strip_prefix('+') {
        (format!("flag({mask})"), "flags".to_owned())
    } else if let Some(mask) = when.strip_prefix('-') {
        (format!("no_flag({mask})"), "flags".to_owned())
    } else {
        let (name, value) = when.split_once('=').context("a condition is +FLAGS, -FLAGS or NAME=VALUE")?;
        (format!("parameter(\"{name}\", {value})"), format!("parameter[{name}]"))
    };
    if !asks.contains(&ask) {
        asks.push(ask);
    }
    Ok(text)
}

/// A field or a union's arm.
fn member(words: &[String], union: bool) -> Result<String> {
    match (union, words) {
        (true, [number, name, kind]) => {
            let (kind, how) = rust_type(kind)?;
            ensure!(how.is_none(), "an arm is a plain value");
            Ok(format!("{number} {name}({kind}),"))
        }
        (false, [name, kind]) => {
            let (kind, how) = rust_type(kind)?;
            let name = if matches!(name.as_str(), "type" | "ref" | "in" | "use" | "match") {
                format!("r#{name}")
            } else {
                name.clone()
            };
            let how = how.map(|how| format!(" [{how}]")).unwrap_or_default();
            Ok(format!("{name}: {kind}{how},"))
        }
        _ => bail!("`{}` is no field", words.join(" ")),
    }
}

/// The Rust type, and how it is written where the type alone does not say.
fn rust_type(kind: &str) -> Result<(String, Option<String>)> {
    if let Some(inner) = kind.strip_prefix('?') {
        let (inner, how) = rust_type(inner)?;
        ensure!(how.is_none(), "an optional value is a plain one");
        return Ok((format!("Option<{inner}>"), None));
    }
    if let Some((of, bound)) = kind.split_once('[') {
        let bound = bound.strip_suffix(']').context("no `]`")?;
        return Ok(match (of, bound.strip_prefix('=')) {
            ("bytes", Some(length)) => (format!("[u8; {length}]"), Some("fixed".to_owned())),
            ("i8", Some(length)) => (format!("[u8; {length}]"), Some("fixed_chars".to_owned())),
            ("bytes", None) => ("Vec<u8>".to_owned(), Some(format!("opaque {}", grouped(bound)))),
            ("i8", None) => ("Vec<u8>".to_owned(), Some(format!("chars {}", grouped(bound)))),
            (_, Some(_)) => bail!("no array of a fixed length but of bytes and characters"),
            (of, None) => {
                let (of, how) = rust_type(of)?;
                ensure!(how.is_none(), "a list is of plain values");
                (format!("Vec<{of}>"), Some(format!("list {}", grouped(bound))))
            }
        });
    }
    Ok((if kind == "text" { "Text".to_owned() } else { kind.replace('.', "::") }, None))
}

/// `DOMAIN_GET_INFO` as `DomainGetInfo`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + &rest.to_lowercase()
    };
    name.split('_').filter(|part| !part.is_empty()).map(word).collect()
}

/// Long numbers in groups, as the house writes them.
fn grouped(number: &str) -> String {
    let (prefix, digits, size) = match number.strip_prefix("0x") {
        Some(digits) => ("0x", digits, 4),
        None => ("", number, 3),
    };
    if digits.len() <= 4 {
        return number.to_owned();
    }
    let first = digits.len() % size;
    let mut groups: Vec<&str> = Vec::new();
    if first > 0 {
        groups.push(&digits[..first]);
    }
    groups.extend((first..digits.len()).step_by(size).map(|start| &digits[start..start + size]));
    format!("{prefix}{}", groups.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_what_their_facts_say() {
        for program in PROGRAMS {
            let facts = std::fs::read_to_string(facts(program)).expect("facts");
            let module = std::fs::read_to_string(module(program)).expect("module");
            assert!(
                generate(&facts).expect("facts are sound") == module,
                "{program}: run `cargo xtask codegen`"
            );
        }
    }

    #[test]
    fn a_line_that_says_nothing_is_named() {
        let error = generate("program p 0x1 1\nstruct A\n  b c d e\n").unwrap_err();
        assert_eq!(error.to_string(), "`b c d e` is no field");
        let error = generate("program p 0x1 1\nhello\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: `hello`");
    }
}
