//! Data sets told apart by what is in them, wherever they lie.

use sha2::{Digest, Sha256};

use crate::eval::data::dataset::Dataset;

impl Dataset {
    /// Stands for ids, questions and contexts in their order: all that a model's answers depend on.
    pub fn questions_digest(&self) -> String {
        self.digest(false)
    }

    /// Stands for ids, questions, contexts and gold answers.
    pub fn whole_digest(&self) -> String {
        self.digest(true)
    }

    fn digest(&self, with_golds: bool) -> String {
        let mut digest = Sha256::new();
        // Each text with its length, so that no two lists of texts run together to the same bytes.
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        for entry in self.entries() {
            let question = entry.question;
            [&question.id, &question.text, &entry.paragraph.context].into_iter().for_each(|text| add(text));
            if with_golds {
                add(&question.golds.len().to_string());
            }
            for gold in question.golds.iter().filter(|_| with_golds) {
                add(&gold.text);
                add(&gold.start.map_or(String::new(), |start| start.to_string()));
            }
        }
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::data::Options;

    #[test]
    fn what_changed_shows_where_it_counts() {
        let row = |context: &str, question: &str, answer: &str| {
            let row =
                serde_json::json!({"id": 1, "context": context, "question": question, "answers": [answer]});
            let dataset = Dataset::parse("data", row.to_string().as_bytes(), Options::default()).unwrap();
            (dataset.questions_digest(), dataset.whole_digest())
        };
        let (questions, whole) = row("c", "q", "a");
        assert_eq!(row("c", "q", "a"), (questions.clone(), whole.clone()));
        assert_ne!(row("cq", "", "a").0, questions);
        assert_ne!(row("c", "r", "a").0, questions);
        let (same, other) = row("c", "q", "b");
        assert!(same == questions && other != whole && questions != whole);
    }
}
