//! A browser in a host of the lab: Chromium without a window, driven by its DevTools protocol over a pipe.
//!
//! It promises that pages are treated as a person treats them (clicks and keys, not calls into the page),
//! that nothing waits longer than [`DEADLINE`], and that the browser and all that it keeps end with it. It
//! needs the Debian package `chromium`.

use crate::lab::{DEADLINE, Host, LabError};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// Chromium, with its pipe at the two descriptors that it wants. Each flag keeps it from talking to
/// anybody, or from needing what a test machine does not have.
const LINE: &str = "HOME=/run/browser XDG_RUNTIME_DIR=/run/browser exec chromium --headless=new --no-sandbox \
    --disable-gpu --disable-dev-shm-usage --no-first-run --no-default-browser-check --disable-sync \
    --disable-background-networking --disable-component-update --disable-extensions --hide-scrollbars \
    --disable-features=Translate,OptimizationHints,MediaRouter --user-data-dir=/run/browser \
    --remote-debugging-pipe 3<&0 4>&1 >/run/browser.log 2>&1";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last_id: u64,
    /// Events that came while something else was waited for.
    events: Vec<Value>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether it is a phone's: a finger, and two pixels for one.
    pub is_phone: bool,
    /// Whether the person likes it dark.
    pub is_dark: bool,
}

impl Browser {
    /// Starts one, with scripts off if `scripts` says so.
    ///
    /// # Errors
    /// [`LabError`] if it does not start.
    pub fn start(host: &Host, scripts: bool) -> Result<Self, LabError> {
        host.ok("command -v chromium >/dev/null && mkdir -p /run/browser")?;
        let mut child = host
            .command(&["sh", "-c", LINE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| machine("chromium", &error.to_string()))?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(machine("chromium", "it has no pipe"));
        };
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let (session, events) = (String::new(), Vec::new());
        let mut browser = Self { child, commands, messages, session, last_id: 0, events };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        // Why it did not start stands in what it wrote.
        let target = page.map_err(|error| {
            let log = host.run("tail -n 20 /run/browser.log").map(|log| log.both());
            machine(&error.to_string(), &log.unwrap_or_default())
        })?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        for domain in ["Page", "Log", "Runtime", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts }))?;
        Ok(browser)
    }

    /// From now on pages are looked at in this way.
    ///
    /// # Errors
    /// [`LabError`] if the browser does not answer.
    pub fn look_as(&mut self, view: View) -> Result<(), LabError> {
        let View { width, height, is_phone, is_dark } = view;
        let scale = if is_phone { 2 } else { 1 };
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).map(drop)
    }

    /// The languages that the person reads, as in `Accept-Language`.
    ///
    /// # Errors
    /// [`LabError`] if the browser does not answer.
    pub fn read_in(&mut self, languages: &str) -> Result<(), LabError> {
        let headers = json!({ "headers": { "Accept-Language": languages } });
        self.call("Network.setExtraHTTPHeaders", headers).map(drop)
    }

    /// Opens a URL, and waits until the page is there.
    ///
    /// # Errors
    /// [`LabError`] with what the browser says if it is not.
    pub fn open(&mut self, url: &str) -> Result<(), LabError> {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(machine(url, error));
        }
        self.wait_loaded()
    }

    /// Clicks in the middle of the first element that a CSS selector finds, after it was brought into view.
    ///
    /// # Errors
    /// [`LabError`] if there is none.
    pub fn click(&mut self, selector: &str) -> Result<(), LabError> {
        let place = self.evaluate(&format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{block: 'center'}});
              const box = it.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2] }})()"
        ))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Clicks on something that leads to another page, and waits for that.
    ///
    /// # Errors
    /// [`LabError`] if there is no such element, or no page follows.
    pub fn follow(&mut self, selector: &str) -> Result<(), LabError> {
        self.events.clear();
        self.click(selector)?;
        self.wait_loaded()
    }

    /// Types a text where the last click was.
    ///
    /// # Errors
    /// [`LabError`] if the browser does not answer.
    pub fn type_in(&mut self, text: &str) -> Result<(), LabError> {
        self.call("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// The value of an expression, asked from outside the page: it works with scripts off.
    ///
    /// # Errors
    /// [`LabError`] if it has none.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, LabError> {
        let question = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", question)?;
        if answer["exceptionDetails"].is_null() {
            Ok(answer["result"]["value"].clone())
        } else {
            Err(machine(expression, &answer["exceptionDetails"].to_string()))
        }
    }

    /// The text of the first element that a CSS selector finds, as a person reads it.
    ///
    /// # Errors
    /// [`LabError`] if there is none.
    pub fn text(&mut self, selector: &str) -> Result<String, LabError> {
        let text = self.evaluate(&format!("document.querySelector({selector:?}).innerText"))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Where the page is.
    ///
    /// # Errors
    /// [`LabError`] if the browser does not answer.
    pub fn url(&mut self) -> Result<String, LabError> {
        Ok(self.evaluate("location.href")?.as_str().unwrap_or_default().to_owned())
    }

    /// A picture of the view as PNG, in base 64.
    ///
    /// # Errors
    /// [`LabError`] if the browser does not answer.
    pub fn picture(&mut self) -> Result<String, LabError> {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        Ok(picture["data"].as_str().unwrap_or_default().to_owned())
    }

    /// Every cookie that the browser keeps.
    ///
    /// # Errors
    /// [`LabError`] if it does not answer.
    pub fn cookies(&mut self) -> Result<Value, LabError> {
        Ok(self.call("Network.getAllCookies", json!({}))?["cookies"].clone())
    }

    /// What the browser complained of on the page since it was opened, such as what its policy forbids.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let logged = self.events.iter().filter(|event| event["method"] == "Log.entryAdded");
        logged.map(|event| event["params"]["entry"]["text"].to_string()).collect()
    }

    fn wait_loaded(&mut self) -> Result<(), LabError> {
        loop {
            if let Some(place) =
                self.events.iter().position(|event| event["method"] == "Page.loadEventFired")
            {
                self.events.remove(place);
                return Ok(());
            }
            let message = self.message("a page")?;
            self.events.push(message);
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, LabError> {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = Value::from(self.session.as_str());
        }
        let line = format!("{command}\0");
        let written = self.commands.write_all(line.as_bytes()).and_then(|()| self.commands.flush());
        written.map_err(|error| machine(method, &error.to_string()))?;
        loop {
            let mut message = self.message(method)?;
            if message["id"] != self.last_id {
                self.events.push(message);
                continue;
            }
            if !message["error"].is_null() {
                return Err(machine(method, &message["error"].to_string()));
            }
            return Ok(message["result"].take());
        }
    }

    fn message(&self, awaited: &str) -> Result<Value, LabError> {
        self.messages.recv_timeout(DEADLINE).map_err(|error| LabError::Deadline {
            what: format!("the browser answers: {awaited}"),
            seen: error.to_string(),
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end when this one has; at the latest, all of them end with the lab.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn machine(what: &str, said: &str) -> LabError {
    LabError::Machine { what: what.to_owned(), said: said.to_owned() }
}
