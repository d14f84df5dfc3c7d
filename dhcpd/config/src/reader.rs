//! Reading tables of a TOML document: known keys only, every value with its place.
//!
//! It promises that a wrong key, type or value becomes a [`Mistake`] with its line and that reading
//! goes on after it, so that all mistakes are reported at once. What it returns after a mistake is
//! good for finding further mistakes only: whoever reads drops it in the end.

use crate::grammar::{self, Section};
use crate::limits::MISTAKES_MAX;
use crate::mistake::{Complaint, Lines, Mistake, Mistakes, quoted};
use crate::option_definitions::OptionDefinition;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is read, and what was found wrong so far.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    file: &'t str,
    lines: Lines<'t>,
    found: Vec<Mistake>,
    omitted: usize,
    definitions: Vec<OptionDefinition>,
}

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Table<'d> {
    /// What it may hold.
    pub(crate) section: &'static Section,
    /// Its path, counted from 1, as in `network[2].subnet[1]`; empty for the file.
    pub(crate) path: String,
    /// Where it begins.
    pub(crate) at: usize,
    entries: &'d DeTable<'d>,
    /// Known keys that an unknown one was probably meant to be.
    meant: Vec<&'static str>,
}

/// A value and the place it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<T> {
    /// The value.
    pub(crate) value: T,
    /// The offset of its first byte.
    pub(crate) at: usize,
}

impl<T> Placed<T> {
    /// The same place with another value.
    pub(crate) fn with<U>(&self, value: U) -> Placed<U> {
        Placed { value, at: self.at }
    }
}

/// A value as the document holds it.
pub(crate) type Value<'d> = Spanned<DeValue<'d>>;

impl<'t> Reader<'t> {
    /// A reader of `text`, which came from `file`.
    pub(crate) fn new(text: &'t str, file: &'t str) -> Self {
        Self {
            file,
            lines: Lines::new(text),
            found: Vec::new(),
            omitted: 0,
            definitions: Vec::new(),
        }
    }

    /// From now on, options are read under these names too.
    pub(crate) fn define(&mut self, definitions: &[OptionDefinition]) {
        self.definitions = definitions.to_vec();
    }

    /// The options that the file named.
    pub(crate) fn definitions(&self) -> &[OptionDefinition] {
        &self.definitions
    }

    /// Notes a mistake at a place; `key` is the whole path of what it is about.
    pub(crate) fn complain(&mut self, at: usize, key: String, complaint: Complaint) {
        if self.found.len() >= MISTAKES_MAX {
            self.omitted += 1;
            return;
        }
        let (line, column) = self.lines.position(at);
        self.found.push(Mistake {
            file: self.file.to_owned(),
            line,
            column,
            key,
            message: complaint.message,
            remedy: complaint.remedy,
        });
    }

    /// The line of a place, to be named in a message about another place.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.line(at)
    }

    /// Whether anything was wrong so far.
    pub(crate) fn found_any(&self) -> bool {
        !self.found.is_empty()
    }

    /// Everything that was wrong.
    pub(crate) fn into_mistakes(self) -> Mistakes {
        Mistakes::new(self.found, self.omitted)
    }

    /// The table in `value`, after its keys were held against those of `section`.
    pub(crate) fn table<'d>(
        &mut self,
        value: &'d Value<'d>,
        section: &'static Section,
        path: String,
    ) -> Option<Table<'d>> {
        match value.get_ref() {
            DeValue::Table(entries) => {
                Some(self.entries(entries, section, path, value.span().start))
            }
            other => {
                let message = format!("{} is a table, not {}", quoted(&path), type_in_words(other));
                let complaint = Complaint::new(message, format!("write {}", section.header));
                self.complain(value.span().start, path, complaint);
                None
            }
        }
    }

    /// The same for entries that have no value around them: those of the whole file.
    pub(crate) fn entries<'d>(
        &mut self,
        entries: &'d DeTable<'d>,
        section: &'static Section,
        path: String,
        at: usize,
    ) -> Table<'d> {
        let mut table = Table { section, path, at, entries, meant: Vec::new() };
        for key in entries.keys() {
            let name: &str = key.get_ref();
            if section.keys.contains(&name) {
                continue;
            }
            let message = format!("unknown key {} in {}", quoted(name), section.header);
            let nearest = grammar::nearest(name, section.keys.iter().copied());
            table.meant.extend(nearest);
            let elsewhere = || {
                let home = grammar::SECTIONS.iter().find(|home| home.keys.contains(&name))?;
                Some(format!("it belongs in {}", home.header))
            };
            let remedy = nearest
                .map(|known| format!("did you mean `{known}`?"))
                .or_else(elsewhere)
                .unwrap_or_else(|| format!("known are {}", section.keys.join(", ")));
            self.complain(key.span().start, table.path_of(name), Complaint::new(message, remedy));
        }
        table
    }

    /// Notes a mistake about a value of a table.
    pub(crate) fn complain_about(
        &mut self,
        table: &Table<'_>,
        key: &str,
        at: usize,
        complaint: Complaint,
    ) {
        self.complain(at, table.path_of(key), complaint);
    }

    /// Notes that a table lacks a key that it needs; `why` says what for, or how to write it.
    /// A table that has the key under a wrong name was already complained about.
    pub(crate) fn missing(&mut self, table: &Table<'_>, key: &str, why: &str) {
        if table.meant(key) {
            return;
        }
        let message = format!("{} needs `{key}`", table.section.header);
        self.complain_about(table, key, table.at, Complaint::new(message, why));
    }

    /// The text of a key; `None` if there is none or it is something else.
    pub(crate) fn text<'d>(&mut self, table: &Table<'d>, key: &str) -> Option<Placed<&'d str>> {
        let value = table.get(key)?;
        self.text_of(value, &table.path_of(key))
    }

    /// The text in a value.
    pub(crate) fn text_of<'d>(
        &mut self,
        value: &'d Value<'d>,
        path: &str,
    ) -> Option<Placed<&'d str>> {
        let at = value.span().start;
        if let DeValue::String(text) = value.get_ref() {
            return Some(Placed { value: text.as_ref(), at });
        }
        let message =
            format!("{} takes text, not {}", quoted(path), type_in_words(value.get_ref()));
        let complaint = match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => {
                Complaint::new(message, "write it in quotation marks, with its unit if it has one")
            }
            DeValue::Boolean(_) | DeValue::Datetime(_) => {
                Complaint::new(message, "write it in quotation marks")
            }
            _ => Complaint::plain(message),
        };
        self.complain(at, path.to_owned(), complaint);
        None
    }

    /// The yes or no of a key.
    pub(crate) fn flag(&mut self, table: &Table<'_>, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        if let DeValue::Boolean(flag) = value.get_ref() {
            return Some(*flag);
        }
        let path = table.path_of(key);
        let message = format!(
            "{} takes true or false, not {}",
            quoted(&path),
            type_in_words(value.get_ref())
        );
        let complaint = Complaint::new(message, "write true or false, without quotation marks");
        self.complain(value.span().start, path, complaint);
        None
    }

    /// The whole number of a key, between two bounds, both included.
    pub(crate) fn number(
        &mut self,
        table: &Table<'_>,
        key: &str,
        min: u32,
        max: u32,
    ) -> Option<u32> {
        let value = table.get(key)?;
        let path = table.path_of(key);
        let DeValue::Integer(integer) = value.get_ref() else {
            let found = type_in_words(value.get_ref());
            let message = format!("{} takes a whole number, not {found}", quoted(&path));
            let complaint = Complaint::new(message, "write it without quotation marks");
            self.complain(value.span().start, path, complaint);
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let within = number.filter(|number| (min..=max).contains(number));
        if within.is_none() {
            let message = format!("{} is not between {min} and {max}", quoted(&path));
            self.complain(value.span().start, path, Complaint::plain(message));
        }
        within
    }

    /// What `parse` makes of the text of a key.
    pub(crate) fn parsed<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Placed<T>> {
        let text = self.text(table, key)?;
        self.accept(text, &table.path_of(key), parse)
    }

    /// What `parse` makes of each text of a key, which holds one text or an array of them. `None`
    /// only if the key is absent.
    pub(crate) fn parsed_list<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        entries_max: usize,
        mut parse: impl FnMut(&str) -> Result<T, Complaint>,
    ) -> Option<Vec<Placed<T>>> {
        let value = table.get(key)?;
        let path = table.path_of(key);
        let mut list = Vec::new();
        for entry in self.one_or_many(value, &path, entries_max) {
            let Some(text) = self.text_of(entry, &path) else { continue };
            list.extend(self.accept(text, &path, &mut parse));
        }
        Some(list)
    }

    /// The values of an array, or the value itself; none, and a mistake, if they are too many.
    pub(crate) fn one_or_many<'d>(
        &mut self,
        value: &'d Value<'d>,
        path: &str,
        entries_max: usize,
    ) -> &'d [Value<'d>] {
        let DeValue::Array(array) = value.get_ref() else { return std::slice::from_ref(value) };
        if array.len() > entries_max {
            let message =
                format!("{} has {} entries; the limit is {entries_max}", quoted(path), array.len());
            self.complain(value.span().start, path.to_owned(), Complaint::plain(message));
            return &[];
        }
        array
    }

    /// What `parse` makes of a text.
    pub(crate) fn accept<T>(
        &mut self,
        text: Placed<&str>,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Placed<T>> {
        match parse(text.value) {
            Ok(value) => Some(text.with(value)),
            Err(complaint) => {
                self.complain(text.at, path.to_owned(), complaint);
                None
            }
        }
    }

    /// The tables under a key: those of `[[section]]`, each with its number in its path.
    pub(crate) fn tables<'d>(
        &mut self,
        table: &Table<'d>,
        key: &str,
        section: &'static Section,
    ) -> Vec<Table<'d>> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let path = table.path_of(key);
        let DeValue::Array(array) = value.get_ref() else {
            let message = match value.get_ref() {
                DeValue::Table(_) => format!("{} may stand more than once", quoted(&path)),
                other => format!("{} is a table, not {}", quoted(&path), type_in_words(other)),
            };
            let remedy = format!("write it with double brackets: {}", section.header);
            self.complain(value.span().start, path, Complaint::new(message, remedy));
            return Vec::new();
        };
        let numbered = array.iter().enumerate();
        numbered
            .filter_map(|(index, entry)| {
                self.table(entry, section, format!("{path}[{}]", index + 1))
            })
            .collect()
    }

    /// The table under a key.
    pub(crate) fn table_at<'d>(
        &mut self,
        table: &Table<'d>,
        key: &str,
        section: &'static Section,
    ) -> Option<Table<'d>> {
        self.table(table.get(key)?, section, table.path_of(key))
    }
}

impl<'d> Table<'d> {
    /// The value of a key that the section knows.
    pub(crate) fn get(&self, key: &str) -> Option<&'d Value<'d>> {
        debug_assert!(self.section.keys.contains(&key), "{key} is not in {}", self.section.header);
        self.entries.get(key)
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether an unknown key of the table was probably meant to be this one.
    pub(crate) fn meant(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// Where the value of a key begins; the table's own place if there is none.
    pub(crate) fn place_of(&self, key: &str) -> usize {
        self.get(key).map_or(self.at, |value| value.span().start)
    }

    /// The whole path of a key.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The kind of a value, in an operator's words.
pub(crate) fn type_in_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
