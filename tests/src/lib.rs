//! What the end-to-end suite stands on: hosts to run in, images to run, and a driver for the `rkt` under test.
//!
//! * [`host`]: a whole Debian system with systemd as process 1, in namespaces. It boots in half a second and leaves nothing behind.
//! * [`vm`]: the same root in a virtual machine with a kernel of its own, for controllers of cgroup2 and reboots.
//! * [`product`]: the installed tree under test, as `cargo xtask install` lays it out.
//! * [`aci`]: images, honest and hostile ones, written entry by entry.
//! * [`images`]: the images that every test may use.
//! * [`conformance`]: the table of docs/isolators.md and its probes.
//! * [`gpg`], [`web`], [`registry`]: keys of a real gpg, real web servers with certificates, real registries.
//! * [`injection`]: system calls in the name of a process that is confined.
//! * [`case`]: one test's view: names of its own, an `rkt` to call, and what to print when it fails.
//!
//! The tests themselves are in `tests/e2e/`, one file an intent. They run the built binaries; none calls into the product's crates.

pub mod aci;
pub mod case;
pub mod conformance;
pub mod gpg;
pub mod host;
pub mod images;
pub mod injection;
pub mod network;
pub mod oci;
pub mod pod_file;
pub mod product;
pub mod registry;
pub mod vm;
pub mod web;
