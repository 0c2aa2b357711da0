//! What a file is, by its first bytes: what other programs make text of, and what is no text at all.

use std::path::Path;

/// Something that is not text as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A PDF file.
    Pdf,
    /// A text document that pandoc reads.
    Office(Office),
    /// A spreadsheet.
    Spreadsheet,
    /// Slides.
    Slides,
    /// A document of Microsoft's Office before 2007.
    OldOffice,
    /// A ZIP archive of something else.
    Zip,
    /// A tar archive.
    Tar,
    /// A file packed by xz.
    Xz,
    /// A 7-Zip archive.
    SevenZip,
    /// A table by columns.
    Parquet,
    /// A table by columns: Arrow or Feather.
    Arrow,
    /// A table by rows.
    Avro,
    /// Arrays.
    Hdf5,
    /// A database.
    Sqlite,
    /// A picture.
    Image,
    /// A program or library.
    Executable,
    /// Text in UTF-16 that does not say so.
    Utf16(ByteOrder),
}

/// Which byte of a unit of UTF-16 comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lower one, as on Windows.
    Little,
    /// The higher one.
    Big,
}

impl ByteOrder {
    /// What iconv calls UTF-16 in this order.
    pub fn name(self) -> &'static str {
        match self {
            ByteOrder::Little => "UTF-16LE",
            ByteOrder::Big => "UTF-16BE",
        }
    }

    /// The order that a byte order mark names.
    pub fn marked(first: &[u8]) -> Option<Self> {
        match first {
            [0xff, 0xfe, ..] => Some(ByteOrder::Little),
            [0xfe, 0xff, ..] => Some(ByteOrder::Big),
            _ => None,
        }
    }

    /// The order of UTF-16 without a mark: of many characters one byte is NUL, nearly always the same, and they make up a text.
    fn unmarked(head: &[u8]) -> Option<Self> {
        if Self::marked(head).is_some() {
            return None;
        }
        let pairs = head[..head.len().min(PROBE)].chunks_exact(2);
        let nuls = |at: usize| pairs.clone().filter(|pair| pair[at] == 0).count();
        let (first, second) = (nuls(0), nuls(1));
        let order = if first > second { ByteOrder::Big } else { ByteOrder::Little };
        let (many, few) = (first.max(second), first.min(second));
        if many == 0 || 8 * many < pairs.len() || 8 * few > many {
            return None;
        }
        let is_text = |char: char| !char.is_control() || matches!(char, '\t' | '\n' | '\r' | '\u{c}');
        let units = pairs.clone().map(|pair| order.unit([pair[0], pair[1]]));
        // The last unit may be half a character that was cut.
        let mut chars = char::decode_utf16(units.take(pairs.len().saturating_sub(1).max(1)));
        chars.all(|char| char.is_ok_and(is_text)).then_some(order)
    }

    /// The number that two bytes stand for.
    pub fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// Text documents that pandoc reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Office {
    /// Word.
    Docx,
    /// LibreOffice.
    Odt,
    /// An electronic book.
    Epub,
    /// The rich text format.
    Rtf,
}

impl Office {
    /// What pandoc calls it.
    pub fn name(self) -> &'static str {
        match self {
            Office::Docx => "docx",
            Office::Odt => "odt",
            Office::Epub => "epub",
            Office::Rtf => "rtf",
        }
    }
}

/// Bytes in which UTF-16 is looked for.
const PROBE: usize = 8192;

/// Bytes that tell what a file is.
pub const HEAD: usize = 1 << 16;

const MARKS: &[(&[u8], Kind)] = &[
    (b"%PDF-", Kind::Pdf),
    (b"PK\x03\x04", Kind::Zip),
    (b"{\\rtf", Kind::Office(Office::Rtf)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::OldOffice),
    (b"\xfd7zXZ\0", Kind::Xz),
    (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (b"PAR1", Kind::Parquet),
    (b"ARROW1\0\0", Kind::Arrow),
    (b"Obj\x01", Kind::Avro),
    (b"\x89HDF\r\n\x1a\n", Kind::Hdf5),
    (b"SQLite format 3\0", Kind::Sqlite),
    (b"\x89PNG\r\n\x1a\n", Kind::Image),
    (b"\xff\xd8\xff", Kind::Image),
    (b"GIF8", Kind::Image),
    (b"II*\0", Kind::Image),
    (b"MM\0*", Kind::Image),
    (b"\x7fELF", Kind::Executable),
];

impl Kind {
    /// What begins with these bytes; `None` if it may be text. Of a ZIP archive the name may say more.
    pub fn of(head: &[u8], name: &Path) -> Option<Self> {
        let found = MARKS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, kind)| *kind);
        match found {
            Some(Kind::Zip) => Some(zipped(head, name)),
            None if head.get(257..262) == Some(b"ustar") => Some(Kind::Tar),
            None => ByteOrder::unmarked(head).map(Kind::Utf16),
            found => found,
        }
    }

    /// Whether what begins with these bytes could, with more of them, be something that is not text.
    pub fn is_open(first: &[u8]) -> bool {
        MARKS.iter().any(|(mark, _)| first.len() < mark.len() && mark.starts_with(first))
    }

    /// Whether it is text all the same, only not in UTF-8.
    pub fn is_text(self) -> bool {
        matches!(self, Kind::Utf16(_))
    }

    /// What it is, in a sentence after "is".
    pub const fn describe(self) -> &'static str {
        match self {
            Kind::Pdf => "a PDF file",
            Kind::Office(Office::Docx) => "a Word document",
            Kind::Office(Office::Odt) => "an OpenDocument text",
            Kind::Office(Office::Epub) => "an EPUB book",
            Kind::Office(Office::Rtf) => "a rich text document",
            Kind::Spreadsheet => "a spreadsheet",
            Kind::Slides => "a presentation",
            Kind::OldOffice => "a document of old Microsoft Office",
            Kind::Zip => "a ZIP archive",
            Kind::Tar => "a tar archive",
            Kind::Xz => "packed by xz",
            Kind::SevenZip => "a 7-Zip archive",
            Kind::Parquet => "a Parquet file",
            Kind::Arrow => "an Arrow (Feather) file",
            Kind::Avro => "an Avro file",
            Kind::Hdf5 => "an HDF5 file",
            Kind::Sqlite => "an SQLite database",
            Kind::Image => "a picture",
            Kind::Executable => "a compiled program",
            Kind::Utf16(ByteOrder::Little) => "UTF-16LE text without a byte order mark",
            Kind::Utf16(ByteOrder::Big) => "UTF-16BE text without a byte order mark",
        }
    }
}

/// What a ZIP archive holds. Its first entries have telling names; if not, the archive's own name says it.
fn zipped(head: &[u8], name: &Path) -> Kind {
    let has = |what: &str| head.windows(what.len()).any(|window| window == what.as_bytes());
    let extension = name.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let named = |names: &[&str]| extension.as_deref().is_some_and(|name| names.contains(&name));
    if named(&["docx"]) || has("word/document.xml") {
        Kind::Office(Office::Docx)
    } else if named(&["odt"]) || has("mimetypeapplication/vnd.oasis.opendocument.text") {
        Kind::Office(Office::Odt)
    } else if named(&["epub"]) || has("mimetypeapplication/epub+zip") {
        Kind::Office(Office::Epub)
    } else if named(&["xlsx", "ods"]) || has("xl/workbook.xml") || has("opendocument.spreadsheet") {
        Kind::Spreadsheet
    } else if named(&["pptx", "odp"]) || has("ppt/presentation.xml") || has("opendocument.presentation") {
        Kind::Slides
    } else {
        Kind::Zip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let of = |head: &[u8], name: &str| Kind::of(head, Path::new(name));
        assert_eq!(of(b"%PDF-1.7\n", "-"), Some(Kind::Pdf));
        assert_eq!(of(b"PAR1\x15\x04", "q.parquet"), Some(Kind::Parquet));
        assert_eq!(of(b"PK\x03\x04 [Content_Types].xml", "a.DOCX"), Some(Kind::Office(Office::Docx)));
        assert_eq!(of(b"PK\x03\x04 x word/document.xml", "-"), Some(Kind::Office(Office::Docx)));
        assert_eq!(of(b"PK\x03\x04 xl/workbook.xml", "-"), Some(Kind::Spreadsheet));
        assert_eq!(of(b"PK\x03\x04 mimetypeapplication/epub+zip", "-"), Some(Kind::Office(Office::Epub)));
        assert_eq!(of(b"PK\x03\x04", "a.jar"), Some(Kind::Zip));
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(of(&tar, "a"), Some(Kind::Tar));
        for text in ["", "P", "PAR", "PK me", "GIFs are fun", "Object", "{\"question\": 1}"] {
            assert_eq!(of(text.as_bytes(), "a.docx"), None, "{text}");
        }
    }

    #[test]
    fn utf16_is_told_by_its_nuls() {
        let of = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            Kind::of(&bytes, Path::new("a.txt"))
        };
        for text in
            ["{", "The keeper, in 1871.\r\n", "Смотритель маяка, в 1871 году.", "It is a day 😀 at sea"]
        {
            assert_eq!(of(text, u16::to_le_bytes), Some(Kind::Utf16(ByteOrder::Little)), "{text}");
            assert_eq!(of(text, u16::to_be_bytes), Some(Kind::Utf16(ByteOrder::Big)), "{text}");
        }
        // With a mark it is text that can be read.
        for bytes in [&b"\xff\xfeh\0i\0"[..], b"\xfe\xff\0h\0i"] {
            assert_eq!(Kind::of(bytes, Path::new("a.txt")), None, "{bytes:?}");
        }
        // Numbers, and other things with NULs in them.
        for bytes in [&b"\x01\0\x02\0\x03\0"[..], b"a\0\0b", b"ab\0", b"ab\0\0c\0", b"\0\xd8\0\xd8a\0"] {
            assert_eq!(Kind::of(bytes, Path::new("a")), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_is_not_read_ahead_of() {
        assert!(Kind::is_open(b"") && Kind::is_open(b"PAR") && Kind::is_open(b"{\\r"));
        assert!(!Kind::is_open(b"{\"") && !Kind::is_open(b"PAR1") && !Kind::is_open(b"id"));
    }
}
