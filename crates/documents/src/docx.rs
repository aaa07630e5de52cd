//! Word documents: the body's paragraphs, headings, lists and tables.

use std::io::{BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::bounds::Budget;
use crate::{DocumentError, csv_rows};

/// Elements inside one another; Word itself stops far below.
const MAX_DEPTH: usize = 4096;

pub(crate) fn extract(bytes: &[u8], budget: &Budget) -> Result<String, DocumentError> {
    let mut archive = budget.open_zip(bytes)?;
    let mut body = Body::new(budget);
    let mut found = false;
    for part in ["word/document.xml", "word/footnotes.xml", "word/endnotes.xml"] {
        let Ok(entry) = archive.by_name(part) else { continue };
        found |= part == "word/document.xml";
        body.read(entry.take(budget.limits.unpacked_bytes as u64))?;
    }
    if found { Ok(body.text) } else { Err(DocumentError::malformed("word/document.xml is missing")) }
}

/// The paragraphs and tables of one part; drawings name them as documents do.
pub(crate) fn text_of(part: impl Read, budget: &Budget) -> Result<String, DocumentError> {
    let mut body = Body::new(budget);
    body.read(part)?;
    Ok(body.text)
}

struct Body<'a> {
    budget: &'a Budget,
    text: String,
    /// The paragraph at hand.
    paragraph: String,
    prefix: String,
    /// Rows of cells of the tables that are open, the innermost last.
    tables: Vec<Vec<String>>,
    depth: usize,
    /// The depth below which everything is left out: another rendering of what was just read.
    skipped_at: Option<usize>,
    in_text: bool,
}

impl<'a> Body<'a> {
    fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            text: String::new(),
            paragraph: String::new(),
            prefix: String::new(),
            tables: Vec::new(),
            depth: 0,
            skipped_at: None,
            in_text: false,
        }
    }

    fn read(&mut self, part: impl Read) -> Result<(), DocumentError> {
        let mut reader = Reader::from_reader(BufReader::new(part));
        let mut buffer = Vec::new();
        (self.depth, self.skipped_at) = (0, None);
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer).map_err(DocumentError::malformed)? {
                Event::Start(element) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        let reason = format!("its elements nest deeper than {MAX_DEPTH}");
                        return Err(DocumentError::TooComplex(reason));
                    }
                    self.start(&element);
                }
                Event::Empty(element) => self.empty(&element),
                Event::End(element) => {
                    self.end(element.local_name().as_ref())?;
                    self.depth = self.depth.saturating_sub(1);
                }
                Event::Text(text) if self.in_text && self.skipped_at.is_none() => {
                    self.paragraph.push_str(&text);
                }
                Event::CData(text) if self.in_text && self.skipped_at.is_none() => {
                    self.paragraph.push_str(&text);
                }
                Event::GeneralRef(name) if self.in_text && self.skipped_at.is_none() => {
                    self.reference(&name)?
                }
                Event::DocType(_) => {
                    return Err(DocumentError::malformed("it has a document type definition"));
                }
                Event::Eof if self.depth > 0 => return Err(DocumentError::malformed("it breaks off")),
                Event::Eof => return Ok(()),
                _ => {}
            }
            self.budget.check_time()?;
            self.budget.check_output(&self.paragraph)?;
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            // The older drawing of what AlternateContent's Choice had, and text that was struck out.
            "Fallback" | "del" | "moveFrom" if self.skipped_at.is_none() => {
                self.skipped_at = Some(self.depth)
            }
            "t" => self.in_text = true,
            "p" => self.prefix.clear(),
            "tbl" => self.tables.push(Vec::new()),
            "tr" => {
                if let Some(row) = self.tables.last_mut() {
                    row.clear();
                }
            }
            "tc" => {
                if let Some(row) = self.tables.last_mut() {
                    row.push(String::new());
                }
            }
            _ => self.empty(element),
        }
    }

    /// Elements that matter by being there.
    fn empty(&mut self, element: &BytesStart<'_>) {
        if self.skipped_at.is_some() {
            return;
        }
        match element.local_name().as_ref() {
            "tab" => self.paragraph.push('\t'),
            "br" | "cr" => self.paragraph.push('\n'),
            "noBreakHyphen" => self.paragraph.push('-'),
            "numPr" if self.prefix.is_empty() => self.prefix.push_str("- "),
            "pStyle" => {
                let style =
                    element.attributes().flatten().find(|found| found.key.local_name().as_ref() == "val");
                let style = style.map(|found| found.value.to_ascii_lowercase());
                if let Some(prefix) = style.as_deref().and_then(style_prefix) {
                    self.prefix = prefix;
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, name: &BytesRef<'_>) -> Result<(), DocumentError> {
        let character = match name.resolve_char_ref().map_err(DocumentError::malformed)? {
            Some(character) => character,
            None => match name.as_ref() {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => return Err(DocumentError::malformed("it uses an entity that is not defined")),
            },
        };
        self.paragraph.push(character);
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), DocumentError> {
        match name {
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tr" => {
                if let Some(row) = self.tables.last_mut() {
                    let row = std::mem::take(row);
                    let nested = self.tables.len() > 1;
                    self.end_row(&row, nested)?;
                }
            }
            "tbl" => {
                self.tables.pop();
                if self.tables.is_empty() {
                    self.text.push('\n');
                }
            }
            _ => {}
        }
        if self.skipped_at == Some(self.depth) {
            self.skipped_at = None;
        }
        self.budget.check_output(&self.text)
    }

    fn end_paragraph(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        let paragraph = paragraph.trim_end();
        if let Some(cell) = self.tables.last_mut().and_then(|row| row.last_mut()) {
            if !cell.is_empty() && !paragraph.is_empty() {
                cell.push('\n');
            }
            cell.push_str(paragraph);
        } else if !paragraph.is_empty() {
            self.text.push_str(&self.prefix);
            self.text.push_str(paragraph);
            self.text.push_str(if self.prefix == "- " { "\n" } else { "\n\n" });
        }
        self.prefix.clear();
    }

    /// A row of a table inside a cell becomes text of that cell.
    fn end_row(&mut self, row: &[String], nested: bool) -> Result<(), DocumentError> {
        let outer = self.tables.len().checked_sub(2).and_then(|index| self.tables[index].last_mut());
        match outer {
            Some(cell) if nested => csv_rows::push_row(cell, row, self.budget),
            _ => csv_rows::push_row(&mut self.text, row, self.budget),
        }
    }
}

/// `heading2` is `## `; the list styles are bullets.
fn style_prefix(style: &str) -> Option<String> {
    if style == "title" {
        return Some("# ".into());
    }
    if style.starts_with("list") && !style.contains("continue") {
        return Some("- ".into());
    }
    let level: usize = style.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then(|| format!("{} ", "#".repeat(level.min(6))))
}
