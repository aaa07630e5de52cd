//! Excel workbooks: each sheet a heading and its rows as comma-separated values.

use std::io::{Cursor, Read};

use calamine::{Data, ExcelDateTime, Reader, Xls, Xlsx};
use memchr::memmem;

use crate::bounds::Budget;
use crate::{DocumentError, csv_rows, xls_guard};

/// Columns read of a row. Sheets go to 16,384, of which a row of text has no use.
const MAX_COLUMNS: usize = 1024;
const MAX_SHEETS: usize = 1024;

pub(crate) fn extract_xlsx(bytes: Vec<u8>, budget: &Budget) -> Result<String, DocumentError> {
    check_counts(&bytes, budget)?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(DocumentError::malformed)?;
    let names = workbook.sheet_names();
    check_sheets(names.len())?;
    let mut text = String::new();
    for name in names {
        // A chart has a sheet and no cells.
        let Ok(mut cells) = workbook.worksheet_cells_reader(&name) else { continue };
        let mut rows = Rows::new(&mut text, &name, budget);
        // Cell by cell: two cells in opposite corners would make a range of 17 billion.
        while let Some(cell) = cells.next_cell().map_err(DocumentError::malformed)? {
            let (row, column) = cell.get_position();
            rows.put(row as usize, column as usize, || cell_text(&Data::from(cell.get_value().clone())))?;
        }
        rows.finish()?;
    }
    Ok(text)
}

/// The reader makes room for as many shared strings as the workbook says it has, so what it says must be possible.
fn check_counts(bytes: &[u8], budget: &Budget) -> Result<(), DocumentError> {
    const NAME: &[u8] = b"uniqueCount";
    let mut archive = budget.open_zip(bytes)?;
    for index in 0..archive.len() {
        budget.check_time()?;
        let entry = archive.by_index(index).map_err(DocumentError::malformed)?;
        let mut content = Vec::new();
        let read = entry.take(budget.limits.unpacked_bytes as u64).read_to_end(&mut content);
        read.map_err(DocumentError::malformed)?;
        for at in memmem::find_iter(&content, NAME) {
            let value = content[at + NAME.len()..].iter().skip_while(|byte| b" \t\r\n=\"'".contains(byte));
            let digits = value.take_while(|byte| byte.is_ascii_digit()).take(20);
            let count = digits.fold(0_u64, |count, digit| count.saturating_mul(10) + u64::from(digit - b'0'));
            if count > content.len() as u64 {
                return Err(DocumentError::malformed("it states more strings than it has"));
            }
        }
    }
    Ok(())
}

pub(crate) fn extract_xls(bytes: Vec<u8>, budget: &Budget) -> Result<String, DocumentError> {
    xls_guard::check(&bytes)?;
    let mut workbook: Xls<_> = Xls::new(Cursor::new(bytes)).map_err(DocumentError::malformed)?;
    let names = workbook.sheet_names();
    check_sheets(names.len())?;
    let mut text = String::new();
    for name in names {
        let Ok(range) = workbook.worksheet_range(&name) else { continue };
        let mut rows = Rows::new(&mut text, &name, budget);
        for (row, column, value) in range.used_cells() {
            rows.put(row, column, || cell_text(value))?;
        }
        rows.finish()?;
    }
    Ok(text)
}

fn check_sheets(count: usize) -> Result<(), DocumentError> {
    if count > MAX_SHEETS {
        return Err(DocumentError::TooComplex(format!("it has more than {MAX_SHEETS} sheets")));
    }
    Ok(())
}

/// Gathers cells, which come row by row, into lines.
struct Rows<'a> {
    text: &'a mut String,
    heading: Option<String>,
    row: Vec<String>,
    number: usize,
    budget: &'a Budget,
}

impl<'a> Rows<'a> {
    fn new(text: &'a mut String, sheet: &str, budget: &'a Budget) -> Self {
        Self { text, heading: Some(format!("## {sheet}\n\n")), row: Vec::new(), number: 0, budget }
    }

    fn put(
        &mut self,
        row: usize,
        column: usize,
        value: impl FnOnce() -> String,
    ) -> Result<(), DocumentError> {
        if row != self.number {
            self.end_row()?;
            self.number = row;
        }
        if column >= MAX_COLUMNS {
            return Ok(());
        }
        if self.row.len() <= column {
            self.row.resize(column + 1, String::new());
        }
        self.row[column] = value();
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), DocumentError> {
        self.budget.check_time()?;
        if self.row.iter().all(String::is_empty) {
            self.row.clear();
            return Ok(());
        }
        if let Some(heading) = self.heading.take() {
            self.text.push_str(&heading);
        }
        csv_rows::push_row(self.text, &self.row, self.budget)?;
        self.row.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), DocumentError> {
        self.end_row()?;
        if self.heading.is_none() {
            self.text.push('\n');
        }
        Ok(())
    }
}

fn cell_text(value: &Data) -> String {
    match value {
        Data::Empty => String::new(),
        Data::String(text) => text.clone(),
        Data::Bool(value) => value.to_string().to_uppercase(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        Data::DateTime(at) => date_text(at),
        Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Error(error) => error.to_string(),
    }
}

/// ISO 8601: a date, a date with its time, or a duration in hours.
fn date_text(at: &ExcelDateTime) -> String {
    let days = at.as_f64();
    if at.is_duration() {
        let seconds = (days * 86_400.0).round();
        let (hours, minutes) = ((seconds / 3600.0).trunc(), (seconds / 60.0).trunc() % 60.0);
        return format!("{hours}:{:02}:{:02}", minutes.abs(), (seconds % 60.0).abs());
    }
    let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
    if days.fract() == 0.0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}
