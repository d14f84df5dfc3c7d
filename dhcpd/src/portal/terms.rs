//! The terms that people agree to: a file of the site's, as Markdown or plain text, made into HTML.
//!
//! It promises that the file can break neither the page nor its policy: what looks like HTML in it is
//! shown as text, pictures are their description, and links lead only by `http`, `https`, `mailto` or
//! `tel`.

use maud::{Markup, PreEscaped, Render as _, html};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of the file: every visitor loads it, over a full network.
pub const TERMS_BYTES_MAX: u64 = 128 * 1024;

/// Why the terms cannot be shown. The operator's.
#[derive(Debug)]
pub enum TermsError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is no file, or longer than [`TERMS_BYTES_MAX`].
    TooLong(PathBuf),
    /// It is not UTF-8.
    NotText(PathBuf),
    /// It holds nothing to agree to.
    Empty(PathBuf),
}

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the terms in {} cannot be read: {error}", path.display())
            }
            Self::TooLong(path) => write!(
                f,
                "the terms in {} are no file of at most {} KiB: shorten it, and link to the rest",
                path.display(),
                TERMS_BYTES_MAX / 1024
            ),
            Self::NotText(path) => {
                write!(f, "the terms in {} are not UTF-8: save them as that", path.display())
            }
            Self::Empty(path) => write!(
                f,
                "the file for the terms, {}, is empty: write down what people agree to",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TermsError {}

/// Reads the file.
///
/// # Errors
/// [`TermsError`] if there is nothing that can be shown.
pub(super) fn load(path: &Path) -> Result<Markup, TermsError> {
    let unreadable = |error| TermsError::Unreadable(path.to_owned(), error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > TERMS_BYTES_MAX {
        return Err(TermsError::TooLong(path.to_owned()));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| TermsError::NotText(path.to_owned()))?;
    if text.trim().is_empty() {
        return Err(TermsError::Empty(path.to_owned()));
    }
    let is_markdown = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("md"));
    Ok(if is_markdown { markdown(&text) } else { plain(&text) })
}

fn plain(text: &str) -> Markup {
    html! { p class="plain" { (text.trim()) } }
}

/// CommonMark as HTML, from a list of elements that are let through.
fn markdown(text: &str) -> Markup {
    let mut html = String::new();
    // What each open link or picture ends with: one that is not let through ends with nothing.
    let mut link_ends: Vec<&'static str> = Vec::new();
    for event in Parser::new_ext(text, Options::empty()) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                if leads_somewhere(&dest_url) {
                    html.push_str(&format!("<a href=\"{}\">", escaped(&dest_url)));
                    link_ends.push("</a>");
                } else {
                    link_ends.push("");
                }
            }
            Event::End(TagEnd::Link) => html.push_str(link_ends.pop().unwrap_or_default()),
            Event::Start(Tag::List(Some(start))) => {
                html.push_str(&format!("<ol start=\"{start}\">"));
            }
            Event::Start(tag) => html.push_str(opening(&tag)),
            Event::End(TagEnd::Heading(level)) => html.push_str(heading(level, false)),
            Event::End(TagEnd::List(ordered)) => {
                html.push_str(if ordered { "</ol>" } else { "</ul>" });
            }
            Event::End(end) => html.push_str(closing(end)),
            Event::Code(text) => html.push_str(&format!("<code>{}</code>", escaped(&text))),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                html.push_str(&escaped(&text));
            }
            Event::SoftBreak => html.push('\n'),
            Event::HardBreak => html.push_str("<br>"),
            Event::Rule => html.push_str("<hr>"),
            // Extensions that are not asked for.
            _ => {}
        }
    }
    PreEscaped(html)
}

fn opening(tag: &Tag<'_>) -> &'static str {
    match tag {
        Tag::Paragraph | Tag::HtmlBlock => "<p>",
        Tag::Heading { level, .. } => heading(*level, true),
        Tag::BlockQuote(_) => "<blockquote>",
        Tag::CodeBlock(_) => "<pre>",
        Tag::List(_) => "<ul>",
        Tag::Item => "<li>",
        Tag::Emphasis => "<em>",
        Tag::Strong => "<strong>",
        _ => "",
    }
}

fn closing(end: TagEnd) -> &'static str {
    match end {
        TagEnd::Paragraph | TagEnd::HtmlBlock => "</p>",
        TagEnd::BlockQuote(_) => "</blockquote>",
        TagEnd::CodeBlock => "</pre>",
        TagEnd::Item => "</li>",
        TagEnd::Emphasis => "</em>",
        TagEnd::Strong => "</strong>",
        _ => "",
    }
}

/// The terms stand under a second heading of the page, so theirs begin with the third.
const fn heading(level: HeadingLevel, open: bool) -> &'static str {
    match (level, open) {
        (HeadingLevel::H1, true) => "<h3>",
        (HeadingLevel::H1, false) => "</h3>",
        (HeadingLevel::H2, true) => "<h4>",
        (HeadingLevel::H2, false) => "</h4>",
        (_, true) => "<h5>",
        (_, false) => "</h5>",
    }
}

/// Whether a link is of a kind that does nothing by itself.
fn leads_somewhere(url: &str) -> bool {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    ["http", "https", "mailto", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

fn escaped(text: &str) -> String {
    text.render().into_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn markdown_is_shown_as_it_was_meant() {
        let html = markdown(
            "# Rules\n\nBe *kind*, be **careful**.\n\n- one\n- two `x<y`\n\n3. three\n\n> said\n\n\
             [the rules](https://campus.example/a?b=1&c=2), <mailto:help@campus.example>\n\n---\n",
        )
        .into_string();
        for piece in [
            "<h3>Rules</h3>",
            "<p>Be <em>kind</em>, be <strong>careful</strong>.</p>",
            "<ul><li>one</li><li>two <code>x&lt;y</code></li></ul>",
            "<ol start=\"3\"><li>three</li></ol>",
            "<blockquote><p>said</p></blockquote>",
            "<a href=\"https://campus.example/a?b=1&amp;c=2\">the rules</a>",
            "<a href=\"mailto:help@campus.example\">",
            "<hr>",
        ] {
            assert!(html.contains(piece), "{piece} is not in {html}");
        }
    }

    #[test]
    fn nothing_in_the_terms_acts() {
        let html = markdown(
            "<script>alert(1)</script>\n\nx <img src=x onerror=alert(1)> ![<b>](javascript:1)\n\n\
             [a](javascript:alert(1)) [b](data:text/html,x) [c](//evil.example) [d](\"onclick=\"x)\n\n\
             [e](https://a.example/\"onmouseover=\"x)\n\n```\n</pre><script>\n```\n\n<style>*{}</style>\n",
        )
        .into_string();
        let tags = html.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap());
        let known = ["p", "/p", "pre", "/pre", "a", "/a"];
        for tag in tags {
            assert!(known.contains(&tag), "<{tag}> in {html}");
        }
        assert!(!html.contains("href=\"javascript") && !html.contains("href=\"data"), "{html}");
        assert!(!html.contains("href=\"//"), "{html}");
        // A quotation mark in an address does not end it.
        assert_eq!(html.matches("<a href=").count(), html.matches("</a>").count());
        assert!(!html.contains("\"onmouseover"), "{html}");
    }

    #[test]
    fn plain_text_stays_plain_and_bad_files_are_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str, contents: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, contents).unwrap();
            path
        };
        let html = load(&path("terms.txt", b"# no heading <b>")).unwrap().into_string();
        assert_eq!(html, "<p class=\"plain\"># no heading &lt;b&gt;</p>");
        let long = vec![b'x'; usize::try_from(TERMS_BYTES_MAX).unwrap() + 1];
        assert!(matches!(load(&path("a.md", &long)), Err(TermsError::TooLong(_))));
        assert!(matches!(load(&path("b.md", b"\xff")), Err(TermsError::NotText(_))));
        assert!(matches!(load(&path("c.md", b" \n")), Err(TermsError::Empty(_))));
        assert!(matches!(load(folder.path()), Err(TermsError::TooLong(_))));
        let nowhere = folder.path().join("nowhere");
        assert!(matches!(load(&nowhere), Err(TermsError::Unreadable(..))));
    }
}
