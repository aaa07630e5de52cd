//! The default embedding model against reference vectors, and what standing in for wider and narrower models costs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use craton_backend::{EmbedRequest, EmbeddingModel, RerankModel, RerankRequest, fit_dimensions};
use craton_engine::embed::BertEmbedder;

/// The model in the store, where `craton models pull` puts it.
fn model() -> BertEmbedder {
    static MODEL: OnceLock<BertEmbedder> = OnceLock::new();
    let load = || {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let store = set("CRATON_MODELS_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("craton/models")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/craton/models")))
            .unwrap();
        let folder = store.join("all-minilm-l6-v2");
        BertEmbedder::load(&folder)
            .unwrap_or_else(|error| panic!("run `craton models pull default` first: {error}"))
    };
    MODEL.get_or_init(load).clone()
}

fn sentences() -> Vec<String> {
    include_str!("../fixtures/embed/sentences.txt").lines().map(str::to_owned).collect()
}

async fn embed(texts: Vec<String>) -> Vec<Vec<f32>> {
    let request = EmbedRequest { model: String::new(), texts, truncate: false };
    model().embed(request).await.unwrap().vectors
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[tokio::test]
async fn vectors_are_those_of_another_implementation() {
    #[derive(serde::Deserialize)]
    struct Reference {
        minilm: BTreeMap<String, Vec<f32>>,
    }
    let text = include_str!("../fixtures/embed/reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    assert_eq!(reference.minilm.len(), 7);
    let texts: Vec<String> = reference.minilm.keys().cloned().collect();
    let together = embed(texts.clone()).await;
    for ((text, expected), found) in reference.minilm.iter().zip(&together) {
        let alone = &embed(vec![text.clone()]).await[0];
        for vector in [found, alone] {
            assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
            let worst = vector.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 5e-6, "{text:?}: {worst}");
        }
    }
}

#[tokio::test]
async fn raw_vectors_differ_in_length_only() {
    let texts = vec!["A cat.".to_owned(), "A long sentence about the history of the sea. ".repeat(120)];
    let request = EmbedRequest { model: String::new(), texts, truncate: false };
    let unit = model().embed(request.clone()).await.unwrap();
    let raw = model().embed_raw(request).await.unwrap();
    assert_eq!(unit.input_tokens, raw.input_tokens);
    for (unit, raw) in unit.vectors.iter().zip(&raw.vectors) {
        let length = cosine(raw, raw).sqrt();
        assert!((cosine(unit, raw) / length - 1.0).abs() < 1e-5);
        assert!((length - 1.0).abs() > 0.05, "{length}");
    }
}

/// The similarities that sentence-transformers' own documentation prints for this model.
#[tokio::test]
async fn similarities_are_the_published_ones() {
    let vectors = embed(sentences()[..3].to_vec()).await;
    for (a, b, expected) in [(0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)] {
        let found = cosine(&vectors[a], &vectors[b]);
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    order.into_iter().enumerate().for_each(|(rank, index)| ranks[index] = rank as f64);
    ranks
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum()
    };
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[tokio::test]
async fn other_widths_keep_the_geometry_of_real_sentences() {
    let vectors = embed(sentences()).await;
    let cosines = |vectors: &[Vec<f32>]| -> Vec<f64> {
        let pairs = (0..vectors.len()).flat_map(|a| (a + 1..vectors.len()).map(move |b| (a, b)));
        pairs.map(|(a, b)| cosine(&vectors[a], &vectors[b])).collect()
    };
    let before = cosines(&vectors);
    // A sentence, one near it in meaning, one far from it.
    let triples = [(3, 4, 15), (7, 8, 27), (9, 10, 13), (18, 19, 31), (24, 25, 32), (30, 31, 6)];
    for (width, least) in [(1024, 0.999_99), (1536, 0.999_99), (512, 0.999_99), (256, 0.98)] {
        let mapped: Vec<Vec<f32>> = vectors.iter().map(|vector| fit_dimensions(vector, width)).collect();
        let after = cosines(&mapped);
        let (linear, ranked) = (pearson(&before, &after), pearson(&ranks(&before), &ranks(&after)));
        println!("{width}: Pearson {linear:.4}, Spearman {ranked:.4}");
        assert!(linear > least && ranked > least.min(0.9999), "{width}: Pearson {linear}, Spearman {ranked}");
        for (a, near, far) in triples {
            let (near, far) = (cosine(&mapped[a], &mapped[near]), cosine(&mapped[a], &mapped[far]));
            assert!(near > far + 0.15, "{width}, sentence {a}: {near} against {far}");
        }
    }
}

#[tokio::test]
async fn answers_rank_over_what_is_beside_the_point() {
    let sentences = sentences();
    let cases = [
        ("How long does a refund take?", 3),
        ("What happens to my data in a crash?", 7),
        ("How do I change my password?", 24),
        ("What is the capital of France?", 18),
    ];
    for (query, answer) in cases {
        let request =
            RerankRequest { model: String::new(), query: query.into(), documents: sentences.clone() };
        let scores = model().rerank(request).await.unwrap().scores;
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        assert_eq!(best, answer, "{query}: {}", sentences[best]);
        let middle = {
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            sorted[sorted.len() / 2]
        };
        assert!(scores[best] > 0.5 && middle < 0.1, "{query}: {} over {middle}", scores[best]);
    }
}

#[tokio::test]
async fn a_long_document_is_found_by_its_one_window_that_answers() {
    let filler = sentences()[30..40].join(" ").repeat(12);
    let long = format!("{filler} The refund takes five working days to arrive. {filler}");
    let request = RerankRequest {
        model: String::new(),
        query: "How long does a refund take?".into(),
        documents: vec![filler, long],
    };
    let scores = model().rerank(request).await.unwrap().scores;
    assert!(scores[1] > scores[0], "{scores:?}");
}
