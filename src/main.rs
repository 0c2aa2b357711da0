//! The `spanqa` command: parses, dispatches, prints the error and its hint, sets the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::parse()) {
        Ok(outcome) => outcome.into(),
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", cli::message(&error));
            if let Some(hint) = cli::hint(&error) {
                eprintln!("hint: {hint}");
            }
            cli::exit_code(cli::class(&error))
        }
    }
}
