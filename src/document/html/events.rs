//! HTML taken apart: text, start tags and end tags, with the bytes of the source that each stands for. Everything else is passed over.
//!
//! The tokenizer tells its emitter how far it has read whenever it moves. A piece of text is either what stands before that place,
//! byte for byte, or a character reference, which ends there.

use std::collections::VecDeque;
use std::ops::Range;

use html5gum::emitters::{Emitter, naive_next_state};
use html5gum::{State, Tokenizer};

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Text, which may end inside a character.
    Text(Vec<u8>, Range<usize>),
    /// A start tag, and whether it ends itself as in XML.
    Start(Vec<u8>, bool),
    /// An end tag.
    End(Vec<u8>),
}

/// Takes a page apart.
pub fn events(page: &str) -> impl Iterator<Item = Event> {
    let tokenizer = Tokenizer::new_with_emitter(page, Events::new(page));
    // Reading a text cannot fail.
    tokenizer.filter_map(Result::ok)
}

struct Events<'a> {
    page: &'a [u8],
    /// How far the tokenizer has read.
    position: usize,
    /// The end of the last event.
    told: usize,
    ready: VecDeque<Event>,
    name: Vec<u8>,
    is_end: bool,
    closes_itself: bool,
    last_start: Vec<u8>,
}

impl<'a> Events<'a> {
    fn new(page: &'a str) -> Self {
        Self {
            page: page.as_bytes(),
            position: 0,
            told: 0,
            ready: VecDeque::new(),
            name: Vec::new(),
            is_end: false,
            closes_itself: false,
            last_start: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.ready.push_back(event);
        self.told = self.position;
    }
}

impl Emitter for Events<'_> {
    type Token = Event;

    fn move_position(&mut self, offset: isize) {
        self.position = self.position.saturating_add_signed(offset).min(self.page.len());
    }

    fn pop_token(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn emit_string(&mut self, text: &[u8]) {
        let start = self.position.saturating_sub(text.len());
        let verbatim = start >= self.told && self.page.get(start..self.position) == Some(text);
        let start = if verbatim { start } else { self.told.min(self.position) };
        self.tell(Event::Text(text.to_vec(), start..self.position));
    }

    fn init_start_tag(&mut self) {
        (self.is_end, self.closes_itself) = (false, false);
        self.name.clear();
    }

    fn init_end_tag(&mut self) {
        (self.is_end, self.closes_itself) = (true, false);
        self.name.clear();
    }

    fn push_tag_name(&mut self, name: &[u8]) {
        self.name.extend_from_slice(name);
    }

    fn set_self_closing(&mut self) {
        self.closes_itself = true;
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        let name = std::mem::take(&mut self.name);
        if self.is_end {
            self.tell(Event::End(name));
            return None;
        }
        self.last_start.clone_from(&name);
        let state = naive_next_state(&name);
        self.tell(Event::Start(name, self.closes_itself));
        state
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.is_end && !self.last_start.is_empty() && self.last_start == self.name
    }

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start = name.unwrap_or_default().to_vec();
    }

    fn emit_current_comment(&mut self) {
        self.told = self.position;
    }

    fn emit_current_doctype(&mut self) {
        self.told = self.position;
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    // What neither has text nor makes a break.
    fn emit_eof(&mut self) {}
    fn emit_error(&mut self, _: html5gum::Error) {}
    fn init_comment(&mut self) {}
    fn push_comment(&mut self, _: &[u8]) {}
    fn init_attribute(&mut self) {}
    fn push_attribute_name(&mut self, _: &[u8]) {}
    fn push_attribute_value(&mut self, _: &[u8]) {}
    fn init_doctype(&mut self) {}
    fn push_doctype_name(&mut self, _: &[u8]) {}
    fn set_force_quirks(&mut self) {}
    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a page; what is not its source byte for byte stands in brackets, with its source.
    fn texts(page: &str) -> String {
        let text = |event| match event {
            Event::Text(text, range) => {
                let (text, source) = (String::from_utf8_lossy(&text).into_owned(), &page[range]);
                if text == source { text } else { format!("[{text}={source}]") }
            }
            _ => String::new(),
        };
        events(page).map(text).collect()
    }

    #[test]
    fn pieces_of_text_say_where_they_are_from() {
        for (page, expected) in [
            ("a<b>b &amp; c</b>", "ab [&=&amp;] c"),
            ("<p>&#233;&eacute;&nbspx</p>", "[é=&#233;][é=&eacute;][\u{a0}=&nbsp]x"),
            ("<!-- no --><p>1 < 2</p>", "1 < 2"),
            ("x&y;&unknown z&", "x&y;&unknown z&"),
            ("<title>a <b> &lt;</title>", "a <b> [<=&lt;]"),
            ("a\r\nb\rc", "a[\n=\r]b[\n=\r]c"),
        ] {
            assert_eq!(texts(page), expected);
        }
    }

    #[test]
    fn scripts_hold_no_tags() {
        let names: Vec<String> = events("<script>if (a<b) '<p>'</script><br/></i>")
            .filter_map(|event| match event {
                Event::Start(name, closed) => Some(format!("{}{closed}", String::from_utf8_lossy(&name))),
                Event::End(name) => Some(format!("/{}", String::from_utf8_lossy(&name))),
                Event::Text(..) => None,
            })
            .collect();
        assert_eq!(names, ["scriptfalse", "/script", "brtrue", "/i"]);
    }
}
