//! Longer documents than data sets have: paragraphs of one article joined, so that windows have to be compared.

use crate::eval::data::dataset::{Article, Dataset, Gold, Paragraph, Question};
use crate::eval::error::Result;

/// What stands between two paragraphs.
const BETWEEN: &str = "\n\n";

/// Joins neighbouring paragraphs of each article until a document has `tokens` tokens, by the given count. Gold offsets move along.
///
/// A question without an answer in its paragraph may have one in a neighbour, so it is no longer sure to be unanswerable.
pub fn join(
    dataset: &Dataset,
    tokens: usize,
    count: &mut dyn FnMut(&str) -> Result<usize>,
) -> Result<Dataset> {
    let mut joined = Dataset { articles: Vec::with_capacity(dataset.articles.len()), ..dataset.clone() };
    for article in &dataset.articles {
        let mut documents: Vec<Paragraph> = Vec::new();
        // Tokens of the last document; a full one takes no more.
        let mut length = usize::MAX;
        for paragraph in &article.paragraphs {
            let added = count(&paragraph.context)?;
            match documents.last_mut() {
                Some(document) if length < tokens => {
                    append(document, paragraph);
                    length += added;
                }
                _ => {
                    documents.push(paragraph.clone());
                    length = added;
                }
            }
        }
        joined.articles.push(Article { paragraphs: documents, ..Article::like(article) });
    }
    Ok(joined)
}

fn append(document: &mut Paragraph, paragraph: &Paragraph) {
    let shift = document.context.chars().count() + BETWEEN.chars().count();
    document.context.push_str(BETWEEN);
    document.context.push_str(&paragraph.context);
    document.questions.extend(paragraph.questions.iter().map(|question| {
        Question {
            golds: (question.golds.iter())
                .map(|gold| Gold {
                    text: gold.text.clone(),
                    start: gold.start.map(|start| start.saturating_add(shift)),
                })
                .collect(),
            ..question.clone()
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Options;

    #[test]
    fn answers_move_along() {
        let row = |id: usize, title: &str, context: &str, start: usize| {
            let gold = context.chars().skip(start).collect::<String>();
            let answers = serde_json::json!([{"text": gold, "answer_start": start}]);
            serde_json::json!({"id": id, "title": title, "context": context, "question": "q", "answers": answers}).to_string()
        };
        let rows = [
            row(1, "A", "über alles", 5),
            row(2, "A", "zwei drei vier", 5),
            row(3, "A", "fünf", 0),
            row(4, "B", "sechs sieben", 6),
        ];
        let dataset = Dataset::parse("data", rows.join("\n").as_bytes(), Options { strict: true }).unwrap();
        let mut words = |text: &str| Ok(text.split(' ').count());
        let contexts = |dataset: &Dataset| -> Vec<String> {
            dataset.articles.iter().flat_map(|a| &a.paragraphs).map(|p| p.context.clone()).collect()
        };
        let joined = join(&dataset, 4, &mut words).unwrap();
        assert_eq!(contexts(&joined), ["über alles\n\nzwei drei vier", "fünf", "sechs sieben"]);
        for entry in joined.entries() {
            let gold = &entry.question.golds[0];
            let found: String = entry.paragraph.context.chars().skip(gold.start.unwrap()).collect();
            assert!(found.starts_with(&gold.text), "{found} {gold:?}");
        }
        assert_eq!(contexts(&join(&dataset, 0, &mut words).unwrap()), contexts(&dataset));
        assert_eq!(contexts(&join(&dataset, 1000, &mut words).unwrap()).len(), 2);
    }
}
