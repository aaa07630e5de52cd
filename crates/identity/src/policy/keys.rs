use std::borrow::Cow;
use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

/// The values of a context key. Most have one.
pub type Values<'a> = SmallVec<[Cow<'a, str>; 1]>;

/// Where conditions and policy variables get the values of context keys from. Asked only for keys that a policy
/// mentions, so that a request needn't work out what nobody wants to know.
pub trait Keys: Sync {
    /// The values of a key, which is in lower case: `aws:sourceip`, `aws:requesttag/team`. `None` when the request has
    /// no such key.
    fn values(&self, key: &str) -> Option<Values<'_>>;
}

/// Context keys with their values, in a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key to one value. Keys are case-insensitive.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_lowercase(), vec![value.into()]);
    }

    /// Sets a key to several values.
    pub fn set_all(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        self.0.insert(key.to_lowercase(), values.into_iter().collect());
    }

    /// [`Context::set`], for building one in a row.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names, in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}

impl Keys for Context {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        let found = self.0.get(key)?;
        Some(match found.as_slice() {
            [one] => smallvec![Cow::Borrowed(one.as_str())],
            many => many.iter().map(|value| Cow::Borrowed(value.as_str())).collect(),
        })
    }
}

/// No keys at all.
impl Keys for () {
    fn values(&self, _key: &str) -> Option<Values<'_>> {
        None
    }
}
