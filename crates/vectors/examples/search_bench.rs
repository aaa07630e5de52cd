//! Drives the embedded index for `bench/search` and `bench/relevance`; not for use by itself.
//!
//! `search_bench speed WORK [INDEX]`: reads `WORK/spec.json` and the vectors beside it, fills an index, prints latencies.
//! With a folder `INDEX` the index is kept there, and used where it is there already.
//! `search_bench rank FILE`: ranks every query of a labelled collection by meaning, words and both.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_store::Store;
use craton_vectors::{
    Chunk, DocumentChunks, DocumentKey, Drivers, Filter, IndexSpec, MetadataValue, Query, SourceLocation,
    Storage, VectorIndex, Want,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = Path::new(arguments.get(2).expect("an argument"));
    let report = match arguments[1].as_str() {
        "speed" => match arguments.get(3) {
            Some(kept) => speed(argument, Path::new(kept)).await,
            None => speed(argument, tempfile::tempdir().unwrap().path()).await,
        },
        "rank" => rank(argument).await,
        other => panic!("{other} is not a mode"),
    };
    println!("{report}");
}

#[derive(Deserialize)]
struct Spec {
    chunks: usize,
    queries: usize,
    dimensions: usize,
    limit: usize,
}

fn chunk(name: &str, text: String, vector: Vec<f32>) -> DocumentChunks {
    let key = DocumentKey::new("kb", "ds", name);
    let chunk = Chunk {
        id: name.to_owned(),
        document: key.clone(),
        text,
        parent: None,
        metadata: BTreeMap::new(),
        vector,
        location: SourceLocation::S3(format!("s3://bucket/{name}")),
        payload: None,
    };
    DocumentChunks { key, chunks: vec![chunk] }
}

async fn open(directory: &Path, dimensions: usize) -> Arc<dyn VectorIndex> {
    let store = Store::open(&directory.join("records")).await.unwrap();
    let spec = IndexSpec { id: "bench".into(), dimensions, storage: Storage::Embedded };
    Drivers::new(store, directory.join("vectors")).open(&spec).await.unwrap()
}

/// `vectors.f32` holds the chunks' vectors and then the queries'; `texts.json` their texts in the same order.
async fn speed(work: &Path, folder: &Path) -> Value {
    let spec: Spec = serde_json::from_slice(&std::fs::read(work.join("spec.json")).unwrap()).unwrap();
    let bytes = std::fs::read(work.join("vectors.f32")).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let vectors: Vec<&[f32]> = values.chunks_exact(spec.dimensions).collect();
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(work.join("texts.json")).unwrap()).unwrap();
    let index = open(folder, spec.dimensions).await;
    let started = Instant::now();
    let there = index.counts().await.unwrap().chunks as usize;
    let numbers: Vec<usize> = (there..spec.chunks).collect();
    for batch in numbers.chunks(1_000) {
        let documents = batch.iter().map(|n| {
            let mut document = chunk(&n.to_string(), texts[*n].clone(), vectors[*n].to_vec());
            document.chunks[0].metadata.insert("n".into(), MetadataValue::Number((n % 100) as f64));
            document
        });
        index.put(documents.collect()).await.unwrap();
    }
    let written_s = started.elapsed().as_secs_f64();
    while !has_graph(folder) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ready_s = started.elapsed().as_secs_f64();
    let mut report = json!({"written_s": written_s, "ready_s": ready_s, "rss_mib": rss_mib()});
    let cases: [(&str, Option<f64>, bool); 6] = [
        ("semantic", None, false),
        ("semantic, 10 %", Some(10.0), false),
        ("semantic, 1 %", Some(1.0), false),
        ("hybrid", None, true),
        ("hybrid, 10 %", Some(10.0), true),
        ("hybrid, 1 %", Some(1.0), true),
    ];
    for (name, below, hybrid) in cases {
        let (mut times_ms, mut ids) = (Vec::new(), Vec::new());
        for n in spec.chunks..spec.chunks + spec.queries {
            let vector = vectors[n].to_vec();
            let want = if hybrid {
                Want::Hybrid { vector, text: texts[n].clone() }
            } else {
                Want::Semantic { vector }
            };
            let mut query = Query::new(want, spec.limit).of_owner("kb");
            query.filter = below.map(|below| Filter::LessThan("n".into(), below));
            let asked = Instant::now();
            let hits = index.search(&query).await.unwrap();
            times_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            ids.push(hits.into_iter().map(|hit| hit.chunk.id).collect::<Vec<_>>());
        }
        times_ms.sort_by(f64::total_cmp);
        let at = |share: f64| times_ms[((times_ms.len() - 1) as f64 * share).round() as usize];
        report[name] = json!({"p50_ms": at(0.5), "p99_ms": at(0.99), "ids": ids});
    }
    report["rss_after_mib"] = rss_mib().into();
    report
}

fn has_graph(folder: &Path) -> bool {
    let incarnations = std::fs::read_dir(folder.join("vectors")).into_iter().flatten().flatten();
    incarnations.into_iter().any(|incarnation| {
        let files = std::fs::read_dir(incarnation.path()).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("graph-"))
    })
}

/// Memory of this process, in MiB.
fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[derive(Deserialize)]
struct Collection {
    documents: Vec<Item>,
    queries: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    text: String,
    vector: Vec<f32>,
}

async fn rank(file: &Path) -> Value {
    let collection: Collection = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), collection.documents[0].vector.len()).await;
    let documents = collection.documents.into_iter().map(|item| chunk(&item.id, item.text, item.vector));
    index.put(documents.collect()).await.unwrap();
    let mut ranked = serde_json::Map::new();
    for Item { id, text, vector } in collection.queries {
        let wants = [
            ("semantic", Want::Semantic { vector: vector.clone() }),
            ("keywords", Want::Keywords { text: text.clone() }),
            ("hybrid", Want::Hybrid { vector, text }),
        ];
        let mut lists = serde_json::Map::new();
        for (name, want) in wants {
            let hits = index.search(&Query::new(want, 2_000)).await.unwrap();
            let pairs = hits.into_iter().map(|hit| json!([hit.chunk.id, hit.score])).collect::<Vec<_>>();
            lists.insert(name.to_owned(), pairs.into());
        }
        ranked.insert(id, lists.into());
    }
    ranked.into()
}
