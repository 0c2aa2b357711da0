//! What a person at the command line can do about errors, and the flags behind remarks.

use spanqa::Error;
use spanqa::request::reply::Note;

/// What the user can do about it, where there is something to do.
pub fn hint(error: &Error) -> Option<String> {
    error.hint()
}

/// A remark, with the flag that it is about.
pub fn note(note: &Note) -> String {
    match note {
        Note::QuestionCut { .. } => format!("{note}; `--max-question-tokens` sets the limit"),
        Note::OverlapReduced { .. } | Note::AnswersMayBeCut { .. } => note.to_string(),
    }
}
