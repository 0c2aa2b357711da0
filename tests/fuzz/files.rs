//! Files that the program wrote itself and reads again: indexes and exported models.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;
use spanqa::checkpoint::ModelFile;
use spanqa::document::Text;
use spanqa::export::{self, Format, gguf, onnx};
use spanqa::index::{Index, Refresh, Root, search};
use spanqa::random::Random;

use crate::models::Folder;
use crate::mutate;
use crate::target::Target;

fn read(path: &Path) -> spanqa::document::Result<Text> {
    Ok(std::fs::read_to_string(path).unwrap_or_default().into())
}

fn refresh(folder: &Path, root: &Root, files: &[PathBuf]) {
    let refresh = Refresh { root, files, read: &read };
    let _ = refresh.run(folder, &mut |_| ControlFlow::Continue(()));
}

fn ask(folder: &Path, root: &Root) -> usize {
    let Ok(Some(index)) = Index::open(folder, root) else { return 0 };
    search("who keeps the lamp", &[index], 5).len()
}

fn stored(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// The files of an index, by their names.
pub const INDEX: [&str; 4] = ["index.json", "00000000.words", "00000001.words", "lock"];

/// One of them is damaged.
pub fn index(name: &str) -> Target {
    let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let texts = [
        "The lamp is kept by Bo.\n\nIt burns at night.",
        "A ferry goes to the island.",
        "tar gz \u{e9}\u{4e2d}",
    ];
    let files: Vec<PathBuf> = (texts.iter().enumerate())
        .map(|(number, text)| {
            let path = tree.path().join(format!("{number}.txt"));
            std::fs::write(&path, text.repeat(20)).unwrap();
            path
        })
        .collect();
    let root = Root::at(tree.path());
    refresh(folder.path(), &root, &files);
    let whole: Vec<(PathBuf, Vec<u8>)> = stored(folder.path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    assert!(ask(folder.path(), &root) > 0 && whole.len() == INDEX.len(), "{whole:?}");
    let path = folder.path().join(name);
    let seed = std::fs::read(&path).unwrap();
    let change = if seed.starts_with(b"{") { mutate::json } else { mutate::bytes };
    Target::new(format!("index-{name}"), [seed], change, move |damaged| {
        let root = Root::at(tree.path());
        for path in stored(folder.path()) {
            let _ = std::fs::remove_file(path);
        }
        whole.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        std::fs::write(&path, damaged).unwrap();
        ask(folder.path(), &root);
        // It is a cache: whatever was wrong, it can be made anew.
        refresh(folder.path(), &root, &files);
        ask(folder.path(), &root);
    })
}

/// A model that was exported as ONNX and is read back.
pub fn onnx() -> Target {
    let out = tempfile::tempdir().unwrap();
    let options = export::Options { format: Format::Onnx, ..export::Options::default() };
    export::export(&Folder::of("tiny/minilm").files(), &out.path().join("onnx"), &options).unwrap();
    let seeds = [std::fs::read(out.path().join("onnx/model.onnx")).unwrap()];
    let change = |random: &mut Random, seeds: &[Vec<u8>]| mutate::ends(random, seeds, 20_000, 4000);
    Target::new("onnx", seeds, change, move |bytes| {
        let place = out.path().join("damaged");
        std::fs::write(&place, bytes).unwrap();
        let _ = onnx::read::read(&ModelFile::OnDisk(place));
    })
}

/// A model that makes vectors, exported as GGUF and read back.
pub fn gguf() -> Target {
    let (folder, out) = (Folder::of("tiny/minilm"), tempfile::tempdir().unwrap());
    folder.put(
        "modules.json",
        json!([
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ])
        .to_string()
        .as_bytes(),
    );
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    folder.put(
        "1_Pooling/config.json",
        br#"{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}"#,
    );
    folder.put("tokenizer_config.json", br#"{"do_lower_case": true}"#);
    let weights = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let others = tensors.tensors().into_iter().filter(|(name, _)| !name.starts_with("qa_outputs"));
    folder.put("model.safetensors", &safetensors::serialize(others, None).unwrap());
    let options = export::Options { format: Format::Gguf, ..export::Options::default() };
    export::export(&folder.files(), &out.path().join("gguf"), &options).unwrap();
    let seeds = [std::fs::read(out.path().join("gguf/model.gguf")).unwrap()];
    let change = |random: &mut Random, seeds: &[Vec<u8>]| mutate::ends(random, seeds, 8000, 64);
    Target::new("gguf", seeds, change, move |bytes| {
        let place = out.path().join("damaged");
        std::fs::write(&place, bytes).unwrap();
        let _ = gguf::read::read(&ModelFile::OnDisk(place));
    })
}
