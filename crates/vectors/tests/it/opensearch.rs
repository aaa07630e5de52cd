//! A real OpenSearch with its k-NN plugin, which `make opensearch` puts together and these tests start, one a test process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use craton_store::Store;
use craton_store::testing::repository;
use craton_vectors::contract::{self, DIMENSIONS, chunk, key};
use craton_vectors::{
    Chunk, DocumentChunks, Drivers, Filter, IndexSpec, MetadataValue, OpenSearchAccess, OpenSearchIndex,
    Query, Storage, VectorError, Want,
};

use crate::embedded::Opened;

struct Node {
    url: String,
    /// Closed when this process ends in whatever way; the script then ends the node.
    _lifeline: ChildStdin,
    _script: Child,
}

fn url() -> &'static str {
    static NODE: OnceLock<Node> = OnceLock::new();
    &NODE.get_or_init(start).url
}

fn start() -> Node {
    let compat = repository("compat");
    let installed = compat.join(".opensearch");
    assert!(installed.join("home").exists(), "`make opensearch` installs what this test starts");
    let mut script = Command::new(compat.join("opensearch/serve"))
        .arg(&installed)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .current_dir("/")
        .spawn()
        .unwrap();
    let lifeline = script.stdin.take().unwrap();
    let mut said = String::new();
    BufReader::new(script.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let url = said.trim().strip_prefix("ready ").expect("OpenSearch starts").to_owned();
    Node { url, _lifeline: lifeline, _script: script }
}

fn spec(index: &str) -> IndexSpec {
    let storage = Storage::OpenSearch(Box::new(OpenSearchIndex {
        url: url().to_owned(),
        access: OpenSearchAccess::Open,
        index: index.to_owned(),
        vector_field: "bedrock-knowledge-base-default-vector".into(),
        text_field: "AMAZON_BEDROCK_TEXT_CHUNK".into(),
        metadata_field: "AMAZON_BEDROCK_METADATA".into(),
    }));
    IndexSpec { id: index.to_owned(), dimensions: DIMENSIONS, storage }
}

async fn drivers() -> (Drivers, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Drivers::new(Store::in_memory().await.unwrap(), directory.path()), directory)
}

#[tokio::test]
async fn opensearch_passes() {
    let (drivers, _directory) = drivers().await;
    let mut opened = 0;
    contract::all(|| {
        opened += 1;
        let (drivers, spec) = (drivers.clone(), spec(&format!("kb-{opened}")));
        async move { Opened(drivers.open(&spec).await.unwrap()) }
    })
    .await;
}

/// Few of many chunks pass, more than a page of them are read, and another server goes on where one ended.
#[tokio::test]
async fn many_chunks_are_filtered_paged_and_found_again() {
    let (drivers, _directory) = drivers().await;
    let index = drivers.open(&spec("many")).await.unwrap();
    let document = |name: &str, count: u16| {
        let chunks = (0..count).map(|n| {
            let angle = f32::from(n) / 5_000.0;
            let vector = [angle.cos(), angle.sin(), 0.0, 0.1];
            let chunk = chunk(&key(name), &format!("{name}{n}"), &format!("words about topic{n}"), vector);
            let rare = MetadataValue::Boolean(n % 300 == 0);
            Chunk { metadata: [("rare".to_owned(), rare)].into(), ..chunk }
        });
        DocumentChunks { key: key(name), chunks: chunks.collect() }
    };
    index.put(vec![document("a", 6_000)]).await.unwrap();
    let filter = Filter::Equals("rare".into(), MetadataValue::Boolean(true));
    let query = Query::new(Want::Semantic { vector: vec![1.0, 0.0, 0.0, 0.1] }, 20).with_filter(filter);
    assert_eq!(index.search(&query).await.unwrap().len(), 20);
    assert_eq!(index.document(&key("a")).await.unwrap().len(), 6_000);
    drop(index);
    let again = Drivers::new(Store::in_memory().await.unwrap(), "/nowhere");
    let index = again.open(&spec("many")).await.unwrap();
    index.put(vec![document("b", 1)]).await.unwrap();
    let everything = index.search(&Query::new(Want::Everything, 10_000)).await.unwrap();
    assert_eq!(everything.last().map(|hit| hit.chunk.id.as_str()), Some("b0"));
    // A word of one chunk in thousands weighs more than one of all of them.
    let rare = Query::new(Want::Keywords { text: "words topic4711".into() }, 2);
    let hits = index.search(&rare).await.unwrap();
    assert_eq!(hits[0].chunk.id, "a4711");
    assert!(hits[0].score > 5.0 * hits[1].score, "{} {}", hits[0].score, hits[1].score);
}

#[tokio::test]
async fn a_wrong_index_says_so() {
    let (drivers, _directory) = drivers().await;
    drop(drivers.open(&spec("right")).await.unwrap());
    let wider = IndexSpec { dimensions: DIMENSIONS + 1, ..spec("right") };
    assert!(matches!(drivers.open(&wider).await.err(), Some(VectorError::Dimensions { .. })));
    for hostile in ["../_all", "_all", "a,b", "*", ""] {
        assert!(
            matches!(drivers.open(&spec(hostile)).await.err(), Some(VectorError::Invalid(_))),
            "{hostile}"
        );
    }
    let mut nowhere = spec("right");
    if let Storage::OpenSearch(index) = &mut nowhere.storage {
        index.url = "http://127.0.0.1:1".into();
    }
    assert!(matches!(drivers.open(&nowhere).await.err(), Some(VectorError::Unavailable(_))));
}

/// Two servers on one cluster number their chunks at the same time: each is found and removed all the same.
#[tokio::test]
async fn servers_that_write_at_the_same_time_lose_nothing() {
    let (one, _directory) = drivers().await;
    let (other, _directory) = drivers().await;
    let first = one.open(&spec("two-servers")).await.unwrap();
    let document = |name: &str, count: u16| {
        let named =
            |n| chunk(&key(name), &format!("{name}{n}"), "words", [f32::from(n) + 1.0, 1.0, 0.0, 0.1]);
        DocumentChunks { key: key(name), chunks: (0..count).map(named).collect() }
    };
    first.put(vec![document("z", 1)]).await.unwrap();
    let second = other.open(&spec("two-servers")).await.unwrap();
    let (a, b) = tokio::join!(first.put(vec![document("a", 3_000)]), second.put(vec![document("b", 3_000)]));
    a.and(b).unwrap();
    let everything = Query::new(Want::Everything, 10_000);
    let found = first.search(&everything).await.unwrap();
    assert_eq!(found.len(), 6_001);
    assert!(found.iter().all(|hit| hit.chunk.vector.is_empty()));
    assert_eq!(first.delete_data_source("kb", "ds").await.unwrap(), 3);
    assert_eq!(second.search(&everything).await.unwrap().len(), 0);
}

/// The cluster's own hybrid search: what is best by both parts has 1, pages agree, filters and owners hold for both parts.
#[tokio::test]
async fn hybrid_search_is_the_cluster_s_pipeline() {
    let plugins = asked("GET", "/_nodes/plugins?filter_path=nodes.*.plugins.name", "").to_string();
    assert!(plugins.contains("opensearch-neural-search"), "`make opensearch` installs it: {plugins}");
    let (drivers, _directory) = drivers().await;
    let index = drivers.open(&spec("hybrid")).await.unwrap();
    let part = |n: u16| {
        let angle = f32::from(n) / 300.0;
        let text =
            if n.is_multiple_of(7) { format!("the heron of pond{n}") } else { format!("a bird of pond{n}") };
        let chunk = chunk(&key("a"), &format!("c{n}"), &text, [angle.cos(), angle.sin(), 0.0, 0.0]);
        let even = MetadataValue::Boolean(n.is_multiple_of(2));
        Chunk { metadata: [("even".to_owned(), even)].into(), ..chunk }
    };
    let document = DocumentChunks { key: key("a"), chunks: (0..300).map(part).collect() };
    index.put(vec![document]).await.unwrap();
    let want = Want::Hybrid { vector: vec![1.0, 0.0, 0.0, 0.0], text: "a heron?".into() };
    let hits = index.search(&Query::new(want.clone(), 300)).await.unwrap();
    assert_eq!(hits[0].chunk.id, "c0");
    // Fused here, the words' part would be far below 1.
    assert!(hits[0].score > 0.99, "{}", hits[0].score);
    let first = index.search(&Query::new(want.clone(), 10)).await.unwrap();
    assert_eq!(first, hits[..10]);
    let filter = Filter::Equals("even".into(), MetadataValue::Boolean(false));
    let odd = index.search(&Query::new(want.clone(), 300).with_filter(filter)).await.unwrap();
    assert_eq!(odd.len(), 150);
    assert!(odd.iter().all(|hit| hit.chunk.metadata["even"] == MetadataValue::Boolean(false)));
    let elsewhere = Query::new(want, 10).of_owner("another");
    assert_eq!(index.search(&elsewhere).await.unwrap(), []);
}

/// A server that dies in a write leaves chunks that no search shows; whoever writes the document again takes them out.
#[tokio::test]
async fn what_a_dead_server_left_goes_with_its_document() {
    let (drivers, _directory) = drivers().await;
    let index = drivers.open(&spec("left-behind")).await.unwrap();
    let named = |n: u8| chunk(&key("a"), &format!("a{n}"), "words", [f32::from(n) + 1.0, 1.0, 0.0, 0.1]);
    let document = |count| DocumentChunks { key: key("a"), chunks: (0..count).map(named).collect() };
    index.put(vec![document(3)]).await.unwrap();
    let found = asked("GET", "/left-behind/_search?size=1", "");
    let source = serde_json::to_string(&found["hits"]["hits"][0]["_source"]).unwrap();
    asked("PUT", "/left-behind/_doc/stray", &source);
    assert_eq!(index.document(&key("a")).await.unwrap().len(), 3, "it is not shown");
    index.put(vec![document(1)]).await.unwrap();
    assert_eq!(index.document(&key("a")).await.unwrap().len(), 1);
}

/// Asks the node itself.
fn asked(method: &str, path: &str, body: &str) -> serde_json::Value {
    use std::io::{Read as _, Write as _};
    let host = url().strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 ") || head.contains(" 201 "), "{answer}");
    serde_json::from_str(body).unwrap()
}
