//! The end-to-end suite: one program, one booted host, one module an intent.

mod test_host;
