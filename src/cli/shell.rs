//! Completion scripts and the manual page, made from the same tree that parses the command line.

use std::io::Write;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome};

#[derive(Args)]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
pub struct ManArgs {
    /// The command to describe, such as `ask`; without it, spanqa as a whole
    command: Option<String>,
}

pub fn completions(args: &CompletionArgs, out: &mut dyn Write) -> Result<Outcome> {
    // The generator panics when its writer fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "spanqa", &mut script);
    out.write_all(&script)?;
    Ok(Outcome::Success)
}

pub fn man(args: &ManArgs, out: &mut dyn Write) -> Result<Outcome> {
    let mut command = Cli::command();
    command.build();
    if let Some(name) = &args.command {
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let unknown = super::Usage::new(
            format!("there is no command {name}"),
            format!("the commands are {}", known.join(", ")),
        );
        let found = command.find_subcommand(name).cloned().ok_or(unknown)?;
        command = found.display_name(format!("spanqa-{name}"));
    }
    clap_mangen::Man::new(command).render(out)?;
    Ok(Outcome::Success)
}
