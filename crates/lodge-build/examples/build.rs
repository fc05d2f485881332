//! Builds an image by hand: `cargo run -p lodge-build --example build -- debian-12 DIR LODGE`, where LODGE is the program
//! that reads the result.

use std::path::PathBuf;

use lodge_build::{Recipe, Settings, build};
use lodge_disk::worker::WorkerProgram;
use lodge_identity::Catalogue;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "debian-12".to_owned());
    let dir = PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned()));
    let program = PathBuf::from(args.next().unwrap_or_else(|| "target/debug/lodge".to_owned()));
    let recipe = Recipe::named(&name).ok_or("no such recipe")?;
    lodge_build::sweep(&dir)?;
    let start = std::time::Instant::now();
    let tell = |progress: lodge_build::Progress| {
        let (seconds, percent) = (start.elapsed().as_secs_f32(), progress.fraction * 100.0);
        println!("{seconds:6.1} s {percent:4.0} %  {}", progress.phase);
    };
    let cancel = CancellationToken::new();
    let reader = WorkerProgram {
        program: std::path::absolute(program)?,
        root: dir.join("empty"),
        id: 65_533,
        patience: lodge_disk::worker::ANSWER,
    };
    let settings = Settings::of_host(Catalogue::builtin(), reader)?;
    let stop = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let built = build(recipe, &settings, &dir, &cancel, &tell).await;
    match built {
        Ok(built) => println!("{} {}", built.path.display(), built.sha256),
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            return Err(format!("{error}: {:?}\n{hint}", std::error::Error::source(&error)).into());
        }
    }
    Ok(())
}
