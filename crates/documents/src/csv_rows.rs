//! Rows of cells as comma-separated values.

use crate::DocumentError;
use crate::bounds::Budget;

/// Appends one row. Trailing empty cells are left out, and a row of nothing else too.
pub(crate) fn push_row(out: &mut String, cells: &[String], budget: &Budget) -> Result<(), DocumentError> {
    let used = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
    if used == 0 {
        return Ok(());
    }
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&cells[..used]).map_err(DocumentError::malformed)?;
    let row = writer.into_inner().map_err(DocumentError::malformed)?;
    out.push_str(&String::from_utf8_lossy(&row));
    budget.check_output(out)
}
