//! The text layer of PDFs.
//!
//! `pdf-extract` reads well and trusts much: it panics on what it does not expect, follows references in circles and
//! unpacks without end. So streams are unpacked once with a limit before it sees the file, what could run in circles
//! is looked for, pictures are taken out, and every page is read by itself, so that one that can't be read costs only
//! its own text.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::ZlibDecoder;
use memchr::memmem;
use pdf_extract::{
    ColorSpace, ConvertToFmt, Dictionary, Document, MediaBox, Object, ObjectId, OutputDev, OutputError, Path,
    PlainTextOutput, Transform, output_doc_page,
};

use crate::DocumentError;
use crate::bounds::Budget;

const MAX_PAGES: usize = 5000;
/// Forms inside forms.
const MAX_FORM_DEPTH: usize = 16;
/// LZW packs up to some 1,400 to 1 and can't be measured by the first pass.
const MAX_LZW_BYTES: usize = 256 << 10;

/// The text of all pages, and where in it each begins.
pub(crate) struct Pages {
    pub(crate) text: String,
    pub(crate) pages: Vec<usize>,
}

pub(crate) fn extract(bytes: &[u8], budget: &Budget) -> Result<Pages, DocumentError> {
    measure_streams(bytes, budget)?;
    let mut document = Document::load_mem(bytes).map_err(DocumentError::malformed)?;
    if document.is_encrypted() {
        return Err(DocumentError::Encrypted);
    }
    budget.check_time()?;
    check_packing(&document)?;
    take_out_pictures(&mut document);
    check_circles(&document)?;
    let pages = document.get_pages();
    if pages.is_empty() {
        return Err(DocumentError::malformed("it has no pages"));
    }
    if pages.len() > MAX_PAGES {
        return Err(DocumentError::TooComplex(format!("it has more than {MAX_PAGES} pages")));
    }
    let mut text = String::new();
    let mut begins = Vec::with_capacity(pages.len());
    let mut unreadable = 0;
    for number in pages.keys() {
        budget.check_time()?;
        begins.push(text.len());
        match page(&document, *number, budget) {
            Some(page) => {
                text.push_str(page.trim());
                text.push_str("\n\n");
            }
            None => unreadable += 1,
        }
        budget.check_time()?;
        budget.check_output(&text)?;
    }
    if unreadable == pages.len() {
        return Err(DocumentError::malformed("none of its pages can be read"));
    }
    if text.trim().is_empty() {
        return Err(DocumentError::Unsupported("it has no text: its pages are pictures"));
    }
    Ok(Pages { text, pages: begins })
}

/// The text of a page; `None` when it can't be read.
fn page(document: &Document, number: u32, budget: &Budget) -> Option<String> {
    let mut writer = Bounded { text: String::new(), limit: budget.limits.output_bytes };
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut output = Watched { inner: PlainTextOutput::new(&mut writer), budget };
        output_doc_page(document, &mut output, number)
    }));
    let whole = matches!(read, Ok(Ok(())));
    // What was read before a fault is text too.
    (whole || !writer.text.trim().is_empty()).then_some(writer.text)
}

/// Unpacks everything that looks like a deflated stream, and what is packed in that, and counts.
fn measure_streams(bytes: &[u8], budget: &Budget) -> Result<(), DocumentError> {
    let mut left = budget.limits.unpacked_bytes as u64;
    for at in memmem::find_iter(bytes, b"stream") {
        let mut body = &bytes[at + b"stream".len()..];
        while let [b'\r' | b'\n' | b' ', rest @ ..] = body {
            body = rest;
        }
        // Deflate in zlib's frame begins with one of a few bytes.
        if body.first().is_some_and(|first| first & 0x0f == 8) {
            budget.check_time()?;
            left = unpack(body, left, 3).ok_or_else(|| budget.unpacked_too_large())?;
        }
    }
    Ok(())
}

/// What is left of `left` bytes after unpacking `packed`; `None` when it was too little.
fn unpack(packed: &[u8], left: u64, levels: u32) -> Option<u64> {
    if levels == 0 {
        return None;
    }
    let mut first = [0; 1];
    let doubly =
        ZlibDecoder::new(packed).read(&mut first).is_ok_and(|read| read == 1) && first[0] & 0x0f == 8;
    if doubly {
        let mut unpacked = Vec::new();
        // A stream that is damaged further on has been unpacked up to there.
        let _ = ZlibDecoder::new(packed).take(left + 1).read_to_end(&mut unpacked);
        let left = left.checked_sub(unpacked.len() as u64)?;
        return unpack(&unpacked, left, levels - 1);
    }
    let mut decoder = ZlibDecoder::new(packed).take(left + 1);
    let mut count = Counter(0);
    let _ = io::copy(&mut decoder, &mut count);
    left.checked_sub(count.0)
}

struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_packing(document: &Document) -> Result<(), DocumentError> {
    let mut lzw_bytes = 0;
    for object in document.objects.values() {
        let Object::Stream(stream) = object else { continue };
        let filters = stream.filters().unwrap_or_default();
        if filters.contains(&b"LZWDecode".as_slice()) || filters.contains(&b"LZW".as_slice()) {
            lzw_bytes += stream.content.len();
        }
    }
    if lzw_bytes > MAX_LZW_BYTES {
        return Err(DocumentError::TooComplex("it has too much in an old form of compression".into()));
    }
    Ok(())
}

/// Pictures have no text, and the reader would try to find some in their bytes.
fn take_out_pictures(document: &mut Document) {
    for object in document.objects.values_mut() {
        let Object::Stream(stream) = object else { continue };
        let subtype = stream.dict.get(b"Subtype").and_then(Object::as_name).unwrap_or_default();
        // A form that leaves its resources to the page can name itself among them.
        let borrows = subtype == b"Form" && !stream.dict.has(b"Resources");
        if subtype == b"Image" || borrows {
            stream.content = Vec::new();
            stream.dict.remove(b"Filter");
            stream.dict.remove(b"DecodeParms");
        }
    }
}

/// Refuses pages that are their own ancestors and forms that draw themselves.
fn check_circles(document: &Document) -> Result<(), DocumentError> {
    for page in document.get_pages().into_values() {
        let mut seen = HashSet::new();
        let mut at = Some(page);
        while let Some(id) = at {
            if !seen.insert(id) {
                return Err(DocumentError::malformed("its page tree runs in a circle"));
            }
            let parent = document.get_dictionary(id).and_then(|dictionary| dictionary.get(b"Parent"));
            at = parent.and_then(Object::as_reference).ok();
        }
    }
    let forms: BTreeMap<ObjectId, Vec<ObjectId>> = document
        .objects
        .iter()
        .filter_map(|(id, object)| Some((*id, drawn_by(document, &object.as_stream().ok()?.dict))))
        .collect();
    // Longest chains by repeated relaxation: one more round than the allowed depth finds any that is too long.
    let mut depths: BTreeMap<ObjectId, usize> = forms.keys().map(|id| (*id, 0)).collect();
    for round in 0..=MAX_FORM_DEPTH {
        let mut changed = false;
        for (id, drawn) in &forms {
            let deepest =
                drawn.iter().filter_map(|child| depths.get(child)).map(|depth| depth + 1).max().unwrap_or(0);
            if depths.get(id).is_some_and(|depth| *depth < deepest) {
                depths.insert(*id, deepest);
                changed = true;
            }
        }
        if !changed {
            break;
        }
        if round == MAX_FORM_DEPTH {
            return Err(DocumentError::TooComplex("its forms draw one another without end".into()));
        }
    }
    Ok(())
}

/// The objects that a form's resources let it draw.
fn drawn_by(document: &Document, form: &Dictionary) -> Vec<ObjectId> {
    let dictionary = |object: &Object| -> Option<Dictionary> {
        let (_, object) = document.dereference(object).ok()?;
        object.as_dict().ok().cloned()
    };
    let objects = form.get(b"Resources").ok().and_then(dictionary);
    let objects = objects.and_then(|resources| resources.get(b"XObject").ok().and_then(dictionary));
    let objects = objects.unwrap_or_default();
    objects.iter().filter_map(|(_, object)| object.as_reference().ok()).collect()
}

/// A string that refuses to grow over its limit.
struct Bounded {
    text: String,
    limit: usize,
}

impl fmt::Write for &mut Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.limit {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl ConvertToFmt for &mut Bounded {
    type Writer = Self;

    fn convert(self) -> Self {
        self
    }
}

/// Ends a page whose time is up, at the next thing it draws.
struct Watched<'a, 'b> {
    inner: PlainTextOutput<&'a mut Bounded>,
    budget: &'b Budget,
}

impl Watched<'_, '_> {
    fn check(&self) -> Result<(), OutputError> {
        let late = self.budget.check_time().is_err();
        if late { Err(OutputError::IoError(io::ErrorKind::TimedOut.into())) } else { Ok(()) }
    }
}

impl OutputDev for Watched<'_, '_> {
    fn begin_page(
        &mut self,
        number: u32,
        media_box: &MediaBox,
        art_box: Option<(f64, f64, f64, f64)>,
    ) -> Result<(), OutputError> {
        self.inner.begin_page(number, media_box, art_box)
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        self.inner.end_page()
    }

    fn output_character(
        &mut self,
        transform: &Transform,
        width: f64,
        spacing: f64,
        font_size: f64,
        character: &str,
    ) -> Result<(), OutputError> {
        self.check()?;
        self.inner.output_character(transform, width, spacing, font_size, character)
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        self.inner.begin_word()
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        self.inner.end_word()
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        self.inner.end_line()
    }

    fn stroke(&mut self, _: &Transform, _: &ColorSpace, _: &[f64], _: &Path) -> Result<(), OutputError> {
        self.check()
    }

    fn fill(&mut self, _: &Transform, _: &ColorSpace, _: &[f64], _: &Path) -> Result<(), OutputError> {
        self.check()
    }
}
