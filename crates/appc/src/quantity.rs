//! Amounts as Kubernetes writes them: `500m`, `2`, `16Mi`, `1.5G`, `1e3`; appc specification, "Resource Isolators".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Not a number with one of the known suffixes.
    #[error("{0:?} is no amount: a number with one of the suffixes m k M G T P E Ki Mi Gi Ti Pi Ei")]
    Malformed(String),
    /// More than 64 bits of thousandths hold.
    #[error("{0:?} is too large an amount")]
    TooLarge(String),
}

/// An exact, non-negative amount in thousandths; keeps the text that it was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    thousandths: u128,
    text: String,
}

impl Quantity {
    /// The whole amount (bytes, cores), rounded up.
    pub fn value(&self) -> u64 {
        u64::try_from(self.thousandths.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// The amount in thousandths (millicores).
    pub fn milli_value(&self) -> u64 {
        u64::try_from(self.thousandths).unwrap_or(u64::MAX)
    }
}

impl From<u64> for Quantity {
    fn from(value: u64) -> Self {
        Self { thousandths: u128::from(value) * 1000, text: value.to_string() }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let malformed = || QuantityError::Malformed(text.chars().take(80).collect());
        let too_large = || QuantityError::TooLarge(text.chars().take(80).collect());
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || text.len() > 64 {
            return Err(malformed());
        }
        let (multiplier, exponent) = scale(suffix).ok_or_else(malformed)?;
        let digits = format!("{whole}{fraction}");
        let digits: u128 = digits
            .trim_start_matches('0')
            .parse()
            .or_else(|_| if digits.bytes().all(|digit| digit == b'0') { Ok(0) } else { Err(too_large()) })?;
        // Thousandths: three digits to the left, and as many to the right as the fraction has.
        let shift = exponent + 3 - i32::try_from(fraction.len()).map_err(|_| malformed())?;
        let power = 10_u128.checked_pow(shift.unsigned_abs()).ok_or_else(too_large)?;
        let scaled = digits.checked_mul(multiplier).ok_or_else(too_large)?;
        let thousandths = if shift >= 0 {
            scaled.checked_mul(power).ok_or_else(too_large)?
        } else {
            scaled.div_ceil(power)
        };
        if thousandths > u128::from(u64::MAX) * 1000 {
            return Err(too_large());
        }
        Ok(Self { thousandths, text: text.to_owned() })
    }
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1, (-30..=30).contains(&exponent).then_some(exponent)?)
        }
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an amount: a number, or a string such as \"16Mi\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Quantity, E> {
                Ok(Quantity::from(value))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Quantity, E> {
                value.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, value, milli) in [
            ("0", 0, 0),
            ("2", 2, 2000),
            ("500m", 1, 500),
            ("1.5", 2, 1500),
            (".5", 1, 500),
            ("16Mi", 16 << 20, (16 << 20) * 1000),
            ("1.5Ki", 1536, 1_536_000),
            ("50M", 50_000_000, 50_000_000_000),
            ("1e3", 1000, 1_000_000),
            ("1E-3", 1, 1),
            ("0.0001", 1, 1),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.value(), quantity.milli_value()), (value, milli), "{text}");
            assert_eq!(quantity.to_string(), text);
        }
        for text in ["", "m", "-1", "1.2.3", "1 M", "1Zi", "1e99", "1e", "one", "99999999Ei"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
