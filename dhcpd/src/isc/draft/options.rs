//! `option` statements: definitions, and values in their scopes.

use super::{Context, Draft};
use crate::isc::option_data::Format;
use crate::isc::option_names;
use crate::isc::report::Kind;
use crate::isc::syntax::{Piece, Place, Statement};

/// Options with a code that RFC 8910 took back, and that ISC knows by a name of its own.
const CAPTIVE_PORTAL_WITHDRAWN: u8 = 160;
const SUBNET_MASK: u8 = 1;

/// An option's contents, and where they are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::isc) struct Setting {
    pub(in crate::isc) contents: Box<[u8]>,
    pub(in crate::isc) place: Place,
}

impl Draft {
    pub(super) fn option(&mut self, context: Context, statement: &Statement) {
        let Some(name) = statement.word(1).map(str::to_ascii_lowercase) else {
            return self.leave_out(statement, "it names no option");
        };
        if name == "space" {
            let kind = Kind::NotNeeded;
            let remedy = "there are no option spaces here; what is set in one is named below";
            return self.report.add(kind, statement.place, statement.shown(), remedy);
        }
        if statement.is(2, "code") {
            return self.define(&name, statement);
        }
        let plain = name.strip_prefix("dhcp.").unwrap_or(&name);
        let Some((code, format)) = self.look_up(plain) else {
            let why = if plain.contains('.') {
                "it is an option of an option space: set vendor-specific-information in the options, in hexadecimal"
            } else {
                "no option of this name is known or defined: set it by its code, as in option-224 = \"text:…\""
            };
            return self.leave_out(statement, why);
        };
        let contents = match format.encode(statement.from(2)) {
            Ok(contents) => contents,
            Err(why) => {
                let remedy = format!("{why}: write into the options what it should be");
                return self.leave_out(statement, &remedy);
            }
        };
        let place = statement.place;
        if code != SUBNET_MASK {
            if let Err(why) = self.writer.entry(code, &contents) {
                return self.leave_out(statement, &why);
            }
            if code == CAPTIVE_PORTAL_WITHDRAWN {
                let remedy = "option 160 was withdrawn (RFC 8910): it is sent as before, and devices of today ask for \
                              captive-portal, 114";
                self.report.changed(place, statement.shown(), remedy);
            }
        }
        if let Some(scope) = self.scopes.get_mut(context.scope) {
            scope.options.insert(code, Setting { contents: contents.into(), place });
        }
    }

    /// `option NAME code N = TYPE`
    fn define(&mut self, name: &str, statement: &Statement) {
        if name.contains('.') {
            let kind = Kind::NotNeeded;
            let remedy = "there are no option spaces here; what is set in one is named below";
            return self.report.add(kind, statement.place, statement.shown(), remedy);
        }
        let code = statement.word(3).and_then(|word| word.parse::<u8>().ok());
        let format = match statement.from(4) {
            [Piece::Mark(b'='), format @ ..] => Format::defined(format),
            _ => Err("it has no type".to_owned()),
        };
        match (code, format) {
            (Some(code), Ok(format)) => {
                self.formats.insert(name.to_owned(), (code, format));
            }
            (None, _) => self.leave_out(statement, "codes go from 1 to 254"),
            (_, Err(why)) => {
                let remedy = format!("{why}: set the option by its code, in hexadecimal");
                self.leave_out(statement, &remedy);
            }
        }
    }

    fn look_up(&self, name: &str) -> Option<(u8, Format)> {
        if let Some(defined) = self.formats.get(name) {
            return Some(defined.clone());
        }
        if let Some(code) = name.strip_prefix("unknown-") {
            return Some((code.parse().ok()?, Format::of("X")));
        }
        option_names::by_name(name).map(|(code, format)| (code, Format::of(format)))
    }

    fn leave_out(&mut self, statement: &Statement, remedy: &str) {
        self.report.left_out(statement.place, statement.shown(), remedy);
    }
}
