//! HTML as the text that a browser shows: elements that stand on their own make lines, rows of tables have tabs between cells,
//! character references are characters, and scripts are not there. Every piece of it knows which bytes of the page it is from.
//!
//! ```text
//! events    the page -> text and tags
//! elements  what each element does to the text
//! page      the text as it grows
//! runs      a place in the text -> the place in the page
//! ```

mod elements;
mod events;
mod page;
mod runs;

use elements::Role;
use events::{Event, events};
use page::Page;

pub use runs::Runs;

use super::{Origin, Text, View};

/// A page as a document. Soft hyphens, which a browser shows only where a line breaks, are not for the model.
pub fn document(html: &str) -> Text {
    let (text, runs) = text(html);
    let seen = View::without(&text, text.match_indices('\u{ad}').map(|(at, soft)| at..at + soft.len()));
    Text { seen: (!seen.is_whole()).then_some(seen), text, origin: Origin::Html(runs) }
}

/// The text of a page, and the way back to it. Links to other places are left out, unless there is nothing else.
pub fn text(html: &str) -> (String, Runs) {
    let page = read(html, true);
    if page.is_empty() { read(html, false).finish() } else { page.finish() }
}

/// Whether something looks like a page: it says so before anything else does.
pub fn is_page(text: &str) -> bool {
    let mut rest = text.trim_start();
    // What may stand before the first element.
    for (open, close) in [("<?xml", "?>"), ("<!--", "-->"), ("<!--", "-->")] {
        if rest.starts_with(open) {
            let Some(end) = rest.find(close) else { return false };
            rest = rest[end + close.len()..].trim_start();
        }
    }
    ["<!doctype html", "<html"].iter().any(|start| {
        let begins = rest.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
        begins && rest[start.len()..].starts_with(|next: char| next.is_ascii_whitespace() || next == '>')
    })
}

/// The encoding that a page says it has, in its first kilobyte as the standard wants it.
pub fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let (_, after) = head.split_once("charset=")?;
    let name = after.trim_start_matches(['"', '\'']);
    let name: String =
        name.chars().take_while(|char| char.is_ascii_alphanumeric() || "-_".contains(*char)).collect();
    (!name.is_empty()).then_some(name)
}

fn read(html: &str, skip_navigation: bool) -> Page {
    let mut page = Page::default();
    // The element whose content is left out, and how often it has been opened inside itself.
    let mut hidden: Option<(Vec<u8>, usize)> = None;
    let mut preformatted = 0usize;
    let mut after_pre = false;
    for event in events(html) {
        let first_in_pre = std::mem::take(&mut after_pre);
        if let Some((name, depth)) = &mut hidden {
            match event {
                Event::Start(other, false) if other == *name => *depth += 1,
                Event::End(other) if other == *name && *depth > 0 => *depth -= 1,
                Event::End(other) if other == *name => hidden = None,
                // Links that nobody closed end where the content begins.
                Event::Start(other, _) if name == b"nav" && (other == b"main" || other == b"article") => {
                    hidden = None;
                    page.line_breaks(2);
                }
                _ => {}
            }
            continue;
        }
        match event {
            Event::Text(text, source) if preformatted > 0 => {
                // The line break after the tag is for whoever reads the source.
                let skip = usize::from(first_in_pre && text.first() == Some(&b'\n'));
                let verbatim = text.len() == source.len();
                let start = if verbatim { source.start + skip } else { source.start };
                if text.len() > skip {
                    page.write_as_it_stands(&text[skip..], start..source.end);
                }
            }
            Event::Text(text, source) => page.write(&text, source),
            Event::Start(name, closes_itself) => match Role::of(&name) {
                Role::Hidden if !closes_itself => hidden = Some((name, 0)),
                Role::Navigation if skip_navigation && !closes_itself => hidden = Some((name, 0)),
                Role::Hidden | Role::Inline => {}
                Role::Line => page.line_breaks(1),
                Role::Paragraph | Role::Navigation => page.line_breaks(2),
                Role::Break => page.line_break(),
                Role::Table => page.table(),
                Role::Row => page.row(),
                Role::Cell => page.cell(),
                Role::Preformatted => {
                    page.line_breaks(2);
                    (preformatted, after_pre) = (preformatted + 1, true);
                }
            },
            Event::End(name) => match Role::of(&name) {
                Role::Hidden | Role::Inline => {}
                Role::Line => page.line_breaks(1),
                Role::Paragraph | Role::Navigation => page.line_breaks(2),
                Role::Break => page.line_break(),
                Role::Table => page.table(),
                Role::Row => page.end_row(),
                Role::Cell => page.end_cell(),
                Role::Preformatted => {
                    page.line_breaks(2);
                    preformatted = preformatted.saturating_sub(1);
                }
            },
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(html: &str) -> String {
        text(html).0
    }

    #[test]
    fn elements_make_lines_and_references_make_characters() {
        let page = "<!DOCTYPE html><html><head><title>The  keepers &amp; the sea</title><style>p{}</style></head>\n\
                    <body><h1>Keepers</h1>\n<p>Olav\n  <b>Brekke</b> left in&nbsp;1986.<br>He wrote&hellip;</p>\
                    <ul><li>oil<li> wicks </ul><script>var x = '<p>no</p>';</script><p>End</p></body></html>";
        assert_eq!(
            shown(page),
            "The keepers & the sea\n\nKeepers\n\nOlav Brekke left in\u{a0}1986.\nHe wrote…\n\noil\nwicks\n\nEnd\n"
        );
    }

    #[test]
    fn tables_are_rows_with_tabs() {
        let table = "<p>Prices</p><table>\n<tr><th>Ticket</th> <th><p>Price</p></th></tr>\n\
                     <tr>\n <td>Adult</td>\n <td>\n<div>9 €</div></td></tr><tr><td></td><td>6 €</td></tr></table>after";
        assert_eq!(shown(table), "Prices\n\nTicket\tPrice\nAdult\t9 €\n\t6 €\n\nafter\n");
        assert_eq!(shown("<table><tr><td>a<p>b</p><p>c</p></td><td></table><p>d"), "a\n\nb\n\nc\n\nd\n");
    }

    #[test]
    fn preformatted_text_stays_as_it_is() {
        assert_eq!(shown("a <pre>\n  x = 1\n\n  y &lt; 2 </pre> b"), "a\n\n  x = 1\n\n  y < 2 \n\nb\n");
    }

    #[test]
    fn links_to_other_places_are_left_out_unless_there_is_nothing_else() {
        assert_eq!(shown("<nav><a>Home</a><nav>x</nav></nav><p>Text"), "Text\n");
        assert_eq!(shown("<nav><a>Home</a><main>Text</main>"), "Text\n");
        assert_eq!(shown("<nav>Home</nav>"), "Home\n");
        assert_eq!(shown("<svg/><p>a<svg><title>x</title></svg>b"), "ab\n");
    }

    #[test]
    fn pages_are_told_by_how_they_begin() {
        for page in [
            "<!DOCTYPE html>",
            " <html lang=en>",
            "<!-- a --><!-- b -->\n<HTML>",
            "<?xml version='1.0'?><!doctype HTML >",
        ] {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "",
            "<p>",
            "a <html>",
            "<htmlx>",
            "<!-- <html>",
            "<?xml version='1.0'?><feed>",
            "{\"a\":\"<html>\"}",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }

    #[test]
    fn pages_say_their_encoding() {
        let of = |page: &str| declared_encoding(page.as_bytes());
        assert_eq!(of("<meta charset=\"ISO-8859-1\">").as_deref(), Some("iso-8859-1"));
        let old = "<meta http-equiv='Content-Type' content='text/html; charset=windows-1252'>";
        assert_eq!(of(old).as_deref(), Some("windows-1252"));
        assert_eq!(of("<p>"), None);
    }

    proptest! {
        /// What is quoted stands in the page, character references aside.
        #[test]
        fn every_word_stands_where_it_is_said_to(page in "([a-zé😀]{1,4}|[ \n\r]|<p>|</p>|<b>|<br/>|<td>|<tr>|</table>|<pre>|</pre>|<|&amp;|&eacute;|&x|&#65;|&#x|<!-- c -->|<scr|</script>){0,24}") {
            let (text, runs) = text(&page);
            for (at, word) in text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word)) {
                let source = runs.source(&(at..at + word.len()));
                prop_assert!(page.is_char_boundary(source.start) && page.is_char_boundary(source.end), "{source:?}");
                let found = &page[source];
                // Tags inside a word are part of its source.
                let (again, _) = super::text(found);
                let plain = !found.contains(['<', '&']);
                prop_assert!(!plain || found == word, "{word:?} is said to be {found:?}");
                prop_assert!(plain || again.split_whitespace().collect::<String>().contains(word) || found.contains('<') , "{word:?} in {found:?}");
            }
        }
    }
}
