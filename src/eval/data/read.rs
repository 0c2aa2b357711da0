//! Reads data sets: one JSON document, or one object per line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::eval::data::dataset::{Article, Dataset, Flaws, Format, Gold, Options, Paragraph, Question};
use crate::eval::error::{Error, Result};
use crate::fs;

pub(super) fn open(path: &Path, options: Options) -> Result<Dataset> {
    let unreadable = |source| fs::Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(bad(&path.display().to_string(), "", "is a folder, not a data set"));
    }
    read(&path.display().to_string(), BufReader::with_capacity(1 << 16, file), options).map_err(|failure| {
        match failure {
            Failure::Io(source) => unreadable(source).into(),
            Failure::Other(error) => error,
        }
    })
}

pub(super) fn parse(name: &str, bytes: &[u8], options: Options) -> Result<Dataset> {
    read(name, bytes, options).map_err(|failure| match failure {
        Failure::Io(error) => bad(name, "", &error.to_string()),
        Failure::Other(error) => error,
    })
}

/// What stopped the reading: the file system, or what the file says.
enum Failure {
    Io(std::io::Error),
    Other(Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

fn bad(file: &str, at: &str, reason: &str) -> Error {
    Error::BadDataset { file: file.into(), at: at.into(), reason: reason.into() }
}

fn read(name: &str, mut source: impl BufRead, options: Options) -> Result<Dataset, Failure> {
    if source.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        let plain = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(source));
        return lines(name, plain, options);
    }
    lines(name, source, options)
}

/// Tells a document from lines: the first line of a document is not a whole value, or nothing comes after it.
fn lines(name: &str, mut source: impl BufRead, options: Options) -> Result<Dataset, Failure> {
    let mut builder = Builder::new(name);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if source.read_until(b'\n', &mut line)? == 0 {
            return Err(bad(name, "", "is empty").into());
        }
        number += 1;
        if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    let whole = serde_json::from_slice::<IgnoredAny>(&line);
    let mut next = Vec::new();
    let mut skipped = 0;
    if whole.is_ok() {
        while source.read_until(b'\n', &mut next)? > 0 && next.trim_ascii().is_empty() {
            next.clear();
            skipped += 1;
        }
    }
    match whole {
        Ok(_) if next.is_empty() => builder.document(&line)?,
        Ok(_) => {
            builder.line(&line, number)?;
            number += skipped + 1;
            line = next;
            loop {
                if !line.trim_ascii().is_empty() {
                    builder.line(&line, number)?;
                }
                line.clear();
                if source.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                number += 1;
            }
        }
        Err(error) if error.is_eof() => {
            let mut document = vec![b'\n'; number - 1];
            document.append(&mut line);
            source.read_to_end(&mut document)?;
            builder.document(&document)?;
        }
        Err(error) => {
            return Err(bad(name, &format!("line {number}"), &format!("is not JSON: {error}")).into());
        }
    }
    Ok(builder.finish(options)?)
}

/// Any object of any of the formats. What is not named here is ignored.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Record {
    header: Option<IgnoredAny>,
    title: Value,
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

/// Where MRQA found an answer.
#[derive(Deserialize)]
struct Detected {
    text: String,
    #[serde(default)]
    char_spans: Vec<(usize, usize)>,
}

/// Collects records into a data set.
struct Builder<'a> {
    file: &'a str,
    format: Option<Format>,
    version: Option<String>,
    articles: Vec<Article>,
    flaws: Flaws,
    /// Where each id was seen.
    ids: HashMap<String, Place>,
    questions: usize,
    /// The last paragraph may take the next row: it is made of rows.
    open: bool,
    /// A mistake found while serde was calling.
    failure: Option<Error>,
}

/// Where in the file something stands. Small, because every id keeps one.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// A line, or 0 in a document.
    line: usize,
    /// Indices in `data`, `paragraphs` and `qas`; `usize::MAX` where they do not apply.
    item: usize,
    paragraph: usize,
    question: usize,
}

const NOWHERE: usize = usize::MAX;

impl Place {
    fn line(line: usize) -> Self {
        Self { line, item: NOWHERE, paragraph: NOWHERE, question: NOWHERE }
    }

    fn item(item: usize) -> Self {
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
    fn new(file: &'a str) -> Self {
        Self {
            file,
            format: None,
            version: None,
            articles: Vec::new(),
            flaws: Flaws::default(),
            ids: HashMap::new(),
            questions: 0,
            open: false,
            failure: None,
        }
    }

    fn bad(&self, place: Place, reason: &str) -> Error {
        bad(self.file, &place.to_string(), reason)
    }

    /// One object of many.
    fn line(&mut self, line: &[u8], number: usize) -> Result<()> {
        let place = Place::line(number);
        let record: Record =
            serde_json::from_slice(line).map_err(|error| self.bad(place, &strip_line(&error)))?;
        self.record(record, place)
    }

    /// The whole file.
    fn document(&mut self, bytes: &[u8]) -> Result<()> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = Top { builder: self }.deserialize(&mut json).and_then(|()| json.end());
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        read.map_err(|error| bad(self.file, "", &error.to_string()))
    }

    fn record(&mut self, record: Record, place: Place) -> Result<()> {
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
                self.articles.push(Article { title, paragraphs: Vec::new() });
                for (index, paragraph) in record.paragraphs.unwrap_or_default().into_iter().enumerate() {
                    self.paragraph(paragraph, Place { paragraph: index, ..place })?;
                }
                Ok(())
            }
            Format::Mrqa if record.context.is_none() => Ok(()),
            Format::Mrqa => {
                self.articles.push(Article { title, paragraphs: Vec::new() });
                self.paragraph(record, place)
            }
            Format::Rows => self.row(record, title, place),
        }
    }

    fn paragraph(&mut self, record: Record, place: Place) -> Result<()> {
        let context = record.context.ok_or_else(|| self.bad(place, "has no `context`"))?;
        let questions = record.qas.ok_or_else(|| self.bad(place, "has no `qas`"))?;
        let mut aligner = Aligner::new(&context);
        let mut read = Vec::with_capacity(questions.len());
        for (index, question) in questions.into_iter().enumerate() {
            read.push(self.question(question, &mut aligner, Place { question: index, ..place })?);
        }
        if let Some(article) = self.articles.last_mut() {
            article.paragraphs.push(Paragraph { context, questions: read });
        }
        self.open = false;
        Ok(())
    }

    /// Rows about one context stand together, so a row joins the one before it or starts a paragraph.
    fn row(&mut self, mut record: Record, title: String, place: Place) -> Result<()> {
        let context = record.context.take().ok_or_else(|| self.bad(place, "has no `context`"))?;
        let question = self.question(record, &mut Aligner::new(&context), place)?;
        // Rows without titles tell articles apart by nothing but their context.
        let same = |article: &Article| {
            article.title == title
                && (!title.is_empty()
                    || article.paragraphs.last().is_some_and(|last| last.context == context))
        };
        if !self.articles.last().is_some_and(same) {
            self.articles.push(Article { title, paragraphs: Vec::new() });
            self.open = false;
        }
        let Some(article) = self.articles.last_mut() else { return Ok(()) };
        match article.paragraphs.last_mut() {
            Some(paragraph) if self.open && paragraph.context == context => {
                paragraph.questions.push(question)
            }
            _ => article.paragraphs.push(Paragraph { context, questions: vec![question] }),
        }
        self.open = true;
        Ok(())
    }

    fn question(&mut self, record: Record, aligner: &mut Aligner, place: Place) -> Result<Question> {
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
            self.flaws.first_misaligned.get_or_insert_with(|| format!("{id} ({place})"));
        }
        if let Some(first) = self.ids.insert(id.clone(), place) {
            return Err(Error::DuplicateId {
                file: self.file.into(),
                id,
                first: first.to_string(),
                at: place.to_string(),
            });
        }
        Ok(Question { id, text, golds })
    }

    fn finish(self, options: Options) -> Result<Dataset> {
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

/// The three shapes in which answers come, and a single one without a list around it.
fn golds(answers: Value) -> Result<Vec<Gold>, String> {
    match answers {
        Value::Array(list) => list.into_iter().map(gold).collect(),
        Value::Object(mut columns) => {
            let starts = columns.remove("answer_start").unwrap_or(Value::Null);
            match (columns.remove("text"), starts) {
                (Some(Value::Array(texts)), Value::Array(starts)) if texts.len() == starts.len() => {
                    texts.into_iter().zip(starts).map(|(text, at)| pair(Some(text), &at)).collect()
                }
                (Some(Value::Array(texts)), Value::Array(starts)) => {
                    Err(format!("has {} answers and {} answer_starts", texts.len(), starts.len()))
                }
                (Some(Value::Array(texts)), Value::Null) => {
                    texts.into_iter().map(|text| pair(Some(text), &Value::Null)).collect()
                }
                (text, at) => Ok(vec![pair(text, &at)?]),
            }
        }
        _ => Err("has `answers` that are neither a list nor an object".into()),
    }
}

fn gold(answer: Value) -> Result<Gold, String> {
    match answer {
        Value::Object(mut fields) => {
            let start = fields.remove("answer_start").unwrap_or(Value::Null);
            pair(fields.remove("text"), &start)
        }
        text => pair(Some(text), &Value::Null),
    }
}

fn pair(text: Option<Value>, start: &Value) -> Result<Gold, String> {
    let Some(Value::String(text)) = text else { return Err("has an answer without a text".into()) };
    let start = match start {
        Value::Null => None,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            // A start beyond any text is misaligned, and counted so.
            (None, Some(_)) => Some(usize::MAX),
            (Some(start), _) => Some(usize::try_from(start).unwrap_or(usize::MAX)),
            (None, None) => return Err(format!("has the answer_start {number}, which is no whole number")),
        },
        other => return Err(format!("has the answer_start {other}, which is no number")),
    };
    Ok(Gold { text, start })
}

fn text_of(value: &Value) -> Option<String> {
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

/// Finds code points in a context.
struct Aligner<'a> {
    context: &'a str,
    /// The byte of every code point, once one was asked for; none for ASCII.
    bytes: Option<Vec<usize>>,
}

impl<'a> Aligner<'a> {
    fn new(context: &'a str) -> Self {
        Self { context, bytes: None }
    }

    /// Whether `text` stands at code point `start`.
    fn stands(&mut self, text: &str, start: usize) -> bool {
        let at = if self.context.is_ascii() {
            start
        } else {
            let context = self.context;
            let bytes = self.bytes.get_or_insert_with(|| context.char_indices().map(|(at, _)| at).collect());
            bytes.get(start).copied().unwrap_or(usize::MAX)
        };
        self.context.get(at..).is_some_and(|rest| rest.starts_with(text))
    }
}

/// The outermost value: an object with `data`, a list, or a single row.
struct Top<'a, 'b> {
    builder: &'a mut Builder<'b>,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object with `data`, or a list of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // The keys of a row, in case it turns out to be one.
        let mut row = serde_json::Map::new();
        let mut data = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => {
                    data = true;
                    map.next_value_seed(Items { builder: &mut *self.builder })?;
                }
                "version" => self.builder.version = text_of(&map.next_value::<Value>()?),
                _ if data => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    row.insert(key, map.next_value()?);
                }
            }
        }
        if !data {
            let record: Record =
                serde_json::from_value(Value::Object(row)).map_err(serde::de::Error::custom)?;
            self.builder.take(|builder| builder.record(record, Place::line(1)))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Items { builder: self.builder }.visit_seq(seq)
    }
}

/// The list under `data`, one element at a time.
struct Items<'a, 'b> {
    builder: &'a mut Builder<'b>,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("a list of articles or rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(record) = seq
            .next_element::<Record>()
            .map_err(|error| serde::de::Error::custom(format!("in {}: {error}", Place::item(index))))?
        {
            self.builder.take(|builder| builder.record(record, Place::item(index)))?;
            index += 1;
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// Runs a step in the middle of serde's work. serde's errors are text, so ours waits beside it.
    fn take<E: serde::de::Error>(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<(), E> {
        step(self).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            E::custom(text)
        })
    }
}
