//! Durations and sizes as they are written: a number with its unit, nothing else.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

/// A length of time: `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes: `"512B"`, `"64KiB"`, `"16MiB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A part of a disk or a number of bytes: `"70%"`, `"200GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// From 1 to 100.
    Percent(u8),
    Bytes(u64),
}

/// The text is not a number followed by one of the units. The operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found \"{found}\"")]
pub struct UnitError {
    expected: &'static str,
    found: String,
}

/// What a duration looks like, for messages.
pub const PERIOD_EXAMPLE: &str = "a duration such as \"30s\", \"5m\" or \"1h\" (units: ms, s, m, h, d)";
/// What a size looks like, for messages.
pub const SIZE_EXAMPLE: &str = "a size such as \"64KiB\" or \"16MiB\" (units: B, KiB, MiB, GiB)";
/// What a part of a disk looks like, for messages.
pub const SHARE_EXAMPLE: &str = "a part of the disk such as \"70%\", or a size such as \"200GiB\"";

const PERIOD_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Number times unit; `None` for anything else, also for more than 64 bits.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit that divides the value.
fn format(value: u64, units: &[(&str, u64)], zero: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let exact = units.iter().find(|(_, factor)| value.is_multiple_of(*factor));
    match exact {
        Some((name, factor)) if value > 0 => write!(f, "{}{name}", value / factor),
        _ => f.write_str(zero),
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Period, UnitError> {
        let error = || UnitError { expected: PERIOD_EXAMPLE, found: text.to_owned() };
        parse(text, &PERIOD_UNITS).map(|millis| Period(Duration::from_millis(millis))).ok_or_else(error)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Size, UnitError> {
        let error = || UnitError { expected: SIZE_EXAMPLE, found: text.to_owned() };
        parse(text, &SIZE_UNITS).map(Size).ok_or_else(error)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Share, UnitError> {
        let error = || UnitError { expected: SHARE_EXAMPLE, found: text.to_owned() };
        let Some(percent) = text.strip_suffix('%') else {
            return parse(text, &SIZE_UNITS).map(Share::Bytes).ok_or_else(error);
        };
        let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
        percent.map(Share::Percent).ok_or_else(error)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Percent(percent) => write!(f, "{percent}%"),
            Share::Bytes(bytes) => Size(*bytes).fmt(f),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        format(millis, &PERIOD_UNITS, "0s", f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format(self.0, &SIZE_UNITS, "0B", f)
    }
}

/// Text on both ways, and the schema that [`structure`](super::structure) knows by its `x-unit`.
macro_rules! text_value {
    ($type:ident, $unit:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-unit": $unit })
            }
        }
    };
}

text_value!(Period, "duration", "^[0-9]+(ms|s|m|h|d)$");
text_value!(Size, "size", "^[0-9]+(B|KiB|MiB|GiB)$");
text_value!(Share, "share", "^[0-9]+(%|B|KiB|MiB|GiB)$");

/// Accepts `"a"` for `["a"]`.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
    })
}

/// The schema of [`one_or_many`] over `T`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_number_and_unit() {
        let check = |text: &str, millis: Option<u64>| {
            let parsed = text.parse::<Period>().ok().map(|period| period.0.as_millis() as u64);
            assert_eq!(parsed, millis, "{text}");
        };
        let cases = [("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("250ms", 250), ("0s", 0)];
        for (text, millis) in cases {
            check(text, Some(millis));
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for text in ["", "30", "s", "-1s", "1.5s", "1 s", "1S", "1min", "1h30m", "99999999999999999d", "+1s"]
        {
            check(text, None);
        }
        for (text, bytes) in [("0B", 0), ("1B", 1), ("64KiB", 65_536), ("16MiB", 1 << 24), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse::<Size>().map(|size| size.0), Ok(bytes));
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["16", "16MB", "16mib", "1.5GiB", "16 MiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
