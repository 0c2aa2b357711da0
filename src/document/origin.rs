//! How a text came out of its file, so that a place in it can be told.

use std::ops::Range;

use serde::Serialize;

use super::html::Runs;
use crate::text::view::Cuts;

/// Where a text is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// It is the file's own text.
    #[default]
    Plain,
    /// It is what a browser shows of a page of HTML.
    Html(Runs),
    /// A program made it of a file in this format.
    Program(&'static str),
    /// `pdftotext` made it: a form feed ends each page.
    Pdf,
    /// A formatted manual page whose letters were struck over to be bold or underlined.
    Overstruck(Cuts),
}

/// Where an answer stands in the file that its document was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// What the file is.
    pub format: &'static str,
    /// The first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<usize>,
    /// The byte after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<usize>,
    /// The page, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
}

impl Origin {
    /// Where a range of the text stands in its file; `None` if that is the same.
    pub fn place(&self, text: &str, range: &Range<usize>) -> Option<SourcePlace> {
        let bytes = |format, range: Range<usize>| SourcePlace {
            format,
            start: Some(range.start),
            end: Some(range.end),
            page: None,
        };
        match self {
            Origin::Plain => None,
            Origin::Html(runs) => Some(bytes("html", runs.source(range))),
            Origin::Program(format) => Some(SourcePlace { format, ..SourcePlace::default() }),
            Origin::Pdf => {
                let page = 1 + text[..range.start].bytes().filter(|&byte| byte == b'\x0c').count();
                Some(SourcePlace { format: "pdf", page: Some(page), ..SourcePlace::default() })
            }
            Origin::Overstruck(cuts) => Some(bytes("man", cuts.original(range.clone()))),
        }
    }
}
