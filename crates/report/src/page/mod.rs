//! The report as one page that needs nothing else.

use std::fmt::Write;

use crate::overview::Overview;
use crate::plots::{Plot, Skipped};
use crate::tables::{Cell, Grid};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What stands on the page.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) overview: &'a Overview,
    pub(crate) summaries: &'a [Grid],
    pub(crate) plots: &'a [Result<Plot, Skipped>],
    pub(crate) failures: &'a Grid,
    pub(crate) cells: &'a Grid,
}

impl Page<'_> {
    pub(crate) fn html(&self) -> String {
        let title = escape(self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<header>\n<h1>{title}</h1>\n\
             <p class=\"lead\">Compressed bytes in percent of the bytes that went in. Lower is better.</p>\n"
        );
        self.contents(&mut html);
        html.push_str("</header>\n");
        self.what(&mut html);
        self.rates(&mut html);
        self.pictures(&mut html);
        if !self.failures.rows.is_empty() {
            section(&mut html, "failures", "Failures", |html| table(html, self.failures, "wrapped"));
        }
        section(&mut html, "cells", "All cells", |html| {
            notes(html, self.cells);
            if self.cells.rows.is_empty() {
                html.push_str("<p class=\"note\">There are none.</p>\n");
            } else {
                table(html, self.cells, "tall");
            }
        });
        let version = env!("CARGO_PKG_VERSION");
        push(
            &mut html,
            format_args!(
                "<footer><p>Written by lmgc report {version}. Beside this page: tables.md, summary.csv, cells.csv, and the plots as SVG \
                 and PNG.</p></footer>\n</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>"
            ),
        );
        html
    }

    fn contents(&self, html: &mut String) {
        html.push_str("<nav aria-label=\"Contents\"><ul>\n<li><a href=\"#what\">What was measured</a></li>\n");
        for (id, name, is_there) in [
            ("rates", "Rates", !self.summaries.is_empty()),
            ("plots", "Plots", true),
            ("failures", "Failures", !self.failures.rows.is_empty()),
            ("cells", "All cells", true),
        ] {
            if is_there {
                push(html, format_args!("<li><a href=\"#{id}\">{name}</a></li>"));
            }
        }
        html.push_str("</ul></nav>\n");
    }

    fn what(&self, html: &mut String) {
        section(html, "what", "What was measured", |html| {
            html.push_str("<dl>\n");
            for (name, value) in &self.overview.facts {
                push(html, format_args!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(value)));
            }
            html.push_str("</dl>\n");
            for remark in &self.overview.remarks {
                push(html, format_args!("<p class=\"remark\">{}</p>", escape(remark)));
            }
        });
    }

    fn rates(&self, html: &mut String) {
        if self.summaries.is_empty() {
            return;
        }
        section(html, "rates", "Rates", |html| {
            for grid in self.summaries {
                push(html, format_args!("<h3>{}</h3>", escape(&grid.title)));
                table(html, grid, "");
                notes(html, grid);
            }
        });
    }

    fn pictures(&self, html: &mut String) {
        section(html, "plots", "Plots", |html| {
            for plot in self.plots.iter().flatten() {
                let (name, title) = (plot.name, escape(&plot.title));
                push(
                    html,
                    format_args!(
                        "<figure id=\"{name}\">\n<h3>{title}</h3>\n<div class=\"scroll plot\" role=\"group\" tabindex=\"0\" \
                         aria-label=\"{title}\">\n{}</div>\n<figcaption>{} <span class=\"files\"><a href=\"{name}.svg\">SVG</a> \
                         <a href=\"{name}.png\">PNG</a></span></figcaption>\n</figure>",
                        plot.svg,
                        escape(&plot.caption)
                    ),
                );
            }
            for skipped in self.plots.iter().filter_map(|plot| plot.as_ref().err()) {
                let reason = escape(&skipped.reason);
                push(html, format_args!("<p class=\"note\">No plot {}: {reason}.</p>", skipped.name));
            }
        });
    }
}

fn section(html: &mut String, id: &str, title: &str, content: impl FnOnce(&mut String)) {
    push(html, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>"));
    content(html);
    html.push_str("</section>\n");
}

fn notes(html: &mut String, grid: &Grid) {
    for note in &grid.notes {
        push(html, format_args!("<p class=\"note\">{}</p>", escape(note)));
    }
}

/// A table in a box of its own, which scrolls if it is too wide.
fn table(html: &mut String, grid: &Grid, class: &str) {
    let title = escape(&grid.title);
    push(
        html,
        format_args!(
            "<div class=\"scroll {class}\" role=\"group\" tabindex=\"0\" aria-label=\"{title}\">\n<table>\n<thead><tr>"
        ),
    );
    for column in &grid.columns {
        let class = if column.is_number { " class=\"number\"" } else { "" };
        let name = escape(&column.name);
        push(html, format_args!("<th scope=\"col\"{class}><button type=\"button\">{name}</button></th>"));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        html.push_str("<tr>");
        for (index, (cell, column)) in row.iter().zip(&grid.columns).enumerate() {
            let is_name = index == 0;
            html.push_str(&html_cell(cell, column.is_number, is_name));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

fn html_cell(cell: &Cell, is_number: bool, is_name: bool) -> String {
    let text = escape(&cell.text);
    let text = if cell.is_best { format!("<strong>{text}</strong>") } else { text };
    if is_name {
        return format!("<th scope=\"row\">{text}</th>");
    }
    let class = if is_number { " class=\"number\"" } else { "" };
    let value = cell.value.map(|value| format!(" data-value=\"{value:e}\"")).unwrap_or_default();
    format!("<td{class}{value}>{text}</td>")
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = writeln!(html, "{text}");
}

/// Text as HTML takes it, in elements and in quoted attributes; control characters left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a href=\"x\">'&\u{0}\n"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp; ");
    }

    #[test]
    fn cells_say_what_they_are_sorted_by() {
        let cell = Cell { text: "≈ 1.50".to_owned(), value: Some(1.5), is_best: true };
        assert_eq!(
            html_cell(&cell, true, false),
            "<td class=\"number\" data-value=\"1.5e0\"><strong>≈ 1.50</strong></td>"
        );
        assert_eq!(html_cell(&Cell::default(), false, true), "<th scope=\"row\"></th>");
    }
}
