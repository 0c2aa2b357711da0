//! From records of any of the formats to articles, paragraphs and questions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::eval::data::dataset::{Article, Dataset, Flaws, Format, Options, Paragraph, Question};
use crate::eval::data::golds::{Aligner, golds};
use crate::eval::error::{Error, Result};
use crate::parquet::Choice;

/// Any object of any of the formats. What is not named here is ignored.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Record {
    header: Option<IgnoredAny>,
    title: Value,
    kind: Value,
    paragraphs: Option<Vec<Record>>,
    context: Option<String>,
    qas: Option<Vec<Record>>,
    id: Value,
    qid: Value,
    question: Option<String>,
    answers: Value,
    is_impossible: Value,
    detected_answers: Option<Vec<Detected>>,
}

/// The columns of a table in which such objects stand.
pub(super) fn columns() -> Choice {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
    Choice {
        needed: vec![names(&["question", "qas", "paragraphs"]), names(&["context", "paragraphs"])],
        wanted: names(&["title", "kind", "id", "qid", "answers", "is_impossible", "detected_answers"]),
        others: false,
    }
}

/// Where MRQA found an answer.
#[derive(Deserialize)]
struct Detected {
    text: String,
    #[serde(default)]
    char_spans: Vec<(usize, usize)>,
}

/// Collects records into a data set.
pub(super) struct Builder<'a> {
    file: &'a str,
    /// Whether its lines are rows of a table.
    rows: bool,
    format: Option<Format>,
    /// What the file says of its version.
    pub(super) version: Option<String>,
    articles: Vec<Article>,
    flaws: Flaws,
    /// Where each id was seen.
    ids: HashMap<String, Place>,
    /// The article of each title that rows have.
    titles: HashMap<String, usize>,
    /// Article and paragraph of each context that rows have, by the hash of title and context.
    contexts: HashMap<u64, Vec<(usize, usize)>>,
    hashes: RandomState,
    questions: usize,
}

/// Where in the file something stands. Small, because every id keeps one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// A line, or 0 in a document.
    line: usize,
    /// Indices in `data`, `paragraphs` and `qas`; `usize::MAX` where they do not apply.
    item: usize,
    paragraph: usize,
    question: usize,
}

const NOWHERE: usize = usize::MAX;

impl Place {
    pub(super) fn line(line: usize) -> Self {
        Self { line, item: NOWHERE, paragraph: NOWHERE, question: NOWHERE }
    }

    pub(super) fn item(item: usize) -> Self {
        Self { line: 0, item, paragraph: NOWHERE, question: NOWHERE }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut between = "";
        if self.line > 0 {
            write!(out, "line {}", self.line)?;
            between = " ";
        }
        for (name, index) in [("data", self.item), ("paragraphs", self.paragraph), ("qas", self.question)] {
            if index != NOWHERE {
                write!(out, "{between}{name}[{index}]")?;
                between = ".";
            }
        }
        Ok(())
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self {
            file,
            rows: false,
            format: None,
            version: None,
            articles: Vec::new(),
            flaws: Flaws::default(),
            ids: HashMap::new(),
            titles: HashMap::new(),
            contexts: HashMap::new(),
            hashes: RandomState::new(),
            questions: 0,
        }
    }

    /// The same, of a table.
    pub(super) fn of_rows(self) -> Self {
        Self { rows: true, ..self }
    }

    /// The file, as messages call it.
    pub(super) fn file(&self) -> &str {
        self.file
    }

    fn bad(&self, place: Place, reason: &str) -> Error {
        bad(self.file, &self.say(place), reason)
    }

    fn say(&self, place: Place) -> String {
        if self.rows { place.to_string().replacen("line", "row", 1) } else { place.to_string() }
    }

    /// One object of many.
    pub(super) fn line(&mut self, line: &[u8], number: usize) -> Result<()> {
        let place = Place::line(number);
        let record: Record =
            serde_json::from_slice(line).map_err(|error| self.bad(place, &strip_line(&error)))?;
        self.record(record, place)
    }

    /// An article, a context with its questions, or a row.
    pub(super) fn record(&mut self, record: Record, place: Place) -> Result<()> {
        let found = match &record {
            Record { header: Some(_), context: None, .. } => Format::Mrqa,
            Record { paragraphs: Some(_), .. } => Format::Squad,
            Record { qas: Some(_), .. } => Format::Mrqa,
            Record { question: Some(_), .. } | Record { context: Some(_), .. } => Format::Rows,
            _ => {
                let reason =
                    "has neither `paragraphs`, nor `context` with `qas`, nor `question` and `context`";
                return Err(self.bad(place, reason));
            }
        };
        let format = *self.format.get_or_insert(found);
        if format != found {
            let reason = format!("is {}, what came before is {}", found.name(), format.name());
            return Err(self.bad(place, &reason));
        }
        let title = text_of(&record.title).unwrap_or_default();
        match found {
            Format::Squad => {
                let mut paragraphs = Vec::new();
                for (index, paragraph) in record.paragraphs.unwrap_or_default().into_iter().enumerate() {
                    paragraphs.push(self.paragraph(paragraph, Place { paragraph: index, ..place })?);
                }
                let kind = text_of(&record.kind).unwrap_or_default();
                self.articles.push(Article { title, kind, paragraphs });
                Ok(())
            }
            Format::Mrqa if record.context.is_none() => Ok(()),
            Format::Mrqa => {
                let Paragraph { context, questions } = self.paragraph(record, place)?;
                self.join(title, context).extend(questions);
                Ok(())
            }
            Format::Rows => {
                let mut record = record;
                let context = record.context.take().ok_or_else(|| self.bad(place, "has no `context`"))?;
                let question = self.question(record, &mut Aligner::new(&context), place)?;
                self.join(title, context).push(question);
                Ok(())
            }
        }
    }

    fn paragraph(&mut self, record: Record, place: Place) -> Result<Paragraph> {
        let context = record.context.ok_or_else(|| self.bad(place, "has no `context`"))?;
        let asked = record.qas.ok_or_else(|| self.bad(place, "has no `qas`"))?;
        let mut aligner = Aligner::new(&context);
        let mut questions = Vec::with_capacity(asked.len());
        for (index, question) in asked.into_iter().enumerate() {
            questions.push(self.question(question, &mut aligner, Place { question: index, ..place })?);
        }
        Ok(Paragraph { context, questions })
    }

    /// The questions that a row joins, wherever rows of its title and context stood before. Articles are told apart by their
    /// titles, and those without one by their context.
    fn join(&mut self, title: String, context: String) -> &mut Vec<Question> {
        let hash = self.hashes.hash_one((&title, &context));
        let known = self.contexts.entry(hash).or_default();
        let same = |&(article, paragraph): &(usize, usize)| {
            let article: &Article = &self.articles[article];
            article.title == title && article.paragraphs[paragraph].context == context
        };
        let (article, paragraph) = match known.iter().copied().find(same) {
            Some(place) => place,
            None => {
                let next = self.articles.len();
                let article =
                    if title.is_empty() { next } else { *self.titles.entry(title.clone()).or_insert(next) };
                if article == next {
                    self.articles.push(Article { title, ..Article::default() });
                }
                let paragraphs = &mut self.articles[article].paragraphs;
                paragraphs.push(Paragraph { context, questions: Vec::new() });
                known.push((article, paragraphs.len() - 1));
                (article, paragraphs.len() - 1)
            }
        };
        &mut self.articles[article].paragraphs[paragraph].questions
    }

    fn question(&mut self, record: Record, aligner: &mut Aligner, place: Place) -> Result<Question> {
        let number = self.questions;
        self.questions += 1;
        let text = record.question.ok_or_else(|| self.bad(place, "has no `question`"))?;
        let id = match (&record.id, &record.qid) {
            (Value::Null, Value::Null) => None,
            (Value::Null, other) | (other, _) => Some(
                text_of(other).ok_or_else(|| self.bad(place, "has an id that is neither text nor number"))?,
            ),
        };
        let id = id.unwrap_or_else(|| {
            self.flaws.without_id += 1;
            self.questions.to_string()
        });
        let golds = match record.answers {
            Value::Null if record.is_impossible == Value::Bool(true) => Vec::new(),
            Value::Null => {
                return Err(self.bad(place, "has no `answers`, so there is nothing to score against"));
            }
            answers => golds(answers).map_err(|reason| self.bad(place, &reason))?,
        };
        let stated = golds.iter().filter_map(|gold| Some((gold.text.as_str(), gold.start?)));
        let detected = record.detected_answers.iter().flatten().flat_map(|detected| {
            detected.char_spans.iter().map(|&(start, _)| (detected.text.as_str(), start))
        });
        let misaligned = stated.chain(detected).filter(|(text, start)| !aligner.stands(text, *start)).count();
        if misaligned > 0 {
            self.flaws.misaligned += misaligned;
            let first = format!("{id} ({})", self.say(place));
            self.flaws.first_misaligned.get_or_insert(first);
        }
        if let Some(first) = self.ids.insert(id.clone(), place) {
            return Err(Error::DuplicateId {
                file: self.file.into(),
                id,
                first: self.say(first),
                at: self.say(place),
            });
        }
        Ok(Question { id, text, golds, number })
    }

    /// The data set, if there is one.
    pub(super) fn finish(self, options: Options) -> Result<Dataset> {
        if let (true, Some(first)) = (options.strict, &self.flaws.first_misaligned) {
            return Err(Error::Misaligned {
                file: self.file.into(),
                count: self.flaws.misaligned,
                first: first.clone(),
            });
        }
        if self.questions == 0 {
            return Err(bad(self.file, "", "has no question"));
        }
        Ok(Dataset {
            name: self.file.into(),
            format: self.format.unwrap_or(Format::Rows),
            version: self.version,
            articles: self.articles,
            flaws: self.flaws,
        })
    }
}

/// A mistake in a data set.
pub(super) fn bad(file: &str, at: &str, reason: &str) -> Error {
    Error::BadDataset { file: file.into(), at: at.into(), reason: reason.into() }
}

/// What a text or a number says.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// serde_json counts lines of what it was given; the caller knows better.
fn strip_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(reason) => format!("{reason} (column {})", error.column()),
        None => text,
    }
}
