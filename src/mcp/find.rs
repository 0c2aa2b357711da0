//! Quotations and passages of the files below the roots: of those that are named, of what an index finds, or without one of all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::{Chosen, File};
use super::model::Ready;
use super::patience::Patience;
use super::roots::{Roots, uri};
use super::tools::{MOST_CHARACTERS, Tools, beginning};
use crate::decode::{Decoding, Scoring};
use crate::index::{Index, Texts};
use crate::rank::{Passages, best};
use crate::reader::{Document, Question, Reader};
use crate::request::Options;
use crate::request::reply::{Answer, DocumentId};
use crate::retrieve::{Library, Retrieved, passages_for, question_about};
use crate::text::offsets::{OffsetUnit, place};
use crate::text::sentences::around;

/// Answers that one call gives at most.
const MOST_ANSWERS: usize = 20;
/// Passages that one call gives at most.
const MOST_PASSAGES: usize = 50;
/// Characters of a quotation, and of its sentence, that are shown at most.
const MOST_QUOTED: usize = MOST_CHARACTERS / MOST_ANSWERS / 2;
/// Bytes of files that are read as `ask` reads them. Of more, only what stands around the best passages is tokenised, as if it had been
/// found by an index.
const WHOLE: usize = 256 << 10;

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

/// A question about files, which its documents are called by.
struct Asked {
    question: Question,
    looked_through: usize,
    more: bool,
    unreadable: Vec<String>,
}

pub fn find_quotes(tools: &Tools, patience: &Patience, asked: FindQuotes) -> Result<Value, String> {
    let FindQuotes { question, paths, top_k, min_margin } = asked;
    if question.trim().is_empty() {
        return Err("the question is empty".into());
    }
    let library = if paths.is_some() { None } else { (tools.index)()? };
    let chosen = match &library {
        None => Some(tools.files.choose(paths.as_deref(), patience)?),
        Some(_) => None,
    };
    if let Some(chosen) = chosen.as_ref().filter(|chosen| chosen.files.is_empty()) {
        return Err(match chosen.unreadable.as_slice() {
            [] => "there is no file to look in".into(),
            unreadable => format!("nothing could be read: {}", unreadable.join("; ")),
        });
    }
    let Ready { reader, options, searching } = &*tools.model.wait(patience)?;
    let asked_for = |usual: &Options| -> Result<Arc<Options>, String> {
        let mut options = Options { unit: OffsetUnit::Char, ..usual.clone() };
        options.decoding.top_k = top_k.unwrap_or(3).clamp(1, MOST_ANSWERS);
        if let Some(least) = min_margin {
            require_margin(&mut options.decoding, least)?;
        }
        Ok(Arc::new(options))
    };
    let (options, searching) = (asked_for(options)?, asked_for(searching)?);
    let asked = match (library, chosen) {
        (Some(library), _) => of_index(&library, reader, &question, &searching)?,
        (None, Some(chosen)) => of_files(reader, &question, [&options, &searching], chosen)?,
        (None, None) => return Err("there is no file to look in".into()),
    };
    let Asked { mut question, looked_through, more, unreadable } = asked;
    question.deadline = Some(patience.deadline);
    question.cancel = Some(patience.cancel.clone());
    let documents = question.documents.clone();
    let mut replies = reader.answer(&[question], &mut |_| {}).map_err(|error| error.to_string())?;
    let reply = match replies.pop() {
        Some(Ok(reply)) => reply,
        Some(Err(error)) => {
            patience.check("name fewer `paths`, or index the folders with `spanqa index`")?;
            return Err(error.to_string());
        }
        None => return Err("the model gave no reply".into()),
    };
    let mut record = serde_json::to_value(&reply).map_err(|error| error.to_string())?;
    record["question"] = beginning(&reply.question, MOST_QUOTED).into();
    for (name, answers) in [("answers", &reply.answers), ("candidates", &reply.candidates)] {
        let Some(Value::Array(shown)) = record.get_mut(name) else { continue };
        for (shown, answer) in shown.iter_mut().zip(answers) {
            show(shown, answer, &documents[answer.document_index], tools.files.roots());
        }
    }
    record["files"] = looked_through.into();
    record["more_files"] = more.into();
    if !unreadable.is_empty() {
        record["unreadable"] = json!(unreadable);
    }
    Ok(record)
}

/// Lets an answer count only if it leads "no answer" by so many logits.
fn require_margin(decoding: &mut Decoding, least: f32) -> Result<(), String> {
    decoding.always_answer = false;
    match &mut decoding.scoring {
        Scoring::Joint(joint) => joint.null_threshold = -least,
        Scoring::Squad { null_threshold } => *null_threshold = -least,
        scoring @ (Scoring::Hf(_) | Scoring::Haystack) => {
            return Err(format!(
                "min_margin says nothing to the rules `{}` that spanqa was started with: leave it out",
                scoring.rules()
            ));
        }
    }
    Ok(())
}

/// Says where an answer stands, and shortens what is too long to be shown: a text without blanks is one word.
fn show(shown: &mut Value, answer: &Answer, document: &Document, roots: &Roots) {
    let (path, sentence) = (path(&document.id), sentence(document, answer));
    shown["document"] = roots.short(&path).display().to_string().into();
    shown["uri"] = uri(&path).into();
    for (name, text) in [("text", answer.text.as_str()), ("sentence", sentence)] {
        let beginning = beginning(text, MOST_QUOTED);
        shown[name] = beginning.into();
        if beginning.len() < text.len() {
            shown["cut"] = true.into();
        }
    }
}

/// About what an index finds.
fn of_index(
    library: &Library,
    reader: &Reader,
    question: &str,
    options: &Arc<Options>,
) -> Result<Asked, String> {
    let retrieved = library.question(reader, "1", question, options);
    let Retrieved { question, missing } = retrieved.map_err(|error| error.to_string())?;
    Ok(Asked {
        question,
        looked_through: texts(library),
        more: false,
        unreadable: missing.iter().map(ToString::to_string).collect(),
    })
}

/// About files that were read: the whole of them, or of many the best passages.
fn of_files(
    reader: &Reader,
    question: &str,
    [whole, searching]: [&Arc<Options>; 2],
    chosen: Chosen,
) -> Result<Asked, String> {
    let Chosen { files, looked_through, more, unreadable } = chosen;
    let question = if files.iter().map(|file| file.text.text.len()).sum::<usize>() <= WHOLE {
        let prepare = |file: &Arc<File>| reader.prepare_document(id(file), file.text.clone()).map(Arc::new);
        let documents: Result<Vec<_>, _> = files.iter().map(prepare).collect();
        let documents = documents.map_err(|error| error.to_string())?;
        Question::new("1", question, documents).with(whole)
    } else {
        let found = best_of(&files, question, passages_for(searching));
        let searched = files.iter().map(|file| file.passages().len()).sum();
        let retrieved = question_about(reader, "1", question, searching, found, searched);
        retrieved.map_err(|error| error.to_string())?.question
    };
    Ok(Asked { question, looked_through, more, unreadable })
}

/// The best passages of files, as an index gives them.
fn best_of(files: &[Arc<File>], question: &str, most: usize) -> Texts {
    let passages: Vec<&Passages> = files.par_iter().map(|file| file.passages()).collect();
    let (mut found, mut places) = (Texts::default(), HashMap::new());
    for hit in best(question, &passages, most).into_iter().take(most) {
        let file = &files[hit.document];
        let document = *places.entry(hit.document).or_insert_with(|| {
            found.documents.push((id(file), file.text.clone()));
            found.documents.len() - 1
        });
        found.passages.push((document, file.passages().range(hit.passage), hit.score));
    }
    found
}

/// Files are called by where they are, as an index calls them.
fn id(file: &File) -> DocumentId {
    DocumentId::Path(file.path.display().to_string())
}

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

pub fn search_passages(tools: &Tools, patience: &Patience, asked: SearchPassages) -> Result<Value, String> {
    let SearchPassages { query, k } = asked;
    if query.trim().is_empty() {
        return Err("the query is empty".into());
    }
    let most = k.unwrap_or(10).clamp(1, MOST_PASSAGES);
    let (found, files, more) = match (tools.index)()? {
        Some(library) => {
            let found = library.find(&query, most).map_err(|error| error.to_string())?;
            (found, texts(&library), false)
        }
        None => {
            let chosen = tools.files.choose(None, patience)?;
            (best_of(&chosen.files, &query, most), chosen.looked_through, chosen.more)
        }
    };
    let mut shown = Shown { roots: tools.files.roots(), passages: Vec::new(), characters: 0, cut: false };
    for (document, bytes, score) in found.passages {
        let (id, text) = &found.documents[document];
        shown.add(path(id), &text.text, bytes, score);
    }
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
