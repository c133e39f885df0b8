//! The keys of `[Pod]` and `[App]`: one table each, from which the parser, its hints and the documents are made.

use crate::value::{self, Parsed};

/// One key of a section that becomes a `T`.
pub struct Key<T: 'static> {
    /// What stands before `=`.
    pub name: &'static str,
    /// What its value looks like.
    pub syntax: &'static str,
    /// What it does, for the manual.
    pub about: &'static str,
    /// Further assignments add to it; otherwise the last one counts.
    pub adds: bool,
    /// `%` has no meaning in it.
    pub(crate) is_raw: bool,
    pub(crate) set: fn(&mut T, &str) -> Parsed<()>,
    pub(crate) reset: fn(&mut T),
}

impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A key whose last value counts.
macro_rules! one {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: false,
            is_raw: false,
            set: |section, text| {
                section.$field = Some($parse(text)?);
                Ok(())
            },
            reset: |section| section.$field = None,
        }
    };
}

/// A key whose values add up; `$parse` gives several.
macro_rules! many {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: true,
            is_raw: false,
            set: |section, text| {
                section.$field.extend($parse(text)?);
                Ok(())
            },
            reset: |section| section.$field = Default::default(),
        }
    };
}

/// A key that is a list and whose last value counts.
macro_rules! list {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: false,
            is_raw: false,
            set: |section, text| {
                section.$field = $parse(text)?;
                Ok(())
            },
            reset: |section| section.$field = Default::default(),
        }
    };
}

// Behind the macros, which they use.
mod app;
mod pod;

pub use app::APP;
pub use pod::POD;

fn one<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<[T; 1]> {
    move |text| parse(text).map(|value| [value])
}

fn each<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<Vec<T>> {
    move |text| value::each(text, &parse)
}

fn annotation(text: &str) -> Parsed<(appc::AcIdentifier, String)> {
    let (name, value) = value::pair(text)?;
    Ok((value::parsed(&name)?, value))
}

/// Sections that systemd reads.
pub const HANDED: [&str; 4] = ["Unit", "Service", "Install", "Socket"];

/// Keys of `[Service]` that are rkt's own in the unit of a pod, and what to use instead.
pub const RESERVED: &[(&str, &str)] = &[
    ("Type", "Ready= of [App] says when the pod is ready"),
    ("ExecStart", "Exec= of [App] names the program of an app"),
    ("NotifyAccess", "it is set for rkt"),
    ("Delegate", "it is set for rkt"),
    ("DelegateSubgroup", "it is set for rkt"),
    ("KillMode", "it is set for rkt"),
    ("PIDFile", "rkt is the main process of the unit"),
    ("BusName", "rkt is the main process of the unit"),
    ("User", "User= of [App] names the user of an app"),
    ("Group", "Group= of [App] names the group of an app"),
    ("DynamicUser", "User= of [App] names the user of an app"),
    ("RootDirectory", "Image= of [App] names the root of an app"),
    ("RootImage", "Image= of [App] names the root of an app"),
    ("StandardOutput", "StandardOutput= of [App] says where an app writes to"),
    ("StandardInput", "StandardInput= of [App] says where an app reads from"),
    ("PrivateUsers", "PrivateUsers= of [Pod] gives the pod users of its own"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_its_table_once() {
        let pods: Vec<&str> = POD.iter().map(|key| key.name).collect();
        let apps: Vec<&str> = APP.iter().map(|key| key.name).collect();
        for mut names in [pods, apps] {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        for about in POD.iter().map(|key| key.about).chain(APP.iter().map(|key| key.about)) {
            assert!(about.ends_with('.'), "{about}");
        }
    }
}
