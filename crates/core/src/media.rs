//! Media types, the short names that formats have in requests, and the endings of files' names: one table of them.

/// What is known of a format of documents.
struct Kind {
    /// As a document block names it.
    format: &'static str,
    /// The usual one first.
    media_types: &'static [&'static str],
    endings: &'static [&'static str],
}

const DOCUMENTS: &[Kind] = &[
    Kind { format: "pdf", media_types: &["application/pdf"], endings: &["pdf"] },
    Kind { format: "csv", media_types: &["text/csv"], endings: &["csv"] },
    Kind {
        format: "html",
        media_types: &["text/html", "application/xhtml+xml"],
        endings: &["html", "htm", "xhtml"],
    },
    Kind { format: "md", media_types: &["text/markdown"], endings: &["md", "markdown"] },
    Kind { format: "doc", media_types: &["application/msword"], endings: &["doc"] },
    Kind {
        format: "docx",
        media_types: &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
        endings: &["docx"],
    },
    Kind { format: "xls", media_types: &["application/vnd.ms-excel"], endings: &["xls"] },
    Kind {
        format: "xlsx",
        media_types: &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
        endings: &["xlsx"],
    },
    Kind { format: "txt", media_types: &["text/plain"], endings: &["txt", "log"] },
];

/// Other endings that files often have.
const OTHERS: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("json", "application/json"),
];

/// A media type without its parameters, in small letters.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase()
}

/// The format of documents of a media type.
pub fn document_format(media_type: &str) -> Option<&'static str> {
    let wanted = essence(media_type);
    DOCUMENTS.iter().find(|kind| kind.media_types.contains(&wanted.as_str())).map(|kind| kind.format)
}

/// The format of documents whose names end so.
pub fn document_format_of_name(name: &str) -> Option<&'static str> {
    let wanted = ending(name);
    DOCUMENTS.iter().find(|kind| kind.endings.contains(&wanted.as_str())).map(|kind| kind.format)
}

/// The format of documents by the media type, else by the name's ending: whatever is said to be plain text may be more
/// by its name.
pub fn document_format_of(media_type: &str, name: &str) -> Option<&'static str> {
    let by_type = document_format(media_type);
    by_type.filter(|format| *format != "txt").or_else(|| document_format_of_name(name)).or(by_type)
}

/// The media type that a file's name stands for.
pub fn media_type_of_name(name: &str) -> &'static str {
    let wanted = ending(name);
    let document = DOCUMENTS.iter().find(|kind| kind.endings.contains(&wanted.as_str()));
    let other = || OTHERS.iter().find(|(ending, _)| *ending == wanted).map(|(_, media_type)| *media_type);
    document.map(|kind| kind.media_types[0]).or_else(other).unwrap_or("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_type_and_by_name() {
        assert_eq!(document_format("Text/HTML; charset=utf-8"), Some("html"));
        assert_eq!(document_format("image/png"), None);
        assert_eq!(document_format_of_name("a.b/Report.XLSX"), Some("xlsx"));
        assert_eq!(document_format_of_name("pdf"), None, "an ending follows a dot");
        assert_eq!(document_format_of("text/plain", "A.DOCX"), Some("docx"));
        assert_eq!(document_format_of("text/plain", "a"), Some("txt"));
        assert_eq!(document_format_of("binary/octet-stream", "a"), None);
        assert_eq!(media_type_of_name("x.JPG"), "image/jpeg");
        assert_eq!(media_type_of_name("notes.markdown"), "text/markdown");
        assert_eq!(media_type_of_name("archive"), "application/octet-stream");
    }

    #[test]
    fn no_ending_and_no_type_stands_twice() {
        let mut endings: Vec<&str> = DOCUMENTS.iter().flat_map(|kind| kind.endings.iter().copied()).collect();
        endings.extend(OTHERS.iter().map(|(ending, _)| *ending));
        let mut types: Vec<&str> =
            DOCUMENTS.iter().flat_map(|kind| kind.media_types.iter().copied()).collect();
        for list in [&mut endings, &mut types] {
            let before = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), before);
        }
    }
}
