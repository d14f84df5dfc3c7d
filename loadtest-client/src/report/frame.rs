//! What every page is made of: its frame, tables, lists. One file, no script, nothing from elsewhere.
//!
//! A page is written as HTML that is also well-formed XML. What is passed as `markup` must be escaped;
//! what is passed as `text` is escaped here.

use super::escape;
use super::figures::{Standing, Verdict};
use crate::result::ViolationRow;
use std::fmt::Write as _;

/// A whole page around the `markup` of its body.
pub(crate) fn page(title: &str, kind: &str, about_markup: &str, body_markup: &str) -> String {
    // The policy says again what the page promises: whatever slipped through an escape, no script
    // runs and nothing is loaded.
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"kind\">{kind}</p>\n<h1>{title}</h1>\n{about_markup}</header>\n\
         <main>\n{body_markup}</main>\n\
         <footer><p>Written by vestibule-load {version}. Times are rounded to three digits, and a percentile is \
         above the true one by less than 1.6 %. Everything that was counted is in the JSON file of the \
         run.</p></footer>\n</body>\n</html>\n",
        title = escape::html(title),
        kind = escape::html(kind),
        style = include_str!("page.css"),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// A section with a heading, which names it as a landmark.
pub(crate) fn section(id: &str, heading: &str, body_markup: &str) -> String {
    format!(
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n{body_markup}</section>\n",
        escape::html(heading)
    )
}

/// The verdict of the ledger, with the violations that are shown.
pub(crate) fn verdict(id: &str, whose: &str, verdict: &Verdict, shown: &[ViolationRow]) -> String {
    let (class, sign) = match verdict.standing {
        Standing::Good => ("good", "✓"),
        Standing::Open => ("open", "?"),
        Standing::Bad => ("bad", "✗"),
    };
    let mut violations = String::new();
    if !shown.is_empty() {
        violations.push_str("<ul>\n");
        for violation in shown {
            let _ = writeln!(
                violations,
                "<li><b>{}</b>: {}</li>",
                escape::html(&violation.rule),
                escape::html(&violation.story)
            );
        }
        violations.push_str("</ul>\n");
    }
    format!(
        "<section class=\"verdict {class}\" aria-labelledby=\"{id}\">\n\
         <h2 id=\"{id}\"><span aria-hidden=\"true\">{sign}</span> {}: {}</h2>\n<p>{}</p>\n{violations}</section>\n",
        escape::html(whose),
        escape::html(&verdict.title),
        escape::html(&verdict.sentence)
    )
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(crate) enum Column<'a> {
    /// Figures, to the right.
    Figures(&'a str),
    /// Words, which may break.
    Words(&'a str),
}

/// A row of a table. Its first cell is its header.
pub(crate) struct Row {
    /// Whether something in it is bad.
    pub(crate) failed: bool,
    pub(crate) cells_markup: Vec<String>,
}

impl Row {
    pub(crate) const fn new(cells_markup: Vec<String>) -> Self {
        Self { failed: false, cells_markup }
    }
}

/// A table, which scrolls sideways by itself where it is too wide.
pub(crate) fn table(caption: &str, columns: &[Column<'_>], rows: &[Row]) -> String {
    let caption = escape::html(caption);
    let mut table = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n\
         <caption>{caption}</caption>\n<thead><tr>"
    );
    for column in columns {
        let (class, name) = match column {
            Column::Figures(name) => ("", name),
            Column::Words(name) => (" class=\"words\"", name),
        };
        let _ = write!(table, "<th scope=\"col\"{class}>{}</th>", escape::html(name));
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        table.push_str(if row.failed { "<tr class=\"failed\">" } else { "<tr>" });
        for (index, cell) in row.cells_markup.iter().enumerate() {
            let words = matches!(columns.get(index), Some(Column::Words(_)));
            let class = if words { " class=\"words\"" } else { "" };
            let _ = if index == 0 {
                write!(table, "<th scope=\"row\"{class}>{cell}</th>")
            } else {
                write!(table, "<td{class}>{cell}</td>")
            };
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody>\n</table>\n</div>\n");
    table
}

/// Names and what they are.
pub(crate) fn list(items: &[(&str, String)]) -> String {
    let mut list = String::from("<dl class=\"list\">\n");
    for (name, text) in items {
        let _ = writeln!(list, "<dt>{}</dt><dd>{}</dd>", escape::html(name), escape::html(text));
    }
    list.push_str("</dl>\n");
    list
}

/// The few figures that are looked at first: name, figure, and a remark.
pub(crate) fn figures(figures: &[(&str, String, String)]) -> String {
    let mut list = String::from("<dl class=\"figures\">\n");
    for (name, figure, remark) in figures {
        let _ =
            write!(list, "<div><dt>{}</dt><dd>{}</dd>", escape::html(name), escape::html(figure));
        if !remark.is_empty() {
            let _ = write!(list, "<dd class=\"small\">{}</dd>", escape::html(remark));
        }
        list.push_str("</div>\n");
    }
    list.push_str("</dl>\n");
    list
}

/// Something that is folded away until it is asked for.
pub(crate) fn folded(summary: &str, body_markup: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n{body_markup}</details>\n", escape::html(summary))
}
