//! The loop of training.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::examples::Examples;
use super::folder::{Folder, Progress};
use super::journal::{DevRecord, Journal, Record, StepRecord};
use super::plan::{Plan, Planned};
use crate::checkpoint::ModelFiles;
use crate::decode::{Decoding, ScoringRules};
use crate::encoder::{Precision, Runtime};
use crate::eval::Dataset;
use crate::eval::run::{self, RunProgress};
use crate::eval::score::metrics::{Rules, official};
use crate::eval::score::predictions::Predictions;
use crate::heads::SpanModel;
use crate::reader::Reader;
use crate::request::Options;
use crate::text::window::Limits;
use crate::train::error::{Error, Result};
use crate::train::learn::{Learner, SoftTargets};

/// What happens, for whoever watches. Breaking off saves the state first.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something that the journal remembers.
    Record(&'a Record),
    /// An evaluation has come so far.
    Asked(RunProgress),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps were taken.
    Finished,
    /// Scores had not risen for a while.
    Stopped,
    /// Whoever watches broke it off.
    Interrupted,
}

/// Questions that tell how good the weights are.
pub struct Dev<'a> {
    /// The questions.
    pub dataset: &'a Dataset,
    /// Whose rules score them.
    pub rules: Rules,
    /// How windows are laid.
    pub limits: Limits,
    /// Whose rules choose the answers.
    pub scoring: ScoringRules,
    /// How many windows of long documents are read, if not all.
    pub read: Option<usize>,
    /// Where the model runs meanwhile.
    pub runtime: Runtime,
}

/// Everything that a run works with.
pub struct Run<'a> {
    /// What learns.
    pub learner: &'a mut Learner,
    /// What it learns from.
    pub examples: &'a Examples,
    /// Its teacher, if it has one.
    pub teacher: Option<&'a dyn SpanModel>,
    /// How it is examined, if it is.
    pub dev: Option<Dev<'a>>,
    /// Where everything is written.
    pub folder: &'a Folder,
    /// What is remembered of it.
    pub journal: Journal,
    /// Steps between saved states; 0 for after evaluations only.
    pub save_every: u64,
}

impl Run<'_> {
    /// Trains from where `progress` stands. The base is evaluated before the first step: weights have to be better than it to be the best.
    pub fn run(
        mut self,
        plan: &mut Plan<Examples>,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<End> {
        let mut end = End::Finished;
        // A head that starts from random numbers has learned nothing that could be compared.
        let compares = self.dev.is_some() && !self.learner.head_is_fresh();
        if compares && progress.step == 0 && progress.best.is_none() && !progress.evaluation_due {
            progress.evaluation_due = true;
            // From the evaluation on the folder has weights. Without a state a killed run could neither go on nor start anew there.
            self.folder.save(self.learner, progress)?;
        }
        while !progress.finished {
            // An evaluation that was broken off is made up for before the next step.
            if !progress.evaluation_due && self.advance(plan, progress, watch)?.is_break() {
                end = End::Interrupted;
                break;
            }
            if progress.evaluation_due {
                let flow = self.evaluate(plan, progress, watch)?;
                let patience = progress.recipe.patience;
                if progress.evaluation_due {
                    end = End::Interrupted;
                } else if progress.step >= plan.steps() {
                    progress.finished = true;
                } else if patience > 0 && progress.since_best >= patience {
                    progress.finished = true;
                    end = End::Stopped;
                } else if flow.is_break() {
                    end = End::Interrupted;
                }
                self.folder.save(self.learner, progress)?;
            }
            if end != End::Finished {
                break;
            }
        }
        Ok(end)
    }

    /// Takes a step and saves the state if that is due, or if whoever watches breaks off.
    fn advance(
        &mut self,
        plan: &mut Plan<Examples>,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let steps = plan.steps();
        if let Some(planned) = plan.step(progress.step) {
            let record = Record::Step(self.step(progress.step, steps, &planned, progress)?);
            self.journal.append(std::slice::from_ref(&record))?;
            let due = |every: u64| every > 0 && progress.step.is_multiple_of(every);
            progress.evaluation_due = progress.step >= steps || due(progress.recipe.eval_every);
            let flow = watch(Event::Record(&record));
            if flow.is_break() || due(self.save_every) && !progress.evaluation_due {
                self.folder.save(self.learner, progress)?;
            }
            return Ok(flow);
        }
        progress.evaluation_due = true;
        Ok(ControlFlow::Continue(()))
    }

    fn step(
        &mut self,
        number: u64,
        steps: u64,
        planned: &Planned,
        progress: &mut Progress,
    ) -> Result<StepRecord> {
        let started = Instant::now();
        let recipe = &progress.recipe;
        let diverged = |what| Error::Diverged { step: number + 1, what };
        let share = 1.0 / planned.examples.len().max(1) as f64;
        let mut loss = 0.0;
        let mut tokens = 0;
        for (part, examples) in
            parts(&planned.examples, self.examples, recipe.micro_tokens).into_iter().enumerate()
        {
            let (batch, lessons) = self.examples.batch(examples);
            let soft_targets = match (self.teacher, &recipe.teaching) {
                (Some(teacher), Some(teaching)) => Some(SoftTargets {
                    logits: teacher.logits(&batch)?,
                    temperature: teaching.temperature,
                    weight: teaching.weight,
                }),
                _ => None,
            };
            let seed = number << 16 | part as u64;
            loss += self.learner.accumulate(&batch, &lessons, soft_targets.as_ref(), (share, seed))?;
            tokens += batch.tokens();
        }
        if !loss.is_finite() {
            return Err(diverged("the loss"));
        }
        let update = recipe.update(number, steps);
        let norm = self.learner.step(&update)?;
        if !norm.is_finite() {
            return Err(diverged("the gradient"));
        }
        let seconds = started.elapsed().as_secs_f64();
        progress.step = number + 1;
        progress.tokens += tokens as u64;
        progress.seconds += seconds;
        Ok(StepRecord {
            step: progress.step,
            epoch: planned.epoch,
            loss,
            rate: update.rate,
            norm,
            tokens: progress.tokens,
            tokens_per_second: tokens as f64 / seconds.max(f64::MIN_POSITIVE),
        })
    }

    /// Scores the weights and keeps them if they are the best; without questions to score by, the latest are the best. If whoever
    /// watches breaks off, the evaluation stays due.
    fn evaluate(
        &mut self,
        plan: &mut Plan<Examples>,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let files = self.folder.propose(self.learner)?;
        let Some(dev) = &self.dev else {
            self.folder.decide(true)?;
            progress.evaluation_due = false;
            return Ok(ControlFlow::Continue(()));
        };
        let Some(scores) = dev.score(&files, watch)? else {
            self.folder.decide(false)?;
            return Ok(ControlFlow::Break(()));
        };
        let last = progress.step.checked_sub(1).and_then(|step| plan.step(step));
        let epoch = last.map_or(0.0, |planned| planned.epoch);
        let mut record = DevRecord { step: progress.step, epoch, ..scores };
        let score = progress.recipe.keep.of(&record);
        record.best = progress.best.is_none_or(|(best, _)| score > best);
        if record.best {
            progress.best = Some((score, progress.step));
            progress.since_best = 0;
        } else {
            progress.since_best += 1;
        }
        self.folder.decide(record.best)?;
        progress.evaluation_due = false;
        let record = Record::Dev(record);
        self.journal.append(std::slice::from_ref(&record))?;
        Ok(watch(Event::Record(&record)))
    }
}

impl Dev<'_> {
    /// Asks the model every question, by the rules of `spanqa eval`; none if whoever watches breaks off.
    pub fn score(
        &self,
        files: &ModelFiles,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<DevRecord>> {
        // A GPU that trains in a half type answers in it; a CPU, which may answer in integers, is asked in full precision.
        let runtime =
            Runtime { precision: self.runtime.precision.or(Some(Precision::F32)), ..self.runtime.clone() };
        let reader = Reader::open(files, &runtime)?;
        let decoding = Decoding {
            scoring: self.scoring.into(),
            always_answer: self.rules != Rules::Squad2,
            ..Decoding::default()
        };
        let options =
            Options { decoding, limits: self.limits.clone(), read: self.read, ..Options::default() };
        let mut predictions = Predictions::new(&files.name);
        let flow = run::run(
            &reader,
            self.dataset,
            run::About::Own,
            &Arc::new(options),
            &HashSet::new(),
            &mut |said| {
                said.into_iter().for_each(|said| predictions.insert(said.id, said.answer));
                Ok(())
            },
            &mut |progress| watch(Event::Asked(progress)),
        )?;
        if flow.is_break() {
            return Ok(None);
        }
        let official = official(self.rules, self.dataset, &predictions, None)?;
        Ok(Some(DevRecord {
            step: 0,
            epoch: 0.0,
            exact: official.get("exact").or(official.get("exact_match")).unwrap_or(0.0),
            f1: official.get("f1").unwrap_or(0.0),
            has_answer_f1: official.get("HasAns_f1"),
            no_answer_f1: official.get("NoAns_f1"),
            best: false,
        }))
    }
}

/// Cuts the examples of a step into parts that go through the model together.
fn parts<'a>(step: &'a [usize], examples: &Examples, budget: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let mut rest = step;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|&&example| {
            tokens += examples.length(example);
            tokens <= budget
        });
        let (part, others) = rest.split_at(fits.count().max(1));
        parts.push(part);
        rest = others;
    }
    parts
}
