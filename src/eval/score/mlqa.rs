//! The multilingual rules of MLQA: each language has articles of its own, and Chinese is compared character by character.

use std::fmt;
use std::str::FromStr;

use crate::eval::score::normalize::{ENGLISH, join, without_articles};
use crate::eval::score::unicode::{is_punctuation, split};

/// A language that the rules cover: that of the context, since answers are quotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Arabic.
    Arabic,
    /// German.
    German,
    /// English.
    English,
    /// Spanish.
    Spanish,
    /// Hindi.
    Hindi,
    /// Vietnamese.
    Vietnamese,
    /// Chinese.
    Chinese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Arabic,
        Self::German,
        Self::English,
        Self::Spanish,
        Self::Hindi,
        Self::Vietnamese,
        Self::Chinese,
    ];

    /// The two-letter code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Arabic => "ar",
            Self::German => "de",
            Self::English => "en",
            Self::Spanish => "es",
            Self::Hindi => "hi",
            Self::Vietnamese => "vi",
            Self::Chinese => "zh",
        }
    }

    fn articles(self) -> &'static [&'static str] {
        match self {
            Self::English => ENGLISH,
            Self::Spanish => &["un", "una", "unos", "unas", "el", "la", "los", "las"],
            Self::Vietnamese => &["của", "là", "cái", "chiếc", "những"],
            Self::German => {
                &["ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"]
            }
            Self::Arabic | Self::Hindi | Self::Chinese => &[],
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|language| language.code() == text);
        known.ok_or_else(|| format!("the MLQA rules do not cover the language {text:?}"))
    }
}

/// `normalize_answer` of the MLQA script.
pub fn normalize(text: &str, language: Language) -> String {
    let mut text = text.to_lowercase();
    text.retain(|char| !is_punctuation(char));
    match language {
        // The Arabic article is written together with its noun, so it goes wherever its two letters stand.
        Language::Arabic => join(split(&text.replace("ال", " "))),
        Language::Chinese => chinese(&text),
        Language::Hindi => join(split(&text)),
        _ => join(split(&without_articles(&text, language.articles()))),
    }
}

/// Ideographs are words of their own; what stands between them is split at white space. Punctuation is gone by now.
fn chinese(text: &str) -> String {
    let is_ideograph = |char: char| ('\u{4e00}'..='\u{9fa5}').contains(&char);
    let mut spaced = String::with_capacity(text.len() * 2);
    for char in text.chars() {
        if is_ideograph(char) {
            spaced.extend([' ', char, ' ']);
        } else {
            spaced.push(char);
        }
    }
    join(split(&spaced))
}
