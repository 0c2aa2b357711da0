//! Answers from a model.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use spanqa::decode::ScoringRules;
use spanqa::encoder::Precision;
use spanqa::eval::Dataset;
use spanqa::eval::answers::{Answers, Pace};
use spanqa::eval::journal::{self, Header, Journal};
use spanqa::eval::open::Pool;
use spanqa::eval::run::{self, About, RunProgress};
use spanqa::eval::score::metrics::Rules;
use spanqa::request::{FOUND, Options};

use super::Args;
use crate::cli::options::Read;
use crate::cli::progress::QuestionBar;
use crate::cli::terminal;

/// The file that remembers an unfinished run.
const JOURNAL: &str = "run.jsonl";

/// Candidates per question in nbest_predictions.json: as many as run_qa keeps.
const CANDIDATES: usize = 20;

impl Args {
    /// Puts the questions to the model, those that an interrupted run has answered left out.
    pub(super) fn ask(&self, dataset: &Dataset, pool: Option<&Pool>, rules: Rules) -> Result<Answers> {
        let resolved = self.reader.resolve(self.quiet)?;
        // Of several passages only one distribution over all their spans makes sense.
        let (usual, read) = match pool {
            Some(_) => (ScoringRules::Joint, self.reader.read(Read::Best(FOUND))),
            None => (ScoringRules::Squad, self.reader.read(Read::All)),
        };
        let mut options = Options {
            decoding: self.reader.decoding.decoding_by(usual, &resolved, false)?,
            limits: self.reader.limits.limits(read)?,
            read,
            why: self.report.is_some(),
            ..Options::default()
        };
        // In a pool the paragraphs of its spans are what the reader has found.
        if (self.report.is_some() || pool.is_some()) && options.decoding.top_k == 1 {
            options.decoding.top_k = CANDIDATES;
        }
        // The scripts for data sets of this kind know no empty answer.
        options.decoding.always_answer |=
            rules != Rules::Squad2 && self.reader.decoding.null_threshold.is_none();
        let mut settings = options.settings();
        let dtype = self.reader.runtime.device.dtype;
        settings.insert("dtype".into(), dtype.map_or("default", Precision::name).into());
        if let Some(pool) = pool {
            settings.insert("open".into(), format!("{} texts", pool.texts()));
        }
        let options = Arc::new(options);
        let reader = self.reader.open(&resolved, self.quiet)?;

        let (mut journal, mut said) = match &self.report {
            None => (None, Vec::new()),
            Some(folder) => {
                let path = folder.join(JOURNAL);
                let header = Header::new(resolved.files.identity()?, dataset, settings);
                let (journal, said) = match self.resume {
                    true => journal::resume(&path, &header)?,
                    false => (Journal::create(&path, &header)?, Vec::new()),
                };
                (Some(journal), said)
            }
        };
        if self.resume && !self.quiet {
            eprintln!("note: {} of {} questions were answered before", said.len(), dataset.len());
        }
        let before = said.clone();
        let done: HashSet<&str> = before.iter().map(|said| said.id.as_str()).collect();
        let started = Instant::now();
        let mut total = RunProgress { questions: 0, tokens: 0 };
        let mut bar = QuestionBar::new(dataset.len(), done.len(), self.quiet);
        let finished = run::run(
            &reader,
            dataset,
            pool.map_or(About::Own, About::Found),
            &options,
            &done,
            &mut |predictions| {
                if let Some(journal) = &mut journal {
                    journal.append(&predictions)?;
                }
                said.extend(predictions);
                Ok(())
            },
            &mut |progress| {
                total = progress;
                bar.update(progress);
                ControlFlow::Continue(())
            },
        );
        bar.finish();
        self.reader.runtime.report(&reader, self.quiet);
        let _ = finished?;
        let pace = Pace {
            seconds: started.elapsed().as_secs_f64(),
            questions: said.len() - before.len(),
            tokens: total.tokens,
        };

        let scoring = match options.decoding.scoring.rules() {
            ScoringRules::Squad => "run_qa",
            ScoringRules::Joint => "joint",
            ScoringRules::Hf => "pipeline",
            ScoringRules::Haystack => "haystack",
        };
        let model = match &resolved.files.revision {
            Some(revision) => format!("{}@{revision}", resolved.files.name),
            None => resolved.files.name.clone(),
        };
        let mut answers = Answers::from_run(format!("{model}, {scoring} rules"), dataset, &said);
        for said in answers.run.iter().filter(|_| !self.quiet) {
            if let Some(reason) = &said.failure {
                terminal::note(format!(
                    "question {} counts as not answered: {reason}",
                    terminal::name(&said.id)
                ));
            }
        }
        answers.threshold = (!options.decoding.always_answer)
            .then(|| f64::from(options.decoding.null_threshold().unwrap_or(0.0)));
        answers.pool = pool.map(|pool| (pool.texts(), pool.passages()));
        answers.pace = Some(pace);
        answers.computed = Some(format!("{} on {}", reader.dtype(), reader.device()));
        Ok(answers)
    }
}
