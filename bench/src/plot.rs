//! Plots of results as SVG.

use crate::format::number;
use crate::median::{Median, median_of};
use crate::results::{Plot, Table};
use plotters::prelude::*;
use std::collections::BTreeMap;

const WIDTH: u32 = 860;
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
    RGBColor(230, 159, 0),
];

/// Plots the first column of a table. Returns `None` if the table has no plot.
pub(crate) fn draw(table: &Table) -> Result<Option<String>, String> {
    let mut drawing = String::new();
    match &table.plot {
        Plot::None => return Ok(None),
        Plot::Bars => bars(table, &mut drawing),
        Plot::Lines(size) => json_lines(table, size, &mut drawing),
    }
    .map_err(|e| format!("cannot plot {:?}: {e}", table.title))?;
    Ok(Some(drawing + "\n"))
}

type DrawResult = Result<(), Box<dyn std::error::Error>>;

/// Draws a bar per row. Lengths are logarithmic, because benchmarks differ by orders of magnitude.
fn bars(table: &Table, drawing: &mut String) -> DrawResult {
    const ROW: u32 = 26;
    const NAMES: i32 = 330;
    let cells: Vec<(&str, Median)> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), median_of(row.samples.first()?)?)))
        .filter(|(_, cell)| cell.median > 0.0)
        .collect();
    let height = ROW * cells.len() as u32 + 50;
    let root = SVGBackend::with_string(drawing, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (min, max) = bounds(cells.iter().map(|(_, cell)| cell.median));
    let unit = table.columns.first().map_or("", |column| column.unit.as_str());
    root.draw(&Text::new(
        format!("{} ({unit}, logarithmic)", table.title),
        (10, 8),
        ("sans-serif", 15),
    ))?;
    let room = f64::from(WIDTH as i32 - NAMES - 110);
    let length = |value: f64| (room * (value / min).ln() / (max / min).ln()).max(1.0) as i32;
    for (index, (name, cell)) in cells.iter().enumerate() {
        let top = 36 + ROW as i32 * index as i32;
        let end = NAMES + length(cell.median);
        root.draw(&Text::new((*name).to_owned(), (10, top + 3), ("sans-serif", 13)))?;
        let color = COLORS.first().unwrap_or(&BLACK).filled();
        root.draw(&Rectangle::new([(NAMES, top), (end, top + ROW as i32 - 8)], color))?;
        let whisker = [(NAMES + length(cell.low), top + 9), (NAMES + length(cell.high), top + 9)];
        root.draw(&PathElement::new(whisker, BLACK.stroke_width(2)))?;
        let after = end.max(NAMES + length(cell.high)) + 6;
        root.draw(&Text::new(number(cell.median, 3), (after, top + 3), ("sans-serif", 13)))?;
    }
    root.present()?;
    Ok(())
}

/// Draws a line per series. Both axes are logarithmic, so cost that grows with size has slope one.
fn json_lines(table: &Table, size: &str, drawing: &mut String) -> DrawResult {
    let mut series: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in &table.rows {
        let cell = row.samples.first().and_then(|samples| median_of(samples));
        if let (Some(size), Some(cell)) = (row.size, cell) {
            let name = row.name.split(',').next().unwrap_or(&row.name);
            series.entry(name).or_default().push((size, cell.median));
        }
    }
    let points = || series.values().flatten();
    let (left, right) = bounds(points().map(|(x, _)| *x));
    let (low, high) = bounds(points().map(|(_, y)| *y));
    let root = SVGBackend::with_string(drawing, (WIDTH, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&table.title, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (low..high).log_scale())?;
    let unit = table.columns.first().map_or("", |column| column.unit.as_str());
    chart
        .configure_mesh()
        .x_desc(size)
        .y_desc(unit)
        .x_label_formatter(&|value| number(*value, 1))
        .y_label_formatter(&|value| number(*value, 1))
        .light_line_style(WHITE)
        .draw()?;
    for ((name, points), color) in series.iter().zip(COLORS.iter().cycle()) {
        let color = *color;
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3),
            )?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Returns bounds slightly wider than the values, so that none lies on the edge.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (min, max) =
        values.fold((f64::INFINITY, 0.0f64), |(min, max), value| (min.min(value), max.max(value)));
    if min.is_finite() && min > 0.0 { (min / 1.5, max * 1.5) } else { (0.1, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Column, Row};

    fn table(plot: Plot) -> Table {
        let row = |name: &str, size: f64, value: f64| Row {
            name: name.to_owned(),
            size: Some(size),
            samples: vec![vec![value; 3]],
        };
        Table {
            title: "Sites".to_owned(),
            columns: vec![Column::new("time", "ms")],
            rows: vec![
                row("ours, 1", 1.0, 2.0),
                row("ours, 100", 100.0, 200.0),
                row("theirs, 1", 1.0, 50.0),
            ],
            plot,
            ..Table::default()
        }
    }

    #[test]
    fn labels_title_axes_and_rows() {
        let bars = draw(&table(Plot::Bars)).unwrap().unwrap();
        assert!(
            ["Sites (ms, logarithmic)", "ours, 100", "theirs, 1"]
                .iter()
                .all(|name| bars.contains(name)),
            "{bars}"
        );
        let lines = draw(&table(Plot::Lines("sites".to_owned()))).unwrap().unwrap();
        assert!(
            ["Sites", "ours", "theirs", "sites", "ms"].iter().all(|name| lines.contains(name)),
            "{lines}"
        );
        assert_eq!(draw(&table(Plot::None)).unwrap(), None);
    }

    #[test]
    fn draws_an_empty_table() {
        for plot in [Plot::Bars, Plot::Lines("sites".to_owned())] {
            let empty = Table { rows: Vec::new(), ..table(plot) };
            assert!(draw(&empty).unwrap().is_some_and(|svg| svg.starts_with("<svg")));
        }
    }
}
