//! Number formatting for tables and plots.

/// Formats a number with the given count of significant digits and grouped thousands: `1,234`.
/// Returns a dash if the number is not finite.
pub(crate) fn number(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    let places = (digits - 1 - magnitude).clamp(0, 6) as usize;
    let text = format!("{value:.places$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or_else(|| format!("{sign}{grouped}"), |rest| format!("{sign}{grouped}.{rest}"))
}

/// Formats a count with its noun: `1 probe`, `10 probes`.
pub(crate) fn count_of(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_with_singular_and_plural() {
        assert_eq!([0, 1, 2].map(|n| count_of(n, "site")), ["0 sites", "1 site", "2 sites"]);
    }

    #[test]
    fn rounds_to_significant_digits() {
        let three = |value| number(value, 3);
        assert_eq!(
            [0.324_56, 12.345, 999.6, 1234.5, 1_234_567.0].map(three),
            ["0.325", "12.3", "1,000", "1,234", "1,234,567"]
        );
        assert_eq!([0.0, f64::NAN, -1234.0].map(three), ["0", "–", "-1,234"]);
    }
}
