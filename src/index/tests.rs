//! An index is what its folder is, whatever happened to both before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::refresh::{Progress, Refresh, Refreshed};
use super::search::{Index, Texts, search};
use super::segment::{Alive, Segment, TextPlace};
use super::write::{Builder, merged};
use super::{Home, Root};
use crate::document::{self, Text};
use crate::random::Random;
use crate::rank::{Cutter, Passages, Words, rank};
use crate::request::reply::DocumentId;

const QUESTIONS: [&str; 4] =
    ["Who keeps the lamp?", "a ferry to the island", "tar gz", "is there a reef in the fog"];

/// A passage that was found: its file, its bytes there, and its score.
type Hit = (String, Range<usize>, u64);

/// A folder of files, and one for indexes of it.
struct Tree {
    files: TempDir,
    index: TempDir,
}

impl Tree {
    fn new() -> Self {
        Self { files: tempfile::tempdir().unwrap(), index: tempfile::tempdir().unwrap() }
    }

    /// Writes a file as it was at a time: at `since` nanoseconds after a day long ago.
    fn write(&self, name: &str, text: &str, since: u64) {
        self.write_now(name, text);
        self.touch(name, UNIX_EPOCH + Duration::from_secs(1_000_000_000) + Duration::from_nanos(since));
    }

    fn write_now(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn touch(&self, name: &str, time: SystemTime) {
        File::options().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The index that is kept up to date.
    fn usual(&self) -> PathBuf {
        self.index.path().join("usual")
    }

    fn root(&self) -> Root {
        Root::Folder(self.files.path().to_owned())
    }

    /// All files, in their order.
    fn list(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(self.files.path(), &mut found);
        found.sort();
        found
    }

    fn refresh(&self, folder: &Path, watch: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Refreshed {
        let refresh = Refresh { root: &self.root(), files: &self.list(), read: &read };
        refresh.run(folder, watch).unwrap()
    }

    /// Brings the usual index up to date.
    fn update(&self) -> Refreshed {
        self.refresh(&self.usual(), &mut |_| ControlFlow::Continue(()))
    }

    /// What the index in a folder finds for each question.
    fn found(&self, folder: &Path) -> Vec<Vec<Hit>> {
        let index = Index::open(folder, &self.root()).unwrap().unwrap();
        let indexes = [index];
        let of_question = |question: &&str| {
            let all = search(question, &indexes, usize::MAX);
            for most in [1, 3] {
                let best: Vec<_> =
                    search(question, &indexes, most).iter().map(|found| found.bytes.clone()).collect();
                assert_eq!(best, all.iter().take(most).map(|found| found.bytes.clone()).collect::<Vec<_>>());
            }
            let texts = Texts::read(&all, &read);
            assert!(texts.missing.is_empty(), "{:?}", texts.missing);
            let hits = texts.passages.iter().map(|(document, bytes, score)| {
                let DocumentId::Path(name) = &texts.documents[*document].0 else {
                    panic!("a file has a path")
                };
                (name.clone(), bytes.clone(), score.to_bits())
            });
            hits.collect()
        };
        QUESTIONS.iter().map(of_question).collect()
    }

    /// What is found without an index.
    fn expected(&self) -> Vec<Vec<Hit>> {
        let mut texts: Vec<(String, Passages)> = Vec::new();
        for path in self.list() {
            let Ok(text) = read(&path) else { continue };
            let name = path.strip_prefix(self.files.path()).unwrap().to_str().unwrap();
            let mut cutter = Cutter::default();
            cutter.cut(&text.text, &name.replace(['.', '-', '/', '\\'], " "));
            let passages = cutter.finish();
            texts.push((path.display().to_string(), passages));
        }
        let passages: Vec<&Passages> = texts.iter().map(|(_, passages)| passages).collect();
        let of_question = |question: &&str| {
            let hits = rank(question, &passages).into_iter().filter(|hit| hit.score > 0.0);
            let hit = |hit: crate::rank::Hit| {
                let (name, passages) = &texts[hit.document];
                (name.clone(), passages.range(hit.passage), hit.score.to_bits())
            };
            hits.map(hit).collect()
        };
        QUESTIONS.iter().map(of_question).collect()
    }

    fn check(&self, when: &str) {
        assert_eq!(self.found(&self.usual()), self.expected(), "{when}");
    }

    /// The files of the usual index as they are.
    fn stored(&self) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
        let entries = fs::read_dir(self.usual()).unwrap().map(|entry| entry.unwrap().path());
        let about = |path: PathBuf| {
            let modified = path.metadata().unwrap().modified().unwrap();
            let bytes = fs::read(&path).unwrap();
            (path, (modified, bytes))
        };
        entries.map(about).collect()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "words");
        self.stored().into_keys().filter(is_segment).collect()
    }
}

/// A file that says so cannot be read, or is no text.
fn read(path: &Path) -> document::Result<Text> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|source| crate::fs::Error::Read { path: path.to_owned(), source })?;
    match text.as_str() {
        "binary" => Err(document::Error::Binary { path: name, at: 0 }),
        "locked" => {
            let source = std::io::ErrorKind::PermissionDenied.into();
            Err(crate::fs::Error::Read { path: path.to_owned(), source }.into())
        }
        _ => Ok(text.into()),
    }
}

fn story(random: &mut Random) -> String {
    const WORDS: [&str; 16] = [
        "lamp", "keeper", "island", "ferry", "the", "reef", "fog", "a", "is", "kept", "Tar", "gz", "storm",
        "to", "ticket", "1871",
    ];
    let mut text = String::new();
    for _ in 0..random.below(60) {
        for _ in 0..1 + random.below(12) {
            text.push_str(WORDS[random.below(WORDS.len())]);
            text.push(' ');
        }
        text.push_str(["\n", ".\n\n", "\n# Fog\n"][random.below(3)]);
    }
    text
}

#[test]
fn an_index_finds_what_is_found_without_one_whatever_happened_before() {
    for seed in 0..3 {
        let (tree, mut random) = (Tree::new(), Random::new(seed));
        let mut most = 0;
        for step in 0..40_u64 {
            for action in 0..1 + random.below(4) as u64 {
                let since = 1 + 10 * step + action;
                let name =
                    ["a.txt", "b-lamp.md", "deep/c.txt", "deep/d.1.gz", "e", "z/y/x.md"][random.below(6)];
                let is_there = tree.path(name).exists();
                match random.below(9) {
                    0 if is_there => fs::remove_file(tree.path(name)).unwrap(),
                    1 if is_there => fs::rename(tree.path(name), tree.path("renamed.txt")).unwrap(),
                    2 if is_there => tree.touch(name, UNIX_EPOCH + Duration::from_nanos(since)),
                    3 => tree.write(name, "locked", since),
                    4 => tree.write(name, "binary", since),
                    5 => tree.write_now(name, &story(&mut random)),
                    _ => tree.write(name, &story(&mut random), since),
                }
            }
            tree.write(&format!("more/{}.txt", step % 13), &story(&mut random), step);
            tree.update();
            tree.check(&format!("seed {seed}, step {step}"));
            most = most.max(tree.segments().len());
        }
        assert!(most > 4 && most <= 8, "segments are merged: {most}");
        let last = tree.segments().into_iter().max().unwrap();
        let number: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert!(number > 30, "{number}");
        let anew = tree.index.path().join("anew");
        tree.refresh(&anew, &mut |_| ControlFlow::Continue(()));
        assert_eq!(tree.found(&anew), tree.found(&tree.usual()));
    }
}

/// A tree of three files that change no more.
fn quiet_tree() -> Tree {
    let (tree, mut random) = (Tree::new(), Random::new(7));
    for (name, since) in [("a.txt", 1), ("deep/b.md", 2), ("c.txt", 3)] {
        tree.write(name, &format!("The lamp of {name}.\n\n{}", story(&mut random)), since);
    }
    tree
}

#[test]
fn an_unchanged_tree_writes_nothing() {
    let tree = quiet_tree();
    tree.write("picture.png", "binary", 4);
    let first = tree.update();
    assert_eq!((first.read, first.forgotten, first.stopped), (3, 0, false), "{first:?}");
    let stored = tree.stored();
    assert_eq!(tree.update(), Refreshed::default());
    assert_eq!(tree.stored(), stored);
    tree.check("unchanged");
    // A file that looks changed and is not: its segment stays.
    tree.touch("a.txt", UNIX_EPOCH + Duration::from_secs(5));
    let segments = tree.segments();
    assert_eq!((tree.update().read, tree.segments()), (0, segments));
    assert_eq!(tree.update(), Refreshed::default());
    fs::remove_file(tree.path("picture.png")).unwrap();
    fs::remove_file(tree.path("c.txt")).unwrap();
    assert_eq!(tree.update().forgotten, 1);
    tree.check("two files less");
}

#[test]
fn a_file_that_may_have_changed_within_a_tick_is_looked_at_again() {
    let tree = quiet_tree();
    let later = SystemTime::now() + Duration::from_secs(3600);
    for (text, expected) in [("a lamp here", 1), ("a ferry now", 1), ("a ferry now", 0)] {
        tree.write_now("new.txt", text);
        tree.touch("new.txt", later);
        assert_eq!(tree.update().read, if expected == 1 && text == "a lamp here" { 4 } else { expected });
        tree.check(text);
    }
}

#[test]
fn what_cannot_be_read_is_tried_again_and_what_is_no_text_is_not() {
    let tree = quiet_tree();
    tree.write("locked.txt", "locked", 8);
    tree.write("binary.txt", "binary", 9);
    let skipped = || {
        let mut skipped = Vec::new();
        tree.refresh(&tree.usual(), &mut |progress| {
            if let Progress::Skipped(error) = progress {
                skipped.push(error.code());
            }
            ControlFlow::Continue(())
        });
        skipped
    };
    let mut first = skipped();
    first.sort_unstable();
    assert_eq!(first.len(), 2, "{first:?}");
    let (stored, second) = (tree.stored(), skipped());
    assert_eq!(tree.stored(), stored, "nothing new was learned");
    assert!(second.len() == 1 && first.contains(&second[0]), "{first:?} {second:?}");
}

#[test]
fn a_folder_without_text_has_an_index() {
    for files in [&[][..], &["locked"], &["binary"], &["", " \n"]] {
        let tree = Tree::new();
        for (text, since) in files.iter().zip(0..) {
            tree.write(&format!("{since}.txt"), text, since);
        }
        tree.update();
        tree.check("no text");
    }
}

#[test]
fn damaged_files_of_an_index_are_made_anew() {
    let damages: [fn(Vec<u8>) -> Vec<u8>; 6] = [
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        |bytes| [bytes, vec![0]].concat(),
        |bytes| vec![b'x'; bytes.len()],
        // Another version's.
        |bytes| match bytes.strip_prefix(br#"{"format":1"#) {
            Some(rest) => [&br#"{"format":99"#[..], rest].concat(),
            None => [b"spanqas0", &bytes[8..]].concat(),
        },
    ];
    for damage in damages {
        let tree = quiet_tree();
        tree.update();
        for path in
            tree.stored().into_keys().filter(|path| path.file_name().is_some_and(|name| name != "lock"))
        {
            fs::write(&path, damage(fs::read(&path).unwrap())).unwrap();
            if let Ok(Some(index)) = Index::open(&tree.usual(), &tree.root()) {
                search("lamp", &[index], 10);
            }
            assert!(tree.update().read > 0);
            tree.check(&format!("{path:?} was damaged"));
            assert_eq!(tree.update(), Refreshed::default());
        }
    }
}

#[test]
fn a_lost_segment_is_made_anew_and_strays_are_removed() {
    let tree = quiet_tree();
    tree.update();
    fs::remove_file(&tree.segments()[0]).unwrap();
    let strays = ["00000077.words", ".spanqa-begun"].map(|name| tree.usual().join(name));
    strays.iter().for_each(|path| fs::write(path, "left by a process that was killed").unwrap());
    fs::write(tree.usual().join("notes.txt"), "not ours").unwrap();
    assert!(tree.update().read > 0);
    tree.check("a segment was lost");
    assert!(strays.iter().all(|path| !path.exists()));
    assert!(tree.usual().join("notes.txt").exists());
}

#[test]
fn changed_bits_of_a_segment_are_no_panic() {
    let mut random = Random::new(3);
    let mut builder = Builder::default();
    for file in 0..3 {
        builder.add(TextPlace { file, start: 0, length: 9 }, &story(&mut random), "a name").unwrap();
    }
    let bytes = builder.bytes();
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
        let Some(segment) = Segment::held(damaged) else { continue };
        let alive = Alive::new(segment, vec![false, true, false]);
        for question in QUESTIONS {
            for hit in rank(question, &[&alive]) {
                alive.segment.passage(hit.passage);
            }
        }
        let again = Segment::held(merged(&[&alive, &alive], &[vec![0, 1, 2], vec![3, 4, 5]])).unwrap();
        assert!(again.len() <= 2 * alive.segment.len());
    }
}

#[test]
fn a_segment_gives_back_what_it_was_made_of() {
    let mut random = Random::new(11);
    let stories: Vec<String> = (0..5).map(|_| story(&mut random) + "the end").collect();
    let (mut builder, mut cutter) = (Builder::default(), Cutter::default());
    for (text, file) in stories.iter().zip(0..) {
        builder.add(TextPlace { file, start: 7, length: 9 }, text, "a name").unwrap();
        cutter.cut(text, "a name");
    }
    let passages = cutter.finish();
    let alive = builder.segment().unwrap();
    let segment = &alive.segment;
    assert_eq!((segment.texts(), segment.len()), (5, passages.len()));
    assert_eq!((alive.terms(), alive.passages()), (passages.terms(), passages.passages()));
    for number in 0..segment.len() {
        let passage = segment.passage(number);
        assert_eq!((passage.bytes, passage.terms), (passages.range(number), passages.length(number)));
        assert_eq!((passage.text.start, passage.text.length), (7, 9));
    }
    let mut lists: Vec<_> = passages.lists().collect();
    lists.sort();
    assert_eq!(segment.terms(), lists.len());
    for (number, (term, list)) in lists.into_iter().enumerate() {
        assert_eq!((segment.name(number), segment.list(number)), (term.as_bytes(), list.to_vec()));
        assert_eq!(alive.holding(term), list);
    }
    assert!(alive.holding("nowhere").is_empty());
}

#[test]
fn who_breaks_off_keeps_what_is_done() {
    let tree = Tree::new();
    for number in 0..2100 {
        tree.write(&format!("{number:04}.txt"), "a lamp", number);
    }
    let mut calls = 0;
    let stopped = tree.refresh(&tree.usual(), &mut |_| {
        calls += 1;
        if calls > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(stopped.stopped && stopped.read >= 1000 && stopped.read < 2100, "{stopped:?}");
    let rest = tree.update();
    assert_eq!((rest.stopped, rest.read), (false, 2100 - stopped.read));
    tree.check("after the rest");
}

#[test]
fn a_home_lists_its_indexes_and_removes_them() {
    let tree = quiet_tree();
    let home = Home::at(tree.index.path().join("home"));
    assert!(home.list().unwrap().is_empty());
    let [plain, hidden] = ["", "hidden"].map(|ways| home.index_of(&tree.root(), ways).unwrap());
    assert_ne!(plain, hidden);
    for folder in [&plain, &hidden] {
        tree.refresh(folder, &mut |_| ControlFlow::Continue(()));
    }
    fs::create_dir(tree.index.path().join("home/other")).unwrap();
    let kept = home.list().unwrap();
    let whole = crate::fs::real(tree.files.path()).unwrap().display().to_string();
    assert!(kept.len() == 2 && kept.iter().all(|kept| kept.root == whole && kept.bytes > 100), "{kept:?}");
    kept.iter().for_each(|kept| home.remove(kept).unwrap());
    assert!(home.list().unwrap().is_empty() && !plain.exists());
    // An index below the folder that is indexed is found, by the name that the folder is given.
    let inside = Home::at(tree.path("indexes"));
    let folder = inside.index_of(&tree.root(), "").unwrap();
    tree.refresh(&folder, &mut |_| ControlFlow::Continue(()));
    assert_eq!(inside.below(tree.files.path()), [folder]);
    assert!(home.below(tree.files.path()).is_empty());
}
