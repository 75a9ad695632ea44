//! The plot: a line for each row, a mark for each contender's median on a logarithmic axis of seconds. SVG by hand, with
//! colours and shapes that can be told apart, for light and for dark.

use super::rows::Row;
use super::{CONTENDERS, title};

const WIDTH: f64 = 900.0;
/// Where the axis begins and ends.
const LEFT: f64 = 330.0;
const RIGHT: f64 = 880.0;
const LINE: f64 = 17.0;
const TOP: f64 = 64.0;

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 }
.tick { fill: #59636e }
.paper { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.gimg { fill: #0969da; stroke: #0969da }
.ko { fill: #bc4c00; stroke: #bc4c00 }
.ko-kocache { fill: none; stroke: #bc4c00; stroke-width: 2 }
.go { fill: none; stroke: #59636e; stroke-width: 2.5 }
.range { stroke-width: 1.5; opacity: 0.6 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.tick { fill: #9198a1 }
.paper { fill: #0d1117 }
.grid { stroke: #3d444d }
.gimg { fill: #4493f8; stroke: #4493f8 }
.ko { fill: #f0883e; stroke: #f0883e }
.ko-kocache { stroke: #f0883e }
.go { stroke: #9198a1 }
}
";

/// The rows as a picture.
pub(crate) fn svg(name: &str, rows: &[Row]) -> String {
    let axis = Axis::of(rows);
    let subjects = rows.iter().zip(std::iter::once(None).chain(rows.iter().map(Some)));
    let heads = subjects.filter(|(row, before)| before.is_none_or(|b| b.subject != row.subject)).count();
    let height = TOP + LINE * (rows.len() as f64 + heads as f64 * 1.5) + 24.0;
    let mut body = String::new();
    grid(&mut body, axis, height);
    let mut y = TOP;
    let mut subject = "";
    for row in rows {
        if row.subject != subject {
            subject = &row.subject;
            y += LINE * 1.5;
            body.push_str(&format!(
                "<text class=\"head\" x=\"12\" y=\"{:.1}\">{}</text>\n",
                y,
                escape(subject)
            ));
        }
        y += LINE;
        body.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 12.0,
            y,
            escape(&row.words())
        ));
        // gimg's mark last, on top of the others.
        for contender in CONTENDERS.iter().rev() {
            let Some(wall) = row.median(contender).and(row.cell(contender)).and_then(|cell| cell.wall) else {
                continue;
            };
            let middle = y - 4.0;
            let (low, high) = (axis.at(wall.min), axis.at(wall.max));
            if high - low > 8.0 {
                body.push_str(&format!(
                    "<line class=\"{contender} range\" x1=\"{low:.1}\" y1=\"{middle:.1}\" x2=\"{high:.1}\" y2=\"{middle:.1}\"/>\n"
                ));
            }
            mark(&mut body, contender, axis.at(wall.median), middle);
        }
        let failed = row.cells.iter().filter(|(_, cell)| cell.failures > 0);
        let failed: Vec<&str> = failed.map(|(contender, _)| title(contender)).collect();
        if !failed.is_empty() {
            body.push_str(&format!(
                "<text class=\"tick\" x=\"{RIGHT:.1}\" y=\"{y:.1}\" text-anchor=\"end\">failed: {}</text>\n",
                escape(&failed.join("; "))
            ));
        }
    }
    legend(&mut body);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         role=\"img\">\n<title>{} - seconds, medians, logarithmic</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n",
        escape(name)
    )
}

/// Seconds to places: from one power of ten to another.
#[derive(Clone, Copy)]
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn of(rows: &[Row]) -> Self {
        let walls = || rows.iter().flat_map(|row| &row.cells).filter_map(|(_, cell)| cell.wall);
        let least = walls().map(|wall| wall.min).fold(f64::INFINITY, f64::min);
        let most = walls().map(|wall| wall.max).fold(f64::NEG_INFINITY, f64::max);
        if !least.is_finite() || !most.is_finite() {
            return Axis { from: 0, to: 1 };
        }
        let power = |value: f64| value.max(0.001).log10();
        // Small whole numbers.
        let from = power(least).floor() as i32;
        Axis { from, to: (power(most).ceil() as i32).max(from + 1) }
    }

    fn at(self, seconds: f64) -> f64 {
        let share = (seconds.max(0.001).log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        LEFT + share * (RIGHT - LEFT)
    }
}

fn grid(body: &mut String, axis: Axis, height: f64) {
    for power in axis.from..=axis.to {
        let value = 10_f64.powi(power);
        let x = axis.at(value);
        body.push_str(&format!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\n",
            TOP,
            height - 16.0
        ));
        body.push_str(&format!(
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value} s</text>\n",
            TOP - 6.0
        ));
    }
}

fn legend(body: &mut String) {
    let mut x = LEFT;
    for contender in CONTENDERS {
        mark(body, contender, x, 20.0);
        body.push_str(&format!("<text x=\"{:.1}\" y=\"24\">{}</text>\n", x + 10.0, escape(title(contender))));
        x += 120.0;
    }
}

/// A circle, a square, an open square, an upright line.
fn mark(body: &mut String, contender: &str, x: f64, y: f64) {
    let shape = match contender {
        "gimg" => format!("<circle class=\"gimg\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
        "go" => {
            format!(
                "<line class=\"go\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
                y - 6.0,
                y + 6.0
            )
        }
        other => format!(
            "<rect class=\"{other}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>",
            x - 3.5,
            y - 3.5
        ),
    };
    body.push_str(&shape);
    body.push('\n');
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
