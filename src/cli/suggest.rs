//! What a mistyped command may have meant, and where a wrong value comes from.
//!
//! clap compares letters that stand near each other, and in three letters none does: it has nothing to say about `aks`. Of a value in a
//! variable it says that the flag is wrong, which nobody wrote.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, CommandFactory};

use super::Cli;

/// The error with what was probably meant.
pub fn nearer(mut error: Error, words: impl Iterator<Item = String>) -> Error {
    let words: Vec<String> = words.collect();
    if let Some(name) = variable(&error, &words) {
        suggest(&mut error, &format!("the value is that of the variable {name}"));
        return error;
    }
    if error.kind() != ErrorKind::InvalidSubcommand || error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if typed.trim().contains(char::is_whitespace) {
        let tip = format!("a question comes after the command: spanqa ask \"{typed}\"");
        suggest(&mut error, &tip);
        return error;
    }
    let near = near(typed, &commands(&words, typed));
    if !near.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(near));
    }
    error
}

fn suggest(error: &mut Error, text: &str) {
    let mut tip = StyledStr::new();
    tip.push_str(text);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
}

/// The commands that could have stood where the mistyped one does.
fn commands(words: &[String], typed: &str) -> Vec<String> {
    let words: Vec<&String> = words.iter().take_while(|word| *word != typed).collect();
    below(words).get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// The command that words lead to.
fn below<'a>(words: impl IntoIterator<Item = &'a String>) -> Command {
    let mut command = Cli::command();
    for word in words {
        if let Some(below) = command.find_subcommand(word) {
            command = below.clone();
        }
    }
    command
}

/// The variable that a wrong value is from.
fn variable(error: &Error, words: &[String]) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = shown.strip_prefix("--")?.split([' ', '=']).next()?;
    let is_typed =
        |word: &String| word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(long));
    let wrong = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    if !wrong || words.iter().any(is_typed) {
        return None;
    }
    let command = below(words);
    let name = command.get_arguments().find(|arg| arg.get_long() == Some(long))?.get_env()?;
    std::env::var_os(name).is_some().then(|| name.to_string_lossy().into_owned())
}

/// Those that are a slip away: a letter more, less or wrong, or two that changed places, in every three.
fn near(typed: &str, known: &[String]) -> Vec<String> {
    let slips = |name: &str| strsim::osa_distance(typed, name);
    let allowed = (typed.chars().count() / 3).max(1);
    let nearest = known.iter().map(|name| slips(name)).min().filter(|slips| *slips <= allowed);
    known.iter().filter(|name| Some(slips(name)) == nearest).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn message(words: &[&str]) -> String {
        let typed = ["spanqa"].iter().chain(words);
        let error = Cli::try_parse_from(typed).err().unwrap();
        nearer(error, words.iter().map(|word| (*word).to_owned())).to_string()
    }

    #[test]
    fn a_slip_is_understood() {
        for (typed, meant) in
            [("aks", "ask"), ("asq", "ask"), ("evla", "eval"), ("chta", "chat"), ("as", "ask")]
        {
            let message = message(&[typed]);
            assert!(message.contains(&format!("'{meant}'")), "{message}");
        }
        assert!(message(&["models", "lits"]).contains("'list'"), "{}", message(&["models", "lits"]));
    }

    #[test]
    fn what_is_like_nothing_is_not_guessed_at() {
        let message = message(&["zzz"]);
        assert!(message.contains("zzz") && !message.contains("tip:"), "{message}");
    }

    #[test]
    fn a_question_without_its_command_is_told_which() {
        let message = message(&["Who wrote it?", "a.txt"]);
        assert!(message.contains("spanqa ask \"Who wrote it?\""), "{message}");
    }
}
