//! A data set as articles, paragraphs and questions, so that a context shared by many questions is held and tokenised once.

use serde_json::{Value, json};

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
    /// What kind of text it is; empty if the file does not say.
    pub kind: String,
    /// Its paragraphs.
    pub paragraphs: Vec<Paragraph>,
}

impl Article {
    /// The same, without its paragraphs.
    pub(super) fn like(other: &Self) -> Self {
        Self { title: other.title.clone(), kind: other.kind.clone(), paragraphs: Vec::new() }
    }
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
    /// How many questions stand before it in the file.
    pub number: usize,
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

impl Dataset {
    /// Every question, article by article.
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

    /// Whether any question has no answer, as in SQuAD v2.0.
    pub fn has_unanswerable(&self) -> bool {
        self.entries().any(|entry| !entry.question.has_answer())
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
            match article.kind.as_str() {
                "" => json!({"title": article.title, "paragraphs": paragraphs}),
                kind => json!({"title": article.title, "kind": kind, "paragraphs": paragraphs}),
            }
        };
        json!({"version": "v2.0", "data": self.articles.iter().map(article).collect::<Vec<_>>()})
    }
}
