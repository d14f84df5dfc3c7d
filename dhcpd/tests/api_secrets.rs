//! That the token gets into no log, whatever goes wrong. The only test of this binary, because a
//! process has one log.

mod api_support;

use api_support::{Api, Setup, TOKEN, lease, mac};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;
use vestibule_core::Record;
use vestibule_dhcpd::api::ApiState;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn the_token_is_in_no_log_and_in_no_answer() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let owner = "Dorothea";
    {
        let api = Api::start(Setup {
            records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))],
            ..Setup::default()
        });
        let answers = [
            api.post(&format!(r#"{{"ip":"10.20.0.17","owner":"{owner}"}}"#)),
            api.post("{"),
            api.post(&" ".repeat(70_000)),
            api.get("/v1/status"),
            api.get("/nowhere"),
            api.get("/metrics"),
            api.request_with("GET", "/v1/leases", &format!("authorization: Basic {TOKEN}\r\n"), ""),
            api.request_with(
                "GET",
                "/v1/leases",
                &format!("authorization: Bearer {TOKEN}0\r\n"),
                "",
            ),
            api.request("DELETE", &format!("/v1/registrations/{}", mac(1)), ""),
        ];
        for answer in answers {
            assert!(!answer.body.contains(TOKEN) && !answer.head.contains(TOKEN), "{answer:?}");
        }
        let state = ApiState::new(
            api.door.clone(),
            Arc::clone(&api.metrics),
            api_support::read_tokens(&api.token_file),
            "dhcp-test",
            vestibule_config::GateMode::Off,
            None,
        );
        tracing::info!(?state, "as a careless line would");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("registered") && log.contains(&mac(1)), "changes are logged: {log}");
    assert!(log.contains("as a careless line would"));
    assert!(!log.contains(TOKEN), "{log}");
    assert!(!log.contains(owner), "nor are names of people: {log}");
}
