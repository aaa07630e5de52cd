use std::sync::atomic::{AtomicI64, Ordering};

use craton_core::RandomIds;
use serde_json::json;

use super::claim::TAKEN_MS;
use super::*;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Kept {
    runs: Conversations,
    hands: Arc<Hands>,
    place: Place,
}

impl Kept {
    /// With a run that waits for `Ask`, after `Before`.
    async fn new() -> Self {
        let hands = Arc::new(Hands(AtomicI64::new(1_000_000)));
        let store = Store::in_memory().await.unwrap();
        let runs = Conversations { store, clock: Arc::clone(&hands) as _, ids: Arc::new(RandomIds) };
        let flow = FlowRef { account: "1".into(), region: "r".into(), id: "FLOW".into() };
        let place = Place::of((&flow, "ALIAS"), "run");
        runs.keep(&place, &conversation(&["Before"], "Which city?")).await.unwrap();
        Self { runs, hands, place }
    }

    async fn take(&self) -> Option<(Conversation, Answering)> {
        self.runs.take(&self.place, "Ask").await.unwrap()
    }

    async fn record(&self) -> Option<Record> {
        self.runs.store.get(&self.place.scope, &self.place.id).await.unwrap()
    }

    /// What was done and asked before, once nobody has the run any more.
    async fn released(&self) -> (Vec<String>, String) {
        for _ in 0..500 {
            if let Ok(Some((found, answering))) = self.runs.take(&self.place, "Ask").await {
                answering.release().await;
                return (found.done.into_keys().collect(), found.waiting[0].question.clone());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the run is not let go of");
    }
}

fn conversation(done: &[&str], question: &str) -> Conversation {
    let body = json!({"name": "f", "execution_role_arn": "role", "definition": {}, "status": "Prepared"});
    Conversation {
        version: "1".into(),
        body: serde_json::from_value(body).unwrap(),
        input: json!("in"),
        done: done.iter().map(|name| ((*name).to_owned(), given("small"))).collect(),
        waiting: vec![Waiting { key: "Ask".into(), node: "Ask".into(), question: question.into() }],
    }
}

fn given(text: &str) -> Given {
    Given::one("out", json!(text))
}

#[tokio::test]
async fn an_end_that_cannot_be_kept_loses_nothing() {
    let kept = Kept::new().await;
    let (mut found, answering) = kept.take().await.unwrap();
    let progress = answering.progress();
    progress.done.lock().insert("Large".into(), given(&"x".repeat(MOST_BYTES)));
    found.done = progress.done.lock().clone();
    let error = answering.wait(&found).await.unwrap_err();
    assert_eq!(error.code, "ValidationException");
    assert_eq!(kept.released().await, (vec!["Before".to_owned()], "Which city?".to_owned()));
}

#[tokio::test]
async fn what_an_answer_came_to_is_kept_when_it_is_dropped() {
    let kept = Kept::new().await;
    let (_, answering) = kept.take().await.unwrap();
    answering.progress().done.lock().insert("More".into(), given("small"));
    drop(answering);
    assert_eq!(kept.released().await.0, ["Before", "More"]);
}

#[tokio::test]
async fn word_of_whoever_answers_does_not_touch_the_run() {
    let kept = Kept::new().await;
    let before = kept.record().await.unwrap();
    let (_, answering) = kept.take().await.unwrap();
    for _ in 0..3 {
        let now_ms = kept.hands.0.fetch_add(TAKEN_MS - 1, Ordering::SeqCst) + TAKEN_MS - 1;
        assert!(answering.held.claim.renew(now_ms).await.unwrap());
        let other = kept.runs.take(&kept.place, "Ask").await.err().map(|error| error.code.into_owned());
        assert_eq!(other.as_deref(), Some("ConflictException"));
    }
    assert_eq!(kept.record().await.unwrap(), before);
}

#[tokio::test]
async fn a_run_whose_claim_is_lost_ends_and_deletes_nothing() {
    let kept = Kept::new().await;
    let (_, first) = kept.take().await.unwrap();
    // The server was away for longer than its claim holds, and another one took the run up.
    kept.hands.0.fetch_add(TAKEN_MS, Ordering::SeqCst);
    let (found, second) = kept.take().await.unwrap();
    assert!(!first.held.claim.renew(kept.hands.now_ms()).await.unwrap());
    first.progress().done.lock().insert("Stale".into(), given("small"));
    assert_eq!(first.forget().await.unwrap_err().code, "ConflictException");
    second.wait(&Conversation { done: BTreeMap::new(), ..found }).await.unwrap();
    assert!(kept.record().await.is_some());
    assert_eq!(kept.released().await.0, Vec::<String>::new(), "nothing of the first is in it");
}

#[tokio::test]
async fn a_lost_claim_is_told_to_the_run() {
    let kept = Kept::new().await;
    let (_, answering) = kept.take().await.unwrap();
    let held = Held {
        claim: Claim::new(kept.runs.store.clone(), &kept.place, "somebody else".into()),
        clock: Arc::clone(&kept.runs.clock),
        place: kept.place.clone(),
    };
    let other = Answering::new(held, BTreeMap::new(), Duration::from_millis(5));
    let error = tokio::time::timeout(Duration::from_secs(10), other.lost()).await.unwrap();
    assert_eq!(error.code, "ConflictException");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), answering.lost()).await.is_err(),
        "it has its claim still"
    );
}

#[tokio::test]
async fn a_new_run_takes_no_answered_runs_place() {
    let kept = Kept::new().await;
    let (_, answering) = kept.take().await.unwrap();
    let new = conversation(&[], "New?");
    assert_eq!(kept.runs.keep(&kept.place, &new).await.unwrap_err().code, "ConflictException");
    assert_eq!(kept.runs.take(&kept.place, "Other").await.err().unwrap().code, "ConflictException");
    answering.release().await;
    kept.runs.keep(&kept.place, &new).await.unwrap();
    assert_eq!(kept.released().await.1, "New?");
}

#[tokio::test]
async fn a_question_is_forgotten_after_its_time() {
    let kept = Kept::new().await;
    kept.hands.0.fetch_add(KEPT_MS, Ordering::SeqCst);
    assert!(kept.take().await.is_none());
    kept.runs.forget_old().await;
    assert!(kept.record().await.is_some());
    kept.hands.0.fetch_add(KEPT_MS + 1, Ordering::SeqCst);
    kept.runs.forget_old().await;
    assert!(kept.record().await.is_none());
}
