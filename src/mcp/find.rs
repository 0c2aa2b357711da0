//! Quotations and passages of the files below the roots: of those that are named, of what an index finds, or without one of all.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::roots::{Roots, uri};
use super::shelf::{Chosen, File, Shelf};
use super::tools::{Loading, MOST_CHARACTERS, OpenIndex, Ready};
use crate::decode::Scoring;
use crate::index::{Index, Texts};
use crate::rank::best;
use crate::reader::{Document, Question, Reader};
use crate::request::Options;
use crate::request::reply::{Answer, DocumentId};
use crate::retrieve::{Library, Retrieved};
use crate::text::offsets::{OffsetUnit, place};
use crate::text::sentences::around;

/// Answers that one call gives at most.
const MOST_ANSWERS: usize = 20;
/// Passages that one call gives at most.
const MOST_PASSAGES: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindQuotes {
    question: String,
    paths: Option<Vec<String>>,
    top_k: Option<usize>,
    min_margin: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchPassages {
    query: String,
    k: Option<usize>,
}

/// A question with the files that it is about.
struct Asked {
    question: Question,
    /// Where each of its documents is.
    paths: Vec<PathBuf>,
    looked_through: usize,
    more: bool,
    unreadable: Vec<String>,
}

pub fn find_quotes(
    shelf: &Shelf,
    index: &OpenIndex,
    model: &Loading,
    asked: FindQuotes,
) -> Result<Value, String> {
    let FindQuotes { question, paths, top_k, min_margin } = asked;
    if question.trim().is_empty() {
        return Err("the question is empty".into());
    }
    let library = if paths.is_some() { None } else { index()? };
    let chosen = match &library {
        None => Some(shelf.promising(paths.as_deref(), &question)?),
        Some(_) => None,
    };
    if let Some(chosen) = chosen.as_ref().filter(|chosen| chosen.files.is_empty()) {
        return Err(match chosen.unreadable.as_slice() {
            [] => "there is no file to look in".into(),
            unreadable => format!("nothing could be read: {}", unreadable.join("; ")),
        });
    }
    let Ready { reader, options } = &*model.wait()?;
    let mut options = options.clone();
    options.decoding.top_k = top_k.unwrap_or(3).clamp(1, MOST_ANSWERS);
    options.unit = OffsetUnit::Char;
    if let (Scoring::Joint(joint), Some(least)) = (&mut options.decoding.scoring, min_margin) {
        joint.null_threshold = -least;
    }
    let asked = match (library, chosen) {
        (Some(library), _) => of_index(&library, reader, &question, options)?,
        (None, Some(chosen)) => of_files(shelf.roots(), reader, &question, options, chosen)?,
        (None, None) => return Err("there is no file to look in".into()),
    };
    let Asked { question, paths, looked_through, more, unreadable } = asked;
    let documents = question.documents.clone();
    let mut replies = reader.answer(&[question], &mut |_| {}).map_err(|error| error.to_string())?;
    let reply = match replies.pop() {
        Some(Ok(reply)) => reply,
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("the model gave no reply".into()),
    };
    let mut record = serde_json::to_value(&reply).map_err(|error| error.to_string())?;
    for (name, answers) in [("answers", &reply.answers), ("candidates", &reply.candidates)] {
        let Some(Value::Array(shown)) = record.get_mut(name) else { continue };
        for (shown, answer) in shown.iter_mut().zip(answers) {
            let path = &paths[answer.document_index];
            shown["document"] = shelf.roots().short(path).display().to_string().into();
            shown["uri"] = uri(path).into();
            shown["sentence"] = sentence(&documents[answer.document_index], answer).into();
        }
    }
    record["files"] = looked_through.into();
    record["more_files"] = more.into();
    if !unreadable.is_empty() {
        record["unreadable"] = json!(unreadable);
    }
    Ok(record)
}

/// About what an index finds.
fn of_index(library: &Library, reader: &Reader, question: &str, options: Options) -> Result<Asked, String> {
    let retrieved = library.question(reader, "1", question, &Arc::new(options));
    let Retrieved { question, missing } = retrieved.map_err(|error| error.to_string())?;
    Ok(Asked {
        paths: question.documents.iter().map(|document| path(&document.id)).collect(),
        question,
        looked_through: texts(library),
        more: false,
        unreadable: missing.iter().map(ToString::to_string).collect(),
    })
}

/// About files that were read.
fn of_files(
    roots: &Roots,
    reader: &Reader,
    question: &str,
    options: Options,
    chosen: Chosen,
) -> Result<Asked, String> {
    let prepare = |file: &Arc<File>| {
        let id = DocumentId::Path(roots.short(&file.path).display().to_string());
        reader.prepare_document(id, file.text.clone()).map(Arc::new)
    };
    let documents: Vec<_> =
        chosen.files.iter().map(prepare).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    Ok(Asked {
        question: Question::new("1", question, documents).with(&Arc::new(options)),
        paths: chosen.files.iter().map(|file| file.path.clone()).collect(),
        looked_through: chosen.looked_through,
        more: chosen.more,
        unreadable: chosen.unreadable,
    })
}

/// What an index calls a file is where it is.
fn path(id: &DocumentId) -> PathBuf {
    match id {
        DocumentId::Path(path) => path.into(),
        DocumentId::Index(index) => index.to_string().into(),
    }
}

fn texts(library: &Library) -> usize {
    library.indexes().iter().map(Index::texts).sum()
}

/// The sentence that an answer stands in.
fn sentence<'a>(document: &'a Document, answer: &Answer) -> &'a str {
    let text = &document.text;
    text.get(around(text, &answer.bytes, 0).sentence).unwrap_or_default()
}

pub fn search_passages(shelf: &Shelf, index: &OpenIndex, asked: SearchPassages) -> Result<Value, String> {
    let SearchPassages { query, k } = asked;
    if query.trim().is_empty() {
        return Err("the query is empty".into());
    }
    let most = k.unwrap_or(10).clamp(1, MOST_PASSAGES);
    let mut shown = Shown { roots: shelf.roots(), passages: Vec::new(), characters: 0, cut: false };
    let (files, more) = match index()? {
        Some(library) => {
            let Texts { documents, passages, .. } =
                library.find(&query, most).map_err(|error| error.to_string())?;
            for (document, bytes, score) in passages {
                let (id, text) = &documents[document];
                shown.add(path(id), &text.text, bytes, score);
            }
            (texts(&library), false)
        }
        None => {
            let chosen = shelf.choose(None)?;
            let passages: Vec<_> = chosen.files.iter().map(|file| &file.passages).collect();
            for hit in best(&query, &passages, most).into_iter().take(most) {
                let file = &chosen.files[hit.document];
                shown.add(file.path.clone(), &file.text.text, file.passages.range(hit.passage), hit.score);
            }
            (chosen.looked_through, chosen.more)
        }
    };
    Ok(json!({"passages": shown.passages, "files": files, "more_files": more, "cut": shown.cut}))
}

/// Passages as they are given, as long as they fit in.
struct Shown<'a> {
    roots: &'a Roots,
    passages: Vec<Value>,
    characters: usize,
    cut: bool,
}

impl Shown<'_> {
    fn add(&mut self, path: PathBuf, text: &str, bytes: std::ops::Range<usize>, score: f64) {
        let Some(passage) = text.get(bytes.clone()) else { return };
        let room = MOST_CHARACTERS.saturating_sub(self.characters);
        let characters = passage.chars().count();
        self.characters += characters;
        self.cut |= characters > room;
        if room == 0 {
            return;
        }
        let at = place(text, &bytes, OffsetUnit::Char);
        self.passages.push(json!({
            "text": passage.chars().take(room).collect::<String>(),
            "document": self.roots.short(&path).display().to_string(),
            "uri": uri(&path),
            "line": at.line,
            "column": at.column,
            "score": score,
        }));
    }
}
