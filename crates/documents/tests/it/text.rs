use craton_documents::{DocumentError, Format, Limits, extract};
use proptest::prelude::*;

use crate::{read, text};

#[test]
fn plain_text_in_its_encodings() {
    let utf16 = |text: &str, bom: &[u8], pair: fn(u16) -> [u8; 2]| -> Vec<u8> {
        bom.iter().copied().chain(text.encode_utf16().flat_map(pair)).collect()
    };
    let expected = "Grüße, 1 €\n";
    assert_eq!(text(expected.as_bytes(), "txt"), expected);
    assert_eq!(text(&[b"\xef\xbb\xbf", expected.as_bytes()].concat(), "txt"), expected);
    assert_eq!(text(&utf16(expected, b"\xff\xfe", u16::to_le_bytes), "md"), expected);
    assert_eq!(text(&utf16(expected, b"\xfe\xff", u16::to_be_bytes), "csv"), expected);
    assert_eq!(text(&utf16("plain words", b"", u16::to_le_bytes), "txt"), "plain words");
    assert_eq!(text(b"Gr\xfc\xdfe, 1 \x80\n", "txt"), expected);
    assert_eq!(text(b"", "txt"), "");
}

#[test]
fn binary_data_is_no_text() {
    for bytes in [&b"\x00\x01\x02\x03\xff\xfe\xfd"[..], b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"] {
        assert_eq!(read(bytes, "txt"), Err(DocumentError::Binary));
    }
}

#[test]
fn html_becomes_markdown() {
    let html = "<!doctype html><html><head><title>T</title><style>p {}</style></head><body><h1>Hello</h1>\
                <p>A <b>bold</b> &amp; <a href=\"https://example.com\">linked</a> word.</p>\
                <ul><li>one<li>two</ul><script>alert(1)</script></body></html>";
    let found = text(html.as_bytes(), "html");
    assert!(
        found.contains("# Hello") && found.contains("**bold** & [linked](https://example.com)"),
        "{found}"
    );
    assert!(found.contains("one") && found.contains("two"), "{found}");
    assert!(!found.contains("alert") && !found.contains("p {}"), "{found}");
}

#[test]
fn html_says_its_own_charset() {
    let html = b"<html><head><meta charset=\"iso-8859-2\"></head><body>\xb3\xf3d\xbc</body></html>";
    assert_eq!(text(html, "html").trim(), "łódź");
}

#[test]
fn html_nested_without_end_is_read_anyway() {
    let html = format!("{}deep{}", "<div>".repeat(200_000), "</div>".repeat(200_000));
    assert_eq!(text(html.as_bytes(), "html").trim(), "deep");
}

#[test]
fn names_may_be_wrong() {
    let html = "<!DOCTYPE html><h1>Title</h1>";
    assert_eq!(read(html.as_bytes(), "docx").unwrap().format, Format::Html);
    assert_eq!(read(b"just words", "pdf").unwrap().format, Format::Txt);
    assert_eq!(read(b"a,b\n1,2\n", "csv").unwrap().format, Format::Csv);
    let error = read(b"\x00\x00\x00\x00garbage", "pdf").unwrap_err();
    assert_eq!(error.to_string(), "it is not well-formed: it is not a pdf document");
    let error = read(b"{\\rtf1 hello}", "doc").unwrap_err();
    assert!(error.to_string().contains("RTF documents can't be read"), "{error}");
}

#[test]
fn input_and_output_have_limits() {
    let limits = Limits { input_bytes: 10, ..Limits::default() };
    let error = extract(b"eleven bytes", "txt", &limits).unwrap_err();
    assert_eq!(error, DocumentError::TooLarge { what: "the document", limit_bytes: 10 });
    let limits = Limits { output_bytes: 10, ..Limits::default() };
    for format in ["txt", "html"] {
        let error = extract(b"eleven bytes", format, &limits).unwrap_err();
        assert_eq!(error, DocumentError::TooLarge { what: "its text", limit_bytes: 10 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn text_is_kept_as_it_is(text in "[^\\p{Cc}]{0,200}") {
        prop_assume!(!text.starts_with("PK") && !text.contains("%PDF-") && !text.starts_with('\u{feff}'));
        prop_assert_eq!(read(text.as_bytes(), "md").unwrap().text, text);
    }

    #[test]
    fn no_html_panics(html in "(<[a-z/!]{1,6}[ =\"'a-z]{0,8}>?|&[a-z#0-9]{0,5};?|[a-z ]{1,5}){0,60}") {
        prop_assert!(read(html.as_bytes(), "html").is_ok());
    }
}
