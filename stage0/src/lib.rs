//! stage0, the `rkt` command: finds and stores images, lays out pod directories and hands them to a stage1.
//!
//! One subcommand is one file in `commands`; `cli` turns an argument vector into the arguments of one of them;
//! `context` is what every command gets: the global flags, the configuration, and the store and the pods opened on
//! first use.

mod apps;
mod cli;
mod collect;
mod commands;
mod config;
mod context;
mod entrypoint;
mod images;
mod insecure;
mod launch;
mod metadata;
mod options;
mod pod_args;
mod pod_file;
mod pod_view;
mod prepare;
mod private_users;
mod remote;
mod report;
mod show;
mod signatures;
mod stage1;
mod store_lock;
mod trusting;

pub use cli::{command, main};
