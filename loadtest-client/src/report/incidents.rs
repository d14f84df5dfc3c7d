//! What happened to clients: the kinds of them, leases after a restart, and the stories of those that
//! did not get what they should have; for the summary and for the page.
//!
//! It promises that a result without any of them has none of these parts, and that the two say the same.

use super::escape;
use super::frame::{self, Column, Row};
use super::number::{count, count_short, counted};
use super::text::wrapped;
use crate::conduct::Conduct;
use crate::restart::RestartCheck;
use crate::result::RunResult;
use crate::story::{STORIES_MAX, Story};
use std::fmt::Write as _;

/// Stories in the summary; the page and the JSON have more.
const STORIES_SHOWN_MAX: usize = 3;
/// Rows of kinds; there are no more in a result of this program.
const CONDUCTS_MAX: usize = Conduct::ALL.len();
/// Steps of a story; there are no more in a result of this program.
const STEPS_MAX: usize = crate::story::STEPS_MAX;

/// For the summary.
pub(super) fn text(result: &RunResult) -> String {
    let mut text = String::new();
    if let Some(check) = &result.restart_check {
        text.push_str(&wrapped("Restart     ", &restart(check), 12));
    }
    if has_kinds(result) {
        let _ = writeln!(
            text,
            "\n{:<18}{:>9}{:>12}{:>12}{:>10}{:>10}{:>9}",
            "Kind", "clients", "sent", "answered", "ACK", "NAK", "ran out"
        );
        for row in result.conducts.iter().take(CONDUCTS_MAX) {
            let _ = writeln!(
                text,
                "  {:<16}{:>9}{:>12}{:>12}{:>10}{:>10}{:>9}",
                row.conduct.name(),
                count_short(row.clients),
                count_short(row.sent),
                count_short(row.answered),
                count_short(row.acknowledged),
                count_short(row.refused),
                count_short(row.expired)
            );
        }
        text.push('\n');
    }
    for story in result.stories.told.iter().take(STORIES_SHOWN_MAX) {
        text.push_str(&wrapped("Story       ", &escape::line(&story.sentence), 12));
        if story.steps_left_out > 0 {
            text.push_str(&wrapped("              ", &earlier(story), 16));
        }
        for step in story.steps.iter().take(STEPS_MAX) {
            let line = format!("{} {}", escape::line(&step.at), escape::line(&step.what));
            text.push_str(&wrapped("              ", &line, 16));
        }
    }
    let more = untold(result, STORIES_SHOWN_MAX);
    if more > 0 {
        let more = format!("{} more; the page and the JSON tell some", count(more));
        text.push_str(&wrapped("            ", &more, 12));
    }
    text
}

/// For the page.
pub(super) fn markup(result: &RunResult) -> String {
    let mut markup = String::new();
    if let Some(check) = &result.restart_check {
        let sentence = format!("<p>{}</p>\n", escape::html(&restart(check)));
        markup.push_str(&frame::section("restart", "After a restart", &sentence));
    }
    if has_kinds(result) {
        let columns = [
            Column::Words("kind"),
            Column::Figures("clients"),
            Column::Figures("messages sent"),
            Column::Figures("answered"),
            Column::Figures("ACK"),
            Column::Figures("NAK"),
            Column::Figures("ran out"),
        ];
        let rows: Vec<Row> = result
            .conducts
            .iter()
            .take(CONDUCTS_MAX)
            .map(|row| {
                let numbers = [
                    row.clients,
                    row.sent,
                    row.answered,
                    row.acknowledged,
                    row.refused,
                    row.expired,
                ];
                let mut cells = vec![escape::html(row.conduct.name())];
                cells.extend(numbers.map(count));
                Row::new(cells)
            })
            .collect();
        let mut body = frame::table("Clients by kind", &columns, &rows);
        body.push_str(
            "<p>Latencies, losses and repetitions are those of orderly clients and of those that \
             inform.</p>\n",
        );
        markup.push_str(&frame::section("kinds", "Kinds of clients", &body));
    }
    if !result.stories.told.is_empty() {
        let mut body = String::new();
        for story in result.stories.told.iter().take(STORIES_MAX) {
            let sentence = escape::html(&story.sentence);
            let _ = writeln!(body, "<details><summary>{sentence}</summary>");
            if story.steps_left_out > 0 {
                let _ = writeln!(body, "<p>{}</p>", escape::html(&earlier(story)));
            }
            body.push_str("<ul>\n");
            for step in story.steps.iter().take(STEPS_MAX) {
                let (at, what) = (escape::html(&step.at), escape::html(&step.what));
                let _ = writeln!(body, "<li>{at} {what}</li>");
            }
            body.push_str("</ul></details>\n");
        }
        let more = untold(result, STORIES_MAX);
        if more > 0 {
            let _ = writeln!(body, "<p>And {} more.</p>", count(more));
        }
        markup.push_str(&frame::section("stories", "What clients went through", &body));
    }
    markup
}

/// Whether there is more than one kind of clients.
fn has_kinds(result: &RunResult) -> bool {
    result.conducts.len() > 1
}

fn untold(result: &RunResult, shown: usize) -> u64 {
    let rest = result.stories.told.len().saturating_sub(shown) as u64;
    result.stories.left_out.saturating_add(rest)
}

fn earlier(story: &Story) -> String {
    format!("after {} that are not kept", counted(story.steps_left_out, "step", "steps"))
}

fn restart(check: &RestartCheck) -> String {
    let asked = counted(check.asked, "lease", "leases");
    let mut sentence = format!(
        "{asked} asked for again: {} known, {} gone",
        count(check.known),
        count(check.gone)
    );
    if check.too_old > 0 {
        let _ = write!(sentence, "; {} ended too soon to be asked for", count(check.too_old));
    }
    if !check.command.is_empty() {
        let _ = write!(sentence, "; after {}", escape::line(&check.command));
    }
    sentence
}
