//! The sentences around an answer, for people who read them.
//!
//! Much text is wrapped by hand or by a program, so a line break says little: a sentence goes on across those that only keep lines short,
//! and ends at those that part paragraphs, headings, items of lists and rows of tables.

use std::collections::HashSet;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// A sentence and its neighbours, as ranges of bytes without white space at their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The sentences before it, in the order of the text.
    pub before: Vec<Range<usize>>,
    /// What holds the answer: a sentence, or as much of it as is near.
    pub sentence: Range<usize>,
    /// The sentences after it.
    pub after: Vec<Range<usize>>,
}

/// How far a sentence is looked for, in bytes on each side.
const REACH: usize = 600;

/// A sentence of more lines is no sentence: a log, or a table.
const MOST_LINES: usize = 8;

/// The sentence that holds a range, and up to `neighbours` sentences on each side.
pub fn around(text: &str, range: &Range<usize>, neighbours: usize) -> Surroundings {
    let reach = REACH.saturating_mul(neighbours.saturating_add(1));
    let first = floor_char(text, range.start.saturating_sub(reach));
    let last = floor_char(text, range.end.saturating_add(reach).min(text.len()));
    let found = pick(text, range, neighbours, first..last, &flowing(&text[first..last]));
    let sentence = &text[found.sentence.clone()];
    if sentence.lines().count() <= MOST_LINES || is_prose(sentence) {
        return found;
    }
    pick(text, range, neighbours, first..last, &text[first..last])
}

/// Whether lines go on from one to the next: most begin in the middle of a sentence, and not all with the same word, as those of a log do.
fn is_prose(sentence: &str) -> bool {
    let first_words = || sentence.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let small = first_words().filter(|word| word.starts_with(char::is_lowercase)).count();
    let different: HashSet<&str> = first_words().collect();
    let lines = first_words().count();
    2 * small > lines && 2 * different.len() > lines
}

/// Finds the sentences of a stretch of the text, of which `copy` is a copy with fewer line breaks.
fn pick(
    text: &str,
    range: &Range<usize>,
    neighbours: usize,
    stretch: Range<usize>,
    copy: &str,
) -> Surroundings {
    let mut found = Surroundings { before: Vec::new(), sentence: range.clone(), after: Vec::new() };
    for (at, piece) in copy.split_sentence_bound_indices() {
        let piece = stretch.start + at..stretch.start + at + piece.len();
        let trimmed = trimmed(text, &piece);
        // Half a sentence is worth showing only around the answer.
        let cut = (piece.start == stretch.start && stretch.start > 0)
            || (piece.end == stretch.end && stretch.end < text.len());
        if piece.end <= range.start {
            found.before.extend((!cut && !trimmed.is_empty()).then_some(trimmed));
        } else if piece.start >= range.end {
            found.after.extend((!cut && !trimmed.is_empty()).then_some(trimmed));
        } else {
            found.sentence = found.sentence.start.min(trimmed.start)..found.sentence.end.max(trimmed.end);
        }
    }
    found.before.drain(..found.before.len().saturating_sub(neighbours));
    found.after.truncate(neighbours);
    found
}

fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let start = range.end - piece.trim_start().len();
    start..start + piece.trim().len()
}

/// The text with spaces in place of the line breaks that only keep lines short. Every byte keeps its place.
fn flowing(text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut copy = String::with_capacity(text.len());
    for block in lines.chunk_by(|above, below| !is_blank(above) && !is_blank(below)) {
        let width = block.iter().map(|line| length(line)).max().unwrap_or(0);
        for (at, line) in block.iter().enumerate() {
            let wrapped = block.get(at + 1).is_some_and(|next| is_wrapped(line, next, width));
            match line.strip_suffix('\n').filter(|_| wrapped) {
                Some(words) => {
                    copy.push_str(words.strip_suffix('\r').unwrap_or(words));
                    copy.push_str(if words.ends_with('\r') { "  " } else { " " });
                }
                None => copy.push_str(line),
            }
        }
    }
    copy
}

/// Nobody wraps text more narrowly than the first, and nobody wraps text that is wider than the second.
const WIDTHS: Range<usize> = 38..200;

/// Whether a sentence may go on from a line to the next.
fn is_wrapped(line: &str, next: &str, width: usize) -> bool {
    (is_full(line, next, width) || goes_on(line, next, width))
        && !starts_something(next, indent(line) == indent(next))
        && !line.trim_start().starts_with('#')
        && ![line, next].into_iter().any(is_row)
        && ![line, next].into_iter().all(is_setting)
}

/// Whether a line ends only because the next word did not fit. Whoever wraps text by hand leaves some room at the end.
fn is_full(line: &str, next: &str, width: usize) -> bool {
    let room = width / 8;
    let word = next.split_whitespace().next().map_or(0, length);
    WIDTHS.contains(&width) && length(line) + 1 + word + room > width
}

/// Whether the words go on, wherever the line was broken: some people break lines where a thought ends, some editors before a long word.
fn goes_on(line: &str, next: &str, width: usize) -> bool {
    let (words, next_words) = (line.trim(), next.trim());
    let first = |words: &str| words.split_whitespace().next().map(str::to_owned);
    let ends_in_a_word = words.ends_with(|char: char| char.is_alphanumeric() || ",-)\"'”’".contains(char));
    let starts_small = next_words.starts_with(|char: char| char.is_lowercase() || char == '(');
    width >= WIDTHS.start
        && 4 * length(line) >= width
        // Less is a name, and its neighbours are others.
        && words.split_whitespace().count() >= 3
        && ends_in_a_word
        && (starts_small || words.ends_with(','))
        // Lines of a log or a list begin alike.
        && first(words) != first(next_words)
        && text_indent(line) == indent(next)
        && ![words, next_words].into_iter().any(is_setting)
}

/// Where the words of a line begin: in an item of a list behind its mark.
fn text_indent(line: &str) -> usize {
    let start = indent(line);
    match line[start..].split_once(' ') {
        Some((mark, _)) if starts_something(line, false) && !mark.starts_with(['#', '>', '`']) => {
            let rest = &line[start + mark.len()..];
            line.len() - rest.trim_start().len()
        }
        _ => start,
    }
}

/// Whether a line gives a name a value, as files of settings do, or is a piece of a program.
fn is_setting(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    first.ends_with(':')
        || first.contains('=')
        || words.next() == Some("=")
        || line.ends_with([';', '{', '}'])
}

fn length(line: &str) -> usize {
    line.trim_end().chars().count()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a line starts an item of a list, a heading, a quotation or an option of a manual page. An option that stands as deep as the line
/// before it was only wrapped there.
fn starts_something(line: &str, as_deep: bool) -> bool {
    let line = line.trim_start();
    let option = line.starts_with('-') && !line[1..].starts_with([' ', '-']);
    if option && as_deep {
        return false;
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = (1..=3).contains(&digits) && line[digits..].starts_with(['.', ')']);
    let lettered = matches!(line.as_bytes(), [letter, b')', ..] if letter.is_ascii_alphabetic());
    numbered || lettered || line.starts_with(['-', '*', '+', '•', '#', '>', '|', '=', '`'])
}

/// Whether a line is a row of a table, whose columns stand apart.
fn is_row(line: &str) -> bool {
    line.trim().contains("    ") || line.trim().contains('\t') || line.contains('|')
}

fn floor_char(text: &str, mut offset: usize) -> usize {
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found<'a>(text: &'a str, answer: &str, neighbours: usize) -> (Vec<&'a str>, &'a str, Vec<&'a str>) {
        let at = text.find(answer).unwrap();
        let Surroundings { before, sentence, after } = around(text, &(at..at + answer.len()), neighbours);
        let quote = |ranges: Vec<Range<usize>>| ranges.into_iter().map(|range| &text[range]).collect();
        (quote(before), &text[sentence], quote(after))
    }

    fn sentence<'a>(text: &'a str, answer: &str) -> &'a str {
        found(text, answer, 0).1
    }

    const WRAPPED: &str = "The lighthouse was built in 1871 by the\r\nengineer Ingrid Dahl, after three ships\r\nwere lost. \
                           It had four keepers.\r\n\r\nThe last one was Olav.\r\n";

    #[test]
    fn a_sentence_goes_on_across_wrapped_lines() {
        let whole = "The lighthouse was built in 1871 by the\r\nengineer Ingrid Dahl, after three ships\r\nwere lost.";
        for answer in ["1871", "Ingrid Dahl", "Dahl, after three ships\r\nwere"] {
            assert_eq!(sentence(WRAPPED, answer), whole);
        }
        assert_eq!(sentence(WRAPPED, "four"), "It had four keepers.");
        let manual = "       -s, --only-delimited\n              do not print lines that hold none of the\n              \
                      delimiters at all\n\n       -z     line delimiter is NUL, not newline\n";
        assert!(
            sentence(manual, "delimiters at").starts_with("do not print"),
            "{}",
            sentence(manual, "delimiters at")
        );
        assert!(sentence(manual, "delimiters at").ends_with("at all"));
        assert_eq!(sentence(manual, "--only-delimited"), "-s, --only-delimited");
        let option =
            "   The other option closes all clients but the one given with\n   -t. Nothing else.\n   -x\n";
        assert!(sentence(option, "closes").ends_with("-t."), "{}", sentence(option, "closes"));
    }

    /// Lines that are broken before they are full, and sentences of many lines.
    #[test]
    fn a_sentence_goes_on_wherever_its_lines_are_broken() {
        let by_thought = "The lamp burnt colza oil until 1899,\nwhen it was replaced by a lamp for paraffin\n\
                          that the keepers had brought\nfrom the mainland. It is in the museum now.\n";
        for answer in ["1899", "paraffin", "the mainland"] {
            let sentence = sentence(by_thought, answer);
            assert!(sentence.starts_with("The lamp") && sentence.ends_with("mainland."), "{sentence}");
        }
        let ragged = "The museum is open from May to September, and the\nkeys are kept at\n\
                      the harbour office, where visitors may ask for a guide.\n";
        assert!(sentence(ragged, "harbour").starts_with("The museum"), "{}", sentence(ragged, "harbour"));
        let item = "- The boat leaves at nine every day, unless the\n  wind is strong or the\n  sea is rough, and returns at five.\n- Next.";
        assert!(sentence(item, "returns").starts_with("- The boat"), "{}", sentence(item, "returns"));
        let long = (0..14).map(|at| {
            format!(
                "{} of the grant that is given by this licence to whoever\n",
                ["any", "each", "part"][at % 3].repeat(at / 3 + 1)
            )
        });
        let long = format!(
            "Whoever receives a copy of this work has the right to use\n{}has it.\n",
            long.collect::<String>()
        );
        let range = long.find("eacheach").unwrap();
        let found = around(&long, &(range..range + 8), 0).sentence;
        assert!(long[found].lines().count() > 12);
    }

    #[test]
    fn settings_verses_and_headings_stay_on_their_lines() {
        let settings =
            "keeper: Olav Brekke, who was the last of them all\nlamp: paraffin, brought from the mainland";
        assert_eq!(sentence(settings, "Olav"), "keeper: Olav Brekke, who was the last of them all");
        let shell =
            "window_of_the_model = 384 or the limit of it\noverlap = 128 and not more than that, please";
        assert_eq!(sentence(shell, "384"), "window_of_the_model = 384 or the limit of it");
        let titled =
            "The lighthouse\nThe lighthouse was built in 1871 by Ingrid Dahl, after three ships were lost.\n";
        assert!(sentence(titled, "1871").starts_with("The lighthouse was"), "{}", sentence(titled, "1871"));
    }

    #[test]
    fn what_is_no_running_text_stays_on_its_line() {
        let text = "Title\nIt rained. Zürich was wet. It dried.\nNext.";
        assert_eq!((sentence(text, "Zürich"), sentence(text, "Title")), ("Zürich was wet.", "Title"));
        let list = "- one that is as long as lines of text tend to be\n- two that is as long as lines of text are\n  2) three";
        assert_eq!(sentence(list, "two"), "- two that is as long as lines of text are");
        assert_eq!(sentence(list, "three"), "2) three");
        let table = "the name of the item            amount\nbolts, with a hexagonal head       400\nnuts that go with the bolts         40\n";
        assert_eq!(sentence(table, "400"), "bolts, with a hexagonal head       400");
        let address = "Ada Lovelace\n12 St James's Square\nLondon";
        assert_eq!(sentence(address, "12"), "12 St James's Square");
        let log: String =
            (10..40).map(|at| format!("line {at} of a log that has no end of a sentence at all\n")).collect();
        assert_eq!(sentence(&log, "line 25"), "line 25 of a log that has no end of a sentence at all");
    }

    #[test]
    fn neighbours_come_in_the_order_of_the_text() {
        let (before, _, after) = found(WRAPPED, "It had", 1);
        assert!(before[0].ends_with("were lost."), "{before:?}");
        assert_eq!((before.len(), after), (1, vec!["The last one was Olav."]));
        let text = "One. Two. Three. Four. Five.";
        assert_eq!(found(text, "Three", 2), (vec!["One.", "Two."], "Three.", vec!["Four.", "Five."]));
        assert_eq!(found(text, "One", usize::MAX).2.len(), 4);
        let long = format!("{}. Here. {}", "X".repeat(9000), "Y".repeat(9000));
        assert_eq!(found(&long, "Here", 3), (vec![], "Here.", vec![]));
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_hold_the_answer(
            text in "(\\PC{0,9}[\\n\\r. |é😀-]{0,3}){0,30}", a in 0usize..300, b in 0usize..300, neighbours in 0usize..4
        ) {
            let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (a, b) = (boundaries[a % boundaries.len()], boundaries[b % boundaries.len()]);
            let range = a.min(b)..a.max(b);
            let found = around(&text, &range, neighbours);
            prop_assert!(found.sentence.start <= range.start && range.end <= found.sentence.end);
            let all = [&found.before[..], std::slice::from_ref(&found.sentence), &found.after].concat();
            prop_assert!(all.is_sorted_by(|one, other| one.end <= other.start), "{:?}", all);
            prop_assert!(all.iter().all(|range| text.get(range.clone()).is_some()));
            prop_assert_eq!(flowing(&text).len(), text.len());
        }
    }
}
