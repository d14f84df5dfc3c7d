//! The pages: one for each thing that a visitor may have to be told.

use super::catalogue::{Catalogue, Text};
use super::desk::{Device, Hold, Stay, Visitor};
use super::form::{Field, Form, Mistake};
use super::page::{Content, Mark, foreign, foreign_at_length, shown, technical};
use super::{Portal, PortalPage};
use crate::api::time_text;
use axum::http::StatusCode;
use maud::{Markup, html};
use std::net::IpAddr;
use vestibule_config::{Identify, Language};
use vestibule_core::{RandomisedAddresses, Timestamp, VoucherRefusal};

/// A page that looks again does so after this time.
const AGAIN_SECONDS: u32 = 5;

impl Portal {
    /// The page for who stands before the desk and has asked for nothing yet.
    pub(super) fn welcome(&self, visitor: &Visitor, catalogue: &Catalogue) -> Content {
        match visitor {
            Visitor::Guest(device)
                if self.randomised_addresses(device) == Some(RandomisedAddresses::Refuse) =>
            {
                self.randomised(device, catalogue)
            }
            Visitor::Guest(device) => self.form(device, &Form::default(), &[], catalogue),
            Visitor::HeldBack(hold) => held_back(hold, catalogue),
            Visitor::Member(device, stay) => self.member(device, stay, catalogue),
            Visitor::NotGated => {
                told(PortalPage::NotGated, Text::OpenHeading, catalogue.text(Text::OpenIntro))
                    .marked(Mark::Good)
            }
            Visitor::Nameless => told(
                PortalPage::Elsewhere,
                Text::ElsewhereHeading,
                catalogue.text(Text::NoHardwareIntro),
            )
            .marked(Mark::Bad),
            Visitor::Elsewhere(address) => {
                elsewhere((*address).into(), Text::ElsewhereIntro, catalogue)
            }
            Visitor::OverIpv6(address) => elsewhere((*address).into(), Text::Ipv6Intro, catalogue),
        }
    }

    /// The form, as it was filled in, with what is wrong with it.
    pub(super) fn form(
        &self,
        device: &Device,
        form: &Form,
        mistakes: &[Mistake],
        catalogue: &Catalogue,
    ) -> Content {
        let body = html! {
            (summary(mistakes, catalogue))
            p { (catalogue.text(Text::RegisterIntro)) }
            @if self.randomised_addresses(device) == Some(RandomisedAddresses::AllowBriefly) {
                p { (catalogue.text(Text::RandomisedBrief)) }
            }
            form method="post" action=(self.to(catalogue)) {
                (self.hidden(device, "register"))
                (self.questions(form, mistakes, catalogue))
                button { (catalogue.text(Text::RegisterButton)) }
            }
            (about(device, catalogue))
        };
        Content::new(PortalPage::Form, Text::RegisterHeading, body)
    }

    /// The form once more: the voucher does not let the device in.
    pub(super) fn voucher_refused(
        &self,
        device: &Device,
        form: &Form,
        refusal: VoucherRefusal,
        catalogue: &Catalogue,
    ) -> Content {
        let (text, seconds) = match refusal {
            VoucherRefusal::Unknown => (Text::VoucherUnknown, None),
            VoucherRefusal::UsedUp => (Text::VoucherUsedUp, None),
            VoucherRefusal::TimeOver => (Text::VoucherTimeOver, None),
            VoucherRefusal::TooManyGuesses { wait_milliseconds } => {
                (Text::VoucherGuesses, Some(wait_milliseconds.div_ceil(1000).to_string()))
            }
        };
        let status = match seconds {
            Some(_) => StatusCode::TOO_MANY_REQUESTS,
            None => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let said = catalogue.filled(text, &[("seconds", seconds.as_deref().unwrap_or_default())]);
        let mistakes = [Mistake { field: Field::Voucher, said }];
        Content { status: Some(status), ..self.form(device, form, &mistakes, catalogue) }
    }

    /// What people have to say, and agree to.
    fn questions(&self, form: &Form, mistakes: &[Mistake], catalogue: &Catalogue) -> Markup {
        html! {
            @match self.settings.identify {
                Identify::Name => (text_field(
                    Field::Name, &form.name, "username", mistakes, catalogue,
                    [Text::NameLabel, Text::NameHint],
                )),
                Identify::Voucher => (text_field(
                    Field::Voucher, &form.voucher, "off", mistakes, catalogue,
                    [Text::VoucherLabel, Text::VoucherHint],
                )),
                Identify::Terms => {},
            }
            @if let Some((language, terms)) = self.terms_in(catalogue) {
                h2 #terms-heading { (catalogue.text(Text::TermsHeading)) }
                div class="terms" lang=[language.map(Language::tag)] dir="auto" tabindex="0" role="region" aria-labelledby="terms-heading" { (terms) }
                @let mistake = of(Field::Agree, mistakes);
                div class="field" {
                    @if let Some(mistake) = mistake { (error(mistake)) }
                    div class="tick" {
                        input #agree name="agree" type="checkbox" checked[form.agrees] aria-required="true"
                            aria-invalid=[mistake.map(|_| "true")]
                            aria-describedby=[mistake.map(|_| "agree-error")];
                        label for="agree" { (catalogue.text(Text::AgreeLabel)) }
                    }
                }
            }
        }
    }

    /// The terms in the page's language, and which it is; else those that are for anybody.
    fn terms_in(&self, catalogue: &Catalogue) -> Option<(Option<Language>, &Markup)> {
        let mut written = self.terms_by_language.iter();
        match written.find(|(language, _)| *language == catalogue.language) {
            Some((language, terms)) => Some((Some(*language), terms)),
            None => self.terms.as_ref().map(|terms| (None, terms)),
        }
    }

    fn member(&self, device: &Device, stay: &Stay, catalogue: &Catalogue) -> Content {
        let body = html! {
            p { (catalogue.text(Text::RegisteredIntro)) }
            dl {
                @if let Some(owner) = &stay.registration.owner {
                    dt { (catalogue.text(Text::RegisteredFor)) } dd { (foreign(owner)) }
                }
                dt { (catalogue.text(Text::RegisteredUntil)) }
                dd { (end(stay.registration.expires, catalogue)) }
                @if let Some(milliseconds) = stay.milliseconds_left {
                    dt { (catalogue.text(Text::TimeLeft)) }
                    dd { (time_left(milliseconds, catalogue)) }
                }
            }
            @if let Some(url) = &self.settings.continue_url {
                p { a class="button" href=(url) { (catalogue.text(Text::ContinueLink)) } }
            }
            @if self.may_extend(stay) {
                h2 { (catalogue.text(Text::ExtendHeading)) }
                p { (catalogue.text(Text::ExtendIntro)) }
                form method="post" action=(self.to(catalogue)) {
                    (self.hidden(device, "extend"))
                    button { (catalogue.text(Text::ExtendButton)) }
                }
            }
            p class="hint" { (catalogue.text(Text::RegisteredWait)) }
            (about(device, catalogue))
        };
        Content::new(PortalPage::Registered, Text::RegisteredHeading, body).marked(Mark::Good)
    }

    /// Whether this page may put off the end of a registration: of one that it would have made so itself,
    /// once half of its time is over.
    pub(super) fn may_extend(&self, stay: &Stay) -> bool {
        let (Some(lifetime), Some(left)) = (self.settings.lifetime_seconds, stay.milliseconds_left)
        else {
            return false;
        };
        self.settings.extendable
            && stay.registration.role == self.settings.role
            && left <= u64::from(lifetime) * 1000 / 2
    }

    /// What was sent from a page that was open for too long, or from another page.
    pub(super) fn old_form(&self, device: &Device, form: &Form, catalogue: &Catalogue) -> Content {
        let mut content = self.form(device, form, &[], catalogue);
        content.body = html! {
            div class="errors" role="alert" { p class="error" { (catalogue.text(Text::FormOld)) } }
            (content.body)
        };
        content.page = PortalPage::OldForm;
        content
    }

    /// What the device's network does with its hardware address; `None` if that is not a random one.
    fn randomised_addresses(&self, device: &Device) -> Option<RandomisedAddresses> {
        let known = self.randomised_addresses.get(&device.network).copied();
        known.filter(|_| device.hardware.is_randomised())
    }

    /// The device has to show its own hardware address.
    pub(super) fn randomised(&self, device: &Device, catalogue: &Catalogue) -> Content {
        let body = html! {
            p { (catalogue.text(Text::RandomisedIntro)) }
            ul {
                @for text in [Text::RandomisedApple, Text::RandomisedAndroid, Text::RandomisedWindows] {
                    li { (catalogue.text(text)) }
                }
            }
            (about(device, catalogue))
        };
        Content::new(PortalPage::Randomised, Text::RandomisedHeading, body).marked(Mark::Bad)
    }

    /// The owner has too many devices. Because nobody has proven to be the owner, the page shows no more of
    /// each than its owner needs to know it again.
    pub(super) fn limit(
        &self,
        device: &Device,
        form: &Form,
        devices: &[vestibule_core::Device],
        catalogue: &Catalogue,
    ) -> Content {
        let replaceable: Vec<_> =
            devices.iter().filter(|device| device.registration.suspended.is_none()).collect();
        // The first time, nothing has been chosen yet.
        let chosen_badly = !form.replaces.is_empty() || form.asks_to_replace;
        let mistakes: Vec<Mistake> = (chosen_badly && !replaceable.is_empty())
            .then(|| Mistake::new(Field::Replaces, catalogue, Text::LimitMissing))
            .into_iter()
            .collect();
        let (owner, count) = (shown(&form.name), devices.len().to_string());
        // The name keeps its direction to itself, as in an element of its own.
        let owner = format!("\u{2068}{owner}\u{2069}");
        let intro = catalogue.filled(Text::LimitIntro, &[("owner", &owner), ("count", &count)]);
        let mistake = of(Field::Replaces, &mistakes);
        let body = html! {
            (summary(&mistakes, catalogue))
            p { (intro) }
            @if replaceable.is_empty() {
                p { (catalogue.text(Text::LimitNone)) }
            } @else {
                form method="post" action=(self.to(catalogue)) {
                    (self.hidden(device, "register"))
                    input type="hidden" name="name" value=(form.name);
                    @if !form.voucher.is_empty() {
                        input type="hidden" name="voucher" value=(form.voucher);
                    }
                    input type="hidden" name="choosing" value="yes";
                    @if form.agrees { input type="hidden" name="agree" value="on"; }
                    fieldset aria-describedby=[mistake.map(|_| "replaces-error")] {
                        legend #replaces tabindex="-1" { (catalogue.text(Text::LimitLabel)) }
                        @if let Some(mistake) = mistake { (error(mistake)) }
                        @for (number, other) in replaceable.iter().enumerate() {
                            @let id = format!("replaces-{number}");
                            div class="tick" {
                                input id=(id) name="replaces" type="radio"
                                    value=(self.stamps.name_of(other.registration.hardware, device.hardware));
                                label for=(id) { (one_of_theirs(other, catalogue)) }
                            }
                        }
                    }
                    button { (catalogue.text(Text::LimitButton)) }
                }
            }
            p { a href=(self.to(catalogue)) { (catalogue.text(Text::BackLink)) } }
        };
        Content::new(PortalPage::Limit, Text::LimitHeading, body).marked(Mark::Bad)
    }

    /// The server cannot say yet.
    pub(super) fn busy(&self, catalogue: &Catalogue) -> Content {
        let seconds = AGAIN_SECONDS.to_string();
        let said = catalogue.filled(Text::BusyIntro, &[("seconds", &seconds)]);
        let content = told(PortalPage::Busy, Text::BusyHeading, &said);
        Content { again_after_seconds: Some(AGAIN_SECONDS), ..content }
    }

    /// No further device can be registered.
    pub(super) fn full(&self, catalogue: &Catalogue) -> Content {
        told(PortalPage::Full, Text::FullHeading, catalogue.text(Text::FullIntro)).marked(Mark::Bad)
    }

    /// The server made a mistake.
    pub(super) fn failed(&self, catalogue: &Catalogue) -> Content {
        self.way_back(PortalPage::Failed, Text::FailedIntro, catalogue)
    }

    /// More was sent than any form of ours sends.
    pub(super) fn too_large(&self, catalogue: &Catalogue) -> Content {
        self.way_back(PortalPage::TooLarge, Text::TooLargeIntro, catalogue)
    }

    fn way_back(&self, page: PortalPage, intro: Text, catalogue: &Catalogue) -> Content {
        let body = html! {
            p { (catalogue.text(intro)) }
            p { a href=(self.to(catalogue)) { (catalogue.text(Text::BackLink)) } }
        };
        Content::new(page, Text::FailedHeading, body).marked(Mark::Bad)
    }

    /// What a form carries unseen.
    fn hidden(&self, device: &Device, wish: &str) -> Markup {
        html! {
            input type="hidden" name="do" value=(wish);
            input type="hidden" name="stamp" value=(self.stamps.of(device.address, device.hardware));
        }
    }
}

fn told(page: PortalPage, heading: Text, said: &str) -> Content {
    Content::new(page, heading, html! { p { (said) } })
}

fn held_back(hold: &Hold, catalogue: &Catalogue) -> Content {
    match hold {
        Hold::Suspended(reason) => {
            let body = html! {
                p { (catalogue.text(Text::SuspendedIntro)) }
                @if let Some(reason) = reason {
                    p { (catalogue.text(Text::SuspendedReason)) ": " (foreign_at_length(reason)) }
                }
            };
            Content::new(PortalPage::HeldBack, Text::SuspendedHeading, body)
        }
        Hold::Quarantined(url) => {
            let body = html! {
                p { (catalogue.text(Text::QuarantinedIntro)) }
                @if let Some(url) = url {
                    p { a class="button" href=(url) { (catalogue.text(Text::QuarantinedLink)) } }
                }
            };
            Content::new(PortalPage::HeldBack, Text::QuarantinedHeading, body)
        }
    }
    .marked(Mark::Bad)
}

/// A device of somebody who may not be who looks at the page: the end of its hardware address, and when.
fn one_of_theirs(device: &vestibule_core::Device, catalogue: &Catalogue) -> Markup {
    let hardware = device.registration.hardware.to_string();
    let ending: Vec<&str> = hardware.rsplit(':').take(2).collect();
    let ending: Vec<&str> = ending.into_iter().rev().collect();
    let day = |time: Timestamp| {
        let text = time_text(time).unwrap_or_default();
        text.get(..10).unwrap_or_default().to_owned()
    };
    let (date, seen) = (day(device.registration.registered), day(device.seen));
    let said = catalogue.filled(Text::LimitDevice, &[("date", &date), ("seen", &seen)]);
    html! { (technical(&format!("…:{}", ending.join(":")))) ", " (said) }
}

fn elsewhere(address: IpAddr, intro: Text, catalogue: &Catalogue) -> Content {
    let said = catalogue.filled(intro, &[("address", &address.to_string())]);
    told(PortalPage::Elsewhere, Text::ElsewhereHeading, &said).marked(Mark::Bad)
}

/// All mistakes at the top, each a way to its field.
fn summary(mistakes: &[Mistake], catalogue: &Catalogue) -> Markup {
    html! {
        @if !mistakes.is_empty() {
            div class="errors" role="alert" {
                h2 { (catalogue.text(Text::ErrorsHeading)) }
                ul {
                    @for mistake in mistakes {
                        li { a href={ "#" (mistake.field.id()) } { (mistake.said) } }
                    }
                }
            }
        }
    }
}

fn of(field: Field, mistakes: &[Mistake]) -> Option<&Mistake> {
    mistakes.iter().find(|mistake| mistake.field == field)
}

/// A mistake, where its field is.
fn error(mistake: &Mistake) -> Markup {
    html! {
        p class="error" id={ (mistake.field.id()) "-error" } {
            span aria-hidden="true" { "⚠ " }
            (mistake.said)
        }
    }
}

/// A line to be filled in, with its label, its hint and its mistake.
fn text_field(
    field: Field,
    value: &str,
    autocomplete: &str,
    mistakes: &[Mistake],
    catalogue: &Catalogue,
    [label, hint]: [Text; 2],
) -> Markup {
    let (id, mistake) = (field.id(), of(field, mistakes));
    let hint_id = format!("{id}-hint");
    let described =
        if mistake.is_some() { format!("{hint_id} {id}-error") } else { hint_id.clone() };
    html! {
        div class="field" {
            label for=(id) { (catalogue.text(label)) }
            p class="hint" id=(hint_id) { (catalogue.text(hint)) }
            @if let Some(mistake) = mistake { (error(mistake)) }
            input id=(id) name=(id) type="text" value=(value) dir="auto" autocomplete=(autocomplete)
                autocapitalize="none" autocorrect="off" spellcheck="false" maxlength="200"
                aria-required="true" aria-invalid=[mistake.map(|_| "true")] aria-describedby=(described);
        }
    }
}

/// What the network knows of the device: for those who ask for help.
fn about(device: &Device, catalogue: &Catalogue) -> Markup {
    html! {
        details {
            summary { (catalogue.text(Text::DeviceHeading)) }
            dl {
                @if let Some(name) = &device.host_name {
                    dt { (catalogue.text(Text::DeviceName)) } dd { (foreign(name)) }
                }
                dt { (catalogue.text(Text::DeviceAddress)) } dd { (technical(&device.address.to_string())) }
                dt { (catalogue.text(Text::DeviceHardware)) } dd { (technical(&device.hardware.to_string())) }
                dt { (catalogue.text(Text::DeviceNetwork)) } dd { (technical(&device.network)) }
            }
        }
    }
}

fn end(expires: Option<Timestamp>, catalogue: &Catalogue) -> Markup {
    // An end beyond the year 9999 is none.
    let Some(time) = expires.and_then(time_text) else {
        return html! { (catalogue.text(Text::NeverEnds)) };
    };
    let to_the_minute = time.get(..16).unwrap_or(&time).replace('T', " ");
    html! { time datetime=(time) { (technical(&format!("{to_the_minute} UTC"))) } }
}

/// The two largest units: nobody reads more.
fn time_left(milliseconds: u64, catalogue: &Catalogue) -> String {
    let minutes = milliseconds / 60_000;
    let parts = [
        (minutes / 1440, Text::UnitDays),
        (minutes / 60 % 24, Text::UnitHours),
        (minutes % 60, Text::UnitMinutes),
    ];
    let parts = parts.into_iter().skip_while(|(count, _)| *count == 0).take(2);
    let shown: Vec<String> = parts
        .filter(|(count, _)| *count > 0)
        // A number and its unit stay on one line.
        .map(|(count, unit)| format!("{count}\u{a0}{}", catalogue.text(unit)))
        .collect();
    if shown.is_empty() {
        return catalogue.text(Text::LessThanAMinute).to_owned();
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_config::Language;

    #[test]
    fn what_is_left_is_told_in_two_units() {
        let english = Catalogue::of(Language::English);
        for (seconds, said) in [
            (0, "less than a minute"),
            (59, "less than a minute"),
            (60, "1\u{a0}min"),
            (3600, "1\u{a0}h"),
            (3 * 3600 + 300, "3\u{a0}h 5\u{a0}min"),
            (7 * 86_400 + 59, "7\u{a0}d"),
            (7 * 86_400 + 3 * 3600 + 120, "7\u{a0}d 3\u{a0}h"),
        ] {
            assert_eq!(time_left(seconds * 1000, &english), said);
        }
    }
}
