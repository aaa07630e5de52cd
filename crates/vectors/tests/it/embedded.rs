use std::path::Path;
use std::sync::Arc;

use craton_store::Store;
use craton_vectors::contract::{self, DIMENSIONS, chunk, key};
use craton_vectors::{
    Chunk, DocumentChunks, Drivers, Filter, Hit, IndexSpec, MetadataValue, Query, Storage, VectorError,
    VectorIndex, Want,
};

fn spec(id: &str) -> IndexSpec {
    IndexSpec { id: id.to_owned(), dimensions: DIMENSIONS, storage: Storage::Embedded }
}

async fn passes_contract(store: Store, directory: &Path) {
    let drivers = Drivers::new(store, directory);
    let mut opened = 0;
    contract::all(|| {
        opened += 1;
        let (drivers, spec) = (drivers.clone(), spec(&format!("kb/{opened}")));
        async move { Opened(drivers.open(&spec).await.unwrap()) }
    })
    .await;
}

pub(crate) struct Opened(pub(crate) Arc<dyn VectorIndex>);

impl AsRef<dyn VectorIndex> for Opened {
    fn as_ref(&self) -> &(dyn VectorIndex + 'static) {
        &*self.0
    }
}

#[tokio::test]
async fn sqlite_passes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    passes_contract(store, &directory.path().join("vectors")).await;
}

#[tokio::test]
async fn records_in_memory_pass() {
    let directory = tempfile::tempdir().unwrap();
    passes_contract(Store::in_memory().await.unwrap(), directory.path()).await;
}

#[tokio::test]
async fn postgresql_records_pass() {
    let directory = tempfile::tempdir().unwrap();
    passes_contract(craton_store::testing::postgres().await, directory.path()).await;
}

fn document(name: &str, count: u16) -> DocumentChunks {
    let chunks = (0..count).map(|n| {
        let angle = f32::from(n) / 300.0;
        let vector = [angle.cos(), angle.sin(), 0.0, 0.0];
        let chunk = chunk(&key(name), &format!("{name}-{n}"), &format!("word{n} of {name}"), vector);
        let number = MetadataValue::Number(f64::from(n));
        Chunk { metadata: [("n".to_owned(), number)].into(), ..chunk }
    });
    DocumentChunks { key: key(name), chunks: chunks.collect() }
}

fn near(angle: f32, limit: usize) -> Query {
    Query::new(Want::Semantic { vector: vec![angle.cos(), angle.sin(), 0.0, 0.0] }, limit)
}

async fn found(index: &dyn VectorIndex, query: &Query) -> Vec<String> {
    index.search(query).await.unwrap().into_iter().map(|hit| hit.chunk.id).collect()
}

#[tokio::test]
async fn a_restart_finds_the_same_whatever_happened_to_the_caches() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let caches = directory.path().join("vectors");
    let drivers = Drivers::new(store.clone(), &caches);
    let index = drivers.open(&spec("kb")).await.unwrap();
    index.put(vec![document("a", 100), document("b", 100)]).await.unwrap();
    index.search(&Query::new(Want::Keywords { text: "word3".into() }, 5)).await.unwrap();
    index.put(vec![document("a", 50)]).await.unwrap();
    let words = Query::new(Want::Keywords { text: "word70".into() }, 5);
    let queries = [near(0.1, 5), words, near(0.2, 5).with_filter(Filter::LessThan("n".into(), 30.0))];
    let mut before = Vec::new();
    for query in &queries {
        before.push(found(&*index, query).await);
    }
    drop((index, drivers));
    for damage in 0..3 {
        if damage == 1 {
            std::fs::remove_dir_all(&caches).unwrap();
        }
        let drivers = Drivers::new(store.clone(), &caches);
        let index = drivers.open(&spec("kb")).await.unwrap();
        for (query, before) in queries.iter().zip(&before) {
            assert_eq!(found(&*index, query).await, *before, "damage {damage}");
        }
    }
}

#[tokio::test]
async fn two_servers_of_one_database_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let open = |name: &str| {
        let drivers = Drivers::new(store.clone(), directory.path().join(name));
        async move { drivers.open(&spec("kb")).await.unwrap() }
    };
    let (one, two) = (open("one").await, open("two").await);
    one.put(vec![document("a", 5)]).await.unwrap();
    assert_eq!(two.search(&near(0.0, 10)).await.unwrap().len(), 5);
    two.put(vec![document("a", 2), document("b", 2)]).await.unwrap();
    assert_eq!(one.search(&near(0.0, 10)).await.unwrap().len(), 4);
    one.delete_documents(&[key("b")]).await.unwrap();
    let words = Query::new(Want::Keywords { text: "word1".into() }, 10);
    assert_eq!(found(&*two, &words).await, ["a-1"]);
}

#[tokio::test]
async fn an_index_made_anew_is_empty_and_may_have_other_dimensions() {
    let directory = tempfile::tempdir().unwrap();
    let drivers = Drivers::new(Store::in_memory().await.unwrap(), directory.path());
    let index = drivers.open(&spec("kb")).await.unwrap();
    index.put(vec![document("a", 5)]).await.unwrap();
    let wider = IndexSpec { dimensions: 8, ..spec("kb") };
    assert!(drivers.open(&wider).await.is_err());
    drivers.remove(&spec("kb")).await.unwrap();
    assert!(index.search(&near(0.0, 1)).await.is_err(), "a handle to a removed index says so");
    let index = drivers.open(&wider).await.unwrap();
    assert!(index.export().await.unwrap().is_empty());
}

/// Length of the vectors of the large index.
const WIDE: usize = 24;

/// More chunks than are scanned: the graph answers, while it is built, after it was built, and after a restart.
#[tokio::test]
async fn large_indexes_answer_as_a_scan_would() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let open = || async {
        let wide = IndexSpec { dimensions: WIDE, ..spec("kb") };
        Drivers::new(store.clone(), directory.path().join("vectors")).open(&wide).await.unwrap()
    };
    let mut index = open().await;
    let mut random = 1_u32;
    let mut vector = || {
        let next = (0..WIDE).map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(random >> 16).unwrap()) / 32_768.0 - 1.0
        });
        next.collect::<Vec<f32>>()
    };
    for part in 0..25 {
        let mut part = document(&format!("d{part:02}"), 1_000);
        part.chunks.iter_mut().for_each(|chunk| chunk.vector = vector());
        index.put(vec![part]).await.unwrap();
    }
    let exported = index.export().await.unwrap();
    let everything = Query::new(Want::Everything, 1);
    assert_eq!(index.count(&everything).await.unwrap(), 25_000, "more than a search returns");
    let most = everything.with_filter(Filter::GreaterThanOrEquals("n".into(), 100.0));
    assert_eq!(index.count(&most).await.unwrap(), 22_500);
    let worded = Query::new(Want::Keywords { text: "of d07 d08".into() }, 1);
    assert_eq!(index.count(&worded).await.unwrap(), 25_000);
    let worded = Query::new(Want::Keywords { text: "d07 d08".into() }, 1);
    assert_eq!(index.count(&worded).await.unwrap(), 2_000);
    let question = vector();
    let query = Query::new(Want::Semantic { vector: question.clone() }, 20);
    let wide = query.clone().with_filter(Filter::GreaterThanOrEquals("n".into(), 100.0));
    let narrow = query.clone().with_filter(Filter::LessThan("n".into(), 10.0));
    let exact = |filter: &Option<Filter>| {
        let passing = exported
            .iter()
            .filter(|chunk| filter.as_ref().is_none_or(|filter| filter.matches(&chunk.attributes())));
        let mut scored: Vec<(f32, &str)> = passing
            .map(|chunk| {
                let length = chunk.vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                let dot: f32 = chunk.vector.iter().zip(&question).map(|(a, b)| a * b).sum();
                (dot / length, chunk.id.as_str())
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored[..20].iter().map(|scored| scored.1.to_owned()).collect::<std::collections::HashSet<_>>()
    };
    for round in 0..3 {
        if round == 2 {
            drop(index);
            index = open().await;
        }
        for query in [&query, &wide, &narrow] {
            let expected = exact(&query.filter);
            let hits = found(&*index, query).await;
            let same = hits.iter().filter(|id| expected.contains(*id)).count();
            assert!(hits.len() == 20 && same >= 18, "round {round}: {same} of 20 for {:?}", query.filter);
        }
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    }
    let snapshots =
        std::fs::read_dir(directory.path().join("vectors")).unwrap().flatten().any(|incarnation| {
            let files = std::fs::read_dir(incarnation.path()).unwrap().flatten();
            files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("graph-"))
        });
    assert!(snapshots, "a snapshot of the graph was written");
}

/// The folder of the word index.
fn words_of(caches: &Path) -> std::path::PathBuf {
    std::fs::read_dir(caches).unwrap().next().unwrap().unwrap().path().join("words")
}

/// Searches until the answer is as wanted.
async fn in_time(
    index: &dyn VectorIndex,
    query: &Query,
    wanted: impl Fn(&Result<Vec<Hit>, VectorError>) -> bool,
) {
    let begun = std::time::Instant::now();
    loop {
        let answer = index.search(query).await;
        if wanted(&answer) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 20, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn has(answer: &Result<Vec<Hit>, VectorError>, ids: &[&str]) -> bool {
    answer.as_ref().is_ok_and(|hits| ids.iter().all(|id| hits.iter().any(|hit| hit.chunk.id == *id)))
}

/// While nothing can be written to the words' folder, writes may fail and what was there before is found; afterwards
/// nothing is missing.
#[tokio::test]
async fn a_word_index_that_could_not_be_written_heals() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let caches = directory.path().join("vectors");
    let index = Drivers::new(store, &caches).open(&spec("kb")).await.unwrap();
    index.put(vec![document("a", 5)]).await.unwrap();
    let words = Query::new(Want::Keywords { text: "word1".into() }, 10);
    assert_eq!(found(&*index, &words).await, ["a-1"]);
    let (folder, away) = (words_of(&caches), caches.join("away"));
    for round in ["b", "c"] {
        std::fs::rename(&folder, &away).unwrap();
        let put = index.put(vec![document(round, 5)]).await;
        let hits = found(&*index, &words).await;
        assert!(hits.contains(&"a-1".to_owned()), "{hits:?}");
        assert!(put.is_err() || !hits.contains(&format!("{round}-1")), "{round}: the folder is gone");
        assert!(index.search(&near(0.0, 50)).await.unwrap().len() >= 5);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&away, &folder).unwrap();
        let newest = format!("{round}-1");
        in_time(&*index, &words, |answer| has(answer, &["a-1", &newest])).await;
        let count = found(&*index, &words).await.len();
        assert_eq!(index.search(&near(0.0, 50)).await.unwrap().len(), count * 5);
    }
}

/// A repair that fails half-way is tried again.
#[tokio::test]
async fn a_repair_that_fails_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let caches = directory.path().join("vectors");
    let index = Drivers::new(store.clone(), &caches).open(&spec("kb")).await.unwrap();
    index.put(vec![document("a", 5)]).await.unwrap();
    let words = Query::new(Want::Keywords { text: "word1".into() }, 10);
    assert_eq!(found(&*index, &words).await, ["a-1"]);
    let (folder, away) = (words_of(&caches), caches.join("away"));
    std::fs::rename(&folder, &away).unwrap();
    let put = index.put(vec![document("b", 5)]).await;
    assert!(found(&*index, &words).await == ["a-1"] || put.is_err(), "the folder is gone");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::rename(&away, &folder).unwrap();
    let set = |to: &'static str| {
        let store = store.clone();
        async move { store.execute(to, &[]).await.unwrap() }
    };
    set("UPDATE chunks SET details = 'X' || details").await;
    in_time(&*index, &words, Result::is_err).await;
    index.search(&near(0.0, 50)).await.unwrap_err();
    set("UPDATE chunks SET details = substr(details, 2)").await;
    in_time(&*index, &words, |answer| has(answer, &["a-1", "b-1"])).await;
    assert_eq!(index.search(&near(0.0, 50)).await.unwrap().len(), 10);
}

/// A writer that nobody waits for any more changes the caches all the same, and once.
#[tokio::test(flavor = "multi_thread")]
async fn writers_that_go_away_leave_a_whole_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let index = Drivers::new(store, directory.path().join("vectors")).open(&spec("kb")).await.unwrap();
    for round in 0..40_u64 {
        let (writer, name) = (Arc::clone(&index), format!("d{:02}", round % 8));
        let writing = tokio::spawn(async move { writer.put(vec![document(&name, 40)]).await });
        tokio::time::sleep(std::time::Duration::from_micros(300 * (round % 12))).await;
        writing.abort();
        index.search(&near(0.1, 5)).await.unwrap();
    }
    index.put(vec![document("last", 1)]).await.unwrap();
    let everything = Query::new(Want::Everything, 10_000);
    let mut seen = found(&*index, &everything).await;
    let mut kept: Vec<String> = index.export().await.unwrap().into_iter().map(|chunk| chunk.id).collect();
    seen.sort();
    kept.sort();
    assert_eq!(seen, kept, "each chunk once");
    assert_eq!(index.search(&near(0.1, 10_000)).await.unwrap().len(), kept.len());
}

/// Replacing documents again and again keeps the answers, also when what is in memory is built anew.
#[tokio::test]
async fn replaced_chunks_do_not_pile_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records")).await.unwrap();
    let index = Drivers::new(store, directory.path().join("vectors")).open(&spec("kb")).await.unwrap();
    index.put(vec![document("still", 3)]).await.unwrap();
    for _ in 0..12 {
        index.put(vec![document("a", 300)]).await.unwrap();
        assert_eq!(index.search(&near(0.1, 10_000)).await.unwrap().len(), 303);
        let words = Query::new(Want::Keywords { text: "word299".into() }, 10);
        assert_eq!(found(&*index, &words).await, ["a-299"]);
        let some = Query::new(Want::Everything, 10_000).with_filter(Filter::LessThan("n".into(), 2.0));
        assert_eq!(found(&*index, &some).await, ["still-0", "still-1", "a-0", "a-1"]);
    }
}
