//! JSON objects that are written field by field and end with the caller's extra fields.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

/// A map that knows which optional fields it has, so that the extra ones repeat none.
pub(crate) struct Fields<M> {
    map: M,
    written: Vec<&'static str>,
}

impl<M: SerializeMap> Fields<M> {
    pub(crate) fn new(map: M) -> Self {
        Self { map, written: Vec::new() }
    }

    /// A field that extra ones never set, whether or not it is written: one of `finish`'s `reserved`.
    pub(crate) fn always<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.map.serialize_entry(name, value)
    }

    /// A field that an extra one may set if this does not.
    pub(crate) fn own<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.written.push(name);
        self.map.serialize_entry(name, value)
    }

    /// [`own`](Self::own), if there is a value.
    pub(crate) fn some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: Option<&T>,
    ) -> Result<(), M::Error> {
        match value {
            Some(value) => self.own(name, value),
            None => Ok(()),
        }
    }

    /// Writes what is left of `extra` and ends the object.
    pub(crate) fn finish(mut self, extra: &Map<String, Value>, reserved: &[&str]) -> Result<M::Ok, M::Error> {
        for (name, value) in extra {
            if !reserved.contains(&name.as_str()) && !self.written.contains(&name.as_str()) {
                self.map.serialize_entry(name, value)?;
            }
        }
        self.map.end()
    }
}
