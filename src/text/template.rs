//! What a model wants around a question and a context, or around a single text, learned once from its tokenizer.

use tokenizers::Encoding;

/// The special tokens of a pair: `prefix` question `middle` context `suffix`.
///
/// For BERT that is `[CLS]`, `[SEP]`, `[SEP]`; for RoBERTa `<s>`, `</s></s>`, `</s>`. Windows are put together
/// from ids with this, so that no code path knows which family it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTemplate {
    /// Ids before the question; the first one carries the "no answer" logit.
    pub prefix: Vec<u32>,
    /// Segment ids of `prefix`.
    pub prefix_segments: Vec<u32>,
    /// Segment id of every question token.
    pub question_segment: u32,
    /// Ids between question and context.
    pub middle: Vec<u32>,
    /// Segment ids of `middle`.
    pub middle_segments: Vec<u32>,
    /// Segment id of every context token.
    pub context_segment: u32,
    /// Ids after the context.
    pub suffix: Vec<u32>,
    /// Segment ids of `suffix`.
    pub suffix_segments: Vec<u32>,
}

impl PairTemplate {
    /// How many special tokens a window spends.
    pub fn special_tokens(&self) -> usize {
        self.prefix.len() + self.middle.len() + self.suffix.len()
    }

    /// Where the context starts in a window whose question has so many tokens.
    pub fn context_offset(&self, question: usize) -> usize {
        self.prefix.len() + question + self.middle.len()
    }

    /// A window of a question and a stretch of context: its ids and segments.
    pub fn join(&self, question: &[u32], context: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let ids = [&self.prefix, question, &self.middle, context, &self.suffix].concat();
        let mut segments = self.prefix_segments.clone();
        segments.resize(segments.len() + question.len(), self.question_segment);
        segments.extend(&self.middle_segments);
        segments.resize(segments.len() + context.len(), self.context_segment);
        segments.extend(&self.suffix_segments);
        (ids, segments)
    }

    /// Every id of the template, with repetitions.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.prefix.iter().chain(&self.middle).chain(&self.suffix).copied()
    }

    /// Reads the template off an encoded pair. The error says what is not as it should be.
    pub(super) fn learn(pair: &Encoding) -> Result<Self, String> {
        let owners = pair.get_sequence_ids();
        let (ids, segments) = (pair.get_ids(), pair.get_type_ids());
        if ids.len() != owners.len() || segments.len() != owners.len() {
            return Err("its post-processor returns lists of unequal length".into());
        }

        // The five runs, in order. A run ends where the owner changes, and nothing may follow the last one.
        let mut ends = [0usize; 5];
        let mut at = 0;
        for (end, owner) in ends.iter_mut().zip([None, Some(0), None, Some(1), None]) {
            at += owners[at..].iter().take_while(|found| **found == owner).count();
            *end = at;
        }
        let [prefix, question, middle, context, suffix] = ends;
        if suffix != owners.len() {
            return Err("it does not put the question before the context".into());
        }
        for (part, start, end) in [
            ("before the question", 0, prefix),
            ("between question and context", question, middle),
            ("after the context", context, suffix),
        ] {
            if start == end {
                return Err(format!("it puts no special token {part}"));
            }
        }
        let uniform = |start: usize, end: usize, what: &str| match &segments[start..end] {
            [] => Err(format!("it loses the {what} of a pair")),
            [first, rest @ ..] if rest.iter().all(|segment| segment == first) => Ok(*first),
            _ => Err(format!("it spreads the {what} over several segments")),
        };

        Ok(Self {
            prefix: ids[..prefix].to_vec(),
            prefix_segments: segments[..prefix].to_vec(),
            question_segment: uniform(prefix, question, "question")?,
            middle: ids[question..middle].to_vec(),
            middle_segments: segments[question..middle].to_vec(),
            context_segment: uniform(middle, context, "context")?,
            suffix: ids[context..suffix].to_vec(),
            suffix_segments: segments[context..suffix].to_vec(),
        })
    }
}

/// The special tokens around a single text: `[CLS]` text `[SEP]`, or `<s>` text `</s>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleTemplate {
    /// Ids before the text.
    pub prefix: Vec<u32>,
    /// Ids after it.
    pub suffix: Vec<u32>,
    /// Segment id of every token.
    pub segment: u32,
}

impl SingleTemplate {
    /// How many special tokens a window spends.
    pub fn special_tokens(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// A window of some tokens of a text: its ids and segments.
    pub fn join(&self, text: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let ids = [&self.prefix, text, &self.suffix].concat();
        let segments = vec![self.segment; ids.len()];
        (ids, segments)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.prefix.iter().chain(&self.suffix).copied()
    }

    /// Reads the template off an encoded text; `None` if it is of another shape.
    pub(super) fn learn(single: &Encoding) -> Option<Self> {
        let (ids, owners, segments) = (single.get_ids(), single.get_sequence_ids(), single.get_type_ids());
        let start = owners.iter().position(Option::is_some)?;
        let end = owners.iter().rposition(Option::is_some)? + 1;
        let uniform = segments.iter().all(|segment| *segment == segments[0]);
        let whole = owners[start..end].iter().all(Option::is_some) && ids.len() == owners.len();
        (whole && uniform && start > 0 && end < ids.len() && segments.len() == ids.len()).then(|| Self {
            prefix: ids[..start].to_vec(),
            suffix: ids[end..].to_vec(),
            segment: segments[0],
        })
    }
}
