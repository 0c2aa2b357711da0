//! Models for the server: opened as the commands open them, with the replies that those would give.

use std::sync::Arc;

use anyhow::{Context, Result};
use spanqa::decode::{Decoding, ScoringRules};
use spanqa::embed::Embedder;
use spanqa::encoder::DeviceChoice;
use spanqa::request::Options;
use spanqa::rerank::{PairModel, Ranker};
use spanqa::serve::{OpenRanker, Opened};
use spanqa::source::Resolved;

use super::Args;
use crate::cli::options::{DecodingArgs, ModelArgs, Read, ReaderArgs};

/// Half as many as other commands take: larger batches gain little on a CPU, and whoever is in one waits for its last window.
const CPU_BATCH_TOKENS: usize = 1024;

/// The flag of other commands, which says what they take.
pub(super) fn batch_tokens(arg: clap::Arg) -> clap::Arg {
    let short = "Tokens that go through the model together; replies do not depend on it";
    arg.help(format!("{short} [default: {CPU_BATCH_TOKENS} on a CPU, on a GPU what its memory allows]"))
}

const ALL_RULES: [ScoringRules; 4] =
    [ScoringRules::Joint, ScoringRules::Squad, ScoringRules::Hf, ScoringRules::Haystack];

impl Args {
    /// Finds and loads a model.
    pub(super) fn open(&self, model: &str) -> Result<Opened> {
        let model = ModelArgs { model: model.to_owned(), source: self.source.clone() };
        let usual = ReaderArgs::usual(model, self.runtime.clone());
        let args = ReaderArgs {
            decoding: self.decoding.clone(),
            limits: self.limits.clone(),
            read: self.read,
            ..usual.clone()
        };
        let resolved = args.resolve(self.quiet)?;
        let own = self.care.decoding(&args.decoding, &resolved, false)?;
        let rules = own.scoring.rules();
        let ask = self.options(&args, own.clone(), args.decoding.reads())?;
        let batch = self.options(&args, own.clone(), Read::All)?;
        let mut all = vec![ask];
        for other in ALL_RULES.into_iter().filter(|other| *other != rules) {
            let (decoding, reads) = self.by(other, &usual.decoding, &resolved)?;
            all.push(self.options(&args, decoding, reads)?);
        }
        let pipeline = match self.rules() {
            Some(_) => self.options(&args, own, args.decoding.reads())?,
            None => {
                let (decoding, reads) = self.by(ScoringRules::Hf, &usual.decoding, &resolved)?;
                self.options(&args, decoding, reads)?
            }
        };
        let reader = args.open(&resolved, self.quiet)?;
        let tokens =
            self.runtime.batch_tokens.or((reader.device() == DeviceChoice::Cpu).then_some(CPU_BATCH_TOKENS));
        let reader = reader.with_batch_tokens(tokens);
        Ok(Opened { reader, ask: all, batch, pipeline })
    }

    /// How answers are chosen by rules that were not asked for, and how much is read: what all rules know stays.
    fn by(&self, rules: ScoringRules, usual: &DecodingArgs, resolved: &Resolved) -> Result<(Decoding, Read)> {
        let args = DecodingArgs {
            score: Some(rules),
            top_k: self.decoding.top_k,
            always_answer: self.decoding.always_answer,
            max_answer_tokens: self.decoding.max_answer_tokens,
            ..usual.clone()
        };
        Ok((args.decoding(resolved, false)?, args.reads()))
    }

    fn options(&self, args: &ReaderArgs, decoding: Decoding, default: Read) -> Result<Options> {
        let read = args.read(default);
        Ok(Options { decoding, limits: args.limits.limits(read)?, read, ..Options::default() })
    }

    /// What opens the model for vectors, once it is needed.
    pub(super) fn embedder(&self) -> Option<OpenRanker> {
        let (model, source, runtime) = (self.embedder.clone(), self.source.clone(), self.runtime.clone());
        let open = move || -> Result<Ranker> {
            let resolved = source.resolve(&model, true)?;
            runtime.device.start_threads()?;
            let embedder = Embedder::open(&resolved.files, &runtime.device.runtime())
                .with_context(|| format!("cannot use model {model}"))?;
            Ok(Ranker::Embedding(Box::new(embedder.with_batch_tokens(runtime.batch_tokens))))
        };
        (self.embedder != "none").then(|| told(open))
    }

    /// What opens the cross-encoder, once it is needed.
    pub(super) fn reranker(&self) -> Option<OpenRanker> {
        let (model, source, runtime) = (self.reranker.clone()?, self.source.clone(), self.runtime.clone());
        Some(told(move || {
            let resolved = source.resolve(&model, true)?;
            runtime.device.start_threads()?;
            let pairs = PairModel::open(&resolved.files, &runtime.device.runtime())
                .with_context(|| format!("cannot use model {model}"))?;
            Ok(Ranker::CrossEncoder(Box::new(pairs.with_batch_tokens(runtime.batch_tokens))))
        }))
    }
}

/// Whoever asks is told in a line why there is no model.
fn told(open: impl Fn() -> Result<Ranker> + Send + Sync + 'static) -> OpenRanker {
    Arc::new(move || open().map_err(|error| crate::cli::message(&error)))
}
