//! PowerPoint presentations: the slides' text and tables, each slide followed by its notes.

use std::io::Read as _;

use crate::bounds::Budget;
use crate::{DocumentError, docx};

/// PowerPoint itself gets slow far below.
const MAX_SLIDES: usize = 5_000;

pub(crate) fn extract(bytes: &[u8], budget: &Budget) -> Result<String, DocumentError> {
    let mut archive = budget.open_zip(bytes)?;
    let number = |name: &str| -> Option<usize> {
        name.strip_prefix("ppt/slides/slide")?.strip_suffix(".xml")?.parse().ok()
    };
    let mut slides: Vec<usize> =
        archive.file_names().filter_map(|name| number(name.ok()?.as_ref())).collect();
    slides.sort_unstable();
    if slides.len() > MAX_SLIDES {
        return Err(DocumentError::TooComplex(format!("it has more than {MAX_SLIDES} slides")));
    }
    let mut text = String::new();
    for slide in slides {
        let mut written = false;
        for part in [format!("ppt/slides/slide{slide}.xml"), format!("ppt/notesSlides/notesSlide{slide}.xml")]
        {
            let Ok(entry) = archive.by_name(&part) else { continue };
            let found = docx::text_of(entry.take(budget.limits.unpacked_bytes as u64), budget)?;
            let found = found.trim();
            // Notes of nothing but the slide's number are not notes.
            if found.is_empty() || (written && found.parse::<usize>().is_ok()) {
                continue;
            }
            if !written {
                text.push_str(&format!("## Slide {slide}\n\n"));
            }
            written = true;
            text.push_str(found);
            text.push_str("\n\n");
        }
        budget.check_output(&text)?;
    }
    Ok(text)
}
