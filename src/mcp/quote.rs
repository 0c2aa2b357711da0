//! Whether a quotation stands in a text: as it is, but for spelling, or nearly. No model is asked.

use std::collections::HashMap;
use std::ops::Range;

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

/// Words of a quotation that are compared at most.
const LONGEST: usize = 400;

/// Looks for a quotation.
pub fn find(quote: &str, text: &str) -> Option<Match> {
    let quote = quote.trim();
    if quote.is_empty() {
        return None;
    }
    if let Some(start) = text.find(quote) {
        return Some(Match::Exact(start..start + quote.len()));
    }
    let (wanted, folded) = (Folded::of(quote), Folded::of(text));
    if !wanted.text.is_empty()
        && let Some(start) = folded.text.find(&wanted.text)
    {
        return Some(Match::Normalised(folded.original(start..start + wanted.text.len())));
    }
    nearest(&wanted, &folded)
}

/// A text in which spellings of the same do not differ, and where each character stands in the original.
struct Folded {
    text: String,
    /// For each byte of it, the bytes of the original character.
    places: Vec<(usize, usize)>,
}

impl Folded {
    fn of(original: &str) -> Self {
        let mut folded = Self { text: String::new(), places: Vec::new() };
        for (start, char) in original.char_indices() {
            let place = (start, start + char.len_utf8());
            match char {
                // Soft hyphens, joiners and byte order marks are not seen.
                '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}' => {}
                // Accents that follow their letter.
                '\u{300}'..='\u{36f}' => {}
                char if char.is_whitespace() => {
                    if !folded.text.is_empty() && !folded.text.ends_with(' ') {
                        folded.push(' ', place);
                    }
                }
                '‘' | '’' | '‚' | '‛' | '′' | '`' => folded.push('\'', place),
                '“' | '”' | '„' | '‟' | '″' | '«' | '»' => folded.push('"', place),
                '‐'..='―' | '−' => folded.push('-', place),
                '…' => "...".chars().for_each(|char| folded.push(char, place)),
                'ﬀ' => "ff".chars().for_each(|char| folded.push(char, place)),
                'ﬁ' => "fi".chars().for_each(|char| folded.push(char, place)),
                'ﬂ' => "fl".chars().for_each(|char| folded.push(char, place)),
                'ﬃ' => "ffi".chars().for_each(|char| folded.push(char, place)),
                'ﬄ' => "ffl".chars().for_each(|char| folded.push(char, place)),
                char => char.to_lowercase().for_each(|char| folded.push(without_accent(char), place)),
            }
        }
        while folded.text.ends_with(' ') {
            folded.text.pop();
            folded.places.pop();
        }
        folded
    }

    fn push(&mut self, char: char, place: (usize, usize)) {
        self.text.push(char);
        self.places.extend(std::iter::repeat_n(place, char.len_utf8()));
    }

    /// The bytes of the original that a stretch stands for.
    fn original(&self, bytes: Range<usize>) -> Range<usize> {
        let start = self.places.get(bytes.start).map_or(0, |place| place.0);
        let end =
            bytes.end.checked_sub(1).and_then(|last| self.places.get(last)).map_or(start, |place| place.1);
        start..end
    }

    /// Its words, and where each stands in it.
    fn words(&self) -> Vec<(&str, Range<usize>)> {
        let mut words = Vec::new();
        let mut start = None;
        for (at, char) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            match (start, char.is_alphanumeric()) {
                (None, true) => start = Some(at),
                (Some(from), false) => {
                    words.push((&self.text[from..at], from..at));
                    start = None;
                }
                _ => {}
            }
        }
        words
    }
}

/// The letter below the accents of Latin scripts, as the composed characters have them.
fn without_accent(char: char) -> char {
    match char {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'į' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ō' | 'ő' => 'o',
        'ś' | 'š' => 's',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        char => char,
    }
}

/// The stretch of as many words that has most of them.
fn nearest(wanted: &Folded, folded: &Folded) -> Option<Match> {
    let (wanted, words) = (wanted.words(), folded.words());
    let wanted: Vec<&str> = wanted.iter().take(LONGEST).map(|(word, _)| *word).collect();
    let width = wanted.len().min(words.len());
    if width == 0 {
        return None;
    }
    let mut lacking: HashMap<&str, i64> = HashMap::new();
    wanted.iter().for_each(|word| *lacking.entry(word).or_default() += 1);
    // How many words the stretch shares with the quotation, kept up while it moves.
    let (mut shared, mut best) = (0_i64, (0_i64, 0));
    for at in 0..words.len() {
        if let Some(left) = lacking.get_mut(words[at].0) {
            shared += i64::from(*left > 0);
            *left -= 1;
        }
        if at >= width
            && let Some(left) = lacking.get_mut(words[at - width].0)
        {
            *left += 1;
            shared -= i64::from(*left > 0);
        }
        if shared > best.0 {
            best = (shared, (at + 1).saturating_sub(width));
        }
    }
    let stretch = &words[best.1..(best.1 + width).min(words.len())];
    let common = in_order(&wanted, &stretch.iter().map(|(word, _)| *word).collect::<Vec<_>>());
    let kept: Vec<usize> = common.iter().map(|(_, at)| *at).collect();
    let (first, last) = (*kept.first()?, *kept.last()?);
    let likeness = 2.0 * common.len() as f64 / (wanted.len() + last + 1 - first) as f64;
    let bytes = folded.original(stretch[first].1.start..stretch[last].1.end);
    (likeness >= ALIKE).then_some(Match::Near { bytes, likeness })
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

/// What has to be changed in a quotation to make it that of the text.
pub fn differences(quote: &str, text: &str) -> Vec<Difference> {
    let split = |text: &str| text.split_whitespace().take(LONGEST).map(str::to_owned).collect::<Vec<_>>();
    let (quoted, found) = (split(quote), split(text));
    let borrowed = |words: &[String]| words.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let common = in_order(
        &quoted.iter().map(String::as_str).collect::<Vec<_>>(),
        &found.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let (mut differences, mut from) = (Vec::new(), (0, 0));
    for (a, b) in common.into_iter().chain([(quoted.len(), found.len())]) {
        if from.0 < a {
            differences.push(Difference::OnlyQuoted(borrowed(&quoted[from.0..a])));
        }
        if from.1 < b {
            differences.push(Difference::OnlyInText(borrowed(&found[from.1..b])));
        }
        from = (a + 1, b + 1);
    }
    differences
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

    const TEXT: &str = "The keeper said: “It’s  over”.\nHe left —\nwithout a word — in the café’s oﬃce.";

    #[test]
    fn spelling_does_not_count() {
        assert_eq!(find("The keeper", TEXT), Some(Match::Exact(0..10)));
        for (quote, found) in [
            ("the KEEPER said: \"it's over\".", "The keeper said: “It’s  over”."),
            ("he left - without a word", "He left —\nwithout a word"),
            ("the cafe's office", "the café’s oﬃce"),
            ("the cafe\u{301}'s office", "the café’s oﬃce"),
        ] {
            match find(quote, TEXT) {
                Some(Match::Normalised(bytes)) => assert_eq!(&TEXT[bytes], found, "{quote}"),
                other => panic!("{quote}: {other:?}"),
            }
        }
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
        assert_eq!(told, expected);
        assert!(differences("same words", "same  words").is_empty());
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
        fn every_piece_of_a_text_is_found(text in "[a-zA-Z é’]{1,40}", from in 0usize..40, length in 1usize..20) {
            let piece: String = text.chars().skip(from).take(length).collect();
            prop_assume!(!piece.trim().is_empty());
            prop_assert!(matches!(find(&piece, &text), Some(Match::Exact(_))));
            let shouted = piece.to_uppercase();
            prop_assert!(matches!(find(&shouted, &text), Some(Match::Exact(_) | Match::Normalised(_))), "{}", shouted);
        }
    }
}
