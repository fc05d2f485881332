//! `cargo xtask fuzz [TARGET…] [--seconds N]`: the parsers of foreign bytes under libFuzzer, each target of `fuzz/` for a while.
//!
//! No nightly compiler is wanted: what tells libFuzzer which code ran (LLVM's sanitizer coverage) is a pass that the
//! stable compiler takes too. Deliberately absent: AddressSanitizer, which only a nightly compiler has; the parsers have
//! no `unsafe`, and arithmetic and indices are checked. `cargo +nightly fuzz run TARGET` works on the same directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, exists, output, run, target, workspace};

/// How long each target runs if nobody says.
const SECONDS: u64 = 60;
/// The longest input: what makes a parser slow is told as a hang, what is only long is not.
const INPUT_BYTES: usize = 1 << 16;
/// What one input may take.
const INPUT_SECONDS: usize = 20;
const MEMORY_MIB: usize = 2048;

/// What the compiler is told: count edges and comparisons, as `cargo fuzz` has it.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What targets begin with beside what they found before: directories of examples.
const SEEDS: [(&str, &str); 3] = [
    ("domain_xml", "crates/lodge-model/tests/corpus"),
    ("network_xml", "crates/lodge-model/tests/corpus-network"),
    ("guest_layout", "crates/lodge-disk/tests/fixtures"),
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    targets: Vec<String>,
    seconds: u64,
}

/// Builds the targets that are named, or all, and runs them one after another. The first that finds something ends it.
pub fn fuzz(args: &[String]) -> Result<()> {
    let wish = Wish::of(args, &all_targets()?)?;
    if !["c++", "g++", "clang++"].iter().any(|compiler| exists(compiler)) {
        bail!("libFuzzer is C++ and is compiled here, and there is no C++ compiler\n  → apt-get install g++");
    }
    let place = target().join("fuzz");
    let triple = triple()?;
    build(&wish, &place, &triple)?;
    for name in &wish.targets {
        println!("── {name}, {} s", wish.seconds);
        let program = place.join(&triple).join("release").join(name);
        let (corpus, found) = (place.join("corpus").join(name), place.join("found").join(name));
        for directory in [&corpus, &found] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make `{}`", directory.display()))?;
        }
        let mut fuzzer = Command::new(&program);
        fuzzer
            .arg(format!("-max_total_time={}", wish.seconds))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .args(["-print_final_stats=1", "-verbosity=0"])
            .arg(&corpus);
        let seeds = SEEDS.iter().filter(|(target, _)| target == name);
        fuzzer.args(seeds.map(|(_, directory)| workspace().join(directory)));
        run(&mut fuzzer).with_context(|| {
            format!(
                "{name}: what it found lies in `{}`; to see it again: {} FILE",
                found.display(),
                program.display()
            )
        })?;
    }
    Ok(())
}

fn build(wish: &Wish, place: &Path, triple: &str) -> Result<()> {
    let fuzz = workspace().join("fuzz");
    // The versions that the product has; a workspace of its own would have the newest.
    let lock = "Cargo.lock";
    fs::copy(workspace().join(lock), fuzz.join(lock)).context("cannot copy Cargo.lock to fuzz/")?;
    let mut build = cargo();
    build
        .current_dir(&fuzz)
        // With a target, build scripts and macros are not instrumented.
        .args(["build", "--release", "--target", triple, "--target-dir"])
        .arg(place)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    for name in &wish.targets {
        build.args(["--bin", name]);
    }
    run(&mut build).context(
        "the fuzz targets were not built; the compiler must take LLVM's passes (`-Cpasses=sancov-module`, as Rust's own \
         builds do): rustup toolchain install stable",
    )
}

/// This host's target.
fn triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = output(Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say for what it compiles")?.to_owned())
}

/// A target per file.
fn all_targets() -> Result<Vec<String>> {
    let directory = workspace().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&directory).with_context(|| format!("cannot read `{}`", directory.display()))?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut all: Vec<String> = files.filter_map(|file| name(file.ok()?.path())).collect();
    all.sort();
    Ok(all)
}

impl Wish {
    fn of(args: &[String], all: &[String]) -> Result<Self> {
        let mut wish = Self { targets: Vec::new(), seconds: SECONDS };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => {
                    let seconds =
                        args.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
                    wish.seconds = seconds.context("--seconds needs a number above 0")?;
                }
                name if all.iter().any(|known| known == name) => wish.targets.push(name.to_owned()),
                other => bail!(
                    "`cargo xtask fuzz` knows no `{other}`; it takes --seconds N and the targets {}",
                    all.join(", ")
                ),
            }
        }
        if wish.targets.is_empty() {
            wish.targets = all.to_vec();
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(args: &[&str]) -> Result<Wish> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Wish::of(&args, &["dns_packet".to_owned(), "wire".to_owned()])
    }

    #[test]
    fn targets_are_named_or_all() {
        let some = wish(&["wire", "--seconds", "5"]).unwrap();
        assert_eq!(some, Wish { targets: vec!["wire".into()], seconds: 5 });
        let all = wish(&[]).unwrap();
        assert_eq!(all, Wish { targets: vec!["dns_packet".into(), "wire".into()], seconds: SECONDS });
        let error = wish(&["wires"]).unwrap_err().to_string();
        assert!(error.contains("knows no `wires`") && error.contains("dns_packet, wire"), "{error}");
        assert!(wish(&["--seconds"]).is_err() && wish(&["--seconds", "0"]).is_err());
    }

    #[test]
    fn each_target_is_a_program_of_the_crate_and_seeds_are_there() {
        let manifest = fs::read_to_string(workspace().join("fuzz/Cargo.toml")).unwrap();
        let all = all_targets().unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), all.len());
        for name in &all {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
        for (target, directory) in SEEDS {
            assert!(all.iter().any(|name| name == target), "{target}");
            assert!(workspace().join(directory).is_dir(), "{directory}");
        }
    }
}
