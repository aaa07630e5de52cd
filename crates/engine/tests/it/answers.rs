use craton_backend::{BackendError, Block, Message, Role, StopReason};

use crate::support::{answer, ask, own_model, shared_model, small};

#[tokio::test]
async fn a_greedy_answer_is_sensible_and_repeats() {
    let model = shared_model();
    let request = ask("What is the capital of France? Answer in one sentence.", 40);
    let first = answer(&model, request.clone()).await.unwrap();
    assert!(first.text().contains("Paris"), "{:?}", first.text());
    assert_eq!(first.finished.reason, StopReason::EndTurn);
    assert!(!first.text().contains("<|"), "{:?}", first.text());
    assert!(first.deltas > 3, "the answer came in {} pieces", first.deltas);
    let second = answer(&model, request).await.unwrap();
    assert_eq!(first.text(), second.text());
}

/// The model's weights are in blocks: what llama.cpp's build was told of whom to ask reached it.
#[tokio::test]
async fn products_are_computed_here_where_that_is_faster() {
    let before = craton_engine::computed_products();
    answer(&shared_model(), ask("Hello!", 2)).await.unwrap();
    assert_eq!(craton_engine::computed_products() > before, craton_engine::multiplies_blocks());
}

#[tokio::test]
async fn a_seed_repeats_and_temperature_varies() {
    let told = async |seed| {
        // A model of its own, so that every run computes in the same batches.
        let (_engine, model) = own_model(small());
        let mut request = ask("Tell me a story about a lighthouse.", 24);
        request.sampling.temperature = Some(1.0);
        request.sampling.seed = Some(seed);
        answer(&model, request).await.unwrap().text()
    };
    let first = told(11).await;
    assert_eq!(told(11).await, first);
    assert_ne!(told(12).await, first);
}

#[tokio::test]
async fn the_answer_ends_at_max_tokens_and_says_so() {
    let model = shared_model();
    let got = answer(&model, ask("Write a long story about the sea.", 7)).await.unwrap();
    assert_eq!(got.finished.reason, StopReason::MaxTokens);
    assert_eq!(got.finished.usage.output_tokens, 7);
}

#[tokio::test]
async fn a_stop_sequence_ends_the_answer_and_never_shows() {
    let model = shared_model();
    let question = "Write the numbers from 1 to 9 separated by commas.";
    let whole = answer(&model, ask(question, 60)).await.unwrap().text();
    // A stop that crosses token boundaries, taken from the middle of what the model says.
    let middle: String = whole.chars().skip(whole.chars().count() / 2).take(5).collect();
    let mut request = ask(question, 60);
    request.sampling.stop_sequences = vec!["never said".to_owned(), middle.clone()];
    let cut = answer(&model, request).await.unwrap();
    assert_eq!(cut.finished.reason, StopReason::StopSequence);
    assert_eq!(cut.finished.stop_sequence.as_deref(), Some(middle.as_str()));
    assert_eq!(cut.text(), whole[..whole.find(&middle).unwrap()]);
}

#[tokio::test]
async fn a_begun_answer_is_continued() {
    let model = shared_model();
    let mut request = ask("What is the capital of France?", 8);
    request.messages.push(Message {
        role: Role::Assistant,
        content: vec![Block::Text("The capital of France is".to_owned())],
    });
    let got = answer(&model, request).await.unwrap();
    assert!(got.text().trim_start().starts_with("Paris"), "{:?}", got.text());
}

#[tokio::test]
async fn counted_tokens_are_those_reported() {
    let model = shared_model();
    let mut request = ask("How many tokens is this?", 1);
    request.system = vec![Block::Text("Be brief.".to_owned())];
    let counted = model.count_tokens(&request).await.unwrap();
    let usage = answer(&model, request.clone()).await.unwrap().finished.usage;
    assert_eq!(usage.input_tokens, counted);
    assert_eq!((usage.cache_read_tokens, usage.cache_write_tokens), (0, 0));
    request.system.push(Block::CachePoint);
    let counted = model.count_tokens(&request).await.unwrap();
    let usage = answer(&model, request).await.unwrap().finished.usage;
    assert_eq!(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens, counted);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_a_reason() {
    let model = shared_model();
    let long = "word ".repeat(9000);
    let error = answer(&model, ask(&long, 1)).await.unwrap_err();
    assert!(matches!(error, BackendError::ContextOverflow { tokens, limit } if tokens > limit), "{error:?}");
    let mut hot = ask("hi", 1);
    hot.sampling.temperature = Some(-1.0);
    assert!(matches!(answer(&model, hot).await, Err(BackendError::Invalid(_))));
    let mut empty = ask("hi", 1);
    empty.messages.clear();
    assert!(matches!(answer(&model, empty).await, Err(BackendError::Invalid(_))));
}
