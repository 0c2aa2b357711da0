//! `spanqa models`: which models there are, what is known about them, where they lie, fetching and removing them.

mod list;
mod remove;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use spanqa::checkpoint::ModelFiles;
use spanqa::checkpoint::quantised::pack;
use spanqa::decode::confidence::Confidence;
use spanqa::source::{Entry, Reference, SourceOptions, resolve};

use super::options::SourceArgs;
use super::terminal::name;
use super::{Outcome, verify};

/// Lists, fetches and describes models.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
    #[command(flatten)]
    source: SourceArgs,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models that have a name or were fetched, and what they take on disk
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Fetch models into the cache, or bring them up to date, and print their folders
    Pull {
        /// Names, `owner/repo[@revision]`, or folders
        #[arg(required = true, value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Remove fetched models from the cache, all their revisions, and say what that freed
    Remove {
        /// Names, or `owner/repo`
        #[arg(required = true, value_name = "MODEL")]
        models: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Print all that is known about a model, and its files
    Show {
        /// A name, `owner/repo[@revision]`, or a folder
        #[arg(value_name = "MODEL")]
        model: String,
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Print the folder of a model; exits with 1 when it is not on this machine
    Where {
        /// A name, `owner/repo[@revision]`, or a folder
        #[arg(value_name = "MODEL")]
        model: String,
    },
    /// Check that a model's files are whole and fit together, and print the length it can use
    Verify {
        /// A name, `owner/repo[@revision]`, or a folder
        #[arg(value_name = "MODEL", default_value = "builtin")]
        model: String,
    },
    /// Write a model's weights in 8-bit form; for whole models there is `spanqa export`
    Pack {
        /// A name, `owner/repo[@revision]`, or a folder
        #[arg(value_name = "MODEL")]
        model: String,
        /// The file to write
        #[arg(value_name = "FILE")]
        output: PathBuf,
    },
}

/// Runs a sub-command. Data goes to `out`, words to stderr.
pub fn run(args: &ModelsArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    args.run(&args.source.options(io::stderr().is_terminal()), out)
}

impl ModelsArgs {
    fn run(&self, options: &SourceOptions, out: &mut dyn Write) -> anyhow::Result<Outcome> {
        match &self.command {
            ModelsCommand::List { json } => list::run(options, *json, out),
            ModelsCommand::Pull { models } => pull(models, options, out),
            ModelsCommand::Remove { models, yes } => remove::run(models, *yes, options, out),
            ModelsCommand::Show { model, json } => show(model, options, *json, out),
            ModelsCommand::Where { model } => locate(model, options, out),
            ModelsCommand::Verify { model } => verify::run(model, options, out),
            ModelsCommand::Pack { model, output } => pack_weights(model, output, options, out),
        }
    }
}

fn pack_weights(
    model: &str,
    output: &Path,
    options: &SourceOptions,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let size = pack(&resolve(model, options)?.files, output)?;
    writeln!(out, "{} ({})", output.display(), readable(size))?;
    Ok(Outcome::Success)
}

fn pull(models: &[String], options: &SourceOptions, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let options = SourceOptions { refresh: true, ..options.clone() };
    for model in models {
        let resolved = resolve(model, &options).with_context(|| format!("cannot fetch {model}"))?;
        match resolved.folder {
            Some(folder) => writeln!(out, "{}", folder.display())?,
            None => eprintln!("{} is inside this program, there is nothing to fetch", name(model)),
        }
    }
    Ok(Outcome::Success)
}

#[derive(Serialize)]
struct Facts<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a Entry>,
    /// The commit of the files that are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a Path>,
    files: Vec<FileFacts>,
}

#[derive(Serialize)]
struct FileFacts {
    name: String,
    bytes: u64,
}

fn show(model: &str, options: &SourceOptions, json: bool, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    // A name that nobody knows is an error; a known one is described even when it was never fetched.
    let known = match Reference::parse(model, &options.registry()?)? {
        Reference::BuiltIn(entry) => Some(entry),
        Reference::Folder(_, entry) | Reference::Repo(_, entry) => entry,
    };
    let local = match resolve(model, &without_network(options)) {
        Ok(resolved) => Some(resolved),
        Err(spanqa::source::Error::Offline { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let files = local
        .iter()
        .flat_map(|local| local.files.iter())
        .map(|(name, file)| Ok(FileFacts { name: name.to_owned(), bytes: file.size()? }));
    let facts = Facts {
        model,
        entry: known.as_ref(),
        commit: local.as_ref().and_then(|local| local.files.revision.as_deref()),
        folder: local.as_ref().and_then(|local| local.folder.as_deref()),
        files: files.collect::<anyhow::Result<_>>()?,
    };
    if json {
        write_json(&facts, out)?;
        return Ok(Outcome::Success);
    }

    let mut lines: Vec<[String; 2]> = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push([name.to_owned(), value]);
        }
    };
    line("model", Some(model.to_owned()));
    if let Some(entry) = facts.entry {
        line("name", Some(entry.name.clone()));
        line("repo", entry.repo.clone());
        line("revision", entry.revision.clone());
        line("family", entry.family.map(|family| family.name().to_owned()));
        line("licence", entry.licence.clone());
        line("languages", (!entry.languages.is_empty()).then(|| entry.languages.join(", ")));
        let answers = |value: String| (!entry.embeds).then_some(value);
        line("null threshold", answers(entry.null_threshold.to_string()));
        line("temperature", answers(entry.temperature.to_string()));
        line(
            "confidence",
            entry.confidence.map(|Confidence { slope, shift }| format!("slope {slope}, shift {shift}")),
        );
        line("always answers", answers(if entry.always_answer { "yes" } else { "no" }.to_owned()));
        for row in &entry.accuracy {
            let numbers = format!("{}: exact {}, F1 {} ({})", row.dataset, row.exact, row.f1, row.source);
            line("accuracy", Some(numbers));
        }
        line("note", entry.note.clone());
    }
    line("commit", facts.commit.map(str::to_owned));
    line("folder", facts.folder.map(|folder| folder.display().to_string()));
    for file in &facts.files {
        line("file", Some(format!("{} ({} bytes)", file.name, file.bytes)));
    }
    table::write(&lines, out)?;
    if local.is_none() {
        eprintln!("not on this machine; `spanqa models pull {}` fetches it", name(model));
    }
    Ok(Outcome::Success)
}

fn locate(model: &str, options: &SourceOptions, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match resolve(model, &without_network(options)) {
        Ok(resolved) => match resolved.folder {
            Some(folder) => {
                writeln!(out, "{}", absolute(folder).display())?;
                Ok(Outcome::Success)
            }
            None => {
                eprintln!("{} is inside this program and has no folder", name(model));
                Ok(Outcome::Negative)
            }
        },
        Err(spanqa::source::Error::Offline { missing, .. }) => {
            let model = name(model);
            eprintln!("{model} is not on this machine ({})", name(&missing));
            eprintln!("hint: `spanqa models pull {model}`");
            Ok(Outcome::Negative)
        }
        Err(error) => Err(error.into()),
    }
}

fn without_network(options: &SourceOptions) -> SourceOptions {
    SourceOptions { offline: true, refresh: false, ..options.clone() }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn size_of(files: &ModelFiles) -> u64 {
    files.iter().filter_map(|(_, file)| file.size().ok()).sum()
}

pub(super) fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", (bytes + 500_000) / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use spanqa::source::HubSettings;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        models: ModelsArgs,
    }

    /// Exit code and output, with an empty cache and no network.
    fn spanqa_models(words: &[&str]) -> anyhow::Result<(Outcome, String)> {
        let dir = tempfile::tempdir()?;
        let hub = HubSettings { cache: Some(dir.path().into()), offline: true, ..HubSettings::default() };
        let options = SourceOptions { hub, ..SourceOptions::default() };
        let args = Command::try_parse_from(["models"].iter().chain(words))?.models;
        let mut out = Vec::new();
        let code = args.run(&options, &mut out)?;
        Ok((code, String::from_utf8(out)?))
    }

    #[test]
    fn the_table_has_a_line_for_every_model() {
        let (code, text) = spanqa_models(&["list"]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((code, lines.len()), (Outcome::Success, 9));
        assert!(lines[0].starts_with("NAME "));
        assert!(lines[1].starts_with("builtin ") && lines[1].ends_with("built in"), "{text}");
        assert!(lines[3].contains("79.5  SQuAD 2.0 dev") && lines[3].ends_with("no"), "{text}");
    }

    #[test]
    fn the_list_is_json_on_request() {
        let (_, text) = spanqa_models(&["list", "--json"]).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!((rows[0]["name"].as_str(), rows[0]["local"].as_bool()), (Some("builtin"), Some(true)));
        assert_eq!(
            (rows[3]["always_answer"].as_bool(), rows[3]["local"].as_bool()),
            (Some(true), Some(false))
        );
    }

    #[test]
    fn facts_are_shown_whether_the_model_is_here_or_not() {
        let (code, text) = spanqa_models(&["show", "roberta"]).unwrap();
        assert_eq!(code, Outcome::Success);
        assert!(text.contains("deepset/roberta-base-squad2") && text.contains("CC-BY-4.0"), "{text}");
        let (_, text) = spanqa_models(&["show", "builtin", "--json"]).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(facts["files"][0]["name"], "config.json");
        let (_, text) = spanqa_models(&["show", "models/builtin"]).unwrap();
        assert!(text.contains("folder") && text.contains("vocab.txt"), "{text}");
        assert!(spanqa_models(&["show", "no-such-model"]).is_err());
    }

    #[test]
    fn where_says_no_with_exit_code_1() {
        assert_eq!(spanqa_models(&["where", "roberta"]).unwrap(), (Outcome::Negative, String::new()));
        assert_eq!(spanqa_models(&["where", "builtin"]).unwrap(), (Outcome::Negative, String::new()));
        let (code, text) = spanqa_models(&["where", "./models/builtin"]).unwrap();
        assert_eq!(code, Outcome::Success);
        assert!(Path::new(text.trim_end()).is_absolute() && text.contains("builtin"), "{text}");
    }

    #[test]
    fn pulling_without_a_network_is_an_error() {
        let error = spanqa_models(&["pull", "roberta"]).unwrap_err();
        let error = error.downcast_ref::<spanqa::source::Error>().unwrap();
        assert_eq!(error.code(), "offline");
        assert_eq!(spanqa_models(&["pull", "builtin"]).unwrap(), (Outcome::Success, String::new()));
    }

    #[test]
    fn what_was_not_fetched_is_not_removed() {
        for (model, what) in [
            ("builtin", "inside this program"),
            ("./models/builtin", "is a folder"),
            ("a/b@v1", "all revisions"),
            ("no-such-model", "no model named"),
        ] {
            // Nothing is removed if one of them cannot be.
            for words in [&["remove", "--yes", model][..], &["remove", "--yes", "roberta", model]] {
                let error = spanqa_models(words).unwrap_err();
                assert!(error.to_string().contains(what), "{model}: {error}");
            }
        }
        assert_eq!(spanqa_models(&["remove", "-y", "roberta"]).unwrap(), (Outcome::Negative, String::new()));
        assert!(Path::new("models/builtin/config.json").is_file());
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(readable(0), "0 kB");
        assert_eq!(readable(12_001), "13 kB");
        assert_eq!(readable(133_400_000), "133 MB");
        assert_eq!(readable(2_240_000_000), "2.2 GB");
    }
}
