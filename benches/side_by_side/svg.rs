//! Small SVG charts that follow the reader's light or dark mode.

use std::fmt::Write;

/// A mark with its range: from, value, to.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) range: [f64; 3],
}

/// Bars under one heading.
pub(crate) struct Group {
    pub(crate) heading: String,
    pub(crate) bars: Vec<Bar>,
}

/// One line of a line chart: its points in the order of x.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<[f64; 2]>,
}

/// How lengths follow values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

const WIDTH: f64 = 760.0;
/// Where the bars begin and end.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 46.0;
const ROW: f64 = 15.0;

const STYLE: &str = "<style>text{font:11px system-ui,sans-serif;fill:#24292f}.t{font-size:14px;\
     font-weight:600}.h{font-weight:600}.v{fill:#57606a}.e{text-anchor:end}.m{text-anchor:middle}\
     .g{stroke:#d0d7de}.w{stroke:#24292f}.s{fill:#0969da;stroke:#0969da}.o{fill:#8c959f;stroke:#8c959f}\
     .f{fill:#2da44e;stroke:#2da44e}polyline{fill:none!important;stroke-width:2}\
     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9198a1}.g{stroke:#3d444d}\
     .w{stroke:#e6edf3}}</style>";

/// The colour of a peer: this program, the yardsticks, the others.
fn class(label: &str) -> &'static str {
    match label {
        label if label.starts_with("serbroker") => "s",
        label if label.starts_with("floor") => "f",
        _ => "o",
    }
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis for `values`, from pixel `from` to pixel `to`.
    fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high <= 0.0 {
            (low, high) = (1.0, 10.0);
        }
        match scale {
            Scale::Linear => low = 0.0,
            Scale::Log => (low, high) = (tenfold(low.log10().floor()), tenfold(high.log10().ceil())),
        }
        if low >= high {
            high = low * 10.0;
        }
        Self { scale, low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.scale {
            Scale::Log => {
                let mut tick = self.low;
                while tick <= self.high * 1.001 {
                    ticks.push(tick);
                    tick *= 10.0;
                }
            }
            Scale::Linear => {
                // a fifth of it or less, rounded to 1, 2 or 5 times a power of ten
                let size = tenfold((self.high / 5.0).log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * size);
                let step = step.into_iter().find(|step| self.high / step <= 5.0).unwrap_or(self.high);
                let mut tick = 0.0;
                while tick <= self.high * 1.001 {
                    ticks.push(tick);
                    tick += step;
                }
            }
        }
        ticks
    }
}

fn tenfold(exponent: f64) -> f64 {
    10.0_f64.powf(exponent)
}

/// A tick's value without needless digits.
fn tick_label(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn begin(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\
         <title>{0}</title>{STYLE}\n<text class=\"t\" x=\"8\" y=\"20\">{0}</text>\n",
        escape(title)
    )
}

/// A chart of horizontal bars, each with its value and a line over its range.
pub(crate) fn bars(title: &str, scale: Scale, groups: &[Group]) -> String {
    let count: usize = groups.iter().map(|group| group.bars.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a chart has some dozens of rows")]
    let height = TOP + ROW * (count + 2 * groups.len()) as f64 + 24.0;
    let values = groups.iter().flat_map(|group| group.bars.iter().flat_map(|bar| bar.range));
    let axis = Axis::new(scale, values, LEFT, RIGHT);
    let mut text = begin(height, title);
    let bottom = height - 20.0;
    // writing to a String cannot fail
    for tick in axis.ticks() {
        let (x, label) = (axis.at(tick), tick_label(tick));
        let _ = writeln!(
            text,
            "<path class=\"g\" d=\"M{x:.1} {TOP}V{bottom:.0}\"/>\
             <text class=\"v m\" x=\"{x:.1}\" y=\"{:.0}\">{label}</text>",
            bottom + 14.0
        );
    }
    let mut y = TOP;
    for group in groups {
        y += 1.5 * ROW;
        let _ = writeln!(
            text,
            "<text class=\"h\" x=\"8\" y=\"{:.0}\">{}</text>",
            y - 4.0,
            escape(&group.heading)
        );
        for bar in &group.bars {
            let [low, middle, high] = bar.range;
            let (from, x, to) = (axis.at(low), axis.at(middle), axis.at(high));
            let (line, width) = (y + ROW / 2.0, x - LEFT);
            let _ = writeln!(
                text,
                "<text class=\"e\" x=\"{:.0}\" y=\"{:.1}\">{}</text>\
                 <rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"9\"/>\
                 <path class=\"w\" d=\"M{from:.1} {line:.1}H{to:.1}\"/>\
                 <text class=\"v\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                line + 4.0,
                escape(&bar.label),
                class(&bar.label),
                line - 4.5,
                x.max(to) + 5.0,
                line + 4.0,
                crate::table::number(middle)
            );
            y += ROW;
        }
        y += ROW / 2.0;
    }
    text + "</svg>\n"
}

/// A line chart; both axes carry their values.
pub(crate) fn lines(title: &str, [x_scale, y_scale]: [Scale; 2], x_label: &str, lines: &[Line]) -> String {
    let height = 340.0;
    let (top, bottom) = (TOP, height - 48.0);
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = Axis::new(x_scale, points().map(|point| point[0]), 70.0, RIGHT - 90.0);
    let up = Axis::new(y_scale, points().map(|point| point[1]), bottom, top);
    let mut text = begin(height, title);
    // writing to a String cannot fail
    for tick in up.ticks() {
        let (y, label) = (up.at(tick), tick_label(tick));
        let _ = writeln!(
            text,
            "<path class=\"g\" d=\"M70 {y:.1}H{:.0}\"/><text class=\"v e\" x=\"64\" y=\"{:.1}\">{label}</text>",
            RIGHT - 90.0,
            y + 4.0
        );
    }
    for tick in across.ticks() {
        let x = across.at(tick);
        let _ = writeln!(
            text,
            "<text class=\"v m\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>",
            bottom + 16.0,
            tick_label(tick)
        );
    }
    let _ = writeln!(
        text,
        "<text class=\"v m\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
        f64::midpoint(70.0, RIGHT - 90.0),
        bottom + 34.0,
        escape(x_label)
    );
    let mut labels: Vec<(f64, &str)> = Vec::new();
    for line in lines {
        let place = |point: &[f64; 2]| format!("{:.1},{:.1}", across.at(point[0]), up.at(point[1]));
        let path: Vec<_> = line.points.iter().map(place).collect();
        let class = class(&line.label);
        let _ = writeln!(text, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
        for point in &line.points {
            let (x, y) = (across.at(point[0]), up.at(point[1]));
            let _ = writeln!(text, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
        if let Some(last) = line.points.last() {
            labels.push((up.at(last[1]), &line.label));
        }
    }
    // names stand at the lines' ends, moved down where they would lie upon each other
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::NEG_INFINITY;
    for (y, label) in labels {
        let y = y.max(free);
        free = y + 12.0;
        let _ =
            writeln!(text, "<text x=\"{:.0}\" y=\"{:.1}\">{}</text>", RIGHT - 82.0, y + 4.0, escape(label));
    }
    text + "</svg>\n"
}
