//! A headless Chromium with one page, driven over the DevTools protocol.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Guarded, PATIENCE};

/// The browser, its page, and what both have said.
pub struct Browser {
    runtime: Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last: u64,
    events: Vec<Value>,
    // Last, so that the browser is gone before its folder.
    _process: Guarded,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().expect("a folder for the browser");
        let mut command = Command::new("chromium");
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(&mut command);
        let address = address(&mut process);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (socket, _) = runtime.block_on(connect_async(address)).expect("the browser listens");
        let (session, events) = (String::new(), Vec::new());
        let mut browser =
            Browser { runtime, socket, session, last: 0, events, _process: process, _profile: profile };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let id = target["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": id, "flatten": true}));
        browser.session = attached["sessionId"].as_str().expect("a session").to_string();
        for domain in ["Runtime.enable", "Log.enable", "Network.enable", "Page.enable"] {
            browser.ask(domain, json!({}));
        }
        browser
    }

    /// Calls a method of the protocol and gives its result.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut call = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = self.session.clone().into();
        }
        let sent = self.socket.send(Message::text(call.to_string()));
        self.runtime.block_on(sent).expect("the browser takes a call");
        loop {
            let message = self.next();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn next(&mut self) -> Value {
        let next = async { tokio::time::timeout(PATIENCE, self.socket.next()).await };
        let message = self.runtime.block_on(next).expect("the browser answers");
        let text = message.expect("the browser runs").expect("a message").into_text().expect("text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        self.ask("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// A page of this width, in light or dark.
    pub fn shape(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Moves, presses or releases the mouse.
    pub fn mouse(&mut self, what: &str, (x, y): (f64, f64), clicks: u32) {
        let button = if what == "mouseMoved" { "none" } else { "left" };
        let event = json!({"type": what, "x": x, "y": y, "button": button, "clickCount": clicks});
        self.ask("Input.dispatchMouseEvent", event);
    }

    /// A click.
    pub fn click(&mut self, at: (f64, f64)) {
        self.mouse("mouseMoved", at, 0);
        self.mouse("mousePressed", at, 1);
        self.mouse("mouseReleased", at, 1);
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        self.ask("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": key}));
        self.ask("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}));
    }

    /// Warnings, errors, exceptions, and what was fetched besides the file, since it was opened.
    pub fn complaints(&mut self, file: &Path) -> Vec<Value> {
        // Events so far come before this answer.
        self.value("1");
        let own = format!("file://{}", file.display());
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => true,
            Some("Network.requestWillBeSent") => {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                url != own && !url.starts_with("data:")
            }
            _ => false,
        };
        self.events.iter().filter(is_bad).cloned().collect()
    }
}

/// The address that the browser listens on, from its standard error; the rest of that is read and dropped.
fn address(process: &mut Guarded) -> String {
    let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
    let said = "DevTools listening on ";
    let mut listening = lines.by_ref().map_while(Result::ok);
    let line = listening.find(|line| line.starts_with(said)).expect("the browser listens");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    line[said.len()..].trim().to_string()
}
