//! Where the answers of a question stand among the tokens of its context.

use std::ops::Range;

use crate::eval::{Gold, Question};
use crate::text::Tokens;

/// Where a question's answers stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answers {
    /// Here, each place once, in the order of the data set.
    Tokens(Vec<Range<usize>>),
    /// It has none.
    None,
    /// It should have one, but it does not stand in the context.
    Unplaced,
}

impl Answers {
    pub(super) fn of(question: &Question, context: &str, tokens: &Tokens) -> Self {
        if !question.has_answer() {
            return Answers::None;
        }
        let mut places: Vec<Range<usize>> = Vec::new();
        for gold in &question.golds {
            places.extend(place(gold, context, tokens).filter(|place| !places.contains(place)));
        }
        if places.is_empty() { Answers::Unplaced } else { Answers::Tokens(places) }
    }

    /// The places; none if there is no answer.
    pub(super) fn places(&self) -> &[Range<usize>] {
        match self {
            Answers::Tokens(places) => places,
            Answers::None | Answers::Unplaced => &[],
        }
    }
}

/// The tokens of an answer: where the data set says, else nearest to there.
fn place(gold: &Gold, context: &str, tokens: &Tokens) -> Option<Range<usize>> {
    let text = gold.text.trim();
    let said = gold.start.and_then(|start| context.char_indices().nth(start)).map_or(0, |(byte, _)| byte);
    let nearest = context.match_indices(text).map(|(byte, _)| byte).min_by_key(|byte| byte.abs_diff(said));
    let start = nearest.filter(|_| !text.is_empty())?;
    let end = start + text.len();
    let first = tokens.offsets.iter().position(|(_, token_end)| *token_end > start)?;
    let last = tokens.offsets.iter().rposition(|(token_start, _)| *token_start < end)?;
    (first <= last && tokens.offsets[first].0 < end).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(context: &str) -> Tokens {
        let mut tokens = Tokens::default();
        for word in context.split(' ') {
            let start = word.as_ptr() as usize - context.as_ptr() as usize;
            tokens.ids.push(7);
            tokens.offsets.push((start, start + word.len()));
            tokens.words.push(tokens.words.len() as u32);
        }
        tokens
    }

    fn asked(golds: &[(&str, Option<usize>)]) -> Question {
        let gold = |(text, start): &(&str, Option<usize>)| Gold { text: (*text).into(), start: *start };
        Question { id: "q".into(), text: "?".into(), golds: golds.iter().map(gold).collect(), number: 0 }
    }

    #[test]
    fn answers_are_found_where_they_stand() {
        let context = "é the tower and the tower again";
        let tokens = words(context);
        let find = |golds: &[(&str, Option<usize>)]| Answers::of(&asked(golds), context, &tokens);
        let at = |places: &[Range<usize>]| Answers::Tokens(places.to_vec());
        assert_eq!(find(&[("the tower", Some(2))]), at(&[1..3]));
        assert_eq!(find(&[("the tower", Some(16))]), at(&[4..6]));
        // A wrong place leads to the nearest right one, a part of a word to the whole one.
        assert_eq!(find(&[("the tower", Some(14))]), at(&[4..6]));
        assert_eq!(find(&[(" owe ", None)]), at(&[2..3]));
        assert_eq!(find(&[("the bridge", Some(2))]), Answers::Unplaced);
        assert_eq!(find(&[("the bridge", Some(2)), ("again", None)]), at(&[6..7]));
        assert_eq!(find(&[("", Some(0))]), Answers::Unplaced);
        assert_eq!(find(&[]), Answers::None);
        // Every place counts, each once.
        let golds = [("again", None), ("the tower", Some(16)), ("tower again", None), ("again", Some(3))];
        assert_eq!(find(&golds), at(&[6..7, 4..6, 5..7]));
    }
}
