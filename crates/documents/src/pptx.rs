//! PowerPoint presentations: the slides' text and tables in the order they are shown, each slide followed by its notes.
//!
//! Files are numbered by themselves: which slide comes when says the presentation's list, and which notes belong to a
//! slide say that slide's relationships.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Cursor, Read as _};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use crate::bounds::Budget;
use crate::{DocumentError, docx};

/// PowerPoint itself gets slow far below.
const MAX_SLIDES: usize = 5_000;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

pub(crate) fn extract(bytes: &[u8], budget: &Budget) -> Result<String, DocumentError> {
    let mut archive = budget.open_zip(bytes)?;
    let slides = slides(&mut archive, budget)?;
    if slides.len() > MAX_SLIDES {
        return Err(DocumentError::TooComplex(format!("it has more than {MAX_SLIDES} slides")));
    }
    let mut text = String::new();
    for (number, slide) in (1..).zip(slides) {
        let notes = relationships(&mut archive, &slide, budget)?;
        let notes = notes.into_values().find(|to| to.kind.ends_with("/notesSlide"));
        let mut written = false;
        for part in std::iter::once(slide).chain(notes.map(|to| to.part)) {
            let Ok(entry) = archive.by_name(&part) else { continue };
            let found = docx::text_of(entry.take(budget.limits.unpacked_bytes as u64), budget)?;
            let found = found.trim();
            // Notes of nothing but the slide's number are not notes.
            if found.is_empty() || (written && found.parse::<usize>().is_ok()) {
                continue;
            }
            if !written {
                text.push_str(&format!("## Slide {number}\n\n"));
            }
            written = true;
            text.push_str(found);
            text.push_str("\n\n");
        }
        budget.check_output(&text)?;
    }
    Ok(text)
}

/// The slides' parts in the order they are shown; of a presentation that lists none, by their numbers.
fn slides(archive: &mut Archive<'_>, budget: &Budget) -> Result<Vec<String>, DocumentError> {
    const PRESENTATION: &str = "ppt/presentation.xml";
    let targets = relationships(archive, PRESENTATION, budget)?;
    // A part is read once, however often and under however many ids it is listed: what is unpacked stays within its
    // bound.
    let (mut listed, mut ids) = (Vec::<&str>::new(), HashSet::new());
    elements(archive, PRESENTATION, budget, |element| {
        if element.local_name().as_ref() != "sldId" || listed.len() > MAX_SLIDES {
            return;
        }
        // `id` is the slide's number, `r:id` its relationship.
        let id = attribute(element, |name| name.ends_with(":id"));
        let target = id.and_then(|id| targets.get_key_value(&id));
        listed.extend(target.filter(|(id, _)| ids.insert(id.as_str())).map(|(_, to)| to.part.as_str()));
    })?;
    if !listed.is_empty() {
        let mut parts = HashSet::new();
        listed.retain(|part| parts.insert(*part));
        return Ok(listed.into_iter().map(str::to_owned).collect());
    }
    let number = |name: &str| -> Option<usize> {
        name.strip_prefix("ppt/slides/slide")?.strip_suffix(".xml")?.parse().ok()
    };
    let names = archive.file_names().filter_map(|name| number(name.ok()?.as_ref()));
    let mut numbers: Vec<usize> = names.collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| format!("ppt/slides/slide{number}.xml")).collect())
}

/// What a part points to.
struct Target {
    kind: String,
    part: String,
}

/// The relationships of a part by their ids.
fn relationships(
    archive: &mut Archive<'_>,
    part: &str,
    budget: &Budget,
) -> Result<HashMap<String, Target>, DocumentError> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let mut targets = HashMap::new();
    elements(archive, &format!("{folder}/_rels/{file}.rels"), budget, |element| {
        if element.local_name().as_ref() != "Relationship" || targets.len() > 2 * MAX_SLIDES {
            return;
        }
        let [id, kind, target] = ["Id", "Type", "Target"].map(|wanted| attribute(element, |n| n == wanted));
        if let (Some(id), Some(kind), Some(target)) = (id, kind, target) {
            targets.insert(id, Target { kind, part: resolved(folder, &target) });
        }
    })?;
    Ok(targets)
}

/// A path as a part in `folder` writes it, from the archive's root.
fn resolved(folder: &str, target: &str) -> String {
    if let Some(whole) = target.strip_prefix('/') {
        return whole.to_owned();
    }
    let mut steps: Vec<&str> = folder.split('/').collect();
    for step in target.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "." | "" => {}
            step => steps.push(step),
        }
    }
    steps.join("/")
}

fn attribute(element: &BytesStart<'_>, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let found = element.attributes().flatten().find(|found| is_wanted(found.key.as_ref()));
    found.map(|found| found.value.to_string())
}

/// Shows every element of a part, if the part is there.
fn elements(
    archive: &mut Archive<'_>,
    part: &str,
    budget: &Budget,
    mut show: impl FnMut(&BytesStart<'_>),
) -> Result<(), DocumentError> {
    let Ok(entry) = archive.by_name(part) else { return Ok(()) };
    let mut reader = Reader::from_reader(BufReader::new(entry.take(budget.limits.unpacked_bytes as u64)));
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(DocumentError::malformed)? {
            Event::Start(element) | Event::Empty(element) => show(&element),
            Event::DocType(_) => return Err(DocumentError::malformed("it has a document type definition")),
            Event::Eof => return Ok(()),
            _ => {}
        }
        budget.check_time()?;
    }
}
