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
                        // Writing to a String cannot fail.
                        let _ = writeln!(body, "<dt>{label}</dt><dd>{}</dd>", escaped(value));
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
        "Not now",
        &format!(
            "<p>The registration service cannot help: {}. Try again in a minute.</p>",
            escaped(&why)
        ),
    )
}

fn page(status: u16, title: &str, body: &str) -> Answer {
    let page = include_str!("../../demo/portal.html");
    Answer::page(status, page.replace("{title}", &escaped(title)).replace("{body}", body))
}
