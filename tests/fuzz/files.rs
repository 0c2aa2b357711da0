//! Files that the program wrote itself and reads again: indexes and exported models.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::json;
use spanqa::checkpoint::ModelFile;
use spanqa::document::Text;
use spanqa::export::{self, Format, gguf, onnx};
use spanqa::index::{Index, Refresh, Root, search};

use super::models::Folder;
use super::mutate;
use super::runner::fuzz;

fn read(path: &Path) -> spanqa::document::Result<Text> {
    Ok(std::fs::read_to_string(path).unwrap_or_default().into())
}

#[test]
fn an_index_on_disk() {
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
    let refresh = Refresh { root: &root, files: &files, read: &read };
    refresh.run(folder.path(), &mut |_| ControlFlow::Continue(())).unwrap();
    let stored = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let whole: Vec<(PathBuf, Vec<u8>)> = stored()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    let ask = || {
        let Ok(Some(index)) = Index::open(folder.path(), &root) else { return 0 };
        search("who keeps the lamp", &[index], 5).len()
    };
    assert!(ask() > 0 && whole.len() > 1, "{whole:?}");
    for (path, bytes) in &whole {
        let name = path.file_name().unwrap().to_str().unwrap();
        let change = if bytes.starts_with(b"{") { mutate::json } else { mutate::bytes };
        fuzz(&format!("index-{name}"), 60, std::slice::from_ref(bytes), change, |damaged| {
            for path in stored() {
                let _ = std::fs::remove_file(path);
            }
            whole.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
            std::fs::write(path, damaged).unwrap();
            ask();
            // It is a cache: whatever was wrong, it can be made anew.
            let _ = refresh.run(folder.path(), &mut |_| ControlFlow::Continue(()));
            ask();
        });
    }
}

#[test]
fn exported_models() {
    let folder = Folder::of("tiny/minilm");
    let out = tempfile::tempdir().unwrap();
    let options = export::Options { format: Format::Onnx, ..export::Options::default() };
    export::export(&folder.files(), &out.path().join("onnx"), &options).unwrap();
    let seeds = [std::fs::read(out.path().join("onnx/model.onnx")).unwrap()];
    let place = out.path().join("damaged");
    let change =
        |random: &mut spanqa::random::Random, seeds: &[Vec<u8>]| mutate::ends(random, seeds, 20_000, 4000);
    fuzz("onnx", 150, &seeds, change, |bytes| {
        std::fs::write(&place, bytes).unwrap();
        let _ = onnx::read::read(&ModelFile::OnDisk(place.clone()));
    });

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
    let change =
        |random: &mut spanqa::random::Random, seeds: &[Vec<u8>]| mutate::ends(random, seeds, 8000, 64);
    fuzz("gguf", 150, &seeds, change, |bytes| {
        std::fs::write(&place, bytes).unwrap();
        let _ = gguf::read::read(&ModelFile::OnDisk(place.clone()));
    });
}
