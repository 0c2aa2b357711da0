//! What a run of training says at its start and writes down at its end.

use anyhow::Result;
use spanqa::eval::Dataset;
use spanqa::fs;
use spanqa::source::Resolved;
use spanqa::train::card::{self, Card, DataFact};
use spanqa::train::examples::Counts;
use spanqa::train::folder::Progress;
use spanqa::train::journal::{DevRecord, Record};
use spanqa::train::learn::Learner;
use spanqa::train::page::{self, Facts};

use super::Args;
use crate::cli::provenance::{command, provenance};
use crate::cli::{clock, terminal, version};

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
        self.say_data(datasets, counts);
        if self.quiet {
            return;
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

    /// Says what became of the questions.
    pub(super) fn say_data(&self, datasets: &[Dataset], counts: &[Counts]) {
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
    }

    /// Says which weights are left, and where to read about them.
    pub(super) fn say_the_end(&self, progress: &Progress) {
        if progress.best.is_some_and(|(_, step)| step == 0) {
            eprintln!("note: no evaluation was better than the base, so its weights are what is left");
        }
        eprintln!("note: the report is in {}", self.out.join("report.html").display());
    }

    /// Writes the card and the report.
    pub(super) fn describe(
        &self,
        origin: &Resolved,
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
        if let Some(base) = scores_of_base(records) {
            scores.push((format!("F1 of the base, {dev}"), format!("{:.2}", base.f1)));
            scores.push((format!("exact of the base, {dev}"), format!("{:.2}", base.exact)));
        }
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
        let entry = origin.entry.as_ref();
        let languages = match &self.language[..] {
            [] => entry.map_or_else(Vec::new, |entry| entry.languages.clone()),
            given => given.to_vec(),
        };
        let card = Card {
            name: name.clone(),
            base: self.base.clone(),
            base_repo: entry.and_then(|entry| entry.repo.clone()),
            languages,
            data_ids: self.data_id.clone(),
            command: command(),
            data: datasets.iter().zip(&progress.counts).map(fact).collect(),
            recipe: rows.clone(),
            scores,
            licence: self.licence.clone(),
            version: version::short().to_string(),
        };
        fs::write(&self.out.join("README.md"), card::markdown(&card).as_bytes())?;
        let mut about = vec![("base".to_owned(), self.base.clone())];
        about.extend(card.data.iter().map(|fact| {
            let DataFact { file, questions, unanswerable, windows } = fact;
            let fact = format!(
                "{file}: {questions} questions ({unanswerable} without an answer) in {windows} windows"
            );
            ("data".to_owned(), fact)
        }));
        if records.iter().any(|record| matches!(record, Record::Dev(_))) {
            about.push(("evaluated on".into(), dev));
        }
        about.extend(rows);
        about.push(("time of the steps".into(), clock::duration(progress.seconds)));
        about.extend(provenance());
        let facts = Facts { title: name, rows: about };
        fs::write(&self.out.join("report.html"), page::html(&facts, records).as_bytes())?;
        Ok(())
    }
}

/// What the base scored, if it was evaluated.
pub(super) fn scores_of_base(records: &[Record]) -> Option<&DevRecord> {
    records.iter().find_map(|record| match record {
        Record::Dev(dev) if dev.step == 0 => Some(dev),
        _ => None,
    })
}
