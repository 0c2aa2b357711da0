//! What a Markdown page holds: examples, commands, flags, links, headings.

use std::path::{Path, PathBuf};

/// A command and what it prints.
pub struct Example {
    /// The line of the page, from 1.
    pub line: usize,
    pub command: String,
    pub output: Vec<String>,
    pub runs: bool,
}

/// One page.
#[derive(Default)]
pub struct Page {
    /// Its path below the root.
    pub path: PathBuf,
    pub examples: Vec<Example>,
    /// The reasons of the blocks that are not run.
    pub not_run: Vec<String>,
    /// Calls of spanqa that are not written as examples, though nothing says why.
    pub unmarked: Vec<usize>,
    /// The words after `spanqa` wherever the page shows a command, with the line.
    pub commands: Vec<(usize, Vec<String>)>,
    /// Flags that the text names.
    pub flags: Vec<(usize, String)>,
    /// Links to other files and headings.
    pub links: Vec<(usize, String)>,
    /// Headings, as links spell them.
    pub headings: Vec<String>,
}

impl Page {
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        Self { path: path.to_owned(), ..Self::parse(&text) }
    }

    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut block: Vec<(usize, &str)> = Vec::new();
        let mut reason: Option<String> = None;
        let (mut fenced, mut after_blank) = (false, true);
        for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            let fence = line.trim_start().starts_with("```");
            let indented = line.strip_prefix("    ").filter(|_| after_blank || !block.is_empty());
            if fence {
                // What came before is a block of its own, if there was one.
                if fenced || !block.is_empty() {
                    page.block(&std::mem::take(&mut block), reason.take());
                }
                fenced = !fenced;
            } else if fenced {
                block.push((at, line));
            } else if let Some(code) = indented {
                block.push((at, code));
            } else if line.trim().is_empty() && !block.is_empty() {
                block.push((at, ""));
            } else {
                if !block.is_empty() {
                    page.block(&std::mem::take(&mut block), reason.take());
                }
                if let Some(comment) = line.strip_prefix("<!-- not run: ") {
                    reason = Some(comment.trim_end_matches("-->").trim().to_owned());
                } else {
                    page.text(at, line);
                }
            }
            after_blank = line.trim().is_empty();
        }
        page.block(&block, reason);
        page
    }

    /// A block of code.
    fn block(&mut self, lines: &[(usize, &str)], reason: Option<String>) {
        let runs = reason.is_none();
        self.not_run.extend(reason);
        let mut examples: Vec<Example> = Vec::new();
        for &(line, text) in lines {
            if let Some(command) = text.strip_prefix("$ ") {
                examples.push(Example { line, command: command.to_owned(), output: Vec::new(), runs });
            } else if let Some(example) = examples.last_mut() {
                match example.command.strip_suffix('\\') {
                    Some(command) => example.command = command.to_owned() + text.trim_start(),
                    None => example.output.push(text.trim_end().to_owned()),
                }
            } else {
                if runs && text.starts_with("spanqa ") {
                    self.unmarked.push(line);
                }
                self.command(line, text);
            }
        }
        for mut example in examples {
            while example.output.last().is_some_and(String::is_empty) {
                example.output.pop();
            }
            self.command(example.line, &example.command);
            self.examples.push(example);
        }
    }

    /// Takes the calls of spanqa out of a line for the shell.
    fn command(&mut self, line: usize, text: &str) {
        let ends = ["|", "&&", ";", ">", ">/dev/null", "2>&1", "#"];
        let words = words(text);
        for part in words.split(|word| ends.contains(&word.as_str())) {
            let call = match part {
                [program, call @ ..] if program == "spanqa" => call,
                [program, rest @ ..]
                    if program == "cargo" && rest.first().is_some_and(|word| word == "run") =>
                {
                    rest.iter().position(|word| word == "--").map_or(&[][..], |at| &rest[at + 1..])
                }
                _ => &[],
            };
            if !call.is_empty() {
                self.commands.push((line, call.to_vec()));
            }
        }
    }

    /// A line of text.
    fn text(&mut self, at: usize, line: &str) {
        if line.starts_with('#') {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|char| char.is_alphanumeric() || *char == ' ' || *char == '-');
            self.headings.push(kept.collect::<String>().replace(' ', "-"));
        }
        for code in line.split('`').skip(1).step_by(2) {
            if let Some(call) = code.strip_prefix("spanqa ") {
                let call = words(call);
                // `spanqa eval` may be all that is said, and `spanqa man [COMMAND]` is no command line.
                if !call[0].starts_with('-') && call[0] != "models" {
                    self.commands.push((at, call));
                }
            } else if code.starts_with("--") {
                let flag = code.split([' ', '=']).next().unwrap_or(code);
                self.flags.push((at, flag.to_owned()));
            }
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((link, after)) = after.split_once(')') else { break };
            if !link.starts_with("http") {
                self.links.push((at, link.to_owned()));
            }
            rest = after;
        }
    }
}

/// Words as a shell sees them: quotation marks keep them together.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in text.chars() {
        match quote {
            Some(open) if char == open => quote = None,
            Some(_) => word.get_or_insert_default().push(char),
            None if char == '"' || char == '\'' => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            None if char == ';' => {
                words.extend(word.take());
                words.push(";".into());
            }
            None if char.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

#[test]
fn a_page_is_taken_apart() {
    let page = Page::parse(
        "# A \"new\" Page\n\nSee `spanqa ask --why`, `--quiet` and [that](b.md#c).\n\n    $ spanqa ask \"a b\" \\\n        c.txt | cat\n    \
         one\n\n      two\n    $ echo x\n\n<!-- not run: takes a day -->\n\n    $ spanqa train --out o\n\n```\nspanqa doctor  # no\n```\n",
    );
    let [first, second, third] = &page.examples[..] else { panic!("{}", page.examples.len()) };
    assert_eq!((first.line, &*first.command), (5, "spanqa ask \"a b\" c.txt | cat"));
    assert_eq!(first.output, ["one", "", "  two"]);
    assert_eq!((&*second.command, second.output.len(), second.runs), ("echo x", 0, true));
    assert_eq!((&*third.command, third.runs), ("spanqa train --out o", false));
    assert_eq!(page.not_run, ["takes a day"]);
    assert_eq!(page.unmarked, [17]);
    let commands: Vec<String> = page.commands.iter().map(|(_, words)| words.join("_")).collect();
    assert_eq!(commands, ["ask_--why", "ask_a b_c.txt", "train_--out_o", "doctor"]);
    assert_eq!(page.flags, [(3, "--quiet".to_owned())]);
    assert_eq!(page.links, [(3, "b.md#c".to_owned())]);
    assert_eq!(page.headings, ["a-new-page"]);
}
