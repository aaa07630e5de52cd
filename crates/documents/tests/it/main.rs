//! Documents of every format, as other programs write them and as nobody should.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed step is a failed test

mod hostile;
mod office;
mod text;

use craton_documents::{DocumentError, Extracted, Format, Limits, extract};

/// The text of a document under the default limits.
fn read(bytes: &[u8], format: &str) -> Result<Extracted, DocumentError> {
    extract(bytes, format, &Limits::default())
}

fn text(bytes: &[u8], format: &str) -> String {
    read(bytes, format).unwrap().text
}

#[test]
fn formats_have_names() {
    for name in ["pdf", "csv", "doc", "docx", "pptx", "xls", "xlsx", "html", "txt", "md"] {
        assert_eq!(Format::from_name(name).unwrap().name(), name);
    }
    assert_eq!(read(b"x", "png"), Err(DocumentError::UnknownFormat("png".into())));
}
