//! `spanqa chat`: from a pipe on every system, at a prompt where there are pseudo-terminals.

use std::path::Path;

use crate::support::{Run, fixture, run, run_with_input};

const FIXED: [&str; 5] = ["--window", "60", "--overlap", "16", "--always-answer"];

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A chat of a tiny random model, which never abstains.
fn tiny(arguments: &[&str]) -> Vec<String> {
    let model = fixture("tiny/minilm");
    let words = [&["chat"], arguments, &["--model", model.to_str().unwrap()], &FIXED].concat();
    words.into_iter().map(str::to_owned).collect()
}

fn piped(arguments: &[&str], input: &[u8]) -> Run {
    let words = tiny(arguments);
    run_with_input(&words.iter().map(String::as_str).collect::<Vec<_>>(), input)
}

#[test]
fn each_line_of_a_pipe_is_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.txt", "the cat sat on the mat");
    let chat = piped(&[&file, "--format", "json"], b"who is the cat\r\n\n  what is the mat\nquit\nexit");
    assert_eq!(chat.code, Some(0), "{chat:?}");
    let asked: Vec<(String, String)> = (chat.records().iter())
        .map(|record| ["id", "question"].map(|field| record[field].as_str().unwrap().to_owned()).into())
        .collect();
    // What ends a chat at a prompt is a question here like any other.
    let questions = ["who is the cat", "what is the mat", "quit", "exit"];
    let expected = (1..).zip(questions).map(|(number, text)| (number.to_string(), text.to_owned()));
    assert_eq!(asked, expected.collect::<Vec<_>>());
    assert!(!chat.stderr.contains("Ctrl-C") && !chat.stdout.contains('>'), "{chat:?}");

    // The same answers as from a command for each.
    let model = fixture("tiny/minilm");
    let ask = ["ask", "who is the cat", &file, "--model", model.to_str().unwrap()];
    let asked = run(&[&ask[..], &FIXED].concat());
    assert_eq!(chat.stdout.lines().next(), asked.stdout.lines().next());

    let text = piped(&[&file], b"who is the cat\n").stdout;
    assert!(text.starts_with("who is the cat\n  ") && text.contains('⟦'), "{text}");
    let grep = piped(&["-f", "grep", &file], b"who is the cat\nwhat").stdout;
    assert!(grep.lines().all(|line| line.starts_with(&file)), "{grep}");
    assert!(grep.contains("\twho is the cat\n") && grep.ends_with("\twhat\n"), "{grep}");
}

#[test]
fn a_chat_from_a_pipe_ends_as_ask_does() {
    let text = "The tower was built in 1889.";
    let chat = |input: &[u8]| run_with_input(&["chat", "-c", text], input);
    assert_eq!(chat(b"When was the tower built?\n").code, Some(0));
    let chat = chat(b"Who invented the telephone?\nWhen was the tower built?\n");
    assert_eq!(chat.code, Some(1), "{chat:?}");
    assert!(chat.stdout.contains("no answer") && chat.stdout.contains("⟦1889⟧"), "{chat:?}");
    let chat = piped(&["-c", "the cat", "--window", "6"], b"the cat\n");
    assert_eq!(chat.code, Some(2), "{chat:?}");
}

#[test]
fn documents_do_not_come_from_standard_input() {
    run(&["chat"]).fails_with("have to be files");
    run(&["chat", "a.txt", "-"]).fails_with("have to be files");
    let damaged = piped(&["-c", "the cat"], b"caf\xe9\n");
    assert_eq!(damaged.code, Some(2), "{damaged:?}");
    assert!(damaged.stderr.contains("not valid UTF-8") && damaged.stderr.contains("hint: "), "{damaged:?}");
}

#[cfg(unix)]
mod at_a_prompt {
    use super::*;
    use crate::pty::{Pty, plain};
    use crate::support::spanqa;

    fn chat(state: &Path, arguments: &[&str]) -> Pty {
        let words = tiny(arguments);
        let mut command = spanqa(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("XDG_STATE_HOME", state);
        Pty::spawn(command, 80)
    }

    #[test]
    fn questions_are_edited_answered_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("spanqa/history");
        let mut first = chat(folder.path(), &["-c", "the cat sat on the mat"]);
        assert!(first.expect("> ").contains("1 document, "));
        // A letter too many, taken back.
        first.send("who is the catt\x7f\r");
        // The question stands on the screen already: the reply starts with the sentence.
        let shown = plain(&first.expect("score"));
        let reply: Vec<&str> = shown.lines().skip(1).collect();
        assert!(reply[0].starts_with("  ") && reply[1].starts_with("    (text):1:"), "{shown}");
        first.expect("> ");
        // Ctrl-C at the prompt throws the line away, Ctrl-D leaves.
        first.send("what\x03");
        first.expect("> ");
        first.send("\x04");
        assert_eq!(first.end().0, Some(0));
        let remembered = std::fs::read_to_string(&history).unwrap();
        assert_eq!(remembered.lines().skip(1).collect::<Vec<_>>(), ["who is the cat"]);

        let mut second = chat(folder.path(), &["-c", "the cat sat on the mat"]);
        second.expect("> ");
        second.send("\x1b[A\r");
        assert!(plain(&second.expect("score")).contains("who is the cat"));
        second.expect("> ");
        second.send("exit\r");
        assert_eq!(second.end().0, Some(0));

        let before = std::fs::read_to_string(&history).unwrap();
        let mut third = chat(folder.path(), &["-c", "the cat", "--no-history"]);
        third.expect("> ");
        third.send("the\r");
        third.expect("score");
        third.expect("> ");
        third.send("\x04");
        third.end();
        assert_eq!(std::fs::read_to_string(&history).unwrap(), before);
    }

    #[test]
    fn the_history_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mut chat = chat(folder.path(), &["-c", "the cat"]);
        chat.expect("> ");
        chat.send("the\r");
        chat.expect("score");
        let history = folder.path().join("spanqa/history");
        assert_eq!(std::fs::metadata(history).unwrap().permissions().mode() & 0o077, 0);
        chat.expect("> ");
        chat.send("\x04");
        chat.end();
    }

    #[test]
    fn an_interrupt_takes_the_question_back() {
        let folder = tempfile::tempdir().unwrap();
        let long = write(folder.path(), "long.txt", &"the cat sat on the mat\n".repeat(60_000));
        let mut chat = chat(folder.path(), &[&long, "--read", "all"]);
        chat.expect("> ");
        chat.send("who\r");
        chat.interrupt_until("taken back");
        chat.expect("> ");
        chat.send("\x04");
        let (code, rest) = chat.end();
        assert_eq!(code, Some(0), "{rest}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = write(folder.path(), "state", "a file in its place");
        let mut chat = chat(Path::new(&state), &["-c", "the cat"]);
        chat.expect("> ");
        chat.send("the\r");
        chat.expect("questions will be forgotten");
        chat.expect("> ");
        chat.send("the\r");
        chat.expect("score");
        chat.expect("> ");
        chat.send("\x04");
        let (code, rest) = chat.end();
        assert_eq!((code, rest.contains("forgotten")), (Some(0), false), "{rest}");
    }
}
