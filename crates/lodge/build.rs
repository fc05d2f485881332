//! How the program is linked.

/// Functions whose machine code is the same become one. An async function's code is made anew in every crate that
/// awaits it, so that the same code is there up to ten times.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    // Where Rust links with its own LLD, which knows the option; elsewhere the program is only larger.
    let by_lld = var("TARGET") == "x86_64-unknown-linux-gnu" && var("RUSTC_LINKER").is_empty();
    if by_lld && var("PROFILE") == "release" {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
