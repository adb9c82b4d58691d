//! Columns on a terminal.

/// Rows with a header, columns padded to their widest cell; the first column to the left, the others to the right when
/// `numbers`, else to the left. No trailing blanks.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], numbers: bool) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(header.get(column).map(|cell| cell.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
            if numbers && column > 0 { format!("{fill}{cell}") } else { format!("{cell}{fill}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [vec!["tesseract-ocr".into(), "7".into()], vec!["é".into(), "1234".into()]];
        assert_eq!(
            super::table(&["analyzer", "done"], &rows, true),
            "analyzer       done\ntesseract-ocr     7\né              1234"
        );
    }
}
