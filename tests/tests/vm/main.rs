//! What needs a kernel of its own: one booted vm host, one module an intent.

mod limits;
mod reboot;
mod units;
