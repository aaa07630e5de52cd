//! A model of eight dimensions, made here, against numbers worked out elsewhere; and folders that are no model.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use craton_backend::{
    BackendError, EmbedRequest, EmbeddingModel, RerankModel, RerankRequest, Reranked, dot, unit,
};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::worker::MAX_WAITING;
use super::{BertEmbedder, MAX_TEXT_TOKENS};

const VOCABULARY: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "##a", "##b", "##c", "hello", "world"];
const HIDDEN: usize = 8;
const INNER: usize = 16;

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCABULARY.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![16, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut pair = |name: &str, weight: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight));
    };
    pair("embeddings.LayerNorm", vec![HIDDEN]);
    for layer in 0..2 {
        let at = format!("encoder.layer.{layer}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            pair(&format!("{at}.attention.{part}"), vec![HIDDEN, HIDDEN]);
        }
        pair(&format!("{at}.attention.output.LayerNorm"), vec![HIDDEN]);
        pair(&format!("{at}.intermediate.dense"), vec![INNER, HIDDEN]);
        pair(&format!("{at}.output.dense"), vec![HIDDEN, INNER]);
        pair(&format!("{at}.output.LayerNorm"), vec![HIDDEN]);
    }
    shapes.sort();
    shapes
}

/// The weights that `tests/fixtures/embed/reference.py` makes by the same rule.
fn weights() -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .enumerate()
        .map(|(number, (name, shape))| {
            let values = (0..shape.iter().product::<usize>()).map(|index| {
                let value = (1.0 + 0.7 * number as f64 + 0.37 * index as f64).sin() * 0.5;
                let value = if name.ends_with("LayerNorm.weight") { 1.0 + 0.1 * value } else { value };
                value as f32
            });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": VOCABULARY.len(), "hidden_size": HIDDEN, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": INNER, "hidden_act": "gelu",
        "max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    })
}

fn tokenizer() -> Value {
    let vocabulary: HashMap<&str, usize> =
        VOCABULARY.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    json!({
        "version": "1.0",
        // Limits of a training run, which must not count.
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn write(folder: &Path) {
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    let pooling = json!({"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": true});
    fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    fs::write(folder.join("config.json"), config().to_string()).unwrap();
    fs::write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 10}"#).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    fs::write(folder.join("model.safetensors"), weights()).unwrap();
}

fn tiny() -> BertEmbedder {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    BertEmbedder::load(folder.path()).unwrap()
}

fn request(texts: &[&str], truncate: bool) -> EmbedRequest {
    EmbedRequest {
        model: String::new(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        truncate,
    }
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found_value, value) in found.iter().zip(expected) {
        assert!((found_value - value).abs() < 2e-6, "{found:?}\n{expected:?}");
    }
}

#[tokio::test]
async fn quick_vectors_point_where_the_exact_ones_do() {
    let model = tiny();
    let texts = ["hello world", "a b c", "abc b xyz hello"];
    let exact = model.embed(request(&texts, false)).await.unwrap().vectors;
    let quick = model.embed_quick(request(&texts, false), None).await.unwrap().vectors;
    let early = model.embed_quick(request(&texts, false), Some(1)).await.unwrap().vectors;
    for ((exact, quick), early) in exact.iter().zip(quick).zip(early) {
        let quick = unit(quick);
        assert!(dot(exact, &quick) > 0.999, "{exact:?} {quick:?}");
        assert!(dot(exact, &unit(early)) < 0.99, "one layer of two says the same as both");
    }
}

#[tokio::test]
async fn vectors_are_those_of_another_implementation() {
    let reference: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/embed/reference.json")).unwrap();
    let expected: Vec<(Vec<u32>, Vec<f32>)> = serde_json::from_value(reference["tiny"].clone()).unwrap();
    // The third has the tokens a ##b ##c b [UNK].
    let texts = ["", "Hello world", "abc b xyz"];
    let model = tiny();
    let together = model.embed(request(&texts, false)).await.unwrap();
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(together.input_tokens[index] as usize + 2, expected[index].0.len(), "{text}");
        assert_near(&together.vectors[index], &expected[index].1);
        let alone = model.embed(request(&[text], false)).await.unwrap();
        assert_near(&alone.vectors[0], &expected[index].1);
        assert_eq!(model.count_tokens(text).await.unwrap(), together.input_tokens[index]);
    }
}

#[tokio::test]
async fn a_long_text_is_read_window_by_window() {
    let model = tiny();
    let long = "hello world a b ".repeat(10);
    let embedded = model.embed(request(&[&long, "hello world a b hello world a b"], false)).await.unwrap();
    assert_eq!(embedded.input_tokens, [40, 8]);
    // Five windows of the same eight tokens: their mean is one window's vector.
    assert_near(&embedded.vectors[0], &embedded.vectors[1]);
}

#[tokio::test]
async fn over_the_limit_is_an_error_or_cut() {
    let model = tiny();
    let over = "a ".repeat(MAX_TEXT_TOKENS as usize + 5);
    let error = model.embed(request(&[&over], false)).await.unwrap_err();
    assert_eq!(error, BackendError::ContextOverflow { tokens: MAX_TEXT_TOKENS + 5, limit: MAX_TEXT_TOKENS });
    let cut = model.embed(request(&[&over], true)).await.unwrap();
    assert_eq!(cut.input_tokens, [MAX_TEXT_TOKENS]);
    let huge = "a".repeat(1 << 20);
    let error = model.embed(request(&[&huge], false)).await.unwrap_err();
    assert!(matches!(error, BackendError::ContextOverflow { .. }), "{error}");
    assert_eq!(model.waiting().load(Relaxed), 0);
}

#[tokio::test]
async fn a_full_queue_is_refused() {
    let model = tiny();
    model.waiting().fetch_add(MAX_WAITING, Relaxed);
    let error = model.embed(request(&["hello"], false)).await.unwrap_err();
    assert!(matches!(error, BackendError::Overloaded { retry_after: Some(_), .. }), "{error}");
    assert_eq!(model.waiting().load(Relaxed), MAX_WAITING);
    model.waiting().fetch_sub(MAX_WAITING, Relaxed);
    model.embed(request(&["hello"], false)).await.unwrap();
}

#[tokio::test]
async fn abandoned_work_is_dropped() {
    let model = tiny();
    let long = "a b c ".repeat(2000);
    let texts: Vec<&str> = vec![&long; 5];
    let mut call = Box::pin(model.embed(request(&texts, false)));
    // Poll until its windows are queued.
    while model.waiting().load(Relaxed) == 0 {
        tokio::select! { _ = &mut call => break, () = tokio::time::sleep(Duration::from_millis(1)) => {} }
    }
    drop(call);
    for _ in 0..500 {
        if model.waiting().load(Relaxed) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(model.waiting().load(Relaxed), 0);
}

#[tokio::test]
async fn rerank_gives_each_document_a_score() {
    let model = tiny();
    let documents = ["hello world", "c c c", ""].map(str::to_owned).to_vec();
    let request = RerankRequest { model: String::new(), query: "hello world".into(), documents };
    let Reranked { scores, input_tokens } = model.rerank(request).await.unwrap();
    assert_eq!(input_tokens, 7);
    assert_eq!(scores.len(), 3);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    assert!(scores[0] > 0.99 && scores[0] > scores[1], "{scores:?}");
    let none = RerankRequest { query: "a".into(), ..RerankRequest::default() };
    assert_eq!(model.rerank(none).await.unwrap(), Reranked { scores: Vec::new(), input_tokens: 1 });
}

/// What loading says after `change` was made to a good folder.
fn refusal(change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    change(folder.path());
    match BertEmbedder::load(folder.path()) {
        Ok(_) => panic!("was opened"),
        Err(error) => error.to_string(),
    }
}

fn with_config(name: &str, value: Value) -> String {
    refusal(|folder| {
        let mut config = config();
        config[name] = value;
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    })
}

#[test]
fn folders_that_are_no_model_are_refused_with_a_reason() {
    let check = |found: String, expected: &str| assert!(found.contains(expected), "{found}");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        check(refusal(|folder| fs::remove_file(folder.join(file)).unwrap()), file);
        check(refusal(|folder| fs::write(folder.join(file), "").unwrap()), file);
        check(refusal(|folder| fs::write(folder.join(file), "{\"a\": [").unwrap()), file);
    }
    check(with_config("model_type", "llama".into()), "only 'bert'");
    check(with_config("hidden_size", 9.into()), "hidden_size is no multiple");
    check(with_config("num_hidden_layers", 0.into()), "num_hidden_layers is 0");
    check(with_config("num_hidden_layers", 3.into()), "has no tensor 'encoder.layer.2");
    check(with_config("intermediate_size", 32.into()), "has the shape [16, 8], not [32, 8]");
    check(with_config("vocab_size", 11.into()), "has token 11");
    check(with_config("hidden_act", "swish".into()), "unknown variant");
    check(with_config("layer_norm_eps", (-1.0).into()), "layer_norm_eps");
    let pooling = r#"{"pooling_mode_max_tokens": true}"#;
    check(
        refusal(|folder| fs::write(folder.join("1_Pooling/config.json"), pooling).unwrap()),
        "only pooling by",
    );
    let tiny_window = r#"{"max_seq_length": 2}"#;
    check(
        refusal(|folder| fs::write(folder.join("sentence_bert_config.json"), tiny_window).unwrap()),
        "no room",
    );
}

#[test]
fn weights_cut_anywhere_are_refused() {
    let whole = weights();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let found = refusal(|folder| fs::write(folder.join("model.safetensors"), &whole[..length]).unwrap());
        assert!(found.contains("not a whole safetensors file"), "{length}: {found}");
    }
}
