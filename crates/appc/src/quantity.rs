//! Quantities of resources as Kubernetes writes them (specification, "Resource Isolators").

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::ManifestError;
use crate::json::{At, Node, Read, deserialize_by_read};

/// Billionths in one.
const NANO: i128 = 1_000_000_000;

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

/// `digits` × 10^`power` × 2^`shift` as a whole number, rounded up; `None` when it is above `limit`.
fn scaled(digits: &str, power: i64, shift: u32, limit: i128) -> Option<i128> {
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let power = power + i64::try_from(digits.len() - significant.len()).ok()?;
    let size = power + i64::try_from(significant.len()).ok()?;
    if size > 40 {
        return None;
    }
    // Digits that cannot matter but for rounding up: below a billionth of a billionth.
    let keep = usize::try_from((size + 38).max(0)).ok()?.min(significant.len()).min(36);
    let (head, tail) = significant.split_at(keep);
    let mut number: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    let mut inexact = !tail.is_empty();
    let mut power = power + i64::try_from(tail.len()).ok()?;
    // Doubling and dividing take turns, so that no step leaves 128 bits unless the result does.
    let mut shift = shift;
    while power < 0 {
        while shift > 0 && number < 1 << 120 {
            number <<= 1;
            shift -= 1;
        }
        inexact |= number % 10 != 0;
        number /= 10;
        power += 1;
        if number == 0 {
            break;
        }
    }
    while power > 0 && number > 0 {
        number = number.checked_mul(10).filter(|number| *number <= limit)?;
        power -= 1;
    }
    for _ in 0..shift {
        number = number.checked_mul(2).filter(|number| *number <= limit)?;
    }
    Some(number + i128::from(inexact)).filter(|number| *number <= limit)
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
        let power = i64::from(power) - i64::try_from(fraction.len()).map_err(|_| form())? + 9;
        let limit = i128::from(i64::MAX) * NANO;
        let nanos = scaled(digits.trim_start_matches('0'), power, shift, limit)
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
