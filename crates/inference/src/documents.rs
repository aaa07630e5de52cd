//! Documents to text, for backends that read text only.

use craton_backend::{Block, ChatRequest, Document, ToolResult};
use craton_wire::ApiError;

/// Replaces every document of `request` by its text.
pub(crate) async fn to_text(request: &mut ChatRequest) -> Result<(), ApiError> {
    for message in &mut request.messages {
        for block in &mut message.content {
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
    }
    Ok(())
}

/// The same bytes always give the same text, so a prompt with documents keeps its prefix.
async fn text_of(document: &Document) -> Result<Block, ApiError> {
    let Document { name, format, .. } = document;
    let text = extract(document).await.map_err(|reason| {
        ApiError::validation(format!("The document '{name}' could not be read as {format}: {reason}"))
    })?;
    Ok(Block::Text(format!(
        "<document name=\"{name}\" format=\"{format}\">\n{}\n</document>",
        text.trim_end()
    )))
}

async fn extract(document: &Document) -> Result<String, String> {
    match document.format.as_str() {
        "txt" | "md" | "csv" => {
            let text = std::str::from_utf8(&document.bytes).map_err(|error| error.to_string())?;
            Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
        }
        _ => Err("this format is not served yet".to_owned()),
    }
}
