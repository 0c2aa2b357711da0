//! Where a report comes from: what was typed, when, and by which version.

use super::{clock, version};

/// What every report says of its making.
pub fn provenance() -> Vec<(String, String)> {
    let rows =
        [("command", command()), ("date", clock::now()), ("version", format!("spanqa {}", version::short()))];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The command as it was typed, quoted where a shell needs it.
pub fn command() -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=,:@%+".contains(c))
    };
    let quoted =
        |word: String| if plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) };
    // Arguments need not be text.
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("spanqa".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
