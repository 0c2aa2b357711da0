//! Flags that several commands share, and what the library makes of them.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use spanqa::checkpoint::ModelFiles;
use spanqa::decode::{Decoding, Dedup, Hf, Joint, Scoring, ScoringRules, TEMPERATURES};
use spanqa::encoder::{DeviceChoice, Precision, Runtime};
use spanqa::eval::profile::Profile;
use spanqa::reader::Reader;
use spanqa::source::{Resolved, SourceOptions, Watcher, resolve};
use spanqa::text::window::Limits;

use super::{Usage, progress};

const MODEL_VARIABLE: &str = "SPANQA_MODEL";
const REGISTRY_VARIABLE: &str = "SPANQA_REGISTRY";

/// The model unless another one is named.
const BUILT_IN: &str = "builtin";

/// Whether a variable is set, but to nothing: `SPANQA_MODEL= spanqa ...` is how a shell takes it back for one command.
fn is_empty_variable(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// What to call the model: a variable set to nothing names none. Clap passes that on as if it had been typed.
fn model_name(name: &str) -> Result<String, String> {
    match name {
        "" if is_empty_variable(MODEL_VARIABLE) => Ok(BUILT_IN.into()),
        "" => Err("it must be a name".into()),
        name => Ok(name.into()),
    }
}

/// The same for the registry; an empty path stands for none.
fn registry_file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| {
        match path.is_empty() && !is_empty_variable(REGISTRY_VARIABLE) {
            true => Err("it must be a file"),
            false => Ok(PathBuf::from(path)),
        }
    })
}

/// Which model, and from where.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A name from `spanqa models list`, `owner/repo[@revision]`, or a folder
    #[arg(short, long, value_name = "MODEL", default_value = BUILT_IN, env = MODEL_VARIABLE, value_parser = model_name)]
    pub model: String,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Where model names and files come from.
#[derive(Args, Debug, Clone)]
pub struct SourceArgs {
    /// A models.toml of your own, in addition to the one that comes with spanqa
    #[arg(long, global = true, value_name = "FILE", env = REGISTRY_VARIABLE, value_parser = registry_file())]
    pub registry: Option<PathBuf>,
    /// Never use the network, even if a model has to be fetched
    #[arg(long, global = true)]
    pub offline: bool,
}

impl SourceArgs {
    /// What the library needs to find a model.
    pub fn options(&self, progress: bool) -> SourceOptions {
        SourceOptions {
            offline: self.offline,
            registry: self.registry.clone().filter(|path| !path.as_os_str().is_empty()),
            watcher: if progress { progress::downloads() } else { Watcher::default() },
            ..SourceOptions::from_env()
        }
    }

    /// Finds a model's files; a download shows its progress to a person who did not ask for quiet.
    pub fn resolve(&self, model: &str, quiet: bool) -> Result<Resolved> {
        Ok(resolve(model, &self.options(!quiet && io::stderr().is_terminal()))?)
    }
}

/// What every command that runs a model takes.
#[derive(Args, Debug, Clone)]
pub struct ReaderArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub decoding: DecodingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Of documents with more windows, read these many that share most words with the question, or all [default: 24 with `spanqa ask`
    /// and --score joint, 12 of what a search has found, otherwise all]
    #[arg(long, value_name = "N|all", help_heading = "Windows")]
    pub read: Option<Read>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

impl ReaderArgs {
    /// What somebody has typed who said nothing about answers and windows.
    pub fn usual(model: ModelArgs, runtime: RuntimeArgs) -> Self {
        let decoding = DecodingArgs {
            top_k: 1,
            null_threshold: None,
            always_answer: false,
            max_answer_tokens: None,
            score: None,
            temperature: None,
            rank_weight: None,
            profile: None,
            dedup: None,
            handle_impossible_answer: false,
        };
        let max_question_tokens = Limits::default().max_question_tokens;
        let limits = LimitArgs { window: None, overlap: None, max_question_tokens };
        Self { model, decoding, limits, read: None, runtime }
    }

    /// How many windows to read of long documents, where not everything is.
    pub fn read(&self, default: Read) -> Option<usize> {
        match self.read.unwrap_or(default) {
            Read::All => None,
            Read::Best(windows) => Some(windows),
        }
    }

    /// Finds the model's files.
    pub fn resolve(&self, quiet: bool) -> Result<Resolved> {
        self.model.source.resolve(&self.model.model, quiet)
    }

    /// Loads the model as the flags say.
    pub fn open(&self, resolved: &Resolved, quiet: bool) -> Result<Reader> {
        self.open_by(resolved, quiet, Reader::open)
    }

    /// Loads the model by another way of opening one.
    pub fn open_by(
        &self,
        resolved: &Resolved,
        quiet: bool,
        open: impl FnOnce(&ModelFiles, &Runtime) -> spanqa::reader::Result<Reader>,
    ) -> Result<Reader> {
        self.runtime.device.start_threads()?;
        let reader = open(&resolved.files, &self.runtime.device.runtime())
            .with_context(|| format!("cannot use model {}", self.model.model))?;
        self.runtime.device.note(reader.device(), quiet);
        Ok(reader.with_batch_tokens(self.runtime.batch_tokens))
    }
}

/// How much text goes through the model at once.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Windows")]
pub struct LimitArgs {
    /// Tokens in a window, question included [default: 384; with --read N 192, or 384 for a whole document]
    #[arg(long, value_name = "TOKENS")]
    pub window: Option<usize>,
    /// Tokens of text that neighbouring windows share [default: 128, or 64 with --read N]
    #[arg(long, value_name = "TOKENS")]
    pub overlap: Option<usize>,
    /// Tokens of a question that are used; the record says when one was cut
    #[arg(long, value_name = "TOKENS", default_value_t = Limits::default().max_question_tokens, value_parser = at_least_one)]
    pub max_question_tokens: usize,
}

/// How much of long documents is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    All,
    /// So many windows, the most promising ones.
    Best(usize),
}

impl FromStr for Read {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Read::All),
            number => at_least_one(number).map(Read::Best).map_err(|reason| format!("{reason}, or `all`")),
        }
    }
}

impl LimitArgs {
    /// The flags, completed by what suits how much is read. An overlap that was asked for has to be smaller than the window; what a question
    /// and the model leave of it may be less still, and is a note to that question.
    pub fn limits(&self, read: Option<usize>) -> Result<Limits> {
        let usual = if read.is_some() { Limits::AROUND_PASSAGES } else { Limits::default() };
        let window = self.window.unwrap_or(usual.max_tokens);
        if let Some(overlap) = self.overlap.filter(|&overlap| overlap >= window) {
            let what = format!("windows of {window} tokens cannot share {overlap}");
            let hint = format!(
                "neighbouring windows share at most half of the text in them: `--overlap {}` at most, or a larger `--window`",
                window / 2
            );
            return Err(Usage::new(what, hint).into());
        }
        Ok(Limits {
            max_tokens: window,
            whole: if self.window.is_some() { 0 } else { usual.whole },
            overlap: self.overlap.unwrap_or(usual.overlap),
            max_question_tokens: self.max_question_tokens,
        })
    }
}

/// Where and in which numbers a model runs.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Running")]
pub struct DeviceArgs {
    /// auto, cpu, cuda, cuda:N, several cards as cuda:N,M, or metal; one that cannot be had is an error
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Number type of matrix products [default: f16 on CUDA, int8 for packed models on a CPU, otherwise f32; to train on a GPU bf16]
    #[arg(long, value_parser = choice::<Precision>(DTYPES), value_name = "TYPE")]
    pub dtype: Option<Precision>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS))]
    pub threads: Option<u16>,
}

/// More than any machine has cores, and few enough for the system to start.
const MOST_THREADS: i64 = 1024;

impl DeviceArgs {
    /// Makes what is not the model's work keep to the same number of threads. To be called before any of it is done.
    pub fn start_threads(&self) -> Result<()> {
        // 0 is what the environment says, or as many as there are cores. Left to itself the pool would start later, and panic
        // if it cannot.
        let threads = self.threads.map_or(0, usize::from);
        match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
            // Without a source it says that there are threads already, which is as good.
            Err(error) if std::error::Error::source(&error).is_some() => {
                Err(spanqa::encoder::Error::Threads { reason: error.to_string() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Says where the model runs, if that was left open. Worth saying once something else than the processor could have been taken.
    pub fn note(&self, found: DeviceChoice, quiet: bool) {
        let could_differ = cfg!(any(feature = "cuda", feature = "metal"));
        if could_differ && !quiet && self.device != found {
            eprintln!("note: running on {found}");
        }
    }

    pub fn runtime(&self) -> Runtime {
        Runtime {
            device: self.device,
            precision: self.dtype,
            threads: self.threads.map(usize::from),
            reference: false,
        }
    }
}

/// Where and how the model runs.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Running")]
pub struct RuntimeArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Tokens that go through the model together; replies do not depend on it [default: 2048 on a CPU, on a GPU what its memory
    /// allows]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub batch_tokens: Option<usize>,
    /// Say at the end where the model's time went
    #[arg(long)]
    pub profile_time: bool,
}

impl RuntimeArgs {
    /// Says on stderr how the model ran: what a person should know about it and, if that was asked for, where its time went.
    pub fn report(&self, reader: &Reader, quiet: bool) {
        self.report_of(&reader.model_notes(), &reader.model_times(), quiet);
    }

    /// The same of any model, by its notes and times.
    pub fn report_of(&self, notes: &[String], times: &[(&'static str, Duration)], quiet: bool) {
        if !quiet {
            notes.iter().for_each(|note| eprintln!("note: {note}"));
        }
        if !self.profile_time {
            return;
        }
        let total: f64 = times.iter().map(|(_, time)| time.as_secs_f64()).sum();
        for (name, time) in times {
            let seconds = time.as_secs_f64();
            eprintln!(
                "time: {name:22} {seconds:9.3} s  {:5.1} %",
                100.0 * seconds / total.max(f64::MIN_POSITIVE)
            );
        }
        if times.is_empty() {
            eprintln!("note: only the CPU engine (f32, int8) counts its time");
        }
    }
}

const DTYPES: &[(&str, &str)] = &[
    ("f32", ""),
    ("tf32", "f32 whose products read 19 bits: CUDA cards only"),
    ("f16", ""),
    ("bf16", ""),
    ("int8", "Integers: fastest on a CPU"),
];

/// How answers are chosen.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Answers")]
pub struct DecodingArgs {
    /// How many answers to return, best first
    #[arg(short = 'k', long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub top_k: usize,
    /// Say "no answer" when it leads the best span by more than this many logits [default: the model's, or 0]
    #[arg(long, value_name = "LOGITS", allow_negative_numbers = true, value_parser = threshold)]
    pub null_threshold: Option<f32>,
    /// Never say "no answer"
    #[arg(long)]
    pub always_answer: bool,
    /// Tokens an answer may have [default: 30; 15 with --score hf; no limit with --score haystack]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub max_answer_tokens: Option<usize>,
    /// Whose rules make the scores [default: joint; squad with `spanqa eval`]
    #[arg(long, value_parser = choice::<ScoringRules>(SCORES))]
    pub score: Option<ScoringRules>,
    /// Divide logits by this before they become probabilities [default: the model's, or 1]
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f64>,
    /// Hold windows back that share fewer words with the question: one of rank r starts W times ln r logits lower, of what a search has found W times 2 ln r + 0.6 [default: 1]
    #[arg(long, value_name = "W", value_parser = not_negative)]
    pub rank_weight: Option<f64>,
    /// Threshold, temperature and rank weight that `spanqa tune` found for this model; other flags go before it
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Which similar answers to drop [default: span; overlap with --format text or grep]
    #[arg(long, value_parser = choice::<Dedup>(DEDUPS))]
    pub dedup: Option<Dedup>,
    /// With --score hf: let "no answer" compete, as the pipeline's option of that name did
    #[arg(long)]
    pub handle_impossible_answer: bool,
}

const SCORES: &[(&str, &str)] = &[
    ("joint", "One probability distribution over all windows, files and \"no answer\""),
    ("squad", "run_qa, which published SQuAD numbers come from"),
    ("hf", "transformers' question-answering pipeline"),
    ("haystack", "Haystack 2's extractive reader"),
];

const DEDUPS: &[(&str, &str)] = &[
    ("span", "Answers that quote the same place"),
    ("overlap", "Answers that share a character with a better one"),
    ("text", "Answers that say the same, wherever they stand"),
    ("none", "Nothing"),
];

impl DecodingArgs {
    /// The flags, completed by what the registry says of the model.
    pub fn decoding(&self, resolved: &Resolved, for_people: bool) -> Result<Decoding> {
        self.decoding_by(ScoringRules::Joint, resolved, for_people)
    }

    /// The same, for whoever wants to read nothing that may be wrong.
    pub fn strict(&self, resolved: &Resolved, for_people: bool) -> Result<Decoding> {
        let mut decoding = self.decoding(resolved, for_people)?;
        match &mut decoding.scoring {
            Scoring::Joint(joint) => {
                joint.null_threshold = resolved.entry.as_ref().map_or(0.0, |entry| entry.null_threshold);
                joint.perhaps = 0.0;
                Ok(decoding)
            }
            // Theirs is the stricter threshold anyway, or none.
            Scoring::Squad { .. } => Ok(decoding),
            Scoring::Hf(_) | Scoring::Haystack => {
                let what = format!("--strict says nothing to --score {}", decoding.scoring.rules());
                Err(Usage::new(what, "leave it out, or leave --score out").into())
            }
        }
    }

    /// How much of long documents `ask` reads: other programs' rules were made for everything.
    pub fn reads(&self) -> Read {
        match self.score.unwrap_or_default() {
            ScoringRules::Joint => Read::Best(spanqa::request::PROMISING),
            ScoringRules::Squad | ScoringRules::Hf | ScoringRules::Haystack => Read::All,
        }
    }

    /// The same with other rules where none were asked for.
    pub fn decoding_by(
        &self,
        default: ScoringRules,
        resolved: &Resolved,
        for_people: bool,
    ) -> Result<Decoding> {
        let rules = self.score.unwrap_or(default);
        self.refuse_what_does_not_apply(rules)?;
        let entry = resolved.entry.as_ref();
        let profile = self.profile.as_deref().map(Profile::open).transpose()?;
        if let (Some(profile), Some(file)) = (&profile, &self.profile) {
            profile.require_model(&file.display().to_string(), &resolved.files)?;
        }
        let profile_threshold = profile.as_ref().map(|profile| profile.null_threshold);
        let threshold = self.null_threshold.or(profile_threshold);
        let (usual_temperature, confidence) = match (&profile, entry) {
            (Some(profile), _) => (profile.temperature, profile.confidence),
            (None, Some(entry)) => (entry.temperature, entry.confidence),
            (None, None) => (1.0, None),
        };
        let temperature = self.temperature.unwrap_or(usual_temperature);
        let answers_only = entry.is_some_and(|entry| entry.always_answer) && threshold.is_none();
        let usual = entry.map_or(0.0, |entry| entry.null_threshold);
        let in_use = entry.and_then(|entry| entry.joint_threshold).unwrap_or(usual);
        Ok(Decoding {
            scoring: match rules {
                ScoringRules::Joint => Scoring::Joint(Joint {
                    null_threshold: threshold.unwrap_or(in_use),
                    perhaps: entry.and_then(|entry| entry.perhaps).unwrap_or(Joint::default().perhaps),
                    rank_weight: (self.rank_weight)
                        .or(profile.as_ref().map(|profile| profile.rank_weight))
                        .unwrap_or(Joint::default().rank_weight),
                    temperature,
                    confidence: confidence.filter(|_| temperature == usual_temperature),
                    dedup: self.dedup.unwrap_or(if for_people { Dedup::Overlap } else { Dedup::Span }),
                }),
                ScoringRules::Squad => Scoring::Squad { null_threshold: threshold.unwrap_or(usual) },
                ScoringRules::Hf => Scoring::Hf(Hf {
                    handle_impossible_answer: self.handle_impossible_answer,
                    ..Hf::default()
                }),
                ScoringRules::Haystack => Scoring::Haystack,
            },
            top_k: self.top_k,
            max_answer_tokens: self.max_answer_tokens,
            always_answer: self.always_answer || answers_only,
        })
    }

    /// Flags that the rules know nothing of would change nothing, in silence.
    fn refuse_what_does_not_apply(&self, rules: ScoringRules) -> Result<()> {
        use ScoringRules::{Hf, Joint, Squad};
        let flags = [
            ("--null-threshold", self.null_threshold.is_some(), &[Joint, Squad][..]),
            ("--temperature", self.temperature.is_some(), &[Joint]),
            ("--rank-weight", self.rank_weight.is_some(), &[Joint]),
            ("--dedup", self.dedup.is_some(), &[Joint]),
            ("--handle-impossible-answer", self.handle_impossible_answer, &[Hf]),
        ];
        match flags.into_iter().find(|(_, given, known)| *given && !known.contains(&rules)) {
            None => Ok(()),
            Some((flag, _, known)) => {
                let known: Vec<String> = known.iter().map(|rules| format!("--score {rules}")).collect();
                let hint = match flag {
                    "--handle-impossible-answer" => {
                        "add `--score hf`; the default scores always let \"no answer\" compete".to_owned()
                    }
                    _ => format!("leave it out, or add `{}`", known.join("` or `")),
                };
                let what = format!("{flag} belongs to {}, not to --score {rules}", known.join(" and "));
                Err(Usage::new(what, hint).into())
            }
        }
    }
}

/// How sure an answer has to be, where answers are for use rather than for scores.
#[derive(Args, Debug, Clone, Copy)]
pub struct CareArgs {
    /// Answer only what is sure: with the threshold that was found on questions meant to mislead, and without "perhaps"
    #[arg(long, conflicts_with_all = ["always_answer", "null_threshold", "profile"], help_heading = "Answers")]
    strict: bool,
}

impl CareArgs {
    /// How answers are chosen: the flags, completed by what the registry says of the model.
    pub fn decoding(self, args: &DecodingArgs, resolved: &Resolved, for_people: bool) -> Result<Decoding> {
        if self.strict { args.strict(resolved, for_people) } else { args.decoding(resolved, for_people) }
    }
}

/// What `start`, `end` and `column` may count.
pub const UNITS: &[(&str, &str)] = &[
    ("byte", "UTF-8 bytes"),
    ("char", "Unicode code points, as in Python"),
    ("utf16", "UTF-16 code units, as in JavaScript"),
];

/// The values of a flag by their names, each with what it means.
pub fn choice<T>(values: &'static [(&'static str, &'static str)]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    let values = values.iter().map(|(name, help)| match *help {
        "" => PossibleValue::new(*name),
        help => PossibleValue::new(*name).help(help),
    });
    PossibleValuesParser::new(values).try_map(|name| name.parse::<T>())
}

/// A whole number above 0.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("it must be a whole number".into()),
    }
}

/// A number of bytes: 5000, 10k, 5M, 1GiB.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || "write a number of bytes, such as 5000, 10k, 5M or 1G".to_owned();
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1024u64.pow(power)).ok_or_else(|| "that is more than there is".to_owned())
}

/// A number from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if !number.is_nan() => Ok(number),
        _ => Err("it must be a number, or inf or -inf".into()),
    }
}

/// Any number.
pub fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("it must be a number".into()),
    }
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a number above 0".into()),
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| TEMPERATURES.contains(number));
    number.ok_or_else(|| "it must be a number from 0.000001 to 1000000".into())
}

/// 0 or above.
pub fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it must be a number, and not below 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_have_a_unit() {
        for (text, bytes) in
            [("5000", 5000), ("10k", 10 << 10), ("5M", 5 << 20), ("2KiB", 2048), ("1G", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "k", "10x", "-1", "1.5M", "99999999999999999999", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
