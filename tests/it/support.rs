//! What several tests need: fixtures, folders, running the binary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use spanqa::encoder::batch::Batch;
use spanqa::heads::WindowLogits;
use spanqa::random::Random;

/// A path below `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A JSON file below `tests/fixtures`.
pub fn fixture_json(name: &str) -> Value {
    let path = fixture(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

/// Numbers of a JSON list.
pub fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// Whole numbers of a JSON list.
pub fn integers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as u32).collect()
}

/// The windows of a golden file as one batch.
pub fn batch_of(windows: &[Value]) -> Batch {
    let mut batch = Batch::default();
    for window in windows {
        batch.push(&integers(&window["ids"]), &integers(&window["segments"]));
    }
    batch
}

/// A model at its real size with what PyTorch says of some windows: see tests/fixtures/full_size.py.
pub struct FullSize {
    pub folder: PathBuf,
    pub batch: Batch,
    pub expected: Vec<WindowLogits>,
}

/// The models in the folder that the variable SPANQA_FULL_SIZE names; none if it is not set.
pub fn full_size_models() -> Vec<FullSize> {
    let Some(folder) = std::env::var_os("SPANQA_FULL_SIZE") else { return Vec::new() };
    let mut folders: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.join("golden.json").is_file());
    folders.sort();
    assert!(!folders.is_empty(), "no folder has a golden.json");
    let model = |folder: PathBuf| {
        let golden = std::fs::read(folder.join("golden.json")).unwrap();
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        let windows = golden["windows"].as_array().unwrap();
        let logits =
            |window: &Value| WindowLogits { start: numbers(&window["start"]), end: numbers(&window["end"]) };
        FullSize { batch: batch_of(windows), expected: windows.iter().map(logits).collect(), folder }
    };
    folders.into_iter().map(model).collect()
}

/// The largest difference between two lists of logits.
pub fn largest_gap(left: &[WindowLogits], right: &[WindowLogits]) -> f32 {
    assert_eq!(left.len(), right.len());
    let gaps = left.iter().zip(right).map(|(a, b)| gap(&a.start, &b.start).0.max(gap(&a.end, &b.end).0));
    gaps.fold(0.0, f32::max)
}

/// Where the best start and the best end of each window are.
pub fn best_tokens(logits: &[WindowLogits]) -> Vec<[Option<usize>; 2]> {
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    logits.iter().map(|window| [best(&window.start), best(&window.end)]).collect()
}

/// The largest distance between two lists, and where it is.
pub fn gap(left: &[f32], right: &[f32]) -> (f32, usize) {
    assert_eq!(left.len(), right.len());
    let gaps = left.iter().zip(right).map(|(a, b)| (a - b).abs()).enumerate();
    gaps.fold((0.0, 0), |worst, (index, gap)| if gap > worst.0 { (gap, index) } else { worst })
}

/// A folder with copies of files, gone when dropped.
pub fn folder_of(files: &[PathBuf]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::copy(file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    folder
}

/// The tiny BERT as a complete model folder, to be damaged.
pub fn tiny_model() -> tempfile::TempDir {
    let files = ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"];
    folder_of(&files.map(|name| fixture("tiny/minilm").join(name)))
}

/// Rows of a random model's position table: the longest window, and what some families leave unused.
const POSITIONS: usize = 512;

/// A random model with the tensors of a tiny one, but larger: two heads of the given width.
pub fn random_model(family: &str, width: usize) -> tempfile::TempDir {
    let tiny = fixture("tiny").join(family);
    let folder = tempfile::tempdir().unwrap();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(tiny.join("config.json")).unwrap()).unwrap();
    let names = |names: [&'static str; 2]| names.into_iter().find(|name| config.get(name).is_some()).unwrap();
    let [hidden, inner, heads] =
        [["hidden_size", "dim"], ["intermediate_size", "hidden_dim"], ["num_attention_heads", "n_heads"]]
            .map(names);
    let [old_hidden, old_inner] = [hidden, inner].map(|name| config[name].as_u64().unwrap() as usize);
    let (new_hidden, new_inner) = (2 * width, 5 * width);
    config[hidden] = json!(new_hidden);
    config[inner] = json!(new_inner);
    config[heads] = json!(2);
    config["max_position_embeddings"] = json!(POSITIONS);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();

    let bytes = std::fs::read(tiny.join("model.safetensors")).unwrap();
    let mut random = Random::new(1);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut old = SafeTensors::deserialize(&bytes).unwrap().tensors();
    // The file's reader knows no order, and with another one every tensor gets other numbers.
    old.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, old) in old {
        let mut shape: Vec<usize> = (old.shape().iter())
            .map(|&size| match size {
                size if size == old_hidden => new_hidden,
                size if size == old_inner => new_inner,
                size => size,
            })
            .collect();
        if name.contains("position_embeddings") {
            shape[0] = POSITIONS;
        }
        // About as strong as in trained models, so that attention is neither flat nor a single token.
        let (middle, spread) = match shape[..] {
            _ if name.contains("orm.weight") || name.contains("orm.gamma") => (1.0, 0.2),
            [_, columns] if !name.contains("embeddings") => (0.0, 3.0 / (columns as f32).sqrt()),
            _ => (0.0, 0.5),
        };
        let noise = random.noise(shape.iter().product());
        let bytes = noise.into_iter().flat_map(|number| (middle + spread * number).to_le_bytes());
        tensors.push((name, shape, bytes.collect()));
    }
    let views: HashMap<&str, TensorView> = (tensors.iter())
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// Puts another number in the place of the `index`th of an f32 tensor in a safetensors file.
pub fn overwrite(file: &Path, tensor: &str, index: usize, number: f32) {
    let mut bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let [start, end] = [0, 1].map(|side| header[tensor]["data_offsets"][side].as_u64().unwrap() as usize);
    let at = start + 4 * index;
    assert!(header[tensor]["dtype"] == "F32" && at < end, "{tensor} {index}");
    bytes[8 + length + at..][..4].copy_from_slice(&number.to_le_bytes());
    std::fs::write(file, bytes).unwrap();
}

/// The binary under test, cut off from the user's settings and from the network.
pub fn spanqa(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanqa"));
    command.args(arguments);
    isolated(command)
}

/// A program without the user's settings and without the network.
pub fn isolated(mut command: Command) -> Command {
    command.env_clear().stdin(Stdio::null());
    for (name, value) in std::env::vars_os() {
        let keep = ["PATH", "SystemRoot", "TMPDIR", "TEMP", "TMP", "LLVM_PROFILE_FILE"];
        if keep.iter().any(|kept| name == *kept) {
            command.env(name, value);
        }
    }
    let home = env!("CARGO_TARGET_TMPDIR");
    command.env("HOME", home).env("XDG_CACHE_HOME", home).env("XDG_CONFIG_HOME", home);
    command.env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Run {
    Run::from(spanqa(arguments).output().unwrap())
}

/// Runs the binary with something on standard input.
pub fn run_with_input(arguments: &[&str], input: &[u8]) -> Run {
    use std::io::Write;
    let mut child = spanqa(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A program that refuses its input early closes the pipe.
    let _ = writer.join().unwrap();
    Run::from(output)
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// The records that were printed, one a line.
    pub fn records(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts an error: exit code 2, nothing on standard output, one message that says `what`, and a hint.
    pub fn fails_with(&self, what: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.contains(what), "expected {what:?} in {}", self.stderr);
        assert_eq!(self.stderr.matches("error:").count(), 1, "{}", self.stderr);
        assert!(self.stderr.matches("(os error").count() <= 1, "a cause is told twice: {}", self.stderr);
        assert!(self.stderr.contains("hint: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}
