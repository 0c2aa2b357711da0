//! Reads one JSON document, an article or a row at a time.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::eval::data::build::{Builder, Place, Record, bad, text_of};
use crate::eval::error::{Error, Result};

/// Reads the whole file.
pub(super) fn read(builder: &mut Builder, bytes: &[u8]) -> Result<()> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut feed = Feed { builder, failure: None };
    let read = Top(&mut feed).deserialize(&mut json).and_then(|()| json.end());
    match feed.failure {
        Some(failure) => Err(failure),
        None => read.map_err(|error| bad(builder.file(), "", &error.to_string())),
    }
}

/// Where records go. serde's errors are text, so a mistake that is found while serde is calling waits here.
struct Feed<'a, 'b> {
    builder: &'a mut Builder<'b>,
    failure: Option<Error>,
}

impl Feed<'_, '_> {
    fn record<E: serde::de::Error>(&mut self, record: Record, place: Place) -> Result<(), E> {
        self.builder.record(record, place).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            E::custom(text)
        })
    }
}

/// The outermost value: an object with `data`, a list, or a single row.
struct Top<'f, 'a, 'b>(&'f mut Feed<'a, 'b>);

impl<'de> DeserializeSeed<'de> for Top<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object with `data`, or a list of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // The keys of a row, in case it turns out to be one.
        let mut row = serde_json::Map::new();
        let mut data = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => {
                    data = true;
                    map.next_value_seed(Items(self.0))?;
                }
                "version" => self.0.builder.version = text_of(&map.next_value::<Value>()?),
                _ if data => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    row.insert(key, map.next_value()?);
                }
            }
        }
        if !data {
            let record: Record =
                serde_json::from_value(Value::Object(row)).map_err(serde::de::Error::custom)?;
            self.0.record(record, Place::line(1))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Items(self.0).visit_seq(seq)
    }
}

/// The list under `data`, one element at a time.
struct Items<'f, 'a, 'b>(&'f mut Feed<'a, 'b>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("a list of articles or rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(record) = seq
            .next_element::<Record>()
            .map_err(|error| serde::de::Error::custom(format!("in {}: {error}", Place::item(index))))?
        {
            self.0.record(record, Place::item(index))?;
            index += 1;
        }
        Ok(())
    }
}
