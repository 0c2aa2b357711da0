//! What stands at the end of a file: its columns, and where they lie.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::error::{Error, Result};
use super::schema::{Element, Fraction, Meaning, Physical, Schema};
use super::thrift::{Kind, Thrift};

/// What a file begins and ends with.
pub const MAGIC: &[u8; 4] = b"PAR1";
/// What files end with whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// The largest footer in bytes. Ten thousand groups of a hundred columns have some 100 bytes for each.
const LARGEST: u64 = 128 << 20;
/// The most columns.
const MOST_COLUMNS: usize = 100_000;

/// A file's columns and groups of rows.
pub(super) struct Footer {
    pub schema: Schema,
    pub groups: Vec<Group>,
}

/// Rows that are stored together.
#[derive(Default)]
pub(super) struct Group {
    pub rows: u64,
    /// One for each leaf of the schema.
    pub chunks: Vec<Chunk>,
}

/// Values of one column.
#[derive(Default, Clone)]
pub(super) struct Chunk {
    physical: i32,
    pub codec: i32,
    pub values: u64,
    /// Where its first page begins, and its bytes.
    pub start: u64,
    pub bytes: u64,
}

/// Reads the footer of a file and says how long the file is.
pub(super) fn read(source: &mut (impl Read + Seek)) -> Result<(Footer, u64)> {
    let length = source.seek(SeekFrom::End(0)).map_err(|error| match error.kind() {
        ErrorKind::NotSeekable => Error::NoFile,
        _ => error.into(),
    })?;
    if length < 12 {
        return Err(Error::damaged("it is too short"));
    }
    let (mut head, mut tail) = ([0; 4], [0; 8]);
    source.seek(SeekFrom::Start(0))?;
    source.read_exact(&mut head)?;
    if head != *MAGIC {
        return Err(Error::NoFile);
    }
    source.seek(SeekFrom::Start(length - 8))?;
    source.read_exact(&mut tail)?;
    let [size @ .., _, _, _, _] = tail;
    let size = u64::from(u32::from_le_bytes(size));
    if tail.ends_with(ENCRYPTED) {
        return Err(Error::unsupported("it is encrypted"));
    }
    if !tail.ends_with(MAGIC) {
        return Err(Error::damaged("its end is missing"));
    }
    if size > length - 12 {
        return Err(Error::damaged("its footer is longer than the file"));
    }
    if size > LARGEST {
        return Err(Error::unsupported(format!(
            "its footer has {size} bytes; {LARGEST} are the most that are read"
        )));
    }
    source.seek(SeekFrom::Start(length - 8 - size))?;
    let mut bytes = vec![0; size as usize];
    source.read_exact(&mut bytes)?;
    let footer = parse(&bytes)?;
    for chunk in footer.groups.iter().flat_map(|group| &group.chunks) {
        if chunk.start.checked_add(chunk.bytes).is_none_or(|end| end > length) {
            return Err(Error::damaged("a column ends behind the end of the file"));
        }
    }
    Ok((footer, length))
}

fn parse(bytes: &[u8]) -> Result<Footer> {
    let (mut elements, mut groups) = (Vec::new(), Vec::new());
    Thrift::new(bytes).fields(|thrift, id, kind| match id {
        2 => thrift.list(kind, |thrift, kind| {
            if elements.len() == MOST_COLUMNS {
                return Err(Error::unsupported(format!("it has more than {MOST_COLUMNS} columns")));
            }
            elements.push(element(thrift, kind)?);
            Ok(())
        }),
        4 => thrift.list(kind, |thrift, kind| {
            groups.push(group(thrift, kind)?);
            Ok(())
        }),
        8 => Err(Error::unsupported("it is encrypted")),
        _ => thrift.skip(kind),
    })?;
    let schema = Schema::of(&elements)?;
    for group in &groups {
        let fits = schema.leaves.iter().zip(&group.chunks).all(|(leaf, chunk)| {
            chunk.physical
                == match leaf.physical {
                    Physical::Truth => 0,
                    Physical::Int32 => 1,
                    Physical::Int64 => 2,
                    Physical::Int96 => 3,
                    Physical::Float => 4,
                    Physical::Double => 5,
                    Physical::Bytes => 6,
                    Physical::Fixed(_) => 7,
                }
        });
        if !fits || schema.leaves.len() != group.chunks.len() {
            return Err(Error::damaged("a group of rows has other columns than the file"));
        }
    }
    Ok(Footer { schema, groups })
}

fn element(thrift: &mut Thrift, kind: Kind) -> Result<Element> {
    let mut element = Element::default();
    thrift.structure(kind, |thrift, id, kind| {
        match id {
            1 => element.physical = Some(thrift.int(kind)?),
            2 => element.length = thrift.int(kind)?,
            3 => element.repetition = Some(thrift.int(kind)?),
            4 => element.name = thrift.text(kind)?,
            5 => element.children = thrift.int(kind)?,
            6 => element.converted = Some(thrift.int(kind)?),
            7 => element.scale = thrift.int(kind)?,
            10 => element.logical = logical(thrift, kind)?,
            _ => thrift.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(element)
}

/// One field of many, whose number says which meaning it is.
fn logical(thrift: &mut Thrift, kind: Kind) -> Result<Option<Meaning>> {
    let mut found = None;
    thrift.structure(kind, |thrift, id, kind| {
        let mut meaning = match id {
            1 | 4 | 12 => Meaning::Text,
            2 | 3 => Meaning::List,
            5 => Meaning::Decimal(0),
            6 => Meaning::Date,
            7 => Meaning::Time(Fraction::Milli),
            8 => Meaning::Instant(Fraction::Milli),
            // Numbers are signed until they say otherwise; a column of nothing but nulls is of any kind.
            10 | 11 => Meaning::Plain,
            14 => Meaning::Uuid,
            15 => Meaning::Half,
            _ => Meaning::Other,
        };
        thrift.structure(kind, |thrift, id, kind| {
            match (&mut meaning, id) {
                (Meaning::Decimal(scale), 1) => *scale = thrift.int(kind)?,
                (Meaning::Time(fraction) | Meaning::Instant(fraction), 2) => {
                    *fraction = fractions(thrift, kind)?;
                }
                (Meaning::Plain, 2) if matches!(kind, Kind::True | Kind::False) => {
                    if !thrift.truth(kind)? {
                        meaning = Meaning::Unsigned;
                    }
                }
                _ => thrift.skip(kind)?,
            }
            Ok(())
        })?;
        found = Some(meaning);
        Ok(())
    })?;
    Ok(found)
}

fn fractions(thrift: &mut Thrift, kind: Kind) -> Result<Fraction> {
    let mut found = Fraction::Milli;
    thrift.structure(kind, |thrift, id, kind| {
        found = match id {
            1 => Fraction::Milli,
            2 => Fraction::Micro,
            3 => Fraction::Nano,
            _ => return Err(Error::unsupported("it has times in an unknown unit")),
        };
        thrift.skip(kind)
    })?;
    Ok(found)
}

fn group(thrift: &mut Thrift, kind: Kind) -> Result<Group> {
    let mut group = Group::default();
    thrift.structure(kind, |thrift, id, kind| match id {
        1 => thrift.list(kind, |thrift, kind| {
            group.chunks.push(chunk(thrift, kind)?);
            Ok(())
        }),
        3 => {
            group.rows = thrift.int(kind)?;
            Ok(())
        }
        _ => thrift.skip(kind),
    })?;
    Ok(group)
}

fn chunk(thrift: &mut Thrift, kind: Kind) -> Result<Chunk> {
    let mut found = None;
    thrift.structure(kind, |thrift, id, kind| match id {
        1 => Err(Error::unsupported("its columns lie in other files")),
        3 => {
            found = Some(about_chunk(thrift, kind)?);
            Ok(())
        }
        8 => Err(Error::unsupported("it is encrypted")),
        _ => thrift.skip(kind),
    })?;
    found.ok_or_else(|| Error::damaged("a column does not say where it is"))
}

fn about_chunk(thrift: &mut Thrift, kind: Kind) -> Result<Chunk> {
    let mut chunk = Chunk::default();
    let (mut data, mut dictionary) = (0, 0);
    thrift.structure(kind, |thrift, id, kind| {
        match id {
            1 => chunk.physical = thrift.int(kind)?,
            4 => chunk.codec = thrift.int(kind)?,
            5 => chunk.values = thrift.int(kind)?,
            7 => chunk.bytes = thrift.int(kind)?,
            9 => data = thrift.int(kind)?,
            11 => dictionary = thrift.int(kind)?,
            _ => thrift.skip(kind)?,
        }
        Ok(())
    })?;
    // Some writers say 0 where there is no dictionary.
    chunk.start = if dictionary > 0 { u64::min(data, dictionary) } else { data };
    Ok(chunk)
}
