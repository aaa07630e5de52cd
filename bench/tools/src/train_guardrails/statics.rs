//! The vector of every word piece of the sentence encoder, in fewer dimensions.

use std::sync::Arc;

use anyhow::Context as _;
use craton_backend::{EmbedRequest, EmbeddingModel, unit};
use craton_engine::embed::BertEmbedder;
use craton_guardrails::policies::content_full::LAYERS;
use craton_guardrails::policies::statics::Statics;
use craton_models::DEFAULT_EMBEDDING_MODEL;
use craton_models::files::{ModelFiles, Progress};

const DIMENSIONS: usize = 96;
/// Pieces embedded at a time.
const BATCH: usize = 512;
/// Rounds of orthogonal iteration: enough for the leading directions to settle.
const ROUNDS: usize = 30;

pub(crate) struct Told;

impl Progress for Told {
    fn note(&self, message: &str) {
        eprintln!("{message}");
    }
}

/// The encoder that statics and heads are made of.
pub(crate) fn encoder() -> anyhow::Result<Arc<dyn EmbeddingModel>> {
    let model = ModelFiles::from_environment()?.pull(DEFAULT_EMBEDDING_MODEL, &Told)?.remove(0);
    Ok(Arc::new(BertEmbedder::load(&model.path())?))
}

/// Each text's unit vector, of the encoder's layers that the heads of content filters stand on.
pub(crate) async fn vectors_of(texts: Vec<String>) -> anyhow::Result<Vec<Vec<f32>>> {
    let embedder = encoder()?;
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(64) {
        let request = EmbedRequest { texts: batch.to_vec(), truncate: true, ..EmbedRequest::default() };
        vectors.extend(embedder.embed_quick(request, Some(LAYERS)).await?.vectors.into_iter().map(unit));
        eprint!("\r{} of {}", vectors.len(), texts.len());
    }
    eprintln!();
    Ok(vectors)
}

/// The same of one text.
pub(crate) async fn encoded(embedder: &Arc<dyn EmbeddingModel>, text: &str) -> anyhow::Result<Vec<f32>> {
    let request = EmbedRequest { texts: vec![text.to_owned()], truncate: true, ..EmbedRequest::default() };
    let embedded = embedder.embed_quick(request, Some(LAYERS)).await?;
    embedded.vectors.into_iter().next().map(unit).context("no vector")
}

pub(crate) async fn distil() -> anyhow::Result<Vec<u8>> {
    let files = ModelFiles::from_environment()?;
    let model = files.pull(DEFAULT_EMBEDDING_MODEL, &Told)?.remove(0);
    let vocabulary = std::fs::read_to_string(model.path().join("vocab.txt"))?;
    // A piece's line is its rank: the list is in the order of frequency, behind the pieces that are not used.
    let pieces: Vec<(usize, &str)> = vocabulary
        .lines()
        .enumerate()
        .filter(|(_, piece)| !piece.starts_with('[') && piece.len() < 64)
        .collect();
    let embedder = BertEmbedder::load(&model.path())?;
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(pieces.len());
    for batch in pieces.chunks(BATCH) {
        let texts = batch.iter().map(|(_, piece)| piece.trim_start_matches("##").to_owned()).collect();
        let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
        vectors.extend(embedder.embed(request).await?.vectors);
        eprint!("\r{} of {}", vectors.len(), pieces.len());
    }
    eprintln!();
    let reduced = reduce(&vectors).context("no vectors")?;
    let most = (pieces.len() as f32).ln();
    let rows: Vec<(String, Vec<f32>)> = pieces
        .iter()
        .zip(reduced)
        .map(|((rank, piece), vector)| {
            // Frequent pieces say little about what a sentence is about.
            let weight = (1.0 + rank.saturating_sub(990) as f32).ln().max(0.4) / most;
            ((*piece).to_owned(), vector.into_iter().map(|value| value * weight).collect())
        })
        .collect();
    Ok(Statics::write(&rows))
}

/// Vectors around their mean in the directions in which they differ most.
fn reduce(vectors: &[Vec<f32>]) -> Option<Vec<Vec<f32>>> {
    let width = vectors.first()?.len();
    let count = vectors.len() as f32;
    let mut mean = vec![0.0_f32; width];
    for vector in vectors {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / count);
    }
    let mut covariance = vec![0.0_f32; width * width];
    for vector in vectors {
        let centred: Vec<f32> = vector.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
        for (row, a) in covariance.chunks_exact_mut(width).zip(&centred) {
            row.iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b / count);
        }
    }
    // Any fixed start that is not an invariant direction will do.
    let mut basis: Vec<Vec<f32>> = (0..DIMENSIONS)
        .map(|index| (0..width).map(|at| ((at * 31 + index * 17 + at * index) as f32 * 0.7).sin()).collect())
        .collect();
    for _ in 0..ROUNDS {
        for direction in &mut basis {
            let turned = covariance
                .chunks_exact(width)
                .map(|row| row.iter().zip(direction.iter()).map(|(a, b)| a * b).sum());
            *direction = turned.collect();
        }
        orthonormal(&mut basis);
    }
    let project = |vector: &Vec<f32>| {
        let centred: Vec<f32> = vector.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
        basis.iter().map(|direction| direction.iter().zip(&centred).map(|(a, b)| a * b).sum()).collect()
    };
    Some(vectors.iter().map(project).collect())
}

fn orthonormal(basis: &mut [Vec<f32>]) {
    for index in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(index);
        let current = &mut rest[0];
        for other in before.iter() {
            let along: f32 = current.iter().zip(other).map(|(a, b)| a * b).sum();
            current.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = current.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
        current.iter_mut().for_each(|value| *value /= length);
    }
}
