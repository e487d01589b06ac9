//! Plain tables: the first column to the left, the others to the right.

const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[0m");

/// A cell in bold, for terminals.
pub(crate) fn bold(cell: &str) -> String {
    format!("{}{cell}{}", BOLD.0, BOLD.1)
}

/// Characters that are seen.
fn width(cell: &str) -> usize {
    let plain = cell.strip_prefix(BOLD.0).and_then(|cell| cell.strip_suffix(BOLD.1));
    plain.unwrap_or(cell).chars().count()
}

/// A tensor's name, or what to call one that has none; names may hold any characters.
pub(crate) fn tensor_name(name: &str, nameless: &str) -> String {
    if name.is_empty() { nameless.to_owned() } else { name.escape_debug().to_string() }
}

/// Elements along each dimension.
pub(crate) fn shape(dims: &[u64]) -> String {
    let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// As [`lines`], a little to the right.
pub(crate) fn indented_lines(header: &[&str], rows: &[Vec<String>]) -> impl Iterator<Item = String> {
    lines(header, rows).into_iter().map(|line| format!("  {line}"))
}

/// Lines of a table; columns are as wide as their widest cell.
pub(crate) fn lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let column_width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
        cells.chain([width(header[column])]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(column_width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &column_width))| {
            let padding = " ".repeat(column_width.saturating_sub(width(cell)));
            if column == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
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

    #[test]
    fn bold_takes_no_room() {
        let rows = [vec!["a".to_owned(), super::bold("1")], vec!["b".to_owned(), "22".to_owned()]];
        assert_eq!(super::lines(&["x", "n"], &rows)[2..], ["a   \x1b[1m1\x1b[0m", "b  22"]);
    }
}
