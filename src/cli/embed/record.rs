//! What is written for each text.

use serde::Serialize;
use spanqa::request::record::Failure;
use spanqa::request::reply::Id;

/// Whose a vector is.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub name: Name,
    /// What tells where it is in the input, beside its name: only errors say that.
    pub place: Place,
    /// Whether it was found in a folder, where what is no text is passed over.
    pub in_folder: bool,
    /// How many bytes of the inputs it took to get here.
    pub position: u64,
}

/// What a text is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In a file whose lines are texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Which of the texts of a request it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_index: Option<usize>,
}

/// Where a request stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    pub file: Option<String>,
    pub line: Option<u64>,
}

/// What was made of a text.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Numbers<'a> {
    /// One vector.
    Vector { embedding: &'a [f32] },
    /// A vector for each token.
    States(States<'a>),
}

/// Hidden states, and whose they are.
#[derive(Serialize)]
pub struct States<'a> {
    #[serde(flatten)]
    pub pieces: Pieces,
    /// 0 is the embeddings.
    pub layers: &'a [usize],
    /// A list for each layer, in it one for each token.
    pub hidden_states: Vec<Vec<&'a [f32]>>,
}

/// The tokens that were read.
#[derive(Serialize)]
pub struct Pieces {
    /// As the vocabulary spells them.
    pub pieces: Vec<String>,
    /// Where they stand in the text, in code points; special tokens stand nowhere, which is `[0, 0]`.
    pub offsets: Vec<(usize, usize)>,
}

/// A vector as it is written down.
#[derive(Serialize)]
pub struct Record<'a> {
    #[serde(flatten)]
    pub name: &'a Name,
    #[serde(flatten)]
    pub numbers: Numbers<'a>,
    pub dimensions: usize,
    pub tokens: usize,
    pub truncated: bool,
    pub model: &'a str,
}

/// What a row of a matrix is.
#[derive(Serialize)]
pub struct Row<'a> {
    #[serde(flatten)]
    pub name: &'a Name,
    pub tokens: usize,
    pub truncated: bool,
    /// If every token has a row: the first one of this text, and the one after its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<[u64; 2]>,
    #[serde(flatten)]
    pub pieces: Option<&'a Pieces>,
}

/// Why a text has no vector.
#[derive(Serialize)]
pub struct Failed<'a> {
    #[serde(flatten)]
    name: Name,
    error: &'a Failure,
}

impl<'a> Failed<'a> {
    pub fn new(ticket: &Ticket, error: &'a Failure) -> Self {
        let mut name = ticket.name.clone();
        name.file = name.file.or_else(|| ticket.place.file.clone());
        name.line = name.line.or(ticket.place.line);
        Self { name, error }
    }
}

impl Ticket {
    /// What messages call it.
    pub fn label(&self) -> String {
        let file = self.name.file.as_ref().or(self.place.file.as_ref());
        match (file, self.name.line.or(self.place.line)) {
            (Some(file), Some(line)) => format!("{file}, line {line}"),
            (Some(file), None) => file.clone(),
            (None, _) => format!("text {}", self.name.id.as_ref().map_or("", |id| id.json().get())),
        }
    }
}
