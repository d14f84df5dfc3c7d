//! No true answer leaves before the gate lets its addresses pass; and whatever becomes of who owns the
//! gate, the resolver says so at once and goes on when it is there again.

use crate::lab::{Lab, PORTAL, Upstream, addresses, dns, gate, question, until};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vestibule_config::garden_link::{self, HEAD_BYTES, Verdict};
use vestibule_config::{GardenEntry, Gate};
use vestibule_dns::limits::{
    GARDEN_ADDRESSES_PER_ENTRY_MAX, GARDEN_SLACK_SECONDS, GARDEN_TTL_SECONDS_MAX,
};

const TRUE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Who owns the gate, and does with requests as it is told.
struct Owner {
    asked: Arc<Mutex<Vec<(Ipv4Addr, u32)>>>,
    /// One permit lets one request be answered.
    release: Arc<Semaphore>,
    _serving: JoinSet<()>,
}

impl Owner {
    fn start(path: &Path, verdict: Verdict) -> Self {
        let _gone = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let (asked, release) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let mut serving = JoinSet::new();
        let (note, go) = (Arc::clone(&asked), Arc::clone(&release));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (note, go) = (Arc::clone(&note), Arc::clone(&go));
                connections.spawn(async move { answer(stream, verdict, &note, &go).await });
            }
        });
        Self { asked, release, _serving: serving }
    }

    fn willing(path: &Path, verdict: Verdict) -> Self {
        let owner = Self::start(path, verdict);
        owner.release.add_permits(Semaphore::MAX_PERMITS);
        owner
    }

    fn asked(&self) -> Vec<(Ipv4Addr, u32)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: UnixStream,
    verdict: Verdict,
    asked: &Mutex<Vec<(Ipv4Addr, u32)>>,
    release: &Semaphore,
) {
    loop {
        let mut head = [0; HEAD_BYTES];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut body = vec![0; garden_link::request_bytes(head).unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let addresses = garden_link::read_request(&body);
        asked.lock().unwrap().extend(&addresses);
        let _released = release.acquire().await.unwrap();
        let verdicts = vec![verdict; addresses.len()];
        let _gone = stream.write_all(&garden_link::answer(&verdicts).unwrap()).await;
    }
}

fn with_socket(path: PathBuf) -> Gate {
    Gate { garden_socket: Some(path), ..gate() }
}

async fn ask(lab: &Lab, text: &str) -> Message {
    lab.ask(&question(text, RecordType::A)).await
}

fn failed(answer: &Message) -> bool {
    answer.metadata.response_code == ResponseCode::ServFail && answer.answers.is_empty()
}

#[tokio::test]
async fn an_answer_leaves_when_the_gate_is_open_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garden");
    let owner = Owner::start(&path, Verdict::Open);
    let upstream = Upstream::start().await;
    let lab = Lab::start_with(&dns(&[upstream.address]), &with_socket(path));
    let query = question("sso.example.", RecordType::A);
    let waiting = lab.ask(&query);
    let opened = async {
        until(|| !owner.asked().is_empty()).await;
        // The resolver has the answer and the owner has the request: a lie passes meanwhile, so that an
        // answer which did not wait would have come before it.
        assert_eq!(addresses(&ask(&lab, "www.example.edu.").await)[0].0, PORTAL);
        assert_eq!(lab.counts().garden_unavailable, 0);
        owner.release.add_permits(1);
    };
    let answer = tokio::select! {
        biased;
        (answer, ()) = async { tokio::join!(waiting, opened) } => answer,
    };
    assert_eq!(addresses(&answer), [(TRUE, 300)]);
    assert_eq!(owner.asked(), [(TRUE, 300 + GARDEN_SLACK_SECONDS)]);
    // What is open is not asked for again, nor is a name without addresses.
    assert_eq!(addresses(&ask(&lab, "sso.example.").await)[0].0, TRUE);
    assert!(ask(&lab, "gone.idp.example.").await.answers.is_empty());
    assert_eq!(owner.asked().len(), 1);
    // By way of an alias, and for no longer than the gate can be open.
    owner.release.add_permits(2);
    assert_eq!(ask(&lab, "alias.idp.example.").await.answers.len(), 2);
    assert_eq!(owner.asked()[1], (Ipv4Addr::new(192, 0, 2, 9), 88 + GARDEN_SLACK_SECONDS));
    ask(&lab, "register.campus.example.").await;
    assert_eq!(owner.asked()[2], (PORTAL, GARDEN_TTL_SECONDS_MAX + GARDEN_SLACK_SECONDS));
}

#[tokio::test]
async fn what_the_gate_does_not_take_is_not_answered_and_what_no_name_opens_is() {
    for (verdict, code) in [
        (Verdict::Full, ResponseCode::ServFail),
        (Verdict::Unavailable, ResponseCode::ServFail),
        // The gate refuses it, so the answer is as true as without a gate.
        (Verdict::Refused, ResponseCode::NoError),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garden");
        let owner = Owner::willing(&path, verdict);
        let upstream = Upstream::start().await;
        let lab = Lab::start_with(&dns(&[upstream.address]), &with_socket(path));
        let mut asked = 0;
        for _ in 0..3 {
            let answer = ask(&lab, "sso.example.").await;
            assert_eq!(answer.metadata.response_code, code, "{verdict:?}");
            assert_eq!(answer.answers.is_empty(), code == ResponseCode::ServFail);
            asked += 1;
        }
        let counts = lab.counts();
        let expected = match verdict {
            Verdict::Full => (asked, 0, 3),
            Verdict::Unavailable => (asked, 3, 0),
            _ => (1, 0, 0),
        };
        let found = (owner.asked().len(), counts.garden_unavailable, counts.garden_full);
        assert_eq!(found, expected, "{verdict:?}");
        // Nobody else waits for it.
        assert_eq!(addresses(&ask(&lab, "www.example.edu.").await)[0].0, PORTAL);
    }
}

#[tokio::test]
async fn an_owner_who_goes_takes_what_was_known_with_it_and_one_who_comes_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garden");
    let upstream = Upstream::start().await;
    let lab = Lab::start_with(&dns(&[upstream.address]), &with_socket(path.clone()));
    assert!(failed(&ask(&lab, "sso.example.").await), "there is none yet");
    assert_eq!(lab.counts().garden_unavailable, 1);
    // Comes, and is found.
    let owner = Owner::willing(&path, Verdict::Open);
    open_again(&lab).await;
    drop(owner);
    // What the last one opened counts for nothing now: its table may be gone with it.
    std::fs::remove_file(&path).unwrap();
    loop {
        if failed(&ask(&lab, "sso.example.").await) {
            break;
        }
    }
    let owner = Owner::willing(&path, Verdict::Open);
    open_again(&lab).await;
    assert!(!owner.asked().is_empty());
}

/// Asks until there is an answer.
async fn open_again(lab: &Lab) {
    loop {
        let answer = ask(lab, "sso.example.").await;
        if !failed(&answer) {
            assert_eq!(addresses(&answer)[0].0, TRUE);
            return;
        }
    }
}

/// Whoever rules over names below a wildcard gives each of them another address.
#[tokio::test]
async fn one_wildcard_cannot_take_the_room_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garden");
    let owner = Owner::willing(&path, Verdict::Open);
    let upstream = Upstream::start().await;
    let mut gate = with_socket(path);
    gate.walled_garden.push(GardenEntry::Below("many.example".into()));
    let lab = Lab::start_with(&dns(&[upstream.address]), &gate);
    let max = u16::try_from(GARDEN_ADDRESSES_PER_ENTRY_MAX).unwrap();
    for number in 0..max {
        let answer = ask(&lab, &format!("n{number}.many.example.")).await;
        let [high, low] = number.to_be_bytes();
        assert_eq!(addresses(&answer)[0].0, Ipv4Addr::new(198, 51, high, low));
    }
    assert!(failed(&ask(&lab, &format!("n{max}.many.example.")).await));
    assert_eq!((lab.counts().garden_full, owner.asked().len()), (1, usize::from(max)));
    // What is open stays open, and others have their own room.
    assert!(!failed(&ask(&lab, "n7.many.example.").await));
    assert_eq!(addresses(&ask(&lab, "login.idp.example.").await)[0].0, TRUE);
    assert_eq!(addresses(&ask(&lab, "sso.example.").await)[0].0, TRUE);
}
