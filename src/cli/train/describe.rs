//! What a run of training says at its start and writes down at its end.

use anyhow::Result;
use spanqa::eval::Dataset;
use spanqa::fs;
use spanqa::train::card::{self, Card, DataFact};
use spanqa::train::examples::Counts;
use spanqa::train::folder::Progress;
use spanqa::train::journal::Record;
use spanqa::train::learn::Learner;
use spanqa::train::page::{self, Facts};

use super::Args;
use crate::cli::{terminal, version};

impl Args {
    /// Says what is about to happen.
    pub(super) fn say(
        &self,
        learner: &Learner,
        datasets: &[Dataset],
        counts: &[Counts],
        progress: &Progress,
        steps: u64,
    ) {
        if self.quiet {
            return;
        }
        for (dataset, counts) in datasets.iter().zip(counts) {
            let Counts { questions, unanswerable, windows, without_answer, .. } = counts;
            eprintln!(
                "note: {}: {questions} questions ({unanswerable} without an answer) in {windows} windows \
                 ({without_answer} without one)",
                dataset.name
            );
            counts.remarks().iter().for_each(|remark| terminal::note(format!("{}: {remark}", dataset.name)));
        }
        if learner.head_is_fresh() {
            eprintln!("note: the span head starts from random numbers");
        }
        if progress.finished {
            eprintln!("note: this run has ended already, after {} steps", progress.step);
        } else if progress.step > 0 {
            eprintln!("note: going on after step {} of {steps}", progress.step);
        } else {
            eprintln!("note: {steps} steps, {} numbers learn", learner.learning_numbers());
        }
    }

    /// Writes the card and the report.
    pub(super) fn describe(
        &self,
        datasets: &[Dataset],
        progress: &Progress,
        records: &[Record],
    ) -> Result<()> {
        let recipe = &progress.recipe;
        let name =
            self.out.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        let mut rows = recipe.rows();
        rows.push(("steps".into(), progress.step.to_string()));
        rows.push(("tokens".into(), progress.tokens.to_string()));
        let best = records.iter().rev().find_map(|record| match record {
            Record::Dev(dev) if dev.best => Some(dev),
            _ => None,
        });
        let dev = self
            .dev
            .as_ref()
            .map_or_else(|| "held-out articles".to_owned(), |path| path.display().to_string());
        let mut scores = Vec::new();
        if let Some(best) = best {
            scores.push((format!("F1, {dev}"), format!("{:.2}", best.f1)));
            scores.push((format!("exact, {dev}"), format!("{:.2}", best.exact)));
            for (what, score) in [("HasAns", best.has_answer_f1), ("NoAns", best.no_answer_f1)] {
                scores.extend(score.map(|score| (format!("{what} F1"), format!("{score:.2}"))));
            }
        }
        let fact = |(dataset, counts): (&Dataset, &Counts)| DataFact {
            file: dataset.name.clone(),
            questions: counts.questions,
            unanswerable: counts.unanswerable,
            windows: counts.windows,
        };
        let card = Card {
            name: name.clone(),
            base: self.base.clone(),
            command: command(),
            data: datasets.iter().zip(&progress.counts).map(fact).collect(),
            recipe: rows.clone(),
            scores,
            licence: self.licence.clone(),
            version: version::short().to_string(),
        };
        fs::write(&self.out.join("README.md"), card::markdown(&card).as_bytes())?;
        let facts = Facts {
            title: name,
            rows: [("base".to_owned(), self.base.clone())].into_iter().chain(rows).collect(),
        };
        fs::write(&self.out.join("report.html"), page::html(&facts, records).as_bytes())?;
        Ok(())
    }
}

/// The command as it was typed, quoted where a shell needs it.
fn command() -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=,:@%+".contains(c))
    };
    let words = std::env::args()
        .skip(1)
        .map(|word| if plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) });
    std::iter::once("spanqa".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
