//! What every page has: the frame, the language switch, the way to help, and the head that keeps it
//! from being anything but a page.
//!
//! It promises that whatever strangers chose (host names, owners) is shown as text that does nothing,
//! that the page needs no script, no cookie and no other file, and that no text depends on colour.

use super::catalogue::{Catalogue, Text};
use super::{Portal, PortalPage};
use crate::api::is_active;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The page's only style sheet. It stands in the page, and the policy names it by its hash.
pub(super) const STYLE: &str = include_str!("style.css");

/// Characters that are shown of a name that a stranger chose.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// Characters that are shown of a sentence from outside.
const SENTENCE_CHARACTERS_MAX: usize = 600;

/// One page before it has its frame.
pub(super) struct Content {
    /// Its kind, for the status and the metrics.
    pub(super) page: PortalPage,
    /// What stands in the title and at the top.
    pub(super) heading: Text,
    /// A mark before the heading, which says the same: it is not read out.
    pub(super) mark: Option<Mark>,
    /// What stands under it.
    pub(super) body: Markup,
    /// After so many seconds the page looks again by itself.
    pub(super) again_after_seconds: Option<u32>,
    /// Another status than that of the page's kind.
    pub(super) status: Option<StatusCode>,
}

/// A mark before a heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// All is well.
    Good,
    /// Something is not.
    Bad,
}

impl Content {
    /// A page of this kind.
    pub(super) fn new(page: PortalPage, heading: Text, body: Markup) -> Self {
        Self { page, heading, mark: None, body, again_after_seconds: None, status: None }
    }

    /// With a mark.
    pub(super) fn marked(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }
}

impl Portal {
    /// The whole answer.
    pub(super) fn framed(&self, catalogue: &Catalogue, content: &Content) -> Response {
        let heading = catalogue.text(content.heading);
        let title = &self.settings.title;
        let page = html! {
            (DOCTYPE)
            html lang=(catalogue.language.tag()) dir=(catalogue.direction()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if let Some(seconds) = content.again_after_seconds {
                        meta http-equiv="refresh" content=(format!("{seconds};url={}", self.to(catalogue)));
                    }
                    title { (heading) " – " (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header class="site" { bdi { (title) } }
                    main {
                        h1 {
                            @match content.mark {
                                Some(Mark::Good) => span class="mark good" aria-hidden="true" { "✓" },
                                Some(Mark::Bad) => span class="mark bad" aria-hidden="true" { "!" },
                                None => {},
                            }
                            (heading)
                        }
                        (content.body)
                    }
                    footer {
                        @if let Some(contact) = &self.settings.contact {
                            p { (catalogue.text(Text::Help)) ": " bdi { (contact) } }
                        }
                        (self.switch(catalogue))
                    }
                }
            }
        };
        let status = content.status.unwrap_or_else(|| content.page.status());
        let mut response = (status, page.into_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Ok(language) = HeaderValue::from_str(catalogue.language.tag()) {
            headers.insert(header::CONTENT_LANGUAGE, language);
        }
        if let Some(seconds) = content.again_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.guard(&mut response);
        response
    }

    /// The headers of every answer: it is kept nowhere, framed nowhere, and loads nothing.
    pub(super) fn guard(&self, response: &mut Response) {
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::VARY, "Accept-Language"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
    }

    /// Where the page is, in this language.
    pub(super) fn to(&self, catalogue: &Catalogue) -> String {
        format!("/?lang={}", catalogue.language.tag())
    }

    fn switch(&self, current: &Catalogue) -> Markup {
        if self.catalogues.len() < 2 {
            return html! {};
        }
        html! {
            nav aria-label=(current.text(Text::ChooseLanguage)) {
                ul {
                    @for catalogue in &self.catalogues {
                        @let tag = catalogue.language.tag();
                        @let is_current = catalogue.language == current.language;
                        li {
                            a href=(self.to(catalogue)) lang=(tag) hreflang=(tag)
                                dir=(catalogue.direction()) aria-current=[is_current.then_some("true")] {
                                (catalogue.text(Text::LanguageName))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A text that a stranger chose, as it may be shown: cut, and with every character written out that
/// would do something instead of being seen. It still has to be escaped.
pub(super) fn shown(text: &str) -> String {
    cut(text, SHOWN_CHARACTERS_MAX)
}

fn cut(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    for (number, character) in text.chars().enumerate() {
        if number == characters_max {
            shown.push('…');
            break;
        }
        if is_active(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A text from outside, in its place on the page: its direction does not reach its neighbours.
pub(super) fn foreign(text: &str) -> Markup {
    html! { bdi { (shown(text)) } }
}

/// The same for a sentence.
pub(super) fn foreign_at_length(text: &str) -> Markup {
    html! { bdi { (cut(text, SENTENCE_CHARACTERS_MAX)) } }
}

/// An address or another text that reads from left to right in every language.
pub(super) fn technical(text: &str) -> Markup {
    html! { bdi dir="ltr" { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_chose_does_nothing() {
        let nasty = "<script>alert(1)</script>\u{1b}[2J\u{202e}exe.gpj\u{200b}\"'&";
        let html = foreign(nasty).into_string();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.chars().all(|character| !is_active(character)), "{html:?}");
        assert!(html.contains("&lt;script&gt;") && html.contains("\\u{202e}"), "{html}");
        let long = shown(&"x".repeat(1000));
        assert_eq!(long.chars().count(), SHOWN_CHARACTERS_MAX + 1);
        assert_eq!(shown("Mías Telefon 漢"), "Mías Telefon 漢");
    }

    #[test]
    fn the_style_loads_nothing_and_ends_nothing() {
        for piece in ["url(", "@import", "</", "<!--"] {
            assert!(!STYLE.contains(piece), "{piece}");
        }
    }
}
