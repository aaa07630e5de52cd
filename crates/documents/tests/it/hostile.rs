//! Documents made to hurt whoever reads them.

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use craton_documents::{DocumentError, Limits, extract};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use crate::office::{DOCX, PDF, XLS, XLSX};
use crate::{read, text};

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn docx(body: &str) -> Vec<u8> {
    let xml = format!("<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>");
    zip(&[("word/document.xml", xml.as_bytes())])
}

fn tight() -> Limits {
    Limits {
        unpacked_bytes: 1 << 20,
        output_bytes: 1 << 20,
        time: Duration::from_secs(10),
        ..Limits::default()
    }
}

#[test]
fn archives_that_unpack_without_end_are_refused() {
    let zeros = vec![b' '; 8 << 20];
    for bytes in [zip(&[("word/document.xml", &zeros)]), zip(&[("xl/workbook.xml", &zeros)])] {
        assert!(bytes.len() < 64 << 10);
        let error = extract(&bytes, "docx", &tight()).unwrap_err();
        assert_eq!(error, DocumentError::TooLarge { what: "what it unpacks to", limit_bytes: 1 << 20 });
    }
}

#[test]
fn what_breaks_off_in_the_middle_is_no_document() {
    let whole =
        "<w:document xmlns:w=\"w\"><w:body><w:p><w:r><w:t>one</w:t></w:r></w:p></w:body></w:document>";
    assert_eq!(text(&zip(&[("word/document.xml", whole.as_bytes())]), "docx"), "one\n\n");
    for end in ["</w:document>", "</w:body>", "</w:p>"] {
        let half = whole.split(end).next().unwrap();
        let error = read(&zip(&[("word/document.xml", half.as_bytes())]), "docx").unwrap_err();
        assert!(matches!(error, DocumentError::Malformed(_)), "{half}: {error}");
    }
}

/// What is listed asks for no memory of its own, and no work for a part that was read.
#[test]
fn slides_that_are_listed_without_end_are_read_once() {
    let long = format!("{}1.xml", "a".repeat(100_000));
    let listed = "<p:sldId r:id=\"a\"/>".repeat(100_000);
    let list = format!("<p:presentation xmlns:p=\"p\" xmlns:r=\"r\">{listed}</p:presentation>");
    let relations =
        format!("<Relationships><Relationship Id=\"a\" Type=\"x/slide\" Target=\"{long}\"/></Relationships>");
    let slide = "<p:sld xmlns:a=\"a\" xmlns:p=\"p\"><a:p><a:r><a:t>once</a:t></a:r></a:p></p:sld>";
    let bytes = zip(&[
        ("ppt/presentation.xml", list.as_bytes()),
        ("ppt/_rels/presentation.xml.rels", relations.as_bytes()),
        ("ppt/slides/slide1.xml", slide.as_bytes()),
    ]);
    assert_eq!(text(&bytes, "pptx"), "", "the part is not there; 10 GB would have been asked for");
    let there = relations.replace(&long, "slides/slide1.xml");
    let bytes = zip(&[
        ("ppt/presentation.xml", list.as_bytes()),
        ("ppt/_rels/presentation.xml.rels", there.as_bytes()),
        ("ppt/slides/slide1.xml", slide.as_bytes()),
    ]);
    assert_eq!(text(&bytes, "pptx"), "## Slide 1\n\nonce\n\n");
}

#[test]
fn archives_of_too_many_parts_are_refused() {
    let names: Vec<String> = (0..10_001).map(|number| format!("word/document.xml{number}")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let error = read(&zip(&entries), "docx").unwrap_err();
    assert!(matches!(error, DocumentError::TooComplex(_)), "{error}");
}

#[test]
fn word_documents_nested_without_end_are_refused() {
    let error = read(&docx(&"<w:p>".repeat(100_000)), "docx").unwrap_err();
    assert!(matches!(error, DocumentError::TooComplex(_)), "{error}");
}

#[test]
fn entities_are_not_expanded() {
    let xml = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">]><w:document xmlns:w=\"w\"><w:p><w:t>&a;</w:t></w:p></w:document>";
    let error = read(&zip(&[("word/document.xml", xml.as_bytes())]), "docx").unwrap_err();
    assert!(matches!(error, DocumentError::Malformed(_)), "{error}");
    let error = read(&docx("<w:p><w:t>&undefined;</w:t></w:p>"), "docx").unwrap_err();
    assert!(matches!(error, DocumentError::Malformed(_)), "{error}");
    assert_eq!(text(&docx("<w:p><w:t>&lt;&#228;&amp;</w:t></w:p>"), "docx"), "<ä&\n\n");
}

#[test]
fn struck_text_and_second_renderings_are_left_out() {
    let body = "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del>\
                <mc:Fallback xmlns:mc=\"m\"><w:t>again</w:t></mc:Fallback></w:p>\
                <w:tbl><w:tr><w:tc><w:p><w:t>a</w:t></w:p><w:tbl><w:tr><w:tc><w:p><w:t>in</w:t></w:p></w:tc></w:tr>\
                </w:tbl></w:tc><w:tc><w:p><w:t>b</w:t></w:p></w:tc></w:tr></w:tbl>";
    let found = text(&docx(body), "docx");
    assert!(found.starts_with("kept\n\n") && !found.contains("gone") && !found.contains("again"), "{found}");
    assert!(found.contains("in") && found.contains(",b\n"), "{found}");
}

fn xlsx(sheet: &str, strings: &str) -> Vec<u8> {
    const TYPES: &str =
        "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"></Types>";
    const BOOK: &str = "<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" \
        xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\">\
        <sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>";
    const LINKS: &str = "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
        <Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" \
        Target=\"worksheets/sheet1.xml\"/>\
        <Relationship Id=\"r2\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings\" \
        Target=\"sharedStrings.xml\"/></Relationships>";
    const ROOT: &str = "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
        <Relationship Id=\"r1\" \
        Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" \
        Target=\"xl/workbook.xml\"/></Relationships>";
    zip(&[
        ("[Content_Types].xml", TYPES.as_bytes()),
        ("_rels/.rels", ROOT.as_bytes()),
        ("xl/workbook.xml", BOOK.as_bytes()),
        ("xl/_rels/workbook.xml.rels", LINKS.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ("xl/sharedStrings.xml", strings.as_bytes()),
    ])
}

#[test]
fn cells_far_apart_cost_nothing() {
    let sheet = "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>\
        <row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c></row>\
        <row r=\"1048577\"><c r=\"B1048577\"><v>3</v></c></row></sheetData></worksheet>";
    let found = text(&xlsx(sheet, "<sst uniqueCount=\"0\"></sst>"), "xlsx");
    assert_eq!(found, "## S\n\n1\n,3\n\n");
}

#[test]
fn stated_counts_must_be_possible() {
    for strings in ["<sst uniqueCount=\"99999999999\"></sst>", "<sst uniqueCount = '4000000000'></sst>"] {
        let error = read(&xlsx("<worksheet/>", strings), "xlsx").unwrap_err();
        assert_eq!(error.to_string(), "it is not well-formed: it states more strings than it has");
    }
}

/// A workbook stream of these records, in a compound file.
fn xls(records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (kind, data) in records {
        stream.extend(kind.to_le_bytes());
        stream.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
        stream.extend(data);
    }
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    file.create_stream("/Workbook").unwrap().write_all(&stream).unwrap();
    file.flush().unwrap();
    file.into_inner().into_inner()
}

/// The start of a workbook with one sheet, whose records follow.
fn one_sheet() -> Vec<(u16, Vec<u8>)> {
    let begin = |kind: u16| [0x0600_u16.to_le_bytes(), kind.to_le_bytes(), [0, 0], [0, 0]].concat();
    let globals = 4 + 8 + 4 + 9 + 4;
    let mut bound: Vec<u8> = u32::try_from(globals).unwrap().to_le_bytes().to_vec();
    bound.extend([0, 0, 1, 0, b'S']);
    vec![(0x0809, begin(5)), (0x0085, bound), (0x000a, vec![]), (0x0809, begin(0x10))]
}

#[test]
fn old_workbooks_that_span_too_much_are_refused() {
    let number = |row: u16, column: u16| {
        let mut data = [row.to_le_bytes(), column.to_le_bytes(), [0, 0]].concat();
        data.extend(1.5_f64.to_le_bytes());
        (0x0203, data)
    };
    let read_sheet = |cells: &[(u16, Vec<u8>)]| {
        read(&xls(&[&one_sheet()[..], cells, &[(0x000a, vec![])]].concat()), "xls")
    };
    assert_eq!(read_sheet(&[number(0, 0), number(3, 1)]).unwrap().text, "## S\n\n1.5\n,1.5\n\n");
    let corners = [number(0, 0), number(65_535, 255)];
    assert!(matches!(read_sheet(&corners), Err(DocumentError::TooComplex(_))));
    let stated = [u32::MAX.to_le_bytes().as_slice(), &[0xff; 4], &[0; 2], &[0xff; 2], &[0; 2]].concat();
    assert!(matches!(read_sheet(&[(0x0200, stated)]), Err(DocumentError::TooComplex(_))));
}

/// A PDF of these objects, numbered from 1; the first is the catalogue.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend(format!("{} 0 obj\n", index + 1).bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let start = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        out.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    out.extend(
        format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF", objects.len() + 1).bytes(),
    );
    out
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<< {dictionary} /Length {} >>\nstream\n", content.len());
    [head.as_bytes(), content, b"\nendstream"].concat()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A page that draws the form object 5, with what the form is.
fn with_form(page: &str, form: Vec<u8>) -> Vec<u8> {
    pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        format!(
            "<< /Type /Page /Parent {page} /MediaBox [0 0 99 99] /Contents 4 0 R \
                 /Resources << /XObject << /F 5 0 R >> >> >>"
        )
        .into_bytes(),
        stream("", b"/F Do"),
        form,
    ])
}

#[test]
fn pdfs_that_run_in_circles_are_refused() {
    let form = "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /F 5 0 R >> >>";
    let error = read(&with_form("2 0 R", stream(form, b"/F Do")), "pdf").unwrap_err();
    assert!(error.to_string().contains("draw one another without end"), "{error}");
    let borrowing = "/Type /XObject /Subtype /Form /BBox [0 0 9 9]";
    let error = read(&with_form("2 0 R", stream(borrowing, b"/F Do")), "pdf").unwrap_err();
    assert!(error.to_string().contains("no text"), "{error}");
    let error = read(&with_form("3 0 R", stream(borrowing, b"")), "pdf").unwrap_err();
    assert!(error.to_string().contains("circle") || error.to_string().contains("pages"), "{error}");
}

#[test]
fn pdfs_that_unpack_without_end_are_refused() {
    let bomb = packed(&vec![b' '; 8 << 20]);
    let twice = packed(&bomb);
    for content in [bomb, twice] {
        let bytes = with_form("2 0 R", stream("/Filter /FlateDecode", &content));
        let error = extract(&bytes, "pdf", &tight()).unwrap_err();
        assert_eq!(error, DocumentError::TooLarge { what: "what it unpacks to", limit_bytes: 1 << 20 });
    }
}

#[test]
fn pages_are_told_apart() {
    let page = |content: usize| {
        let font = "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>";
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents {content} 0 R /Resources {font} >>"
        )
    };
    let shown = |text: &str| stream("", format!("BT /F 9 Tf 5 50 Td ({text}) Tj ET").as_bytes());
    let bytes = pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R] /Count 3 >>".to_vec(),
        page(6).into_bytes(),
        page(7).into_bytes(),
        page(8).into_bytes(),
        shown("Apples"),
        stream("", b""),
        shown("Pears"),
    ]);
    let found = read(&bytes, "pdf").unwrap();
    let begins: Vec<&str> = found.pages.iter().map(|at| found.text[*at..].trim()).collect();
    assert_eq!(begins.len(), 3);
    assert!(begins[0].starts_with("Apples") && begins[1] == "Pears" && begins[2] == "Pears", "{begins:?}");
    assert!(found.pages.is_sorted() && read(b"a", "txt").unwrap().pages.is_empty());
}

#[test]
fn pictures_without_text_say_so() {
    let image =
        "/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray";
    let error = read(&with_form("2 0 R", stream(image, b"BT (x) Tj ET \xff\xd8\x00")), "pdf").unwrap_err();
    assert_eq!(error.to_string(), "it has no text: its pages are pictures");
}

#[test]
fn time_is_bounded() {
    let limits = Limits { time: Duration::from_millis(1), ..Limits::default() };
    let html = "<p>word</p>".repeat(200_000);
    let start = Instant::now();
    let error = extract(html.as_bytes(), "html", &limits).unwrap_err();
    // On a busy machine the wait for a thread can be longer than that.
    assert!(matches!(error, DocumentError::TimedOut(_) | DocumentError::Busy), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn damaged() -> impl Strategy<Value = (Vec<u8>, &'static str)> {
    let whole =
        prop_oneof![Just((DOCX, "docx")), Just((XLSX, "xlsx")), Just((XLS, "xls")), Just((PDF, "pdf")),];
    let flips = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (whole, flips, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((bytes, format), flips, end, cut)| {
            let mut bytes = bytes.to_vec();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            (bytes, format)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damage gives text or an error, within the limits, and never ends the process.
    #[test]
    fn damage_is_survived((bytes, format) in damaged()) {
        match extract(&bytes, format, &tight()) {
            Ok(found) => prop_assert!(found.text.len() <= 1 << 20),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..500), format in "(pdf|docx|xls|html)") {
        let _ = extract(&bytes, &format, &tight());
    }
}
