//! Quantities of resources as Kubernetes writes them (specification, "Resource Isolators").

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::ManifestError;
use crate::json::{At, Node, Read, deserialize_by_read};

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// How many significant digits are read.
const MAX_DIGITS: usize = 20;

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It is not a number with a known suffix.
    #[error(
        "{0:?} is not a quantity (a number, then m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent)"
    )]
    Form(String),
    /// It is below zero.
    #[error("{0:?} must not be negative")]
    Negative(String),
    /// It has more than 20 significant digits.
    #[error("{0:?} has too many digits (20 count at most)")]
    TooPrecise(String),
    /// It is more than 2^63 - 1.
    #[error("{0:?} is too large (the limit is 2^63 - 1)")]
    TooLarge(String),
}

/// An amount of a resource: bytes, cores, operations…
///
/// `16Mi`, `50M`, `500m`, `2`, `0.5`, `1e3`. Kept as written and as an exact number of billionths; what is finer than a
/// billionth rounds up, as in Kubernetes. Two quantities are equal when their amounts are.
#[derive(Clone)]
pub struct Quantity {
    /// The text as written.
    text: String,
    /// The amount in billionths, from 0 to 2^63 - 1 whole ones.
    nanos: i128,
}

impl Quantity {
    /// A whole amount; an amount above 2^63 - 1 becomes that.
    pub fn from_value(value: u64) -> Self {
        let value = value.min(i64::MAX.unsigned_abs());
        Self { text: value.to_string(), nanos: i128::from(value) * NANO }
    }

    /// The amount in whole ones (bytes for memory), rounded up.
    pub fn value(&self) -> u64 {
        u64::try_from(div_up(self.nanos, NANO)).unwrap_or(u64::MAX)
    }

    /// The amount in thousandths (of a core for CPU), rounded up; 2^64 - 1 when it does not fit.
    pub fn milli_value(&self) -> u64 {
        u64::try_from(div_up(self.nanos, NANO / 1000)).unwrap_or(u64::MAX)
    }

    /// The amount as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Divides and rounds up; both are not negative.
fn div_up(dividend: i128, divisor: i128) -> i128 {
    dividend / divisor + i128::from(dividend % divisor != 0)
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of two.
    Two(u32),
}

/// Reads a suffix.
fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "" => Scale::Ten(0),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // An exponent beyond this is out of range for every number but 0 anyway.
            let size = digits.parse().unwrap_or(i32::MAX).min(100_000);
            Scale::Ten(if exponent.starts_with('-') { -size } else { size })
        }
    })
}

/// `digits` × 10^`power` × 2^`shift` as a whole number, rounded up; `None` when it does not fit.
///
/// `digits` has at most [`MAX_DIGITS`] digits, so that no step rounds before the last division: 10^20 × 2^60 fits 127
/// bits, and dividing by ten again and again, each time rounding up, gives what one division would.
fn scaled(digits: &str, power: i64, shift: u32) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    if power > 40 {
        return None;
    }
    let mut number: i128 = digits.parse().ok()?;
    number = number.checked_mul(1 << shift)?;
    let mut power = power;
    while power < 0 && number > 1 {
        number = div_up(number, 10);
        power += 1;
    }
    while power > 0 {
        number = number.checked_mul(10)?;
        power -= 1;
    }
    Some(number)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let form = || QuantityError::Form(text.to_owned());
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(form());
        }
        let (power, shift) = match scale(suffix).ok_or_else(form)? {
            Scale::Ten(power) => (power, 0),
            Scale::Two(shift) => (0, shift),
        };
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.len() > MAX_DIGITS {
            return Err(QuantityError::TooPrecise(text.to_owned()));
        }
        let length = |text: &str| i64::try_from(text.len()).map_err(|_| form());
        let power = i64::from(power) + 9 - length(fraction)? + length(digits)? - length(significant)?;
        let nanos = scaled(significant, power, shift)
            .filter(|nanos| *nanos <= i128::from(i64::MAX) * NANO)
            .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))?;
        if negative && nanos != 0 {
            return Err(QuantityError::Negative(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), nanos })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Read for Quantity {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let parsed = match at.node {
            Node::Integer(number) => number.to_string().parse(),
            Node::Float(number) => number.to_string().parse(),
            _ => at.text()?.parse(),
        };
        parsed.map_err(|error: QuantityError| at.error(error))
    }
}

deserialize_by_read!(Quantity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, value, milli) in [
            ("0", 0, 0),
            ("2", 2, 2000),
            ("+2", 2, 2000),
            ("-0", 0, 0),
            ("500m", 1, 500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("5.", 5, 5000),
            ("1n", 1, 1),
            ("1500u", 1, 2),
            ("50M", 50_000_000, 50_000_000_000),
            ("1k", 1000, 1_000_000),
            ("1G", 1_000_000_000, 1_000_000_000_000),
            ("16Mi", 16 << 20, (16 << 20) * 1000),
            ("1.5Gi", 3 << 29, (3 << 29) * 1000),
            ("0.1Ki", 103, 102_400),
            ("4Ti", 4 << 40, (4 << 40) * 1000),
            ("1e3", 1000, 1_000_000),
            ("12E2", 1200, 1_200_000),
            ("1E", 1_000_000_000_000_000_000, u64::MAX),
            ("1e-3", 1, 1),
            ("25e+1", 250, 250_000),
            ("7Ei", 7 << 60, u64::MAX),
            ("7.99999999999999999Ei", 9_223_372_036_854_775_797, u64::MAX),
            ("9223372036854775807", 9_223_372_036_854_775_807, u64::MAX),
            ("9223372036854775807000m", 9_223_372_036_854_775_807, u64::MAX),
            ("0.000000000000000000000001", 1, 1),
            ("0e999999999999", 0, 0),
            ("1e-999999999999", 1, 1),
            ("100000000000000000000000000000000000000000e-40", 10, 10_000),
            ("0.00000000000000000000000000000000000000000125e43", 13, 12_500),
        ] {
            let quantity: Quantity = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((quantity.value(), quantity.milli_value()), (value, milli), "{text}");
            assert_eq!(quantity.to_string(), text);
        }
    }

    #[test]
    fn refused() {
        let check = |texts: &[&str], error: fn(String) -> QuantityError| {
            for text in texts {
                assert_eq!(text.parse::<Quantity>(), Err(error((*text).to_owned())), "{text:?}");
            }
        };
        check(
            &[
                "", "m", "Mi", "1K", "1mi", "1 Mi", " 1", "1Mib", "1e", "1e+", "1e1.5", "1.2.3", "--1",
                "0x10", "١", "1Mi\n", ".",
            ],
            QuantityError::Form,
        );
        check(&["-1", "-0.5", "-1Mi"], QuantityError::Negative);
        check(
            &[
                "8Ei",
                "9223372036854775808",
                "9223372036854775807.1",
                "1e19",
                "1e999999999999",
                "100000E",
                "1e41",
            ],
            QuantityError::TooLarge,
        );
        check(&["1.00000000000000000000000001"], QuantityError::TooPrecise);
    }

    #[test]
    fn json_takes_numbers_and_texts() {
        for (json, text) in
            [("\"16Mi\"", "16Mi"), ("1000000", "1000000"), ("0.25", "0.25"), ("1.5e3", "1500")]
        {
            let quantity: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(quantity.as_str(), text);
            assert_eq!(serde_json::to_string(&quantity).unwrap(), format!("{text:?}"));
        }
        for json in ["true", "null", "[]", "-1", "1e300", "18446744073709551615", "\"1K\""] {
            assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn amounts_compare_not_texts() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert_eq!(quantity("1"), quantity("1000m"));
        assert!(quantity("1Mi") > quantity("1M"));
        assert_eq!(Quantity::from_value(4096), quantity("4Ki"));
        assert_eq!(Quantity::from_value(u64::MAX).value(), i64::MAX.unsigned_abs());
    }
}
