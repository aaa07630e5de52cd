//! OpenSearch's query language, as far as it comes down to meaning, words and attributes.

use craton_vectors::{CHUNK_ID, Chunk, Filter, Hit, MAX_LIMIT, MetadataValue, Query, Want};
use serde_json::{Map, Value, json};

use super::documents::vector;
use super::grants::Right;
use super::indexes::Index;
use super::{Endpoint, RestError, RestReply, RestRequest, json_body, parameter, shards, strict};

/// What a search's body may say. All hits are always counted and scored.
const SEARCHED_BY: [&str; 8] =
    ["query", "from", "size", "_source", "min_score", "track_total_hits", "track_scores", "timeout"];
/// Nesting of a query.
const MOST_DEPTH: usize = 8;

/// What a query comes down to.
#[derive(Debug, Default)]
struct Asked {
    vector: Option<Vec<f32>>,
    /// Neighbours that a `knn` query asks for.
    k: Option<usize>,
    words: Option<String>,
    conditions: Vec<Filter>,
}

impl Endpoint<'_> {
    pub(super) async fn search(&self, index: &str, request: &RestRequest) -> Result<RestReply, RestError> {
        let index = self.index(index, Right::ReadDocument).await?;
        let body = json_body(&request.body)?;
        if !body.is_object() {
            return Err(RestError::malformed("a search must be an object"));
        }
        strict::keys("search", &body, &SEARCHED_BY)?;
        let (from, size) = (number(request, &body, "from", 0)?, number(request, &body, "size", 10)?);
        if from + size > MAX_LIMIT {
            let reason = format!(
                "Result window is too large, from + size must be less than or equal to: [{MAX_LIMIT}]"
            );
            return Err(RestError { status: 400, kind: "illegal_argument_exception", reason });
        }
        let least = match body.get("min_score") {
            Some(least) => {
                least.as_f64().ok_or_else(|| RestError::malformed("[min_score] needs a number"))?
            }
            None => f64::NEG_INFINITY,
        };
        let asked = Asked::of(&body, &index)?;
        let most = asked.k.map_or(MAX_LIMIT, |k| k.max(1)).min(MAX_LIMIT);
        let query = asked.query((from + size).clamp(1, most));
        let started = std::time::Instant::now();
        let mut hits = if size == 0 { Vec::new() } else { index.vectors.search(&query).await? };
        let is_cut = hits.len() == query.limit;
        hits.retain(|hit| hit.score >= least);
        let found: Vec<Value> =
            hits.iter().skip(from).take(size).map(|hit| shown(&index, hit, body.get("_source"))).collect();
        let total = match size {
            0 => index.vectors.count(&Query { limit: most, ..query }).await?,
            _ => hits.len() as u64,
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or_default();
        Ok(RestReply::ok(json!({
            "took": took_ms, "timed_out": false, "_shards": shards(),
            "hits": {
                "total": {"value": total, "relation": if is_cut { "gte" } else { "eq" }},
                "max_score": hits.first().map(|hit| hit.score),
                "hits": found,
            },
        })))
    }

    pub(super) async fn count(&self, index: &str, body: &Value) -> Result<RestReply, RestError> {
        let index = self.index(index, Right::ReadDocument).await?;
        strict::keys("count", body, &["query"])?;
        let asked = Asked::of(body, &index)?;
        let total = match asked.vector.is_none() && asked.words.is_none() && asked.conditions.is_empty() {
            true => index.vectors.counts().await?.chunks,
            false => index.vectors.count(&asked.query(MAX_LIMIT)).await?,
        };
        Ok(RestReply::ok(json!({"count": total, "_shards": shards()})))
    }
}

/// A number of the body, or of the query string.
fn number(request: &RestRequest, body: &Value, name: &str, default: usize) -> Result<usize, RestError> {
    let wrong = || RestError::malformed(format!("[{name}] must be a number and not below 0"));
    match (body.get(name), parameter(request, name)) {
        (Some(given), _) => given.as_u64().map(to_usize).ok_or_else(wrong),
        (None, Some(given)) => given.parse().map(to_usize).map_err(|_| wrong()),
        (None, None) => Ok(default),
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).min(MAX_LIMIT + 1)
}

fn shown(index: &Index, hit: &Hit, fields: Option<&Value>) -> Value {
    let mut shown = json!({"_index": index.name, "_id": hit.chunk.id, "_score": hit.score});
    if fields != Some(&Value::Bool(false)) {
        shown["_source"] = chosen(index, &hit.chunk, fields);
    }
    shown
}

/// The source's fields that `_source` asks for.
fn chosen(index: &Index, chunk: &Chunk, fields: Option<&Value>) -> Value {
    let source = index.source(chunk);
    let patterns = |value: Option<&Value>| -> Vec<String> {
        match value {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let (included, excluded) = match fields {
        Some(Value::Object(chosen)) => (
            patterns(chosen.get("includes").or(chosen.get("include"))),
            patterns(chosen.get("excludes").or(chosen.get("exclude"))),
        ),
        other => (patterns(other), Vec::new()),
    };
    let matches = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
    };
    match source {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| {
                (included.is_empty() || matches(&included, name)) && !matches(&excluded, name)
            });
            Value::Object(kept.collect())
        }
        other => other,
    }
}

impl Asked {
    fn of(body: &Value, index: &Index) -> Result<Self, RestError> {
        let mut asked = Self::default();
        if let Some(query) = body.get("query") {
            asked.read(query, index, 0)?;
        }
        Ok(asked)
    }

    fn query(self, limit: usize) -> Query {
        let want = match (self.vector, self.words) {
            (Some(vector), Some(text)) => Want::Hybrid { vector, text },
            (Some(vector), None) => Want::Semantic { vector },
            (None, Some(text)) => Want::Keywords { text },
            (None, None) => Want::Everything,
        };
        let query = Query::new(want, limit);
        if self.conditions.is_empty() { query } else { query.with_filter(Filter::AndAll(self.conditions)) }
    }

    /// Takes in a query that documents should score by.
    fn read(&mut self, query: &Value, index: &Index, depth: usize) -> Result<(), RestError> {
        let (kind, value) = one(query)?;
        if depth > MOST_DEPTH {
            return Err(RestError::malformed(format!("a query can be nested {MOST_DEPTH} levels deep")));
        }
        match kind {
            "match_all" => Ok(()),
            "knn" => self.read_knn(value, index),
            "match" => {
                let (_, asked) = one(value)?;
                strict::keys("match", asked, &["query"])?;
                let text = asked.as_str().or_else(|| asked.get("query").and_then(Value::as_str));
                self.read_words(text)
            }
            "multi_match" => {
                strict::keys("multi_match", value, &["query", "fields"])?;
                self.read_words(value.get("query").and_then(Value::as_str))
            }
            "hybrid" => {
                strict::keys("hybrid", value, &["queries"])?;
                let queries = value.get("queries").and_then(Value::as_array);
                queries.into_iter().flatten().try_for_each(|query| self.read(query, index, depth + 1))
            }
            "bool" => self.read_bool(value, index, depth),
            _ => {
                self.conditions.push(condition(query, index, depth)?);
                Ok(())
            }
        }
    }

    fn read_knn(&mut self, value: &Value, index: &Index) -> Result<(), RestError> {
        let (field, asked) = one(value)?;
        if index.vector_field.as_deref() != Some(field) {
            return Err(RestError {
                status: 400,
                kind: "query_shard_exception",
                reason: format!("failed to create query: Field '{field}' is not knn_vector type."),
            });
        }
        strict::keys("knn", asked, &["vector", "k", "filter"])?;
        let wanted = asked.get("vector").ok_or_else(|| RestError::malformed("[knn] requires a vector"))?;
        self.vector = Some(vector(wanted, index.vectors.dimensions())?);
        self.k = asked.get("k").and_then(Value::as_u64).map(to_usize);
        if let Some(filter) = asked.get("filter") {
            self.conditions.push(condition(filter, index, 1)?);
        }
        Ok(())
    }

    fn read_words(&mut self, text: Option<&str>) -> Result<(), RestError> {
        let text = text.ok_or_else(|| RestError::malformed("a query for words needs text"))?;
        match &mut self.words {
            Some(words) => {
                words.push(' ');
                words.push_str(text);
            }
            None => self.words = Some(text.to_owned()),
        }
        Ok(())
    }

    fn read_bool(&mut self, value: &Value, index: &Index, depth: usize) -> Result<(), RestError> {
        let clauses = Clauses::of(value)?;
        for query in &clauses.must {
            self.read(query, index, depth + 1)?;
        }
        for query in &clauses.filter {
            self.conditions.push(condition(query, index, depth + 1)?);
        }
        let (scored, passed): (Vec<&Value>, Vec<&Value>) =
            clauses.should.iter().copied().partition(|query| scores(query));
        for query in &scored {
            self.read(query, index, depth + 1)?;
        }
        if passed.is_empty() {
            return Ok(());
        }
        // A condition that need not hold raises the scores of documents that it holds for, which is not done here;
        // neither are documents found that pass one and have nothing of the words.
        if !clauses.one_should() || !scored.is_empty() {
            return Err(RestError::unsupported("[bool] should of conditions beside what is scored"));
        }
        let any = passed.into_iter().map(|query| condition(query, index, depth + 1));
        let any = any.collect::<Result<_, _>>()?;
        self.conditions.push(Filter::OrAll(any));
        Ok(())
    }
}

/// Whether a query is one by meaning or words.
fn scores(query: &Value) -> bool {
    const SCORED: [&str; 4] = ["knn", "match", "multi_match", "hybrid"];
    one(query).is_ok_and(|(kind, _)| SCORED.contains(&kind))
}

/// The clauses of a `bool` query.
#[derive(Default)]
struct Clauses<'a> {
    must: Vec<&'a Value>,
    filter: Vec<&'a Value>,
    should: Vec<&'a Value>,
    /// `minimum_should_match` is 1.
    one_at_least: bool,
}

impl<'a> Clauses<'a> {
    fn of(value: &'a Value) -> Result<Self, RestError> {
        let mut clauses = Self::default();
        for (clause, queries) in value.as_object().into_iter().flatten() {
            let list = match queries {
                Value::Array(queries) => queries.as_slice(),
                one => std::slice::from_ref(one),
            };
            match clause.as_str() {
                "must" => clauses.must.extend(list),
                "filter" => clauses.filter.extend(list),
                "should" => clauses.should.extend(list),
                "minimum_should_match" if *queries == 1 || *queries == "1" => clauses.one_at_least = true,
                "boost" if queries.as_f64() == Some(1.0) => {}
                other => return Err(RestError::unsupported(&format!("[bool] {other}: {queries}"))),
            }
        }
        Ok(clauses)
    }

    /// Whether one of `should` must hold: nothing else decides, or it is asked for.
    fn one_should(&self) -> bool {
        self.one_at_least || (self.must.is_empty() && self.filter.is_empty())
    }
}

/// A query that documents pass or not.
fn condition(query: &Value, index: &Index, depth: usize) -> Result<Filter, RestError> {
    if depth > MOST_DEPTH {
        return Err(RestError::malformed(format!("a query can be nested {MOST_DEPTH} levels deep")));
    }
    let (kind, value) = one(query)?;
    let scalar = |value: &Value| {
        let value = value.get("value").unwrap_or(value);
        MetadataValue::from_json(value).ok_or_else(|| RestError::malformed(format!("[{kind}] needs a value")))
    };
    Ok(match kind {
        "match_all" => Filter::AndAll(Vec::new()),
        "match" if one(value).is_ok_and(|(field, _)| index.is_text(field)) => {
            return Err(RestError::unsupported("[match] of a text field as a filter"));
        }
        "term" | "match" => {
            let (key, value) = one(value)?;
            strict::keys(kind, value, &[if kind == "term" { "value" } else { "query" }])?;
            any_of(key, vec![scalar(value.get("query").unwrap_or(value))?])
        }
        "terms" => {
            let (key, values) = one(value)?;
            let values = values.as_array().into_iter().flatten().map(scalar).collect::<Result<_, _>>()?;
            any_of(key, values)
        }
        "prefix" => {
            let (key, value) = one(value)?;
            strict::keys(kind, value, &["value"])?;
            let prefix = value.get("value").unwrap_or(value).as_str();
            let prefix = prefix.ok_or_else(|| RestError::malformed("[prefix] needs text"))?;
            Filter::StartsWith(attribute(key), prefix.to_owned())
        }
        "ids" => {
            strict::keys(kind, value, &["values"])?;
            let ids = value.get("values").and_then(Value::as_array).into_iter().flatten();
            Filter::In(CHUNK_ID.to_owned(), ids.filter_map(MetadataValue::from_json).collect())
        }
        "range" => range(value)?,
        "bool" => group(value, index, depth)?,
        other => return Err(RestError::unsupported(&format!("the query [{other}]"))),
    })
}

/// A list counts as having each of its members, as in OpenSearch.
fn any_of(key: &str, values: Vec<MetadataValue>) -> Filter {
    let key = attribute(key);
    let members = values.iter().filter_map(|value| match value {
        MetadataValue::Text(text) => Some(Filter::ListContains(key.clone(), text.clone())),
        _ => None,
    });
    let mut either: Vec<Filter> = members.collect();
    either.push(Filter::In(key, values));
    Filter::OrAll(either)
}

fn range(value: &Value) -> Result<Filter, RestError> {
    let (key, bounds) = one(value)?;
    let key = attribute(key);
    let mut parts = Vec::new();
    strict::keys("range", bounds, &["gt", "gte", "lt", "lte"])?;
    for (operator, bound) in bounds.as_object().into_iter().flatten().filter(|(name, _)| *name != "boost") {
        let bound =
            bound.as_f64().ok_or_else(|| RestError::unsupported("[range] over anything but numbers"))?;
        parts.push(match operator.as_str() {
            "gt" => Filter::GreaterThan(key.clone(), bound),
            "gte" => Filter::GreaterThanOrEquals(key.clone(), bound),
            "lt" => Filter::LessThan(key.clone(), bound),
            "lte" => Filter::LessThanOrEquals(key.clone(), bound),
            other => return Err(RestError::unsupported(&format!("[range] {other}"))),
        });
    }
    Ok(Filter::AndAll(parts))
}

fn group(value: &Value, index: &Index, depth: usize) -> Result<Filter, RestError> {
    let clauses = Clauses::of(value)?;
    let read = |queries: &[&Value]| {
        queries.iter().map(|query| condition(query, index, depth + 1)).collect::<Result<Vec<_>, _>>()
    };
    let mut all = read(&clauses.must)?;
    all.extend(read(&clauses.filter)?);
    let any = read(&clauses.should)?;
    // What need not hold changes scores alone, and a filter has none.
    if !any.is_empty() && clauses.one_should() {
        all.push(Filter::OrAll(any));
    }
    Ok(Filter::AndAll(all))
}

/// The attribute that a field's exact values are kept under.
fn attribute(field: &str) -> String {
    match field {
        "_id" => CHUNK_ID.to_owned(),
        field => field.strip_suffix(".keyword").unwrap_or(field).to_owned(),
    }
}

/// The one field of an object.
fn one(value: &Value) -> Result<(&str, &Value), RestError> {
    let fields = value.as_object().map(Map::iter);
    let mut named = fields.into_iter().flatten().filter(|(name, _)| *name != "boost");
    match (named.next(), named.next()) {
        (Some((name, value)), None) => Ok((name.as_str(), value)),
        _ => Err(RestError::malformed("a query must be an object with one field")),
    }
}
