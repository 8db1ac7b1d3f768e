//! A comparison of two builds as text, `comparison.md` and `comparison.json`.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{File, ReportError, markdown};
use crate::compare::builds::{Comparison, Conclusion};
use crate::compare::pairs::{MetricComparison, Segment};
use crate::values::{visible, visible_json};

/// Version of `comparison.json`.
const FORMAT: u32 = 1;

/// The sentence for each metric and the table behind it, for the terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for line in sides(comparison).into_iter().chain(remarks(comparison)) {
        let _ = writeln!(text, "{line}");
    }
    let heads = ["A", "B", "A ms", "B ms", "B to A", "control A", "B"].map(String::from);
    for metric in &comparison.metrics {
        let _ = writeln!(text, "{}: {}", metric.metric, metric);
        for [a, b, a_ms, b_ms, change, control_a, control_b] in
            [heads.clone()].into_iter().chain(rows(comparison, metric))
        {
            let _ = writeln!(
                text,
                "  {a:<16} {b:<16} {a_ms:>10} {b_ms:>10} {change:>9}   {control_a:>9} {control_b:>9}"
            );
        }
        let _ = writeln!(text, "  {}", basis(metric));
    }
    text
}

/// `comparison.md` and `comparison.json`.
///
/// # Errors
/// The JSON cannot be written.
pub fn files(comparison: &Comparison) -> Result<Vec<File>, ReportError> {
    let json = serde_json::to_vec_pretty(&document(comparison));
    let mut json = json.map_err(|why| ReportError::new("comparison.json", why))?;
    json.push(b'\n');
    let json = visible_json(&String::from_utf8_lossy(&json)).into_owned();
    Ok(vec![
        File { path: "comparison.md", bytes: visible(&page(comparison)).into_owned().into_bytes() },
        File { path: "comparison.json", bytes: json.into_bytes() },
    ])
}

fn page(comparison: &Comparison) -> String {
    let answer = comparison.answer();
    let sign = match answer {
        Conclusion::Regressed => "❌",
        Conclusion::Improved | Conclusion::Unchanged => "✅",
        Conclusion::Inconclusive => "❔",
    };
    let mut text = format!("## {sign} {}: B against A\n\n", answer.to_string().to_uppercase());
    for side in sides(comparison) {
        let _ = writeln!(text, "- {}", markdown::escape(&side));
    }
    text.push('\n');
    for remark in remarks(comparison) {
        let _ = writeln!(text, "> {}\n", markdown::escape(&remark));
    }
    for metric in &comparison.metrics {
        let _ = writeln!(text, "`{}`: {}\n", metric.metric, markdown::escape(&metric.to_string()));
        text.push_str("| A | B | A ms | B ms | B to A | control A ms | control B ms |\n");
        text.push_str("|:--|:--|--:|--:|--:|--:|--:|\n");
        for row in rows(comparison, metric) {
            let _ = writeln!(text, "| {} |", row.map(|cell| markdown::escape(&cell)).join(" | "));
        }
        let _ = writeln!(text, "\n{}\n", basis(metric));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn sides(comparison: &Comparison) -> [String; 2] {
    let [a, b] = &comparison.sides;
    [format!("A: {}", super::words::one_line(a)), format!("B: {}", super::words::one_line(b))]
}

/// Sentences that stand before the percentiles.
fn remarks(comparison: &Comparison) -> Vec<String> {
    let mut remarks: Vec<String> =
        comparison.left_out.iter().map(|why| format!("pair left out: {why}")).collect();
    if let Some(obstacle) = &comparison.obstacle {
        remarks.push(format!("nothing can be said: {obstacle}"));
    }
    for metric in &comparison.missing {
        remarks.push(format!("{metric}: nothing can be said: a run has not measured it"));
    }
    let (a, b) = comparison.served();
    let (a, b) = (100.0 * a, 100.0 * b);
    if comparison.serves_fewer() {
        remarks.push(format!("B answers and keeps fewer of its calls than A: {b:.2} % against {a:.2} %"));
    } else if comparison.may_serve_fewer() {
        remarks.push(format!(
            "nothing can be said: B answers and keeps {b:.2} % of its calls, A {a:.2} %, but not in enough pairs"
        ));
    } else if a < 100.0 || b < 100.0 {
        remarks.push(format!("not all calls were answered and kept: {a:.2} % of A's, {b:.2} % of B's"));
    }
    let (in_doubt, all) = (comparison.in_doubt(), 2 * comparison.runs.len());
    if in_doubt > 0 {
        remarks.push(format!(
            "{in_doubt} of {all} runs were in doubt (this machine was late or busy): they count, for both sides bear \
             the machine, and the control stream shows what it did"
        ));
    }
    remarks
}

/// Names, percentiles and their ratio, and the control stream's.
fn rows<'c>(
    comparison: &'c Comparison,
    metric: &'c MetricComparison,
) -> impl Iterator<Item = [String; 7]> + 'c {
    comparison.runs.iter().zip(&metric.pairs).map(|((a, b), pair)| {
        let ratio = pair.b.ms / pair.a.ms;
        let change =
            if ratio.is_finite() { format!("{:+.1} %", 100.0 * (ratio - 1.0)) } else { "–".into() };
        let control = |segment: Segment| segment.control_ms.map_or("–".into(), ms);
        [
            super::words::one_line(&a.name),
            super::words::one_line(&b.name),
            ms(pair.a.ms),
            ms(pair.b.ms),
            change,
            control(pair.a),
            control(pair.b),
        ]
    })
}

fn ms(ms: f64) -> String {
    if ms.is_finite() { format!("{ms:.3}") } else { "lost".into() }
}

fn basis(metric: &MetricComparison) -> String {
    let absolute_ms = metric.absolute_ms;
    let control = match metric.control_effect {
        Some(effect) => format!(
            "beside B the control stream, which bypasses both, was slower by more than {:.1} % in {} pairs and faster \
             in {} (median {:+.1} %)",
            100.0 * metric.control_margin,
            metric.control_slower,
            metric.control_faster,
            100.0 * effect,
        ),
        None => "there was no control stream to tell whether the machine was the same".into(),
    };
    format!(
        "differences below {absolute_ms:.3} ms do not count (0.1 ms, or three times the scatter of the control \
         stream's p99); {control}"
    )
}

fn document(comparison: &Comparison) -> Json {
    let (base_served, new_served) = comparison.served();
    json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "answer": comparison.answer().to_string(),
        "base": comparison.sides[0],
        "new": comparison.sides[1],
        "remarks": remarks(comparison),
        "served": { "base": base_served, "new": new_served },
        "runs_in_doubt": comparison.in_doubt(),
        "left_out": comparison.left_out,
        "metrics": comparison.metrics.iter().map(|m| metric(comparison, m)).collect::<Vec<_>>(),
    })
}

/// `effect` and `interval` are ratios less one: 0.1 is a tenth slower.
fn metric(comparison: &Comparison, metric: &MetricComparison) -> Json {
    let pairs = comparison.runs.iter().zip(&metric.pairs).map(|((a, b), pair)| {
        json!({
            "base": run(&a.name, pair.a),
            "new": run(&b.name, pair.b),
        })
    });
    json!({
        "metric": metric.metric,
        "finding": metric.finding.to_string(),
        "sentence": metric.to_string(),
        "pairs_needed": metric.needed,
        "pairs_worse": metric.worse,
        "pairs_better": metric.better,
        "effect": metric.effect.map(number),
        "interval": metric.interval.map(|(low, high)| [number(low), number(high)]),
        "margin_ms": metric.absolute_ms,
        "control_effect": metric.control_effect,
        "control_pairs_slower": metric.control_slower,
        "control_pairs_faster": metric.control_faster,
        "pairs": pairs.collect::<Vec<_>>(),
    })
}

fn run(name: &str, segment: Segment) -> Json {
    json!({ "run": name, "ms": number(segment.ms), "control_ms": segment.control_ms.map(number) })
}

/// A percentile among the lost is no number.
fn number(n: f64) -> Json {
    if n.is_finite() { json!(n) } else { json!("lost") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::digest::RunDigest;
    use crate::compare::pairs::Margins;
    use crate::metrics::Summary;
    use crate::report::fixture;
    use crate::values::Value;

    fn with_p99(mut summary: Summary, value: Value) -> Summary {
        let p99 = summary.metrics.iter_mut().find(|m| m.name() == "rtt.p99").unwrap();
        (p99.value, p99.too_few) = (value, false);
        summary
    }

    fn slower() -> Comparison {
        let (base, _) = fixture::typical();
        let of = |name: String, value| RunDigest::of(name, &with_p99(base.clone(), value), false);
        let runs = (0..12).map(|n| {
            let new = if n == 11 { Value::Lost } else { Value::Number(2.0 + f64::from(n) / 10.0) };
            (of(format!("{n:02}"), Value::Number(1.0)), of(format!("{n:02}|x"), new))
        });
        Comparison::of(
            ["old.toml".into(), "new.toml".into()],
            runs.collect(),
            &["rtt.p99"],
            &Margins::default(),
        )
    }

    #[test]
    fn text_and_page_are_as_ever() {
        insta::assert_snapshot!("comparison.txt", text(&slower()));
        insta::assert_snapshot!("comparison.md", page(&slower()));
    }

    #[test]
    fn the_document_has_every_pair() {
        let document = document(&slower());
        assert_eq!(document["answer"], "regressed");
        let metric = &document["metrics"][0];
        assert_eq!(metric["pairs"].as_array().unwrap().len(), 12);
        assert_eq!(metric["pairs"][11]["new"]["ms"], "lost");
        assert_eq!((&metric["pairs_worse"], &metric["pairs_needed"]), (&json!(12), &json!(10)));
    }
}
