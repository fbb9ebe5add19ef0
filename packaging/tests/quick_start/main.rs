//! `docs/quickstart.md`, performed: an administrator who has nothing but that page and the package installs the gateway,
//! and ends with messages to and from a user of a real ejabberd.
//!
//! What is run is the text of the page, block by block, on a machine in the closed world. What others do meanwhile (the
//! CAs, whoever looks after DNS, front ends and users) the page marks with `<!-- here: … -->`, and [`others`] does it.
//! Then it asks what `docs/operations.md` has for the night. For `systemctl` and `journalctl` there are stand-ins, which are not systemd: they read the installed unit.

#[path = "../machine/mod.rs"]
mod machine;
mod others;
mod page;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use machine::{Done, Machine};
use nuncio_world::runner::Scenario;
use nuncio_world::{World, runner, sandbox, scenario};
use others::Others;
use page::Step;

const PAGE: &str = include_str!("../../../docs/quickstart.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

fn main() -> ExitCode {
    // Outside, where cargo has its folders, and once.
    if !sandbox::inside()
        && !std::env::args().any(|argument| argument == "--list")
        && let Err(error) = machine::build_package()
    {
        println!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    const ALL: &[Scenario] = &[scenario!(the_quick_start_leads_to_a_tested_partner)];
    runner::main(ALL)
}

async fn the_quick_start_leads_to_a_tested_partner(world: World) -> Result<()> {
    let mut others = Others::new(&world).await?;
    let machine = Machine::new(false)?;
    others.furnish(&machine)?;
    let log = world.log("the page");
    let (mut blocks, mut said) = (0, None);
    for step in page::steps(PAGE)? {
        match step {
            Step::Run(commands) => {
                log.push(format!("# {commands}"));
                let done = run(&machine, &commands)?;
                for line in done.said.lines() {
                    log.push(line.to_owned());
                }
                ensure!(done.code == Some(0), "ended with {:?}:\n{commands}\n{}", done.code, done.said);
                (blocks, said) = (blocks + 1, Some(done.said));
            }
            Step::Shown(expected) => {
                if let Some(said) = &said {
                    page::compare(&expected, said)?;
                }
            }
            Step::Here(what) => {
                let said = said.as_deref().unwrap_or_default();
                others.act(&what, &machine, said).await.with_context(|| format!("here: {what}"))?;
            }
        }
    }
    ensure!(blocks >= 10, "the page has only {blocks} blocks of commands");
    others.all_done()?;
    // What the night watch asks has an answer on a gateway that is as it should be.
    let asked = page::asked(OPERATIONS, "At 3 a.m.")?;
    ensure!(asked.len() > 10, "{asked:?}");
    for command in asked {
        let Done { code, said } = machine.run(command)?;
        // The log need not have anything of what went well.
        ensure!(
            code == Some(0) || said.trim() == "-- No entries --",
            "{command}\nended with {code:?}:\n{said}"
        );
        log.push(format!("# {command}\n{said}"));
    }
    Ok(())
}

/// As somebody would who pastes the block into a root shell in his home directory; it ends with the first failure.
fn run(machine: &Machine, commands: &str) -> Result<Done> {
    machine.run(&format!("cd /root\nset -e\n{commands}"))
}
