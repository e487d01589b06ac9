//! Plain tables: the first column to the left, the others to the right.

/// Lines of a table; columns are as wide as their widest cell.
pub(crate) fn lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(header), "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1))];
    out.extend(rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(super::lines(&["x", "n"], &rows), ["x      n", "--------", "a      1", "long  22"]);
    }
}
