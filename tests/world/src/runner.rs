//! Runs scenarios as tests: each in a world and a process of its own, several at a time.
//!
//! The output has the form of Rust's own test harness. No scenario run is a failure.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::gateway;
use crate::kamailio::Edge;
use crate::sandbox::{self, Sandbox};
use crate::wait::within_time;
use crate::world::{NOTE, World};
use crate::xmpp_server::Brand;

/// Nothing in a world takes longer.
const SCENARIO_PATIENCE: Duration = Duration::from_secs(300);
/// Scenarios at a time for each processor: most of the time they wait for each other's messages.
const PER_PROCESSOR: usize = 2;
/// How much of each log a failure shows.
const LOG_LINES: usize = 120;
/// Names a folder that gets the whole logs of a failed scenario.
const KEEP_LOGS: &str = "NUNCIO_WORLD_LOGS";

/// A scenario's code.
pub type Run = fn(World) -> Pin<Box<dyn Future<Output = Result<()>>>>;

/// One test.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The name, for filters and reports.
    pub name: &'static str,
    /// Run as an ordinary user even when the tests run as root.
    pub ordinary_user: bool,
    /// The server of the partner, where the scenario does not choose it itself.
    pub brand: Brand,
    /// The front end that the gateway knows.
    pub edge: Edge,
    /// What to do.
    pub run: Run,
}

/// Makes a [`Scenario`] of an `async fn(World) -> Result<()>`.
#[macro_export]
macro_rules! scenario {
    ($name:ident) => {
        $crate::scenario!($name, $name, Ejabberd, Agent, false)
    };
    ($name:ident with Prosody: $function:ident) => {
        $crate::scenario!($name, $function, Prosody, Agent, false)
    };
    ($name:ident through Kamailio: $function:ident) => {
        $crate::scenario!($name, $function, Ejabberd, Kamailio, false)
    };
    ($name:ident as an ordinary user: $function:ident) => {
        $crate::scenario!($name, $function, Ejabberd, Agent, true)
    };
    ($name:ident, $function:ident, $brand:ident, $edge:ident, $ordinary_user:literal) => {
        $crate::runner::Scenario {
            name: stringify!($name),
            ordinary_user: $ordinary_user,
            brand: $crate::xmpp_server::Brand::$brand,
            edge: $crate::kamailio::Edge::$edge,
            run: |world| Box::pin($function(world)),
        }
    };
}

/// The `main` of a test program.
pub fn main(scenarios: &[Scenario]) -> ExitCode {
    if sandbox::inside() {
        let name = std::env::args().nth(1).unwrap_or_default();
        return match scenarios.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => run_inside((scenario.brand, scenario.edge), |world| (scenario.run)(world)),
            None => fail(&anyhow!("no scenario {name:?}")),
        };
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => return fail(&error),
    };
    let chosen: VecDeque<Scenario> =
        scenarios.iter().filter(|scenario| options.wants(scenario.name)).copied().collect();
    if options.list {
        for scenario in &chosen {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    match run_all(chosen, scenarios.len(), options.threads) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Starts a world in the namespaces of this process, runs in it, and reports a failure with all logs.
pub fn run_inside<F>((brand, edge): (Brand, Edge), run: impl FnOnce(World) -> F) -> ExitCode
where
    F: Future<Output = Result<()>>,
{
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let code = runtime.block_on(async {
        // Process 1 has no default signal actions: without this, nothing but SIGKILL from outside would end a world.
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return fail(&anyhow!("cannot listen for signals"));
        };
        let world = match World::start(brand, edge).await {
            Ok(world) => world,
            Err(error) => return fail(&error.context("the world does not come up")),
        };
        let outcome = tokio::select! {
            _ = interrupt.recv() => return ExitCode::from(130),
            _ = terminate.recv() => return ExitCode::from(143),
            outcome = catch(run(world.clone())) => outcome,
        };
        let Err(error) = outcome else { return ExitCode::SUCCESS };
        print!("{}", world.report(LOG_LINES));
        if let Some(folder) = std::env::var_os(KEEP_LOGS)
            && let Err(error) = world.keep_logs(Path::new(&folder))
        {
            eprintln!("cannot keep the logs: {error:#}");
        }
        fail(&error)
    });
    // Nothing is waited for: the end of process 1 is the end of all others.
    runtime.shutdown_background();
    code
}

async fn catch(scenario: impl Future<Output = Result<()>>) -> Result<()> {
    let mut scenario = Box::pin(within_time("the end of the scenario", SCENARIO_PATIENCE, scenario));
    std::future::poll_fn(|context| {
        panic::catch_unwind(AssertUnwindSafe(|| scenario.as_mut().poll(context))).unwrap_or_else(|panic| {
            std::task::Poll::Ready(Err(anyhow!("panicked: {}", panic_text(panic.as_ref()))))
        })
    })
    .await?
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

fn fail(error: &anyhow::Error) -> ExitCode {
    println!("error: {error}");
    for cause in error.chain().skip(1) {
        println!("  because: {cause}");
    }
    ExitCode::FAILURE
}

#[derive(Debug, Default)]
struct Options {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    threads: Option<usize>,
}

impl Options {
    /// Takes what Rust's own harness takes, as far as it makes sense here.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--exact" => options.exact = true,
                "--skip" => options.skipped.push(arguments.next().context("--skip what?")?),
                "--test-threads" => {
                    options.threads = Some(arguments.next().context("--test-threads how many?")?.parse()?);
                }
                other => match other.strip_prefix("--test-threads=") {
                    Some(count) => options.threads = Some(count.parse()?),
                    None if other.starts_with('-') => {}
                    None => options.filters.push(argument),
                },
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}

#[derive(Debug)]
enum Verdict {
    /// With what it has noted.
    Passed(Vec<String>),
    Failed(String),
    Ignored(String),
}

fn run_all(chosen: VecDeque<Scenario>, known: usize, threads: Option<usize>) -> Result<ExitCode> {
    let started = Instant::now();
    let count = chosen.len();
    println!("\nrunning {count} tests");
    if count == 0 {
        println!("error: no scenario was chosen, and a run without a test proves nothing");
        return Ok(ExitCode::FAILURE);
    }
    let stage = Stage::prepare(chosen.iter().any(|scenario| scenario.ordinary_user))?;
    let processors = thread::available_parallelism().map_or(2, usize::from);
    let threads = threads.unwrap_or(PER_PROCESSOR * processors).clamp(1, count);
    let queue = Mutex::new(chosen);
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(scenario) = next else { return };
                    let started = Instant::now();
                    let verdict = stage
                        .run(&scenario)
                        .unwrap_or_else(|error| Verdict::Failed(format!("it could not be run: {error:#}")));
                    let word = match &verdict {
                        Verdict::Passed(_) => "ok",
                        Verdict::Failed(_) => "FAILED",
                        Verdict::Ignored(_) => "ignored",
                    };
                    println!("test {} ... {word} <{:.1}s>", scenario.name, started.elapsed().as_secs_f64());
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((scenario.name, verdict));
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, verdict) in &verdicts {
        match verdict {
            Verdict::Passed(notes) => {
                passed += 1;
                for note in notes {
                    println!("{name}: {note}");
                }
            }
            Verdict::Failed(output) => {
                failed += 1;
                println!("\n---- {name} ----\n{output}");
            }
            Verdict::Ignored(why) => {
                ignored += 1;
                println!("{name} was not run: {why}");
            }
        }
    }
    let good = failed == 0 && passed > 0;
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        if good { "ok" } else { "FAILED" },
        known - count,
        started.elapsed().as_secs_f64()
    );
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(101) })
}

/// What is prepared once for all scenarios.
struct Stage {
    sandbox: Sandbox,
    program: PathBuf,
    gateway: PathBuf,
    user: std::result::Result<UserStage, String>,
}

/// Copies that an ordinary user can run, wherever the originals are.
struct UserStage {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
}

impl Stage {
    fn prepare(with_user: bool) -> Result<Self> {
        let sandbox = Sandbox::find()?;
        let program = std::env::current_exe()?;
        let gateway = gateway::build()?;
        let user = if with_user {
            UserStage::prepare(&program, &gateway).map_err(|error| format!("{error:#}"))
        } else {
            Err("not asked for".to_owned())
        };
        Ok(Self { sandbox, program, gateway, user })
    }

    fn run(&self, scenario: &Scenario) -> Result<Verdict> {
        let mut command = match (&self.user, scenario.ordinary_user) {
            (_, false) => {
                let mut command = self.sandbox.command(&self.program);
                command.env(gateway::BINARY, &self.gateway);
                command
            }
            (Ok(user), true) => {
                let mut command = user.sandbox.command(&user.folder.path().join("program"));
                command.env(gateway::BINARY, user.folder.path().join("nuncio"));
                command
            }
            (Err(why), true) => return Ok(Verdict::Ignored(why.clone())),
        };
        if let Some(folder) = std::env::var_os(KEEP_LOGS) {
            command.env(KEEP_LOGS, Path::new(&folder).join(scenario.name));
        }
        let output = command.arg(scenario.name).stdin(std::process::Stdio::null()).output()?;
        if output.status.success() {
            let output = String::from_utf8_lossy(&output.stdout);
            let notes = output.lines().filter_map(|line| line.strip_prefix(NOTE)).map(str::to_owned);
            return Ok(Verdict::Passed(notes.collect()));
        }
        Ok(Verdict::Failed(format!(
            "{}{}ended with {}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
            output.status
        )))
    }
}

impl UserStage {
    fn prepare(program: &Path, gateway: &Path) -> Result<Self> {
        let sandbox = Sandbox::find_as_ordinary_user()?;
        let folder = tempfile::Builder::new().prefix("nuncio-world-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::copy(program, folder.path().join("program"))?;
        fs::copy(gateway, folder.path().join("nuncio"))?;
        Ok(Self { sandbox, folder })
    }
}
