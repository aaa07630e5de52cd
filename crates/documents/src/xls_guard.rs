//! Looks over an old Excel workbook before it is read.
//!
//! The reader lays out each sheet as a full rectangle from its first to its last cell: forty bytes that name two
//! cells in opposite corners cost 400 MB. So the cells' positions are read first, and what they span is bounded.

use std::io::{Cursor, Read};

use crate::DocumentError;

/// Cells that all sheets may span together; some hundred megabytes.
const MAX_CELLS: u64 = 4 << 20;
const MAX_SHEETS: usize = 1024;

const CONTINUED_CELLS: u16 = 0x00bd;
const END: u16 = 0x000a;
const SHEET: u16 = 0x0085;
const DIMENSIONS: u16 = 0x0200;
/// Records that begin with a cell's row and column: formula, several numbers, label of each kind, number, boolean.
const CELLS: [u16; 8] = [0x0006, CONTINUED_CELLS, 0x00d6, 0x00fd, 0x0203, 0x0204, 0x0205, 0x027e];

pub(crate) fn check(bytes: &[u8]) -> Result<(), DocumentError> {
    let stream = workbook_stream(bytes)?;
    let mut sheets = Vec::new();
    for (kind, data) in records(&stream) {
        match (kind, data) {
            (SHEET, [a, b, c, d, ..]) => sheets.push(u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            (END, _) => break,
            _ => {}
        }
    }
    if sheets.len() > MAX_SHEETS {
        return Err(DocumentError::TooComplex(format!("it has more than {MAX_SHEETS} sheets")));
    }
    let mut cells = 0_u64;
    for start in sheets {
        let start =
            stream.get(start..).ok_or_else(|| DocumentError::malformed("a sheet lies outside of it"))?;
        cells = cells.saturating_add(spanned(start));
        if cells > MAX_CELLS {
            return Err(DocumentError::TooComplex(format!("its sheets span more than {MAX_CELLS} cells")));
        }
    }
    Ok(())
}

/// Type and data of each record, as far as they are whole.
fn records(mut stream: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [kind_low, kind_high, length_low, length_high, rest @ ..] = stream else { return None };
        let length = usize::from(u16::from_le_bytes([*length_low, *length_high]));
        let (data, next) = rest.split_at_checked(length)?;
        stream = next;
        Some((u16::from_le_bytes([*kind_low, *kind_high]), data))
    })
}

/// Cells that the reader makes room for in a sheet. It stops at the sheet's end, but charts inside a sheet end
/// before, so everything up to the end of the stream or the next sheet's beginning counts.
fn spanned(stream: &[u8]) -> u64 {
    let number = |data: &[u8], at: usize| {
        data.get(at..at + 2).map_or(0, |bytes| u32::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let mut extent = Extent::default();
    let mut stated = 0_u64;
    let mut open = 0_usize;
    for (kind, data) in records(stream) {
        match kind {
            0x0809 => open += 1,
            END if open <= 1 => break,
            END => open -= 1,
            DIMENSIONS => {
                let wide = |at: usize| u64::from(number(data, at)) | u64::from(number(data, at + 2)) << 16;
                let (rows, columns) = match data.len() {
                    10 => (u64::from(number(data, 2)), number(data, 6)),
                    _ => (wide(4), number(data, 10)),
                };
                stated = stated.saturating_add((rows + 1).saturating_mul(u64::from(columns) + 1));
            }
            _ if CELLS.contains(&kind) && data.len() >= 4 => {
                extent.add(number(data, 0), number(data, 2));
                if kind == CONTINUED_CELLS {
                    extent.add(number(data, 0), number(data, data.len() - 2));
                }
            }
            _ => {}
        }
    }
    extent.cells().max(stated)
}

fn workbook_stream(bytes: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let mut file = cfb::CompoundFile::open(Cursor::new(bytes)).map_err(DocumentError::malformed)?;
    let name = if file.is_stream("/Workbook") { "/Workbook" } else { "/Book" };
    let stream = file.open_stream(name).map_err(DocumentError::malformed)?;
    let mut content = Vec::new();
    // No stream is longer than its file.
    stream.take(bytes.len() as u64).read_to_end(&mut content).map_err(DocumentError::malformed)?;
    Ok(content)
}

/// The rectangle that a sheet's cells span.
#[derive(Default)]
struct Extent(Option<[u32; 4]>);

impl Extent {
    fn add(&mut self, row: u32, column: u32) {
        let [top, left, bottom, right] = self.0.unwrap_or([row, column, row, column]);
        self.0 = Some([top.min(row), left.min(column), bottom.max(row), right.max(column)]);
    }

    fn cells(&self) -> u64 {
        let Some([top, left, bottom, right]) = self.0 else { return 0 };
        (u64::from(bottom - top) + 1) * (u64::from(right - left) + 1)
    }
}
