//! A case as it stands in its file: read, compared, written.
//!
//! It keeps every line of the file as it was, so that rewriting changes nothing but expectations.

use super::incoming::Incoming;
use std::fmt::Write as _;

/// What happens in one step.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A packet; the lines of what is expected follow it in the file.
    Packet { incoming: Incoming, expected: Vec<String> },
    /// Anything else: a line that begins with `=`, without it.
    Other(String),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) source: String,
    pub(crate) rule: String,
    pub(crate) configuration: String,
    pub(crate) events: Vec<Event>,
    lines: Vec<Line>,
}

/// A line of the file, or the place of an event's expectations.
#[derive(Clone, Debug)]
enum Line {
    Kept(String),
    Expected(usize),
}

impl Case {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut case = Self {
            source: String::new(),
            rule: String::new(),
            configuration: String::new(),
            events: Vec::new(),
            lines: Vec::new(),
        };
        let mut packet: Option<Vec<String>> = None;
        let mut in_expectation = false;
        for (number, line) in text.lines().chain([""]).enumerate() {
            let at = |why: String| format!("line {}: {why}", number + 1);
            let is_indented = line.starts_with("    ");
            if !is_indented && let Some(lines) = packet.take() {
                case.events.push(Event::Packet {
                    incoming: Incoming::read(&lines).map_err(at)?,
                    expected: Vec::new(),
                });
                case.lines.push(Line::Expected(case.events.len() - 1));
            }
            if let Some(expected) = line.strip_prefix("< ") {
                let Some(Event::Packet { expected: lines, .. }) = case.events.last_mut() else {
                    return Err(at("an expectation without a packet".to_owned()));
                };
                lines.push(expected.to_owned());
                in_expectation = true;
                continue;
            }
            if in_expectation && is_indented {
                if let Some(Event::Packet { expected: lines, .. }) = case.events.last_mut() {
                    lines.push(line.trim().to_owned());
                }
                continue;
            }
            in_expectation = false;
            case.lines.push(Line::Kept(line.to_owned()));
            if is_indented {
                let Some(packet) = &mut packet else {
                    return Err(at("an indented line belongs to nothing".to_owned()));
                };
                packet.push(line.trim().to_owned());
            } else if let Some(first) = line.strip_prefix("> ") {
                packet = Some(vec![first.to_owned()]);
            } else if let Some(other) = line.strip_prefix("= ") {
                case.events.push(Event::Other(other.to_owned()));
            } else if let Some(source) = line.strip_prefix("source: ") {
                case.source = source.to_owned();
            } else if let Some(rule) = line.strip_prefix("rule: ") {
                case.rule = rule.to_owned();
            } else if let Some(configuration) = line.strip_prefix("configuration: ") {
                case.configuration = configuration.to_owned();
            } else if !line.is_empty() && !line.starts_with('#') {
                return Err(at(format!("what is '{line}'?")));
            }
        }
        Ok(case)
    }

    /// The first line of every expectation.
    pub(crate) fn expectations(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| match event {
            Event::Packet { expected, .. } => expected.first().map(String::as_str),
            Event::Other(_) => None,
        })
    }

    /// The file with other expectations, one for each event.
    pub(crate) fn with(&self, played: &[Vec<String>]) -> String {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Kept(line) => text.push_str(&format!("{line}\n")),
                Line::Expected(event) => text.push_str(&shown(&played[*event])),
            }
        }
        format!("{}\n", text.trim_end())
    }

    /// What differs between the expectations and what happened; `None` if nothing does.
    pub(crate) fn difference(&self, played: &[Vec<String>]) -> Option<String> {
        let mut difference = String::new();
        for (event, played) in self.events.iter().zip(played) {
            let Event::Packet { incoming, expected } = event else { continue };
            if expected == played {
                continue;
            }
            let _ = writeln!(difference, "> {}", incoming.title);
            for line in expected.iter().filter(|line| !played.contains(line)) {
                let _ = writeln!(difference, "  expected: {line}");
            }
            for line in played.iter().filter(|line| !expected.contains(line)) {
                let _ = writeln!(difference, "  came:     {line}");
            }
            if expected.len() == played.len() && expected.iter().all(|line| played.contains(line)) {
                let _ = writeln!(difference, "  expected in this order:\n{}", shown(expected));
                let _ = writeln!(difference, "  came in this order:\n{}", shown(played));
            }
        }
        (!difference.is_empty()).then_some(difference)
    }
}

fn shown(lines: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        text.push_str(if index == 0 { "< " } else { "    " });
        text.push_str(line);
        text.push('\n');
    }
    text
}
