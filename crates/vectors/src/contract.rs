//! What every driver must do, as functions that a driver's tests call. Feature `contract`; tests only.
//!
//! A failed check panics and says what was expected. Each check wants an index of 4 dimensions that is empty.

use std::collections::BTreeMap;

use crate::{
    Chunk, Counts, DocumentChunks, DocumentKey, Filter, Hit, MetadataValue, Parent, Query, SourceLocation,
    VectorError, VectorIndex, Want,
};

/// Length of the vectors of all checks.
pub const DIMENSIONS: usize = 4;

/// A chunk with the essentials; `vector` need not have unit length.
pub fn chunk(document: &DocumentKey, id: &str, text: &str, vector: [f32; DIMENSIONS]) -> Chunk {
    Chunk {
        id: id.to_owned(),
        document: document.clone(),
        text: text.to_owned(),
        parent: None,
        metadata: BTreeMap::new(),
        vector: vector.to_vec(),
        location: SourceLocation::S3(format!("s3://bucket/{}", document.document)),
        payload: None,
    }
}

/// The document `name` of data source `ds` of knowledge base `kb`.
pub fn key(name: &str) -> DocumentKey {
    DocumentKey::new("kb", "ds", name)
}

fn document(name: &str, chunks: Vec<Chunk>) -> DocumentChunks {
    DocumentChunks { key: key(name), chunks }
}

fn semantic(vector: [f32; DIMENSIONS], limit: usize) -> Query {
    Query::new(Want::Semantic { vector: vector.to_vec() }, limit)
}

fn keywords(text: &str) -> Query {
    Query::new(Want::Keywords { text: text.to_owned() }, 10)
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.chunk.id.as_str()).collect()
}

async fn search(index: &dyn VectorIndex, query: &Query) -> Vec<Hit> {
    match index.search(query).await {
        Ok(hits) => {
            assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)), "scores: {hits:?}");
            assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "best first: {hits:?}");
            hits
        }
        Err(error) => panic!("the search failed: {error}"),
    }
}

fn done<T>(outcome: Result<T, VectorError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("the driver failed: {error}"),
    }
}

/// Every check, each on an index that `empty` makes.
pub async fn all<I, F>(mut empty: impl FnMut() -> F)
where
    I: AsRef<dyn VectorIndex>,
    F: Future<Output = I>,
{
    finds_the_nearest(empty().await.as_ref()).await;
    keeps_everything_of_a_chunk(empty().await.as_ref()).await;
    gives_a_document_back(empty().await.as_ref()).await;
    replaces_a_document_whole(empty().await.as_ref()).await;
    deletes_what_it_is_told(empty().await.as_ref()).await;
    finds_exact_words(empty().await.as_ref()).await;
    hybrid_finds_by_either(empty().await.as_ref()).await;
    filters_by_every_operator(empty().await.as_ref()).await;
    owners_see_their_own(empty().await.as_ref()).await;
    refuses_what_cannot_be(empty().await.as_ref()).await;
    an_empty_index_finds_nothing(empty().await.as_ref()).await;
    hostile_text_is_text(empty().await.as_ref()).await;
}

/// Cosine order, whatever the lengths; the limit is kept; scores are `(1 + cosine) / 2`.
pub async fn finds_the_nearest(index: &dyn VectorIndex) {
    let chunks = vec![
        chunk(&key("a"), "same", "one", [2.0, 0.0, 0.0, 0.0]),
        chunk(&key("a"), "near", "two", [1.0, 1.0, 0.0, 0.0]),
        chunk(&key("a"), "apart", "three", [0.0, 0.0, 9.0, 0.0]),
        chunk(&key("a"), "against", "four", [-1.0, 0.0, 0.0, 0.0]),
    ];
    done(index.put(vec![document("a", chunks)]).await);
    let hits = search(index, &semantic([1.0, 0.0, 0.0, 0.0], 10)).await;
    assert_eq!(ids(&hits), ["same", "near", "apart", "against"]);
    for (hit, expected) in hits.iter().zip([1.0, 0.8536, 0.5, 0.0]) {
        assert!((hit.score - expected).abs() < 0.01, "{}: {}", hit.chunk.id, hit.score);
    }
    let hits = search(index, &semantic([0.0, 0.0, 1.0, 0.0], 2)).await;
    assert_eq!((ids(&hits)[0], hits.len()), ("apart", 2));
}

/// A document's chunks come back in their order, with the vectors that were put.
pub async fn gives_a_document_back(index: &dyn VectorIndex) {
    let chunks = |name: &str| {
        vec![
            chunk(&key(name), &format!("{name}2"), "two", [0.1, 0.2, 0.3, 0.4]),
            chunk(&key(name), &format!("{name}1"), "one", [1.0, 1.0 / 3.0, 0.0, 0.0]),
        ]
    };
    done(index.put(vec![document("a", chunks("a")), document("b", chunks("b"))]).await);
    assert_eq!(done(index.document(&key("a")).await), chunks("a"));
    let elsewhere = DocumentKey { owner: "other".into(), ..key("a") };
    assert_eq!(done(index.document(&elsewhere).await), []);
}

/// What was put comes back, from searches and from an export.
pub async fn keeps_everything_of_a_chunk(index: &dyn VectorIndex) {
    let full = Chunk {
        parent: Some(Parent { id: "p".into(), text: "the whole passage".into() }),
        metadata: BTreeMap::from([
            ("year".to_owned(), MetadataValue::Number(2025.0)),
            ("share".to_owned(), MetadataValue::Number(0.25)),
            ("dept".to_owned(), "finance".into()),
            ("draft".to_owned(), MetadataValue::Boolean(false)),
            ("tags".to_owned(), MetadataValue::List(vec!["x".into(), "y".into()])),
        ]),
        location: SourceLocation::Web("https://example.com/?q='\"%".into()),
        payload: Some("{\"a\":1}".into()),
        ..chunk(&key("a"), "full", "naïve café 東京 \u{1F600}\nline", [0.5, -0.5, 0.5, 0.5])
    };
    done(index.put(vec![document("a", vec![full.clone()])]).await);
    let hits = search(index, &semantic([1.0, 0.0, 0.0, 0.0], 1)).await;
    assert_eq!(hits[0].chunk, Chunk { vector: Vec::new(), ..full.clone() });
    let exported = done(index.export().await);
    assert_eq!(exported.len(), 1);
    let cosine: f32 = exported[0].vector.iter().zip(&full.vector).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.99, "the vector survives: {:?}", exported[0].vector);
    assert_eq!(Chunk { vector: full.vector.clone(), ..exported[0].clone() }, full);
}

/// A second put of a document leaves nothing of the first.
pub async fn replaces_a_document_whole(index: &dyn VectorIndex) {
    let first = (0..3).map(|n| chunk(&key("a"), &format!("old{n}"), "old words", [1.0, 0.0, 0.0, 0.0]));
    let other = chunk(&key("b"), "other", "other words", [0.0, 1.0, 0.0, 0.0]);
    done(index.put(vec![document("a", first.collect()), document("b", vec![other])]).await);
    assert_eq!(done(index.counts().await), Counts { documents: 2, chunks: 4 });
    let second = vec![chunk(&key("a"), "new", "new words", [1.0, 0.0, 0.0, 0.0])];
    done(index.put(vec![document("a", second)]).await);
    assert_eq!(done(index.counts().await), Counts { documents: 2, chunks: 2 });
    assert_eq!(ids(&search(index, &semantic([1.0, 0.0, 0.0, 0.0], 10)).await), ["new", "other"]);
    assert!(search(index, &keywords("old")).await.is_empty());
    assert_eq!(ids(&search(index, &keywords("new")).await), ["new"]);
    done(index.put(vec![document("a", vec![])]).await);
    assert_eq!(done(index.counts().await), Counts { documents: 1, chunks: 1 });
}

/// Documents and data sources go, and nothing else.
pub async fn deletes_what_it_is_told(index: &dyn VectorIndex) {
    let put = |source: &str, name: &str| {
        let key = DocumentKey::new("kb", source, name);
        let id = format!("{source}-{name}");
        let chunks = vec![chunk(&key, &id, "some words", [1.0, 0.0, 0.0, 0.0])];
        DocumentChunks { key, chunks }
    };
    done(index.put(vec![put("ds", "a"), put("ds", "b"), put("ds2", "a"), put("ds2", "c")]).await);
    assert_eq!(done(index.delete_documents(&[key("a"), key("nowhere")]).await), 1);
    let left = search(index, &semantic([1.0, 0.0, 0.0, 0.0], 10)).await;
    assert_eq!(ids(&left), ["ds-b", "ds2-a", "ds2-c"]);
    assert_eq!(done(index.delete_data_source("kb", "ds2").await), 2);
    assert_eq!(done(index.delete_data_source("kb", "ds2").await), 0);
    assert_eq!(ids(&search(index, &keywords("words")).await), ["ds-b"]);
    assert_eq!(done(index.counts().await), Counts { documents: 1, chunks: 1 });
}

/// Product codes, words in any case, and no hit for words that are not there.
pub async fn finds_exact_words(index: &dyn VectorIndex) {
    let texts = [
        ("code", "Error code ZX-4471 means the certificate has expired."),
        ("other", "Error code ZX-4472 means the disk is full."),
        ("plain", "The certificate is renewed every year."),
    ];
    let chunks = texts.map(|(id, text)| chunk(&key("a"), id, text, [1.0, 0.0, 0.0, 0.0]));
    done(index.put(vec![document("a", chunks.to_vec())]).await);
    assert_eq!(ids(&search(index, &keywords("ZX-4471")).await)[0], "code");
    assert_eq!(ids(&search(index, &keywords("zx-4472")).await)[0], "other");
    assert_eq!(ids(&search(index, &keywords("RENEWED")).await), ["plain"]);
    assert!(search(index, &keywords("giraffe")).await.is_empty());
}

/// Hybrid puts first what both parts like, and finds what only one of them does.
pub async fn hybrid_finds_by_either(index: &dyn VectorIndex) {
    let chunks = vec![
        chunk(&key("a"), "both", "the heron fishes at dawn", [1.0, 0.1, 0.0, 0.0]),
        chunk(&key("a"), "meaning", "a grey bird catches its breakfast", [1.0, 0.0, 0.0, 0.0]),
        chunk(&key("a"), "word", "the company is called heron", [0.0, 0.0, 1.0, 0.0]),
        chunk(&key("a"), "neither", "taxes are due in May", [0.0, 0.0, 0.0, 1.0]),
    ];
    done(index.put(vec![document("a", chunks)]).await);
    let want = Want::Hybrid { vector: vec![1.0, 0.0, 0.0, 0.0], text: "heron".into() };
    let hits = search(index, &Query::new(want, 10)).await;
    assert_eq!(ids(&hits)[0], "both");
    assert!(ids(&hits)[1..3].contains(&"meaning") && ids(&hits)[1..3].contains(&"word"), "{hits:?}");
}

fn attributes_of(n: usize) -> BTreeMap<String, MetadataValue> {
    let years = [2020.0, 2021.0, 2022.5, 2023.0];
    let mut metadata = BTreeMap::from([
        ("year".to_owned(), MetadataValue::Number(years[n % 4])),
        ("name".to_owned(), MetadataValue::Text(format!("report {}", ["alpha", "beta", "alphabet"][n % 3]))),
        ("even".to_owned(), MetadataValue::Boolean(n.is_multiple_of(2))),
        ("tags".to_owned(), MetadataValue::List(vec![format!("t{}", n % 5), "all".into()])),
    ]);
    if n.is_multiple_of(3) {
        metadata.insert("rare".to_owned(), MetadataValue::Text(format!("it's \"{n}\"")));
    }
    if n == 7 {
        metadata.insert("year".to_owned(), "2021".into());
    }
    metadata
}

fn filters() -> Vec<Filter> {
    let text = |text: &str| MetadataValue::Text(text.to_owned());
    let leaves = vec![
        Filter::Equals("even".into(), MetadataValue::Boolean(true)),
        Filter::Equals("year".into(), MetadataValue::Number(2021.0)),
        Filter::Equals("year".into(), text("2021")),
        Filter::Equals("rare".into(), text("it's \"9\"")),
        Filter::NotEquals("year".into(), MetadataValue::Number(2021.0)),
        Filter::NotEquals("rare".into(), text("it's \"9\"")),
        Filter::GreaterThan("year".into(), 2021.0),
        Filter::GreaterThanOrEquals("year".into(), 2022.5),
        Filter::LessThan("year".into(), 2021.0),
        Filter::LessThanOrEquals("year".into(), 2021.0),
        Filter::In("year".into(), vec![MetadataValue::Number(2020.0), text("2021")]),
        Filter::NotIn("year".into(), vec![MetadataValue::Number(2020.0)]),
        Filter::NotIn("missing".into(), vec![text("x")]),
        Filter::StartsWith("name".into(), "report alpha".into()),
        Filter::StartsWith("name".into(), "report%".into()),
        Filter::ListContains("tags".into(), "t3".into()),
        Filter::StringContains("name".into(), "bet".into()),
        Filter::StringContains("tags".into(), "al".into()),
        Filter::StringContains("name".into(), "r_port".into()),
    ];
    let mut filters = leaves.clone();
    filters.extend([
        Filter::Equals("name\0".into(), text("a\0")),
        Filter::StartsWith("name".into(), "report\0".into()),
        Filter::ListContains("tags".into(), "all\0".into()),
        Filter::StringContains("tags".into(), "\0".into()),
    ]);
    filters.push(Filter::AndAll(vec![leaves[0].clone(), leaves[6].clone()]));
    filters.push(Filter::OrAll(vec![leaves[3].clone(), leaves[8].clone()]));
    let nested = Filter::OrAll(vec![leaves[1].clone(), Filter::AndAll(leaves[12..16].to_vec())]);
    filters
        .push(Filter::AndAll(vec![nested, Filter::NotEquals("even".into(), MetadataValue::Boolean(false))]));
    filters
}

/// Every operator lets through exactly the chunks that [`Filter::matches`] does, in every kind of search.
pub async fn filters_by_every_operator(index: &dyn VectorIndex) {
    let chunks: Vec<Chunk> = (0..30_u8)
        .map(|n| {
            let angle = f32::from(n) / 30.0;
            let vector = [1.0 - angle, angle, 0.1, 0.0];
            let chunk = chunk(&key("a"), &format!("c{n:02}"), "common words", vector);
            Chunk { metadata: attributes_of(usize::from(n)), ..chunk }
        })
        .collect();
    done(index.put(vec![document("a", chunks.clone())]).await);
    for filter in filters() {
        let passing = chunks.iter().filter(|chunk| filter.matches(&chunk.attributes()));
        let expected: Vec<&str> = passing.map(|chunk| chunk.id.as_str()).collect();
        let vector = vec![1.0, 0.0, 0.0, 0.0];
        let text = "common".to_owned();
        let wants = [
            Want::Semantic { vector: vector.clone() },
            Want::Keywords { text: text.clone() },
            Want::Hybrid { vector, text },
            Want::Everything,
        ];
        for want in wants {
            let hits = search(index, &Query::new(want.clone(), 50).with_filter(filter.clone())).await;
            let mut found = ids(&hits);
            found.sort_unstable();
            assert_eq!(found, expected, "{filter:?} in {want:?}");
        }
    }
    let source = Filter::Equals(crate::SOURCE_URI.into(), "s3://bucket/a".into());
    assert_eq!(search(index, &semantic([1.0; 4], 50).with_filter(source)).await.len(), 30);
}

/// A search of one owner sees that owner's chunks and those without an owner.
pub async fn owners_see_their_own(index: &dyn VectorIndex) {
    for owner in ["one", "two", ""] {
        let key = DocumentKey::new(owner, "ds", "a");
        let id = format!("of-{owner}");
        let chunks = vec![chunk(&key, &id, "shared words", [1.0, 0.0, 0.0, 0.0])];
        done(index.put(vec![DocumentChunks { key, chunks }]).await);
    }
    let of_one = semantic([1.0, 0.0, 0.0, 0.0], 10).of_owner("one");
    assert_eq!(ids(&search(index, &of_one).await), ["of-one", "of-"]);
    assert_eq!(ids(&search(index, &keywords("shared").of_owner("two")).await), ["of-two", "of-"]);
    assert_eq!(search(index, &keywords("shared")).await.len(), 3);
    assert_eq!(done(index.delete_data_source("two", "ds").await), 1);
    assert_eq!(search(index, &keywords("shared")).await.len(), 2);
}

/// Vectors of another length, and bounds that are not kept.
pub async fn refuses_what_cannot_be(index: &dyn VectorIndex) {
    let mut short = chunk(&key("a"), "x", "words", [1.0; DIMENSIONS]);
    short.vector.pop();
    let outcome = index.put(vec![document("a", vec![short])]).await;
    assert!(matches!(outcome, Err(VectorError::Dimensions { expected: 4, found: 3 })), "{outcome:?}");
    assert_eq!(done(index.counts().await), Counts::default());
    let outcome = index.search(&Query::new(Want::Semantic { vector: vec![1.0; 5] }, 1)).await;
    assert!(matches!(outcome, Err(VectorError::Dimensions { expected: 4, found: 5 })), "{outcome:?}");
    let outcome = index.search(&semantic([1.0; DIMENSIONS], 0)).await;
    assert!(matches!(outcome, Err(VectorError::Invalid(_))), "{outcome:?}");
}

/// Nothing, without an error.
pub async fn an_empty_index_finds_nothing(index: &dyn VectorIndex) {
    assert!(search(index, &semantic([1.0; DIMENSIONS], 5)).await.is_empty());
    assert!(search(index, &keywords("anything")).await.is_empty());
    assert_eq!(done(index.counts().await), Counts::default());
    assert!(done(index.export().await).is_empty());
}

/// Query syntax in a question and quotes in ids mean nothing special.
pub async fn hostile_text_is_text(index: &dyn VectorIndex) {
    let key = DocumentKey::new("kb", "ds'--", "a'; DROP TABLE chunks; --");
    let chunks = vec![chunk(&key, "quote'd\"", "plain words here", [1.0, 0.0, 0.0, 0.0])];
    done(index.put(vec![DocumentChunks { key: key.clone(), chunks }]).await);
    for text in ["words AND (", "text:\"", "NOT words", "-words", "*", "", "words\0", "a'; --", "$1 {{x}} %"]
    {
        let want = Want::Hybrid { vector: vec![1.0, 0.0, 0.0, 0.0], text: text.to_owned() };
        assert_eq!(search(index, &Query::new(want, 5)).await.len(), 1, "{text:?}");
    }
    let long = "word ".repeat(20_000);
    assert_eq!(index.search(&keywords(&long)).await.map(|_| ()).map_err(|error| error.to_string()), Ok(()));
    assert_eq!(done(index.delete_documents(&[key]).await), 1);
}
