//! Documents to text, for backends that read text only.

use craton_backend::{Block, ChatRequest, Document, ToolResult};
use craton_documents::{DocumentError, Format, Limits};
use craton_wire::ApiError;

/// Replaces every document of `request` by its text.
pub(crate) async fn to_text(request: &mut ChatRequest) -> Result<(), ApiError> {
    for block in request.messages.iter_mut().flat_map(|message| &mut message.content) {
        match block {
            Block::Document(document) => *block = text_of(document).await?,
            Block::ToolResult(ToolResult { content, .. }) => {
                for block in content {
                    if let Block::Document(document) = block {
                        *block = text_of(document).await?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The same bytes always give the same text, so a prompt with documents keeps its prefix.
async fn text_of(document: &Document) -> Result<Block, ApiError> {
    let Document { name, format, .. } = document;
    let text = read(document).await?;
    let text = text.trim_end();
    Ok(Block::Text(format!("<document name=\"{name}\" format=\"{format}\">\n{text}\n</document>")))
}

/// What a document says.
pub(crate) async fn read(document: &Document) -> Result<String, ApiError> {
    let Document { name, format, .. } = document;
    match extract(document).await? {
        Ok(text) => Ok(text),
        Err(DocumentError::Busy) => Err(ApiError::throttling(
            "Too many documents are being read at once, please wait before trying again.",
        )
        .with_retry_after(Some(1))),
        Err(error) => Err(ApiError::validation(format!(
            "The document '{name}' could not be read as {format}: {error}."
        ))),
    }
}

/// Reading a document can take seconds: it has a thread of its own.
async fn extract(document: &Document) -> Result<Result<String, DocumentError>, ApiError> {
    let (bytes, format) = (document.bytes.clone(), document.format.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let extracted = craton_documents::extract(&bytes, &format, &Limits::default())?;
        // What is declared as a format with a signature and is another, or none, was not meant to be sent.
        match Format::from_name(&format) {
            Some(declared) if !declared.is_text() && declared != extracted.format => {
                Err(DocumentError::Malformed(format!("it is not a {format} document")))
            }
            _ => Ok(extracted.text),
        }
    });
    reading.await.map_err(|error| {
        tracing::error!(%error, "reading a document failed");
        ApiError::internal(
            "The system encountered an unexpected error during processing. Try your request again.",
        )
    })
}
