//! An emulated TPM: made by `swtpm_setup` at the first start, served by swtpm at each.
//!
//! Keys and certificates are made by whoever owns the authority that signs them, as with libvirt; then the state is the
//! guest's own user's, and so is swtpm. A passphrase goes by descriptor only.
//! Deliberately absent: whose certificates it gets (`authority`), and the name of the profile that a new TPM got,
//! which libvirt writes into the document.

mod authority;

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::Kind;
use lodge_model::domain::tpm::{Tpm, TpmBackendKind, TpmVersion};
use lodge_qemu::helper::HelperSpec;
use lodge_qemu::helper::swtpm::{Emulator, Setup, StatePlace, bank_arguments, greet};
use lodge_qemu::{Credentials, listen};
use lodge_store::saga::Failure;

use super::{ANSWER_PATIENCE, Served, Site, failure, program, served, start};
use crate::define::blocking;
use crate::start::file_failure;
use crate::start::steps::{Launch, refused};
use crate::tpm::{State, emulated};

/// How long a TPM may take to be made: it looks for primes.
const SETUP_PATIENCE: Duration = Duration::from_mins(2);

/// The state that a start will make.
pub(in crate::start) fn choose(launch: &Launch) -> Option<State> {
    let state = State::of(launch.shared.config.store.root(), launch.id, &launch.document)?;
    (!state.is_made()).then_some(state)
}

/// Makes the TPM if there is none, and starts its swtpm.
pub(super) async fn serve(launch: &Launch, site: &Site) -> Result<Option<Served>, Failure> {
    if let Some(external) = join_external(launch).await? {
        return Ok(Some(external));
    }
    let root = launch.shared.config.store.root();
    let Some(state) = State::of(root, launch.id, &launch.document) else { return Ok(None) };
    let Some((at, tpm)) = emulated(&launch.document) else { return Ok(None) };
    let turn = Turn {
        launch,
        site,
        tpm,
        state: &state,
        element: format!("/domain/devices/tpm[{}]", at + 1),
        alias: alias_of(tpm),
        log: root.swtpm_logs().join(format!("{}-swtpm.log", launch.plan.name)),
        version: tpm.backend.version.unwrap_or(TpmVersion::V2_0),
    };
    turn.set_up().await?;
    turn.emulate().await.map(Some)
}

/// The TPM of a swtpm that somebody else started.
async fn join_external(launch: &Launch) -> Result<Option<Served>, Failure> {
    let mut tpms = launch.document.devices.tpms.iter().enumerate();
    let external = tpms.find(|(_, tpm)| tpm.backend.kind == TpmBackendKind::External);
    let Some((at, tpm)) = external else { return Ok(None) };
    let path = tpm.backend.source.as_ref().and_then(|source| source.path.as_deref());
    let Some(path) = path else { return Ok(None) };
    let element = format!("/domain/devices/tpm[{}]/backend/source", at + 1);
    super::join(path.as_ref(), alias_of(tpm), &element).await.map(Some)
}

fn alias_of(tpm: &Tpm) -> String {
    tpm.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default()
}

/// One TPM in one start.
struct Turn<'a> {
    launch: &'a Launch,
    site: &'a Site,
    tpm: &'a Tpm,
    state: &'a State,
    element: String,
    alias: String,
    log: PathBuf,
    version: TpmVersion,
}

impl Turn<'_> {
    /// Makes the state where there is none, and switches its banks.
    async fn set_up(&self) -> Result<(), Failure> {
        let swtpm_setup = || program("swtpm_setup", "swtpm-tools", &self.element);
        let is_made = {
            let state = self.state.clone();
            blocking(move || state.is_made()).await
        };
        let incoming = self.launch.plan.restore.is_some();
        let place = state_place(self.state, self.state.place());
        let has_banks = bank_arguments(&place, &self.tpm.backend.active_pcr_banks, None, None).is_some();
        if is_made && (incoming || !has_banks) {
            return Ok(());
        }
        let tool = swtpm_setup()?;
        // It starts the other one itself, and says less clearly what is missing.
        program("swtpm", "swtpm", &self.element)?;
        let (configuration, maker) = self.prepare().await?;
        let configuration = configuration.as_deref();
        if !is_made {
            let profile = self.tpm.backend.profile.as_ref();
            if profile.is_some_and(|profile| profile.source.is_some()) {
                self.ask_for_profiles().await?;
            }
            let mut spec = self.tool(&tool, maker.as_ref());
            let passphrase = self.passphrase(&mut spec).await?;
            let setup = Setup {
                version: self.version,
                place: &place,
                guest: (&self.launch.plan.name, self.launch.id),
                configuration,
                passphrase,
                profile,
                incoming,
            };
            spec.arguments = setup.arguments();
            self.run(spec).await?;
        }
        if !incoming && has_banks {
            let mut spec = self.tool(&tool, maker.as_ref());
            let passphrase = self.passphrase(&mut spec).await?;
            let banks = &self.tpm.backend.active_pcr_banks;
            spec.arguments = bank_arguments(&place, banks, configuration, passphrase).unwrap_or_default();
            self.run(spec).await?;
        }
        Ok(())
    }

    /// Makes the place, the log and, for a root of its own, the authority. Says how the tool is configured and whom it
    /// runs as.
    async fn prepare(&self) -> Result<(Option<PathBuf>, Option<Credentials>), Failure> {
        let (state, authority) =
            (self.state.clone(), self.launch.shared.config.store.root().swtpm_authority());
        let has_users = self.site.credentials.is_some();
        let prepared = move || {
            let maker = if has_users { authority::owner(authority.as_deref()) } else { None };
            let configuration = authority.map(|authority| authority::configure(&authority)).transpose()?;
            let failed = |error| file_failure("make", state.place(), &error);
            state.make_place().map_err(failed)?;
            if has_users {
                let (uid, gid) = maker.as_ref().map_or((0, 0), |maker| (maker.uid, maker.gid));
                state.give_to(uid, gid).map_err(|error| file_failure("give away", state.place(), &error))?;
            }
            Ok((configuration, maker))
        };
        self.make_log().await?;
        blocking(prepared).await
    }

    async fn make_log(&self) -> Result<(), Failure> {
        let log = self.log.clone();
        let made = blocking(move || {
            let dir = log.parent().map(Path::to_owned).unwrap_or_default();
            std::fs::create_dir_all(&dir).map_err(|error| file_failure("create", &dir, &error))
        });
        made.await
    }

    fn tool(&self, tool: &Path, maker: Option<&Credentials>) -> HelperSpec {
        let name = format!("{}-setup", self.alias);
        let mut spec = self.site.spec(name, tool.to_owned(), self.log.clone());
        spec.credentials = maker.cloned();
        if self.site.credentials.is_none() {
            // An ordinary user's configuration is found by these.
            let known = ["HOME", "XDG_CONFIG_HOME"].into_iter();
            let known = known.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
            spec.environment.extend(known);
        }
        spec
    }

    async fn run(&self, spec: HelperSpec) -> Result<(), Failure> {
        let helper = start(spec, &self.element).await?;
        helper.done(SETUP_PATIENCE).await.map_err(|error| {
            let hint = format!("all that it said is in {}", self.log.display());
            failure(&self.element, &error).with_hint(hint)
        })
    }

    /// Profiles came with swtpm 0.10.
    async fn ask_for_profiles(&self) -> Result<(), Failure> {
        let asked = lodge_sys::tool::Tool::new("swtpm_setup", ANSWER_PATIENCE).arg("--print-capabilities");
        let said = asked
            .run()
            .await
            .map_err(|error| Failure::new(Kind::Unavailable, format!("{}: {error}", self.element)))?;
        if String::from_utf8_lossy(&said).contains("\"cmdarg-profile\"") {
            return Ok(());
        }
        let message = format!("{}/profile: the swtpm_setup of this host knows no profiles", self.element);
        Err(Failure::new(Kind::Unsupported, message)
            .with_hint("leave <profile> out, or install swtpm 0.10 or later".to_owned()))
    }

    /// The passphrase of an encrypted state, for one reader.
    async fn passphrase(&self, spec: &mut HelperSpec) -> Result<Option<lodge_qemu::FdNumber>, Failure> {
        let Some(encryption) = &self.tpm.backend.encryption else { return Ok(None) };
        let Some(secret) = encryption.secret else {
            let message = format!("{}/backend/encryption: the secret is missing", self.element);
            return Err(Failure::new(Kind::InvalidInput, message));
        };
        let value = self.launch.shared.ports.secrets.tpm_passphrase(secret.0).await;
        let value = value.map_err(|error| refused(&error))?;
        Ok(Some(spec.descriptors.pass(value)))
    }

    /// Starts swtpm and waits until it answers.
    async fn emulate(&self) -> Result<Served, Failure> {
        let swtpm = program("swtpm", "swtpm", &self.element)?;
        self.make_log().await?;
        let name = format!("{}-swtpm", self.alias);
        let socket = self.site.directory.join(format!("{name}.sock"));
        let mut spec = self.site.spec(name, swtpm, self.log.clone());
        let opened = {
            let (state, log, socket) = (self.state.clone(), self.log.clone(), socket.clone());
            let user = self.site.credentials.clone();
            blocking(move || Opened::open(&state, &log, &socket, user.as_ref())).await?
        };
        // By its descriptor: on the way to it there may be what only the daemon may enter.
        let place = PathBuf::from(format!("/proc/self/fd/{}", opened.place.as_raw_fd()));
        let state = self.passphrase(&mut spec).await?;
        let moved = self.passphrase(&mut spec).await?;
        let (control, log) = (spec.descriptors.pass(opened.control), spec.descriptors.pass(opened.log));
        spec.descriptors.pass(opened.place);
        spec.arguments = Emulator {
            version: self.version,
            place: &state_place(self.state, &place),
            control,
            log,
            debug: self.tpm.backend.debug,
            passphrases: state.zip(moved),
        }
        .arguments();
        let helper = start(spec, &self.element).await?;
        let whose = (self.launch.plan.name.as_str(), self.alias.clone(), self.element.as_str());
        served(&helper, whose, (&socket, &self.log), greet).await
    }
}

/// What swtpm gets open.
struct Opened {
    place: OwnedFd,
    control: OwnedFd,
    log: OwnedFd,
}

impl Opened {
    fn open(state: &State, log: &Path, socket: &Path, user: Option<&Credentials>) -> Result<Self, Failure> {
        if let Some(user) = user {
            let given = state.give_to(user.uid, user.gid);
            given.map_err(|error| file_failure("give to the guest's user", state.place(), &error))?;
        }
        let place = OpenOptions::new().read(true).write(state.is_file()).open(state.place());
        let place = place.map_err(|error| file_failure("open the TPM's state", state.place(), &error))?;
        let control = listen(socket).map_err(|error| file_failure("listen on", socket, &error))?;
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
        let log = opened.map_err(|error| file_failure("open", log, &error))?;
        Ok(Self { place: place.into(), control, log: log.into() })
    }
}

fn state_place(state: &State, path: &Path) -> StatePlace {
    let text = path.display().to_string();
    if state.is_file() { StatePlace::File(text) } else { StatePlace::Directory(text) }
}
