use memchr::memmem;

use crate::DocumentError;

/// Formats of documents, by the names Converse has for them; presentations are for ingestion only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Pdf,
    Csv,
    Doc,
    Docx,
    Pptx,
    Xls,
    Xlsx,
    Html,
    Txt,
    Md,
}

impl Format {
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pdf" => Self::Pdf,
            "csv" => Self::Csv,
            "doc" => Self::Doc,
            "docx" => Self::Docx,
            "pptx" => Self::Pptx,
            "xls" => Self::Xls,
            "xlsx" => Self::Xlsx,
            "html" => Self::Html,
            "txt" => Self::Txt,
            "md" => Self::Md,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Csv => "csv",
            Self::Doc => "doc",
            Self::Docx => "docx",
            Self::Pptx => "pptx",
            Self::Xls => "xls",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
            Self::Txt => "txt",
            Self::Md => "md",
        }
    }

    /// Whether it is a kind of plain text, which nothing in its bytes tells from another.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Html | Self::Txt | Self::Md)
    }
}

const COMPOUND_FILE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/// What `bytes` are: their own signature decides; text is what it was declared as, if that is a kind of text.
pub(crate) fn detect(bytes: &[u8], declared: Format) -> Result<Format, DocumentError> {
    // Readers accept some rubbish before a PDF's header.
    if memmem::find(&bytes[..bytes.len().min(1024)], b"%PDF-").is_some() {
        return Ok(Format::Pdf);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return zipped(bytes);
    }
    if bytes.starts_with(&COMPOUND_FILE) {
        return compound(bytes);
    }
    if bytes.starts_with(b"{\\rtf") {
        return Err(DocumentError::Unsupported(
            "RTF documents can't be read; save the document as .docx or .pdf",
        ));
    }
    if bytes.is_empty() || declared.is_text() {
        return Ok(if declared.is_text() { declared } else { Format::Txt });
    }
    // Declared as something with a signature, which it lacks: text under a wrong name, or damaged.
    let head = &bytes[..bytes.len().min(4096)];
    if memchr::memchr(0, head).is_some() {
        let reason = format!("it is not a {} document", declared.name());
        return Err(DocumentError::Malformed(reason));
    }
    let start = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    Ok(if start.starts_with("<!doctype html") || start.starts_with("<html") {
        Format::Html
    } else {
        Format::Txt
    })
}

/// Names in an archive's directory are stored plain, and the archive itself is checked later.
fn zipped(bytes: &[u8]) -> Result<Format, DocumentError> {
    let has = |name: &str| memmem::find(bytes, name.as_bytes()).is_some();
    if has("word/document.xml") {
        Ok(Format::Docx)
    } else if has("xl/workbook.xml") {
        Ok(Format::Xlsx)
    } else if has("ppt/presentation.xml") {
        Ok(Format::Pptx)
    } else {
        Err(DocumentError::Unsupported(
            "it is an archive, but no Word document (.docx), Excel workbook (.xlsx) or PowerPoint presentation (.pptx)",
        ))
    }
}

/// A compound file's directory names its streams in UTF-16.
fn compound(bytes: &[u8]) -> Result<Format, DocumentError> {
    let has = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        memmem::find(bytes, &name).is_some()
    };
    if has("EncryptedPackage") {
        Err(DocumentError::Encrypted)
    } else if has("Workbook") || has("Book") {
        Ok(Format::Xls)
    } else if has("WordDocument") {
        Ok(Format::Doc)
    } else {
        Err(DocumentError::Binary)
    }
}
