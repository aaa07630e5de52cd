//! Documents that come with a request or lie in S3, cut into passages.

use craton_api_bedrock_agent_runtime as api;
use craton_core::media;
use craton_documents::{DocumentError, Limits};
use craton_objects::{GetOptions, ObjectError, ObjectRef};
use craton_vectors::SourceLocation;
use craton_wire::ApiError;
use unicode_segmentation::UnicodeSegmentation as _;

use super::Retrieval;
use super::passages::{Passage, location};
use crate::error::internal;
use crate::members;

/// Largest document, as AWS has it.
const MOST_BYTES: usize = 10 << 20;
/// A passage, about; paragraphs are kept whole where they fit.
const PASSAGE_BYTES: usize = 1_500;
/// Text that is given to the model whole; of more, the passages nearest to the question.
const WHOLE_BYTES: usize = 24_000;

impl Retrieval {
    /// The passages of all sources that a question is about, in their order.
    pub(super) async fn external_passages(
        &self,
        sources: Vec<api::ExternalSource>,
        question: &str,
    ) -> Result<Vec<Passage>, ApiError> {
        let mut passages = Vec::new();
        for source in sources {
            let (bytes, format, place) = self.read(source).await?;
            let text = extract(bytes, format).await?;
            passages.extend(cut(&text).map(|text| Passage {
                text: text.to_owned(),
                score: 0.0,
                hit: None,
                location: place.clone(),
            }));
        }
        Ok(nearest(passages, question))
    }

    async fn read(
        &self,
        source: api::ExternalSource,
    ) -> Result<(bytes::Bytes, String, Option<api::RetrievalResultLocation>), ApiError> {
        let wanted = match source.source_type {
            api::ExternalSourceType::ByteContent => "byteContent",
            api::ExternalSourceType::S3 => "s3Location",
        };
        let given =
            [("byteContent", source.byte_content.is_some()), ("s3Location", source.s3_location.is_some())];
        members::only(&format!("the sourceType is {}", source.source_type.as_str()), wanted, &given)?;
        match (source.source_type, source.byte_content, source.s3_location) {
            (api::ExternalSourceType::ByteContent, Some(content), _) => {
                let format = format_of(&content.content_type, &content.identifier);
                Ok((content.data.0, format, None))
            }
            (api::ExternalSourceType::S3, _, Some(object)) => {
                let place = location(&SourceLocation::S3(object.uri.clone()));
                let at = ObjectRef::of_uri(&object.uri)
                    .ok_or_else(|| ApiError::validation("s3Location.uri must be s3://bucket/key."))?;
                let read = self.parts.objects.get(&at, GetOptions::default()).await;
                let object = read.map_err(|error| of_objects(&error, &at.key))?;
                let media_type = object.meta.attributes.content_type.clone().unwrap_or_default();
                let bytes = object.bytes(MOST_BYTES).await.map_err(|error| of_objects(&error, &at.key))?;
                Ok((bytes, format_of(&media_type, &at.key), Some(place)))
            }
            _ => Err(ApiError::validation("A source needs the member that its sourceType names.")),
        }
    }
}

fn of_objects(error: &ObjectError, key: &str) -> ApiError {
    match error {
        ObjectError::NoSuchBucket(_) | ObjectError::NoSuchKey { .. } => {
            ApiError::not_found(format!("The source '{key}' is not found: {error}."))
        }
        other => ApiError::validation(format!("The source '{key}' could not be read: {other}.")),
    }
}

/// A format's short name; what has none is read as plain text.
fn format_of(media_type: &str, name: &str) -> String {
    media::document_format_of(media_type, name).unwrap_or("txt").to_owned()
}

async fn extract(bytes: bytes::Bytes, format: String) -> Result<String, ApiError> {
    let limits = Limits { input_bytes: MOST_BYTES, ..Limits::default() };
    let reading = tokio::task::spawn_blocking(move || craton_documents::extract(&bytes, &format, &limits));
    match reading.await.map_err(|error| internal(&error))? {
        Ok(extracted) => Ok(extracted.text),
        Err(DocumentError::Busy) => Err(ApiError::throttling(
            "Too many documents are being read at once, please wait before trying again.",
        )),
        Err(error) => Err(ApiError::validation(format!("The source could not be read: {error}."))),
    }
}

/// Paragraphs together up to a passage's size; longer paragraphs by their sentences.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut passages = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for (at, piece) in text.split_sentence_bound_indices() {
        let paragraph_ends = text[start..at].ends_with("\n\n") && at - start > PASSAGE_BYTES / 2;
        if at > start && (at + piece.len() - start > PASSAGE_BYTES || paragraph_ends) {
            passages.push(text[start..at].trim());
            start = at;
        }
        end = at + piece.len();
    }
    passages.push(text[start..end].trim());
    passages.into_iter().filter(|passage| !passage.is_empty())
}

/// All passages, or those that share most with the question, as many as a prompt should hold.
fn nearest(passages: Vec<Passage>, question: &str) -> Vec<Passage> {
    if passages.iter().map(|passage| passage.text.len()).sum::<usize>() <= WHOLE_BYTES {
        return passages;
    }
    let wanted: Vec<String> = question.unicode_words().map(str::to_lowercase).collect();
    let mut having = vec![0_usize; wanted.len()];
    let texts: Vec<String> = passages.iter().map(|passage| passage.text.to_lowercase()).collect();
    for text in &texts {
        for (count, word) in having.iter_mut().zip(&wanted) {
            *count += usize::from(text.contains(word.as_str()));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of passages")]
    let score = |text: &String| {
        let shared = wanted.iter().zip(&having).filter(|(word, _)| text.contains(word.as_str()));
        shared.map(|(_, count)| (1.0 + texts.len() as f64 / *count as f64).ln()).sum::<f64>()
    };
    let mut order: Vec<(f64, usize)> = texts.iter().map(score).zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept = Vec::new();
    let mut bytes = 0;
    for (_, at) in order {
        bytes += passages[at].text.len();
        if bytes > WHOLE_BYTES {
            break;
        }
        kept.push(at);
    }
    kept.sort_unstable();
    let mut places: Vec<Option<Passage>> = passages.into_iter().map(Some).collect();
    kept.into_iter().filter_map(|at| places[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_cover_the_text_and_the_question_chooses() {
        let text: String = (0..2_000).map(|n| format!("Sentence {n} speaks of matter {n}.\n\n")).collect();
        let passages: Vec<&str> = cut(&text).collect();
        assert!(passages.iter().all(|passage| passage.len() <= PASSAGE_BYTES));
        assert_eq!(passages.iter().map(|passage| passage.matches("Sentence").count()).sum::<usize>(), 2_000);
        let passage =
            |text: &&str| Passage { text: (*text).to_owned(), score: 0.0, hit: None, location: None };
        let near = nearest(passages.iter().map(passage).collect(), "What about matter 1234?");
        assert!(near.iter().any(|passage| passage.text.contains("matter 1234.")));
        assert!(near.iter().map(|passage| passage.text.len()).sum::<usize>() <= WHOLE_BYTES);
    }

    #[test]
    fn formats_by_type_then_by_name() {
        assert_eq!(format_of("application/pdf; x=y", "a.txt"), "pdf");
        assert_eq!(format_of("binary/octet-stream", "A.DOCX"), "docx");
        assert_eq!(format_of("", "notes"), "txt");
    }
}
