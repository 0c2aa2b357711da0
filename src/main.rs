//! The `spanqa` command: parses, dispatches, prints the error and its hint, sets the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // What a tokenizer's file makes a library do is told once, as an error.
        if !spanqa::text::panics_become_errors() {
            tell(panic);
        }
    }));
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
