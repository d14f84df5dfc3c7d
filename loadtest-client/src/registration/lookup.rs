//! What a client asks of DNS, and what it makes of the answer. The only file that names types of hickory.
//!
//! It promises that an answer to another question, of another number or damaged is not taken, and that a
//! question is asked again every second until its time is over.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long an answer is waited for before the question is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it takes to ask again where a packet was refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// Bytes of an answer that are read; a longer one is cut, and then is none.
const ANSWER_BYTES_MAX: usize = 4096;

/// What came to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These addresses, perhaps none.
    Addresses(Vec<Ipv4Addr>),
    /// The server refused, by this code.
    Refused(String),
}

/// Whether something is a name that can be asked for; if not, why.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    Name::from_ascii(name).map(drop).map_err(|error| format!("'{name}' is no name: {error}"))
}

/// Asks for the IPv4 addresses of `name` until an answer comes, or until `deadline`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if none came, or what the kernel said last.
pub(super) async fn addresses(
    socket: &UdpSocket,
    name: &str,
    deadline: Instant,
) -> io::Result<Answer> {
    let question = question(name).map_err(io::Error::other)?;
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let mut said = io::Error::from(io::ErrorKind::TimedOut);
    while Instant::now() < deadline {
        let until = deadline.min(Instant::now() + AGAIN);
        let answer = async {
            socket.send(&bytes).await?;
            awaited(socket, &question).await
        };
        match timeout_at(until, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => {
                said = error;
                sleep_until(deadline.min(Instant::now() + AFTER_REFUSAL)).await;
            }
            Err(_elapsed) => {}
        }
    }
    Err(said)
}

/// A question for the IPv4 addresses of a name, with a number of its own.
fn question(name: &str) -> Result<Message, hickory_proto::ProtoError> {
    let mut name = Name::from_ascii(name)?;
    // A whole name, as the one in the answer will be.
    name.set_fqdn(true);
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    Ok(question)
}

/// The answer to a question; everything else that comes is passed over.
async fn awaited(socket: &UdpSocket, question: &Message) -> io::Result<Answer> {
    let mut buffer = [0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).and_then(|bytes| read(bytes, question)) {
            return Ok(answer);
        }
    }
}

fn read(bytes: &[u8], question: &Message) -> Option<Answer> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_ours = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    if !is_ours {
        return None;
    }
    if answer.metadata.response_code != ResponseCode::NoError {
        return Some(Answer::Refused(answer.metadata.response_code.to_string()));
    }
    let addresses = answer.answers.iter().filter_map(|record| match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    Some(Answer::Addresses(addresses.collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;

    fn answer(question: &Message) -> Message {
        let mut answer = question.clone().into_response();
        let name = question.queries[0].name.clone();
        let address = Ipv4Addr::new(203, 0, 113, 10);
        answer.add_answer(Record::from_rdata(name, 5, RData::A(A(address))));
        answer
    }

    #[test]
    fn only_the_answer_to_the_question_is_taken() {
        let question = question("www.example.edu").unwrap();
        let good = answer(&question);
        let addresses = Answer::Addresses(vec![Ipv4Addr::new(203, 0, 113, 10)]);
        assert_eq!(read(&good.to_vec().unwrap(), &question), Some(addresses));
        let mut other = good.clone();
        other.metadata.id = other.metadata.id.wrapping_add(1);
        assert_eq!(read(&other.to_vec().unwrap(), &question), None);
        assert_eq!(read(&question.to_vec().unwrap(), &question), None, "it is no answer");
        let mut refused = good;
        refused.metadata.response_code = ResponseCode::Refused;
        let Some(Answer::Refused(code)) = read(&refused.to_vec().unwrap(), &question) else {
            panic!("not refused")
        };
        assert!(!code.is_empty());
    }

    #[test]
    fn a_cut_answer_is_none_and_never_a_panic() {
        let question = question("www.example.edu").unwrap();
        let whole = answer(&question).to_vec().unwrap();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length], &question), None);
        }
    }
}
