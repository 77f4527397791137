//! Draws latency against the rate of requests, as SVG. Pure.

use std::fmt::Write as _;

use super::record::{Load, Summary};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that colour-blind people can distinguish too.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"];

/// A picture of p50 (full line) and p99 (dashed) of each contender, with logarithmic axes. `None` if no rate was
/// measured.
pub(super) fn plot(summaries: &[Summary]) -> Option<String> {
    let lines = lines(summaries);
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::over(points().map(|point| point.rate), LEFT, WIDTH - RIGHT)?;
    let y = Axis::over(points().flat_map(|point| [point.p50, point.p99]), HEIGHT - BOTTOM, TOP)?;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (LEFT, 20.0, "start"), "From due to seen to have ended, ms (full p50, dashed p99)");
    text(&mut svg, (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 12.0, "middle"), "requests per second");
    for value in y.ticks() {
        let at = y.place(value);
        line(&mut svg, (LEFT, at, WIDTH - RIGHT, at), "#ddd");
        text(&mut svg, (LEFT - 8.0, at + 4.0, "end"), &value.to_string());
    }
    let mut rates: Vec<f64> = points().map(|point| point.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    for rate in rates {
        let at = x.place(rate);
        line(&mut svg, (at, TOP, at, HEIGHT - BOTTOM), "#eee");
        text(&mut svg, (at, HEIGHT - BOTTOM + 18.0, "middle"), &rate.to_string());
    }
    for (index, one) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        curve(&mut svg, one.points.iter().map(|point| (x.place(point.rate), y.place(point.p50))), colour, "");
        curve(&mut svg, one.points.iter().map(|point| (x.place(point.rate), y.place(point.p99))), colour, "6 4");
        #[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
        let at = TOP + 10.0 + 20.0 * index as f64;
        let left = WIDTH - RIGHT + 15.0;
        line(&mut svg, (left, at, left + 20.0, at), colour);
        text(&mut svg, (left + 26.0, at + 4.0, "start"), one.name);
    }
    svg += "</svg>\n";
    Some(svg)
}

struct Line<'a> {
    name: &'a str,
    points: Vec<Point>,
}

struct Point {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn lines(summaries: &[Summary]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = vec![];
    for summary in summaries {
        let Load::Rate { per_second, .. } = summary.load else { continue };
        let point = Point { rate: per_second, p50: summary.p50_ms.median, p99: summary.p99_ms.median };
        match lines.iter_mut().find(|line| line.name == summary.contender) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: &summary.contender, points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    }
    lines
}

/// A logarithmic axis between two places on the page.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that covers all of `values`. `None` if there is no value.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (low, high) = values.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), it| (low.min(it), high.max(it)));
        (low > 0.0 && low <= high).then(|| Self { low: low / 1.25, high: high * 1.25, from, to })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// 1, 2 and 5 times the powers of ten.
    fn ticks(&self) -> Vec<f64> {
        let powers = (-3..=6).map(|power| 10_f64.powi(power));
        powers
            .flat_map(|power| [power, 2.0 * power, 5.0 * power])
            .filter(|it| (self.low..=self.high).contains(it))
            .collect()
    }
}

fn line(svg: &mut String, (x1, y1, x2, y2): (f64, f64, f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}

fn curve(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str, dashes: &str) {
    let points: Vec<_> = points.collect();
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

fn text(svg: &mut String, (x, y, anchor): (f64, f64, &str), text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_spreads_factors_evenly_and_names_round_values() {
        let axis = Axis::over([10.0, 80.0].into_iter(), 0.0, 100.0).unwrap();
        assert!((axis.place(8.0) - 0.0).abs() < 1e-9 && (axis.place(100.0) - 100.0).abs() < 1e-9);
        let middle = axis.place((8.0_f64 * 100.0).sqrt());
        assert!((middle - 50.0).abs() < 1e-9, "{middle}");
        assert_eq!(axis.ticks(), [10.0, 20.0, 50.0, 100.0]);
        assert!(Axis::over([].into_iter(), 0.0, 1.0).is_none());
    }
}
