//! Texts into chunks that can be embedded and returned.
//!
//! Lengths are in tokens of the knowledge base's embedding model. Cuts are between sentences where they can be, else
//! between words, else between characters. Tokens are counted by sentence and added up; the few tokens that this is off
//! are within what models read, since longer texts are embedded in windows.

mod pack;
mod room;
mod semantic;

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;
use ring::digest::{SHA256, digest};

use super::failure::{Failure, from_embedder};
use crate::index::Embedder;
use crate::members;
use pack::{Unit, joined, pack, sentences, units};
pub(crate) use room::Room;

/// AWS's chunks when nothing is configured: 300 tokens, overlapping by a fifth.
const DEFAULT: Strategy = Strategy::Fixed { max_tokens: 300, overlap_percentage: 20 };

/// Bytes of a token and tokens of a sentence, at the least in most languages.
const TOKEN_BYTES: usize = 3;
const SENTENCE: usize = 20;

/// How texts are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Strategy {
    None,
    Fixed {
        max_tokens: usize,
        overlap_percentage: usize,
    },
    /// Children are searched, their parents returned.
    Hierarchical {
        parent_tokens: usize,
        child_tokens: usize,
        overlap_tokens: usize,
    },
    /// Cut where neighbouring sentences differ most.
    Semantic {
        max_tokens: usize,
        buffer: usize,
        percentile: usize,
    },
}

/// Refuses configurations of strategies that were not chosen, and a strategy without the one it needs.
fn check(chunking: &api::ChunkingConfiguration) -> Result<(), ApiError> {
    let strategy = chunking.chunking_strategy;
    let fixed = chunking.fixed_size_chunking_configuration.is_some();
    let wanted = match strategy {
        api::ChunkingStrategy::FixedSize if fixed => "fixedSizeChunkingConfiguration",
        api::ChunkingStrategy::None | api::ChunkingStrategy::FixedSize => "",
        api::ChunkingStrategy::Hierarchical => "hierarchicalChunkingConfiguration",
        api::ChunkingStrategy::Semantic => "semanticChunkingConfiguration",
    };
    let given = [
        ("fixedSizeChunkingConfiguration", fixed),
        ("hierarchicalChunkingConfiguration", chunking.hierarchical_chunking_configuration.is_some()),
        ("semanticChunkingConfiguration", chunking.semantic_chunking_configuration.is_some()),
    ];
    members::only(&format!("the chunkingStrategy is {}", strategy.as_str()), wanted, &given)
}

/// A chunk of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Where in the text that was cut it begins, in bytes.
    pub(crate) at: usize,
    /// The number among the text's parents, and the parent's text.
    pub(crate) parent: Option<(usize, String)>,
}

impl Strategy {
    /// The strategy of a data source.
    pub(crate) fn of(ingestion: Option<&api::VectorIngestionConfiguration>) -> Result<Self, ApiError> {
        let Some(chunking) = ingestion.and_then(|ingestion| ingestion.chunking_configuration.as_ref()) else {
            return Ok(DEFAULT);
        };
        let wanted = chunking.chunking_strategy;
        let missing = |name: &str| {
            ApiError::validation(format!(
                "{name} is required when the chunkingStrategy is {}.",
                wanted.as_str()
            ))
        };
        let count = |number: i32| usize::try_from(number).unwrap_or_default();
        check(chunking)?;
        match wanted {
            api::ChunkingStrategy::None => Ok(Self::None),
            api::ChunkingStrategy::FixedSize => {
                let Some(fixed) = &chunking.fixed_size_chunking_configuration else { return Ok(DEFAULT) };
                Ok(Self::Fixed {
                    max_tokens: count(fixed.max_tokens).max(1),
                    overlap_percentage: count(fixed.overlap_percentage).min(99),
                })
            }
            api::ChunkingStrategy::Hierarchical => {
                let configured = chunking.hierarchical_chunking_configuration.as_ref();
                let configured = configured.ok_or_else(|| missing("hierarchicalChunkingConfiguration"))?;
                let levels: Vec<usize> =
                    configured.level_configurations.iter().map(|level| count(level.max_tokens)).collect();
                let [parent_tokens, child_tokens] = levels[..] else {
                    return Err(ApiError::validation("levelConfigurations must have 2 levels."));
                };
                if child_tokens == 0 || child_tokens > parent_tokens {
                    return Err(ApiError::validation(
                        "The maxTokens of the first level must be more than those of the second.",
                    ));
                }
                let overlap_tokens = count(configured.overlap_tokens);
                if overlap_tokens >= child_tokens {
                    return Err(ApiError::validation(
                        "overlapTokens must be less than the maxTokens of every level.",
                    ));
                }
                Ok(Self::Hierarchical { parent_tokens, child_tokens, overlap_tokens })
            }
            api::ChunkingStrategy::Semantic => {
                let configured = chunking.semantic_chunking_configuration.as_ref();
                let configured = configured.ok_or_else(|| missing("semanticChunkingConfiguration"))?;
                Ok(Self::Semantic {
                    max_tokens: count(configured.max_tokens).max(1),
                    buffer: count(configured.buffer_size),
                    percentile: count(configured.breakpoint_percentile_threshold),
                })
            }
        }
    }

    /// What bytes of text come to as chunks, about, with their vectors and what each repeats of its neighbours.
    pub(crate) fn growth(&self, dimensions: usize) -> u64 {
        let (carried, step) = match *self {
            Self::None => return 1,
            Self::Fixed { max_tokens, overlap_percentage } => {
                (max_tokens, max_tokens - max_tokens * overlap_percentage / 100)
            }
            Self::Hierarchical { parent_tokens, child_tokens, overlap_tokens } => {
                (parent_tokens + child_tokens, child_tokens - overlap_tokens)
            }
            Self::Semantic { max_tokens, .. } => (max_tokens, max_tokens.min(SENTENCE)),
        };
        let chunk = carried * TOKEN_BYTES + dimensions * size_of::<f32>();
        u64::try_from(chunk.div_ceil(step.max(1) * TOKEN_BYTES)).unwrap_or(u64::MAX)
    }

    /// Changes whenever chunks of the same text would.
    pub(crate) fn fingerprint(&self, embedder: &Embedder) -> String {
        let text = format!("1 {self:?} {} {}", embedder.served_by, embedder.dimensions);
        hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
    }

    /// Cuts a text. No chunk is empty, and all of them find room.
    pub(crate) async fn cut(
        &self,
        text: &str,
        embedder: &Embedder,
        room: &mut Room,
    ) -> Result<Vec<Piece>, Failure> {
        let skipped = text.len() - text.trim_start().len();
        let mut pieces = self.cut_trimmed(text.trim(), embedder, room).await?;
        pieces.retain(|piece| !piece.text.is_empty());
        pieces.iter_mut().for_each(|piece| piece.at += skipped);
        Ok(pieces)
    }

    async fn cut_trimmed(
        &self,
        text: &str,
        embedder: &Embedder,
        room: &mut Room,
    ) -> Result<Vec<Piece>, Failure> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error| Failure::Job(from_embedder(error, &embedder.arn));
        let mut piece = |units: &[Unit], parent: Option<(usize, &str)>| {
            let (at, text) = joined(text, units);
            room.take(text.len() + parent.map_or(0, |(_, parent)| parent.len()))?;
            let parent = parent.map(|(number, parent)| (number, parent.to_owned()));
            Ok(Piece { text: text.to_owned(), at, parent })
        };
        match *self {
            Self::None => {
                let whole = Unit { range: 0..text.len(), tokens: 0 };
                Ok(vec![piece(&[whole], None)?])
            }
            Self::Fixed { max_tokens, overlap_percentage } => {
                let overlap = max_tokens * overlap_percentage / 100;
                let units = units(text, max_tokens, embedder).await.map_err(failed)?;
                let groups = pack(&units, max_tokens, overlap);
                groups.into_iter().map(|group| piece(&units[group], None)).collect()
            }
            Self::Hierarchical { parent_tokens, child_tokens, overlap_tokens } => {
                let units = units(text, child_tokens, embedder).await.map_err(failed)?;
                let mut pieces = Vec::new();
                for (number, group) in pack(&units, parent_tokens, overlap_tokens).into_iter().enumerate() {
                    let units = &units[group];
                    let parent = joined(text, units).1;
                    for child in pack(units, child_tokens, overlap_tokens) {
                        pieces.push(piece(&units[child], Some((number, parent)))?);
                    }
                }
                Ok(pieces)
            }
            Self::Semantic { max_tokens, buffer, percentile } => {
                let units = sentences(text, max_tokens, embedder).await.map_err(failed)?;
                let groups = semantic::group(text, &units, (buffer, percentile), embedder).await;
                let mut pieces = Vec::new();
                for group in groups.map_err(failed)? {
                    let units = &units[group];
                    for part in pack(units, max_tokens, 0) {
                        pieces.push(piece(&units[part], None)?);
                    }
                }
                Ok(pieces)
            }
        }
    }
}
