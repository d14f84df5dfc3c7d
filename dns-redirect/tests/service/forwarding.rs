//! The portal's name and the walled garden: answered as the upstream resolver does.

use crate::lab::{
    Client, Lab, PORTAL, Upstream, addresses, dns, gate, name, nobody, question, soa, until,
    with_edns,
};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::UdpSocket;
use vestibule_dns::limits::{
    UPSTREAM_FAILURES_MAX, UPSTREAM_LOOKUPS_MAX, UPSTREAM_LOOKUPS_PER_SOURCE_MAX,
    UPSTREAM_PROBES_PER_SOURCE_MAX, UPSTREAM_REST, UPSTREAM_TIMEOUT,
};

const TRUE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

async fn ask(lab: &Lab, text: &str, record_type: RecordType) -> Message {
    let query = question(text, record_type);
    let answer = lab.ask(&query).await;
    assert_eq!(timeless(&answer), timeless(&lab.ask_tcp(&query).await));
    assert_eq!(answer.queries, query.queries);
    assert!(answer.edns.is_none());
    answer
}

/// Without the time that records have left, which goes on.
fn timeless(message: &Message) -> Message {
    let mut message = message.clone();
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        record.ttl = 0;
    }
    message
}

#[tokio::test]
async fn the_garden_is_answered_truly_and_nothing_else_is_asked() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let portal = ask(&lab, "register.campus.example.", RecordType::A).await;
    assert_eq!(addresses(&portal), [(PORTAL, 3600)]);
    let answer = ask(&lab, "SSO.example.", RecordType::A).await;
    assert_eq!(addresses(&answer), [(TRUE, 300)]);
    assert_eq!(addresses(&ask(&lab, "a.b.idp.example.", RecordType::A).await), [(TRUE, 300)]);
    // Not in the garden.
    for text in ["x.register.campus.example.", "idp.example.", "www.sso.example."] {
        assert_eq!(addresses(&ask(&lab, text, RecordType::A).await)[0].0, PORTAL);
    }
    assert_eq!(
        upstream.asked(),
        [
            // Over TCP these are answered by what was said over UDP.
            "register.campus.example. A udp",
            "SSO.example. A udp",
            "a.b.idp.example. A udp",
        ]
    );
    assert_eq!((lab.counts().forwarded, lab.counts().lies), (3, 6));
    assert_eq!(lab.counts().forwarded_from_cache, 3);
}

/// Everybody asks for the portal when the power comes back.
#[tokio::test]
async fn a_crowd_that_asks_for_the_portal_costs_one_look_up() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let query = question("register.campus.example.", RecordType::A);
    assert_eq!(addresses(&lab.ask(&query).await), [(PORTAL, 3600)]);
    let crowd = 4 * UPSTREAM_LOOKUPS_MAX as u64;
    for number in 0..crowd {
        // Each with a number and a spelling of its own.
        let spelling =
            if number % 2 == 0 { "REGISTER.campus.example." } else { "register.campus.example." };
        let query = question(spelling, RecordType::A);
        let answer = lab.ask(&query).await;
        assert_eq!((answer.metadata.id, &answer.queries), (query.metadata.id, &query.queries));
        assert_eq!(addresses(&answer)[0].0, PORTAL);
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!((lab.counts().forwarded_from_cache, lab.counts().forward_shed), (crowd, 0));
    // So do names below a wildcard; types that no device asks for are not kept; and the size of an answer
    // is the asker's own.
    for text in ["a.idp.example.", "a.idp.example."] {
        lab.ask(&question(text, RecordType::A)).await;
    }
    lab.ask(&question("register.campus.example.", RecordType::TXT)).await;
    lab.ask(&question("register.campus.example.", RecordType::TXT)).await;
    assert_eq!(upstream.asked().len(), 4);
    let with_edns = lab.ask(&with_edns(query.clone(), 0, 1232)).await;
    assert!(with_edns.edns.is_some() && addresses(&with_edns)[0].0 == PORTAL);
    assert_eq!(upstream.asked().len(), 4);
}

#[tokio::test]
async fn the_portal_is_known_for_a_while_when_no_resolver_answers_any_more() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let query = question("register.campus.example.", RecordType::A);
    lab.ask(&query).await;
    drop(upstream);
    assert_eq!(addresses(&lab.ask(&query).await)[0].0, PORTAL);
    assert_eq!(lab.counts().forwarded_from_cache, 1);
}

#[tokio::test]
async fn negative_answers_and_codes_are_passed_on() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let gone = ask(&lab, "gone.idp.example.", RecordType::A).await;
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(soa(&gone), Some((4321, 1234)));
    assert_eq!(gone.authorities[0].name, name("example."));
    let no_data = ask(&lab, "register.campus.example.", RecordType::HTTPS).await;
    assert_eq!(no_data.metadata.response_code, ResponseCode::NoError);
    assert!(no_data.answers.is_empty());
    assert_eq!(soa(&no_data), Some((4321, 1234)));
    for (text, code) in [
        ("refused.idp.example.", ResponseCode::Refused),
        ("failing.idp.example.", ResponseCode::ServFail),
        ("bare.idp.example.", ResponseCode::NotImp),
    ] {
        let answer = ask(&lab, text, RecordType::A).await;
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!(soa(&answer), None);
    }
    // The resolver answered: that it did not like the question is not a failure to reach it.
    assert_eq!(lab.counts().forward_failed, 0);
}

#[tokio::test]
async fn a_chain_of_aliases_comes_whole() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let answer = ask(&lab, "alias.idp.example.", RecordType::A).await;
    let target = name("Target.Elsewhere.example.");
    assert_eq!(answer.answers.len(), 2);
    assert!(matches!(&answer.answers[0].data, RData::CNAME(to) if to.0 == target));
    assert_eq!((answer.answers[0].ttl, answer.answers[1].ttl), (77, 88));
    assert_eq!(answer.answers[1].name, target);
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_again_over_tcp() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    // 40 addresses: more than 512 bytes, less than 1232.
    let query = question("medium.idp.example.", RecordType::A);
    let short = lab.ask(&query).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = lab.ask(&with_edns(query.clone(), 0, 1232)).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(addresses(&whole).len(), 40);
    assert_eq!(addresses(&lab.ask_tcp(&query).await).len(), 40);
    // 200 addresses: more than UDP takes on either side.
    let query = with_edns(question("large.idp.example.", RecordType::A), 0, 4096);
    let short = lab.ask(&query).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    assert_eq!(short.edns.unwrap().max_payload(), 1232);
    let whole = lab.ask_tcp(&query).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(addresses(&whole).len(), 200);
    assert!(upstream.asked().contains(&"large.idp.example. A tcp".to_owned()));
    assert_eq!(lab.counts().truncated, 2);
}

#[tokio::test]
async fn a_client_that_validates_gets_the_signatures() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let mut query = with_edns(question("signed.idp.example.", RecordType::A), 0, 1232);
    let plain = lab.ask(&query).await;
    assert_eq!(plain.answers.len(), 1);
    assert!(!plain.metadata.authentic_data);
    query.edns.as_mut().unwrap().set_dnssec_ok(true);
    let signed = lab.ask(&query).await;
    assert!(signed.metadata.authentic_data);
    assert_eq!(signed.answers.len(), 2);
    assert_eq!(u16::from(signed.answers[1].record_type()), 46);
    assert!(
        matches!(&signed.answers[1].data, RData::Unknown { rdata, .. } if rdata.anything == [7; 40])
    );
}

#[tokio::test]
async fn answers_to_other_questions_are_not_believed() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let answer = ask(&lab, "spoofed.idp.example.", RecordType::A).await;
    assert_eq!(addresses(&answer), [(TRUE, 60)]);
}

#[tokio::test]
async fn a_dead_upstream_is_a_quick_failure() {
    let (dead, _held) = nobody().await;
    let lab = Lab::start(&[dead]);
    for _ in 0..20 {
        let answer = ask(&lab, "sso.example.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        assert!(answer.answers.is_empty() && answer.authorities.is_empty());
    }
    assert_eq!(lab.counts().forward_failed, 40);
    let lie = ask(&lab, "www.example.edu.", RecordType::A).await;
    assert_eq!(addresses(&lie)[0].0, PORTAL);
}

#[tokio::test]
async fn the_next_resolver_is_asked_if_the_first_is_dead() {
    let upstream = Upstream::start().await;
    let (dead, _held) = nobody().await;
    let lab = Lab::start(&[dead, upstream.address]);
    for number in 0..5 {
        let name = format!("a{number}.idp.example.");
        assert_eq!(addresses(&ask(&lab, &name, RecordType::A).await), [(TRUE, 300)]);
    }
    assert_eq!(upstream.asked().len(), 5);
    assert_eq!(lab.counts().forward_failed, 0);
}

#[tokio::test]
async fn without_a_free_slot_the_failure_is_at_once_and_lies_go_on() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let held = Client::new(lab.udp).await;
    for index in 0..UPSTREAM_LOOKUPS_PER_SOURCE_MAX {
        let query = question(&format!("{index}.silent.idp.example."), RecordType::A);
        held.send(&query.to_vec().unwrap()).await;
    }
    until(|| upstream.asked().len() == UPSTREAM_LOOKUPS_PER_SOURCE_MAX).await;
    let shed = lab.ask(&question("sso.example.", RecordType::A)).await;
    assert_eq!(shed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(lab.counts().forward_shed, 1);
    let lie = lab.ask(&question("www.example.edu.", RecordType::A)).await;
    assert_eq!(addresses(&lie)[0].0, PORTAL);
    // Those that hold the slots are answered, and give them back.
    upstream.release.add_permits(UPSTREAM_LOOKUPS_PER_SOURCE_MAX);
    for _ in 0..UPSTREAM_LOOKUPS_PER_SOURCE_MAX {
        assert_eq!(addresses(&held.receive_message().await), [(TRUE, 60)]);
    }
    assert_eq!(addresses(&ask(&lab, "sso.example.", RecordType::A).await), [(TRUE, 300)]);
}

#[tokio::test]
async fn made_up_names_of_many_hosts_leave_slots_for_those_of_the_portal_and_the_garden() {
    const HOSTS: usize = UPSTREAM_LOOKUPS_MAX / UPSTREAM_LOOKUPS_PER_SOURCE_MAX + 1;
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let mut sockets = Vec::new();
    for host in 0..HOSTS {
        let address = Ipv4Addr::new(127, 0, 1, u8::try_from(host + 1).unwrap());
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        for index in 0..UPSTREAM_LOOKUPS_PER_SOURCE_MAX {
            let text = format!("{host}-{index}.silent.idp.example.");
            let query = question(&text, RecordType::A).to_vec().unwrap();
            socket.send_to(&query, lab.udp).await.unwrap();
        }
        sockets.push(socket);
    }
    let asked = u64::try_from(HOSTS * UPSTREAM_LOOKUPS_PER_SOURCE_MAX).unwrap();
    until(|| lab.counts().forward_shed + upstream.asked().len() as u64 == asked).await;
    for text in ["register.campus.example.", "sso.example."] {
        let answer = lab.ask(&question(text, RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{text}");
    }
    let made_up = lab.ask(&question("another.idp.example.", RecordType::A)).await;
    assert_eq!(made_up.metadata.response_code, ResponseCode::ServFail);
}

/// Has the resolver time out until it counts as down. Time is not real: it leaps whenever everybody
/// waits.
async fn take_down(lab: &Lab, upstream: &Upstream) {
    let already = upstream.asked().len();
    for _ in 0..UPSTREAM_FAILURES_MAX {
        let before = tokio::time::Instant::now();
        let answer = lab.ask(&question("slow.silent.idp.example.", RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        assert!(before.elapsed() >= UPSTREAM_TIMEOUT);
    }
    let failures = usize::try_from(UPSTREAM_FAILURES_MAX).unwrap();
    assert_eq!(upstream.asked().len(), already + failures);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_down_gets_no_storm() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    take_down(&lab, &upstream).await;
    // A few look-ups still try; every other one fails at once and costs the resolver no packet.
    let asked = upstream.asked().len();
    let before = tokio::time::Instant::now();
    let held = Client::new(lab.udp).await;
    for index in 0..UPSTREAM_PROBES_PER_SOURCE_MAX {
        let query = question(&format!("{index}.silent.idp.example."), RecordType::A);
        held.send(&query.to_vec().unwrap()).await;
    }
    for _ in 0..10 {
        let answer = lab.ask(&question("sso.example.", RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert!(before.elapsed() < UPSTREAM_TIMEOUT);
    for _ in 0..UPSTREAM_PROBES_PER_SOURCE_MAX {
        let answer = held.receive_message().await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(upstream.asked().len(), asked + UPSTREAM_PROBES_PER_SOURCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn slow_names_do_not_take_the_portals_name_away() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    take_down(&lab, &upstream).await;
    let portal = lab.ask(&question("register.campus.example.", RecordType::A)).await;
    assert_eq!(addresses(&portal), [(PORTAL, 3600)]);
    // And with that the resolver is up again, for everybody.
    take_down(&lab, &upstream).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_down_is_passed_over_and_tried_again() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let lab = Lab::start(&[first.address, second.address]);
    let ask = async |text: &str| addresses(&lab.ask(&question(text, RecordType::A)).await);
    second.release.add_permits(usize::try_from(UPSTREAM_FAILURES_MAX).unwrap());
    for number in 0..UPSTREAM_FAILURES_MAX {
        assert_eq!(ask(&format!("{number}.silent.idp.example.")).await, [(TRUE, 60)]);
    }
    let asked = first.asked().len();
    for number in 0..5 {
        ask(&format!("a{number}.idp.example.")).await;
    }
    assert_eq!((first.asked().len(), second.asked().len()), (asked, asked + 5));
    tokio::time::advance(UPSTREAM_REST + Duration::from_millis(1)).await;
    for number in 0..5 {
        assert_eq!(ask(&format!("b{number}.idp.example.")).await, [(TRUE, 300)]);
    }
    assert_eq!((first.asked().len(), second.asked().len()), (asked + 5, asked + 5));
}

#[tokio::test]
async fn without_names_everything_is_a_lie() {
    let upstream = Upstream::start().await;
    let mut gate = gate();
    gate.walled_garden.clear();
    gate.portal.as_mut().unwrap().host_name = None;
    let lab = Lab::start_with(&dns(&[upstream.address]), &gate);
    for text in ["register.campus.example.", "sso.example.", "10.0.0.80."] {
        assert_eq!(addresses(&ask(&lab, text, RecordType::A).await)[0].0, PORTAL);
    }
    assert_eq!(upstream.asked(), [""; 0]);
}
