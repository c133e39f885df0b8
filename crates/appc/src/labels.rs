//! Labels and annotations: lists of unique names with a value each.

use serde::Serialize;

use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};
use crate::{AcIdentifier, os_arch};

macro_rules! name_value_list {
    ($(#[$item_doc:meta])* $item:ident, $(#[$list_doc:meta])* $list:ident) => {
        $(#[$item_doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $item {
            /// The name, unique in its list.
            pub name: AcIdentifier,
            /// The value, any text.
            pub value: String,
        }

        impl Read for $item {
            fn read(at: At<'_>) -> Result<Self, ManifestError> {
                at.object()?;
                Ok(Self { name: at.parsed("name")?, value: at.or_default("value")? })
            }
        }

        $(#[$list_doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $list(pub Vec<$item>);

        impl $list {
            /// An empty list.
            pub const fn new() -> Self {
                Self(Vec::new())
            }

            /// The value that belongs to `name`.
            pub fn get(&self, name: &str) -> Option<&str> {
                self.0.iter().find(|item| item.name == *name).map(|item| item.value.as_str())
            }

            /// Gives `name` the value `value`, in place when `name` is in the list already.
            pub fn set(&mut self, name: AcIdentifier, value: impl Into<String>) {
                let value = value.into();
                match self.0.iter_mut().find(|item| item.name == name) {
                    Some(item) => item.value = value,
                    None => self.0.push($item { name, value }),
                }
            }

            /// The items in their order.
            pub fn iter(&self) -> std::slice::Iter<'_, $item> {
                self.0.iter()
            }

            /// The number of items.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there is no item.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Checks that no name is there twice.
            fn check_unique(&self, at: &At<'_>) -> Result<(), ManifestError> {
                crate::app::check_unique(at, self.0.iter().map(|item| item.name.as_str()))
            }
        }

        impl FromIterator<$item> for $list {
            fn from_iter<I: IntoIterator<Item = $item>>(items: I) -> Self {
                Self(items.into_iter().collect())
            }
        }

        impl<'a> IntoIterator for &'a $list {
            type Item = &'a $item;
            type IntoIter = std::slice::Iter<'a, $item>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }

        impl IntoIterator for $list {
            type Item = $item;
            type IntoIter = std::vec::IntoIter<$item>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.into_iter()
            }
        }
    };
}

name_value_list! {
    /// A label of an image: part of what tells one image from another of the same name.
    Label,
    /// The labels of an image or of a dependency (specification, "Image Manifest Schema").
    ///
    /// `version`, `os` and `arch` have a meaning; `name` is forbidden.
    Labels
}

name_value_list! {
    /// An annotation: free-form metadata.
    Annotation,
    /// Annotations of an image, a pod or an app of a pod.
    ///
    /// `created` must be a date, `homepage` and `documentation` must be URLs.
    Annotations
}

impl Read for Labels {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let labels = Self(Vec::read(at)?);
        if labels.get("name").is_some() {
            return Err(at.error(Rule::Conflict("a label must not be called \"name\"")));
        }
        labels.check_unique(&at)?;
        os_arch::check(&labels, os_arch::SCHEMA).map_err(|error| at.error(error))?;
        Ok(labels)
    }
}

impl Read for Annotations {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let annotations = Self(Vec::read(at)?);
        annotations.check_unique(&at)?;
        for (name, valid, rule) in [
            (
                "created",
                is_date as fn(&str) -> bool,
                "is not a date as RFC 3339 writes it (annotation \"created\")",
            ),
            ("homepage", is_web_url, "is not an http or https URL (annotation \"homepage\")"),
            ("documentation", is_web_url, "is not an http or https URL (annotation \"documentation\")"),
        ] {
            if let Some(found) = annotations.get(name)
                && !valid(found)
            {
                return Err(at.error(Rule::Form { rule, found: found.to_owned() }));
            }
        }
        Ok(annotations)
    }
}

deserialize_by_read!(Label, Labels, Annotation, Annotations);

/// Whether `text` is an http or https URL with a host.
fn is_web_url(text: &str) -> bool {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let rest = match () {
        () if lower.starts_with("https://") => &text[8..],
        () if lower.starts_with("http://") => &text[7..],
        () => return false,
    };
    !rest.is_empty() && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
}

/// Whether `text` is a date of RFC 3339: `2006-01-02T15:04:05[.999](Z|±hh:mm)`.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>, min: u32, max: u32| {
        let digits = text.get(range).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).filter(|n| (min..=max).contains(n))
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if bytes.len() < 20 || separators.iter().any(|(i, byte)| bytes[*i] != *byte) {
        return false;
    }
    let (Some(year), Some(month), Some(day)) =
        (number(0..4, 0, 9999), number(5..7, 1, 12), number(8..10, 1, 31))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > days
        || [(11..13, 23), (14..16, 59), (17..19, 59)].into_iter().any(|(r, max)| number(r, 0, max).is_none())
    {
        return false;
    }
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if zone.len() == fraction.len() {
            return false;
        }
        rest = zone;
    }
    let start = text.len() - rest.len();
    match rest.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', _, _, b':', _, _] => {
            number(start + 1..start + 3, 0, 24).is_some() && number(start + 4..start + 6, 0, 60).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        for (json, error) in [
            (
                r#"[{"name":"version","value":"1.0"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}]"#,
                None,
            ),
            (r#"[{"name":"arch","value":"anything"}]"#, None),
            (r#"[{"name":"empty"}]"#, None),
            (r#"[{"value":"x"}]"#, Some("Field \"[0].name\": must be set")),
            (r#"[{"name":"Version","value":"x"}]"#, Some("is not a valid AC identifier")),
            (r#"[{"name":"name","value":"x"}]"#, Some("must not be called \"name\"")),
            (r#"[{"name":"a","value":"x"},{"name":"a","value":"y"}]"#, Some("\"a\" is there more than once")),
            (r#"[{"name":"a","value":1}]"#, Some("Field \"[0].value\": must be a string, not a number")),
            (
                r#"[{"name":"a","name":"b","value":"x"}]"#,
                Some("Field \"[0].name\": the key appears more than once"),
            ),
            (r#"{"version":"1"}"#, Some("must be an array, not an object")),
            (
                r#"[{"name":"os","value":"plan9"}]"#,
                Some("bad os \"plan9\" (must be one of: [darwin freebsd linux])"),
            ),
            (
                r#"[{"name":"os","value":"darwin"},{"name":"arch","value":"amd64"}]"#,
                Some("bad arch \"amd64\" for darwin (must be one of: [x86_64 i386])"),
            ),
        ] {
            let found = serde_json::from_str::<Labels>(json);
            match (found, error) {
                (Ok(_), None) => {}
                (Err(found), Some(error)) => assert!(found.to_string().contains(error), "{json}: {found}"),
                (found, _) => panic!("{json}: {found:?}"),
            }
        }
    }

    #[test]
    fn lists_find_and_replace() {
        let mut labels = Labels::new();
        labels.set("version".parse().unwrap(), "1");
        labels.set("os".parse().unwrap(), "linux");
        labels.set("version".parse().unwrap(), "2");
        assert_eq!(labels.get("version"), Some("2"));
        assert_eq!(labels.get("arch"), None);
        assert_eq!(
            serde_json::to_string(&labels).unwrap(),
            r#"[{"name":"version","value":"2"},{"name":"os","value":"linux"}]"#
        );
    }

    #[test]
    fn dates() {
        for (text, valid) in [
            ("2015-01-21T17:17:06Z", true),
            ("2016-06-23T19:55:42.232690986Z", true),
            ("2014-10-27T19:32:27.67021798+02:00", true),
            ("2000-02-29T00:00:00-08:00", true),
            ("1900-02-29T00:00:00Z", false),
            ("2015-04-31T00:00:00Z", false),
            ("2015-13-01T00:00:00Z", false),
            ("2015-01-21", false),
            ("2015-01-21T24:00:00Z", false),
            ("2015-01-21T17:17:06", false),
            ("2015-01-21T17:17:06.Z", false),
            ("2015-01-21T17:17:06+0200", false),
            ("+015-01-21T17:17:06Z", false),
            ("2015-01-21t17:17:06Z", false),
            ("2015-01-21T17:17:06\u{e9}:00", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), valid, "{text:?}");
        }
    }

    #[test]
    fn known_annotations_are_checked() {
        for (name, value, valid) in [
            ("created", "2015-01-21T17:17:06Z", true),
            ("created", "yesterday", false),
            ("homepage", "https://example.com/", true),
            ("homepage", "HTTP://example.com", true),
            ("homepage", "ftp://example.com", false),
            ("documentation", "http://", false),
            ("documentation", "éééé", false),
            ("authors", "Carly Container <carly@example.com>", true),
        ] {
            let json = serde_json::json!([{"name": name, "value": value}]);
            assert_eq!(serde_json::from_value::<Annotations>(json).is_ok(), valid, "{name} {value}");
        }
    }
}
