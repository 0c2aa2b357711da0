//! `spanqa eval --long`: the same questions in longer documents, under three ways to compare windows.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use spanqa::decode::{Hf, Joint, Scoring, ScoringRules};
use spanqa::eval::Dataset;
use spanqa::eval::analysis::{self, Given, NullOdds, Row};
use spanqa::eval::data::long;
use spanqa::eval::run::{self, Prediction};
use spanqa::eval::score::metrics::Rules;
use spanqa::reader::Reader;
use spanqa::reader::memo;
use spanqa::request::Options;

use super::Args;
use crate::cli::compare::Format;
use crate::cli::options::Read;
use crate::cli::progress::QuestionBar;
use crate::cli::{Outcome, Usage};

/// Rules that are compared, and what sets them apart.
const RULES: [(ScoringRules, &str); 3] = [
    (ScoringRules::Joint, "one distribution over all windows"),
    (ScoringRules::Squad, "raw sums of all windows (run_qa)"),
    (ScoringRules::Hf, "softmax in each window (pipeline)"),
];

/// One length under one set of rules.
#[derive(Serialize)]
struct Measured {
    tokens: usize,
    documents: usize,
    questions: usize,
    windows_per_question: f64,
    scoring: &'static str,
    exact: f64,
    f1: f64,
    has_answer_f1: Option<f64>,
    abstained_rightly: Option<f64>,
    /// F1 where there is an answer, had it always answered: free of the threshold.
    forced_f1: Option<f64>,
}

/// Other rules, with what they have in common with these.
fn same_options(scoring: &Scoring, rules: ScoringRules) -> Scoring {
    let null_threshold = match scoring {
        Scoring::Joint(Joint { null_threshold, .. }) | Scoring::Squad { null_threshold } => *null_threshold,
        Scoring::Hf(_) | Scoring::Haystack => 0.0,
    };
    match rules {
        ScoringRules::Joint => match scoring {
            Scoring::Joint(joint) => Scoring::Joint(joint.clone()),
            _ => Scoring::Joint(Joint { null_threshold, ..Joint::default() }),
        },
        ScoringRules::Squad => Scoring::Squad { null_threshold },
        ScoringRules::Hf => Scoring::Hf(Hf { handle_impossible_answer: true, ..Hf::default() }),
        ScoringRules::Haystack => Scoring::Haystack,
    }
}

impl Args {
    /// Runs the comparison. The reader remembers, so that rules cost nothing but decoding.
    pub(super) fn long_documents(&self, out: &mut dyn Write) -> Result<Outcome> {
        let (dataset, rules) = self.data.open_whole(self.quiet)?;
        if dataset.articles.iter().all(|article| article.paragraphs.len() < 2) {
            let message = format!("{} has no article of several paragraphs to join", dataset.name);
            return Err(
                Usage::new(message, "`--long` needs paragraphs that share a title, as in SQuAD").into()
            );
        }
        let resolved = self.reader.resolve(self.quiet)?;
        let decoding = self.reader.decoding.decoding_by(ScoringRules::Joint, &resolved, false)?;
        let mut measured = Vec::new();
        for &tokens in &self.long {
            let reader = self.reader.open_by(&resolved, self.quiet, memo::open)?;
            let mut joined =
                long::join(&dataset, tokens, &mut |text| Ok(reader.tokenizer().encode(text)?.len()))?;
            // Only now: a document consists of whole paragraphs, asked about or not.
            self.data.choose(&mut joined)?;
            for (scoring, name) in RULES {
                let read = self.reader.read(Read::All);
                let limits = self.reader.limits.limits(read)?;
                let mut options = Options { decoding: decoding.clone(), limits, read, ..Options::default() };
                // What differs should be how windows are compared, and nothing else.
                options.decoding.scoring = same_options(&decoding.scoring, scoring);
                options.decoding.max_answer_tokens = decoding.max_answer_tokens.or(Some(30));
                options.decoding.always_answer |= rules != Rules::Squad2;
                measured.push(self.measure(&reader, &joined, rules, &options.into(), tokens, name)?);
            }
        }
        match Format::or_default(self.format) {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&measured)?)?,
            Format::Text => print(&measured, out)?,
        }
        Ok(Outcome::Success)
    }

    fn measure(
        &self,
        reader: &Reader,
        dataset: &Dataset,
        rules: Rules,
        options: &Arc<Options>,
        tokens: usize,
        scoring: &'static str,
    ) -> Result<Measured> {
        let mut bar = QuestionBar::new(dataset.len(), 0, self.quiet);
        let said = run::all(reader, dataset, run::About::Own, options, &mut |progress| bar.update(progress))?;
        bar.finish();
        let by_id: HashMap<&str, &Prediction> = said.iter().map(|said| (said.id.as_str(), said)).collect();
        let rows = analysis::rows(rules, dataset, |entry| match by_id.get(entry.question.id.as_str()) {
            Some(said) => {
                Given { null_odds: NullOdds::Unknown, probability: None, confidence: None, ..said.given() }
            }
            None => Given::default(),
        });
        let mean = |wanted: Option<bool>, value: fn(&Row) -> f64| {
            let chosen: Vec<f64> = (rows.iter())
                .filter(|row| wanted.is_none_or(|wanted| row.entry.question.has_answer() == wanted))
                .map(value)
                .collect();
            (!chosen.is_empty()).then(|| 100.0 * chosen.iter().sum::<f64>() / chosen.len() as f64)
        };
        let windows: usize = said.iter().map(|said| said.windows).sum();
        Ok(Measured {
            tokens,
            documents: dataset.articles.iter().map(|article| article.paragraphs.len()).sum(),
            questions: rows.len(),
            windows_per_question: windows as f64 / rows.len().max(1) as f64,
            scoring,
            exact: mean(None, |row| row.score.exact).unwrap_or(0.0),
            f1: mean(None, |row| row.score.f1).unwrap_or(0.0),
            has_answer_f1: mean(Some(true), |row| row.score.f1),
            abstained_rightly: mean(Some(false), |row| row.score.f1),
            forced_f1: mean(Some(true), |row| row.best.f1),
        })
    }
}

fn print(measured: &[Measured], out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "{:>7}{:>9}  {:<36}{:>7}{:>7}{:>12}{:>11}{:>11}",
        "tokens", "windows", "scores", "exact", "F1", "has answer", "no answer", "F1, made"
    )?;
    writeln!(
        out,
        "{:>7}{:>9}  {:<36}{:>7}{:>7}{:>12}{:>11}{:>11}",
        "", "", "", "", "", "F1", "right", "to answer"
    )?;
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{share:.2}"));
    for row in measured {
        writeln!(
            out,
            "{:>7}{:>9.1}  {:<36}{:>7.2}{:>7.2}{:>12}{:>11}{:>11}",
            row.tokens,
            row.windows_per_question,
            row.scoring,
            row.exact,
            row.f1,
            percent(row.has_answer_f1),
            percent(row.abstained_rightly),
            percent(row.forced_f1)
        )?;
    }
    writeln!(
        out,
        "\nA question without an answer in its paragraph may have one in a neighbour, so \"no answer\" is less often right than it looks."
    )?;
    Ok(())
}
