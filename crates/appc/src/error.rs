//! What can be wrong with a manifest.

use crate::{ImageIdError, NameError, QuantityError, SemVerError, UnknownCapability};

/// A manifest breaks a rule of the specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{rule}", self.prefix())]
pub struct ManifestError {
    /// The field, for example `app.ports[0].port`; empty for the whole document.
    pub field: String,
    /// The broken rule.
    pub rule: Rule,
}

impl ManifestError {
    /// The field as the beginning of a sentence.
    fn prefix(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("Field {:?}: ", self.field) }
    }
}

/// A rule for a field of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The document is longer than any manifest.
    #[error("the document has more than {max} bytes")]
    TooLong {
        /// The most bytes that are read.
        max: usize,
    },
    /// The document is not JSON.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// A key appears twice in one object.
    #[error("the key appears more than once")]
    RepeatedKey,
    /// A mandatory field is absent, `null` or empty.
    #[error("must be set")]
    Required,
    /// The field has another JSON type.
    #[error("must be {expected}, not {found}")]
    Type {
        /// The type that the schema demands, with its article.
        expected: &'static str,
        /// What is there instead.
        found: &'static str,
    },
    /// `acKind` names another kind of document.
    #[error("must be {expected:?}, not {found:?}")]
    Kind {
        /// The kind of document that was asked for.
        expected: &'static str,
        /// What is there instead.
        found: String,
    },
    /// A number lies outside of its range.
    #[error("{found} must be between {min} and {max}")]
    Range {
        /// The number, as it is written.
        found: String,
        /// The smallest allowed number.
        min: i64,
        /// The largest allowed number.
        max: i64,
    },
    /// A list that names things names one of them twice.
    #[error("{0:?} is there more than once")]
    Duplicate(String),
    /// A path is not absolute.
    #[error("{0:?} must be an absolute path")]
    NotAbsolute(String),
    /// The text is none of the allowed words.
    #[error("{found:?} must be one of {allowed}")]
    OneOf {
        /// The words, as one text.
        allowed: &'static str,
        /// What is there instead.
        found: String,
    },
    /// A field does not go with the others.
    #[error("{0}")]
    Conflict(&'static str),
    /// A text does not have its form.
    #[error("{found:?} {rule}")]
    Form {
        /// What the text must be.
        rule: &'static str,
        /// What is there instead.
        found: String,
    },
    /// The labels `os` and `arch` do not go together.
    #[error(transparent)]
    OsArch(#[from] crate::os_arch::OsArchError),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An image ID is invalid.
    #[error(transparent)]
    ImageId(#[from] ImageIdError),
    /// A version is invalid.
    #[error(transparent)]
    SemVer(#[from] SemVerError),
    /// A quantity is invalid.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A capability is unknown.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
}
