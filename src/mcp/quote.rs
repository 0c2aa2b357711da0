//! Whether a quotation stands in a text: as it is, but for spelling, or nearly. No model is asked.
//!
//! Spelling is white space, case, the forms that Unicode calls compatible (NFKC), and how quotation marks and dashes are written. Accents are
//! not: "año" and "ano" are two words.

use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// How well a quotation agrees with a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    /// It stands there as it is.
    Exact(Range<usize>),
    /// It stands there but for white space, case, and how marks are written.
    Normalised(Range<usize>),
    /// Something like it stands there.
    Near {
        /// Where.
        bytes: Range<usize>,
        /// How alike the two are, up to 1: twice the words in common by the words of both.
        likeness: f64,
    },
}

/// Below this, what is nearest has nothing to do with the quotation.
const ALIKE: f64 = 0.5;

/// Words that a quotation may have to be compared word by word: that takes the square of their number.
pub const LONGEST: usize = 400;

/// A quotation, to be looked for in many texts.
pub struct Quotation<'a> {
    quoted: &'a str,
    folded: String,
}

impl<'a> Quotation<'a> {
    /// `None` if it says nothing.
    pub fn new(quote: &'a str) -> Option<Self> {
        let quoted = quote.trim();
        let mut folded = folded(quoted);
        folded.truncate(folded.trim_end().len());
        (!quoted.is_empty()).then_some(Self { quoted, folded })
    }

    /// Whether it has too many words to be compared word by word, so that it is found exactly, but for spelling, or not.
    pub fn is_long(&self) -> bool {
        self.folded.unicode_words().nth(LONGEST).is_some()
    }

    /// Looks for it.
    pub fn find(&self, text: &str) -> Option<Match> {
        if let Some(start) = text.find(self.quoted) {
            return Some(Match::Exact(start..start + self.quoted.len()));
        }
        let folded = folded(text);
        if !self.folded.is_empty()
            && let Some(start) = folded.find(&self.folded)
        {
            return Some(Match::Normalised(original(text, start..start + self.folded.len())));
        }
        if self.is_long() {
            return None;
        }
        let (bytes, likeness) = nearest(&self.folded, &folded)?;
        Some(Match::Near { bytes: original(text, bytes), likeness })
    }
}

/// A text in which spellings of the same do not differ.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    pieces(text).for_each(|piece| fold(&text[piece], &mut folded));
    folded
}

/// The bytes of a text that a stretch of the folded text stands for. Folding again is cheaper than a place for every byte.
fn original(text: &str, stretch: Range<usize>) -> Range<usize> {
    let (mut folded, mut bytes) = (String::new(), 0..0);
    for piece in pieces(text) {
        let from = folded.len();
        if from >= stretch.end {
            break;
        }
        fold(&text[piece.clone()], &mut folded);
        if folded.len() > from {
            bytes.end = piece.end;
            if from <= stretch.start {
                bytes.start = piece.start;
            }
        }
    }
    bytes
}

/// The pieces of a text that can be folded each for itself: letters with all their marks.
fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (start, bytes) = (at, text.as_bytes());
        at += match bytes.get(start)? {
            // Most of most texts. What belongs to the letter before it is not ASCII.
            byte if byte.is_ascii() && bytes.get(start + 1).is_none_or(u8::is_ascii) => 1,
            _ => text[start..].graphemes(true).next()?.len(),
        };
        Some(start..at)
    })
}

fn fold(piece: &str, folded: &mut String) {
    let seen = piece.chars().filter(|char| !is_unseen(*char)).map(plain).nfkc();
    // Upper case first: it makes one letter of both small sigmas, and two of ß.
    for char in seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc() {
        if !char.is_whitespace() {
            folded.push(char);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
}

/// Soft hyphens, joiners, byte order marks, and what chooses between forms of a letter.
fn is_unseen(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// Marks as they are typed.
fn plain(char: char) -> char {
    match char {
        '‘' | '’' | '‚' | '‛' | '′' | '´' | '`' => '\'',
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => '"',
        '‐'..='―' | '−' => '-',
        char => char,
    }
}

/// The stretch of as many words that has most of them, and how alike the two are.
fn nearest(wanted: &str, folded: &str) -> Option<(Range<usize>, f64)> {
    let wanted: Vec<&str> = wanted.unicode_words().collect();
    let words: Vec<(usize, &str)> = folded.unicode_word_indices().collect();
    let width = wanted.len().min(words.len());
    if width == 0 {
        return None;
    }
    let mut lacking: HashMap<&str, i64> = HashMap::new();
    wanted.iter().for_each(|word| *lacking.entry(word).or_default() += 1);
    // How many words the stretch shares with the quotation, kept up while it moves.
    let (mut shared, mut best) = (0_i64, (0_i64, 0));
    for at in 0..words.len() {
        if let Some(left) = lacking.get_mut(words[at].1) {
            shared += i64::from(*left > 0);
            *left -= 1;
        }
        if at >= width
            && let Some(left) = lacking.get_mut(words[at - width].1)
        {
            *left += 1;
            shared -= i64::from(*left > 0);
        }
        if shared > best.0 {
            best = (shared, (at + 1).saturating_sub(width));
        }
    }
    let stretch = &words[best.1..(best.1 + width).min(words.len())];
    let common = in_order(&wanted, &stretch.iter().map(|(_, word)| *word).collect::<Vec<_>>());
    let kept: Vec<usize> = common.iter().map(|(_, at)| *at).collect();
    let (first, last) = (*kept.first()?, *kept.last()?);
    let likeness = 2.0 * common.len() as f64 / (wanted.len() + last + 1 - first) as f64;
    let bytes = stretch[first].0..stretch[last].0 + stretch[last].1.len();
    (likeness >= ALIKE).then_some((bytes, likeness))
}

/// A word of one side or of both.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Words that only the quotation has.
    OnlyQuoted(String),
    /// Words that only the text has.
    OnlyInText(String),
}

/// What has to be changed in a quotation to make it that of the text; `None` if there is too much of it to be compared. Dashes between
/// blanks count here, too, so that there may be more words than are compared above.
pub fn differences(quote: &str, text: &str) -> Option<Vec<Difference>> {
    let split = |text| str::split_whitespace(text).collect::<Vec<_>>();
    let (quoted, found) = (split(quote), split(text));
    if quoted.len().max(found.len()) > 2 * LONGEST {
        return None;
    }
    let common = in_order(&quoted, &found);
    let (mut differences, mut from) = (Vec::new(), (0, 0));
    for (a, b) in common.into_iter().chain([(quoted.len(), found.len())]) {
        if from.0 < a {
            differences.push(Difference::OnlyQuoted(quoted[from.0..a].join(" ")));
        }
        if from.1 < b {
            differences.push(Difference::OnlyInText(found[from.1..b].join(" ")));
        }
        from = (a + 1, b + 1);
    }
    Some(differences)
}

/// The longest list of words that both have in the same order, by their places.
fn in_order(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match a[i] == b[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut common) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            common.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(quote: &str, text: &str) -> Option<Match> {
        Quotation::new(quote)?.find(text)
    }

    const TEXT: &str = "The keeper said: “It’s  over”.\nHe left —\nwithout a word — in the café’s oﬃce.";

    #[test]
    fn spelling_does_not_count() {
        assert_eq!(find("The keeper", TEXT), Some(Match::Exact(0..10)));
        for (quote, found) in [
            ("the KEEPER said: \"it's over\".", "The keeper said: “It’s  over”."),
            ("he left - without a word", "He left —\nwithout a word"),
            ("the café's office", "the café’s oﬃce"),
            ("the cafe\u{301}'s office", "the café’s oﬃce"),
            ("THE CAFÉ'S OFFICE.", "the café’s oﬃce."),
        ] {
            match find(quote, TEXT) {
                Some(Match::Normalised(bytes)) => assert_eq!(&TEXT[bytes], found, "{quote}"),
                other => panic!("{quote}: {other:?}"),
            }
        }
    }

    #[test]
    fn spelling_is_what_unicode_says() {
        for (quote, text) in [
            ("Ngu\u{31b}o\u{31b}\u{300}i Vie\u{323}\u{302}t", "Người Việt"),
            ("ΛΟΓΟΣ ΤΟΥ", "λογος του"),
            ("ΤῸΝ ΛΌΓΟΝ", "τὸν λόγον"),
            ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", "한글"),
            ("ガイド", "ｶﾞｲﾄﾞ"),
            ("１２ km²", "12 km2"),
            ("STRASSE", "Straße"),
            ("wait...", "wait…"),
            ("co-operate", "co\u{ad}‑op\u{200b}erate"),
        ] {
            let text = format!("Here: {text}, and there.");
            match find(quote, &text) {
                Some(Match::Normalised(bytes)) => {
                    assert_eq!(text.get(..bytes.start), Some("Here: "), "{quote}");
                    assert!(text[bytes.end..].starts_with(", and"), "{quote}: {}", &text[bytes]);
                }
                other => panic!("{quote}: {other:?}"),
            }
        }
        // An accent makes another letter.
        for (quote, text) in [("el ano nuevo", "el año nuevo"), ("λόγος του ανθρώπου", "λογος του ανθρώπου")]
        {
            assert!(matches!(find(quote, text), Some(Match::Near { .. })), "{quote}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_compared_is_not_vouched_for() {
        let words =
            |from: usize, to: usize| (from..to).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
        let text = words(0, 1000);
        // True words, followed by invented ones.
        let quote = words(0, LONGEST) + " " + &words(2000, 2300);
        assert!(Quotation::new(&quote).unwrap().is_long());
        assert_eq!(find(&quote, &text), None);
        let quote = words(0, LONGEST - 1) + " invented";
        assert!(matches!(find(&quote, &text), Some(Match::Near { likeness, .. }) if likeness < 1.0));
        assert_eq!(
            find(&words(0, 900).to_uppercase(), &text),
            Some(Match::Normalised(0..words(0, 900).len()))
        );
        assert_eq!(differences(&text, "w1"), None);
        assert_eq!(differences(&words(0, 2 * LONGEST), "w0").map(|all| all.len()), Some(1));
    }

    #[test]
    fn what_comes_near_is_told_apart() {
        let Some(Match::Near { bytes, likeness }) = find("he went away without a single word", TEXT) else {
            panic!()
        };
        assert_eq!(&TEXT[bytes], "He left —\nwithout a word");
        assert!(likeness > 0.5 && likeness < 1.0);
        assert_eq!(find("nothing of this was ever said by anybody", TEXT), None);
        assert_eq!(find("  ", TEXT), None);
        assert_eq!(find("!!", "??"), None);
        let told = differences("he went away without a word", "he left without a word.");
        let expected = [
            Difference::OnlyQuoted("went away".into()),
            Difference::OnlyInText("left".into()),
            Difference::OnlyQuoted("word".into()),
            Difference::OnlyInText("word.".into()),
        ];
        assert_eq!(told, Some(expected.into()));
        assert_eq!(differences("same words", "same  words"), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_found_lies_in_the_text(quote in "[a-cA-C ’'éﬁ.\u{301}]{0,20}", text in "[a-cA-C ’'éﬁ.\n\u{301}]{0,60}") {
            if let Some(Match::Exact(bytes) | Match::Normalised(bytes) | Match::Near { bytes, .. }) = find(&quote, &text) {
                prop_assert!(text.get(bytes).is_some());
            }
            let _ = differences(&quote, &text);
        }

        #[test]
        fn composed_or_not_is_the_same(text in "[a-z ệộưñßςΣ각ｶﾞ\u{301}\u{323}\u{1161}\u{11a8}\r\n]{0,30}") {
            let (apart, together): (String, String) = (text.nfd().collect(), text.nfc().collect());
            prop_assert_eq!(folded(&apart), folded(&together));
        }

        #[test]
        fn every_piece_of_a_text_is_found(text in "[a-zA-Z é’]{1,40}", from in 0usize..40, length in 1usize..20) {
            let piece: String = text.chars().skip(from).take(length).collect();
            prop_assume!(!piece.trim().is_empty());
            prop_assert!(matches!(find(&piece, &text), Some(Match::Exact(_))));
            let shouted = piece.to_uppercase();
            prop_assert!(matches!(find(&shouted, &text), Some(Match::Exact(_) | Match::Normalised(_))), "{}", shouted);
        }
    }
}
