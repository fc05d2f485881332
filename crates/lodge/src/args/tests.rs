//! The grammar as a whole, and the texts a person sees who types something wrong.

use clap::CommandFactory;
use expect_test::expect;

use super::*;

#[test]
fn the_grammar_holds_together() {
    Cli::command().debug_assert();
}

fn refused(line: &str) -> String {
    let words = line.split(' ').map(OsString::from);
    parse(words).err().map(|refusal| refusal.text().to_owned()).unwrap_or_default()
}

/// The first lines were compared with virsh's.
#[test]
fn slips_are_told_as_virsh_tells_them() {
    let lines = ["nosuch", "start", "list --bad", "list extra", "dominfo a b", "net-dumpxml", "run"];
    let told: String = lines.map(|line| refused(&format!("lodge {line}"))).concat();
    expect![[r#"
        error: unknown command: 'nosuch'
        hint: `lodge help` lists the commands
        error: command 'start' requires <domain> option
        hint: `lodge help start` tells its options
        error: command 'list' doesn't support option --bad
        hint: `lodge help list` tells its options
        error: unexpected data 'extra'
        hint: `lodge help list` tells its options
        error: unexpected data 'b'
        hint: `lodge help dominfo` tells its options
        error: command 'net-dumpxml' requires <network> option
        hint: `lodge help net-dumpxml` tells its options
        error: command 'run' requires <IMAGE> option
        hint: `lodge help run` tells its options
    "#]]
    .assert_eq(&told);
}

#[test]
fn help_is_grouped_and_complete() {
    let text = refused("lodge --help");
    assert!(
        text.contains("Grouped commands:") && text.contains(" Domain Management (help keyword 'domain'):")
    );
    assert!(
        text.contains("    start                          start a (previously defined) inactive domain\n")
    );
}

#[test]
fn options_for_everywhere_may_stand_anywhere() {
    let cli =
        parse(["lodge", "list", "--all", "-o", "json", "-c", "/s", "-q"].map(OsString::from)).ok().unwrap();
    assert_eq!(
        (cli.global.output, cli.global.connect.as_deref(), cli.global.quiet),
        (Format::Json, Some("/s"), true)
    );
}
