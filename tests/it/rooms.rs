//! Every room of `src` uses only what the table in ARCHITECTURE.md lets it use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is no room: the sum of all errors and their classes.
const SHARED: [&str; 4] = ["class", "error", "Error", "Result"];

type Rooms = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table, and what is wrong with its order.
fn allowed() -> (Rooms, Vec<String>) {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = page.lines().skip_while(|line| !line.starts_with("| room | may use")).skip(2);
    let (mut rooms, mut problems) = (Rooms::new(), Vec::new());
    for line in lines.take_while(|line| line.starts_with('|')) {
        let mut names = line.split('`').skip(1).step_by(2).map(str::to_owned);
        let room = names.next().unwrap();
        let uses: BTreeSet<String> = names.collect();
        let below = uses.iter().filter(|used| !rooms.contains_key(*used));
        problems.extend(below.map(|used| format!("ARCHITECTURE.md: {used} does not stand above {room}")));
        rooms.insert(room, uses);
    }
    (rooms, problems)
}

/// What a file uses, tests and comments aside.
fn uses(code: &str) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let name = |text: &str| -> String {
        text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let mut found: BTreeSet<String> = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        // `crate::{a, b::{C, D}}` names what stands between the outer braces.
        let (mut outer, mut depth) = (String::new(), 0);
        for char in rest.chars() {
            depth += i32::from(char == '{') - i32::from(char == '}');
            match (depth, char) {
                (..=0, _) => break,
                (1, '{') | (2.., _) | (1, '}') => {}
                (1, char) => outer.push(char),
            }
        }
        match rest.starts_with('{') {
            true => found.extend(outer.split(',').map(|part| name(part.trim()))),
            false => found.extend([name(rest)]),
        }
    }
    found.retain(|name| !name.is_empty() && !SHARED.contains(&name.as_str()));
    found
}

fn read(path: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs" && name != "schedules.rs")
        {
            let below = path.strip_prefix(root().join("src")).unwrap();
            let used = uses(&std::fs::read_to_string(&path).unwrap());
            found.insert(below.to_str().unwrap().replace('\\', "/"), used);
        }
    }
}

#[test]
fn no_arrow_points_back() {
    let (allowed, mut problems) = allowed();
    assert!(allowed.len() > 10, "the table was not found: {allowed:?}");
    let mut files = BTreeMap::new();
    read(&root().join("src"), &mut files);
    for (file, used) in files {
        let room = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["cli", "lib", "main", "error", "class"].contains(&room) {
            continue;
        }
        let Some(may) = allowed.get(room) else {
            problems.push(format!("src/{file}: the table in ARCHITECTURE.md has no room {room}"));
            continue;
        };
        let more = used.iter().filter(|used| *used != room && !may.contains(*used));
        problems.extend(more.map(|used| format!("src/{file}: {room} may not use {used}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn uses_are_found() {
    let code = "use crate::a::B;\n// crate::no\nuse crate::{b, c::{D, e}, Error};\nfn f() -> crate::f::G {}\n#[cfg(test)]\nmod tests {\nuse crate::z;";
    assert_eq!(uses(code).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "f"]);
}

/// The tests below a folder, as pages name them: the module and the function.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let module = match name(&path) {
                stem if ["mod", "tests", "main"].contains(&stem.as_str()) => name(folder),
                stem => stem,
            };
            let code = std::fs::read_to_string(&path).unwrap();
            for after in code.split("#[test]").skip(1) {
                let test = after.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(test.map(|test| format!("{module}::{test}")));
            }
        }
    }
}

/// What docs/reliability.md promises is shown by tests that are there.
#[test]
fn reliability_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    ["src", "tests"].iter().for_each(|folder| tests_below(&root().join(folder), &mut tests));
    let page = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
    assert!(named.len() > 60, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that are not there: {missing:?}");
}
