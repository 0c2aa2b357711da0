//! What elements of HTML do to the text.

/// What an element does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it stands in a line.
    Inline,
    /// It begins and ends a line.
    Line,
    /// It is set off by blank lines.
    Paragraph,
    /// The same, and its white space counts.
    Preformatted,
    /// It breaks the line.
    Break,
    /// A table.
    Table,
    /// A row of a table.
    Row,
    /// A cell of a row.
    Cell,
    /// Nobody reads what is in it.
    Hidden,
    /// A list of links to other places.
    Navigation,
}

impl Role {
    /// The role of an element.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"script" | b"style" | b"noscript" | b"template" | b"svg" | b"iframe" | b"noembed"
            | b"noframes" | b"canvas" => Role::Hidden,
            b"nav" => Role::Navigation,
            b"br" => Role::Break,
            b"pre" | b"listing" | b"xmp" | b"plaintext" => Role::Preformatted,
            b"table" => Role::Table,
            b"tr" => Role::Row,
            b"td" | b"th" => Role::Cell,
            b"title" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"p" | b"ul" | b"ol" | b"dl"
            | b"blockquote" | b"hr" | b"figure" | b"section" | b"article" | b"main" | b"header"
            | b"footer" | b"aside" | b"fieldset" | b"form" | b"details" | b"menu" => Role::Paragraph,
            b"li" | b"dt" | b"dd" | b"div" | b"body" | b"html" | b"head" | b"address" | b"caption"
            | b"figcaption" | b"summary" | b"legend" | b"option" | b"optgroup" | b"select" | b"center"
            | b"dir" | b"thead" | b"tbody" | b"tfoot" | b"hgroup" | b"search" | b"dialog" | b"frameset" => {
                Role::Line
            }
            _ => Role::Inline,
        }
    }
}
