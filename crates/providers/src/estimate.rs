//! Token counts for upstreams that can't count.
//!
//! There is no exact count without the model's tokenizer. Four bytes of text a token is what byte-pair vocabularies
//! average on English; other scripts have more bytes a character and more tokens a character, so bytes hold better
//! than characters do. Each message costs a few tokens of its template.

use craton_backend::{Block, ChatRequest, RerankRequest};

const BYTES_PER_TOKEN: usize = 4;
const TOKENS_PER_MESSAGE: usize = 4;
/// What a picture of middling size costs in the models that tile it.
const TOKENS_PER_IMAGE: usize = 765;

/// Estimated input tokens of a chat request: within a third of the truth on English prose, worse on code and numbers.
pub(crate) fn chat_tokens(request: &ChatRequest) -> u32 {
    let mut size = Size::default();
    request.system.iter().for_each(|block| size.block(block));
    for message in &request.messages {
        size.tokens += TOKENS_PER_MESSAGE;
        message.content.iter().for_each(|block| size.block(block));
    }
    for tool in &request.tools {
        size.tokens += TOKENS_PER_MESSAGE;
        size.bytes += tool.name.len() + tool.description.as_ref().map_or(0, String::len);
        size.bytes += json_bytes(&tool.input_schema);
    }
    saturate(size.tokens + size.bytes.div_ceil(BYTES_PER_TOKEN))
}

/// Estimated tokens of a text.
pub(crate) fn text_tokens(text: &str) -> u32 {
    tokens_of(text.len())
}

/// Estimated tokens of a text of so many bytes.
pub(crate) fn tokens_of(bytes: usize) -> u32 {
    saturate(bytes.div_ceil(BYTES_PER_TOKEN))
}

/// Estimated tokens of a query and the documents to be ordered by it.
pub(crate) fn rerank_tokens(request: &RerankRequest) -> u32 {
    let documents = request.documents.iter().map(|document| text_tokens(document));
    documents.fold(text_tokens(&request.query), u32::saturating_add)
}

/// `total` tokens shared out among texts in proportion to their length, so that the shares add up to it.
pub(crate) fn share_out(total: u32, texts: &[String]) -> Vec<u32> {
    let all: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let mut seen = 0u64;
    let mut given = 0u64;
    texts
        .iter()
        .map(|text| {
            seen += text.len() as u64;
            let due = (u64::from(total) * seen).checked_div(all).unwrap_or(0);
            let share = due - given;
            given = due;
            u32::try_from(share).unwrap_or(u32::MAX)
        })
        .collect()
}

#[derive(Default)]
struct Size {
    tokens: usize,
    bytes: usize,
}

impl Size {
    fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => self.bytes += text.len(),
            Block::Image(_) => self.tokens += TOKENS_PER_IMAGE,
            Block::Document(document) => self.bytes += document.bytes.len(),
            Block::ToolUse(call) => {
                self.tokens += TOKENS_PER_MESSAGE;
                self.bytes += call.name.len() + json_bytes(&call.input);
            }
            Block::ToolResult(result) => {
                self.tokens += TOKENS_PER_MESSAGE;
                result.content.iter().for_each(|block| self.block(block));
            }
            Block::Reasoning(_) | Block::CachePoint => {}
        }
    }
}

/// Length of a value's JSON without writing it anywhere.
fn json_bytes(value: &serde_json::Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing a value to a writer that can't fail can't fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn saturate(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let texts = ["a", "bb", "", "cccccccccc"].map(str::to_owned);
        for total in [0, 1, 2, 7, 100, u32::MAX] {
            assert_eq!(
                share_out(total, &texts).iter().map(|share| u64::from(*share)).sum::<u64>(),
                u64::from(total)
            );
        }
        assert_eq!(share_out(5, &[String::new()]), [0]);
    }

    #[test]
    fn longer_prompts_count_more() {
        let request =
            |text: &str| ChatRequest { system: vec![Block::Text(text.into())], ..ChatRequest::default() };
        assert_eq!(chat_tokens(&request("12345678")), 2);
        assert_eq!(chat_tokens(&request("123456789")), 3);
    }
}
