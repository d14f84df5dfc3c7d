//! Lease tokens in replies: with every ACK of the lease, also one that is answered from it, and in no
//! OFFER.

use super::*;
use crate::options::code;
use crate::{LeaseToken, LeaseTokenRefusal, LeaseTokens};

const URL: &str = "https://register.example/captive";

fn bench() -> Bench {
    let mut configuration = configuration(100);
    configuration.networks[0].options.insert(code::CAPTIVE_PORTAL, URL.as_bytes());
    let now = Timestamp::from_seconds(1_000_000);
    let server = Server::new(configuration, [SERVER], [], now);
    Bench { server: server.with_lease_tokens(LeaseTokens::new(&[7; 32], 86_400, URL)), now }
}

fn url(reply: &Reply) -> String {
    String::from_utf8(reply.option(code::CAPTIVE_PORTAL).unwrap().to_vec()).unwrap()
}

fn token(reply: &Reply) -> LeaseToken {
    let url = url(reply);
    let token = url.strip_prefix(URL).and_then(|rest| rest.strip_prefix("?lease-token="));
    token.unwrap_or_else(|| panic!("no token in {url}")).parse().unwrap()
}

fn lease_of(bench: &Bench, token: LeaseToken) -> Result<Ipv4Addr, LeaseTokenRefusal> {
    let QueryAnswer::LeaseOfToken(found) =
        bench.server.query(bench.now, &Query::LeaseOfToken(token))
    else {
        panic!("another answer")
    };
    found.map(|view| view.lease.address)
}

#[test]
fn every_ack_of_a_lease_has_its_token_and_it_stays_good_with_renewals() {
    let mut bench = bench();
    let offer = bench.reply(request(1, MessageType::Discover)).unwrap();
    assert_eq!(url(&offer), URL, "nobody has a lease yet");
    let mut select = request(1, MessageType::Request);
    select.requested_address = Some(offer.yiaddr);
    select.server_identifier = Some(SERVER);
    let first = token(&bench.reply(select).unwrap());
    assert_eq!(lease_of(&bench, first), Ok(offer.yiaddr));
    for seconds in [1, 60, 60] {
        bench.pass(seconds);
        let mut renewal = request(1, MessageType::Request);
        renewal.ciaddr = offer.yiaddr;
        let again = token(&bench.reply(renewal).unwrap());
        assert_eq!(again, first, "the same lease");
        assert_eq!(lease_of(&bench, first), Ok(offer.yiaddr));
    }
    bench.pass(121);
    assert_eq!(lease_of(&bench, first), Err(LeaseTokenRefusal::Ended));
    bench.lease(1).unwrap();
    assert_eq!(lease_of(&bench, first), Err(LeaseTokenRefusal::Invalid), "a new lease");
}

#[test]
fn the_next_holder_of_an_address_gains_nothing_by_the_token_of_the_last() {
    let mut bench = bench();
    let address = bench.lease(1).unwrap();
    let now = bench.now;
    let QueryAnswer::LeaseToken(Some(old)) = bench.server.query(now, &Query::LeaseToken(address))
    else {
        panic!("it has one")
    };
    bench.pass(121);
    let mut select = request(2, MessageType::Request);
    select.requested_address = Some(address);
    select.server_identifier = Some(SERVER);
    bench.reply(select).unwrap();
    let register = Register::of(RegistrationTarget::Token(old));
    let effects = bench.input(Input::Command(Ticket(0), Command::Register(register)));
    let refused = effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Answer { answer: Answer::LeaseTokenRefused(LeaseTokenRefusal::Invalid), .. }
        )
    });
    assert!(refused, "{effects:?}");
}

#[test]
fn a_url_of_the_networks_own_is_left_alone() {
    let mut bench = bench();
    let mut configuration = configuration(100);
    configuration.networks[0].options.insert(code::CAPTIVE_PORTAL, *b"https://other.example/");
    let server = Server::new(configuration, [SERVER], [], bench.now);
    bench.server = server.with_lease_tokens(LeaseTokens::new(&[7; 32], 86_400, URL));
    let offer = bench.reply(request(1, MessageType::Discover)).unwrap();
    let mut select = request(1, MessageType::Request);
    select.requested_address = Some(offer.yiaddr);
    select.server_identifier = Some(SERVER);
    assert_eq!(url(&bench.reply(select).unwrap()), "https://other.example/");
}
