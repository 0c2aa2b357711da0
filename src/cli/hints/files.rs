//! What to type when a file has no text, or no requests, in a form that is read: whole commands, with the file's name in them.

use spanqa::document::Error;
use spanqa::document::kind::Kind;
use spanqa::parquet;

use super::fs;

/// What to do about a document.
pub fn document(error: &Error) -> Option<String> {
    let hint = match error {
        Error::Fs(error) => return fs(error),
        Error::Damaged { compression, .. } => {
            format!("fetch the file again; `{compression} -t` checks one")
        }
        Error::TooLarge { .. } => {
            "split it, or raise the limit with `--max-bytes`; a CPU reads some 10 kB of text a second"
                .to_owned()
        }
        Error::NotText { path, encoding: "UTF-8", declared, .. } => {
            let from = declared.as_deref().unwrap_or("LATIN1");
            format!("convert it: iconv -f {} -t UTF-8 {} | spanqa ask \"...\"", quoted(from), file(path))
        }
        Error::NotText { .. } => {
            "the file is damaged, or is no text: `file FILE` guesses what it is".to_owned()
        }
        Error::Binary { .. } => format!("{CONVERT}, or name a command that does it: `--pre COMMAND`"),
        Error::OtherKind { path, kind } => return Some(to_text(&file(path), *kind)),
        Error::NoProgram { path, program, .. } => missing(program, &file(path)),
        Error::NoCommand { path, command } => no_command(command, &file(path)),
        Error::ProgramFailed { path, program, .. } if program == "man" => {
            format!(
                "give the page that a reader sees: man -P cat PAGE | spanqa ask \"...\", or `--read-as text` for {} as it stands",
                file(path)
            )
        }
        Error::ProgramFailed { path, program, .. } => {
            format!("`{program} {}` shows what it has to say", file(path))
        }
        _ => return None,
    };
    Some(hint)
}

/// The way out for everything that is not text.
const CONVERT: &str = "spanqa reads text; convert other formats first";

/// How to make text of a kind of file.
fn to_text(file: &str, kind: Kind) -> String {
    let through = |command: String| format!("{command} | spanqa ask \"...\"");
    match kind {
        Kind::Pdf => through(format!("pdftotext {file} -")),
        Kind::Office(office) => through(format!("pandoc -f {} -t plain {file}", office.name())),
        Kind::OldOffice => {
            format!("make a text file of it: libreoffice --headless --convert-to txt:Text {file}")
        }
        Kind::Slides => format!("make a PDF file of it: libreoffice --headless --convert-to pdf {file}"),
        Kind::Spreadsheet => format!("make a table of it: libreoffice --headless --convert-to csv {file}"),
        Kind::Zip => through(format!("unzip -p {file}")),
        Kind::Tar => through(format!("tar -xOf {file}")),
        Kind::Xz => through(format!("xz -dc {file}")),
        Kind::SevenZip => through(format!("7z x -so {file}")),
        Kind::Parquet | Kind::Arrow => format!("make JSON lines of it: {}", by_pandas(file, kind)),
        Kind::Sqlite => through(format!("sqlite3 {file} .dump")),
        Kind::Image => through(format!("tesseract {file} -")),
        Kind::Utf16(order) => through(format!("iconv -f {} -t UTF-8 {file}", order.name())),
        Kind::Avro | Kind::Hdf5 | Kind::Executable => CONVERT.to_owned(),
    }
}

/// How to make requests of a file that has none.
pub fn to_requests(input: &str, kind: Kind) -> Option<String> {
    let file = file(input);
    let through = |command: String| format!("{command} | spanqa batch");
    Some(match kind {
        Kind::Parquet | Kind::Arrow => by_pandas(&file, kind),
        Kind::Spreadsheet => {
            format!("make a table of it: libreoffice --headless --convert-to csv {file}")
        }
        Kind::Sqlite => {
            format!("sqlite3 -json {file} \"SELECT question, context FROM ...\" | jq -c '.[]' | spanqa batch")
        }
        Kind::Zip => through(format!("unzip -p {file}")),
        Kind::Tar => through(format!("tar -xOf {file}")),
        Kind::Xz => through(format!("xz -dc {file}")),
        Kind::SevenZip => through(format!("7z x -so {file}")),
        Kind::Utf16(order) => through(format!("iconv -f {} -t UTF-8 {file}", order.name())),
        Kind::Pdf | Kind::Office(_) => format!("this is a document: spanqa ask \"...\" {file}"),
        _ => "a request looks like {\"question\": \"...\", \"context\": \"...\"}, one a line".to_owned(),
    })
}

/// What to do about a table by columns that cannot be read, or not to its end.
pub fn parquet(path: &str, error: &parquet::Error) -> String {
    let file = file(path);
    match error {
        parquet::Error::NoFile => {
            "save it as a file, without compression around it, and name that".to_owned()
        }
        parquet::Error::NoColumn { .. } => {
            "rows of a data set have the columns `id`, `question`, `context` and `answers`".to_owned()
        }
        parquet::Error::Unsupported { .. } => format!(
            "write it anew: python3 -c \"import sys, pandas; pandas.read_parquet(sys.argv[1]).to_parquet(sys.argv[2])\" {file} NEW.parquet"
        ),
        _ => "fetch or write the file again".to_owned(),
    }
}

/// A line of Python that writes JSON lines.
fn by_pandas(file: &str, kind: Kind) -> String {
    let read = if kind == Kind::Parquet { "read_parquet" } else { "read_feather" };
    format!(
        "python3 -c \"import sys, pandas; pandas.{read}(sys.argv[1]).to_json(sys.stdout, orient='records', lines=True)\" {file} | spanqa batch"
    )
}

/// Where to get a program, and what to do without it.
fn missing(program: &str, file: &str) -> String {
    match program {
        "pdftotext" => format!(
            "install it (Debian, Ubuntu: apt install poppler-utils; macOS: brew install poppler), or make the text elsewhere: \
             pdftotext {file} - | spanqa ask \"...\""
        ),
        "pandoc" => format!(
            "install it (Debian, Ubuntu: apt install pandoc; macOS: brew install pandoc), or make the text elsewhere: \
             pandoc -t plain {file} | spanqa ask \"...\""
        ),
        _ => format!("make the text where it is: {program} -P cat -l {file} | spanqa ask \"...\""),
    }
}

/// What `--pre` takes, where what it was given is not there.
fn no_command(command: &str, file: &str) -> String {
    if !command.trim().contains(char::is_whitespace) {
        return format!(
            "`--pre` takes a program in PATH, or its path, such as ./{}; it is called with the file: {} {file}",
            command.trim_start_matches("./"),
            quoted(command)
        );
    }
    // `$1` is the file that the script gets.
    format!(
        "`--pre` takes one program without arguments; make a script of the command: \
         printf '#!/bin/sh\\nexec %s \"$1\"\\n' {} > pre.sh && chmod +x pre.sh, then `--pre ./pre.sh`",
        quoted(command)
    )
}

/// A path as a shell takes it; standard input has none.
fn file(path: &str) -> String {
    if path == "-" { "FILE".to_owned() } else { quoted(path) }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "/._-+=:,@%".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(quoted("a/b-1.pdf"), "a/b-1.pdf");
        assert_eq!(quoted("my paper.pdf"), "'my paper.pdf'");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
    }

    #[test]
    fn a_table_by_columns_becomes_lines() {
        let hint = to_requests("q.parquet", Kind::Parquet).unwrap();
        assert!(hint.contains("read_parquet") && hint.ends_with("q.parquet | spanqa batch"), "{hint}");
    }
}
