//! Disks that fail and fill up, calls that move a few bytes or are interrupted, clocks that jump, memory that is not there, and many processes
//! at once.
//!
//! A small library (faults/preload.c) stands between the program and the C library. For each command the writing calls of a good run are
//! counted; then one after the other fails. What must hold: the program ends by itself, with an error that says what and where; nothing that is
//! half written has a final name; and the next run makes the same bytes as if nothing had happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use crate::hub;
use crate::support::{Run, fixture, spanqa};

/// The library, built once.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
        let made = library.with_extension(format!("{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/preload.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&made).arg(source).arg("-ldl");
        assert!(compiler.status().expect("a C compiler").success());
        std::fs::rename(made, &library).unwrap();
        library
    })
}

/// Clocks that are a day wrong, one way and the other.
pub const WRONG_CLOCKS: [&str; 2] = ["86400", "-86400"];
/// Those that were never set, and those beyond all dates.
pub const IMPOSSIBLE_CLOCKS: [&str; 2] = ["-3000000000", "+300000000000"];

type Arguments = dyn Fn(&Path) -> Vec<String>;

/// A command with its folder, which is empty whenever a run begins anew.
struct Job {
    folder: tempfile::TempDir,
    arguments: Box<Arguments>,
    /// What makes a second run go on.
    resume: &'static [&'static str],
    /// Without this file there is nothing to go on from, and a second run starts anew.
    resumes_from: Option<&'static str>,
    environment: Vec<(&'static str, String)>,
}

impl Job {
    fn new(resume: &'static [&'static str], arguments: impl Fn(&Path) -> Vec<String> + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, arguments: Box::new(arguments), resume, resumes_from: None, environment: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn clear(&self) {
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    }

    fn command(&self, more: &[&str]) -> Command {
        let arguments = (self.arguments)(self.path());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut command = spanqa(&arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The second run.
    fn again(&self) -> Run {
        let goes_on = self.resumes_from.is_none_or(|file| self.path().join(file).exists());
        Run::from(self.command(if goes_on { self.resume } else { &[] }).output().unwrap())
    }

    /// Runs it with a fault. What came of it, and how many writing calls there were.
    fn faulty(&self, fault: &str, at: usize) -> (Run, usize) {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command(&[]);
        command.env("LD_PRELOAD", library()).env("FAULT", fault).env("FAULT_AT", at.to_string());
        command.env("FAULT_LOG", log.path());
        let run = Run::from(command.output().unwrap());
        let calls = std::fs::read_to_string(log.path()).unwrap().trim().parse().unwrap_or(0);
        (run, calls)
    }

    /// The files with their content, times and the like aside. A link that leads nowhere is no file.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    files.insert(path.strip_prefix(self.path()).unwrap().to_owned(), bytes);
                }
            }
        }
        files
    }

    /// Every writing call fails in turn. `compared` are the files that are the same in every run; `partial` says which may be there unfinished.
    fn check(&self, compared: &[&str], partial: impl Fn(&Path) -> bool) {
        let (good, calls) = self.faulty("none", 0);
        assert!(good.code == Some(0) && calls > 0, "{good:?} {calls}");
        let whole = self.files();
        let content = |files: &BTreeMap<PathBuf, Vec<u8>>, name: &str| files.get(Path::new(name)).cloned();
        for name in compared {
            assert!(
                content(&whole, name).is_some_and(|bytes| !bytes.is_empty()),
                "{name} of {:?}",
                whole.keys()
            );
        }
        for fault in ["short", "interrupted"] {
            self.clear();
            let (run, _) = self.faulty(fault, 0);
            assert_eq!(run.code, Some(0), "{fault}: {run:?}");
            for name in compared {
                assert!(content(&self.files(), name) == content(&whole, name), "{fault}: {name}");
            }
        }
        // All of the first calls, and some of many.
        let some = (1..=calls).filter(|at| *at <= 12 || at % (calls / 12).max(1) == 0 || at + 4 > calls);
        for at in some {
            for fault in ["EIO", "ENOSPC"] {
                self.clear();
                let (run, _) = self.faulty(fault, at);
                let what = format!("{fault} at {at} of {calls}: {run:?}");
                assert!(!run.stderr.contains("panicked") && run.code.is_some(), "{what}");
                if run.code != Some(0) {
                    assert_eq!(run.code, Some(2), "{what}");
                    assert!(run.stderr.contains("error: "), "{what}");
                    let os = ["os error 5", "os error 28"];
                    assert!(os.iter().any(|error| run.stderr.contains(error)), "{what}");
                }
                for (name, bytes) in self.files() {
                    let same = whole.get(&name) == Some(&bytes);
                    assert!(
                        same || !compared.iter().any(|compared| name == Path::new(compared))
                            || partial(&name),
                        "{} is half written: {what}",
                        name.display()
                    );
                }
                let again = self.again();
                assert_eq!(again.code, Some(0), "after {what}: {again:?}");
                for name in compared {
                    assert!(content(&self.files(), name) == content(&whole, name), "{name} after {what}");
                }
            }
        }
    }
}

fn tiny() -> String {
    fixture("tiny/minilm").display().to_string()
}

fn requests(count: usize) -> tempfile::NamedTempFile {
    let line =
        |number: usize| json!({"id": number, "question": "who?", "context": "the old king of the hill"});
    let lines: Vec<String> = (0..count).map(|number| line(number).to_string()).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

#[test]
fn a_batch_survives_every_fault_of_its_disk() {
    let input = requests(60).into_temp_path();
    let input = input.keep().unwrap().display().to_string();
    let job = Job::new(&["--resume", "--quiet"], {
        let input = input.clone();
        move |folder| {
            let output = folder.join("out.jsonl").display().to_string();
            [
                "batch",
                &input,
                "--output",
                &output,
                "--model",
                &tiny(),
                "--window",
                "60",
                "--batch-tokens",
                "256",
            ]
            .map(String::from)
            .into()
        }
    });
    job.check(&["out.jsonl"], |_| false);
    std::fs::remove_file(input).unwrap();
}

#[test]
fn an_evaluation_survives_every_fault_of_its_disk() {
    let data = tempfile::tempdir().unwrap();
    let path = questions(data.path());
    let job = Job::new(&["--resume"], move |folder| {
        let report = folder.join("report").display().to_string();
        ["eval", &path, "--model", &tiny(), "--window", "60", "--report", &report].map(String::from).into()
    });
    job.check(&["report/predictions.json", "report/null_odds.json", "report/run.jsonl"], |name| {
        name.ends_with("run.jsonl")
    });
}

#[test]
fn an_export_survives_every_fault_of_its_disk() {
    let job = Job::new(&[], |folder| {
        ["export", &tiny(), &folder.join("model").display().to_string(), "--format", "onnx"]
            .map(String::from)
            .into()
    });
    job.check(&["model/model.onnx", "model/config.json", "model/tokenizer.json"], |_| false);
}

/// Data to learn from or to be scored by, and where it is.
fn questions(folder: &Path) -> String {
    let paragraph = |number: usize| {
        json!({"context": "the old king of the hill", "qas": [{"id": number.to_string(), "question": "who?", "is_impossible": false,
               "answers": [{"text": "king", "answer_start": 8}]}]})
    };
    let paragraphs: Vec<_> = (0..20).map(paragraph).collect();
    let data = json!({"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]});
    let path = folder.join("data.json");
    std::fs::write(&path, data.to_string()).unwrap();
    path.display().to_string()
}

/// A short training, and the questions that it reads.
fn training() -> (tempfile::TempDir, Job) {
    let data = tempfile::tempdir().unwrap();
    let path = questions(data.path());
    let mut job = Job::new(&["--resume"], move |folder| {
        let out = folder.join("model").display().to_string();
        let base = tiny();
        ["train", "--base", &base, "--data", &path, "--dev", &path, "--out", &out, "--steps", "4"]
            .into_iter()
            .chain(["--batch-tokens", "300", "--window", "60", "--overlap", "20", "--rate", "1e-3"])
            .chain(["--eval-every", "2", "--save-every", "1"])
            .map(String::from)
            .collect()
    });
    job.resumes_from = Some("model/training/state.safetensors");
    (data, job)
}

#[test]
fn a_training_survives_every_fault_of_its_disk() {
    let (_data, job) = training();
    let folder = job.path().to_owned();
    // The best weights so far are a model, and not yet those of the end.
    let is_whole = |name: &Path| {
        safetensors::SafeTensors::deserialize(&std::fs::read(folder.join(name)).unwrap()).is_ok()
    };
    job.check(&["model/model.safetensors", "model/config.json", "model/vocab.txt"], |name| {
        name.ends_with("model.safetensors") && is_whole(name)
    });
}

#[test]
fn a_download_survives_every_fault_of_its_disk() {
    let hub = hub::Hub::good();
    let mut job = Job::new(&[], |_| ["models", "pull", "a/b"].map(String::from).into());
    let cache = job.path().display().to_string();
    job.environment =
        vec![("HF_HUB_OFFLINE", "0".into()), ("HF_ENDPOINT", hub.endpoint().into()), ("HF_HUB_CACHE", cache)];
    let good = Run::from(job.command(&[]).output().unwrap());
    assert_eq!(good.code, Some(0), "{good:?}");
    // Everything that has content, blobs too: other programs take one for whole once it has its name.
    let files = job.files().into_iter().filter(|(_, bytes)| !bytes.is_empty());
    let files: Vec<String> = files.map(|(name, _)| name.display().to_string()).collect();
    let in_folder = |folder: &str| files.iter().filter(|name| name.contains(folder)).count();
    let wanted = ["model.safetensors", "config.json", "vocab.txt", "tokenizer_config.json"];
    for name in wanted {
        assert!(files.contains(&format!("models--a--b/snapshots/{}/{name}", hub::COMMIT)), "{files:?}");
    }
    assert_eq!(in_folder("/blobs/"), wanted.len(), "{files:?}");
    job.clear();
    job.check(&files.iter().map(String::as_str).collect::<Vec<_>>(), |_| false);
}

/// An index is a cache: a run may go on without it, and must find the same.
#[test]
fn an_index_survives_every_fault_of_its_disk() {
    let texts = tempfile::tempdir().unwrap();
    for number in 0..12 {
        std::fs::write(texts.path().join(format!("{number}.txt")), format!("needle{number} in a haystack"))
            .unwrap();
    }
    let root = texts.path().display().to_string();
    let job = Job::new(&[], {
        let root = root.clone();
        move |folder| ["index", &root, "--index", &folder.display().to_string()].map(String::from).into()
    });
    let index = job.path().display().to_string();
    let search =
        || Run::from(spanqa(&["search", "needle7", &root, "--index", &index, "--quiet"]).output().unwrap());
    let (good, calls) = job.faulty("none", 0);
    assert!(good.code == Some(0) && calls > 0, "{good:?}");
    let found = search().stdout;
    assert!(found.contains("7.txt"), "{found}");
    for fault in ["short", "interrupted", "EIO", "ENOSPC"] {
        for at in 1..=calls {
            job.clear();
            let (run, _) = job.faulty(fault, at);
            assert!(
                !run.stderr.contains("panicked") && matches!(run.code, Some(0 | 2)),
                "{fault} at {at}: {run:?}"
            );
            assert_eq!(search().stdout, found, "after {fault} at {at} of {calls}");
            if calls > 0 && !fault.starts_with('E') {
                break;
            }
        }
    }
}

/// A day forward, a day back, at every look; or a clock that was never set. What takes time is measured by another clock, and files are known by
/// whether their times differ, not by which is later.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    let (texts, lines) = (tempfile::tempdir().unwrap(), requests(60));
    std::fs::write(texts.path().join("a.txt"), "needle7 in a haystack").unwrap();
    let (root, input) = (texts.path().display().to_string(), lines.path().display().to_string());
    let (_data, train) = training();
    let batch = Job::new(&[], move |folder| {
        let output = folder.join("out.jsonl").display().to_string();
        ["batch", &input, "--output", &output, "--model", &tiny(), "--window", "60"].map(String::from).into()
    });
    let search = Job::new(&[], move |folder| {
        let index = folder.join("index").display().to_string();
        ["search", "needle7", &root, "--index", &index].map(String::from).into()
    });
    for (mut job, file) in
        [(train, Some("model/model.safetensors")), (batch, Some("out.jsonl")), (search, None)]
    {
        let content = |job: &Job| file.map(|file| std::fs::read(job.path().join(file)).unwrap());
        let good = Run::from(job.command(&[]).output().unwrap());
        assert_eq!(good.code, Some(0), "{good:?}");
        let expected = content(&job);
        for clock in [WRONG_CLOCKS, IMPOSSIBLE_CLOCKS].concat() {
            job.environment =
                vec![("LD_PRELOAD", library().display().to_string()), ("FAULT_CLOCK", clock.to_owned())];
            // The index that is there is searched first, then one that is made anew; the others start anew only.
            for anew in if file.is_none() { &[false, true][..] } else { &[true] } {
                if *anew {
                    job.clear();
                }
                let run = Run::from(job.command(&[]).output().unwrap());
                assert_eq!(run.code, Some(0), "{clock}: {run:?}");
                assert!(!run.stderr.contains("panicked"), "{clock}: {run:?}");
                assert!(content(&job) == expected, "{clock}: {file:?}");
                assert!(file.is_some() || run.stdout == good.stdout, "{clock}: {run:?}");
            }
        }
    }
}

/// Memory that the system does not give ends in a message, not in a panic or a signal from nowhere.
#[test]
fn too_little_memory_is_said() {
    let binary = Path::new(env!("CARGO_BIN_EXE_spanqa"));
    // Without room for its own file the system does not start it.
    let least = binary.metadata().unwrap().len() >> 20;
    for more in [12, 14, 16, 20, 25, 30, 40, 60, 100, 200, 500, 2000] {
        let megabytes = least + more;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!(
            "ulimit -v {}; exec '{}' ask who -c 'the old king of the hill' --window 60 --threads 2 --model '{}'",
            megabytes << 10,
            binary.display(),
            tiny()
        ));
        let output = crate::support::isolated(shell).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answered = matches!(output.status.code(), Some(0 | 1));
        assert!(
            answered || ["error", "memory"].iter().any(|word| said.contains(word)),
            "{megabytes} MB: {:?} {said}",
            output.status
        );
        assert!(!said.contains("panicked"), "{megabytes} MB: {said}");
    }
}

#[test]
fn twenty_four_processes_share_an_index() {
    let (texts, index) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..60 {
        std::fs::write(texts.path().join(format!("{number}.txt")), format!("needle{number} in a haystack"))
            .unwrap();
    }
    let (root, index) = (texts.path().display().to_string(), index.path().display().to_string());
    let search = || {
        let mut program = spanqa(&["search", "needle7 haystack", &root, "--index", &index]);
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..24).map(|_| search()).collect();
    let ended: Vec<Run> = running.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    for run in &ended {
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(run.stdout, ended[0].stdout);
    }
}
