//! `cargo xtask compat`: scripts of client commands against libvirtd and against lodge, and what differs.
//!
//! Each script runs once per side, in a house of its own ([`house`]) where that side's daemon is the host's only one
//! and clients find it by the sockets' real names. What libvirtd gave is kept until the script, a document or libvirtd
//! changes. Deliberately absent: any crate of the product. What is compared is what clients see.

mod bench;
mod differences;
mod house;
mod inside;
mod normal;
mod script;

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    differences::{Found, Listed, compare, diff},
    house::{Builder, Side, Told},
    inside::Outcome,
    normal::Known,
    script::Script,
};

const HELP: &str = "\
Usage: lodge-compat --lodge PROGRAM [OPTIONS] [SCRIPT…]
       lodge-compat --lodge PROGRAM --bench [CALLS]
       lodge-compat --lodge PROGRAM --program libvirtd|lodge COMMAND…

  --accept   write what differs into the list, its reasons to be filled in, and take out what is gone
  --fresh    ask libvirtd again even where its answers are kept
  --twice    libvirtd beside libvirtd: shows that what is compared does not change by itself
  --bench    speed and memory beside libvirtd; CALLS of the long run are a million unless given
  --program  run one command in a house of that side, for a look or a measurement
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<bool> {
    if let [word, side, lodge, what, rest @ ..] = args
        && word == "inside"
    {
        let side = Side::named(side)?;
        match what.as_str() {
            "steps" => inside::run(side, Path::new(lodge), Path::new(rest.first().context("no steps")?))?,
            _ => inside::run_program(side, Path::new(lodge), rest)?,
        }
        return Ok(true);
    }
    let mut options = Options::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--lodge" => options.lodge = words.next().context("--lodge needs a program")?.into(),
            "--accept" => options.accept = true,
            "--fresh" => options.fresh = true,
            "--twice" => options.twice = true,
            "--bench" => {
                bench::run(&builder(&options)?, words.next().map_or("1000000", String::as_str))?;
                return Ok(true);
            }
            "--program" => {
                let side = Side::named(words.next().context("--program needs a side")?)?;
                let program: Vec<String> = words.cloned().collect();
                builder(&options)?.run_program(side, &program)?;
                return Ok(true);
            }
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(true);
            }
            flag if flag.starts_with('-') => bail!("there is no option `{flag}`\n\n{HELP}"),
            script => options.scripts.push(script.to_owned()),
        }
    }
    Compat::open(options)?.run()
}

#[derive(Debug, Default)]
struct Options {
    lodge: PathBuf,
    accept: bool,
    fresh: bool,
    twice: bool,
    scripts: Vec<String>,
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where answers are kept: beside what cargo builds.
fn kept() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(target.join("compat"))
}

fn builder(options: &Options) -> Result<Builder> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "houses are made of mounts and namespaces: run this as root"
    );
    let lodge = fs::canonicalize(&options.lodge).with_context(|| {
        format!("there is no program `{}`; give one with --lodge", options.lodge.display())
    })?;
    Ok(Builder {
        lodge,
        documents: here().join("documents"),
        cache: kept()?.join("cache"),
        programs: kept()?.join("clients/bin"),
        unpacked: kept()?.join("clients/unpacked"),
    })
}

struct Compat {
    options: Options,
    builder: Builder,
    kept: PathBuf,
    known: Known,
    /// A hash of what libvirtd's answers depend on beside the script.
    world: u64,
}

/// What came of all scripts.
#[derive(Default)]
struct Total {
    ran: Vec<String>,
    commands: usize,
    found: Vec<Found>,
}

impl Compat {
    fn open(options: Options) -> Result<Self> {
        let builder = builder(&options)?;
        let mut known = Known::default();
        let mut world = DefaultHasher::new();
        for path in files(&builder.documents)? {
            let text = fs::read(&path)?;
            (path.file_name(), &text).hash(&mut world);
            known.learn(&String::from_utf8_lossy(&text));
        }
        for path in files(&here().join("scripts"))? {
            known.learn(&fs::read_to_string(path)?);
        }
        let libvirtd = fs::metadata("/usr/sbin/libvirtd").context("libvirtd is not installed")?;
        (libvirtd.modified()?, include_str!("house.sh")).hash(&mut world);
        let world = world.finish();
        Ok(Self { options, builder, kept: kept()?, known, world })
    }

    fn run(&self) -> Result<bool> {
        let begun = Instant::now();
        let mut total = Total::default();
        let mut well = true;
        for script in self.scripts()? {
            if let Some(missing) = script.needs.iter().find(|program| !self.exists(program)) {
                println!("── {}: SKIPPED, there is no `{missing}` here", script.name);
                continue;
            }
            match self.run_script(&script) {
                Ok(found) => {
                    total.commands += script.steps.iter().filter(|step| step.is_compared()).count();
                    total.found.extend(found);
                    total.ran.push(script.name);
                }
                Err(error) => {
                    well = false;
                    println!("── {}: {error:#}", script.name);
                }
            }
        }
        well &= self.judge(&total)?;
        println!("{} commands in {} s", total.commands, begun.elapsed().as_secs());
        Ok(well)
    }

    fn scripts(&self) -> Result<Vec<Script>> {
        let directory = here().join("scripts");
        let names = &self.options.scripts;
        let paths = if names.is_empty() {
            files(&directory)?
        } else {
            names.iter().map(|name| directory.join(format!("{name}.compat"))).collect()
        };
        paths.iter().map(|path| Script::read(path)).collect()
    }

    fn run_script(&self, script: &Script) -> Result<Vec<Found>> {
        let begun = Instant::now();
        let theirs = self.libvirtd(script)?;
        let between = Instant::now();
        let ours = if self.options.twice {
            self.run_steps(Side::Libvirtd, script)?
        } else {
            let told = self.run_steps(Side::Lodge, script)?;
            self.keep(Side::Lodge, script, &told)?;
            told
        };
        let found = compare(&script.name, &theirs, &ours.outcomes, &self.known)?;
        println!(
            "── {}: {} steps, {} differ (libvirtd {:.1} s, lodge {:.1} s)",
            script.name,
            theirs.len(),
            found.len(),
            (between - begun).as_secs_f32(),
            between.elapsed().as_secs_f32()
        );
        Ok(found)
    }

    /// libvirtd's answers, kept ones where nothing they depend on has changed.
    fn libvirtd(&self, script: &Script) -> Result<Vec<Outcome>> {
        let mut hash = DefaultHasher::new();
        (self.world, serde_json::to_string(&script.steps)?).hash(&mut hash);
        let stamp = hash.finish().to_string();
        let directory = self.kept.join(Side::Libvirtd.name());
        let stamp_file = directory.join(format!("{}.stamp", script.name));
        let fresh = self.options.fresh || fs::read_to_string(&stamp_file).map_or(true, |kept| kept != stamp);
        let answers = directory.join(format!("{}.json", script.name));
        if !fresh && let Ok(text) = fs::read_to_string(&answers) {
            return Ok(serde_json::from_str(&text)?);
        }
        let told = self.run_steps(Side::Libvirtd, script)?;
        // Without the stamp: to be looked at, and asked again the next time.
        drop(fs::remove_file(&stamp_file));
        self.keep(Side::Libvirtd, script, &told)?;
        for outcome in &told.outcomes {
            ensure!(
                !(outcome.step.how == script::How::Quiet && outcome.code != Some(0)),
                "line {}: `{}` failed with libvirtd, and other steps build on it: {}",
                outcome.step.line,
                outcome.step.command,
                outcome.stderr
            );
        }
        fs::write(stamp_file, stamp)?;
        Ok(told.outcomes)
    }

    fn run_steps(&self, side: Side, script: &Script) -> Result<Told> {
        self.builder.run(side, &script.steps, &self.kept.join(side.name()).join(&script.name))
    }

    fn keep(&self, side: Side, script: &Script, told: &Told) -> Result<()> {
        let directory = self.kept.join(side.name());
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("{}.log", script.name)), &told.log)?;
        let answers = serde_json::to_string_pretty(&told.outcomes)?;
        Ok(fs::write(directory.join(format!("{}.json", script.name)), answers)?)
    }

    fn exists(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let unpacked = ["usr/bin", "usr/sbin", "usr/lib/cockpit"].map(|at| self.builder.unpacked.join(at));
        std::env::split_paths(&path)
            .chain([self.builder.programs.clone()])
            .chain(unpacked)
            .any(|directory| directory.join(program).is_file())
    }

    /// Whether what was found is exactly what the list says.
    fn judge(&self, total: &Total) -> Result<bool> {
        let path = here().join("differences.toml");
        let listed = if self.options.twice { Vec::new() } else { differences::read(&path)? };
        let same = |found: &Found, listed: &Listed| {
            let Found { at, .. } = found;
            at.script == listed.script
                && at.command == listed.command
                && at.nth == listed.nth
                && at.of == listed.of
        };
        let new: Vec<&Found> =
            total.found.iter().filter(|found| !listed.iter().any(|listed| same(found, listed))).collect();
        let gone: Vec<&Listed> = listed
            .iter()
            .filter(|listed| total.ran.contains(&listed.script))
            .filter(|listed| !total.found.iter().any(|found| same(found, listed)))
            .collect();
        for found in &new {
            println!("\n{}:{}  {}", found.at.script, found.line, found.at.command);
            for (part, theirs, ours) in &found.parts {
                print!("  {part}, libvirtd - lodge +\n{}", diff(theirs, ours));
            }
        }
        for listed in &gone {
            println!(
                "\n{}  {}\n  is listed as different in {} and is not",
                listed.script,
                listed.command,
                listed.of.join(", ")
            );
        }
        println!(
            "\n{} differences, {} of them not listed; {} listed and gone",
            total.found.len(),
            new.len(),
            gone.len()
        );
        if self.options.accept {
            let mut list: Vec<Listed> =
                listed.iter().filter(|listed| !gone.contains(listed)).cloned().collect();
            list.extend(new.iter().map(|found| {
                let before = listed.iter().find(|listed| {
                    listed.script == found.at.script
                        && listed.command == found.at.command
                        && listed.nth == found.at.nth
                });
                let reason = before.map_or_else(|| found.in_short(), |listed| listed.reason.clone());
                Listed { reason, ..found.at.clone() }
            }));
            list.sort_by(|a, b| (&a.script, &a.command, a.nth).cmp(&(&b.script, &b.command, b.nth)));
            differences::write(&path, &list)?;
            return Ok(true);
        }
        Ok(new.is_empty() && gone.is_empty())
    }
}

/// The files of a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}
