//! Tables as Markdown.

use std::fmt::Write;

use crate::tables::Grid;

/// A heading, the notes and the table.
pub(crate) fn table(grid: &Grid) -> String {
    let mut text = format!("## {}\n\n", escape(&grid.title));
    for note in &grid.notes {
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(text, "{}\n", escape(note));
    }
    if grid.rows.is_empty() {
        text.push_str("None.\n");
        return text;
    }
    let names: Vec<String> = grid.columns.iter().map(|column| escape(&column.name)).collect();
    let rules: Vec<&str> = grid.columns.iter().map(|column| if column.is_number { "---:" } else { "---" }).collect();
    let _ = writeln!(text, "| {} |\n|{}|", names.join(" | "), rules.join("|"));
    for row in &grid.rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| {
                let text = escape(&cell.text);
                if cell.is_best { format!("**{text}**") } else { text }
            })
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// Text that means itself, on one line.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Cell, Column};

    #[test]
    fn a_table_has_its_rules_and_its_best() {
        let column = |name: &str, is_number| Column { name: name.to_owned(), is_number };
        let cell = |text: &str, is_best| Cell { text: text.to_owned(), value: None, is_best };
        let grid = Grid {
            title: "Rates".to_owned(),
            columns: vec![column("codec", false), column("a|b", true)],
            rows: vec![vec![cell("<x>\n*y*", false), cell("1.00", true)]],
            notes: vec!["A note.".to_owned()],
        };
        let expected = "## Rates\n\nA note.\n\n| codec | a\\|b |\n|---|---:|\n| &lt;x&gt; \\*y\\* | **1.00** |\n";
        assert_eq!(table(&grid), expected);
        assert!(table(&Grid { rows: Vec::new(), ..grid }).ends_with("None.\n"));
    }
}
