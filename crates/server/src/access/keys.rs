use std::borrow::Cow;
use std::collections::BTreeMap;

use craton_identity::RequestKeys;
use craton_identity::policy::{Context, Keys, Values};
use craton_s3::OBJECT_TAG;
use serde_json::{Map, Value};
use smallvec::smallvec;

/// The context keys of one question: its own, the tags in the request, those of the resource, then the request's.
pub(crate) struct QuestionKeys<'a> {
    pub(crate) request: &'a RequestKeys<'a>,
    /// The account that the resource belongs to, as far as it belongs to one.
    pub(crate) resource_account: Option<&'a str>,
    pub(crate) document: &'a Map<String, Value>,
    /// A name that comes again has several values.
    pub(crate) own: &'a [(&'static str, String)],
    /// Empty where no policy asks for them.
    pub(crate) resource_tags: &'a BTreeMap<String, String>,
    /// Likewise, of an object.
    pub(crate) object_tags: &'a Context,
}

impl Keys for QuestionKeys<'_> {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        let own = self.own.iter().filter(|(own, _)| *own == key);
        let own: Values<'_> = own.map(|(_, value)| Cow::Borrowed(value.as_str())).collect();
        if !own.is_empty() {
            return Some(own);
        }
        if let Some(tag) = key.strip_prefix("aws:requesttag/") {
            let (_, value) = request_tags(self.document).find(|(own, _)| own.to_lowercase() == tag)?;
            return Some(smallvec![Cow::Borrowed(value)]);
        }
        if key.starts_with(OBJECT_TAG) {
            return self.object_tags.values(key);
        }
        if let Some((_, tag)) = key.split_once(":resourcetag/") {
            let (_, value) = self.resource_tags.iter().find(|(own, _)| own.to_lowercase() == tag)?;
            return Some(smallvec![Cow::Borrowed(value.as_str())]);
        }
        if key == "aws:resourceaccount" || key == "s3:resourceaccount" {
            return self.resource_account.map(|account| smallvec![Cow::Borrowed(account)]);
        }
        if key == "aws:tagkeys" {
            let tags = request_tags(self.document).map(|(own, _)| own);
            let keys: Values<'_> = tags.chain(tag_keys(self.document)).map(Cow::Borrowed).collect();
            return (!keys.is_empty()).then_some(keys);
        }
        self.request.values(key)
    }
}

/// Tags that the request gives: a map, or a list of keys and values, as services spell them.
fn request_tags(document: &Map<String, Value>) -> impl Iterator<Item = (&str, &str)> {
    let members = ["tags", "Tags", "customModelTags", "importedModelTags", "jobTags"];
    members.into_iter().filter_map(|name| document.get(name)).flat_map(|tags| {
        let pairs: Vec<(&str, &str)> = match tags {
            Value::Object(map) => {
                map.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
            }
            Value::Array(list) => list.iter().filter_map(pair).collect(),
            _ => Vec::new(),
        };
        pairs
    })
}

fn pair(tag: &Value) -> Option<(&str, &str)> {
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| tag.get(name)?.as_str());
    Some((text(["key", "Key"])?, text(["value", "Value"]).unwrap_or_default()))
}

/// Keys of tags to take away.
fn tag_keys(document: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let lists = ["tagKeys", "TagKeys"].into_iter().filter_map(|name| document.get(name)?.as_array());
    lists.flatten().filter_map(Value::as_str)
}
