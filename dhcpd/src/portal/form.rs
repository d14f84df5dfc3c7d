//! What a form sent: bounded, decoded, checked, and every mistake tied to its field.

use super::catalogue::{Catalogue, Text};
use crate::api::is_active;
use crate::voucher_code::VoucherCode;
use vestibule_config::Identify;

/// Fields of a form that are looked at.
const FIELDS_MAX: usize = 16;

/// Characters of a name.
pub(super) const NAME_CHARACTERS_MAX: usize = 64;

/// What a form sent, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// What is asked for.
    pub(super) wish: String,
    /// The stamp of the page that it was on.
    pub(super) stamp: String,
    /// Whether the terms are agreed to.
    pub(super) agrees: bool,
    /// The name, without white space around it.
    pub(super) name: String,
    /// The code of a voucher, as it was typed.
    pub(super) voucher: String,
    /// The device to be replaced, by the name that the page gave it.
    pub(super) replaces: String,
    /// Whether it is from the page on which that device is chosen.
    pub(super) asks_to_replace: bool,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The box beside the terms.
    Agree,
    /// The name.
    Name,
    /// The code of a voucher.
    Voucher,
    /// The device to be replaced.
    Replaces,
}

impl Field {
    /// Its name in the form, and its `id` on the page.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Name => "name",
            Self::Voucher => "voucher",
            Self::Replaces => "replaces",
        }
    }
}

/// What is wrong with a field, in the visitor's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Which.
    pub(super) field: Field,
    /// What.
    pub(super) said: String,
}

impl Mistake {
    /// A mistake that a text of the catalogue says.
    pub(super) fn new(field: Field, catalogue: &Catalogue, text: Text) -> Self {
        Self { field, said: catalogue.text(text).to_owned() }
    }
}

impl Form {
    /// Reads a body of `application/x-www-form-urlencoded`. What it does not have is empty; of a field
    /// that comes twice, the first counts.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body).take(FIELDS_MAX) {
            let place = match &*name {
                "do" => &mut form.wish,
                "stamp" => &mut form.stamp,
                "name" => &mut form.name,
                "voucher" => &mut form.voucher,
                "replaces" => &mut form.replaces,
                "agree" => {
                    form.agrees = true;
                    continue;
                }
                "choosing" => {
                    form.asks_to_replace = true;
                    continue;
                }
                _ => continue,
            };
            if place.is_empty() {
                *place = value.trim().to_owned();
            }
        }
        form
    }

    /// What is wrong with what people have to say, in the order of the page.
    pub(super) fn mistakes(
        &self,
        identify: Identify,
        has_terms: bool,
        catalogue: &Catalogue,
    ) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        match identify {
            Identify::Name if self.name.is_empty() => {
                mistakes.push(Mistake::new(Field::Name, catalogue, Text::NameMissing));
            }
            Identify::Name if !is_name(&self.name) => {
                let max = NAME_CHARACTERS_MAX.to_string();
                let said = catalogue.filled(Text::NameWrong, &[("max", &max)]);
                mistakes.push(Mistake { field: Field::Name, said });
            }
            Identify::Voucher if self.voucher.is_empty() => {
                mistakes.push(Mistake::new(Field::Voucher, catalogue, Text::VoucherMissing));
            }
            Identify::Voucher if VoucherCode::read(&self.voucher).is_err() => {
                mistakes.push(Mistake::new(Field::Voucher, catalogue, Text::VoucherMistyped));
            }
            Identify::Name | Identify::Terms | Identify::Voucher => {}
        }
        if has_terms && !self.agrees {
            mistakes.push(Mistake::new(Field::Agree, catalogue, Text::AgreeMissing));
        }
        mistakes
    }
}

/// Whether a text can be somebody's name: short, and nothing in it that only pretends to be a letter.
fn is_name(text: &str) -> bool {
    text.chars().count() <= NAME_CHARACTERS_MAX
        && text.len() <= vestibule_core::limits::OWNER_LENGTH_MAX
        && !text.chars().any(is_active)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_config::Language;

    fn fields(mistakes: &[Mistake]) -> Vec<Field> {
        mistakes.iter().map(|mistake| mistake.field).collect()
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form =
            Form::read("do=register&stamp=1-ab&name=+M%C3%ADa+%26+Co+&agree=on&x=1".as_bytes());
        assert_eq!((form.wish.as_str(), form.stamp.as_str()), ("register", "1-ab"));
        assert_eq!((form.name.as_str(), form.agrees), ("Mía & Co", true));
        assert_eq!(Form::read(b"name=a&name=b").name, "a");
        assert_eq!(Form::read(b"%zz=%&&=&name"), Form::default());
        let many = "x=1&".repeat(FIELDS_MAX) + "name=late";
        assert_eq!(Form::read(many.as_bytes()).name, "");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_at_its_field() {
        let english = Catalogue::of(Language::English);
        let of = |body: &str, identify, terms| {
            fields(&Form::read(body.as_bytes()).mistakes(identify, terms, &english))
        };
        assert_eq!(of("", Identify::Terms, true), [Field::Agree]);
        assert_eq!(of("agree=on", Identify::Terms, true), []);
        assert_eq!(of("", Identify::Name, false), [Field::Name]);
        assert_eq!(of("", Identify::Name, true), [Field::Name, Field::Agree]);
        assert_eq!(of("name=+%0a+", Identify::Name, false), [Field::Name]);
        assert_eq!(of("name=mia", Identify::Name, false), []);
        assert_eq!(of("name=a%0ab", Identify::Name, false), [Field::Name]);
        assert_eq!(of("name=mia%E2%80%AEx", Identify::Name, false), [Field::Name]);
        assert_eq!(of(&format!("name={}", "x".repeat(65)), Identify::Name, false), [Field::Name]);
        assert_eq!(of("name=mia", Identify::Voucher, true), [Field::Voucher, Field::Agree]);
        assert_eq!(of("voucher=0000000000000001", Identify::Voucher, false), [Field::Voucher]);
        assert_eq!(of("voucher=0000-0000-oooo-0000", Identify::Voucher, false), []);
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(0_u8.., 0..300)) {
            let form = Form::read(&body);
            for identify in [Identify::Name, Identify::Voucher] {
                let _ = form.mistakes(identify, true, &Catalogue::of(Language::English));
            }
        }
    }
}
