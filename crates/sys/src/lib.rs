//! Every raw system call and every unsafe block of rkt, behind safe functions.
//!
//! All other crates are compiled with `unsafe_code` denied. What [`rustix`] offers safely is used from there
//! directly; a function stands here only when rustix has none, has an unsafe one, or when two calls always
//! belong together (`openat2` and its flags, say).
//!
//! | module | system calls |
//! |---|---|
//! | [`mount`] | `mount`, `open_tree`, `move_mount`, `mount_setattr`, `umount2` |
//! | [`namespace`] | `unshare`, `setns` |
//! | [`process`] | `fork`, `clone3`, `waitid`, `execveat` |
//! | [`netlink`] | messages to the kernel about its network |
//! | [`clock`] | `rdtsc` |
//! | [`path`] | `openat2` |
//! | [`fd`] | `fcntl`, `close_range` and the descriptors a process inherits |
//! | [`interface`] | `ioctl` `TUNSETIFF`, `SIOCGIFMTU`, `SIOCGIFHWADDR`, `SIOCGIFFLAGS`, `SIOCSIFFLAGS`; links, addresses, routes |
//! | [`landlock`] | `landlock_create_ruleset` and its companions |
//! | [`seccomp`] | `seccomp` |
//! | [`routes`] | `/proc/net/route`, `/proc/net/ipv6_route` |
//! | [`signal`] | `signalfd`, `sigprocmask`, `pidfd_send_signal` |
//! | [`terminal`] | `ioctl` `TIOCSCTTY` |
//! | [`vsock`] | sockets of `AF_VSOCK`; `ioctl` `VHOST_VSOCK_SET_GUEST_CID` |
//! | [`traffic`] | messages to the kernel about queues and filters of interfaces |
//!
//! Errors are [`rustix::io::Errno`]: the caller knows what it wanted and says so.

#![allow(unsafe_code)]

pub mod clock;
pub mod fd;
pub mod interface;
pub mod landlock;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod path;
pub mod process;
pub mod routes;
pub mod seccomp;
pub mod seccomp_notify;
pub mod signal;
pub mod terminal;
pub mod traffic;
pub mod vsock;

/// The result of one system call.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

/// Turns the return value of a raw system call into a [`Result`].
fn check(returned: libc::c_long) -> Result<libc::c_long> {
    if returned < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(rustix::io::Errno::from_raw_os_error(errno));
    }
    Ok(returned)
}
