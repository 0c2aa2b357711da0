//! A data set as articles, paragraphs and questions, so that a context shared by many questions is held and tokenised once.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::eval::data::read;
use crate::eval::error::{Error, Result};
use crate::random::Random;

/// The shape in which a data set was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// SQuAD JSON: articles, paragraphs, questions. XQuAD and MLQA have the same shape.
    Squad,
    /// One question with its context per row, as Hugging Face exports them.
    Rows,
    /// MRQA: one context with its questions per line.
    Mrqa,
}

impl Format {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Squad => "SQuAD JSON",
            Format::Rows => "rows",
            Format::Mrqa => "MRQA",
        }
    }
}

/// Questions with their contexts and gold answers.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The file, as messages call it.
    pub name: String,
    /// The shape it was found in.
    pub format: Format,
    /// What the file says of its version.
    pub version: Option<String>,
    /// The articles, in the order of the file.
    pub articles: Vec<Article>,
    /// What is wrong with it without making it unusable.
    pub flaws: Flaws,
}

/// Paragraphs about one thing.
#[derive(Debug, Clone, Default)]
pub struct Article {
    /// What it is called; empty if the file does not say.
    pub title: String,
    /// Its paragraphs.
    pub paragraphs: Vec<Paragraph>,
}

/// A context and the questions about it.
#[derive(Debug, Clone, Default)]
pub struct Paragraph {
    /// The text, exactly as stored.
    pub context: String,
    /// The questions.
    pub questions: Vec<Question>,
}

/// A question and the answers that people gave.
#[derive(Debug, Clone)]
pub struct Question {
    /// What predictions call it.
    pub id: String,
    /// The question, exactly as stored.
    pub text: String,
    /// The gold answers; none if the context does not answer it.
    pub golds: Vec<Gold>,
}

impl Question {
    /// Whether the context answers it: in the official rules, whether anyone gave an answer.
    pub fn has_answer(&self) -> bool {
        !self.golds.is_empty()
    }

    /// The texts of the gold answers.
    pub fn gold_texts(&self) -> impl Iterator<Item = &str> {
        self.golds.iter().map(|gold| gold.text.as_str())
    }
}

/// One gold answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gold {
    /// The text.
    pub text: String,
    /// The code point of the context where it starts, if the data set says so.
    pub start: Option<usize>,
}

/// A question and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The number of its article.
    pub article_index: usize,
    /// Its article.
    pub article: &'a Article,
    /// Its paragraph.
    pub paragraph: &'a Paragraph,
    /// The question.
    pub question: &'a Question,
}

/// Oddities that are counted and told, not fatal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Gold answers that do not stand where the file says.
    pub misaligned: usize,
    /// The id of the first such question.
    pub first_misaligned: Option<String>,
    /// Questions without an id, which are called by their number.
    pub without_id: usize,
}

impl Flaws {
    /// One remark per kind of flaw.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(first) = &self.first_misaligned {
            let count = self.misaligned;
            remarks.push(format!(
                "{count} gold answers do not stand where the data set says; the first is of {first}"
            ));
        }
        if self.without_id > 0 {
            let count = self.without_id;
            remarks.push(format!("{count} questions have no id; their number in the file stands for it"));
        }
        remarks
    }
}

/// How a data set is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Gold answers that do not stand where the file says are an error.
    pub strict: bool,
}

/// Articles from which a share can be drawn that is near what was asked for.
pub const WORTH_DRAWING: usize = 20;

impl Dataset {
    /// Reads a file in any of the known shapes, also compressed with gzip. The content decides, not the name.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        read::open(path, options)
    }

    /// Reads a data set that is already in memory.
    pub fn parse(name: &str, bytes: &[u8], options: Options) -> Result<Self> {
        read::parse(name, bytes, options)
    }

    /// Every question, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.articles.iter().enumerate().flat_map(|(article_index, article)| {
            article.paragraphs.iter().flat_map(move |paragraph| {
                paragraph.questions.iter().map(move |question| Entry {
                    article_index,
                    article,
                    paragraph,
                    question,
                })
            })
        })
    }

    /// How many questions there are.
    pub fn len(&self) -> usize {
        self.articles.iter().flat_map(|article| &article.paragraphs).map(|p| p.questions.len()).sum()
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any question has no answer, which is what makes it a data set of the second kind.
    pub fn has_unanswerable(&self) -> bool {
        self.entries().any(|entry| !entry.question.has_answer())
    }

    /// Keeps the questions that pass, and no paragraph or article without one.
    pub fn retain(&mut self, mut keep: impl FnMut(&Question) -> bool) {
        for article in &mut self.articles {
            for paragraph in &mut article.paragraphs {
                paragraph.questions.retain(&mut keep);
            }
            article.paragraphs.retain(|paragraph| !paragraph.questions.is_empty());
        }
        self.articles.retain(|article| !article.paragraphs.is_empty());
    }

    /// Takes a share of the articles out, drawn at random, as a data set of its own. Where there are fewer than [`WORTH_DRAWING`]
    /// articles, paragraphs are drawn: what is held out never shares a text with what stays.
    pub fn hold_out(&mut self, share: f64, random: &mut Random) -> Dataset {
        let by_article = self.articles.len() >= WORTH_DRAWING;
        let paragraphs = self.articles.iter().map(|article| article.paragraphs.len()).sum();
        let count = if by_article { self.articles.len() } else { paragraphs };
        let wanted = ((count as f64 * share).round() as usize).max(1);
        let chosen: HashSet<usize> = random.choose(wanted, count).into_iter().collect();
        let mut held = Dataset { articles: Vec::new(), flaws: Flaws::default(), ..self.clone() };
        let mut paragraph = 0;
        for (number, article) in self.articles.iter_mut().enumerate() {
            let (out, stay) = std::mem::take(&mut article.paragraphs).into_iter().partition(|_| {
                paragraph += 1;
                chosen.contains(&if by_article { number } else { paragraph - 1 })
            });
            article.paragraphs = stay;
            held.articles.push(Article { title: article.title.clone(), paragraphs: out });
        }
        for dataset in [&mut *self, &mut held] {
            dataset.articles.retain(|article| !article.paragraphs.is_empty());
        }
        held
    }

    /// The data set as SQuAD v2.0 JSON.
    pub fn json(&self) -> Value {
        let answers = |question: &Question| -> Vec<Value> {
            let gold = |gold: &Gold| json!({"text": gold.text, "answer_start": gold.start});
            question.golds.iter().map(gold).collect()
        };
        let question = |question: &Question| {
            json!({"id": question.id, "question": question.text, "answers": answers(question),
                   "is_impossible": !question.has_answer()})
        };
        let paragraph = |paragraph: &Paragraph| {
            let questions: Vec<Value> = paragraph.questions.iter().map(question).collect();
            json!({"context": paragraph.context, "qas": questions})
        };
        let article = |article: &Article| {
            let paragraphs: Vec<Value> = article.paragraphs.iter().map(paragraph).collect();
            json!({"title": article.title, "paragraphs": paragraphs})
        };
        json!({"version": "v2.0", "data": self.articles.iter().map(article).collect::<Vec<_>>()})
    }

    /// Keeps the questions with these ids; an id that is not there is an error.
    pub fn select(&mut self, ids: &[String]) -> Result<()> {
        let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let known: HashSet<&str> = self.entries().map(|entry| entry.question.id.as_str()).collect();
        if let Some(unknown) = ids.iter().find(|id| !known.contains(id.as_str())) {
            return Err(Error::NoQuestions {
                file: self.name.clone(),
                reason: format!("it has no question {unknown}"),
            });
        }
        self.retain(|question| wanted.contains(question.id.as_str()));
        Ok(())
    }

    /// Keeps so many questions, drawn at random.
    pub fn sample(&mut self, count: usize, random: &mut Random) {
        let mut chosen = random.choose(count, self.len()).into_iter().peekable();
        let mut place = 0;
        self.retain(|_| {
            place += 1;
            chosen.next_if_eq(&(place - 1)).is_some()
        });
    }

    /// Keeps the first questions.
    pub fn limit(&mut self, count: usize) {
        let mut seen = 0;
        self.retain(|_| {
            seen += 1;
            seen <= count
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(articles: usize, paragraphs: usize) -> Dataset {
        let paragraph = |article: usize, number: usize| {
            let id = format!("{article}-{number}");
            let golds =
                if number == 0 { vec![Gold { text: "tower".into(), start: Some(4) }] } else { Vec::new() };
            let question = Question { id, text: "What?".into(), golds };
            Paragraph { context: format!("The tower {article}-{number}"), questions: vec![question] }
        };
        let article = |article: usize| Article {
            title: article.to_string(),
            paragraphs: (0..paragraphs).map(|number| paragraph(article, number)).collect(),
        };
        let articles = (0..articles).map(article).collect();
        let (name, format) = ("name".into(), Format::Squad);
        Dataset { name, format, version: None, articles, flaws: Flaws::default() }
    }

    fn ids(dataset: &Dataset) -> HashSet<String> {
        dataset.entries().map(|entry| entry.question.id.clone()).collect()
    }

    #[test]
    fn what_is_held_out_is_whole_and_nowhere_else() {
        for (articles, paragraphs, held_articles) in [(40, 3, Some(4)), (2, 50, None)] {
            let mut rest = dataset(articles, paragraphs);
            let all = ids(&rest);
            let held = rest.hold_out(0.1, &mut Random::new(3));
            assert!(ids(&held).is_disjoint(&ids(&rest)));
            assert_eq!(ids(&held).union(&ids(&rest)).cloned().collect::<HashSet<_>>(), all);
            match held_articles {
                Some(count) => assert_eq!((held.articles.len(), held.len()), (count, count * paragraphs)),
                None => assert_eq!(held.len(), 10),
            }
        }
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let written = dataset(3, 2);
        let bytes = written.json().to_string().into_bytes();
        let read = Dataset::parse("name", &bytes, Options::default()).unwrap();
        assert_eq!(ids(&read), ids(&written));
        assert_eq!(
            read.articles[1].paragraphs[0].questions[0].golds,
            [Gold { text: "tower".into(), start: Some(4) }]
        );
        assert!(read.has_unanswerable());
    }
}
