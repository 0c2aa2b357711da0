//! A cross-encoder with its tokenizer: how well a passage fits a question.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::{Ranking, Result, Scored, Task};
use crate::checkpoint::ModelFiles;
use crate::document::Text;
use crate::encoder::batch::{Batch, pack};
use crate::encoder::{DeviceChoice, Runtime};
use crate::heads::CrossEncoder;
use crate::reader::{Error, Progress};
use crate::text::Tokenizer;

/// A model that reads a question and a passage together and gives one logit.
pub struct PairModel {
    tokenizer: Tokenizer,
    model: CrossEncoder,
    name: String,
    /// The longest window, special tokens included.
    max_tokens: usize,
    batch_tokens: Option<usize>,
}

/// A question and a passage on their way through the model.
struct Pair {
    ids: Vec<u32>,
    segments: Vec<u32>,
    /// Whether the question was cut.
    query_cut: bool,
    /// Whether the passage was.
    passage_cut: bool,
}

impl PairModel {
    /// Loads a model and its tokenizer.
    pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        let (tokenizer, model) =
            rayon::join(|| Tokenizer::from_files(files), || CrossEncoder::load(files, runtime));
        let (tokenizer, model) = (tokenizer?, model?);
        let config = model.encoder().config();
        if tokenizer.vocab_size() > config.vocabulary {
            let (model, highest) = (files.name.clone(), tokenizer.vocab_size() - 1);
            return Err(Error::VocabularyMismatch { model, highest, rows: config.vocabulary }.into());
        }
        let positions = config.usable_positions();
        let max_tokens = tokenizer.declared_max_length().map_or(positions, |most| most.min(positions));
        Ok(Self { tokenizer, model, name: files.name.clone(), max_tokens, batch_tokens: None })
    }

    /// Sets how many tokens go through the model together, if not what suits the model. Scores do not depend on it.
    pub fn with_batch_tokens(mut self, tokens: Option<usize>) -> Self {
        self.batch_tokens = tokens.map(|tokens| tokens.max(1));
        self
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn device(&self) -> DeviceChoice {
        self.model.encoder().device()
    }

    /// How long each kind of computation has taken so far; empty if nobody counts.
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        self.model.encoder().times()
    }

    /// What a person should know about how the model ran so far.
    pub fn notes(&self) -> Vec<String> {
        self.model.encoder().notes()
    }

    pub(super) fn batch_tokens(&self) -> usize {
        self.batch_tokens.unwrap_or_else(|| self.model.encoder().batch_tokens())
    }

    /// A question with some passages. What is too long is cut on the right, the longer of the two first.
    fn pairs(&self, query: &str, passages: &[Text]) -> Result<Vec<Pair>> {
        let query = self.tokenizer.encode(query)?.ids;
        let template = self.tokenizer.template();
        let room = self.max_tokens.saturating_sub(template.special_tokens());
        let pair = |passage: &Text| {
            let passage = self.tokenizer.encode(passage.seen())?.ids;
            let (first, second) = fit(query.len(), passage.len(), room);
            let (ids, segments) = template.join(&query[..first], &passage[..second]);
            let (query_cut, passage_cut) = (first < query.len(), second < passage.len());
            Ok(Pair { ids, segments, query_cut, passage_cut })
        };
        passages.par_iter().map(pair).collect()
    }

    /// The logit of each pair, in order.
    fn logits(&self, pairs: &[&Pair], progress: &mut dyn FnMut(Progress)) -> Result<Vec<f32>> {
        let lengths: Vec<usize> = pairs.iter().map(|pair| pair.ids.len()).collect();
        let mut logits = vec![0.0; pairs.len()];
        let mut state = Progress { done: 0, total: pairs.len(), tokens: 0, model: Duration::ZERO };
        for members in pack(&lengths, self.batch_tokens()) {
            let mut batch = Batch::default();
            members.iter().for_each(|&at| self.model.push(&mut batch, &pairs[at].ids, &pairs[at].segments));
            let started = Instant::now();
            for (&at, logit) in members.iter().zip(self.model.scores(&batch)?) {
                logits[at] = logit;
            }
            state.model += started.elapsed();
            state.done += members.len();
            state.tokens += batch.tokens();
            progress(state);
        }
        Ok(logits)
    }
}

/// Replaces the scores of chosen passages by logits of the model.
pub(super) fn rank(
    model: &PairModel,
    tasks: &[Task],
    chosen: Vec<Result<Vec<Scored>>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Result<Ranking>>> {
    let paired = tasks.par_iter().zip(chosen).map(|(task, chosen)| {
        let chosen = chosen?;
        let parts: Vec<Text> =
            chosen.iter().map(|scored| task.corpus.part(scored.document, scored.passage)).collect();
        let pairs = model.pairs(task.query.trim(), &parts)?;
        Ok((chosen, pairs))
    });
    let paired: Vec<Result<(Vec<Scored>, Vec<Pair>)>> = paired.collect();
    let all: Vec<&Pair> = paired.iter().flatten().flat_map(|(_, pairs)| pairs).collect();
    let mut logits = model.logits(&all, progress)?.into_iter();
    let ranked = paired.into_iter().map(|paired| {
        let (chosen, pairs) = paired?;
        let own: Vec<f32> = logits.by_ref().take(chosen.len()).collect();
        if own.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::NotFinite { dtype: model.model.encoder().precision().name() }.into());
        }
        let mut ranking = Ranking::of(chosen);
        for ((scored, pair), &logit) in ranking.scored.iter_mut().zip(&pairs).zip(&own) {
            scored.score = Some(logit.into());
            scored.probability = Some(1.0 / (1.0 + (-logit).exp()));
            scored.truncated = pair.passage_cut;
        }
        ranking.query_truncated = pairs.iter().any(|pair| pair.query_cut);
        Ok(ranking)
    });
    Ok(ranked.collect())
}

/// How many tokens are kept of two texts that have to share some room: the longer one is cut until it is as long as the other, then both
/// are. So do the tokenizers that cross-encoders were trained with.
fn fit(first: usize, second: usize, room: usize) -> (usize, usize) {
    let short = first.min(second);
    if first + second <= room {
        return (first, second);
    }
    let (short, long) = match room.saturating_sub(short) {
        rest if rest >= short => (short, rest),
        _ => (room / 2, room - room / 2),
    };
    if first <= second { (short, long) } else { (long, short) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_is_cut_first() {
        assert_eq!(fit(10, 20, 30), (10, 20));
        assert_eq!(fit(10, 900, 509), (10, 499));
        assert_eq!(fit(900, 10, 509), (499, 10));
        assert_eq!(fit(300, 400, 509), (254, 255));
        assert_eq!(fit(400, 300, 509), (255, 254));
        assert_eq!(fit(400, 400, 8), (4, 4));
        assert_eq!(fit(3, 4, 0), (0, 0));
        assert_eq!(fit(0, 4, 2), (0, 2));
    }
}
