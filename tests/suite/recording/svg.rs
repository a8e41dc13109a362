//! Draws a terminal as an SVG, and reads the drawing again.
//!
//! Each run of characters of one color has a position and a length of its own, so the picture is
//! the same with any font. It has its own background and is legible next to a light or a dark page.
//! Where animations are allowed, commands are typed and output appears after them; elsewhere
//! everything is visible at once.

use super::Step;
use std::fmt::Write;

/// Width of the terminal in characters.
const COLUMNS: usize = 100;
/// Size of a character in tenths of a pixel, of a line in pixels, and of the font.
const CHARACTER_TENTHS: usize = 78;
const LINE: usize = 19;
const FONT: usize = 13;
/// Space around the characters, and height of the title bar, in pixels.
const MARGIN: usize = 16;
const TITLE: usize = 28;
/// Duration of the animation in tenths of a second: per character typed, and after a command.
const PER_CHARACTER_HUNDREDTHS: usize = 3;
const PAUSE_HUNDREDTHS: usize = 80;

/// The style of a run of characters: the class in the picture.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Prompt,
    Command,
    Bold,
    Dim,
    Cyan,
}

impl Style {
    fn class(self) -> &'static str {
        match self {
            Style::Plain => "o",
            Style::Prompt => "p",
            Style::Command => "c",
            Style::Bold => "b",
            Style::Dim => "d",
            Style::Cyan => "y",
        }
    }
}

/// A line of the terminal, and when it appears, in hundredths of a second.
struct Line {
    runs: Vec<(Style, String)>,
    at: usize,
}

/// Draws commands with their output.
pub(super) fn draw(steps: &[Step]) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let mut at = PAUSE_HUNDREDTHS / 2;
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            lines.push(Line { runs: Vec::new(), at });
        }
        let runs =
            vec![(Style::Prompt, "$ ".to_owned()), (Style::Command, step.command.to_owned())];
        lines.push(Line { runs, at });
        at += step.command.chars().count() * PER_CHARACTER_HUNDREDTHS + PAUSE_HUNDREDTHS / 2;
        let output = step.output.lines().filter(|line| !line.trim().is_empty());
        lines.extend(output.map(|line| Line { runs: colored(line), at }));
        at += PAUSE_HUNDREDTHS;
    }
    let width = COLUMNS * CHARACTER_TENTHS / 10 + 2 * MARGIN;
    let height = TITLE + lines.len() * LINE + 2 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>A Go program is built with probes, and traced while it runs</title>\n\
         <style>\n\
         text {{ font: {FONT}px ui-monospace, SFMono-Regular, Menlo, Consolas, \"DejaVu Sans Mono\", monospace; fill: #d0d7de; }}\n\
         .p {{ fill: #7ee787; }} .c {{ fill: #ffffff; font-weight: 600; }} .b {{ fill: #ffffff; font-weight: 600; }}\n\
         .d {{ fill: #8b949e; }} .y {{ fill: #79c0ff; }}\n\
         @media (prefers-reduced-motion: no-preference) {{ .l {{ animation: appear 1ms backwards; }} }}\n\
         @keyframes appear {{ from {{ opacity: 0; }} to {{ opacity: 1; }} }}\n\
         </style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#161b22\" stroke=\"#30363d\"/>\n"
    );
    for (number, color) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let x = MARGIN + 4 + 18 * number;
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"18\" r=\"5.5\" fill=\"{color}\"/>");
    }
    for (row, line) in lines.iter().enumerate().filter(|(_, line)| !line.runs.is_empty()) {
        let y = TITLE + MARGIN + row * LINE + FONT - 2;
        let _ = writeln!(out, "{}", drawn(line, y));
    }
    out.push_str("</svg>\n");
    out
}

/// Draws a line with its base at `y`.
fn drawn(line: &Line, y: usize) -> String {
    let seconds = format!("{}.{:02}s", line.at / 100, line.at % 100);
    let mut out = format!("<g class=\"l\" style=\"animation-delay: {seconds}\">");
    let mut column = 0;
    for (style, characters) in &line.runs {
        // Leading spaces move the run: not every program keeps them.
        let content = characters.trim_start_matches(' ');
        column += characters.len() - content.len();
        let length = content.chars().count();
        assert!(column + length <= COLUMNS, "wider than {COLUMNS} columns: {content}");
        if length > 0 {
            let (x, width) = (column * CHARACTER_TENTHS, length * CHARACTER_TENTHS);
            let _ = write!(
                out,
                "<text class=\"{}\" x=\"{}.{}\" y=\"{y}\" textLength=\"{}.{}\" data-column=\"{column}\">{}</text>",
                style.class(),
                MARGIN + x / 10,
                x % 10,
                width / 10,
                width % 10,
                escaped(content)
            );
        }
        column += length;
    }
    out + "</g>"
}

/// Splits a line with escape sequences into runs. Tabs become spaces.
fn colored(line: &str) -> Vec<(Style, String)> {
    let mut out: Vec<(Style, String)> = vec![(Style::Plain, String::new())];
    let mut column = 0;
    for (number, part) in line.split("\x1b[").enumerate() {
        let mut content = part;
        if number > 0 {
            let (codes, rest) = part.split_once('m').unwrap_or((part, ""));
            let style = match codes {
                "1" => Style::Bold,
                "2" => Style::Dim,
                "36" => Style::Cyan,
                "0" | "" => Style::Plain,
                other => panic!("no color for the escape sequence {other}"),
            };
            out.push((style, String::new()));
            content = rest;
        }
        for c in content.chars() {
            let spaces = 8 - column % 8;
            let (text, width) =
                if c == '\t' { (" ".repeat(spaces), spaces) } else { (c.to_string(), 1) };
            column += width;
            out.last_mut().unwrap().1.push_str(&text);
        }
    }
    out
}

/// Returns a line without escape sequences.
pub(super) fn plain(line: &str) -> String {
    colored(line).into_iter().map(|(_, content)| content).collect()
}

/// Escapes the characters of a run. Its spaces do not break, because renderers join others.
fn escaped(content: &str) -> String {
    let content = content.replace(' ', "\u{a0}");
    content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(content: &str) -> String {
    let content = content.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    content.replace('\u{a0}', " ")
}

/// Returns the commands of a drawing with the output that it shows.
pub(super) fn commands_and_output(svg: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in svg.lines().filter(|line| line.starts_with("<g ")) {
        let mut shown = String::new();
        for part in line.split("<text ").skip(1) {
            let (attributes, rest) = part.split_once('>').unwrap();
            let (_, column) = attributes.split_once("data-column=\"").unwrap();
            let column: usize = column.trim_end_matches('"').parse().unwrap();
            let spaces = column.saturating_sub(shown.chars().count());
            shown.push_str(&" ".repeat(spaces));
            let content = rest.split_once("</text>").unwrap().0;
            shown.push_str(&unescaped(content));
        }
        match (shown.strip_prefix("$ "), out.last_mut()) {
            (Some(command), _) => out.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => {
                output.push_str(&shown);
                output.push('\n');
            }
            (None, None) => panic!("output before the first command: {shown}"),
        }
    }
    out
}

#[test]
fn a_drawing_can_be_read_again() {
    let output = "\x1b[2m12:00\x1b[0m \x1b[1ma:b\x1b[0m <x> & y\n\n\ttab  two\n".to_owned();
    let steps = [Step { command: "echo '<&>'", output }];
    let read = commands_and_output(&draw(&steps));
    let expected = "12:00 a:b <x> & y\n        tab  two\n";
    assert_eq!(read, [("echo '<&>'".to_owned(), expected.to_owned())]);
}
