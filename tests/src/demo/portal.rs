//! The portal of the demo: a page that says who you are, and registers you.
//!
//! It knows a caller by nothing but the address, and asks the API who that is. It keeps no state of
//! its own. Everything that comes from outside is escaped.

use super::http::{self, Answer, Request, escaped};
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

/// Characters of an owner's name.
const OWNER_LENGTH_MAX: usize = 64;

/// What the portal works by.
#[derive(Clone, Debug)]
pub struct Portal {
    /// The API of `vestibule-dhcpd`.
    pub api: SocketAddr,
    /// Its token.
    pub token: String,
    /// The portal's own URL, ending in a slash.
    pub url: String,
    /// The host name in it.
    pub host: String,
}

/// Serves the portal on `listen` until the process ends.
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve(listen: SocketAddr, portal: Portal) -> io::Result<()> {
    http::serve(listen, move |request| portal.answer(request))
}

impl Portal {
    fn answer(&self, request: &Request) -> Answer {
        // Every name leads here while the caller is unregistered, so most callers ask for another host.
        if request.host != self.host {
            return Answer::redirect(302, &self.url);
        }
        match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/") => self.who_are_you(request),
            ("POST", "/") => self.register(request),
            (_, "/") => Answer::text(405, "GET or POST, please.\n"),
            _ => Answer::text(404, "There is nothing here.\n"),
        }
    }

    fn who_are_you(&self, request: &Request) -> Answer {
        match self.ask("GET", &format!("/v1/whoami?ip={}", request.caller), None) {
            Ok((200, host)) => {
                let registered = host.get("registered").and_then(Value::as_bool) == Some(true);
                let title = if registered { "You are registered" } else { "Register this device" };
                let mut body = String::from("<dl>\n");
                for (label, key) in [
                    ("Address", "ip"),
                    ("Device", "mac"),
                    ("Network", "network"),
                    ("Owner", "owner"),
                    ("Lease ends", "lease-end"),
                ] {
                    if let Some(value) = host.get(key).and_then(Value::as_str) {
                        let value =
                            if key == "lease-end" { for_people(value) } else { value.to_owned() };
                        // Writing to a String cannot fail.
                        let _ = writeln!(body, "<dt>{label}</dt><dd>{}</dd>", escaped(&value));
                    }
                }
                body.push_str("</dl>\n");
                if !registered {
                    body.push_str(
                        "<form method=\"post\" action=\"/\">\n<label for=\"owner\">Your campus name</label>\n\
                         <input id=\"owner\" name=\"owner\" autocomplete=\"username\" required maxlength=\"64\">\n\
                         <button>Register</button>\n</form>\n",
                    );
                }
                page(200, title, &body)
            }
            Ok((404, _)) => page(
                404,
                "I do not know this device",
                &format!(
                    "<p>No lease backs your address {}. Reconnect to the network, then come back.</p>",
                    escaped(&request.caller.to_string())
                ),
            ),
            other => unavailable(&other),
        }
    }

    fn register(&self, request: &Request) -> Answer {
        let owner = http::field(&request.body, "owner").filter(|owner| !owner.is_empty());
        let Some(owner) = owner.filter(|owner| owner.chars().count() <= OWNER_LENGTH_MAX) else {
            return page(
                400,
                "Who are you?",
                "<p>Give your campus name, at most 64 characters. <a href=\"/\">Back</a></p>",
            );
        };
        let json =
            serde_json::json!({ "ip": request.caller.to_string(), "owner": owner }).to_string();
        match self.ask("POST", "/v1/registrations", Some(&json)) {
            Ok((200 | 201, _)) => Answer::redirect(303, &self.url),
            other => unavailable(&other),
        }
    }

    fn ask(&self, method: &str, target: &str, json: Option<&str>) -> io::Result<(u16, Value)> {
        let result = http::ask(self.api, &self.token, method, target, json);
        let asked = json.map_or(String::new(), |json| format!(" {json}"));
        match &result {
            Ok((status, body)) => eprintln!("{method} {target}{asked}\n  -> {status} {body}"),
            Err(error) => eprintln!("{method} {target}{asked}\n  -> {error}"),
        }
        let (status, body) = result?;
        Ok((status, serde_json::from_str(&body).unwrap_or_default()))
    }
}

/// A time of the API, as in `2026-11-20T13:02:00.000Z`, without what people do not read.
fn for_people(time: &str) -> String {
    let to_the_minute = time.rsplit_once(':').map_or(time, |(start, _)| start);
    format!("{} UTC", to_the_minute.replace('T', " "))
}

fn unavailable(result: &io::Result<(u16, Value)>) -> Answer {
    let why = match result {
        Ok((status, body)) => {
            let detail = body.get("detail").or_else(|| body.get("title")).and_then(Value::as_str);
            format!("it answered {status} {}", detail.unwrap_or_default())
        }
        Err(error) => error.to_string(),
    };
    page(
        502,
        "Not at the moment",
        &format!(
            "<p>Registration does not work at the moment: {}. Try again in a minute.</p>",
            escaped(&why)
        ),
    )
}

fn page(status: u16, title: &str, body: &str) -> Answer {
    let page = include_str!("../../demo/portal.html");
    Answer::page(status, page.replace("{title}", &escaped(title)).replace("{body}", body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// An API that gives one answer; joined, it gives the request that it got.
    fn api(status: &str, json: &str) -> (Portal, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let portal = Portal {
            api: listener.local_addr().unwrap(),
            token: "secret".to_owned(),
            url: "http://portal.example/".to_owned(),
            host: "portal.example".to_owned(),
        };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{json}", json.len());
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            // To the end, or the kernel answers what is left unread with a reset.
            let _ = stream.read_to_end(&mut Vec::new());
            String::from_utf8(request).unwrap()
        });
        (portal, asked)
    }

    fn request(method: &str, host: &str, body: &str) -> Request {
        Request {
            caller: "192.0.2.7".parse().unwrap(),
            method: method.to_owned(),
            target: "/".to_owned(),
            host: host.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn every_other_host_leads_here_without_asking_anybody() {
        let nobody = Portal {
            api: "127.0.0.1:1".parse().unwrap(),
            token: String::new(),
            url: "http://portal.example/".to_owned(),
            host: "portal.example".to_owned(),
        };
        let answer = nobody.answer(&request("GET", "anything.example", ""));
        assert_eq!(
            (answer.status, answer.location.as_deref()),
            (302, Some("http://portal.example/"))
        );
        assert_eq!(nobody.answer(&request("POST", "portal.example", "owner=")).status, 400);
        assert_eq!(nobody.answer(&request("PUT", "portal.example", "")).status, 405);
        assert_eq!(nobody.answer(&request("GET", "portal.example", "")).status, 502);
    }

    #[test]
    fn what_others_wrote_is_escaped_and_the_caller_is_asked_for_by_address() {
        let json =
            r#"{"ip":"192.0.2.7","mac":"02:00:5e:00:53:01","registered":true,"owner":"<script>"}"#;
        let (portal, asked) = api("200", json);
        let answer = portal.answer(&request("GET", "portal.example", ""));
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("&lt;script&gt;") && !answer.body.contains("<script>"));
        assert!(answer.body.contains("You are registered") && !answer.body.contains("<form"));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /v1/whoami?ip=192.0.2.7 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nAuthorization: Bearer secret\r\n"), "{asked}");
    }

    #[test]
    fn times_are_shown_as_people_read_them() {
        assert_eq!(for_people("2026-11-20T13:02:00.000Z"), "2026-11-20 13:02 UTC");
    }

    #[test]
    fn a_problem_of_the_api_is_told_and_not_taken_for_success() {
        let (portal, asked) = api("503", r#"{"title":"Busy","detail":"try <again>"}"#);
        let answer = portal.answer(&request("POST", "portal.example", "owner=mia"));
        asked.join().unwrap();
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("503 try &lt;again&gt;"), "{}", answer.body);
    }
}
