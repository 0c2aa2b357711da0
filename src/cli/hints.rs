//! What the user of the command line can type next, for each error of the library.

#[path = "hints/files.rs"]
pub mod files;

use std::error::Error as StdError;

use spanqa::request::reply::Note;
use spanqa::{
    Error, ErrorClass, checkpoint, document, embed, encoder, eval, export, fs, index, inspect, parquet,
    reader, request, rerank, source, stream, text, train,
};

/// What the user can do about an error, where there is something to do.
pub fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Fs(error) => fs(error),
        Error::Checkpoint(error) => checkpoint(error),
        Error::Document(error) => files::document(error),
        Error::Text(error) => text(error),
        Error::Encoder(error) => encoder(error),
        Error::Reader(error) => reader(error),
        Error::Embed(error) => embed(error),
        Error::Index(error) => index(error),
        Error::Inspect(error) => inspect(error),
        Error::Request(error) => request(error),
        Error::Source(error) => source(error),
        #[cfg(feature = "mcp")]
        Error::Mcp(error) => mcp(error),
        #[cfg(feature = "serve")]
        Error::Serve(error) => serve(error),
        Error::Eval(error) => eval(error),
        Error::Train(error) => train(error),
        Error::Export(error) => export(error),
        _ => None,
    }
}

/// What the command line makes of an error of the library.
pub struct Advice {
    /// Who has to do something about it.
    pub class: ErrorClass,
    /// What that could be.
    pub hint: Option<String>,
}

/// What to make of any error: nothing unless it is the library's or that of one of its rooms.
pub fn advice(cause: &(dyn StdError + 'static)) -> Option<Advice> {
    fn look<E: StdError + 'static>(
        cause: &(dyn StdError + 'static),
        class: fn(&E) -> ErrorClass,
        hint: fn(&E) -> Option<String>,
    ) -> Option<Advice> {
        cause.downcast_ref().map(|error| Advice { class: class(error), hint: hint(error) })
    }
    look(cause, Error::class, hint)
        .or_else(|| look(cause, fs::Error::class, fs))
        .or_else(|| look(cause, checkpoint::Error::class, checkpoint))
        .or_else(|| look(cause, document::Error::class, files::document))
        .or_else(|| look(cause, text::Error::class, text))
        .or_else(|| look(cause, encoder::Error::class, encoder))
        .or_else(|| look(cause, reader::Error::class, reader))
        .or_else(|| look(cause, embed::Error::class, embed))
        .or_else(|| look(cause, rerank::Error::class, rerank))
        .or_else(|| look(cause, index::Error::class, index))
        .or_else(|| look(cause, inspect::Error::class, inspect))
        .or_else(|| look(cause, request::Error::class, request))
        .or_else(|| look(cause, stream::Error::class, stream))
        .or_else(|| look(cause, source::Error::class, source))
        .or_else(|| look(cause, eval::Error::class, eval))
        .or_else(|| look(cause, train::Error::class, train))
        .or_else(|| look(cause, export::Error::class, export))
        .or_else(|| look_at_session(cause))
        .or_else(|| look_at_server(cause))
}

#[cfg(feature = "serve")]
fn look_at_server(cause: &(dyn StdError + 'static)) -> Option<Advice> {
    cause
        .downcast_ref::<spanqa::serve::Error>()
        .map(|error| Advice { class: error.class(), hint: serve(error) })
}

#[cfg(not(feature = "serve"))]
fn look_at_server(_: &(dyn StdError + 'static)) -> Option<Advice> {
    None
}

#[cfg(feature = "mcp")]
fn look_at_session(cause: &(dyn StdError + 'static)) -> Option<Advice> {
    cause.downcast_ref::<spanqa::mcp::Error>().map(|error| Advice { class: error.class(), hint: mcp(error) })
}

#[cfg(not(feature = "mcp"))]
fn look_at_session(_: &(dyn StdError + 'static)) -> Option<Advice> {
    None
}

#[cfg(feature = "mcp")]
fn mcp(error: &spanqa::mcp::Error) -> Option<String> {
    use spanqa::mcp::Error;
    let hint = match error {
        Error::BadRoot { .. } => "give a folder that exists and that you may read",
        Error::Session { .. } => {
            "agents start this program themselves: docs/agents.md shows what they want in their configuration"
        }
        _ => return None,
    };
    Some(hint.into())
}

#[cfg(feature = "serve")]
fn serve(error: &spanqa::serve::Error) -> Option<String> {
    use spanqa::serve::Error;
    let hint = match error {
        Error::Listen { .. } => {
            "another program may have it: try another `--port`, or `--port 0` for any that is free"
        }
        Error::Unprotected { .. } => {
            "put a key into SPANQA_API_KEY or a file for `--api-key-file`, or add `--insecure` where something else keeps \
             others out"
        }
        Error::SameName { .. } => "write NAME=MODEL to tell them apart",
        Error::Clock => "set the clock of this machine",
        Error::BadRoute { .. } => "correct AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE",
        _ => return None,
    };
    Some(hint.into())
}

pub(super) fn fs(error: &fs::Error) -> Option<String> {
    use fs::Error;
    let hint = match error {
        Error::Read { .. } => "check the path and its permissions",
        Error::Write { .. } => "check that the folder exists, is writable and that the disk is not full",
        _ => return None,
    };
    Some(hint.into())
}

fn checkpoint(error: &checkpoint::Error) -> Option<String> {
    use checkpoint::Error;
    let hint = match error {
        Error::MissingFile { model, .. } => {
            return Some(format!("`spanqa models verify {model}` lists what is there"));
        }
        Error::BadFile { .. } => "fetch the file again, or re-export the model",
        Error::Unsupported { .. } => {
            "supported are BERT, MiniLM, DistilBERT, RoBERTa and XLM-R with absolute positions, erf GELU and two \
             labels; `spanqa models list` names some"
        }
        Error::NoHead { .. } => {
            "use a checkpoint that was fine-tuned for question answering; `spanqa models list` names some"
        }
        Error::OnlyEmbeds { model } => {
            return Some(format!(
                "`spanqa embed --model {model}` makes vectors with it; leave out `--model` to ask the built-in reader"
            ));
        }
        Error::NoClassifier { .. } => "use a cross-encoder: a classifier of text pairs with one output",
        Error::MissingTensor { .. } | Error::WrongShape { .. } => {
            "config.json and the weights do not belong together, or the export is incomplete"
        }
        Error::Fs(error) => return fs(error),
        _ => return None,
    };
    Some(hint.into())
}

fn text(error: &text::Error) -> Option<String> {
    use text::Error;
    let hint = match error {
        Error::UnsupportedTokenizer { .. } => {
            "use a BERT, DistilBERT, RoBERTa or XLM-R model with a question-answering head"
        }
        Error::Tokenize { .. } => "check the text for damage, or try another model with `--model`",
        Error::EmptyQuestion => "type a question, in quotes",
        Error::NoRoomForContext { positions, question, special, minimum, .. } => {
            let least = question + special + minimum;
            return Some(if least <= *positions {
                format!("use `--window {least}` or more, or a smaller `--max-question-tokens`")
            } else {
                format!("the model takes {positions} tokens: use a smaller `--max-question-tokens`")
            });
        }
        Error::Checkpoint(error) => return checkpoint(error),
        _ => return None,
    };
    Some(hint.into())
}

/// Where ids and the embedding table do not fit together.
const SAME_CHECKPOINT: &str = "take tokenizer files and weights from the same checkpoint";

const NOT_FINITE: &str = "try `--dtype f32`; if it was f32 already, the weights are damaged";

fn encoder(error: &encoder::Error) -> Option<String> {
    use encoder::Error;
    let hint = match error {
        Error::OutOfTable { .. } => SAME_CHECKPOINT,
        Error::DeviceUnavailable { device, .. } if device == "cpu" => {
            "name one of these units, or unset the variable to use the fastest"
        }
        Error::DeviceUnavailable { .. } => "`--device cpu` always works; `spanqa doctor` says what else does",
        Error::DtypeUnavailable { .. } => {
            "int8 is for `--device cpu`, tf32 for `--device cuda`, f32, f16 and bf16 for any"
        }
        Error::CardTooSmall { .. } => {
            "close what else uses the card (`nvidia-smi` shows it), or add `--device cpu`"
        }
        Error::CardTooSmallToLearn { tokens: Some(_), .. } => {
            "learn from fewer tokens at a time (`--micro-tokens`), which changes no result, or close what else uses the card"
        }
        Error::CardTooSmallToLearn { tokens: None, .. } => {
            "close what else uses the card (`nvidia-smi` shows it), start from a smaller model, or add `--device cpu`"
        }
        Error::CardFailed { .. } => {
            "`spanqa doctor` shows what this binary can use; `--device cpu` always works"
        }
        Error::Threads { .. } => "try `--threads 1`",
        Error::Tensor(_) => "`spanqa doctor` prints what a bug report needs",
        Error::Checkpoint(error) => return checkpoint(error),
        _ => return None,
    };
    Some(hint.into())
}

fn reader(error: &reader::Error) -> Option<String> {
    use reader::Error;
    match error {
        Error::VocabularyMismatch { .. } => Some(SAME_CHECKPOINT.into()),
        Error::NotFinite { .. } => Some(NOT_FINITE.into()),
        Error::DeadlineExceeded => Some("allow more time, or ask of a shorter document".into()),
        Error::ModelStopped => Some("`spanqa doctor` prints what a bug report needs".into()),
        Error::Text(error) => text(error),
        Error::Encoder(error) => encoder(error),
        _ => None,
    }
}

fn embed(error: &embed::Error) -> Option<String> {
    use embed::Error;
    let hint = match error {
        Error::NoPooling { .. } => {
            "use a sentence-transformers model, or leave out `--model` for the built-in embedder; `--force` pools this one all \
             the same, and texts of one meaning will not lie close together"
        }
        Error::NoTemplate { .. } => "use a BERT, DistilBERT, RoBERTa or XLM-R model of sentence-transformers",
        Error::NoRoom { special, .. } => {
            return Some(format!("use `--max-tokens {}` or more", special + 1));
        }
        Error::NoSuchLayer { layers, .. } => {
            return Some(format!(
                "use `--layer {layers}` or less, where 0 is the embeddings, or `--layer all`"
            ));
        }
        Error::TooManyTokens { positions, .. } => {
            return Some(format!(
                "use `--max-tokens {positions}` or less, and cut longer texts into passages"
            ));
        }
        Error::NotFinite { .. } => NOT_FINITE,
        Error::ModelStopped => "`spanqa doctor` prints what a bug report needs",
        Error::Text(error) => return text(error),
        Error::Encoder(error) => return encoder(error),
        _ => return None,
    };
    Some(hint.into())
}

fn export(error: &export::Error) -> Option<String> {
    use export::Error;
    let hint = match error {
        Error::Exists { .. } => "add `--force` to replace it, or name another folder",
        Error::NoSuchType { .. } => "choose another `--dtype`",
        Error::NotForLlama { .. } => "`--format onnx` and `--format safetensors` take it",
        Error::TooLarge { .. } => "`--dtype bf16` holds numbers of that size, and f32 every number",
        Error::NotFinite { .. } => "the weights are damaged: fetch or train the model again",
        Error::Fs(error) => return fs(error),
        Error::Checkpoint(error) => return checkpoint(error),
        Error::Text(error) => return text(error),
        Error::Embed(error) => return embed(error),
        Error::Encoder(error) => return encoder(error),
        _ => return None,
    };
    Some(hint.into())
}

fn index(error: &index::Error) -> Option<String> {
    use index::Error;
    let hint = match error {
        Error::Fs(error) => return fs(error),
        Error::Document(error) => return files::document(error),
        Error::Embed(error) => return embed(error),
        Error::NoHome => "name a folder for indexes with `--index FOLDER`",
        Error::Damaged { .. } => "remove it: the next search makes it anew",
        Error::TooLarge { .. } => "cut it into several texts",
        Error::BadLine { .. } => {
            "a line of a corpus looks like {\"id\": \"7\", \"title\": \"...\", \"text\": \"...\"}"
        }
        Error::Packed { .. } => "unpack it first: gunzip -k, zstd -d or bunzip2 -k",
        Error::Changed { .. } => "search again: the index is brought up to date first",
        _ => return None,
    };
    Some(hint.into())
}

fn inspect(error: &inspect::Error) -> Option<String> {
    use inspect::Error;
    let hint = match error {
        Error::NoSuchLayer { layers, .. } => {
            return Some(format!(
                "`--layers` takes numbers from 0 to {}, such as `0,2-3`",
                layers.saturating_sub(1)
            ));
        }
        Error::NoSuchHead { heads, .. } => {
            return Some(format!(
                "`--heads` takes numbers from 0 to {}, such as `0,2-3`",
                heads.saturating_sub(1)
            ));
        }
        Error::NoSuchWindow { .. } => {
            "leave out `--window-number` for the window of the answer; `--read all` reads every window, and `spanqa ask --why` lists them"
        }
        Error::NothingToRead { .. } => "name a file that has text, or give one with `-c TEXT`",
        Error::TooLarge { size, .. } => {
            return Some(format!(
                "choose some with `--layers` and `--heads`, store them `--store-as f16`, or allow it: `--max-size {}M`",
                size.div_ceil(1 << 20)
            ));
        }
        Error::NotFinite => "the weights are damaged: `spanqa models verify` checks them",
        Error::Fs(error) => return fs(error),
        Error::Reader(error) => return reader(error),
        Error::Encoder(error) => return encoder(error),
        _ => return None,
    };
    Some(hint.into())
}

pub(super) fn request(error: &request::Error) -> Option<String> {
    use request::Error;
    let hint = match error {
        Error::NotJson { .. } => {
            "write one JSON object a line, for example with `jq -c`; Python's NaN and single quotes are not JSON"
        }
        Error::NotAnObject { found: "a list" } => "write one object a line: `jq -c '.[]'` takes a list apart",
        Error::NotAnObject { .. } => "a request looks like {\"question\": \"...\", \"context\": \"...\"}",
        Error::NotUtf8 { .. } => "convert it first: iconv -f LATIN1 -t UTF-8",
        Error::TooLong { .. } => "`--max-bytes` sets the limit",
        Error::MissingField { null: true, .. } => {
            "give it a text, or leave the request out; a request looks like {\"question\": \"...\", \"context\": \"...\"}"
        }
        Error::MissingField { field, present, .. } => {
            return Some(if present.iter().any(|name| name == "data" || name == "paragraphs") {
                "this looks like a whole SQuAD data set; `spanqa eval` reads those".into()
            } else if present.is_empty() {
                "a request looks like {\"question\": \"...\", \"context\": \"...\"}".into()
            } else if let [only] = &present[..]
                && let Some(separator) = only.chars().find(|char| matches!(char, ';' | '|'))
            {
                format!(
                    "its cells are separated by `{separator}`: write commas, or tabs and `--input-format tsv`"
                )
            } else {
                format!(
                    "it has {}; `--question-field`, `--context-field` and `--id-field` map names (looked for `{field}`)",
                    present.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )
            });
        }
        Error::WrongType { expected: "a text", found: "a list", .. } => {
            "lists go into `questions` and `contexts`"
        }
        Error::WrongType { .. } => "a request looks like {\"question\": \"...\", \"context\": \"...\"}",
        Error::Conflict { .. } => "leave one of them out",
        Error::UnequalLists { .. } => "give as many contexts as questions, or one context for all",
        Error::WrongWidth { .. } => "put quotation marks around cells that hold separators or line breaks",
        Error::OpenQuote => "double quotation marks inside a quoted cell, and close it",
        Error::BadHeader { .. } => "mend the first line of the table: a row of names, in UTF-8",
        Error::BadParameters { .. } => {
            "parameters are top_k, max_answer_len, max_seq_len, doc_stride, max_question_len, \
             handle_impossible_answer and, with `--score hf`, align_to_words"
        }
        Error::FilesForbidden => "put the text itself into `context`, or leave out `--no-files`",
        Error::NotAFile { .. } => "name a regular file",
        Error::NotSearched { .. } => "name a folder, or a corpus whose name ends in .jsonl",
        Error::NoRequests { input, kind } => return files::to_requests(input, *kind),
        Error::Parquet { error: parquet::Error::NoColumn { .. }, .. } => {
            "`--question-field`, `--context-field` and `--id-field` map names"
        }
        Error::Parquet { input, error } => return Some(files::parquet(input, error)),
        Error::Unreadable { .. } => {
            "the requests up to here were answered; check the file with `gzip -t` or `zstd -t`"
        }
        _ => return None,
    };
    Some(hint.into())
}

/// What to do about passages that cannot be put in order.
pub fn rerank(error: &rerank::Error) -> Option<String> {
    use rerank::Error;
    match error {
        Error::Reader(error) => reader(error),
        Error::Embed(error) => embed(error),
        _ => None,
    }
}

/// What to do about a question of a stream.
pub fn stream(error: &stream::Error) -> Option<String> {
    use stream::Error;
    match error {
        Error::Fs(error) => fs(error),
        Error::Document(error) => files::document(error),
        Error::Request(error) => request(error),
        Error::Reader(error) => reader(error),
        Error::Embed(error) => embed(error),
        _ => None,
    }
}

/// A remark, with the flag that it is about.
pub fn note(note: &Note) -> String {
    match note {
        Note::QuestionCut { .. } => format!("{note}; `--max-question-tokens` sets the limit"),
        Note::WindowReduced { .. } => format!("{note}; `--window` sets fewer"),
        Note::OverlapReduced { .. } | Note::AnswersMayBeCut { .. } => note.to_string(),
    }
}

fn source(error: &source::Error) -> Option<String> {
    use source::Error;
    let hint = match error {
        Error::BadReference { .. } => {
            "give a name from `spanqa models list`, `owner/repo[@revision]`, or a folder as `./folder`"
        }
        Error::UnknownModel { near, .. } => {
            let all = "`spanqa models list` shows the names; a folder is written `./folder`";
            return Some(match near.as_slice() {
                [] => all.to_owned(),
                near => format!("did you mean {}? {all}", near.join(" or ")),
            });
        }
        Error::NoSuchFolder { .. } => {
            "give the folder that holds config.json, or a name from `spanqa models list`"
        }
        Error::BadRegistry { .. } => {
            "correct the file, or point `--registry` or SPANQA_REGISTRY elsewhere; `spanqa models show minilm` \
             shows what an entry may hold"
        }
        Error::BadSetting { variable, .. } => {
            return Some(format!("`unset {variable}`, or set it to a valid value"));
        }
        Error::NoCacheFolder => "`export HF_HUB_CACHE=/some/folder`",
        Error::Offline { model, .. } => {
            return Some(format!(
                "on a machine with network: `spanqa models pull {model}`; `--model builtin` needs no files"
            ));
        }
        Error::HubUnauthorized { .. } => {
            "check the spelling; for a private or gated model `export HF_TOKEN=...` with a token that may read it"
        }
        Error::HubForbidden { page, .. } => {
            return Some(format!("accept the licence on {page} with the account whose HF_TOKEN you use"));
        }
        Error::NoSuchRepo { .. } => "check the spelling; `spanqa models list` shows the known models",
        Error::NoSuchRevision { repo, .. } => {
            return Some(format!("`--model {repo}@main` takes the newest revision"));
        }
        Error::NoSuchHubFile { repo, .. } => return Some(format!("`spanqa models pull {repo}` tries again")),
        Error::HubBusy { .. } => {
            "wait some minutes and run it again; with `export HF_TOKEN=...` the limit is higher"
        }
        Error::HubFailed { .. } => "run it again later, or `--offline` if the model is cached",
        Error::HubUnreachable { .. } => {
            "check the network, HTTPS_PROXY and HF_ENDPOINT; `--offline` works with cached models, \
             `--model builtin` needs no network"
        }
        Error::HubAnswer { .. } => "check HF_ENDPOINT and proxies: is this a model hub?",
        Error::DownloadCut { .. } => "run it again: the download resumes where it stopped",
        Error::DownloadDamaged { .. } => {
            "run it again; if it stays, a proxy or mirror (HF_ENDPOINT) alters files"
        }
        Error::CacheNotWritable { .. } => "free some space, or `export HF_HUB_CACHE=/a/writable/folder`",
        Error::CacheLocked { .. } => "end the other process, or `export HF_HUB_CACHE=/another/folder`",
        Error::Fs(error) => return fs(error),
        Error::Checkpoint(error) => return checkpoint(error),
        _ => return None,
    };
    Some(hint.into())
}

fn eval(error: &eval::Error) -> Option<String> {
    use eval::Error;
    let hint = match error {
        Error::BadDataset { .. } => {
            "known are SQuAD, XQuAD and MLQA JSON, Hugging Face rows and MRQA lines, each also as .gz, and rows as Parquet"
        }
        Error::Parquet { file, error } => return Some(files::parquet(file, error)),
        Error::DuplicateId { .. } => "give every question an id of its own",
        Error::Misaligned { .. } => {
            "answer_start counts code points of the context as it is stored; without `--strict` this is a remark"
        }
        Error::NoQuestions { .. } => "check `--ids`, `--limit` and `--sample`",
        Error::BadPredictions { .. } => {
            "a predictions file is one JSON object: {\"question id\": \"answer\", ...}; na-probs have numbers"
        }
        Error::MissingPredictions { .. } => {
            "the files belong to another data set, or to a part of it: `--ids` and `--limit` select a part"
        }
        Error::OtherRun { .. } => "leave out `--resume` to start over, or give another folder to `--report`",
        Error::BadProfile { .. } => "`spanqa tune DATASET --output FILE` writes one",
        Error::TooFewArticles { .. } => "use a larger data set, or fewer `--folds`",
        Error::Fs(error) => return fs(error),
        Error::Text(error) => return text(error),
        Error::Reader(error) => return reader(error),
        Error::Checkpoint(error) => return checkpoint(error),
        _ => return None,
    };
    Some(hint.into())
}

fn train(error: &train::Error) -> Option<String> {
    use train::Error;
    let hint = match error {
        Error::NothingToLearn { .. } => {
            "check that answers quote their context, or allow longer windows with `--window`"
        }
        Error::Diverged { .. } => {
            "try a lower `--rate` or a longer `--warmup`; `--resume` goes on from the last saved state"
        }
        Error::NoSteps { .. } => {
            "ask for more `--epochs`, for `--steps 1`, or for a smaller `--batch-tokens`"
        }
        Error::TooManySteps { .. } => {
            "ask for fewer `--epochs` or `--steps`: the learning rate falls until the last of them"
        }
        Error::Occupied { .. } => "add `--resume` to go on with it, or name another `--out`",
        Error::NothingToResume { .. } => "leave out `--resume` to start a run there",
        Error::OtherRecipe { .. } => "use the flags and files of the first start, or name another `--out`",
        Error::OtherTokens { .. } => {
            "use a teacher with the same vocabulary, such as a larger model of the same family"
        }
        Error::CannotLearnIn { .. } => {
            "a CPU trains in f32, a GPU in bf16 (the default), f16 or f32, a CUDA card also in tf32"
        }
        Error::TooManyFrozen { layers, .. } => {
            return Some(format!(
                "freeze at most {layers}; with `--freeze-layers {layers}` only the span head learns"
            ));
        }
        Error::Fs(error) => return fs(error),
        Error::Checkpoint(error) => return checkpoint(error),
        Error::Text(error) => return text(error),
        Error::Encoder(error) => return encoder(error),
        Error::Reader(error) => return reader(error),
        Error::Eval(error) => return eval(error),
        _ => return None,
    };
    Some(hint.into())
}
