//! How fast definitions become durable here, against the bare system calls in the same run.
//!
//! `cargo run --release -p lodge-store --example define_bench [DIR [COUNT]]`. DIR: on the disk in question.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lodge_store::{Collection, Definitions};

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let count: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let dir = dir.join(format!("lodge-define-bench.{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a new directory");
    // The size of a usual domain's document.
    let xml = format!(
        "<domain type='kvm'>\n{}</domain>\n",
        "  <!-- 64 bytes of a definition, more or less, as usual -->\n".repeat(80)
    );

    let bare = timed(count, || (0..count).for_each(|at| bare_put(&dir, at, &xml)));
    println!("bare write+fsync+rename+fsync(dir)  {bare:8.0}/s");
    for clients in [1, 2, 4, 8] {
        let definitions =
            Definitions::open_at(&dir.join(format!("{clients}")), Collection::Domains).expect("a directory");
        let rate = timed(count, || {
            std::thread::scope(|scope| {
                for client in 0..clients {
                    let (definitions, xml) = (&definitions, &xml);
                    scope.spawn(move || {
                        for at in (client..count).step_by(clients) {
                            definitions.put(&format!("guest{at}"), xml).expect("space");
                        }
                    });
                }
            });
        });
        println!("put, {clients} clients                      {rate:8.0}/s  {:.2} x bare", rate / bare);
    }
    let many = Definitions::open_at(&dir.join("many"), Collection::Domains).expect("a directory");
    for at in 0..10_000 {
        std::fs::write(many.path(&format!("guest{at}")), &xml).expect("space");
    }
    let begun = Instant::now();
    let loaded = many.load_all().expect("a listing");
    println!("load_all of {}               {:8.0} ms", loaded.entries.len(), ms(begun.elapsed()));
    let begun = Instant::now();
    let changed = (0..10_000).filter(|at| many.changed(&format!("guest{at}")).is_ok()).count();
    println!("changed() of {changed}              {:8.0} ms", ms(begun.elapsed()));
    std::fs::remove_dir_all(&dir).expect("ours");
}

fn bare_put(dir: &Path, at: usize, xml: &str) {
    let temp = dir.join("temp");
    let mut file = File::create(&temp).expect("space");
    file.write_all(xml.as_bytes()).expect("space");
    file.sync_all().expect("a disk");
    std::fs::rename(&temp, dir.join(format!("bare{at}.xml"))).expect("the same directory");
    File::open(dir).expect("the directory").sync_all().expect("a disk");
}

#[expect(clippy::cast_precision_loss, reason = "a rate to print")]
fn timed(count: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    count as f64 / begun.elapsed().as_secs_f64()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
