//! Draws panels with the answers to their queries, as SVG. Pure. It is not Grafana, which would need its own build:
//! same queries, same titles, plain lines.

use std::fmt::Write as _;

/// The queries of one panel, answered.
pub struct Drawn {
    /// Its title.
    pub title: String,
    /// Its unit.
    pub unit: String,
    /// Each series: its name, and its points by time in seconds.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 190.0;
const GAP: f64 = 12.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 28.0;
const LEGEND: f64 = 44.0;
/// Colours that colour-blind people can distinguish too.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"];
/// The most series that a legend names.
const NAMED: usize = 6;

/// All of `panels`, two per row, from `start` to `end`.
#[must_use]
pub fn picture(panels: &[Drawn], (start, end): (f64, f64)) -> String {
    let rows = panels.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH + 3.0 * GAP, count(rows) * (HEIGHT + GAP) + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#f4f5f5\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let (x, y) = (GAP + count(index % 2) * (WIDTH + GAP), GAP + count(index / 2) * (HEIGHT + GAP));
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(&mut svg, panel, (start, end));
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Drawn, (start, end): (f64, f64)) {
    let _ = writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\" stroke=\"#ddd\"/>");
    text(svg, (10.0, 17.0), "start", &format!("<tspan font-weight=\"bold\">{}</tspan>", escaped(&panel.title)));
    text(svg, (WIDTH - 12.0, 17.0), "end", &format!("<tspan fill=\"#666\">{}</tspan>", escaped(&panel.unit)));
    let values = panel.lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.1 } else { 1.0 };
    let bottom = HEIGHT - LEGEND;
    let place = |(time, value): (f64, f64)| {
        let x = LEFT + (time - start) / (end - start) * (WIDTH - LEFT - 12.0);
        (x, bottom - value / top * (bottom - TOP))
    };
    for part in [0.0, 0.5, 1.0] {
        let (_, y) = place((start, top * part));
        let (left, right) = (LEFT, WIDTH - 12.0);
        let _ = writeln!(svg, "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e5e5e5\"/>");
        text(svg, (LEFT - 6.0, y + 4.0), "end", &short(top * part));
    }
    for (index, (name, points)) in panel.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = points.iter().filter(|(_, value)| value.is_finite()).map(|point| place(*point));
        let path: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let path = path.join(" ");
        let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
        if index < NAMED {
            let at = (12.0 + count(index % 2) * WIDTH / 2.0, bottom + 14.0 + count(index / 2) * 12.0);
            let named = format!("<tspan fill=\"{colour}\">&#9644;</tspan> {}", escaped(name));
            text(svg, at, "start", &named);
        }
    }
    if panel.lines.is_empty() {
        text(svg, (WIDTH / 2.0, HEIGHT / 2.0), "middle", "none");
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn short(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[allow(clippy::cast_precision_loss, reason = "a handful of panels")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_a_line_with_its_name() {
        let lines = vec![("a<b".to_owned(), vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])];
        let drawn = |title: &str, lines| Drawn { title: title.into(), unit: "calls/s".into(), lines };
        let panels = [drawn("T", lines), drawn("nothing", vec![])];
        let svg = picture(&panels, (0.0, 2.0));
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(
            svg.contains("a&lt;b")
                && svg.contains(">none<")
                && svg.matches(">calls/s<").count() == 2
                && !svg.contains("NaN"),
            "{svg}"
        );
    }
}
