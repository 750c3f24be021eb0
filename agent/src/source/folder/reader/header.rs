//! What stands before a file's first row.

use super::{Layout, Reader, Rows, Trouble};
use crate::source::format::LineFormat;

/// Lines within which an export has its header.
const HEADER_LINES_MAX: u64 = 20;

impl Reader {
    /// Passes what stands before the first row, and learns from it what the columns are.
    pub(super) fn pass_header(&mut self, layout: Layout) -> Result<(), Trouble> {
        if let Rows::Export(_) = self.rows {
            return self.pass_export_header();
        }
        for _ in 0..layout.skip_lines {
            self.next_line()?;
        }
        let Rows::Mapped(parser) = &self.rows else { return Ok(()) };
        if !(matches!(parser.format, LineFormat::Csv { .. }) && layout.header) {
            return Ok(());
        }
        let line = self.next_line()?.map(|line| line.bytes).unwrap_or_default();
        if self.waits {
            return Err(Trouble::Unfinished);
        }
        let Rows::Mapped(parser) = &mut self.rows else { return Ok(()) };
        parser.take_header(&line).map_err(|problem| Trouble::Refused(format!("its header: {problem}")))
    }

    /// The same for an export, whose dates are looked at too: all of them, before the first is believed.
    fn pass_export_header(&mut self) -> Result<(), Trouble> {
        let mut rows_begin = 0;
        while let Some(line) = self.next_line()? {
            let (lines, offset) = (self.file.lines, self.file.offset);
            let Rows::Export(export) = &mut self.rows else { return Ok(()) };
            match export.has_header() {
                true => export.weigh(&line.bytes),
                false if lines > HEADER_LINES_MAX => break,
                false => {
                    export.look_for_header(&line.bytes);
                    rows_begin = offset;
                }
            }
        }
        let Rows::Export(export) = &mut self.rows else { return Ok(()) };
        if !export.has_header() && self.waits {
            return Err(Trouble::Unfinished);
        }
        if !export.has_header() {
            let problem = format!(
                "it has no header of such an export within {HEADER_LINES_MAX} lines; check `format`, and set the account's \
                 language to English before exporting"
            );
            return Err(Trouble::Refused(problem));
        }
        export.decide().map_err(Trouble::Refused)?;
        self.rewind_to(rows_begin)
    }

    /// Back to the first row: lines are counted anew.
    fn rewind_to(&mut self, offset: u64) -> Result<(), Trouble> {
        self.seek(0)?;
        (self.file.offset, self.file.lines) = (0, 0);
        while self.file.offset < offset && self.next_line()?.is_some() {}
        Ok(())
    }
}
