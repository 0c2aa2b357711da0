//! How replies look: formats, colours, sentences, labels.

use serde_json::Value;

use crate::support::{Run, fixture, run, spanqa};

/// Hard-wrapped, with a heading and a second paragraph.
const TOWER: &str = "# The tower\n\nIt rains a lot in Paris. The Eiffel Tower was built\nin 1889 by the company \
                     of Gustave Eiffel, who had\nbuilt many bridges. It rusts.\n\nIt is painted every seven years.\n";

const BUILT: &str = "When was the Eiffel Tower built?";
const LOST: &str = "What does a ticket cost?";

fn file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tower.md");
    std::fs::write(&path, TOWER).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn ask(arguments: &[&str]) -> Run {
    run(&[&["ask"], arguments].concat())
}

/// The same with variables of the environment.
fn ask_with(variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = spanqa(&[&["ask"], arguments].concat());
    Run::from(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn text_is_the_sentence_however_its_lines_are_broken() {
    let (_folder, file) = file();
    let text = ask(&[BUILT, &file, "-t"]);
    let sentence = "  The Eiffel Tower was built in ⟦1889⟧ by the company of Gustave Eiffel, who had built many bridges.\n";
    assert!(
        text.stdout.starts_with(&format!("{BUILT}\n{sentence}    {file}:4:4  confidence ")),
        "{}",
        text.stdout
    );
    assert_eq!(text.stdout.lines().count(), 3);
    assert_eq!(ask(&[BUILT, &file, "--format", "text"]).stdout, text.stdout);
    assert_eq!(ask(&[BUILT, &file, "--format", "json", "-t"]).stdout, text.stdout, "the last one counts");
    assert!(ask(&[BUILT, &file, "-t", "--format", "json"]).stdout.starts_with('{'));

    let wider = ask(&[BUILT, &file, "-t", "-C", "2"]).stdout;
    let lines: Vec<&str> = wider.lines().map(str::trim).collect();
    assert_eq!(lines[1..3], ["# The tower", "It rains a lot in Paris."], "{wider}");
    assert_eq!(lines[4..6], ["It rusts.", "It is painted every seven years."], "{wider}");
    assert_eq!(lines.len(), 7);
}

#[test]
fn grep_shows_sentences_as_grep_shows_lines() {
    let (_folder, file) = file();
    let grep = ask(&[BUILT, &file, "-f", "grep", "-C", "1"]).stdout;
    let sentence =
        "The Eiffel Tower was built in 1889 by the company of Gustave Eiffel, who had built many bridges.";
    let expected = format!(
        "{file}:4:4: 1889\n{file}-3-It rains a lot in Paris.\n{file}-3-{sentence}\n{file}-5-It rusts.\n--\n"
    );
    assert_eq!(grep, expected);
    let none = ask(&[BUILT, &file, "-f", "grep", "-C", "0"]).stdout;
    assert_eq!(none, format!("{file}:4:4: 1889\n{file}-3-{sentence}\n--\n"));
    assert_eq!(ask(&[BUILT, &file, "-f", "grep"]).stdout, format!("{file}:4:4: 1889\n"));
}

#[test]
fn flags_that_say_nothing_to_a_format_are_refused() {
    let refused = |arguments: &[&str], what: &str, hint: &str| {
        let run = ask(&[&[BUILT, "-c", TOWER], arguments].concat());
        run.fails_with(what);
        assert!(run.stderr.contains(hint), "{}", run.stderr);
    };
    refused(&["-C", "1"], "-C belongs to --format text and --format grep, not to --format json", "`-t`");
    refused(&["-C", "1", "-f", "hf"], "not to --format hf", "`-t`");
    refused(&["--why", "-f", "grep"], "--why belongs to --format json and --format text", "--format json");
    refused(&["--why", "-f", "hf"], "not to --format hf", "--format json");
}

/// White space of the document does not show: neither in the quotation nor in the line above it.
#[test]
fn what_is_quoted_flows() {
    let text = "The Eiffel Tower was built by the company of Gustave\n      Eiffel in 1889.";
    let asked = ask(&["What is the company?", "-c", text, "-t", "--why", "--null-threshold", "-50"]).stdout;
    assert!(
        asked.contains("Gustave Eiffel") && !asked.contains("Gustave\\n") && !asked.contains("  Eiffel in"),
        "{asked}"
    );
}

#[test]
fn a_variable_sets_the_format_for_good() {
    let with = |format: &str, arguments: &[&str]| {
        ask_with(&[("SPANQA_FORMAT", format)], &[&[BUILT, "-c", TOWER], arguments].concat())
    };
    assert_eq!(with("grep", &[]).stdout, "(text):4:4: 1889\n");
    assert!(with("grep", &["-t"]).stdout.starts_with(BUILT));
    assert!(with("grep", &["--format", "json"]).stdout.starts_with('{'));
    let wrong = with("xml", &[]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("xml") && wrong.stderr.contains("grep"), "{wrong:?}");
    let doctor = Run::from(spanqa(&["doctor"]).env("SPANQA_FORMAT", "grep").output().unwrap());
    assert!(doctor.stdout.contains("SPANQA_FORMAT: grep"), "{doctor:?}");
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let (_folder, file) = file();
    let red = "\x1b[1;31m1889\x1b[0m";
    let grep = ask(&[BUILT, &file, "-f", "grep", "--color", "always", "-C", "0"]).stdout;
    // The place can be read on any background: dim text cannot.
    let text = ask(&[BUILT, &file, "-t", "--color", "always"]).stdout;
    assert!(text.starts_with(&format!("{BUILT}\n")), "{text:?}");
    assert!(text.contains(&format!("    \x1b[35m{file}:4:4\x1b[0m  \x1b[2mconfidence ")), "{text:?}");
    assert!(!ask(&[BUILT, &file, "-t", "--why", "--color", "always"]).stdout.contains("\x1b[2mwindow"));
    assert!(grep.starts_with(&format!("\x1b[35m{file}\x1b[0m:4:4: {red}\n")), "{grep:?}");
    assert_eq!(grep.matches(red).count(), 2, "{grep:?}");
    let json = ask(&[BUILT, &file, "--color", "always"]).stdout;
    assert!(json.starts_with("{\x1b[1m\"id\"\x1b[0m:\"1\",") && json.lines().count() == 1, "{json:?}");
    let plain = ask(&[BUILT, &file]).stdout;
    assert_eq!(json.replace("\x1b[1m", "").replace("\x1b[35m", "").replace("\x1b[0m", ""), plain);

    let text = |variables: &[(&str, &str)], more: &[&str]| {
        ask_with(variables, &[&[BUILT, &file], more].concat()).stdout.contains('\x1b')
    };
    let force = ("CLICOLOR_FORCE", "1");
    assert!(text(&[force], &["-t"]) && text(&[force], &["-f", "grep"]));
    assert!(!text(&[], &["-t"]) && !text(&[force, ("NO_COLOR", "1")], &["-t"]));
    assert!(!text(&[force], &["-t", "--color", "never"]));
    assert!(text(&[("NO_COLOR", "1")], &["-t", "--color", "always"]));
    // Programs read these bytes: a variable that was set for people does not change them.
    assert!(!text(&[force], &[]) && !text(&[force], &["-f", "hf"]));
}

#[test]
fn every_format_says_which_question_and_which_has_no_answer() {
    let two = ["-q", BUILT, "-q", LOST, "-c", TOWER];
    let with = |format: &[&str]| ask(&[&two[..], format].concat());
    let unanswered = format!("note: no answer to \"{LOST}\"");
    let grep = with(&["-f", "grep"]);
    assert_eq!((grep.code, grep.stdout.as_str()), (Some(1), &*format!("(text):4:4: 1889\t{BUILT}\n")));
    assert!(grep.stderr.contains(&unanswered) && !grep.stderr.contains(BUILT), "{grep:?}");
    assert!(!with(&["-f", "grep", "--quiet"]).stderr.contains("no answer"));
    let hf = with(&["-f", "hf"]);
    let questions: Vec<Value> = hf.records().iter().map(|row| row["question"].clone()).collect();
    assert_eq!(questions, [BUILT, LOST]);
    assert!(hf.stderr.contains(&unanswered), "{hf:?}");
    let text = with(&["-t"]);
    assert!(text.stdout.contains(&format!("{LOST}\n  no answer (confidence ")), "{text:?}");
    assert!(!text.stderr.contains("no answer"), "{text:?}");
    // With one question there is nothing to tell apart, and "no answer" is a row that competes if it is asked to.
    assert_eq!(ask(&[BUILT, "-c", TOWER, "-f", "hf"]).records()[0].as_object().unwrap().len(), 4);
    let competing = ["--score", "hf", "-f", "hf", "--handle-impossible-answer"];
    assert!(!ask(&[&[LOST, "-c", TOWER], &competing[..]].concat()).stderr.contains("no answer"));
    // It takes the place of none where there are fewer spans than were asked for.
    let few = ask(&[&[BUILT, "-c", "In 1889.", "-k", "60"], &competing[..]].concat()).stdout;
    let few: Vec<Value> = serde_json::from_str(&few).unwrap();
    assert!(few.len() < 60 && few.iter().any(|row| row["answer"] == ""), "{few:?}");
    let spans = ask(&[&[BUILT, "-c", "In 1889.", "-k", "60"], &competing[..4]].concat()).stdout;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&spans).unwrap().len() + 1, few.len());
}

#[test]
fn a_text_from_the_command_line_has_a_name_that_says_so() {
    let places = |contexts: &[&str]| {
        let model = fixture("tiny/minilm");
        let fixed = ["--model", model.to_str().unwrap(), "--always-answer", "--window", "60", "-k", "20"];
        let grep = ask(&[&["the", "-f", "grep"], contexts, &fixed].concat()).stdout;
        grep.lines()
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(places(&["-c", "the cat"]).into_iter().collect::<Vec<_>>(), ["(text)"]);
    let two = places(&["-c", "the cat", "-c", "the mat"]);
    assert_eq!(two.into_iter().collect::<Vec<_>>(), ["(text 1)", "(text 2)"]);
}

#[test]
fn people_do_not_get_the_same_words_twice() {
    let model = fixture("tiny/minilm");
    let ask = |format: &str| {
        let fixed = ["--model", model.to_str().unwrap(), "--always-answer", "--window", "60", "-k", "4"];
        ask(&[&["what is the mat", "-c", "the cat sat on the mat and is here", "-f", format], &fixed[..]]
            .concat())
    };
    let spans: Vec<(usize, usize)> = (ask("grep").stdout.lines())
        .map(|line| line.strip_prefix("(text):1:").unwrap().split_once(": ").unwrap())
        .map(|(column, text)| (column.parse().unwrap(), column.parse::<usize>().unwrap() + text.len()))
        .collect();
    assert!(spans.len() > 1);
    for (at, one) in spans.iter().enumerate() {
        assert!(spans[..at].iter().all(|other| one.1 <= other.0 || other.1 <= one.0), "{spans:?}");
    }
    let answers = &ask("json").records()[0]["answers"];
    let starts: Vec<u64> =
        answers.as_array().unwrap().iter().map(|row| row["start"].as_u64().unwrap()).collect();
    assert_eq!(starts.len(), 4, "programs get what they asked for");
}

#[cfg(unix)]
mod at_a_terminal {
    use super::*;
    use crate::pty::{Pty, plain};

    fn shown(arguments: &[&str], variables: &[(&str, &str)], columns: u16) -> String {
        let mut command = spanqa(arguments);
        command.envs(variables.iter().copied());
        Pty::spawn(command, columns).end().1
    }

    #[test]
    fn json_is_indented_and_coloured() {
        let coloured = shown(&["ask", BUILT, "-c", TOWER, "--quiet"], &[], 80);
        assert!(
            coloured
                .starts_with("{\r\n  \x1b[1m\"id\"\x1b[0m: \"1\",\r\n  \x1b[1m\"question\"\x1b[0m: \x1b[35m"),
            "{coloured:?}"
        );
        let bare = shown(&["ask", BUILT, "-c", TOWER, "--quiet"], &[("NO_COLOR", "1")], 80);
        assert!(!bare.contains('\x1b'), "{bare:?}");
        assert_eq!(plain(&coloured), plain(&bare));
        let value: Value = serde_json::from_str(&bare).unwrap();
        assert_eq!(value, ask(&[BUILT, "-c", TOWER]).records()[0]);
        for off in [("CLICOLOR", "0"), ("TERM", "dumb")] {
            let shown = shown(&["ask", BUILT, "-c", TOWER, "--quiet", "-t"], &[off], 80);
            assert!(shown.contains("⟦1889⟧") && !shown.contains('\x1b'), "{off:?}: {shown:?}");
        }
    }

    #[test]
    fn text_is_wrapped_between_words() {
        let narrow = plain(&shown(&["ask", BUILT, "-c", TOWER, "--quiet", "-t"], &[], 40));
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(
            lines[..3],
            [BUILT, "  The Eiffel Tower was built in 1889 by", "  the company of Gustave Eiffel, who had"]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{narrow}");
    }

    #[test]
    fn the_list_of_models_keeps_to_the_width() {
        for (columns, there, gone) in
            [(80, "SQuAD 2.0…", "FAMILY"), (40, "ON DISK", "DATA"), (200, "FAMILY", "…")]
        {
            let list = plain(&shown(&["models", "list"], &[], columns));
            let widest = list.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.into(), "{widest} of {columns}:\n{list}");
            assert!(list.contains(there) && !list.contains(gone), "{columns}:\n{list}");
        }
    }
}
