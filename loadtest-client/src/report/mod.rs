//! What a person sees of a run: a summary for the terminal, a page, and comparisons of runs.
//!
//! | file | idea |
//! | --- | --- |
//! | `text` | the summary at the end of a run, for 80 columns |
//! | `page` | the page of a run |
//! | `timeline` | its plots |
//! | `plot` | plots as SVG |
//! | `frame` | what every page is made of |
//! | `compare` | runs side by side: what is compared, and how |
//! | `side_by_side` | the same as text and as a page |
//! | `figures` | figures that are in the result only indirectly |
//! | `number` | numbers as people read them |
//! | `escape` | texts of others made harmless |
//! | `command` | `vestibule-load report` and `vestibule-load compare` |
//!
//! Everything but `command` is a pure function of results. It promises never to panic, whatever a
//! result says, and never to pass on a text of others unescaped.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod command;
mod compare;
mod escape;
mod figures;
mod frame;
mod incidents;
mod number;
mod page;
mod plot;
mod side_by_side;
mod text;
mod timeline;

#[cfg(test)]
mod tests;

pub use page::html;
pub use side_by_side::{compared_html, compared_text};
pub use text::text;
