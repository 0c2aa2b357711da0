//! What a mistyped command may have meant.
//!
//! clap compares letters that stand near each other, and in three letters none does: it has nothing to say about `aks`.

use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::Cli;

/// The error with what was probably meant.
pub fn nearer(mut error: Error, words: impl Iterator<Item = String>) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand || error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if typed.trim().contains(char::is_whitespace) {
        let tip = format!("a question comes after the command: spanqa ask \"{typed}\"");
        suggest(&mut error, &tip);
        return error;
    }
    let near = near(typed, &commands(words, typed));
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
fn commands(words: impl Iterator<Item = String>, typed: &str) -> Vec<String> {
    let mut command = Cli::command();
    for word in words.take_while(|word| word != typed) {
        if let Some(below) = command.find_subcommand(&word) {
            command = below.clone();
        }
    }
    command.get_subcommands().map(|command| command.get_name().to_owned()).collect()
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
