//! Images from elsewhere.
//!
//! `rkt` itself speaks to no server: a worker does ([`transport`]), which writes into files of ours. Only when the worker has
//! ended, and nobody else can change the files any more, are they checked and taken into the store.
//!
//! ```text
//!  name         pages of the image's host ──► places, tried in turn ──┐
//!  archive      one URL: signature, archive, caching rules  ◄─────────┘──► store
//!  dependencies what an image builds on ──► name
//!  registry     manifest, configuration and layers of an image of a registry ──► store
//!  session      one worker and what it is asked for
//!  downloads    unfinished files, and what is known of finished ones
//!  progress     what the user sees meanwhile
//! ```

pub(crate) mod archive;
pub(crate) mod dependencies;
pub(crate) mod name;
pub(crate) mod registry;

mod downloads;
mod progress;
mod session;

pub(crate) use session::Session;
