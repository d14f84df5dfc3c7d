//! What the page says, in every language it has: data in `languages/`, one file for each.
//!
//! It promises that every language says everything, with the same places to be filled in: a test holds
//! the files to that, so that nobody meets a page with holes.

use std::collections::BTreeMap;
use vestibule_config::Language;

macro_rules! texts {
    ($($variant:ident = $key:literal;)+) => {
        /// One thing that the page says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Text {
            $($variant,)+
        }

        impl Text {
            /// All of them.
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its key in the files.
            const fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)+ }
            }
        }
    };
}

texts! {
    LanguageName = "language-name";
    Direction = "direction";
    ChooseLanguage = "choose-language";
    Help = "help";
    DeviceHeading = "device-heading";
    DeviceAddress = "device-address";
    DeviceHardware = "device-hardware";
    DeviceName = "device-name";
    DeviceNetwork = "device-network";
    RegisterHeading = "register-heading";
    RegisterIntro = "register-intro";
    RegisterButton = "register-button";
    TermsHeading = "terms-heading";
    AgreeLabel = "agree-label";
    AgreeMissing = "agree-missing";
    NameLabel = "name-label";
    NameHint = "name-hint";
    NameMissing = "name-missing";
    NameWrong = "name-wrong";
    VoucherLabel = "voucher-label";
    VoucherHint = "voucher-hint";
    VoucherMissing = "voucher-missing";
    VoucherMistyped = "voucher-mistyped";
    VoucherUnknown = "voucher-unknown";
    VoucherUsedUp = "voucher-used-up";
    VoucherTimeOver = "voucher-time-over";
    VoucherGuesses = "voucher-guesses";
    ErrorsHeading = "errors-heading";
    FormOld = "form-old";
    RegisteredHeading = "registered-heading";
    RegisteredIntro = "registered-intro";
    RegisteredWait = "registered-wait";
    RegisteredUntil = "registered-until";
    RegisteredFor = "registered-for";
    NeverEnds = "never-ends";
    TimeLeft = "time-left";
    LessThanAMinute = "less-than-a-minute";
    UnitDays = "unit-days";
    UnitHours = "unit-hours";
    UnitMinutes = "unit-minutes";
    ContinueLink = "continue-link";
    ExtendHeading = "extend-heading";
    ExtendIntro = "extend-intro";
    ExtendButton = "extend-button";
    SuspendedHeading = "suspended-heading";
    SuspendedIntro = "suspended-intro";
    SuspendedReason = "suspended-reason";
    QuarantinedHeading = "quarantined-heading";
    QuarantinedIntro = "quarantined-intro";
    QuarantinedLink = "quarantined-link";
    RandomisedHeading = "randomised-heading";
    RandomisedIntro = "randomised-intro";
    RandomisedApple = "randomised-apple";
    RandomisedAndroid = "randomised-android";
    RandomisedWindows = "randomised-windows";
    RandomisedBrief = "randomised-brief";
    LimitHeading = "limit-heading";
    LimitIntro = "limit-intro";
    LimitLabel = "limit-label";
    LimitDevice = "limit-device";
    LimitNone = "limit-none";
    LimitMissing = "limit-missing";
    LimitButton = "limit-button";
    ElsewhereHeading = "elsewhere-heading";
    ElsewhereIntro = "elsewhere-intro";
    Ipv6Intro = "ipv6-intro";
    NoHardwareIntro = "no-hardware-intro";
    OpenHeading = "open-heading";
    OpenIntro = "open-intro";
    BusyHeading = "busy-heading";
    BusyIntro = "busy-intro";
    FullHeading = "full-heading";
    FullIntro = "full-intro";
    FailedHeading = "failed-heading";
    FailedIntro = "failed-intro";
    TooLargeIntro = "too-large-intro";
    BackLink = "back-link";
}

/// One language's texts.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// Whose.
    pub(super) language: Language,
    texts: BTreeMap<String, String>,
}

impl Catalogue {
    /// The texts of a language.
    pub(super) fn of(language: Language) -> Self {
        let file = match language {
            Language::English => include_str!("languages/en.toml"),
            Language::German => include_str!("languages/de.toml"),
            Language::French => include_str!("languages/fr.toml"),
            Language::Spanish => include_str!("languages/es.toml"),
            Language::Chinese => include_str!("languages/zh.toml"),
            Language::Arabic => include_str!("languages/ar.toml"),
        };
        // The files are ours, and a test reads each of them.
        Self { language, texts: toml::from_str(file).unwrap_or_default() }
    }

    /// A text as it stands.
    pub(super) fn text(&self, text: Text) -> &str {
        self.texts.get(text.key()).map_or(text.key(), String::as_str)
    }

    /// A text with its places filled in, each `{name}` by its value. Values are put in as they are: who
    /// shows the text escapes it as a whole.
    pub(super) fn filled(&self, text: Text, values: &[(&str, &str)]) -> String {
        let mut filled = String::new();
        let mut rest = self.text(text);
        // One pass, so that a value with a brace in it is never taken for a place.
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            let value = values.iter().find(|(known, _)| *known == name);
            filled.push_str(value.map_or("", |(_, value)| value));
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }

    /// `ltr` or `rtl`.
    pub(super) fn direction(&self) -> &str {
        self.text(Text::Direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of a text, in alphabetical order.
    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_language_says_everything_and_nothing_else() {
        let english = Catalogue::of(Language::English);
        assert!(Text::ALL.len() > 60);
        for language in Language::ALL {
            let catalogue = Catalogue::of(language);
            let known: Vec<&str> = catalogue.texts.keys().map(String::as_str).collect();
            let mut wanted: Vec<&str> = Text::ALL.iter().map(|text| text.key()).collect();
            wanted.sort_unstable();
            assert_eq!(known, wanted, "{language}");
            for text in Text::ALL {
                let said = catalogue.text(*text);
                assert!(!said.trim().is_empty(), "{language}: {}", text.key());
                assert_eq!(places(said), places(english.text(*text)), "{language}: {}", text.key());
            }
            assert!(["ltr", "rtl"].contains(&catalogue.direction()), "{language}");
        }
        assert_eq!(Catalogue::of(Language::Arabic).direction(), "rtl");
    }

    #[test]
    fn a_language_is_not_a_copy_of_another() {
        let english = Catalogue::of(Language::English);
        for language in Language::ALL.into_iter().filter(|other| *other != Language::English) {
            let catalogue = Catalogue::of(language);
            let same = Text::ALL
                .iter()
                .filter(|text| catalogue.text(**text) == english.text(**text))
                .map(|text| text.key());
            // Units and short words may be the same.
            assert!(same.clone().count() <= 6, "{language}: {:?}", same.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_value_is_never_taken_for_a_place() {
        let english = Catalogue::of(Language::English);
        let said = english.filled(Text::LimitIntro, &[("owner", "{count}{"), ("count", "2")]);
        assert!(said.starts_with("{count}{ has 2 registered devices"), "{said}");
    }
}
