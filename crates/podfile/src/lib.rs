//! Pod files: `/etc/rkt/pods/NAME.pod`, the pods that systemd runs.
//!
//! ```text
//! [Pod]                     what holds for all of it: isolation, networks, ports, volumes, limits
//! Isolation=nspawn
//! PublishPort=8080:80
//!
//! [App web]                 one app
//! Image=docker://nginx
//!
//! [Unit] [Service] [Socket] [Install]      handed through to systemd
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`search`] | where files, drop-ins, templates and masks are |
//! | [`syntax`], [`words`], [`specifier`] | what unit files look like |
//! | [`keys`] | the keys of `[Pod]` and `[App]`, one table |
//! | [`read()`] | from files to a [`PodFile`], with everything that is wrong |
//! | [`import`] | pod files from quadlets and from units |
//! | [`mod@unit`] | the units that a pod becomes |
//!
//! Everything works on handles of directories and on text: no network, no D-Bus, no look at images.

pub mod diagnostic;
pub mod import;
pub mod keys;
mod name;
pub mod pod;
mod read;
pub mod search;
pub mod specifier;
pub mod syntax;
pub mod unit;
mod value;
pub mod words;

pub use diagnostic::{Diagnostic, Place, Severity, Source};
pub use name::{PodName, PodNameError, UNIT_PREFIX};
pub use pod::{App, AppSettings, Isolation, Pod, PodFile};
pub use read::{Outcome, read};
pub use search::{Directories, Found};
pub use specifier::{HostFacts, Specifiers};
