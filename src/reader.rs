//! The one path from documents and questions to replies.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::answer::{
    Answer, DocumentId, Id, Reason, Reply, SpanReport, SpanSummary, TokenReport, Why, WindowReport,
};
use crate::batch::{Batch, pack};
use crate::decode::{Decoded, Decoding, Document, Ranked, Window};
use crate::error::{Error, Result};
use crate::model::{DeviceChoice, Model, Runtime, SpanModel, WindowLogits};
use crate::source::ModelFiles;
use crate::text::offsets::{OffsetUnit, place};
use crate::text::window::{Limits, WindowShape};
use crate::text::{Tokenizer, Tokens};

/// A tokenizer and a model that answer questions together.
pub struct Reader {
    tokenizer: Tokenizer,
    model: Box<dyn SpanModel>,
    name: String,
    limits: Limits,
    batch_tokens: Option<usize>,
}

/// A document that has been tokenised; any number of questions can be put to it.
#[derive(Debug, Clone)]
pub struct Passage {
    /// What records call it.
    pub id: DocumentId,
    /// Its text.
    pub text: String,
    tokens: Tokens,
}

impl Passage {
    /// Whether there is nothing to read in it.
    pub fn is_blank(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }
}

/// A question and the passages to look in.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// What the reply is called.
    pub id: Id,
    /// The question.
    pub question: &'a str,
    /// Where the answer may be.
    pub passages: Vec<&'a Passage>,
}

/// How replies are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asking {
    /// How answers are chosen.
    pub decoding: Decoding,
    /// What offsets count.
    pub unit: OffsetUnit,
    /// Whether replies explain themselves.
    pub why: bool,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Windows that have been read.
    pub done: usize,
    /// Windows there are to read.
    pub total: usize,
    /// Tokens in the windows that have been read.
    pub tokens: usize,
    /// Time spent inside the model.
    pub model: Duration,
}

/// What happens while questions are answered.
#[derive(Debug)]
pub enum Event {
    /// A batch of windows has been read.
    Read(Progress),
    /// The question at this place has its reply, or cannot be asked.
    Reply(usize, Result<Reply>),
}

/// Batches whose windows are sorted by length together.
const SORTED_TOGETHER: usize = 16;

/// Batches of a group for each lane of the model, which are idle while the last ones of it run.
const GATHERED_PER_LANE: usize = 8;

impl Reader {
    /// Loads a model and its tokenizer.
    pub fn open(files: &ModelFiles, runtime: &Runtime, limits: Limits) -> Result<Self> {
        // The tokenizer takes as long as the weights of a small model; neither needs the other.
        let (tokenizer, model) = rayon::join(|| Tokenizer::from_files(files), || Model::load(files, runtime));
        Self::new(tokenizer?, Box::new(model?), &files.name, limits)
    }

    /// Joins a tokenizer and any model.
    pub fn new(tokenizer: Tokenizer, model: Box<dyn SpanModel>, name: &str, limits: Limits) -> Result<Self> {
        if tokenizer.vocab_size() > model.vocabulary() {
            return Err(Error::VocabularyMismatch {
                model: name.into(),
                highest: tokenizer.vocab_size() - 1,
                rows: model.vocabulary(),
            });
        }
        Ok(Self { tokenizer, model, name: name.into(), limits, batch_tokens: None })
    }

    /// Sets how many tokens go through the model together, if not what suits the model. Replies do not depend on it.
    pub fn with_batch_tokens(mut self, tokens: Option<usize>) -> Self {
        self.batch_tokens = tokens.map(|tokens| tokens.max(1));
        self
    }

    /// How many tokens go through the model together.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens.unwrap_or_else(|| self.model.batch_tokens())
    }

    /// How many tokens of questions and passages to gather where there are many: enough to sort windows by length, and to keep
    /// every part of the model busy for a while.
    pub fn group_tokens(&self) -> usize {
        self.batch_tokens().saturating_mul(SORTED_TOGETHER.max(self.model.lanes() * GATHERED_PER_LANE))
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long each kind of computation has taken so far: see [`SpanModel::times`].
    pub fn model_times(&self) -> Vec<(&'static str, Duration)> {
        self.model.times()
    }

    /// What a person should know about how the model ran so far.
    pub fn model_notes(&self) -> Vec<String> {
        self.model.notes()
    }

    /// Where the model runs.
    pub fn device(&self) -> DeviceChoice {
        self.model.device()
    }

    /// Tokenises a document.
    pub fn prepare(&self, id: DocumentId, text: String) -> Result<Passage> {
        let tokens = if text.trim().is_empty() { Tokens::default() } else { self.tokenizer.encode(&text)? };
        Ok(Passage { id, text, tokens })
    }

    /// Answers questions, in order. A question that cannot be asked fails alone; a model that cannot run fails the call.
    pub fn answer(
        &self,
        queries: &[Query],
        asking: &Asking,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Result<Reply>>> {
        let mut replies: Vec<Option<Result<Reply>>> = queries.iter().map(|_| None).collect();
        self.answer_each(queries, asking, &mut |event| {
            match event {
                Event::Read(state) => progress(state),
                Event::Reply(query, reply) => replies[query] = Some(reply),
            }
            ControlFlow::Continue(())
        })?;
        Ok(replies.into_iter().flatten().collect())
    }

    /// Answers questions and hands out each reply as soon as its last window has been read. Every question gets one reply, unless
    /// `watch` breaks off; that takes effect once the windows in flight are through.
    pub fn answer_each(
        &self,
        queries: &[Query],
        asking: &Asking,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut asked: Vec<Option<Asked>> = Vec::with_capacity(queries.len());
        for (index, plan) in on_all_cores(queries, |query| self.plan(query, asking)).into_iter().enumerate() {
            let reply = match plan {
                Ok(plan) if plan.unread > 0 => {
                    asked.push(Some(plan));
                    continue;
                }
                // Nothing has to be read for these.
                plan => plan.map(|plan| self.reply(&queries[index], &plan, asking)),
            };
            asked.push(None);
            if watch(Event::Reply(index, reply)).is_break() {
                return Ok(());
            }
        }
        let jobs: Vec<Job> = (asked.iter().enumerate())
            .filter_map(|(query, asked)| Some(asked.as_ref()?.jobs(query)))
            .flatten()
            .collect();
        let tokens = self.batch_tokens();
        let batches = read_ahead(&jobs, tokens.saturating_mul(SORTED_TOGETHER)).flat_map(|jobs| {
            let lengths: Vec<usize> = jobs.iter().map(|job| job.length).collect();
            pack(&lengths, tokens)
                .into_iter()
                .map(|members| members.iter().map(|&member| &jobs[member]).collect())
        });
        let progress = Progress { done: 0, total: jobs.len(), tokens: 0, model: Duration::ZERO };
        let round = Round { reader: self, queries, asking, asked, progress, watch };
        match self.model.lanes() {
            0 => round.one_by_one(batches),
            lanes => round.side_by_side(batches, lanes),
        }
    }

    /// Tokenises the question and lays windows over its passages.
    fn plan(&self, query: &Query, asking: &Asking) -> Result<Asked> {
        let mut question = self.tokenizer.encode(query.question.trim())?.ids;
        let template = self.tokenizer.template();
        let positions = self.model.usable_positions();
        let shape = WindowShape::fit(question.len(), template.special_tokens(), positions, &self.limits)?;
        let truncated = question.len() > shape.question;
        question.truncate(shape.question);
        let last = asking.decoding.scoring.last_window();
        let places = query.passages.iter().map(|passage| {
            let layout = shape.windows(passage.tokens.len(), last);
            Place { windows: vec![None; layout.len()], logits: vec![None; layout.len()], layout }
        });
        let places: Vec<Place> = places.collect();
        Ok(Asked {
            unread: places.iter().map(|place| place.layout.len()).sum(),
            context_offset: template.context_offset(question.len()),
            places,
            question,
            truncated,
            shape,
        })
    }

    fn reply(&self, query: &Query, asked: &Asked, asking: &Asking) -> Reply {
        let windows: Vec<Vec<Decoded>> =
            asked.places.iter().map(|place| place.windows.iter().flatten().cloned().collect()).collect();
        let documents: Vec<Document> = (query.passages.iter().zip(&asked.places).zip(&windows))
            .map(|((passage, place), windows)| Document {
                text: &passage.text,
                offsets: &passage.tokens.offsets,
                words: &passage.tokens.words,
                layout: &place.layout,
                windows,
            })
            .collect();
        let ranking = asking.decoding.rank(&documents);
        let spans: Vec<Answer> = ranking
            .spans
            .iter()
            .map(|span| answer(query.passages[span.document], span, asking.unit))
            .collect();
        let (answers, candidates) = if ranking.answered { (spans, Vec::new()) } else { (Vec::new(), spans) };
        Reply {
            id: query.id.clone(),
            question: query.question.to_owned(),
            answered: ranking.answered,
            answers,
            candidates,
            no_answer_score: ranking.no_answer_score as f32,
            null_odds: ranking.null_odds,
            windows: windows.iter().map(Vec::len).sum(),
            model: self.name.clone(),
            question_truncated: asked.truncated,
            reason: windows.iter().all(Vec::is_empty).then_some(Reason::EmptyContext),
            why: asking.why.then(|| explain(query, asked, &ranking.spans, asking.unit)),
            notes: self.notes(asked, asking),
        }
    }

    /// What a person should know about how the limits were applied.
    fn notes(&self, asked: &Asked, asking: &Asking) -> Vec<String> {
        let mut notes = BTreeSet::new();
        if asked.truncated {
            notes.insert(format!(
                "the question was cut to its first {} tokens; `--max-question-tokens` sets the limit",
                asked.question.len()
            ));
        }
        let several = asked.places.iter().any(|place| place.layout.len() > 1);
        let longest =
            asking.decoding.max_answer_tokens.unwrap_or(asking.decoding.scoring.default_answer_tokens());
        if several && asked.shape.overlap < self.limits.overlap {
            notes.insert(format!(
                "windows hold {} tokens of text, so their overlap was reduced from {} to {}",
                asked.shape.width, self.limits.overlap, asked.shape.overlap
            ));
        }
        if several && longest != usize::MAX && asked.shape.overlap < longest {
            notes.insert(format!(
                "windows overlap by {} tokens, so an answer of up to {longest} may lie in none of them whole",
                asked.shape.overlap
            ));
        }
        notes.into_iter().collect()
    }
}

/// The windows of some questions on their way through the model.
struct Round<'a> {
    reader: &'a Reader,
    queries: &'a [Query<'a>],
    asking: &'a Asking,
    /// Those with windows to read.
    asked: Vec<Option<Asked>>,
    progress: Progress,
    watch: &'a mut dyn FnMut(Event) -> ControlFlow<()>,
}

/// Batches that wait for each lane of a model, so that none idles while replies are made.
const WAITING: usize = 1;

impl Round<'_> {
    /// Runs batches where the model needs the caller's cores.
    fn one_by_one<'j>(mut self, batches: impl Iterator<Item = Vec<&'j Job>>) -> Result<()> {
        for jobs in batches {
            let batch = self.assemble(&jobs);
            let started = Instant::now();
            let logits = self.reader.model.logits(&batch)?;
            if self.take(&jobs, logits, started.elapsed()).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Runs batches on a model with cores of its own, as many at a time as it has lanes; meanwhile this thread makes replies.
    fn side_by_side<'j>(
        mut self,
        mut batches: impl Iterator<Item = Vec<&'j Job>>,
        lanes: usize,
    ) -> Result<()> {
        let model = &*self.reader.model;
        let (give, given) = mpsc::channel::<(Vec<&Job>, Batch)>();
        let given = Mutex::new(given);
        let (answer, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                let (given, answer) = (&given, answer.clone());
                scope.spawn(move || {
                    // The lock is free again before the batch runs. Either channel ends when the other side has gone.
                    let next = || given.lock().ok()?.recv().ok();
                    while let Some((jobs, batch)) = next() {
                        let started = Instant::now();
                        let logits = model.logits(&batch);
                        if answer.send((jobs, logits, started.elapsed())).is_err() {
                            break;
                        }
                    }
                });
            }
            // Theirs are the only senders now: should they all end, `recv` does not wait for ever.
            drop(answer);
            // The workers end when this is dropped, whichever way this closure is left.
            let give = give;
            let mut under_way = 0;
            loop {
                while under_way < lanes * (1 + WAITING)
                    && let Some(jobs) = batches.next()
                {
                    let batch = self.assemble(&jobs);
                    if give.send((jobs, batch)).is_err() {
                        break;
                    }
                    under_way += 1;
                }
                if under_way == 0 {
                    return Ok(());
                }
                let Ok((jobs, logits, time)) = answers.recv() else { return Ok(()) };
                under_way -= 1;
                if self.take(&jobs, logits?, time).is_break() {
                    return Ok(());
                }
            }
        })
    }

    /// The question and a stretch of the passage of each job, in the model's pair template.
    fn assemble(&self, jobs: &[&Job]) -> Batch {
        let mut batch = Batch::default();
        for job in jobs {
            let Some(asked) = &self.asked[job.query] else { continue };
            let window = asked.places[job.passage].layout[job.window].clone();
            let context = &self.queries[job.query].passages[job.passage].tokens.ids[window];
            let (ids, segments) = self.reader.tokenizer.template().join(&asked.question, context);
            let context = asked.context_offset..asked.context_offset + context.len();
            batch.push_to_read(&ids, &segments, context);
        }
        batch
    }

    /// Takes what the model said about some windows, and hands out the replies that are ready.
    fn take(&mut self, jobs: &[&Job], logits: Vec<WindowLogits>, time: Duration) -> ControlFlow<()> {
        self.progress.model += time;
        self.progress.done += jobs.len();
        self.progress.tokens += logits.iter().map(|window| window.start.len()).sum::<usize>();
        let mut flow = (self.watch)(Event::Read(self.progress));
        let Round { reader, queries, asking, asked, watch, .. } = self;
        let read: Vec<(&Job, WindowLogits)> = jobs.iter().copied().zip(logits).collect();
        let decoded =
            on_all_cores(&read, |(job, logits)| Some(asked[job.query].as_ref()?.decode(job, logits, asking)));
        let mut ready = Vec::new();
        for ((job, logits), decoded) in read.into_iter().zip(decoded) {
            let slot = &mut asked[job.query];
            let (Some(question), Some(decoded)) = (slot.as_mut(), decoded) else { continue };
            question.keep(job, decoded, asking.why.then_some(logits));
            if question.unread == 0 {
                ready.extend(slot.take().map(|question| (job.query, question)));
            }
        }
        let replies = on_all_cores(&ready, |(query, asked)| reader.reply(&queries[*query], asked, asking));
        for ((query, _), reply) in ready.iter().zip(replies) {
            if watch(Event::Reply(*query, Ok(reply))).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}

/// Things that are dealt with faster than other threads wake up.
const FEW: usize = 4;

/// Makes something of each thing.
fn on_all_cores<T: Sync, R: Send>(things: &[T], make: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    match things.len() {
        0..=FEW => things.iter().map(make).collect(),
        _ => things.par_iter().map(&make).collect(),
    }
}

/// A question on its way.
struct Asked {
    question: Vec<u32>,
    truncated: bool,
    shape: WindowShape,
    /// Where in each window the context starts.
    context_offset: usize,
    places: Vec<Place>,
    /// Windows that are still to be read.
    unread: usize,
}

/// A passage as one question sees it.
struct Place {
    layout: Vec<Range<usize>>,
    windows: Vec<Option<Decoded>>,
    /// Kept only to explain the reply.
    logits: Vec<Option<WindowLogits>>,
}

/// One window to run.
struct Job {
    query: usize,
    passage: usize,
    window: usize,
    length: usize,
}

impl Asked {
    fn jobs(&self, query: usize) -> impl Iterator<Item = Job> + '_ {
        self.places.iter().enumerate().flat_map(move |(passage, place)| {
            place.layout.iter().enumerate().map(move |(window, range)| Job {
                query,
                passage,
                window,
                length: self.question.len() + range.len(),
            })
        })
    }

    /// Reduces the logits of a window to what ranking needs.
    fn decode(&self, job: &Job, logits: &WindowLogits, asking: &Asking) -> Decoded {
        asking.decoding.window(&Window {
            start: &logits.start,
            end: &logits.end,
            offset: self.context_offset,
            layout: &self.places[job.passage].layout,
            index: job.window,
        })
    }

    /// Keeps what was found in a window.
    fn keep(&mut self, job: &Job, decoded: Decoded, logits: Option<WindowLogits>) {
        let place = &mut self.places[job.passage];
        place.windows[job.window] = Some(decoded);
        place.logits[job.window] = logits;
        self.unread -= 1;
    }
}

/// Cuts jobs into runs of about `tokens` tokens.
fn read_ahead(jobs: &[Job], tokens: usize) -> impl Iterator<Item = &[Job]> {
    let mut rest = jobs;
    std::iter::from_fn(move || {
        let mut sum = 0usize;
        let taken = rest.iter().take_while(|job| {
            let fits = sum == 0 || sum + job.length <= tokens;
            sum += job.length;
            fits
        });
        let (run, later) = rest.split_at(taken.count());
        rest = later;
        (!run.is_empty()).then_some(run)
    })
}

fn answer(passage: &Passage, span: &Ranked, unit: OffsetUnit) -> Answer {
    let place = place(&passage.text, &span.bytes, unit);
    Answer {
        text: passage.text[span.bytes.clone()].to_owned(),
        start: place.start,
        end: place.end,
        document: passage.id.clone(),
        line: place.line,
        column: place.column,
        score: span.score as f32,
        margin: span.margin,
        passage: span.document,
        bytes: span.bytes.clone(),
    }
}

/// Tokens shown on either side of a span.
const NEIGHBOURS: usize = 6;
/// Spans shown for each window.
const SPANS_PER_WINDOW: usize = 3;

fn explain(query: &Query, asked: &Asked, spans: &[Ranked], unit: OffsetUnit) -> Why {
    let mut windows = Vec::new();
    for (passage, place_of) in query.passages.iter().zip(&asked.places) {
        let tokens = &passage.tokens.offsets;
        for (index, (range, decoded)) in place_of.layout.iter().zip(&place_of.windows).enumerate() {
            let Some(decoded) = decoded else { continue };
            let bytes = tokens[range.start].0..tokens[range.end - 1].1;
            let at = place(&passage.text, &bytes, unit);
            let best = decoded.candidates.iter().take(SPANS_PER_WINDOW).map(|span| SpanSummary {
                text: passage.text[tokens[span.start].0..tokens[span.end].1].to_owned(),
                logit: span.logit,
            });
            windows.push(WindowReport {
                document: passage.id.clone(),
                window: index,
                start: at.start,
                end: at.end,
                tokens: range.len(),
                null_logit: decoded.null,
                null_parts: (place_of.logits[index].as_ref())
                    .map_or((0.0, 0.0), |logits| (logits.start[0], logits.end[0])),
                best: best.collect(),
            });
        }
    }
    let spans = spans.iter().map(|span| {
        let passage = query.passages[span.document];
        let place = &asked.places[span.document];
        let window = place.layout[span.window].clone();
        let shown = span.start.saturating_sub(NEIGHBOURS).max(window.start)
            ..(span.end + 1 + NEIGHBOURS).min(window.end);
        let tokens = shown.filter_map(|token| {
            let logits = place.logits[span.window].as_ref()?;
            let at = asked.context_offset + token - window.start;
            let (start, end) = passage.tokens.offsets[token];
            Some(TokenReport {
                text: passage.text[start..end].to_owned(),
                start_logit: *logits.start.get(at)?,
                end_logit: *logits.end.get(at)?,
                inside: (span.start..=span.end).contains(&token),
            })
        });
        SpanReport {
            text: passage.text[span.bytes.clone()].to_owned(),
            window: span.window,
            logit: span.logit,
            tokens: tokens.collect(),
        }
    });
    Why { question_tokens: asked.question.len(), windows, spans: spans.collect() }
}
