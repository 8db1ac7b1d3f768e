//! `report.html` of real runs in a real browser.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Browser, Place, ends_with, rows};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Helpers inside the page: the drawing that is seen, places in it, words that are shown.
const HELPERS: &str = r#"
window.notes = JSON.parse(document.getElementById("data").textContent);
window.seen = (id) => [...document.querySelectorAll(`#${id} svg`)].find((svg) => svg.getClientRects().length);
window.look = (id) => seen(id).parentElement.className;
// The place in the window of a share of a panel's width and height.
window.spot = (id, panel, across, down) => {
  seen(id).scrollIntoView({ block: "center" });
  const f = notes[id][look(id)][panel];
  const at = new DOMPoint(f.left + (f.right - f.left) * across, f.top + (f.bottom - f.top) * down);
  const { x, y } = at.matrixTransform(seen(id).getScreenCTM());
  return [x, y];
};
window.second = (id, panel, second, down = 0.5) => {
  const { from, to } = notes[id].panels[panel];
  return spot(id, panel, (second + 0.5 - from) / (to - from), down);
};
window.entry = (id, label) => {
  const svg = seen(id);
  svg.scrollIntoView({ block: "center" });
  const key = notes[id].keys.findIndex((k) => k.label === label);
  const box = svg.querySelector(`[data-key="${key}"]`).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
};
window.tip = (id) => {
  const tip = document.querySelector(`#${id} .tip`);
  if (tip.hidden) return null;
  const pale = [...tip.querySelectorAll("i")].filter((i) => getComputedStyle(i).backgroundColor === "rgba(0, 0, 0, 0)");
  if (pale.length) throw new Error("a series has no colour");
  const rows = [...tip.querySelectorAll("div")].map((d) => [d.querySelector("span").textContent, d.querySelector("b").textContent]);
  return { text: tip.innerText, rows: Object.fromEntries(rows) };
};
window.marks = (id, label) => {
  const key = notes[id].keys.findIndex((k) => k.label === label);
  const all = [...seen(id).querySelectorAll(`[data-series="${key}"] *`)];
  return all.filter((mark) => mark.getClientRects().length).length;
};
window.lines = (id) => [...seen(id).querySelectorAll("[data-panel] polyline, [data-panel] rect, image")]
  .map((mark) => ["points", "x", "width"].map((name) => mark.getAttribute(name)).join(" ")).join(";");
window.ticks = (id) => [...seen(id).querySelectorAll("[data-axis] text, .ticks text")]
  .filter((t) => t.getClientRects().length).map((t) => t.textContent.trim());
1
"#;

/// Shapes in a series' colour, or images, of the drawing of each chart that is seen.
const DRAWN: &str = r#"
Object.fromEntries([...document.querySelectorAll("figure.plot")].map((figure) => {
  const svg = [...figure.querySelectorAll("svg")].find((svg) => svg.getClientRects().length);
  const inks = /--chart-(blue|green|orange|purple|sky)/;
  const marks = svg ? [...svg.querySelectorAll("polyline, polygon, rect, circle, image")] : [];
  return [figure.id, marks.filter((mark) => {
    const box = mark.getBoundingClientRect();
    const ink = (mark.getAttribute("fill") || "") + (mark.getAttribute("stroke") || "");
    return box.width + box.height > 0 && !mark.closest("[data-key]") && (mark.tagName === "image" || inks.test(ink));
  }).length];
}))
"#;

const CHARTS: [&str; 7] = [
    "rtt-over-time",
    "rtt-distribution",
    "where-time-goes",
    "calls-and-loss",
    "setup-times",
    "rtt-by-call",
    "cpu",
];

fn place_of(value: &Value) -> (f64, f64) {
    (value[0].as_f64().expect("x"), value[1].as_f64().expect("y"))
}

fn hover(browser: &mut Browser, id: &str, spot: &str) -> Value {
    let at = place_of(&browser.value(spot));
    browser.mouse("mouseMoved", at, 0);
    browser.value(&format!("tip('{id}')"))
}

/// As the page shows it: to three decimals.
fn rounded(text: &str) -> f64 {
    (text.parse::<f64>().expect("a number") * 1000.0).round() / 1000.0
}

/// A real run of a few seconds over a network that loses packets, on purpose.
fn lossy_run(place: &Place) -> PathBuf {
    let set = ["load.duration=6s", "impair.out.loss=5%", r#"gates.require=["calls.answered == 100%"]"#];
    ends_with(&mut place.run("smoke", &set), 0);
    place.out()
}

fn opened(file: &Path) -> Browser {
    let mut browser = Browser::start();
    browser.shape(1280, "light");
    browser.open(file);
    browser.value(HELPERS);
    browser
}

#[track_caller]
fn no_complaints(browser: &mut Browser, file: &Path) {
    let complaints = browser.complaints(file);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn charts_show_the_values_under_the_pointer() {
    let place = Place::new();
    let run = lossy_run(&place);
    let file = run.join("report.html");
    let mut browser = opened(&file);
    let drawn = browser.value(DRAWN);
    for id in CHARTS {
        assert!(drawn[id].as_u64() > Some(0), "{id} is not drawn: {drawn}");
    }

    let seconds = rows(&run.join("seconds.csv"));
    let shown = [
        ("median", "rtt_p50_ms"),
        ("95th percentile", "rtt_p95_ms"),
        ("99th percentile", "rtt_p99_ms"),
        ("largest", "rtt_max_ms"),
        ("control stream, 99th percentile", "control_p99_ms"),
    ];
    for second in &seconds[2..7] {
        let n = &second["second"];
        let tip = hover(&mut browser, "rtt-over-time", &format!("second('rtt-over-time', 0, {n})"));
        assert!(tip["text"].as_str().is_some_and(|t| t.contains(&format!("second {n}"))), "{n}: {tip}");
        for (label, column) in shown {
            let said = tip["rows"][label].as_str().unwrap_or_else(|| panic!("{label} of {n} in {tip}"));
            assert_eq!(rounded(said), rounded(&second[column]), "{label} of second {n}");
        }
        let tip = hover(&mut browser, "calls-and-loss", &format!("second('calls-and-loss', 0, {n})"));
        let lost = tip["rows"]["failed attempts, lost packets"].as_str().expect("losses");
        assert_eq!(lost, second["lost"], "lost in second {n}: {tip}");
        assert_eq!(tip["rows"]["calls up"], Value::from(second["calls_up"].as_str()), "{tip}");
    }
    let lost: f64 = seconds.iter().map(|s| rounded(&s["lost"])).sum();
    assert!(lost > 0.0, "nothing was lost, so nothing was shown");

    let medians = rows(&run.join("call_seconds.csv"));
    let calls = rows(&run.join("calls.csv")).len();
    for median in medians.iter().filter(|m| m["second"] == "4") {
        // The first call is the lowest row.
        let call: f64 = median["call"].parse().expect("a number");
        let down = 1.0 - (call + 0.5) / calls as f64;
        let tip = hover(&mut browser, "rtt-by-call", &format!("second('rtt-by-call', 0, 4, {down})"));
        let text = tip["text"].as_str().expect("a tip");
        let ms = rounded(&median["rtt_p50_ms"]);
        assert!(text.contains(&format!("call {call}")) && text.contains("0:04"), "{text}");
        assert!(text.contains(&format!("{ms} ms")), "{ms} of call {call} is not in {text}");
    }
    assert!(calls > 1 && medians.len() > calls);

    let tip = hover(&mut browser, "rtt-distribution", "spot('rtt-distribution', 0, 0.2, 0.5)");
    assert!(tip["rows"]["round trip"].is_string(), "{tip}");
    browser.mouse("mouseMoved", (2.0, 2.0), 0);
    assert_eq!(browser.value("tip('rtt-distribution')"), Value::Null);
    no_complaints(&mut browser, &file);
}

#[test]
fn series_hide_and_time_zooms_and_both_come_back() {
    let place = Place::new();
    let run = lossy_run(&place);
    let file = run.join("report.html");
    let mut browser = opened(&file);
    let id = "rtt-over-time";

    let marks = |browser: &mut Browser| {
        ["median", "99th percentile"]
            .map(|label| browser.value(&format!("marks('{id}', '{label}')")).as_u64())
    };
    let before = marks(&mut browser);
    assert!(before.iter().all(|n| *n > Some(0)), "{before:?}");
    let click_entry = |browser: &mut Browser| {
        let entry = place_of(&browser.value(&format!("entry('{id}', '99th percentile')")));
        browser.click(entry);
    };
    click_entry(&mut browser);
    assert_eq!(marks(&mut browser), [before[0], Some(0)]);
    let tip = hover(&mut browser, id, &format!("second('{id}', 0, 4)"));
    assert!(tip["rows"]["median"].is_string() && tip["rows"]["99th percentile"].is_null(), "{tip}");
    browser.value(&format!("seen('{id}').querySelector('[aria-pressed=false]').focus()"));
    browser.key("Enter");
    assert_eq!(marks(&mut browser), before);

    let charts = [id, "rtt-by-call", "cpu"];
    let state =
        |browser: &mut Browser| charts.map(|id| browser.value(&format!("[lines('{id}'), ticks('{id}')]")));
    let whole = state(&mut browser);
    let from = place_of(&browser.value(&format!("second('{id}', 0, 3)")));
    let to = place_of(&browser.value(&format!("second('{id}', 0, 5)")));
    browser.mouse("mousePressed", from, 1);
    browser.mouse("mouseMoved", ((from.0 + to.0) / 2.0, from.1), 0);
    browser.mouse("mouseMoved", to, 0);
    browser.mouse("mouseReleased", to, 1);
    let near = state(&mut browser);
    for (n, id) in charts.iter().enumerate() {
        assert!(near[n][0] != whole[n][0] && near[n][1] != whole[n][1], "{id} has not zoomed: {}", near[n]);
        let ticks = near[n][1].as_array().expect("labels");
        assert!(ticks.iter().all(|t| t.as_str().is_some_and(|t| ("0:03".."0:07").contains(&t))), "{ticks:?}");
    }
    // The middle of the panel is now the middle of the chosen stretch.
    let tip = hover(&mut browser, id, &format!("spot('{id}', 0, 0.5, 0.5)"));
    assert!(tip["text"].as_str().is_some_and(|t| t.contains("second 4")), "{tip}");
    // A series that is hidden while zoomed stays hidden in the whole run, until it is shown again.
    click_entry(&mut browser);
    assert_eq!(marks(&mut browser)[1], Some(0));
    browser.value(&format!("document.querySelector('#{id} .reset').click()"));
    assert_eq!(marks(&mut browser), [before[0], Some(0)]);
    click_entry(&mut browser);
    assert_eq!(state(&mut browser), whole);

    browser.value(&format!("seen('{id}').focus()"));
    for key in ["ArrowRight", "ArrowRight", "+"] {
        browser.key(key);
    }
    assert_ne!(state(&mut browser), whole);
    browser.key("Escape");
    assert_eq!(state(&mut browser), whole);
    no_complaints(&mut browser, &file);
}

#[test]
fn the_page_fits_every_screen_and_paper() {
    let place = Place::new();
    let again = place.path("again");
    // A stored run and one of an older version; their gates are not asked about here.
    let folder = |name: &str| place.path(name);
    let render = |run: &str| {
        let mut command = place.program();
        command.args(["report", run, "--report", "html", "--quiet"]);
        command.args(["--set", "gates.require=[]", "--out"]).arg(&again);
        ends_with(&mut command, 0);
        fs::rename(again.join("report.html"), folder("report.html")).expect("moved");
        folder("report.html")
    };
    for run in ["reports/example", "tests/samples/format1"] {
        let file = render(run);
        let mut browser = opened(&file);
        let mut grounds = Vec::new();
        for scheme in ["light", "dark"] {
            for width in [360, 400, 768, 1280] {
                browser.shape(width, scheme);
                let wide = browser.value("document.documentElement.scrollWidth").as_u64();
                assert!(wide <= Some(width.into()), "{run}, {scheme}: {wide:?} px wide at {width}");
                let drawn = browser.value(DRAWN);
                for id in CHARTS {
                    assert!(drawn[id].as_u64() > Some(0), "{id} is not drawn at {width}: {drawn}");
                }
                let cut = "[...document.querySelectorAll('.operations')].filter((t) => t.scrollWidth > t.parentElement.clientWidth).length";
                assert_eq!(browser.value(cut), json!(0), "answers are cut at {width}");
            }
            grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
        }
        assert_ne!(grounds[0], grounds[1], "dark is as light as light");

        // A4 at 96 dots an inch, less margins of 1 cm.
        browser.shape(718, "light");
        browser.ask("Emulation.setEmulatedMedia", json!({"media": "print"}));
        let heights =
            "[...document.querySelectorAll('figure.plot')].map((f) => f.getBoundingClientRect().height)";
        for height in browser.value(heights).as_array().expect("heights") {
            assert!((50.0..1040.0).contains(&height.as_f64().unwrap_or(0.0)), "a chart is {height} px high");
        }
        let printed = browser.ask("Page.printToPDF", json!({"paperWidth": 8.27, "paperHeight": 11.69}));
        let pdf = STANDARD.decode(printed["data"].as_str().expect("a document")).expect("base64");
        let pages = String::from_utf8_lossy(&pdf).matches("/Type /Page\n").count();
        assert!(pdf.starts_with(b"%PDF") && (3..40).contains(&pages), "{pages} pages");
        no_complaints(&mut browser, &file);
    }
}

#[test]
fn without_its_script_the_page_is_whole() {
    let mut browser = Browser::start();
    browser.shape(1280, "light");
    browser.ask("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    let place = Place::new();
    ends_with(
        place
            .program()
            .args([
                "report",
                "reports/example",
                "--report",
                "html",
                "--quiet",
                "--set",
                "gates.require=[]",
                "--out",
            ])
            .arg(place.path("out")),
        0,
    );
    let file = place.path("out").join("report.html");
    browser.open(&file);
    assert_eq!(browser.value("document.documentElement.classList.contains('live')"), json!(false));
    let drawn = browser.value(DRAWN);
    for id in CHARTS {
        assert!(drawn[id].as_u64() > Some(0), "{id} is not drawn: {drawn}");
    }
}

#[test]
fn what_others_wrote_runs_nothing() {
    let place = Place::new();
    let run = place.path("hostile");
    fs::create_dir_all(&run).expect("a folder");
    for name in
        ["scenario.toml", "calls.csv", "seconds.csv", "call_seconds.csv", "rtt.hlog", "environment.json"]
    {
        fs::copy(Path::new("tests/samples/smoke-0.1.0").join(name), run.join(name))
            .expect("a file of the run");
    }
    let evil = "</script><script>console.error('ran')</script><img src=x onerror=alert(1)>{{7*7}}";
    let path = run.join("environment.json");
    let mut environment: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    for key in ["name", "host", "cpu", "asterisk"] {
        environment[key] = evil.into();
    }
    environment["command"] = json!(["loadtest", evil]);
    fs::write(&path, environment.to_string()).expect("written");
    let mut command = place.program();
    command.arg("report").arg(&run).args(["--report", "html", "--quiet", "--set", "gates.require=[]"]);
    ends_with(&mut command, 0);
    let file = run.join("report.html");
    let mut browser = opened(&file);
    assert_eq!(browser.value("document.querySelector('h1').textContent"), Value::from(evil));
    assert_eq!(browser.value("document.scripts.length"), json!(2));
    assert_eq!(browser.value("document.images.length"), json!(0));
    no_complaints(&mut browser, &file);
    // The policy lets no other script run, should one ever get in.
    let planted = "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); return window.ran === undefined; })()";
    assert_eq!(browser.value(planted), json!(true));
    assert!(!browser.complaints(&file).is_empty(), "the browser says that it has refused one");
}
