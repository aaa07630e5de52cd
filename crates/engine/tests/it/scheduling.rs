use std::sync::Arc;
use std::time::Duration;

use craton_backend::{
    BackendError, Block, ChatEvent, ChatModel, ChatRequest, Message, Priority, Role, Sampling, StopReason,
};
use craton_engine::{Engine, EngineConfig, ModelStats};
use futures::StreamExt;
use futures::future::join_all;

use crate::support::{answer, ask, collect, own_model, small};

fn stats(engine: &Engine) -> ModelStats {
    engine.stats().remove(0)
}

async fn until(engine: &Engine, what: &str, holds: impl Fn(&ModelStats) -> bool) {
    for _ in 0..2000 {
        if holds(&stats(engine)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}: {:?}", stats(engine));
}

/// An answer that the model is sure of: scores that differ in their last digits, as they may from one batch shape to
/// another, do not change it, while a mix-up of sequences would.
fn recite(begun: &str) -> ChatRequest {
    let mut request = ask("Go on.", 24);
    request.messages.push(Message { role: Role::Assistant, content: vec![Block::Text(begun.to_owned())] });
    request
}

#[tokio::test]
async fn answers_in_a_batch_are_those_given_alone() {
    let recitals = [
        "1, 2, 3, 4, 5, 6, 7, 8, 9,",
        "10, 20, 30, 40, 50, 60,",
        "100, 200, 300, 400, 500, 600,",
        "January, February, March, April,",
        "2, 4, 6, 8, 10, 12, 14,",
        "go go go go go go go go go go",
    ];
    let (_engine, model) = own_model(small());
    let mut alone = Vec::new();
    for begun in recitals {
        alone.push(answer(&model, recite(begun)).await.unwrap().text());
    }
    let (_engine, model) = own_model(small());
    let together = join_all(recitals.map(|begun| answer(&model, recite(begun)))).await;
    for ((begun, alone), together) in recitals.iter().zip(&alone).zip(together) {
        assert!(!alone.is_empty());
        assert_eq!(&together.unwrap().text(), alone, "{begun}");
    }
}

#[tokio::test]
async fn a_dropped_stream_frees_its_place() {
    let (engine, model) = own_model(EngineConfig { max_sequences: 1, ..small() });
    let mut stream = model.chat(ask("Count to one thousand, one number a line.", 2000)).await.unwrap();
    while let Some(event) = stream.next().await {
        if matches!(event.unwrap(), ChatEvent::BlockDelta { .. }) {
            break;
        }
    }
    until(&engine, "running", |stats| stats.active == 1).await;
    drop(stream);
    let next = tokio::time::timeout(Duration::from_secs(60), answer(&model, ask("Say hi.", 3))).await;
    assert!(next.unwrap().is_ok());
    until(&engine, "idle", |stats| stats.active == 0).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_dropped_one_makes_room() {
    let (engine, model) = own_model(EngineConfig { max_sequences: 1, max_queued: 2, ..small() });
    let long = || ask("Count to one thousand, one number a line.", 2000);
    let running = model.chat(long()).await.unwrap();
    until(&engine, "running", |stats| stats.active == 1).await;
    let first = model.chat(long()).await.unwrap();
    let second = model.chat(long()).await.unwrap();
    match model.chat(long()).await {
        Err(BackendError::Overloaded { retry_after, .. }) => assert!(retry_after.is_some()),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a third request was queued"),
    }
    drop(second);
    drop(model.chat(long()).await.unwrap());
    drop((running, first));
    until(&engine, "idle", |stats| stats.active == 0 && stats.queued == 0).await;
}

#[tokio::test]
async fn priorities_go_first_and_equals_in_order() {
    let (engine, model) = own_model(EngineConfig { max_sequences: 1, ..small() });
    let blocker = model.chat(ask("Count to one thousand, one number a line.", 2000)).await.unwrap();
    until(&engine, "running", |stats| stats.active == 1).await;
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, priority) in [
        ("flex", Priority::Flex),
        ("default 1", Priority::Default),
        ("default 2", Priority::Default),
        ("priority", Priority::Priority),
    ] {
        let mut request = ask("Say hi.", 2);
        request.priority = priority;
        let stream = model.chat(request).await.unwrap();
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            collect(stream).await.unwrap();
            order.lock().push(name);
        }));
    }
    drop(blocker);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), ["priority", "default 1", "default 2", "flex"]);
}

fn long_system() -> Vec<Block> {
    let rules: String =
        (1..60).map(|n| format!("Rule {n}: always be kind and brief, even on day {n}. ")).collect();
    vec![Block::Text(rules), Block::CachePoint]
}

#[tokio::test]
async fn a_shared_prefix_is_computed_once_and_reported() {
    let (engine, model) = own_model(small());
    let mut request = ask("What is the capital of France?", 8);
    request.system = long_system();
    let cold = answer(&model, request.clone()).await.unwrap();
    let usage = cold.finished.usage;
    assert_eq!(usage.cache_read_tokens, 0);
    assert!(usage.cache_write_tokens > 500, "{usage:?}");
    assert!(usage.input_tokens < 40, "{usage:?}");

    // Another question after the same system prompt.
    request.messages[0].content = vec![Block::Text("Name a colour.".to_owned())];
    let warm = answer(&model, request.clone()).await.unwrap();
    assert_eq!(warm.finished.usage.cache_read_tokens, usage.cache_write_tokens);
    assert_eq!(warm.finished.usage.cache_write_tokens, 0);

    // The conversation goes on: everything said so far is there already.
    let before = stats(&engine);
    request.messages.push(Message { role: Role::Assistant, content: vec![Block::Text(warm.text())] });
    request.messages.push(crate::support::user("Another one."));
    answer(&model, request).await.unwrap();
    let after = stats(&engine);
    let prompt = after.prompt_tokens_total - before.prompt_tokens_total;
    let reused = after.reused_tokens_total - before.reused_tokens_total;
    assert!(prompt - reused < 60, "{reused} of {prompt} prompt tokens were reused");
}

/// What docs/local-models.md says to set for answers that are the same bit for bit.
#[tokio::test]
async fn without_cached_sequences_nothing_is_reused_and_answers_repeat() {
    let alone = EngineConfig { max_sequences: 1, cached_sequences: 0, flash_attention: false, ..small() };
    let (engine, model) = own_model(alone);
    let mut request = ask("Tell me a story about a lighthouse.", 20);
    request.system = long_system();
    let first = answer(&model, request.clone()).await.unwrap();
    let again = join_all((0..3).map(|_| answer(&model, request.clone()))).await;
    for answer in again {
        let answer = answer.unwrap();
        assert_eq!((answer.text(), answer.finished.usage), (first.text(), first.finished.usage));
    }
    assert_eq!(stats(&engine).reused_tokens_total, 0);
}

/// Of answers that the model is sure of: where two tokens are about equally good, a step's size decides too.
#[tokio::test]
async fn drafts_save_steps_and_change_nothing() {
    let list = "red, green, blue, yellow, orange, purple, black, white, brown and grey. ".repeat(4);
    let question = format!("Repeat this text word for word, to its end: {list}");
    let mut told = Vec::new();
    for draft_tokens in [0, 7] {
        let (engine, model) = own_model(EngineConfig { draft_tokens, cached_sequences: 0, ..small() });
        let greedy = answer(&model, ask(&question, 60)).await.unwrap();
        let steps = stats(&engine).steps_total;
        let mut request = ask(&question, 60);
        request.sampling.temperature = Some(0.2);
        request.sampling.seed = Some(3);
        let drawn = answer(&model, request.clone()).await.unwrap();
        // It comes in the midst of what is drafted.
        request.sampling = Sampling { stop_sequences: vec!["purple".to_owned()], ..ask("", 60).sampling };
        let stopped = answer(&model, request).await.unwrap();
        assert_eq!(stopped.finished.reason, StopReason::StopSequence);
        let answers = [greedy, drawn, stopped];
        told.push((steps, answers.map(|it| (it.text(), it.finished.usage.output_tokens))));
    }
    let [(all, plainly), (fewer, drafted)] = &told[..] else { panic!("two engines") };
    assert_eq!(plainly, drafted);
    assert!(*fewer * 3 < all * 2, "{fewer} steps of {all}: {plainly:?}");
}

#[tokio::test]
async fn requests_that_arrive_together_share_a_prefix_too() {
    let (engine, model) = own_model(small());
    let ask_with = |question: &str| {
        let mut request = ask(question, 4);
        request.system = long_system();
        request
    };
    let questions = ["Who are you?", "Name a colour.", "What is two plus two?", "Say hi."];
    let answers = join_all(questions.map(|question| answer(&model, ask_with(question)))).await;
    let usages: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().finished.usage).collect();
    assert_eq!(usages.iter().filter(|usage| usage.cache_read_tokens > 0).count(), 3, "{usages:?}");
    let stats = stats(&engine);
    assert!(
        stats.prompt_tokens_total - stats.reused_tokens_total < stats.prompt_tokens_total / 3,
        "{stats:?}"
    );
}

#[tokio::test]
async fn an_answer_that_fills_the_context_says_so() {
    let (_engine, model) = own_model(EngineConfig { context_tokens: Some(96), ..small() });
    let got = answer(&model, ask("Write a long story about the sea.", 2000)).await.unwrap();
    assert_eq!(got.finished.reason, StopReason::ContextWindowExceeded);
    let usage = got.finished.usage;
    assert_eq!(usage.input_tokens + usage.output_tokens, 96);
}

/// More is asked of the KV cache than it holds: requests are set aside and continued, and nobody notices.
#[tokio::test]
async fn answers_survive_a_full_kv_cache() {
    let config = EngineConfig {
        max_sequences: 6,
        cached_sequences: 2,
        kv_budget_mib: Some(12),
        ..EngineConfig::default()
    };
    let (engine, model) = own_model(config);
    let questions: Vec<String> = (1..=6).map(|n| format!("Write a long story about {n} cats.")).collect();
    let answers = join_all(questions.iter().map(|question| answer(&model, ask(question, 150)))).await;
    for got in answers {
        let got = got.unwrap();
        assert!(got.finished.usage.output_tokens == 150 || got.finished.reason == StopReason::EndTurn);
    }
    let stats = stats(&engine);
    assert!(stats.preempted_total > 0, "the cache never ran full: {stats:?}");
    assert!(stats.kv_used_tokens <= stats.kv_capacity_tokens);
}

#[tokio::test]
async fn an_unloaded_model_ends_its_requests_and_loads_again() {
    let (engine, model) = own_model(small());
    let stream = model.chat(ask("Count to one thousand, one number a line.", 2000)).await.unwrap();
    until(&engine, "running", |stats| stats.active == 1).await;
    engine.unload("test");
    assert!(matches!(collect(stream).await, Err(BackendError::NotReady(_))));
    let model: Arc<dyn ChatModel> = engine.chat_model("test", &crate::support::model_path());
    assert!(answer(&model, ask("Say hi.", 2)).await.is_ok());
}
