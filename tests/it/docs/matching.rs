//! Whether a program printed what a page shows.

/// Compares line by line. JSON that the page shows indented, as on a terminal, may have been printed in one line.
pub fn matches(expected: &[String], printed: &str) -> Result<(), String> {
    let shown = expected.join("\n");
    let good = match expected.first().map(String::as_str) {
        Some("{" | "[") => line_matches(&compact(&shown), &compact(printed)),
        _ => {
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
            lines_match(&expected, &printed)
        }
    };
    if good { Ok(()) } else { Err(format!("the page shows\n{shown}\nand it printed\n{printed}")) }
}

/// A line of `...` stands for any number of lines.
fn lines_match(expected: &[&str], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], []) => true,
        ([first, rest @ ..], _) if first.trim() == "..." => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        ([first, rest @ ..], [line, others @ ..]) => line_matches(first, line) && lines_match(rest, others),
        _ => false,
    }
}

/// `...` in a line stands for any text.
fn line_matches(expected: &str, printed: &str) -> bool {
    let printed: Vec<char> = printed.chars().collect();
    let pieces: Vec<Vec<char>> = expected.split("...").map(|piece| piece.chars().collect()).collect();
    pieces_match(&pieces, &printed)
}

fn pieces_match(pieces: &[Vec<char>], printed: &[char]) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return printed.is_empty() };
    let Some(taken) = piece_matches(first, printed) else { return false };
    let after = &printed[taken..];
    match rest {
        [] => after.is_empty(),
        _ => (0..=after.len()).any(|skipped| pieces_match(rest, &after[skipped..])),
    }
}

/// How much of what was printed a piece without `...` takes.
fn piece_matches(piece: &[char], printed: &[char]) -> Option<usize> {
    let (mut at, mut taken) = (0, 0);
    while at < piece.len() {
        let (rest, others) = (&piece[at..], &printed[taken..]);
        let inside = at > 0 && (piece[at - 1].is_alphanumeric() || piece[at - 1] == '.');
        if let (false, Some(wanted), Some(found)) = (inside, decimal(rest), decimal(others)) {
            let logit = piece[..at].iter().collect::<String>().ends_with("logit\":");
            if !near(&wanted, &found, logit) {
                return None;
            }
            (at, taken) = (at + wanted.len(), taken + found.len());
            continue;
        }
        // Numbers that lost or gained a digit move what stands before them in a table.
        let [spaces, others_spaces] =
            [rest, others].map(|text| text.iter().take_while(|char| **char == ' ').count());
        if spaces != others_spaces && spaces > 0 && others_spaces > 0 && decimal(&rest[spaces..]).is_some() {
            (at, taken) = (at + spaces, taken + others_spaces);
            continue;
        }
        if others.first() != Some(&rest[0]) {
            return None;
        }
        (at, taken) = (at + 1, taken + 1);
    }
    Some(taken)
}

/// The number with a point that a text starts with.
fn decimal(text: &[char]) -> Option<String> {
    let sign = text.first().is_some_and(|char| matches!(char, '-' | '+'));
    let number =
        text.iter().skip(usize::from(sign)).take_while(|char| char.is_ascii_digit() || **char == '.');
    let number: String = number.collect();
    let whole = number.split_once('.').is_some_and(|(before, after)| {
        !before.is_empty() && !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit())
    });
    whole.then(|| text[..usize::from(sign) + number.len()].iter().collect())
}

/// Vector units differ by some hundredths of a probability and some tenths of a logit. What has three or more digits after
/// the point and is at most 1 is taken for a probability, unless its name says that it is a logit.
fn near(wanted: &str, found: &str, logit: bool) -> bool {
    let digits = wanted.rsplit('.').next().map_or(0, str::len);
    let [wanted, found] = [wanted, found].map(|number| number.parse::<f64>().unwrap());
    let limit = if !logit && digits >= 3 && (0.0..=1.0).contains(&wanted) { 0.05 } else { 0.3 };
    (wanted - found).abs() <= limit
}

/// JSON without the white space between its parts.
fn compact(json: &str) -> String {
    let mut kept = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for char in json.chars() {
        if quoted || !char.is_whitespace() {
            kept.push(char);
        }
        quoted ^= char == '"' && !escaped;
        escaped = quoted && char == '\\' && !escaped;
    }
    kept
}

#[test]
fn differences_are_seen() {
    let same = |expected: &str, printed: &str| {
        let lines: Vec<String> = expected.lines().map(str::to_owned).collect();
        matches(&lines, printed).is_ok()
    };
    assert!(same("score 0.830  margin +4.93", "score 0.836  margin +4.85\n"));
    assert!(same("a -9.90 b", "a -10.10 b"));
    assert!(same("  9.90 b", " 10.10 b"));
    assert!(same("x\n...\nz", "x\n1\n2\nz\n"));
    assert!(same("{\"a\":1,...", "{\"a\":1,\"b\":2}"));
    assert!(same("{\n  \"a\": \"b c\"\n}", "{\"a\":\"b c\"}\n"));
    assert!(same("\"null_logit\":0.904,", "\"null_logit\":0.825,"));
    assert!(!same("\"null_logit\":0.904,", "\"null_logit\":0.425,"));
    assert!(!same("score 0.830", "score 0.890"));
    assert!(!same("margin +4.93", "margin +5.30"));
    assert!(!same("file:3:63: x", "file:3:64: x"));
    assert!(!same("  Who", " Who"));
    assert!(!same("x\n...\nz", "x\n1\n2\n"));
    assert!(!same("x", "x\ny\n"));
    assert!(!same("{\n  \"a\": \"b c\"\n}", "{\"a\":\"bc\"}\n"));
    assert!(!same("v 0.1.0", "v 0.1.1"));
}
