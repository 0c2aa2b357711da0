//! The pages of the project: every example runs and prints what the page shows, every flag and every link exists.
//!
//! An example is a line `$ command` in an indented or fenced block, with the output below it. It runs in a folder that holds
//! docs/examples. Without output it has to succeed, whatever it prints. `...` in the output stands for any text; alone on a line for any lines. Numbers with a point may differ a little,
//! since integers multiply differently on other processors. Standard error counts if the page shows a line of it.
//!
//! `<!-- not run: REASON -->` before a block keeps it from running; its flags are checked all the same.

mod matching;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{isolated, run};
use matching::matches;
use page::{Example, Page};

/// Blocks that are not run. Whoever adds one says so here, too.
const NOT_RUN: usize = 24;

/// Options of other programs that the pages name.
const FOREIGN: &[&str] =
    &["--features", "--release", "--all-targets", "--nocapture", "--locked", "--ignored", "--timings"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut paths =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).to_vec();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = PathBuf::from(entry.unwrap().file_name());
        if name.extension().is_some_and(|extension| extension == "md") {
            paths.push(Path::new("docs").join(name));
        }
    }
    paths.iter().map(|path| Page::read(root(), path)).collect()
}

/// A folder as the pages describe it.
fn examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("docs/examples"), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs an example as somebody at a terminal would. Returns what it printed, or what is wrong with it.
fn output(example: &Example, folder: &Path) -> Result<String, String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_spanqa")).parent().unwrap();
    let mut path = OsString::from(binary);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let said = |line: &String| ["error:", "hint:", "note:"].iter().any(|start| line.starts_with(start));
    let with_errors = example.output.iter().any(said);
    let command = match with_errors {
        true => format!("{{ {}\n}} 2>&1", example.command),
        false => example.command.clone(),
    };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder);
    let mut shell = isolated(shell);
    // Hidden, so that no example reads it.
    shell.env("PATH", path).env("SPANQA_INDEX", folder.join(".index"));
    let done = shell.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    let wrong = with_errors || stdout.contains("\"error\"");
    match done.status.code() {
        Some(0 | 1) => Ok(stdout),
        Some(2) if wrong => Ok(stdout),
        code => Err(format!("it ended with {code:?}:\n{stdout}{stderr}")),
    }
}

#[test]
fn every_example_prints_what_its_page_shows() {
    let mut problems = Vec::new();
    let mut run = 0;
    for page in pages() {
        let folder = examples();
        for example in page.examples.iter().filter(|example| example.runs) {
            run += 1;
            let problem = match output(example, folder.path()) {
                Ok(_) if example.output.is_empty() => None,
                Ok(printed) => matches(&example.output, &printed).err(),
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                let place = format!("{}:{}", page.path.display(), example.line);
                problems.push(format!("{place}: $ {}\n{problem}", example.command));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(run >= 20, "only {run} examples were found: does the parser still see them?");
}

#[test]
fn what_is_not_run_is_counted() {
    let pages = pages();
    let unmarked = pages.iter().flat_map(|page| page.unmarked.iter().map(move |line| (&page.path, line)));
    let unmarked: Vec<_> = unmarked.collect();
    assert!(unmarked.is_empty(), "write `$` before these, or say why they are not run: {unmarked:?}");
    let not_run: Vec<_> = pages.iter().flat_map(|page| &page.not_run).collect();
    assert_eq!(not_run.len(), NOT_RUN, "{not_run:#?}");
    assert!(not_run.iter().all(|reason| reason.split_whitespace().count() >= 3), "{not_run:#?}");
}

/// The commands and flags that exist.
#[derive(Default)]
struct Flags {
    by_command: BTreeMap<String, BTreeSet<String>>,
}

impl Flags {
    /// The flags of a command such as `ask` or `models pull`; none if there is no such command.
    fn of(&mut self, command: &str) -> &BTreeSet<String> {
        self.by_command.entry(command.to_owned()).or_insert_with(|| {
            let mut arguments: Vec<&str> = command.split_whitespace().collect();
            arguments.push("--help");
            let help = run(&arguments);
            if help.code != Some(0) {
                return BTreeSet::new();
            }
            let options = help.stdout.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
            let words = options.flat_map(str::split_whitespace).filter(|word| word.starts_with('-'));
            // `--flag,` and `--flag[=<VALUE>]`.
            words.filter_map(|word| Some(word.split([',', '[']).next()?.to_owned())).collect()
        })
    }

    /// What is wrong with the flags of a command line.
    fn problem(&mut self, words: &[String]) -> Option<String> {
        let mut words = words.iter();
        let mut command = words.next()?.clone();
        if command == "models" {
            command = format!("{command} {}", words.next()?);
        }
        let known = self.of(&command);
        if known.is_empty() {
            return Some(format!("there is no command `{command}`"));
        }
        let names = words.filter(|word| {
            word.starts_with('-') && word.len() > 1 && !word[1..].starts_with(char::is_numeric)
        });
        let names = names.map(|word| word.split('=').next().unwrap_or(word));
        let unknown: Vec<&str> = names.filter(|name| !known.contains(*name)).collect();
        (!unknown.is_empty()).then(|| format!("`{command}` has no {}", unknown.join(", ")))
    }
}

#[test]
fn every_command_and_every_flag_exists() {
    let mut flags = Flags::default();
    let mut problems = Vec::new();
    for page in pages() {
        for (line, command) in &page.commands {
            if let Some(problem) = flags.problem(command) {
                problems.push(format!("{}:{line}: {problem}", page.path.display()));
            }
        }
    }
    let commands = [
        "ask",
        "chat",
        "batch",
        "rank",
        "eval",
        "compare",
        "tune",
        "train",
        "embed",
        "attention",
        "serve",
        "mcp",
        "index",
        "search",
        "models list",
        "models show",
        "doctor",
        "export",
    ];
    let mut all: BTreeSet<String> = FOREIGN.iter().map(|flag| (*flag).to_owned()).collect();
    commands.iter().for_each(|command| all.extend(flags.of(command).clone()));
    for page in pages() {
        let unknown = page.flags.iter().filter(|(_, flag)| !all.contains(flag));
        problems.extend(
            unknown.map(|(line, flag)| format!("{}:{line}: nothing has {flag}", page.path.display())),
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let mut problems = Vec::new();
    let headings: BTreeMap<PathBuf, Vec<String>> = pages()
        .into_iter()
        .map(|page| (root().join(&page.path).canonicalize().unwrap(), page.headings))
        .collect();
    for page in pages() {
        for (line, link) in &page.links {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(&page.path),
                _ => root().join(&page.path).parent().unwrap().join(path),
            };
            let known = target.canonicalize().ok().map(|target| headings.get(&target));
            let good = match known {
                None => false,
                Some(Some(headings)) if !anchor.is_empty() => {
                    headings.iter().any(|heading| heading == anchor)
                }
                Some(_) => true,
            };
            if !good {
                problems.push(format!("{}:{line}: {link} leads nowhere", page.path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_lighthouse_of_the_examples_is_that_of_the_tests() {
    let [example, fixture] = ["docs/examples/lighthouse.txt", "tests/fixtures/text/lighthouse.txt"]
        .map(|path| std::fs::read_to_string(root().join(path)).unwrap());
    assert_eq!(example, fixture);
}
