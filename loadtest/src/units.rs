//! Times, shares and rates as people write them.

use std::time::Duration;

/// `250us`, `5ms`, `1.5s`, `2m`, `1h`; a bare number is seconds.
///
/// # Errors
/// What may be written instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
    let scale = match &text[digits.len()..] {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time such as 500us, 5ms, 1.5s or 2m".to_owned()),
    };
    let number = number(digits).ok_or("write a time such as 500us, 5ms, 1.5s or 2m")?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| "this time is too long".to_owned())
}

/// A decimal number that is not negative, without exponents and names.
pub fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

/// `0.1%` as 0.001.
pub fn percent(text: &str) -> Option<f64> {
    number(text.strip_suffix('%')?).map(|number| number / 100.0)
}

/// A time in nanoseconds, as people read it: `87 µs`, `1.23 ms`, `4.5 s`.
pub fn shown_ns(ns: f64) -> String {
    let sign = if ns < 0.0 { "-" } else { "" };
    let (value, unit) = match ns.abs() {
        small if small < 1e6 => (small / 1e3, "µs"),
        middle if middle < 1e9 => (middle / 1e6, "ms"),
        large => (large / 1e9, "s"),
    };
    let digits = match value {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{sign}{value:.digits$} {unit}")
}

/// A count with its thousands apart.
pub fn shown_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_shown_with_one() {
        let check = |text: &str, us: Option<u64>| {
            assert_eq!(duration(text).ok(), us.map(Duration::from_micros), "{text}");
        };
        check("250us", Some(250));
        check("5ms", Some(5_000));
        check("1.5s", Some(1_500_000));
        check("3", Some(3_000_000));
        check("2m", Some(120_000_000));
        for text in ["", "ms", "-1s", "1e3s", "inf", "1d", "1.2.3s", "99999999999999999999h"] {
            check(text, None);
        }
        assert_eq!(shown_ns(870.0), "0.87 µs");
        assert_eq!(shown_ns(1_234_000.0), "1.23 ms");
        assert_eq!(shown_ns(-45_600_000.0), "-45.6 ms");
        assert_eq!(shown_ns(2.5e9), "2.50 s");
        assert_eq!(shown_count(1_234_567), "1,234,567");
        assert_eq!(percent("0.5%"), Some(0.005));
        assert_eq!(percent("0.5"), None);
    }
}
