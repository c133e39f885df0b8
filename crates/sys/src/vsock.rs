//! AF_VSOCK: stream sockets between a machine and its host; see vsock(7) and linux/vhost.h.
//!
//! A host has the context id [`HOST`]; a machine has the one that whoever runs it has claimed for it ([`claim`]).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::{Result, check};

/// The context id of every host, as its machines see it.
pub const HOST: u32 = libc::VMADDR_CID_HOST;

/// The smallest context id that a machine can have.
pub const FIRST: u32 = HOST + 1;

/// `_IOW(0xAF, 0x60, __u64)`
const VHOST_VSOCK_SET_GUEST_CID: libc::Ioctl = 0x4008_af60;

#[expect(clippy::cast_possible_truncation, reason = "the size of a small structure")]
const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// Claims the context id `cid` for `device`, an open `/dev/vhost-vsock`, for as long as that is open.
///
/// # Errors
/// `EADDRINUSE` when another machine has it.
pub fn claim(device: BorrowedFd<'_>, cid: u32) -> Result<()> {
    let cid = u64::from(cid);
    let pointer = std::ptr::from_ref(&cid);
    // SAFETY: the kernel reads the eight bytes of `cid`, which outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), VHOST_VSOCK_SET_GUEST_CID, pointer) }.into())?;
    Ok(())
}

/// A socket that listens for machines of this host, and its port. It does not block.
///
/// # Errors
/// `EADDRNOTAVAIL` when this is no host of machines.
pub fn listen() -> Result<(OwnedFd, u32)> {
    let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let mut address = address(HOST, libc::VMADDR_PORT_ANY);
    let pointer = std::ptr::from_mut(&mut address);
    // SAFETY: `address` is as long as is said, and outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), pointer.cast(), LENGTH) }.into())?;
    rustix::net::listen(&socket, 1)?;
    let mut length = LENGTH;
    // SAFETY: the kernel writes no more than `length` bytes to `address`.
    check(unsafe { libc::getsockname(socket.as_raw_fd(), pointer.cast(), &raw mut length) }.into())?;
    Ok((socket, address.svm_port))
}

/// Accepts a connection, which does not block, and tells the context id of who has connected.
///
/// # Errors
/// `EAGAIN` when there is none.
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, u32)> {
    let mut address = address(libc::VMADDR_CID_ANY, 0);
    let pointer = std::ptr::from_mut(&mut address);
    let mut length = LENGTH;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes no more than `length` bytes to `address`.
    let returned = unsafe { libc::accept4(listener.as_raw_fd(), pointer.cast(), &raw mut length, flags) };
    check(returned.into())?;
    // SAFETY: it is new, and nobody else has it.
    Ok((unsafe { OwnedFd::from_raw_fd(returned) }, address.svm_cid))
}

/// Connects to a port of the host; the socket does not block then.
///
/// # Errors
/// `ENODEV` when this machine has no device for it.
pub fn connect(port: u32) -> Result<OwnedFd> {
    let socket = socket(SocketFlags::CLOEXEC)?;
    let address = address(HOST, port);
    let pointer = std::ptr::from_ref(&address);
    // SAFETY: `address` is as long as is said, and outlives the call.
    check(unsafe { libc::connect(socket.as_raw_fd(), pointer.cast(), LENGTH) }.into())?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn socket(flags: SocketFlags) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    libc::sockaddr_vm {
        #[expect(clippy::cast_possible_truncation, reason = "it is 40")]
        svm_family: libc::AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: port,
        svm_cid: cid,
        svm_zero: [0; 4],
    }
}
