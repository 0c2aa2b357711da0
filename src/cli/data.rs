//! The data set of `eval`, `compare` and `tune`: which one, which part of it, whose rules.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::score::mlqa::Language;
use spanqa::eval::{Dataset, Options};
use spanqa::random::Random;

use super::options::choice;
use super::{Usage, terminal};

/// A data set, or a part of one.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// The data set: SQuAD, XQuAD or MLQA JSON, Hugging Face rows or MRQA lines, also as .gz, or rows as Parquet
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    /// Whose rules score answers [default: squad2 if a question has no answer or the file says so, else squad1]
    #[arg(long, value_parser = choice::<Rules>(RULES), value_name = "RULES")]
    rules: Option<Rules>,
    /// Score by the rules of MLQA, for contexts in this language: ar, de, en, es, hi, vi or zh
    #[arg(long, value_name = "CODE", conflicts_with = "rules")]
    language: Option<Language>,
    /// Only the first questions
    #[arg(long, value_name = "N", conflicts_with = "sample")]
    limit: Option<usize>,
    /// Only the questions whose ids stand in this file, one a line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Only so many questions, drawn at random
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// What random choices start from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Gold answers that do not stand where the data set says are an error
    #[arg(long)]
    strict: bool,
}

/// The rules that need no language; MLQA's have a flag of their own.
const RULES: &[(&str, &str)] = &[("squad1", "SQuAD v1.1"), ("squad2", "SQuAD v2.0")];

impl DataArgs {
    /// Reads the data set, says what is odd about it, and leaves out what is not wanted.
    pub fn open(&self, quiet: bool) -> Result<(Dataset, Rules)> {
        let (mut dataset, rules) = self.open_whole(quiet)?;
        self.choose(&mut dataset)?;
        Ok((dataset, rules))
    }

    /// Reads the data set and says what is odd about it. The whole file decides about the rules, whatever part of it is wanted.
    pub fn open_whole(&self, quiet: bool) -> Result<(Dataset, Rules)> {
        let dataset = Dataset::open(&self.dataset, Options { strict: self.strict })?;
        if !quiet {
            dataset.flaws.remarks().iter().for_each(terminal::note);
        }
        let rules = self.rules(&dataset)?;
        Ok((dataset, rules))
    }

    /// Whether every question of the file is wanted.
    pub fn is_whole(&self) -> bool {
        self.ids.is_none() && self.limit.is_none() && self.sample.is_none()
    }

    /// Leaves out the questions that are not wanted.
    pub fn choose(&self, dataset: &mut Dataset) -> Result<()> {
        if let Some(path) = &self.ids {
            let text = std::fs::read_to_string(path)
                .map_err(|source| spanqa::fs::Error::Read { path: path.clone(), source })?;
            let ids: Vec<String> =
                text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
            dataset.select(&ids)?;
        }
        if let Some(count) = self.sample {
            dataset.sample(count, &mut Random::new(self.seed));
        }
        if let Some(count) = self.limit {
            dataset.limit(count);
        }
        if dataset.is_empty() {
            return Err(Usage::new("no question is left", "check `--ids`, `--limit` and `--sample`").into());
        }
        Ok(())
    }

    /// The rules that were asked for, or those that the data set is meant for.
    fn rules(&self, dataset: &Dataset) -> Result<Rules> {
        let rules = match (self.rules, self.language) {
            (_, Some(language)) => Rules::Mlqa(language),
            (Some(rules), None) => rules,
            (None, None) => Rules::of(dataset),
        };
        if rules != Rules::Squad2 && dataset.has_unanswerable() {
            let message = format!(
                "{} has questions without an answer, which {} cannot score",
                dataset.name,
                rules.title()
            );
            return Err(
                Usage::new(message, "leave out `--rules` and `--language`, or use `--rules squad2`").into()
            );
        }
        Ok(rules)
    }
}
