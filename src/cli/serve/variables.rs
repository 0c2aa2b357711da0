//! The flags of a server as variables, because containers are told by them what to do.

use std::env;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction};

/// Not how a server runs, but that none is started. A container's probe is told the same variables as its server.
const NOT_OF_A_SERVER: &str = "probe";

/// Gives a flag its variable, those included that other commands have as well: `--max-body` is SPANQA_MAX_BODY.
pub fn give(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().filter(|long| *long != NOT_OF_A_SERVER) else { return arg };
    let name = format!("SPANQA_{}", long.to_uppercase().replace('-', "_"));
    // What is set to nothing is not set: so shells and compose files take a variable back.
    if arg.get_env().is_some() || env::var_os(&name).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    // Names of variables live as long as the program.
    let arg = arg.env(&*name.leak());
    if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::Cli;

    #[test]
    fn every_flag_has_a_variable() {
        let mut cli = Cli::command();
        cli.build();
        let serve = cli.find_subcommand("serve").unwrap();
        let (mut with, mut without) = (0, Vec::new());
        for arg in serve.get_arguments() {
            let long = arg.get_long().unwrap();
            let expected = format!("SPANQA_{}", long.to_uppercase().replace('-', "_"));
            match arg.get_env() {
                Some(name) => assert_eq!(name.to_str(), Some(&*expected)),
                None => without.push(long),
            }
            with += usize::from(arg.get_env().is_some());
        }
        assert_eq!(without, ["probe", "help"]);
        assert!(with > 35, "{with}");
        // Other commands are not told by them.
        let ask = cli.find_subcommand("ask").unwrap();
        assert!(ask.get_arguments().any(|arg| arg.get_long() == Some("threads") && arg.get_env().is_none()));
    }
}
