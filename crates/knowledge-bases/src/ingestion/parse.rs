//! Bytes of a document and of its metadata file to texts with attributes.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use craton_core::media;
use craton_documents::{DocumentError, Format, Limits, extract};
use craton_store::jobs::JobError;
use craton_vectors::MetadataValue;
use ring::digest::{SHA256, digest};

use super::failure::Failure;
use super::metadata::{self, Metadata, Records, is_reserved};

/// Rows of a csv file that are documents of their own.
const MAX_RECORDS: usize = 100_000;
/// Put behind a csv file: a row of its own, unless a quote is open. Text has no such character.
const END: &[u8] = b"\n\0";

/// What a source gives of a document.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    /// The name or media type by which kinds of plain text are told apart.
    pub(crate) hint: String,
    pub(crate) metadata: MetadataContent,
}

#[derive(Debug, Clone)]
pub(crate) enum MetadataContent {
    None,
    File(Bytes),
    Given(BTreeMap<String, MetadataValue>),
}

/// A document, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parsed {
    /// SHA-256 of the document's bytes; with [`Self::embedded`], if there is any, after a `+`.
    pub(crate) content_hash: String,
    pub(crate) sections: Vec<Section>,
    /// Goes before each text that is embedded.
    pub(crate) embedded: String,
}

/// A text that is cut by itself: the whole document, or a row of a csv file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    pub(crate) text: String,
    pub(crate) metadata: BTreeMap<String, MetadataValue>,
    /// Where in the text each page begins; empty where there are no pages.
    pub(crate) pages: Vec<usize>,
}

/// The two parts of [`Parsed::content_hash`].
pub(crate) fn split_hash(content_hash: &str) -> (&str, &str) {
    content_hash.split_once('+').unwrap_or((content_hash, ""))
}

pub(crate) fn content_hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// Reads a document. Blocks: call it on a thread that may.
pub(crate) fn parse(content: &Content, max_bytes: usize) -> Result<Parsed, Failure> {
    let content_hash = content_hash(&content.bytes);
    let metadata = match &content.metadata {
        MetadataContent::None => Metadata::default(),
        MetadataContent::File(bytes) => metadata::read(bytes).map_err(Failure::Document)?,
        MetadataContent::Given(attributes) => {
            Metadata { attributes: attributes.clone(), ..Metadata::default() }
        }
    };
    let limits = Limits {
        input_bytes: max_bytes,
        output_bytes: max_bytes,
        time: Duration::from_secs(120),
        ..Limits::default()
    };
    let extracted =
        extract(&content.bytes, declared(&content.hint), &limits).map_err(|error| match error {
            // It is not the document's fault that others take long.
            DocumentError::Busy => Failure::Job(JobError::Retry(error.to_string())),
            error => Failure::document(error),
        })?;
    let sections = match &metadata.records {
        Some(records) if extracted.format == Format::Csv => {
            rows(&extracted.text, records, &metadata.attributes).map_err(Failure::Document)?
        }
        Some(_) => {
            return Err(Failure::document(
                "its metadata file has a documentStructureConfiguration, which is for csv files",
            ));
        }
        None => {
            let metadata = metadata.attributes.clone();
            vec![Section { text: extracted.text, metadata, pages: extracted.pages }]
        }
    };
    let embedded = metadata.embedded_text();
    let content_hash = match embedded.as_str() {
        "" => content_hash,
        text => format!("{content_hash}+{}", &self::content_hash(text.as_bytes())[..16]),
    };
    Ok(Parsed { content_hash, sections, embedded })
}

/// The format a name or media type stands for; what has a signature of its own is known by that, and all else is read as
/// text.
fn declared(hint: &str) -> &'static str {
    let by_type = media::document_format(hint).filter(|it| matches!(*it, "html" | "csv" | "md" | "pdf"));
    let by_name = || media::document_format_of_name(hint).filter(|it| matches!(*it, "html" | "csv" | "md"));
    by_type.or_else(by_name).unwrap_or("txt")
}

/// The rows of a csv file, each a text of its content columns with the others as attributes. An empty cell is no
/// attribute; a row with another number of cells than the first fails the file, for what is whose is not known. So does
/// one whose attributes take more than a metadata file may, for every chunk carries them.
fn rows(
    text: &str,
    records: &Records,
    shared: &BTreeMap<String, MetadataValue>,
) -> Result<Vec<Section>, String> {
    let ended = text.as_bytes().chain(END);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(ended);
    let header = reader.headers().map_err(|error| error.to_string())?;
    if header.iter().any(|name| name.contains('\0')) {
        return Err("it has no rows, or a quote in its first line is not closed".into());
    }
    let columns = Columns::of(header.iter().map(|name| name.trim().to_owned()).collect(), records)?;
    let mut sections = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| format!("its rows are not readable: {error}"))?;
        if row.len() == 1 && &row[0] == "\0" {
            break;
        }
        if sections.len() == MAX_RECORDS {
            return Err(format!("it has more than {MAX_RECORDS} rows"));
        }
        columns.check(&row).map_err(|fault| {
            format!("the row in line {} {fault}", row.position().map_or(0, csv::Position::line))
        })?;
        let cell = |at: &usize| row.get(*at).map(str::trim).filter(|cell| !cell.is_empty());
        let text = columns.content.iter().filter_map(cell).collect::<Vec<_>>().join("\n");
        let mut metadata = shared.clone();
        for at in &columns.metadata {
            if let Some(cell) = cell(at) {
                metadata.insert(columns.names[*at].clone(), cell_value(cell));
            }
        }
        sections.push(Section { text, metadata, pages: Vec::new() });
    }
    Ok(sections)
}

/// The columns of a csv file that are taken.
struct Columns {
    names: Vec<String>,
    content: Vec<usize>,
    metadata: Vec<usize>,
}

impl Columns {
    /// Refuses a row that can't be taken as it is meant.
    fn check(&self, row: &csv::StringRecord) -> Result<(), String> {
        if row.iter().any(|cell| cell.contains('\0')) {
            return Err("has a quote that is not closed".into());
        }
        if row.len() != self.names.len() {
            return Err(format!("has {} cells, and the first line {}", row.len(), self.names.len()));
        }
        if row.iter().any(|cell| cell.contains(char::REPLACEMENT_CHARACTER)) {
            return Err("has bytes that are no text in the file's encoding".into());
        }
        let attribute = |at: &usize| {
            let cell = row.get(*at)?.trim();
            (!cell.is_empty()).then(|| self.names[*at].len() + cell.len())
        };
        let bytes: usize = self.metadata.iter().filter_map(attribute).sum();
        if bytes > metadata::MAX_BYTES {
            let most = metadata::MAX_BYTES;
            return Err(format!("has attributes of {bytes} bytes, more than {most}"));
        }
        Ok(())
    }

    fn of(names: Vec<String>, records: &Records) -> Result<Self, String> {
        let Records { content, include, exclude } = records;
        for named in content.iter().chain(include).chain(exclude) {
            if !names.contains(named) {
                return Err(format!("it has no column '{named}', which its metadata file names"));
            }
        }
        let is_metadata = |name: &String| {
            let chosen = include.is_empty() || include.contains(name);
            !name.is_empty() && chosen && !exclude.contains(name) && !content.contains(name)
        };
        let taken = |name: &&String| content.contains(name) || is_metadata(name);
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().filter(taken).find(|name| !seen.insert(*name)) {
            return Err(format!("it has two columns '{twice}'"));
        }
        if let Some(reserved) = names.iter().filter(|name| is_metadata(name)).find(|name| is_reserved(name)) {
            return Err(format!("its column '{reserved}' has a name that is the system's own"));
        }
        let metadata = (0..names.len()).filter(|at| is_metadata(&names[*at])).collect();
        let place = |name: &String| names.iter().position(|known| known == name);
        let content = content.iter().filter_map(place).collect();
        Ok(Self { names, content, metadata })
    }
}

/// Numbers compare as numbers; everything else is text.
fn cell_value(cell: &str) -> MetadataValue {
    match cell.parse::<f64>() {
        Ok(number)
            if number.is_finite() && !cell.starts_with(['0', '+'])
                || cell == "0"
                || cell.starts_with("0.") =>
        {
            MetadataValue::Number(cell.parse().unwrap_or(0.0))
        }
        _ => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_follow_from_names_and_media_types() {
        for (hint, expected) in [
            ("a/b.HTML", "html"),
            ("text/html; charset=utf-8", "html"),
            ("x.csv", "csv"),
            ("README.md", "md"),
            ("data.json", "txt"),
            ("scan.pdf", "txt"),
            ("no extension", "txt"),
        ] {
            assert_eq!(declared(hint), expected, "{hint}");
        }
    }

    #[test]
    fn rows_become_texts_with_attributes() {
        let records =
            Records { content: vec!["text".into()], include: vec![], exclude: vec!["secret".into()] };
        let csv = "id,text,secret,zip\n7,\"Hello, there\",x,0123\n8,Bye,y,5";
        let rows = rows(csv, &records, &BTreeMap::from([("all".into(), "1".into())])).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text, "Hello, there");
        let expected: BTreeMap<String, MetadataValue> = BTreeMap::from([
            ("all".into(), "1".into()),
            ("id".into(), MetadataValue::Number(7.0)),
            ("zip".into(), "0123".into()),
        ]);
        assert_eq!(rows[0].metadata, expected);
    }

    #[test]
    fn what_a_csv_file_lacks_or_has_twice_is_said() {
        let read = |csv: &str, include: &[&str], exclude: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let records =
                Records { content: vec!["text".into()], include: names(include), exclude: names(exclude) };
            super::rows(csv, &records, &BTreeMap::new())
        };
        let csv = "id,text,year\n7,Hello,\n8,,2001\n";
        let rows = read(csv, &[], &[]).unwrap();
        assert_eq!(rows[0].metadata.keys().collect::<Vec<_>>(), ["id"], "an empty cell is no attribute");
        assert_eq!((rows[1].text.as_str(), rows[1].metadata.len()), ("", 2));
        let long = format!("text,id\nHello,{}\nBye,1", "x".repeat(10_241));
        for (csv, include, exclude, reason) in [
            ("id\n7", &[][..], &[][..], "no column 'text'"),
            (csv, &["author"], &[], "no column 'author'"),
            (csv, &[], &["secret"], "no column 'secret'"),
            ("id,text,id\n7,Hello,8", &[], &[], "two columns 'id'"),
            ("text,text\nHello,Bye", &[], &[], "two columns 'text'"),
            ("id,text\n7,Hello\n8,Bye,more", &[], &[], "line 3 has 3 cells, and the first line 2"),
            ("id,text\n7", &[], &[], "line 2 has 1 cells"),
            ("id,text\n7,\"Hello\n8,Bye", &[], &[], "line 2 has a quote that is not closed"),
            ("id,\"text\n7,Hello", &[], &[], "a quote in its first line"),
            ("", &[], &[], "no rows"),
            ("text,x-amz-bedrock-kb-source-uri\nHello,b", &[], &[], "system's own"),
            ("id,text\n7,Hello\n8,\"B\ny\u{fffd}e\"", &[], &[], "the row in line 3"),
            (long.as_str(), &[], &[], "the row in line 2 has attributes of 10243 bytes"),
        ] {
            let said = read(csv, include, exclude).unwrap_err();
            assert!(said.contains(reason), "{csv:?}: {said}");
        }
        // What is not taken may be as it is.
        assert_eq!(read("id,text,id,,\n7,Hello,8,,", &["text"], &[]).unwrap()[0].metadata.len(), 0);
        assert!(read("text,x-amz-bedrock-kb-source-uri\nHello,b", &["text"], &[]).is_ok());
        assert!(read(&long, &["text"], &[]).is_ok());
    }

    #[test]
    fn columns_of_what_is_no_csv_file_are_not_passed_over() {
        let structure = br#"{"documentStructureConfiguration": {"type": "RECORD_BASED_STRUCTURE_METADATA",
            "recordBasedStructureMetadata": {"contentFields": [{"fieldName": "text"}]}}}"#;
        let metadata = MetadataContent::File(Bytes::from_static(structure));
        let content = |hint: &str| Content {
            bytes: Bytes::from_static(b"id,text\n7,Hello"),
            hint: hint.to_owned(),
            metadata: metadata.clone(),
        };
        assert_eq!(parse(&content("a.csv"), 1000).unwrap().sections[0].text, "Hello");
        let Failure::Document(said) = parse(&content("a.txt"), 1000).unwrap_err() else { panic!() };
        assert!(said.contains("documentStructureConfiguration"), "{said}");
    }
}
