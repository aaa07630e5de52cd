//! What a request's images have to be, so that a file that is none is refused here and in words, not by an upstream.
//!
//! AWS itself bounds neither their number nor their size: the model's provider does, and of those only Anthropic says
//! how. Its numbers and words are those that callers of Claude on Bedrock report.

use craton_backend::{Block, ChatRequest, Image};
use craton_core::image;
use craton_models::Family;
use craton_wire::ApiError;

/// Of an image's base64 text, which is what Anthropic counts: 3.75 MiB of bytes.
const MAX_BASE64_BYTES: usize = 5 << 20;
/// Pixels, of either side.
const MAX_SIDE: u32 = 8000;
/// Images in a request to Claude through Bedrock's own operations.
const MAX_IMAGES: usize = 20;

/// # Errors
/// `ValidationException` for the first image that can't be one, or that the family's provider would refuse.
pub(crate) fn check(family: Family, operation: &str, request: &ChatRequest) -> Result<(), ApiError> {
    let mut count = 0;
    for (index, message) in request.messages.iter().enumerate() {
        for (position, block) in message.content.iter().enumerate() {
            for image in images(block) {
                count += 1;
                check_image(family, image).map_err(|what| {
                    let place = format!("messages.{index}.content.{position}");
                    ApiError::validation(format!("{place}.image.source.base64: {what}"))
                })?;
            }
        }
    }
    let is_bedrocks = ["Converse", "InvokeModel"].iter().any(|name| operation.starts_with(name));
    match family == Family::AnthropicMessages && is_bedrocks && count > MAX_IMAGES {
        true => Err(ApiError::validation(format!("messages: too many images: image_count > {MAX_IMAGES}"))),
        false => Ok(()),
    }
}

/// A block that is an image, or the images in a tool's result.
fn images(block: &Block) -> impl Iterator<Item = &Image> {
    let blocks = match block {
        Block::ToolResult(result) => &*result.content,
        other => std::slice::from_ref(other),
    };
    blocks.iter().filter_map(|block| match block {
        Block::Image(image) => Some(image),
        _ => None,
    })
}

fn check_image(family: Family, image: &Image) -> Result<(), String> {
    let (declared, found) = (image.format.as_str(), image::format_of(&image.bytes));
    if let Some(found) = found.filter(|found| *found != declared) {
        return Err(format!(
            "The image was specified using the image/{declared} media type, but the image appears to be a \
             image/{found} image"
        ));
    }
    let (width, height) = match image::size(declared, &image.bytes) {
        Some((width, height)) if width > 0 && height > 0 => (width, height),
        _ => return Err(format!("Could not process image: it is not a {declared} file")),
    };
    if family != Family::AnthropicMessages {
        return Ok(());
    }
    let base64_bytes = image.bytes.len().div_ceil(3) * 4;
    if base64_bytes > MAX_BASE64_BYTES {
        return Err(format!("image exceeds 5 MB maximum: {base64_bytes} bytes > {MAX_BASE64_BYTES} bytes"));
    }
    match width.max(height) > MAX_SIDE {
        true => {
            Err(format!("At least one of the image dimensions exceed max allowed size: {MAX_SIDE} pixels"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use craton_backend::{Message, Role, ToolResult};

    use super::*;

    fn png(width: u32, height: u32, bytes: usize) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        file.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()));
        file.resize(file.len().max(bytes), 0);
        file
    }

    fn block(format: &str, bytes: Vec<u8>) -> Block {
        Block::Image(Image { format: format.into(), bytes: bytes.into() })
    }

    fn checked(family: Family, content: Vec<Block>) -> Result<(), String> {
        let messages = vec![Message { role: Role::User, content }];
        let request = ChatRequest { messages, ..ChatRequest::default() };
        check(family, "InvokeModel", &request).map_err(|error| error.message)
    }

    #[test]
    fn a_file_that_is_no_image_is_refused_whatever_the_model() {
        for family in [Family::AnthropicMessages, Family::Nova, Family::OpenAiChat] {
            assert_eq!(checked(family, vec![block("png", png(1, 1, 0))]), Ok(()));
            for (format, bytes, words) in [
                ("png", b"\x89PNG\r\n\x1a\n".to_vec(), "not a png file"),
                ("png", b"hi".to_vec(), "not a png file"),
                ("jpeg", png(1, 1, 0), "appears to be a image/png image"),
                ("png", png(0, 1, 0), "not a png file"),
            ] {
                let refused = checked(family, vec![Block::Text("see".into()), block(format, bytes)]);
                let message = refused.unwrap_err();
                assert!(message.starts_with("messages.0.content.1.image.source.base64: "), "{message}");
                assert!(message.contains(words), "{message}");
            }
        }
    }

    #[test]
    fn claude_takes_images_up_to_a_size() {
        let most = (5 << 20) / 4 * 3;
        let claude = |width, height, bytes| {
            checked(Family::AnthropicMessages, vec![block("png", png(width, height, bytes))])
        };
        assert_eq!(claude(8000, 8000, most), Ok(()));
        let message = claude(8, 8, most + 1).unwrap_err();
        assert!(message.ends_with("image exceeds 5 MB maximum: 5242884 bytes > 5242880 bytes"), "{message}");
        let message = claude(8, 8001, 0).unwrap_err();
        assert!(message.ends_with("exceed max allowed size: 8000 pixels"), "{message}");
        assert_eq!(checked(Family::Nova, vec![block("png", png(9000, 8, most + 1))]), Ok(()));
    }

    #[test]
    fn claude_takes_twenty_those_in_results_of_tools_included() {
        let some = |count| (0..count).map(|_| block("png", png(1, 1, 0))).collect::<Vec<_>>();
        let result =
            |content| Block::ToolResult(ToolResult { tool_use_id: "t".into(), content, is_error: false });
        let content = |more| some(10).into_iter().chain([result(some(more))]).collect::<Vec<_>>();
        assert_eq!(checked(Family::AnthropicMessages, content(10)), Ok(()));
        let refused = checked(Family::AnthropicMessages, content(11));
        assert_eq!(refused.unwrap_err(), "messages: too many images: image_count > 20");
        assert_eq!(checked(Family::Nova, content(11)), Ok(()));
    }
}
