use craton_documents::{DocumentError, Format};

use crate::{read, text};

pub(crate) const DOCX: &[u8] = include_bytes!("../fixtures/report.docx");
pub(crate) const XLSX: &[u8] = include_bytes!("../fixtures/orders.xlsx");
pub(crate) const XLS: &[u8] = include_bytes!("../fixtures/orders.xls");
pub(crate) const PDF: &[u8] = include_bytes!("../fixtures/letter.pdf");

#[test]
fn word() {
    assert_eq!(
        text(DOCX, "docx"),
        "# Quarterly report\n\nRevenue grew by 12 % & costs fell — “as planned”.\n\n## Regions\n\n- North\n- South\n\
         Region,\"Revenue, EUR\"\nNorth,\"1,200\"\n\nLast\tline\n\n"
    );
}

/// A presentation of so many parts, as PowerPoint writes them.
pub(crate) fn presentation(parts: &[(&str, &str)]) -> Vec<u8> {
    archive(&[&[("ppt/presentation.xml", "<p:presentation/>")], parts].concat())
}

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, content) in parts {
        archive.start_file(*name, options).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn slide(paragraphs: &[&str]) -> String {
    let paragraph = |text: &&str| format!("<a:p><a:r><a:t>{text}</a:t></a:r></a:p>");
    let body: String = paragraphs.iter().map(paragraph).collect();
    format!(
        "<p:sld xmlns:a=\"a\" xmlns:p=\"p\"><p:cSld><p:spTree><p:sp><p:txBody>{body}</p:txBody></p:sp></p:spTree></p:cSld></p:sld>"
    )
}

fn relations(all: &[(&str, &str, &str)]) -> String {
    let one = |(id, kind, target): &(&str, &str, &str)| {
        format!("<Relationship Id=\"{id}\" Type=\"http://x/relationships/{kind}\" Target=\"{target}\"/>")
    };
    format!("<Relationships>{}</Relationships>", all.iter().map(one).collect::<String>())
}

/// Files are numbered as they were made; the list says in which order they are shown, and which are not any more.
#[test]
fn slides_come_as_they_are_shown() {
    let list = "<p:presentation xmlns:p=\"p\" xmlns:r=\"r\"><p:sldMasterIdLst><p:sldMasterId id=\"1\" r:id=\"rId9\"/>\
                </p:sldMasterIdLst><p:sldIdLst><p:sldId id=\"257\" r:id=\"rId3\"/><p:sldId id=\"256\" r:id=\"rId2\"/>\
                </p:sldIdLst></p:presentation>";
    let targets = [
        ("rId2", "slide", "slides/slide1.xml"),
        ("rId3", "slide", "slides/slide2.xml"),
        ("rId9", "slideMaster", "slideMasters/slideMaster1.xml"),
    ];
    let notes = relations(&[
        ("rId1", "slideLayout", "../slideLayouts/slideLayout1.xml"),
        ("rId7", "notesSlide", "../notesSlides/notesSlide1.xml"),
    ]);
    let bytes = archive(&[
        ("ppt/presentation.xml", list),
        ("ppt/_rels/presentation.xml.rels", &relations(&targets)),
        ("ppt/slides/slide1.xml", &slide(&["Last"])),
        ("ppt/slides/slide2.xml", &slide(&["First"])),
        ("ppt/slides/slide3.xml", &slide(&["Left behind"])),
        ("ppt/slides/_rels/slide2.xml.rels", &notes),
        ("ppt/notesSlides/notesSlide1.xml", &slide(&["Notes of the first"])),
    ]);
    let expected = "## Slide 1\n\nFirst\n\nNotes of the first\n\n## Slide 2\n\nLast\n\n";
    assert_eq!(text(&bytes, "pptx"), expected);
}

#[test]
fn powerpoint() {
    let table = "<p:sld xmlns:a=\"a\" xmlns:p=\"p\"><a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>x</a:t></a:r></a:p></a:txBody></a:tc>\
                 <a:tc><a:txBody><a:p><a:r><a:t>1, 2</a:t></a:r></a:p></a:txBody></a:tc></a:tr></a:tbl></p:sld>";
    let bytes = presentation(&[
        ("ppt/slides/slide10.xml", table),
        ("ppt/slides/slide2.xml", &slide(&["Plans &amp; goals", "Grow"])),
        (
            "ppt/slides/_rels/slide2.xml.rels",
            &relations(&[("rId2", "notesSlide", "../notesSlides/notesSlide1.xml")]),
        ),
        ("ppt/notesSlides/notesSlide1.xml", &slide(&["Say it slowly."])),
        (
            "ppt/slides/_rels/slide10.xml.rels",
            &relations(&[("rId1", "notesSlide", "/ppt/notesSlides/notesSlide2.xml")]),
        ),
        ("ppt/notesSlides/notesSlide2.xml", &slide(&["3"])),
        ("ppt/slides/slide3.xml", &slide(&[])),
    ]);
    let expected = "## Slide 1\n\nPlans & goals\n\nGrow\n\nSay it slowly.\n\n## Slide 3\n\nx,\"1, 2\"\n\n";
    assert_eq!(text(&bytes, "txt"), expected);
    assert_eq!(read(&bytes, "docx").unwrap().format, Format::Pptx);
    let broken = presentation(&[("ppt/slides/slide1.xml", "<p:sld><a:p></p:sld>")]);
    assert!(matches!(read(&broken, "pptx"), Err(DocumentError::Malformed(_))));
}

#[test]
fn excel() {
    assert_eq!(
        text(XLSX, "xlsx"),
        "## Orders\n\nid,customer,total,paid,date\n1,\"Ann \"\"A\"\" Lee\",12.5,TRUE,2024-02-29\n\
         2,\"Bob, Jr.\",,FALSE,2024-03-01 08:30:00\nfar below\n\n## Notes\n\n,naïve 你好\n\n"
    );
}

#[test]
fn old_excel() {
    assert_eq!(text(XLS, "xls"), "## Orders\n\nid,customer\n1,Ann\n2.5,\"Bob, Jr.\"\n\n");
}

#[test]
fn pdf() {
    let found = text(PDF, "pdf");
    let lines: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        ["Dear customer,", "your refund takes five working days.", "Second page (with parentheses)."],
        "{found}"
    );
}

#[test]
fn the_bytes_decide_what_it_is() {
    for (bytes, format) in
        [(DOCX, Format::Docx), (XLSX, Format::Xlsx), (XLS, Format::Xls), (PDF, Format::Pdf)]
    {
        for declared in ["txt", "pdf", "docx", "csv"] {
            assert_eq!(read(bytes, declared).unwrap().format, format, "{declared}");
        }
    }
}

#[test]
fn old_word_is_refused_in_words() {
    // A compound file whose directory names a WordDocument stream.
    let mut file = cfb::CompoundFile::create(std::io::Cursor::new(Vec::new())).unwrap();
    file.create_stream("/WordDocument").unwrap();
    let bytes = file.into_inner().into_inner();
    let error = read(&bytes, "doc").unwrap_err();
    assert!(matches!(error, DocumentError::Unsupported(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "Word 97 documents (.doc) can't be read; save the document as .docx or .pdf"
    );
}
