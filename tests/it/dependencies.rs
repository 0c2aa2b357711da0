//! What the program is made of, held to deny.toml and to docs/dependencies.md. Without a network: what cargo knows of the tree is enough
//! for licences and sources; advisories are the business of `cargo deny`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml::Table;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn parsed(name: &str) -> Table {
    file(name).parse().unwrap()
}

fn texts(list: &toml::Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Whether a licence expression can be met with licences that are allowed: `A OR B`, `A AND B`, brackets; `/` is an old `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    either(&mut words.as_slice(), allowed)
}

fn either(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut met = both(words, allowed);
    while let [first, rest @ ..] = words
        && *first == "OR"
    {
        *words = rest;
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut met = licence(words, allowed);
    while let [first, rest @ ..] = words
        && *first == "AND"
    {
        *words = rest;
        met &= licence(words, allowed);
    }
    met
}

fn licence(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    match **words {
        ["(", ref rest @ ..] => {
            *words = rest;
            let met = either(words, allowed);
            *words = words.get(1..).unwrap_or_default();
            met
        }
        [name, "WITH", exception, ref rest @ ..] => {
            *words = rest;
            allowed.contains(format!("{name} WITH {exception}").as_str())
        }
        [name, ref rest @ ..] => {
            *words = rest;
            allowed.contains(name)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for (expression, met) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(GPL-3.0 AND MIT) OR GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_crate_of_the_tree_may_be_there() {
    let deny = parsed("deny.toml");
    let allowed = texts(&deny["licenses"]["allow"]);
    let registries = texts(&deny["sources"]["allow-registry"]);
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "the whole tree");
    for package in packages {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{name} has the licence {licence:?}");
        let source = package["source"].as_str();
        let known = source.is_none_or(|source| {
            source.strip_prefix("registry+").is_some_and(|registry| registries.contains(registry))
        });
        assert!(known, "{name} comes from {source:?}");
    }
}

#[test]
fn every_direct_dependency_has_its_line() {
    let manifest = parsed("Cargo.toml");
    let targets = manifest["target"].as_table().unwrap().values().filter_map(toml::Value::as_table);
    let tables = targets.chain([&manifest]).flat_map(|table| {
        ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| table.get(kind))
    });
    let named: BTreeSet<&str> = (tables.flatten().filter_map(toml::Value::as_table))
        .flat_map(|table| table.keys().map(String::as_str))
        .collect();
    let page = file("docs/dependencies.md");
    let described: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(described, named);
}

/// What is stated as the oldest Rust is one number everywhere, and built with.
#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let manifest = parsed("Cargo.toml");
    let oldest = manifest["package"]["rust-version"].as_str().unwrap();
    for name in ["README.md", "CONTRIBUTING.md"] {
        assert!(file(name).contains(&format!("({oldest} or later")), "{name}");
    }
    assert!(file(".github/workflows/ci.yml").contains(&format!("toolchain install {oldest} ")));
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn actions_are_pinned_to_commits() {
    for name in ["ci.yml", "release.yml"] {
        let workflow = file(&format!(".github/workflows/{name}"));
        let uses =
            workflow.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: "));
        for action in uses {
            let commit = action.split(['@', ' ']).nth(1).unwrap_or_default();
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit && action.contains(" # v"), "{name}: {action}");
        }
    }
}
