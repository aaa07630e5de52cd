//! Hybrid search by the cluster: a `hybrid` query, and a search pipeline that makes one score of its two parts'.
//!
//! Both are of OpenSearch's neural-search plugin. The pipeline goes with the request, so nothing is made in the cluster and
//! no right to make it is needed: `min_max` puts each part's scores on 0 to 1, best and worst of what the part found, and
//! `arithmetic_mean` weighs them. So a score says how a chunk compares with what else this question found.
//!
//! A cluster without the plugin says so in its refusal, which is remembered as long as the index is open: the parts are then
//! asked for one by one, and fused here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::conditions::{OURS, clauses};
use crate::{MAX_LIMIT, Query, VectorError};

/// Weight of the words' part. It counts for less than `fusion`'s: on this scale the best by words has 1, however few of the
/// words it has. On CISI nDCG@10 is highest from 0.25 to 0.3.
const WORDS: f64 = 0.3;
/// Chunks of each part for the answers that are asked for mostly.
const DEPTH: usize = 1_000;
/// What no score of the pipeline is above, but for rounding.
const MOST: f64 = 1.0001;

/// Whether a cluster searches in this way.
#[derive(Default)]
pub(super) struct Pipeline {
    missing: AtomicBool,
}

impl Pipeline {
    pub(super) fn may_be_there(&self) -> bool {
        !self.missing.load(Ordering::Relaxed)
    }

    /// The answer, or none where the cluster can't search in this way.
    pub(super) fn judge(&self, answer: Result<Value, VectorError>) -> Result<Option<Value>, VectorError> {
        let missing = match &answer {
            Ok(answer) => !normalised(answer),
            Err(VectorError::Refused(reason)) => names_the_plugin(reason),
            Err(_) => false,
        };
        if missing {
            tracing::info!("an OpenSearch has no hybrid search of its own: its parts are weighed here");
            self.missing.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        answer.map(Some)
    }
}

/// Scores that no processor has seen are out of range: those of the parts come one after the other, between marks.
fn normalised(answer: &Value) -> bool {
    let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
    hits.iter().all(|hit| hit["_score"].as_f64().is_some_and(|score| (0.0..=MOST).contains(&score)))
}

fn names_the_plugin(reason: &str) -> bool {
    ["unknown query [hybrid]", "Invalid processor type", "[search_pipeline]"]
        .iter()
        .any(|name| reason.contains(name))
}

/// Chunks of each part that its scale is made of: as many whichever page of an answer is asked for, so that pages agree.
fn depth(limit: usize) -> usize {
    if limit <= DEPTH { DEPTH } else { MAX_LIMIT }
}

/// The request for at least `limit` chunks by both parts, `words` being those asked for. The answer has ids and scores: most
/// of what it ranks is not wanted.
pub(super) fn request(
    query: &Query,
    (field, vector): (&str, &[f32]),
    words: &[String],
    limit: usize,
) -> Value {
    let filter = clauses(query);
    let depth = depth(limit);
    let mut knn = json!({"vector": vector, "k": depth});
    if !filter.is_empty() {
        knn["filter"] = json!({"bool": {"filter": filter}});
    }
    let mean = json!({"technique": "arithmetic_mean", "parameters": {"weights": [1.0 - WORDS, WORDS]}});
    json!({
        "size": depth, "_source": false,
        "query": {"hybrid": {"queries": [{"knn": {field: knn}}, having_any(words, &filter)]}},
        "search_pipeline": {"phase_results_processors": [{"normalization-processor": {
            "normalization": {"technique": "min_max"}, "combination": mean}}]},
    })
}

/// The ids of the best, with their scores.
pub(super) fn best(answer: &Value, limit: usize) -> HashMap<String, f64> {
    let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
    let read = |hit: &Value| Some((hit["_id"].as_str()?.to_owned(), hit["_score"].as_f64()?.clamp(0.0, 1.0)));
    let mut found: Vec<(String, f64)> = hits.iter().filter_map(read).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(limit);
    found.into_iter().collect()
}

/// What has any of the words and passes the filter.
pub(super) fn having_any(words: &[String], filter: &[Value]) -> Value {
    let should: Vec<Value> = words.iter().map(|word| having(word)).collect();
    json!({"bool": {"should": should, "minimum_should_match": 1, "filter": filter}})
}

pub(super) fn having(word: &str) -> Value {
    json!({"term": {format!("{OURS}.words"): word}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_the_plugin_is_asked_once() {
        let refused = |reason: &str| Err(VectorError::Refused(reason.to_owned()));
        let pipeline = Pipeline::default();
        pipeline.judge(refused("too many clauses")).unwrap_err();
        pipeline.judge(Err(VectorError::Unavailable("[hybrid]".into()))).unwrap_err();
        assert!(pipeline.judge(Ok(json!({"hits": {"hits": [{"_score": 0.7}]}}))).unwrap().is_some());
        assert!(pipeline.may_be_there());
        assert!(pipeline.judge(refused("unknown query [hybrid]")).unwrap().is_none());
        assert!(!pipeline.may_be_there());
    }

    #[test]
    fn scores_that_no_processor_has_seen_are_not_taken() {
        for score in [json!(-9_549_511_920.488_16), json!(4.25), json!(null)] {
            let pipeline = Pipeline::default();
            let answer = json!({"hits": {"hits": [{"_score": 0.7}, {"_score": score}]}});
            assert!(pipeline.judge(Ok(answer)).unwrap().is_none());
        }
    }
}
