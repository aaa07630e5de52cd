//! Embedding and rerank bodies: what a client writes reads back as it was meant, and answers say what the model did.

use craton_backend::Embeddings;
use craton_models::Family;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::arbitrary::said;
use crate::codec::embedding::{self, EmbedDecoded};
use crate::codec::rerank;

/// What a client of an embedding family can ask for.
#[derive(Debug, Clone)]
struct Asked {
    family: Family,
    model_id: &'static str,
    body: Value,
    texts: Vec<String>,
    truncate: bool,
    dimensions: Option<u32>,
    raw: bool,
}

fn width(offered: &'static [u32]) -> impl Strategy<Value = Option<u32>> {
    option::of(prop::sample::select(offered))
}

/// `null`s are fields left out.
fn object(fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

fn titan() -> impl Strategy<Value = Asked> {
    let v1 = said().prop_map(|text| Asked {
        family: Family::TitanEmbedV1,
        model_id: "amazon.titan-embed-text-v1",
        body: json!({ "inputText": text }),
        texts: vec![text],
        truncate: false,
        dimensions: None,
        raw: false,
    });
    let v2 = (said(), width(&[256, 512, 1024]), option::of(any::<bool>())).prop_map(
        |(text, dimensions, normalize)| Asked {
            family: Family::TitanEmbedV2,
            model_id: "amazon.titan-embed-text-v2:0",
            body: object(json!({"inputText": text, "dimensions": dimensions, "normalize": normalize})),
            texts: vec![text],
            truncate: false,
            dimensions: Some(dimensions.unwrap_or(1024)),
            raw: normalize == Some(false),
        },
    );
    let image = (said(), width(&[256, 384, 1024])).prop_map(|(text, dimensions)| Asked {
        family: Family::TitanEmbedImage,
        model_id: "amazon.titan-embed-image-v1",
        body: object(json!({
            "inputText": text,
            "embeddingConfig": dimensions.map(|width| json!({"outputEmbeddingLength": width})),
        })),
        texts: vec![text],
        truncate: false,
        dimensions: Some(dimensions.unwrap_or(1024)),
        raw: false,
    });
    prop_oneof![v1, v2, image]
}

fn cohere() -> impl Strategy<Value = Asked> {
    let ends = option::of(prop::sample::select(vec!["NONE", "START", "END"]));
    let kinds = prop::sample::select(vec!["search_document", "search_query", "classification"]);
    (vec(said(), 1..6), kinds, ends, width(&[256, 512, 1024, 1536]), any::<bool>()).prop_map(
        |(texts, kind, truncate, dimensions, v4)| Asked {
            family: Family::CohereEmbed,
            model_id: if v4 { "cohere.embed-v4:0" } else { "cohere.embed-english-v3" },
            body: object(json!({
                "texts": texts, "input_type": kind, "truncate": truncate,
                "output_dimension": dimensions.filter(|_| v4),
            })),
            texts,
            truncate: truncate.map_or(v4, |end| end == "END"),
            dimensions: dimensions.filter(|_| v4),
            raw: false,
        },
    )
}

fn nova() -> impl Strategy<Value = Asked> {
    let ends = prop::sample::select(vec!["NONE", "START", "END"]);
    (said(), ends, width(&[256, 384, 1024, 3072])).prop_map(|(text, end, dimensions)| Asked {
        family: Family::NovaEmbed,
        model_id: "amazon.nova-2-multimodal-embeddings-v1:0",
        body: json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": object(json!({
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": dimensions,
            "text": {"truncationMode": end, "value": text},
        }))}),
        texts: vec![text],
        truncate: end == "END",
        dimensions: Some(dimensions.unwrap_or(3072)),
        raw: false,
    })
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// The vectors of an answer, wherever its family has them.
fn vectors(body: &Value) -> Vec<Vec<f32>> {
    let one = |value: &Value| serde_json::from_value::<Vec<f32>>(value.clone()).ok();
    if let Some(vector) = body.get("embedding").and_then(one) {
        return vec![vector];
    }
    let list = body["embeddings"].as_array().unwrap_or_else(|| panic!("{body}"));
    list.iter().map(|item| one(item).or_else(|| one(&item["embedding"])).unwrap()).collect()
}

fn answer(decoded: &EmbedDecoded, width: usize) -> Vec<Vec<f32>> {
    let texts = decoded.request.texts.len();
    let vector = |text: usize| (0..width).map(|at| ((at * 7 + text * 13) % 11) as f32 - 5.0).collect();
    let embeddings = Embeddings { vectors: (0..texts).map(vector).collect(), input_tokens: vec![2; texts] };
    vectors(&serde_json::from_slice(&decoded.encode(&embeddings).unwrap()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn embedding_requests_read_back(asked in prop_oneof![titan(), cohere(), nova()]) {
        let body = serde_json::to_vec(&asked.body).unwrap();
        let decoded = embedding::decode(asked.family, asked.model_id, &body).unwrap();
        prop_assert_eq!(&decoded.request.texts, &asked.texts);
        prop_assert_eq!(
            (decoded.request.truncate, decoded.dimensions, decoded.raw),
            (asked.truncate, asked.dimensions, asked.raw),
            "{}", asked.body
        );
        let vectors = answer(&decoded, 24);
        prop_assert_eq!(vectors.len(), asked.texts.len());
        for vector in vectors {
            prop_assert_eq!(vector.len(), asked.dimensions.unwrap_or(24) as usize);
            if asked.dimensions.is_some() && !asked.raw {
                prop_assert!((length(&vector) - 1.0).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn rerank_requests_read_back(
        query in said(), documents in vec(said(), 1..12), top_n in option::of(1..20_u32), cohere in any::<bool>(),
        scores in vec(0.0_f32..1.0, 12),
    ) {
        let mut body = object(json!({"query": query, "documents": documents, "top_n": top_n}));
        let family = if cohere { Family::CohereRerank } else { Family::AmazonRerank };
        if cohere {
            body["api_version"] = json!(2);
        }
        let decoded = rerank::decode(family, &serde_json::to_vec(&body).unwrap()).unwrap();
        prop_assert_eq!((&decoded.request.query, &decoded.request.documents), (&query, &documents));
        prop_assert_eq!(decoded.top_n, top_n);
        let scores = &scores[..documents.len()];
        let answer: Value = serde_json::from_slice(&decoded.encode(scores).unwrap()).unwrap();
        let results = answer["results"].as_array().unwrap();
        prop_assert_eq!(results.len(), documents.len().min(top_n.map_or(usize::MAX, |n| n as usize)));
        for pair in results.windows(2) {
            prop_assert!(pair[0]["relevance_score"].as_f64() >= pair[1]["relevance_score"].as_f64());
        }
        for result in results {
            let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
            prop_assert!((result["relevance_score"].as_f64().unwrap() - f64::from(scores[index])).abs() < 1e-6);
        }
    }
}
