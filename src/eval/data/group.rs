//! Which articles belong together, so that no part of a data set shows in another one.

use std::collections::HashMap;

use crate::eval::data::dataset::{Article, Dataset};

impl Dataset {
    /// For each article the number of its group, in order of appearance. Articles of one group are joined by a title or by a
    /// context: whoever has read one of them knows something of the others.
    pub fn groups(&self) -> Vec<usize> {
        let mut parents: Vec<usize> = (0..self.articles.len()).collect();
        let mut seen: HashMap<Mark, usize> = HashMap::new();
        for (index, article) in self.articles.iter().enumerate() {
            for mark in marks(article) {
                let other = *seen.entry(mark).or_insert(index);
                let (a, b) = (root(&mut parents, index), root(&mut parents, other));
                parents[a.max(b)] = a.min(b);
            }
        }
        let mut numbers = HashMap::new();
        (0..parents.len())
            .map(|index| {
                let next = numbers.len();
                *numbers.entry(root(&mut parents, index)).or_insert(next)
            })
            .collect()
    }
}

/// What joins articles.
#[derive(PartialEq, Eq, Hash)]
enum Mark<'a> {
    Title(&'a str),
    Context(&'a str),
}

fn marks(article: &Article) -> impl Iterator<Item = Mark<'_>> {
    let title = Some(article.title.as_str()).filter(|title| !title.is_empty());
    let contexts = article.paragraphs.iter().map(|paragraph| Mark::Context(&paragraph.context));
    title.map(Mark::Title).into_iter().chain(contexts)
}

/// The first article of a group; the way there is made shorter for the next time.
fn root(parents: &mut [usize], mut index: usize) -> usize {
    while parents[index] != index {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::data::Options;

    #[test]
    fn a_title_or_a_context_joins_articles() {
        let article = |title: &str, contexts: &[&str]| {
            let paragraphs: Vec<_> = (contexts.iter())
                .map(|context| {
                    let questions = [serde_json::json!({"question": "q", "answers": []})];
                    serde_json::json!({"context": context, "qas": questions})
                })
                .collect();
            serde_json::json!({"title": title, "paragraphs": paragraphs})
        };
        let articles = [
            article("A", &["a"]),
            article("B", &["b"]),
            article("", &["c"]),
            article("", &["d", "b"]),
            article("A", &["e"]),
            article("C", &["d"]),
            article("", &["f"]),
        ];
        let text = serde_json::json!({"data": articles}).to_string();
        let dataset = Dataset::parse("data", text.as_bytes(), Options::default()).unwrap();
        assert_eq!(dataset.groups(), [0, 1, 2, 1, 0, 1, 3]);
    }
}
