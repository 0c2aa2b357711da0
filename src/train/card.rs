//! The model card: what the weights are, what they were made of and how, written beside them.

use std::fmt::Write;

use crate::source::HubRepo;

/// What the card says. All of it is plain text: whatever Markdown would read into it is escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// The model that training began with, as it was asked for.
    pub base: String,
    /// The hub's name of that model, if it is not what was asked for.
    pub base_repo: Option<String>,
    /// Languages, as hubs write them.
    pub languages: Vec<String>,
    /// The command line.
    pub command: String,
    /// The questions it was trained on.
    pub data: Vec<DataFact>,
    /// What hubs call them.
    pub data_ids: Vec<String>,
    /// Settings of the training, each with its name.
    pub recipe: Vec<(String, String)>,
    /// Results, each with its name.
    pub scores: Vec<(String, String)>,
    /// The licence of the weights, if somebody decided.
    pub licence: Option<String>,
    /// The version of this program.
    pub version: String,
}

/// One file of questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFact {
    /// The file.
    pub file: String,
    /// How many questions it has.
    pub questions: usize,
    /// How many of them have no answer.
    pub unanswerable: usize,
    /// How many windows were made of it.
    pub windows: usize,
}

/// Licences that hubs have a name for and that models and question sets come under.
const LICENCES: [&str; 19] = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc-by-2.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl-3.0",
    "mit",
    "openrail",
    "unlicense",
];

/// The README.md of the weights, with the front matter that model hubs read.
pub fn markdown(card: &Card) -> String {
    let mut page = front_matter(card);
    introduction(&mut page, card);
    page.push_str("\n## Training data\n\n");
    page.push_str(&data(&card.data));
    page.push_str("\n## Training\n\n");
    page.push_str(&code(&card.command));
    if !card.recipe.is_empty() {
        page.push('\n');
        page.push_str(&pairs(["setting", "value"], &card.recipe));
    }
    page.push_str("\n## Scores\n\n");
    page.push_str(&match card.scores.as_slice() {
        [] => "It was not evaluated.\n".into(),
        scores => pairs(["measure", "value"], scores),
    });
    page.push_str("\n## Licence\n\n");
    page.push_str(&licence(card.licence.as_deref()));
    page
}

/// YAML between two rules. Only texts that are known to be harmless go in.
fn front_matter(card: &Card) -> String {
    let mut yaml = String::from("---\nlibrary_name: transformers\npipeline_tag: question-answering\n");
    if let Some(repo) = base_on_hub(card) {
        let _ = writeln!(yaml, "base_model: {}", repo.id());
    }
    list(&mut yaml, "language", &card.languages);
    match &card.licence {
        Some(licence) => {
            let id = slug(licence);
            if LICENCES.contains(&id.as_str()) {
                let _ = writeln!(yaml, "license: {id}");
            } else {
                let _ = writeln!(yaml, "license: other\nlicense_name: \"{id}\"");
            }
        }
        None => yaml.push_str("license: unknown\n"),
    }
    list(&mut yaml, "datasets", &card.data_ids);
    yaml.push_str("tags:\n- question-answering\n- extractive-qa\n- spanqa\n---\n\n");
    yaml
}

fn list(yaml: &mut String, name: &str, values: &[String]) {
    let values: Vec<&String> = values.iter().filter(|value| is_hub_name(value)).collect();
    if !values.is_empty() {
        let _ = writeln!(yaml, "{name}:");
        for value in values {
            // YAML takes Norwegian for a truth value.
            let quote = if value.as_str() == "no" { "\"" } else { "" };
            let _ = writeln!(yaml, "- {quote}{value}{quote}");
        }
    }
}

/// Whether a text looks like a hub's name for something: `en`, `squad_v2`, `owner/name`.
pub fn is_hub_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    begins && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char))
}

/// The repository of the base, if it has one.
fn base_on_hub(card: &Card) -> Option<HubRepo> {
    match &card.base_repo {
        Some(repo) => on_hub(repo),
        None => on_hub(&card.base),
    }
}

fn introduction(page: &mut String, card: &Card) {
    let base = match base_on_hub(card) {
        Some(repo) => format!("[{}](https://huggingface.co/{})", plain(&card.base), repo.id()),
        None => plain(&card.base),
    };
    let _ = write!(
        page,
        "# {}\n\n\
         Quotes the span of a text that answers a question, or says that there is none. Fine-tuned from {base} by\n\
         `spanqa train`, version {}.\n\n\
         `spanqa ask --model FOLDER` takes the folder that this file is in, and transformers loads it as\n\
         `AutoModelForQuestionAnswering`.\n",
        plain(&card.name),
        plain(&card.version)
    );
}

fn data(files: &[DataFact]) -> String {
    let rows = files.iter().map(|fact| {
        [
            plain(&fact.file),
            fact.questions.to_string(),
            fact.unanswerable.to_string(),
            fact.windows.to_string(),
        ]
    });
    table(["file", "questions", "without an answer", "windows"], rows)
}

fn licence(licence: Option<&str>) -> String {
    match licence {
        Some(licence) => format!("{}\n", plain(licence)),
        None => {
            "Not stated. The licences of the base model and of the data may bind what is derived from them.\n"
                .into()
        }
    }
}

fn pairs(heads: [&str; 2], pairs: &[(String, String)]) -> String {
    table(heads, pairs.iter().map(|(name, value)| [plain(name), plain(value)]))
}

/// A table of cells that are Markdown already.
fn table<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// A block of code, fenced by more backticks than there are inside.
fn code(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}sh\n{text}\n{fence}\n")
}

/// Text on one line that Markdown shows as it is. A backslash takes the meaning off any punctuation.
fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.trim().chars() {
        match char {
            char if char.is_control() => safe.push(' '),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '#' | '$' => {
                safe.extend(['\\', char]);
            }
            // These begin lists, rules and headings, but only at the start.
            '-' | '+' | '=' if safe.is_empty() => safe.extend(['\\', char]),
            char => safe.push(char),
        }
    }
    safe
}

/// The repository that a model reference names, if it is written like one.
fn on_hub(base: &str) -> Option<HubRepo> {
    let (id, revision) = base.split_once('@').map_or((base, None), |(id, revision)| (id, Some(revision)));
    HubRepo::new(id, revision).ok()
}

/// `Apache 2.0` as `apache-2.0`: the way that hubs write the names of licences.
fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for char in text.trim().chars().map(|char| char.to_ascii_lowercase()) {
        if char.is_ascii_alphanumeric() || char == '.' {
            slug.push(char);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            name: "minilm-tuned".into(),
            base: "deepset/minilm-uncased-squad2@main".into(),
            base_repo: None,
            languages: vec!["en".into()],
            data_ids: vec!["rajpurkar/squad_v2".into()],
            command: "spanqa train --data train.json".into(),
            data: vec![DataFact {
                file: "train_v2.json".into(),
                questions: 100,
                unanswerable: 33,
                windows: 120,
            }],
            recipe: vec![("learning rate".into(), "3e-5".into())],
            scores: vec![("F1".into(), "79.55".into())],
            licence: Some("CC-BY-SA-4.0".into()),
            version: "0.1.0".into(),
        }
    }

    /// Cells of a row, by the rule that an escaped bar is no bar.
    fn cells(row: &str) -> usize {
        row.replace("\\\\", "").replace("\\|", "").matches('|').count() - 1
    }

    #[test]
    fn a_card_says_all_of_it() {
        let expected = "\
---
library_name: transformers
pipeline_tag: question-answering
base_model: deepset/minilm-uncased-squad2
language:
- en
license: cc-by-sa-4.0
datasets:
- rajpurkar/squad_v2
tags:
- question-answering
- extractive-qa
- spanqa
---

# minilm-tuned

Quotes the span of a text that answers a question, or says that there is none. Fine-tuned from \
[deepset/minilm-uncased-squad2@main](https://huggingface.co/deepset/minilm-uncased-squad2) by
`spanqa train`, version 0.1.0.

`spanqa ask --model FOLDER` takes the folder that this file is in, and transformers loads it as
`AutoModelForQuestionAnswering`.

## Training data

| file | questions | without an answer | windows |
| --- | --- | --- | --- |
| train\\_v2.json | 100 | 33 | 120 |

## Training

```sh
spanqa train --data train.json
```

| setting | value |
| --- | --- |
| learning rate | 3e-5 |

## Scores

| measure | value |
| --- | --- |
| F1 | 79.55 |

## Licence

CC-BY-SA-4.0
";
        assert_eq!(markdown(&card()), expected);
    }

    #[test]
    fn names_cannot_break_tables() {
        let mut card = card();
        card.data[0].file = "a|b\\|c\nd|`e|`".into();
        card.recipe = vec![("x|y".into(), "\\".into())];
        card.scores = vec![("<b>|".into(), "1 | 2".into())];
        let page = markdown(&card);
        assert!(page.contains("| a\\|b\\\\\\|c d\\|\\`e\\|\\` | 100 | 33 | 120 |\n"), "{page}");
        for (head, width) in [("| file |", 4), ("| setting |", 2), ("| measure |", 2)] {
            let rows: Vec<&str> = page[page.find(head).unwrap()..].lines().take(3).collect();
            assert!(rows.iter().all(|row| cells(row) == width), "{rows:?}");
        }
        assert!(!page.contains("<b>"));
    }

    #[test]
    fn a_command_cannot_leave_its_block() {
        let mut card = card();
        card.command = "echo ```` |".into();
        assert!(markdown(&card).contains("\n`````sh\necho ```` |\n`````\n"));
    }

    #[test]
    fn front_matter_names_only_what_hubs_know() {
        for base in ["builtin", "./models/minilm", "/models/minilm", "a/b/c", "a/b: c", "a/b\nlicense: mit"] {
            let page = markdown(&Card { base: base.into(), ..card() });
            assert!(!page.contains("base_model:"), "{base}");
        }
        let licensed = |licence: Option<&str>| markdown(&Card { licence: licence.map(Into::into), ..card() });
        assert!(licensed(Some("Apache 2.0")).contains("\nlicense: apache-2.0\n"));
        assert!(
            licensed(Some("My own: \"x\"\n")).contains("\nlicense: other\nlicense_name: \"my-own-x-\"\n")
        );
        let none = licensed(None);
        assert!(none.contains("\nlicense: unknown\n") && none.contains("Not stated."));
        let named = Card { base: "minilm".into(), base_repo: Some("deepset/x".into()), ..card() };
        assert!(markdown(&named).contains("\nbase_model: deepset/x\n"));
        assert!(markdown(&named).contains("Fine-tuned from [minilm](https://huggingface.co/deepset/x)"));
        let odd = ["en: x", "a\nb", "", "- a", "7"].map(Into::into).to_vec();
        let odd = markdown(&Card { languages: odd.clone(), data_ids: odd, ..card() });
        assert!(!odd.contains("language:") && !odd.contains("datasets:"), "{odd}");
        let norwegian = markdown(&Card { languages: vec!["no".into()], ..card() });
        assert!(norwegian.contains("\nlanguage:\n- \"no\"\nlicense:"), "{norwegian}");
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(plain("# a_b *c* &lt; ~~d~~"), "\\# a\\_b \\*c\\* \\&lt; \\~\\~d\\~\\~");
        assert_eq!(plain("- a - b"), "\\- a - b");
        assert_eq!(plain("one\r\ntwo"), "one  two");
    }

    #[test]
    fn an_empty_card_is_a_card() {
        let page = markdown(&Card::default());
        assert!(page.contains("It was not evaluated."));
    }
}
