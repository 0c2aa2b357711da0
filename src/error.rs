//! Everything that can go wrong, with the data a message needs and the command that helps.
//!
//! A variant holds facts (which path, which tensor, what was expected, what was found); its `Display` is one
//! sentence made of them, and [`Error::hint`] says what to type next. [`Error::code`] is the stable name that
//! scripts match on.

use std::path::PathBuf;

/// A [`std::result::Result`] with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- files -------------------------------------------------------------------------------------------
    /// The operating system refused to read a file.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused to write a file.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A model lacks a file that it cannot do without.
    #[error("model {model} has no {wanted}")]
    MissingFile {
        /// The model as it was asked for.
        model: String,
        /// The file, or the choice of files, that was looked for.
        wanted: String,
    },
    /// A file of a model is not what its name says.
    #[error("{file} is not usable: {reason}")]
    BadFile {
        /// The file's path, or its name in the built-in model.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    // ---- tokenizers --------------------------------------------------------------------------------------
    /// A tokenizer works, but does not put a question and a context together as extractive models expect it.
    #[error("the tokenizer of {file} does not fit question answering: {reason}")]
    UnsupportedTokenizer {
        /// The file it was built from.
        file: String,
        /// What it does instead.
        reason: String,
    },
    /// A tokenizer failed on a text.
    #[error("the tokenizer cannot encode this text: {reason}")]
    Tokenize {
        /// What the tokenizer said.
        reason: String,
    },
    // ---- models ------------------------------------------------------------------------------------------
    /// A checkpoint of a kind that this encoder does not compute.
    #[error("{file} asks for {what} {found:?}, which is not supported")]
    Unsupported {
        /// The config file.
        file: String,
        /// The setting.
        what: String,
        /// Its value.
        found: String,
    },
    /// A checkpoint for another task was asked a question.
    #[error("{file} has no question-answering head (qa_outputs){}", other_heads(heads))]
    NoHead {
        /// The weights file.
        file: String,
        /// Heads of other tasks that it has.
        heads: Vec<String>,
    },
    /// A checkpoint for another task was asked to score a pair.
    #[error("{file} has no classifier")]
    NoClassifier {
        /// The weights file.
        file: String,
    },
    /// Attention probabilities were asked of an encoder that keeps none.
    #[error("the encoder ({encoder}) keeps no attention probabilities")]
    NoAttention {
        /// What computes.
        encoder: String,
    },
    /// A tensor that the encoder needs is not there.
    #[error("{file} lacks the tensor {tensor} (it holds {known} others)")]
    MissingTensor {
        /// The weights file.
        file: String,
        /// The tensor.
        tensor: String,
        /// How many tensors there are.
        known: usize,
    },
    /// A tensor is not of the shape that config.json implies.
    #[error("{tensor} in {file} has shape {found:?}, config.json implies {expected:?}")]
    WrongShape {
        /// The weights file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape by config.json.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// The tokenizer knows ids that the embedding table does not.
    #[error("the tokenizer of {model} has ids up to {highest}, but the weights have {rows} embeddings")]
    VocabularyMismatch {
        /// The model.
        model: String,
        /// The tokenizer's highest id.
        highest: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// An index beyond an embedding table.
    #[error("index {index} is outside the {what} of {rows} rows")]
    OutOfTable {
        /// Which table.
        what: &'static str,
        /// The index.
        index: usize,
        /// Its size.
        rows: usize,
    },
    /// A device that was asked for cannot be had.
    #[error("device {device} is not available: {reason}")]
    DeviceUnavailable {
        /// The device.
        device: String,
        /// Why not.
        reason: String,
    },
    /// There is no arithmetic in that type there.
    #[error("{dtype} products cannot be had on {device}")]
    DtypeUnavailable {
        /// The type that was asked for.
        dtype: &'static str,
        /// The device.
        device: String,
    },
    /// A CUDA card or one of its libraries failed.
    #[error("{device} failed: {reason}")]
    CardFailed {
        /// The card.
        device: String,
        /// What the library said.
        reason: String,
    },
    /// A CUDA card has too little free memory.
    #[error("{device} has too little free memory for the model and one window")]
    CardTooSmall {
        /// The card.
        device: String,
    },
    /// There is no arithmetic for learning in that type there.
    #[error("a model cannot be trained in {dtype} on {device}")]
    CannotLearnIn {
        /// The type that was asked for.
        dtype: &'static str,
        /// The device.
        device: String,
    },
    /// More layers should stay as they are than there are.
    #[error("{asked} layers cannot be frozen: the model has {layers}")]
    TooManyFrozen {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        layers: usize,
    },
    /// The worker threads could not be started.
    #[error("cannot start worker threads: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
    /// The model computed something that is not a number.
    #[error("the model gave logits that are not finite numbers in {dtype}")]
    NotFinite {
        /// The type it ran in.
        dtype: &'static str,
    },
    /// The tensor library failed.
    #[error("tensor computation failed: {0}")]
    Tensor(#[from] candle_core::Error),

    // ---- questions ---------------------------------------------------------------------------------------
    /// A question without a single token.
    #[error("the question is empty")]
    EmptyQuestion,
    /// The question leaves too little of a window for the text.
    #[error(
        "a window of {window} tokens leaves {width} for the text beside {question} question and {special} special tokens; \
         {minimum} are the least"
    )]
    NoRoomForContext {
        /// Tokens in a window.
        window: usize,
        /// The most that the model takes.
        positions: usize,
        /// Tokens of the question.
        question: usize,
        /// Special tokens.
        special: usize,
        /// What is left.
        width: usize,
        /// The least that is worth running.
        minimum: usize,
    },
    /// A request that cannot be worked on.
    #[error(transparent)]
    Request(#[from] crate::request::RequestError),
    // ---- model references --------------------------------------------------------------------------------
    /// A text that can name no model.
    #[error("`{reference}` cannot be a model: {reason}")]
    BadReference {
        /// The text as it was given.
        reference: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// A bare name that no registry knows.
    #[error("there is no model named `{name}`")]
    UnknownModel {
        /// The name as it was given.
        name: String,
        /// Known names that are spelled nearly the same, nearest first.
        near: Vec<String>,
    },
    /// A model folder that is not there.
    #[error("{path} is not a folder", path = path.display())]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
    /// A registry file with a mistake in it.
    #[error("{file}{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    BadRegistry {
        /// The registry file.
        file: String,
        /// The line of the mistake, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// An environment variable whose value cannot be used.
    #[error("{variable} cannot be used: {reason}")]
    BadSetting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with its value. Never the value of a secret.
        reason: String,
    },
    /// There is no folder to cache models in.
    #[error("cannot tell where models are cached: there is no home folder")]
    NoCacheFolder,
    /// A model that would have to be fetched while the network is forbidden.
    #[error("{model} is not in the cache {cache} ({missing}) and the network is switched off", cache = cache.display())]
    Offline {
        /// The model as it was asked for.
        model: String,
        /// The cache that was searched.
        cache: PathBuf,
        /// What is lacking.
        missing: String,
    },
    /// The hub wants to know who is asking (401).
    #[error(
        "the hub refuses {repo} without {}: it is private, gated or misspelt",
        if *token { "another token" } else { "a token" }
    )]
    HubUnauthorized {
        /// The repository.
        repo: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The hub knows who is asking and says no (403).
    #[error("the hub does not let this token read {repo}")]
    HubForbidden {
        /// The repository.
        repo: String,
        /// The page where access is asked for.
        page: String,
    },
    /// The hub has no such repository.
    #[error("{endpoint} has no repository {repo}")]
    NoSuchRepo {
        /// The repository.
        repo: String,
        /// The hub that was asked.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision {revision}")]
    NoSuchRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The hub lists a file and then does not have it.
    #[error("the hub does not have {file} of {repo}")]
    NoSuchHubFile {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// The hub asks to slow down (429), also after waiting.
    #[error("{endpoint} limits the rate of requests and still refused after {attempts} attempts")]
    HubBusy {
        /// The hub that was asked.
        endpoint: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// The hub failed (5xx) or answered with a status that has no meaning here.
    #[error("{endpoint} answered with status {status} (attempts: {attempts})")]
    HubFailed {
        /// The hub that was asked.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },
    /// No connection: no network, no such host, refused, timed out, bad certificate, bad proxy.
    #[error("cannot reach {endpoint}: {reason}")]
    HubUnreachable {
        /// The hub that was asked.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// An answer that does not follow the hub's protocol.
    #[error("cannot make sense of the answer from {url}: {reason}")]
    HubAnswer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A download that broke off again and again. What has arrived is kept.
    #[error("the download of {file} broke off after {got} of {expected} bytes: {reason}")]
    DownloadCut {
        /// The file.
        file: String,
        /// How many bytes have arrived.
        got: u64,
        /// How many it should be.
        expected: u64,
        /// What the network said.
        reason: String,
    },
    /// A finished download that is not the file which the hub announced. It is thrown away.
    #[error("the download of {file} is damaged: its {property} is {got}, not {expected}")]
    DownloadDamaged {
        /// The file.
        file: String,
        /// What was compared.
        property: &'static str,
        /// What the hub announced.
        expected: String,
        /// What arrived.
        got: String,
    },
    /// Data sets, predictions and their scores.
    #[error(transparent)]
    Squad(#[from] crate::eval::EvalError),
    /// Training.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// The cache cannot be written: read-only, not a folder, full disk.
    #[error("cannot write to the model cache at {path}: {source}", path = path.display())]
    CacheNotWritable {
        /// What could not be written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process holds the lock of a download and makes no progress.
    #[error("another process has been holding {path} without progress", path = path.display())]
    CacheLocked {
        /// The lock file.
        path: PathBuf,
    },
}

impl Error {
    /// The stable name of this kind of failure, for scripts and for JSON error records.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Read { .. } => "read_failed",
            Error::Write { .. } => "write_failed",
            Error::MissingFile { .. } => "missing_model_file",
            Error::BadFile { .. } => "bad_model_file",
            // ---- tokenizers
            Error::UnsupportedTokenizer { .. } => "unsupported_tokenizer",
            Error::Tokenize { .. } => "tokenize_failed",
            Error::Unsupported { .. } => "unsupported_model",
            Error::NoHead { .. } => "no_span_head",
            Error::NoClassifier { .. } => "no_classifier",
            Error::NoAttention { .. } => "no_attention",
            Error::MissingTensor { .. } => "missing_tensor",
            Error::WrongShape { .. } => "wrong_shape",
            Error::VocabularyMismatch { .. } => "vocabulary_mismatch",
            Error::OutOfTable { .. } => "out_of_table",
            Error::DeviceUnavailable { .. } => "device_unavailable",
            Error::Threads { .. } => "no_threads",
            Error::DtypeUnavailable { .. } | Error::CannotLearnIn { .. } => "dtype_unavailable",
            Error::CardFailed { .. } => "device_failed",
            Error::CardTooSmall { .. } => "device_out_of_memory",
            Error::TooManyFrozen { .. } => "too_many_frozen",
            Error::NotFinite { .. } => "not_finite",
            Error::Tensor(_) => "tensor_failed",
            Error::EmptyQuestion => "empty_question",
            Error::NoRoomForContext { .. } => "no_room_for_context",
            Error::Request(problem) => problem.code(),
            // ---- model references
            Error::BadReference { .. } => "bad_model_reference",
            Error::UnknownModel { .. } => "unknown_model",
            Error::NoSuchFolder { .. } => "no_such_folder",
            Error::BadRegistry { .. } => "bad_registry",
            Error::BadSetting { .. } => "bad_setting",
            Error::NoCacheFolder => "no_cache_folder",
            Error::Offline { .. } => "offline",
            Error::HubUnauthorized { .. } => "hub_unauthorized",
            Error::HubForbidden { .. } => "hub_forbidden",
            Error::NoSuchRepo { .. } => "no_such_repo",
            Error::NoSuchRevision { .. } => "no_such_revision",
            Error::NoSuchHubFile { .. } => "no_such_hub_file",
            Error::HubBusy { .. } => "hub_busy",
            Error::HubFailed { .. } => "hub_failed",
            Error::HubUnreachable { .. } => "hub_unreachable",
            Error::HubAnswer { .. } => "hub_answer",
            Error::DownloadCut { .. } => "download_cut",
            Error::DownloadDamaged { .. } => "download_damaged",
            Error::Squad(error) => error.code(),
            Error::Train(error) => error.code(),
            Error::CacheNotWritable { .. } => "cache_not_writable",
            Error::CacheLocked { .. } => "cache_locked",
        }
    }

    /// What the user can do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Read { .. } => Some("check the path and its permissions".into()),
            Error::Write { .. } => {
                Some("check that the folder exists, is writable and that the disk is not full".into())
            }
            Error::MissingFile { model, .. } => {
                Some(format!("`spanqa models verify {model}` lists what is there"))
            }
            Error::BadFile { .. } => Some("fetch the file again, or re-export the model".into()),
            // ---- tokenizers
            Error::UnsupportedTokenizer { .. } => {
                Some("use a BERT, DistilBERT, RoBERTa or XLM-R model with a question-answering head".into())
            }
            Error::Tokenize { .. } => {
                Some("check the text for damage, or try another model with `--model`".into())
            }
            // ---- models
            Error::Unsupported { .. } => Some(
                "supported are BERT, MiniLM, DistilBERT, RoBERTa and XLM-R with absolute positions, erf GELU and two \
                 labels; `spanqa models list` names some"
                    .into(),
            ),
            Error::NoHead { .. } => Some(
                "use a checkpoint that was fine-tuned for question answering; `spanqa models list` names some".into(),
            ),
            Error::NoClassifier { .. } => {
                Some("use a cross-encoder: a checkpoint for sequence classification with one output".into())
            }
            Error::NoAttention { .. } => None,
            Error::MissingTensor { .. } | Error::WrongShape { .. } => {
                Some("config.json and the weights do not belong together, or the export is incomplete".into())
            }
            Error::VocabularyMismatch { .. } | Error::OutOfTable { .. } => {
                Some("take tokenizer files and weights from the same checkpoint".into())
            }
            Error::DeviceUnavailable { .. } => {
                Some("`--device cpu` always works; `spanqa doctor` says what else does".into())
            }
            Error::CannotLearnIn { .. } => Some("a CPU trains in f32, a GPU in bf16 (the default), f16 or f32".into()),
            Error::TooManyFrozen { layers, .. } => {
                Some(format!("freeze at most {layers}; with `--freeze-layers {layers}` only the span head learns"))
            }
            Error::DtypeUnavailable { .. } => {
                Some("int8 is for `--device cpu`, tf32 for `--device cuda`, f32, f16 and bf16 for any".into())
            }
            Error::CardTooSmall { .. } => {
                Some("close what else uses the card (`nvidia-smi` shows it), or add `--device cpu`".into())
            }
            Error::CardFailed { .. } => Some("`spanqa doctor` shows what this binary can use; `--device cpu` always works".into()),
            Error::Threads { .. } => Some("try `--threads 1`".into()),
            Error::NotFinite { .. } => {
                Some("try `--dtype f32`; if it was f32 already, the weights are damaged".into())
            }
            Error::Tensor(_) => Some("`spanqa doctor` prints what a bug report needs".into()),
            Error::EmptyQuestion => Some("type a question, in quotes".into()),
            Error::NoRoomForContext { positions, question, special, minimum, .. } => {
                let least = question + special + minimum;
                Some(if least <= *positions {
                    format!("use `--window {least}` or more, or a smaller `--max-question-tokens`")
                } else {
                    format!("the model takes {positions} tokens: use a smaller `--max-question-tokens`")
                })
            }
            Error::Request(problem) => problem.hint(),
            // ---- model references
            Error::BadReference { .. } => Some(
                "give a name from `spanqa models list`, `owner/repo[@revision]`, or a folder as `./folder`".into(),
            ),
            Error::UnknownModel { near, .. } => {
                let all = "`spanqa models list` shows the names; a folder is written `./folder`";
                Some(match near.as_slice() {
                    [] => all.to_owned(),
                    near => format!("did you mean {}? {all}", near.join(" or ")),
                })
            }
            Error::NoSuchFolder { .. } => {
                Some("give the folder that holds config.json, or a name from `spanqa models list`".into())
            }
            Error::BadRegistry { .. } => Some(
                "correct the file, or point `--registry` or SPANQA_REGISTRY elsewhere; `spanqa models show minilm` \
                 shows what an entry may hold"
                    .into(),
            ),
            Error::BadSetting { variable, .. } => Some(format!("`unset {variable}`, or set it to a valid value")),
            Error::NoCacheFolder => Some("`export HF_HUB_CACHE=/some/folder`".into()),
            Error::Offline { model, .. } => Some(format!(
                "on a machine with network: `spanqa models pull {model}`; `--model builtin` needs no files"
            )),
            Error::HubUnauthorized { .. } => Some(
                "check the spelling; for a private or gated model `export HF_TOKEN=...` with a token that may read it"
                    .into(),
            ),
            Error::HubForbidden { page, .. } => {
                Some(format!("accept the licence on {page} with the account whose HF_TOKEN you use"))
            }
            Error::NoSuchRepo { .. } => {
                Some("check the spelling; `spanqa models list` shows the known models".into())
            }
            Error::NoSuchRevision { repo, .. } => {
                Some(format!("`--model {repo}@main` takes the newest revision"))
            }
            Error::NoSuchHubFile { repo, .. } => Some(format!("`spanqa models pull {repo}` tries again")),
            Error::HubBusy { .. } => {
                Some("wait some minutes and run it again; with `export HF_TOKEN=...` the limit is higher".into())
            }
            Error::HubFailed { .. } => Some("run it again later, or `--offline` if the model is cached".into()),
            Error::HubUnreachable { .. } => Some(
                "check the network, HTTPS_PROXY and HF_ENDPOINT; `--offline` works with cached models, \
                 `--model builtin` needs no network"
                    .into(),
            ),
            Error::HubAnswer { .. } => Some("check HF_ENDPOINT and proxies: is this a model hub?".into()),
            Error::DownloadCut { .. } => Some("run it again: the download resumes where it stopped".into()),
            Error::DownloadDamaged { .. } => {
                Some("run it again; if it stays, a proxy or mirror (HF_ENDPOINT) alters files".into())
            }
            Error::Squad(error) => error.hint(),
            Error::Train(error) => error.hint(),
            Error::CacheNotWritable { .. } => {
                Some("free some space, or `export HF_HUB_CACHE=/a/writable/folder`".into())
            }
            Error::CacheLocked { .. } => {
                Some("end the other process, or `export HF_HUB_CACHE=/another/folder`".into())
            }
        }
    }
}

fn other_heads(heads: &[String]) -> String {
    if heads.is_empty() { String::new() } else { format!("; it has {}", heads.join(", ")) }
}
