//! JSON as the manifests need it: a tree that keeps repeated keys, and a cursor that knows where it is.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{ManifestError, Rule};

/// How long a document may be: a small one of nothing but brackets already grows much in memory.
const MAX_BYTES: usize = 4 << 20;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction or an exponent, or one too large for 64 bits.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object, keys in their order and with their repetitions.
    Object(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Builds a [`Node`].
struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

/// Types that a cursor can read.
pub(crate) trait Read: Sized {
    /// Reads and checks the value at `at`.
    fn read(at: At<'_>) -> Result<Self, ManifestError>;

    /// Reads and checks a whole document.
    fn read_node(node: &Node) -> Result<Self, ManifestError> {
        let at = At { node, step: Step::Root, parent: None };
        at.check_keys()?;
        Self::read(at)
    }

    /// Parses and checks a whole document.
    fn read_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError { field: String::new(), rule: Rule::TooLong { max: MAX_BYTES } });
        }
        let node: Node = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError { field: String::new(), rule: Rule::Json(error.to_string()) })?;
        Self::read_node(&node)
    }
}

/// Implements [`Deserialize`] by [`Read`], so that there is one reader with one set of rules.
macro_rules! deserialize_by_read {
    ($($type:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let node = <crate::json::Node as serde::Deserialize>::deserialize(deserializer)?;
                <Self as crate::json::Read>::read_node(&node).map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use deserialize_by_read;

/// One step from the root to a value.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// The document itself.
    Root,
    /// A field of an object.
    Field(&'a str),
    /// An item of a list.
    Item(usize),
}

/// A value and the way to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The value.
    pub(crate) node: &'a Node,
    /// The last step to it.
    step: Step<'a>,
    /// Where that step was made from.
    parent: Option<&'a At<'a>>,
}

impl<'a> At<'a> {
    /// The way as text, for example `app.ports[0].port`.
    fn path(&self) -> String {
        let mut path = self.parent.map(At::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Item(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }

    /// An error about this value.
    pub(crate) fn error(&self, rule: impl Into<Rule>) -> ManifestError {
        ManifestError { field: self.path(), rule: rule.into() }
    }

    /// An error about the field `name` of this object.
    pub(crate) fn field_error(&self, name: &str, rule: impl Into<Rule>) -> ManifestError {
        At { node: &Node::Null, step: Step::Field(name), parent: Some(self) }.error(rule)
    }

    /// This value has another type than `expected`.
    fn type_error(&self, expected: &'static str) -> ManifestError {
        let found = match self.node {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Integer(_) | Node::Float(_) => "a number",
            Node::Text(_) => "a string",
            Node::List(_) => "an array",
            Node::Object(_) => "an object",
        };
        self.error(Rule::Type { expected, found })
    }

    /// Finds the first key that an object repeats, here or below.
    fn check_keys(&self) -> Result<(), ManifestError> {
        match self.node {
            Node::Object(entries) => {
                let mut seen = HashSet::with_capacity(entries.len());
                for (name, node) in entries {
                    let at = At { node, step: Step::Field(name), parent: Some(self) };
                    if !seen.insert(name.as_str()) {
                        return Err(at.error(Rule::RepeatedKey));
                    }
                    at.check_keys()?;
                }
                Ok(())
            }
            Node::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, node)| At { node, step: Step::Item(i), parent: Some(self) }.check_keys()),
            _ => Ok(()),
        }
    }

    /// Insists on an object.
    pub(crate) fn object(&self) -> Result<(), ManifestError> {
        match self.node {
            Node::Object(_) => Ok(()),
            _ => Err(self.type_error("an object")),
        }
    }

    /// The field `name`; `null` is absent.
    pub(crate) fn field<'b>(&'b self, name: &'b str) -> Option<At<'b>> {
        let Node::Object(entries) = self.node else { return None };
        let (_, node) = entries.iter().find(|(key, node)| key == name && *node != Node::Null)?;
        Some(At { node, step: Step::Field(name), parent: Some(self) })
    }

    /// Whether the field `name` is there and not an empty text.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| !matches!(field.node, Node::Text(text) if text.is_empty()))
    }

    /// The field `name`, which must be there.
    pub(crate) fn required<'b>(&'b self, name: &'b str) -> Result<At<'b>, ManifestError> {
        self.field(name).ok_or_else(|| self.field_error(name, Rule::Required))
    }

    /// The field `name` as text, which must be there and not be empty.
    pub(crate) fn required_text<'b>(&'b self, name: &'b str) -> Result<&'b str, ManifestError> {
        match self.required(name)?.text()? {
            "" => Err(self.field_error(name, Rule::Required)),
            text => Ok(text),
        }
    }

    /// The field `name` as the text of a path, which must be there and not be empty.
    pub(crate) fn required_path(&self, name: &str) -> Result<String, ManifestError> {
        let path = self.required_text(name)?;
        self.check_no_nul(name, path)?;
        Ok(path.to_owned())
    }

    /// The field `name` as an argument vector; empty when it is not there.
    pub(crate) fn arguments(&self, name: &str) -> Result<Vec<String>, ManifestError> {
        let arguments: Vec<String> = self.or_default(name)?;
        arguments.iter().try_for_each(|argument| self.check_no_nul(name, argument))?;
        Ok(arguments)
    }

    /// Checks that the system can take `text`, which comes from the field `name`.
    pub(crate) fn check_no_nul(&self, name: &str, text: &str) -> Result<(), ManifestError> {
        if text.contains('\0') {
            return Err(self.field_error(name, Rule::Conflict("must not contain the character NUL")));
        }
        Ok(())
    }

    /// The field `name` parsed from text.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<T, ManifestError>
    where
        T: std::str::FromStr,
        Rule: From<T::Err>,
    {
        self.required(name)?.parse()
    }

    /// The field `name` read as `T` when it is there.
    pub(crate) fn optional<T: Read>(&self, name: &str) -> Result<Option<T>, ManifestError> {
        self.field(name).map(T::read).transpose()
    }

    /// The field `name` read as a `T`, or its default when it is not there.
    pub(crate) fn or_default<T: Read + Default>(&self, name: &str) -> Result<T, ManifestError> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    /// The items of this list.
    pub(crate) fn items<'b>(&'b self) -> Result<impl Iterator<Item = At<'b>>, ManifestError> {
        let Node::List(items) = self.node else { return Err(self.type_error("an array")) };
        Ok(items.iter().enumerate().map(|(i, node)| At { node, step: Step::Item(i), parent: Some(self) }))
    }

    /// This value as text.
    pub(crate) fn text(&self) -> Result<&'a str, ManifestError> {
        match self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.type_error("a string")),
        }
    }

    /// This text parsed.
    pub(crate) fn parse<T>(&self) -> Result<T, ManifestError>
    where
        T: std::str::FromStr,
        Rule: From<T::Err>,
    {
        self.text()?.parse().map_err(|error| self.error(Rule::from(error)))
    }

    /// This value as a whole number between `min` and `max`.
    pub(crate) fn integer<T: TryFrom<i128>>(&self, min: i64, max: i64) -> Result<T, ManifestError> {
        let range = |found: String| self.error(Rule::Range { found, min, max });
        let number = match self.node {
            Node::Integer(number) => *number,
            Node::Float(number) if number.fract() == 0.0 => return Err(range(number.to_string())),
            Node::Float(_) => return Err(self.type_error("a whole number")),
            _ => return Err(self.type_error("a number")),
        };
        if number < min.into() || number > max.into() {
            return Err(range(number.to_string()));
        }
        T::try_from(number).map_err(|_| range(number.to_string()))
    }
}

impl Read for bool {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        match at.node {
            Node::Bool(value) => Ok(*value),
            _ => Err(at.type_error("a boolean")),
        }
    }
}

impl Read for String {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.text().map(str::to_owned)
    }
}

impl Read for u32 {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        // 2^32 - 1 means "leave unchanged" to chown(2): it is nobody's number.
        at.integer(0, i64::from(u32::MAX) - 1)
    }
}

impl Read for u64 {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.integer(0, i64::MAX)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.items()?.map(T::read).collect()
    }
}

impl Read for BTreeMap<String, String> {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let Node::Object(entries) = at.node else { return Err(at.type_error("an object")) };
        let entry = |(name, node): &(String, Node)| {
            let at = At { node, step: Step::Field(name), parent: Some(&at) };
            Ok((name.clone(), at.text()?.to_owned()))
        };
        entries.iter().map(entry).collect()
    }
}

impl Read for serde_json::Value {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        Ok(match at.node {
            Node::Null => Self::Null,
            Node::Bool(value) => (*value).into(),
            Node::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => {
                    return Err(at.error(Rule::Range {
                        found: number.to_string(),
                        min: i64::MIN,
                        max: i64::MAX,
                    }));
                }
            },
            Node::Float(number) => (*number).into(),
            Node::Text(text) => text.as_str().into(),
            Node::List(_) => Self::Array(Vec::read(at)?),
            Node::Object(entries) => {
                let entry = |(name, node): &(String, Node)| {
                    let at = At { node, step: Step::Field(name), parent: Some(&at) };
                    Ok((name.clone(), Self::read(at)?))
                };
                Self::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }
}
