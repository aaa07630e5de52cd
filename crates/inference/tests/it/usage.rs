//! Usage is recorded exactly once, however a call ends, and leaving cancels the work.

use craton_backend::{BackendError, BlockStart, ChatEvent, Delta, StopReason, Usage};
use craton_metering::{Outcome, Tokens};
use craton_wire::operation::{Output, ReplyBody};
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use serde_json::json;

use crate::scripted::{CLAUDE, Step, World, finished, frames, input, said, user, world};

fn one_record(world: &World) -> craton_metering::UsageRecord {
    let records = world.records.0.lock();
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

fn tokens(input: u32, output: u32, estimated: bool) -> Tokens {
    Tokens { input, output, estimated, ..Tokens::default() }
}

#[tokio::test]
async fn a_completed_call() {
    let world = world().await;
    world.model.answer(said("Hello.", 5));
    let request = input(json!({
        "modelId": "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "messages": user("hi"),
        "requestMetadata": {"team": "a"}
    }));
    frames(world.inference.converse_stream(&world.context, request).await.unwrap()).await;
    let record = one_record(&world);
    assert_eq!(record.outcome, Outcome::Completed { stop_reason: "end_turn" });
    assert_eq!(record.tokens, tokens(5, 3, false));
    assert_eq!((record.operation, record.model_id.as_str()), ("ConverseStream", CLAUDE));
    assert!(record.profile_arn.unwrap().contains("inference-profile/us."));
    assert_eq!(record.metadata, [("team".to_owned(), "a".to_owned())]);
    assert!(record.streamed && record.first_token_ms.is_some());
    assert_eq!(world.model.dropped(), 1, "the backend's stream is freed when the answer is complete");
}

#[tokio::test]
async fn a_call_that_fails_at_once() {
    let world = world().await;
    world.model.refuse(BackendError::NotReady("loading".into()));
    let answer = world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code, "ModelNotReadyException");
    assert_eq!(one_record(&world).outcome, Outcome::Failed { code: "ModelNotReadyException".into() });
}

fn begun() -> Vec<Step> {
    let started = ChatEvent::Started { usage: Usage { input_tokens: 4, ..Usage::default() } };
    let delta = |text: &str| ChatEvent::BlockDelta { index: 0, delta: Delta::Text(text.into()) };
    let start = ChatEvent::BlockStart { index: 0, block: BlockStart::Text };
    [started, start, delta("Hel"), delta("lo")].into_iter().map(Step::Event).collect()
}

#[tokio::test]
async fn a_call_that_fails_on_the_way() {
    let world = world().await;
    let broken = Step::Error(BackendError::BrokenStream("reset".into()));
    world.model.steps(begun().into_iter().chain([broken]).collect());
    let request = input(json!({"messages": user("hi")}));
    frames(world.inference.converse_stream(&world.context, request).await.unwrap()).await;
    let record = one_record(&world);
    assert_eq!(record.outcome, Outcome::Failed { code: "ModelStreamErrorException".into() });
    assert_eq!(record.tokens, tokens(4, 2, true));
    assert_eq!(world.model.dropped(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream() {
    let world = world().await;
    world.model.steps(begun().into_iter().chain([Step::Hang]).collect());
    let request = input(json!({"messages": user("hi")}));
    let output = world.inference.converse_stream(&world.context, request).await.unwrap();
    let ReplyBody::Events(mut events) = output.into_reply().unwrap().body else { panic!("not a stream") };
    for _ in 0..3 {
        events.next().await.unwrap().unwrap();
    }
    assert!(events.next().now_or_never().is_none(), "the script hangs here");
    assert_eq!((world.model.dropped(), world.records.0.lock().len()), (0, 0));
    drop(events);
    assert_eq!(world.model.dropped(), 1, "the backend was not told to stop");
    let record = one_record(&world);
    assert_eq!(record.outcome, Outcome::Cancelled);
    assert_eq!(record.tokens, tokens(4, 2, true));
}

#[tokio::test]
async fn a_client_that_leaves_before_a_whole_answer() {
    let world = world().await;
    world.model.steps(begun().into_iter().chain([Step::Hang]).collect());
    let request = input(json!({"messages": user("hi")}));
    assert!(world.inference.converse(&world.context, request).now_or_never().is_none());
    assert_eq!(world.model.dropped(), 1);
    assert_eq!(one_record(&world).outcome, Outcome::Cancelled);
}

/// Anything a backend might say, in any order.
fn any_step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        Just(ChatEvent::Started { usage: Usage::default() }),
        Just(ChatEvent::BlockStart { index: 0, block: BlockStart::Text }),
        Just(ChatEvent::BlockStart {
            index: 1,
            block: BlockStart::ToolUse { id: "t".into(), name: "n".into() }
        }),
        Just(ChatEvent::BlockDelta { index: 0, delta: Delta::Text("x".into()) }),
        Just(ChatEvent::BlockDelta { index: 1, delta: Delta::ToolInput("{".into()) }),
        Just(ChatEvent::BlockStop { index: 0 }),
        Just(ChatEvent::Finished(finished(StopReason::EndTurn, 1))),
    ];
    prop_oneof![
        8 => event.prop_map(Step::Event),
        1 => Just(Step::Error(BackendError::BrokenStream("reset".into()))),
        1 => Just(Step::Hang),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn one_record_and_a_freed_backend_whatever_happens(
        steps in proptest::collection::vec(any_step(), 0..9), polls in 0..12usize, streamed: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            world.model.steps(steps);
            let request = json!({"messages": user("hi")});
            if streamed {
                let output = world.inference.converse_stream(&world.context, input(request)).await.unwrap();
                let mut events = output.output.stream;
                for _ in 0..polls {
                    let _ = events.next().now_or_never();
                }
            } else {
                let _ = world.inference.converse(&world.context, input(request)).now_or_never();
            }
            assert_eq!(world.model.dropped(), 1);
            one_record(&world);
        });
    }
}

/// The server boxes handlers' futures and moves them between threads.
#[tokio::test]
async fn every_handler_can_be_routed() {
    fn routed<T>(future: impl Future<Output = T> + Send) {
        drop(future);
    }
    let World { inference, context, .. } = &world().await;
    routed(inference.converse(context, Default::default()));
    routed(inference.converse_stream(context, Default::default()));
    routed(inference.invoke_model(context, Default::default()));
    routed(inference.invoke_model_with_response_stream(context, Default::default()));
    routed(inference.count_tokens(context, input(json!({"input": {"converse": {}}}))));
}
