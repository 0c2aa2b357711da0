//! Parts of a data set: some of its questions, or a share that is held out.

use std::collections::{HashMap, HashSet};

use crate::eval::data::dataset::{Article, Dataset, Flaws, Question};
use crate::eval::error::{Error, Result};
use crate::random::Random;

/// Articles from which a share can be drawn that is near what was asked for.
pub const WORTH_DRAWING: usize = 20;

impl Dataset {
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

    /// Keeps the questions that stand first in the file.
    pub fn limit(&mut self, count: usize) {
        let mut numbers: Vec<usize> = self.entries().map(|entry| entry.question.number).collect();
        numbers.sort_unstable();
        if let Some(&end) = numbers.get(count) {
            self.retain(|question| question.number < end);
        }
    }

    /// Takes a share of the articles out, drawn at random, as a data set of its own. Where there are fewer than [`WORTH_DRAWING`]
    /// articles, contexts are drawn. What is held out never shares a context with what stays, nor, where articles are drawn, a title.
    pub fn hold_out(&mut self, share: f64, random: &mut Random) -> Dataset {
        let groups = self.groups();
        let group_count = groups.iter().max().map_or(0, |highest| highest + 1);
        let by_group = group_count >= WORTH_DRAWING;
        let contexts = self.contexts();
        let context_count = contexts.iter().flatten().max().map_or(0, |highest| highest + 1);
        let count = if by_group { group_count } else { context_count };
        let wanted = ((count as f64 * share).round() as usize).max(1);
        let chosen: HashSet<usize> = random.choose(wanted, count).into_iter().collect();
        let mut held = Dataset { articles: Vec::new(), flaws: Flaws::default(), ..self.clone() };
        for ((article, group), contexts) in self.articles.iter_mut().zip(groups).zip(contexts) {
            let mut part = Article::like(article);
            for (paragraph, context) in std::mem::take(&mut article.paragraphs).into_iter().zip(contexts) {
                let drawn = chosen.contains(if by_group { &group } else { &context });
                let side = if drawn { &mut part } else { &mut *article };
                side.paragraphs.push(paragraph);
            }
            held.articles.push(part);
        }
        for dataset in [&mut *self, &mut held] {
            dataset.articles.retain(|article| !article.paragraphs.is_empty());
        }
        held
    }

    /// For each paragraph of each article the number of its context.
    fn contexts(&self) -> Vec<Vec<usize>> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut number = |context| {
            let next = numbers.len();
            *numbers.entry(context).or_insert(next)
        };
        (self.articles.iter())
            .map(|article| {
                article.paragraphs.iter().map(|paragraph| number(paragraph.context.as_str())).collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::data::{Format, Gold, Options, Paragraph};

    fn dataset(articles: usize, paragraphs: usize) -> Dataset {
        let paragraph = |article: usize, number: usize| {
            let id = format!("{article}-{number}");
            let golds =
                if number == 0 { vec![Gold { text: "tower".into(), start: Some(4) }] } else { Vec::new() };
            let question =
                Question { id, text: "What?".into(), golds, number: article * paragraphs + number };
            Paragraph { context: format!("The tower {article}-{number}"), questions: vec![question] }
        };
        let article = |article: usize| Article {
            title: article.to_string(),
            kind: String::new(),
            paragraphs: (0..paragraphs).map(|number| paragraph(article, number)).collect(),
        };
        let articles = (0..articles).map(article).collect();
        let (name, format) = ("name".into(), Format::Squad);
        Dataset { name, format, version: None, articles, flaws: Flaws::default() }
    }

    fn set(dataset: &Dataset, value: fn(crate::eval::Entry) -> &str) -> HashSet<String> {
        dataset.entries().map(|entry| value(entry).to_owned()).collect()
    }

    fn ids(dataset: &Dataset) -> HashSet<String> {
        set(dataset, |entry| &entry.question.id)
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

    /// Rows about so many titles and contexts, shuffled.
    fn shuffled(titles: usize, contexts: usize, title: fn(usize) -> String) -> Dataset {
        let mut rows: Vec<String> = (0..contexts * 5)
            .map(|row| {
                let context = row % contexts;
                let (title, context) = (title(context % titles), format!("context {context}"));
                serde_json::json!({"id": row, "title": title, "context": context, "question": "q", "answers": []})
                    .to_string()
            })
            .collect();
        Random::new(1).shuffle(&mut rows);
        Dataset::parse("data", rows.join("\n").as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn shuffled_rows_never_share_a_context_with_what_is_held_out() {
        let titled = |number: usize| format!("T{number}");
        for (titles, contexts, title) in [
            // Sixty alternating rows of two titles.
            (2, 12, titled as fn(usize) -> String),
            (30, 60, titled),
            (1, 40, |_| String::new()),
            (1, 10, |_| String::new()),
        ] {
            for seed in 0..20 {
                let mut rest = shuffled(titles, contexts, title);
                let articles = rest.articles.len();
                assert_eq!(articles, if titles == 1 { contexts } else { titles });
                let held = rest.hold_out(0.2, &mut Random::new(seed));
                let of = |value: fn(crate::eval::Entry) -> &str| (set(&held, value), set(&rest, value));
                let (held_contexts, rest_contexts) = of(|entry| &entry.paragraph.context);
                assert!(held_contexts.is_disjoint(&rest_contexts), "{titles} titles, seed {seed}");
                assert_eq!(held_contexts.len() + rest_contexts.len(), contexts);
                assert_eq!(held.len() + rest.len(), contexts * 5);
                assert_eq!(held.len(), 5 * (contexts as f64 * 0.2).round() as usize);
                if titles == 30 {
                    let (held, rest) = of(|entry| &entry.article.title);
                    assert!(held.is_disjoint(&rest));
                }
            }
        }
    }

    #[test]
    fn the_first_questions_are_those_of_the_file() {
        let mut dataset = shuffled(2, 12, |number| format!("T{number}"));
        let mut numbers: Vec<usize> = dataset.entries().map(|entry| entry.question.number).collect();
        assert!(!numbers.is_sorted());
        dataset.limit(7);
        numbers = dataset.entries().map(|entry| entry.question.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
        dataset.limit(99);
        assert_eq!(dataset.len(), 7);
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
