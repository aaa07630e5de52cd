//! What a step may hold: text, and at most twenty images of the documented sizes, in at most 50 MB.

use craton_api_bedrock_agent_runtime as api;
use craton_core::image;
use craton_wire::ApiError;

const MAX_STEP_BYTES: usize = 50 << 20;
const MAX_IMAGES: usize = 20;
/// AWS says 3.75 MB.
const MAX_IMAGE_BYTES: usize = 3_750_000;
const MAX_IMAGE_SIDE: u32 = 8000;

/// The first thing that is wrong with a step's content, if anything is.
pub(crate) fn check(payload: &api::InvocationStepPayload) -> Result<(), ApiError> {
    let api::InvocationStepPayload::ContentBlocks(blocks) = payload;
    let mut images = 0;
    let mut bytes = 0;
    for block in blocks {
        match block {
            api::BedrockSessionContentBlock::Text(text) => bytes += text.len(),
            api::BedrockSessionContentBlock::Image(image) => {
                images += 1;
                if let api::ImageSource::Bytes(source) = &image.source {
                    bytes += source.0.len();
                    check_image(image.format.as_str(), &source.0)?;
                }
            }
        }
    }
    if images > MAX_IMAGES {
        return Err(ApiError::validation(format!("A step can have at most {MAX_IMAGES} images.")));
    }
    if bytes > MAX_STEP_BYTES {
        return Err(ApiError::validation(format!("A step can have at most {MAX_STEP_BYTES} bytes.")));
    }
    Ok(())
}

fn check_image(format: &str, bytes: &[u8]) -> Result<(), ApiError> {
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(ApiError::validation(format!("An image can have at most {MAX_IMAGE_BYTES} bytes.")));
    }
    let Some((width, height)) = image::size(format, bytes) else {
        return Err(ApiError::validation(format!("An image's bytes are no {format}.")));
    };
    if width > MAX_IMAGE_SIDE || height > MAX_IMAGE_SIDE {
        return Err(ApiError::validation(format!(
            "An image can be at most {MAX_IMAGE_SIDE} pixels wide and high; this one is {width} by {height}."
        )));
    }
    Ok(())
}
