//! What rkt wants of a hypervisor. There is one, QEMU; another is another implementation of [`Hypervisor`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::machine::Machine;
use crate::process::Command;

/// The sockets and files that connect the hypervisor with the monitor.
#[derive(Debug)]
pub(crate) struct Connections {
    /// The guest's kernel.
    pub(crate) kernel: OwnedFd,
    /// Its initramfs.
    pub(crate) initrd: OwnedFd,
    /// The link with the guest: a stream socket, or the device of vsock.
    pub(crate) control: OwnedFd,
    /// Where the kernel's console goes: a stream socket.
    pub(crate) console: OwnedFd,
    /// The connection to the file server, or the image of the files.
    pub(crate) files: OwnedFd,
    /// Tap devices, one for each of the machine's interfaces.
    pub(crate) taps: Vec<OwnedFd>,
}

impl Connections {
    /// All of them, in the order in which the hypervisor's process has them from descriptor 3 on.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let fixed = [&self.kernel, &self.initrd, &self.control, &self.console, &self.files];
        fixed.into_iter().chain(&self.taps).map(AsFd::as_fd).collect()
    }
}

/// The descriptors of [`Connections`] in the hypervisor's process.
pub(crate) const KERNEL: i32 = 3;
/// See [`KERNEL`].
pub(crate) const INITRD: i32 = 4;
/// See [`KERNEL`].
pub(crate) const CONTROL: i32 = 5;
/// See [`KERNEL`].
pub(crate) const CONSOLE: i32 = 6;
/// See [`KERNEL`].
pub(crate) const FILES: i32 = 7;
/// The first one of the taps.
pub(crate) const TAPS: i32 = 8;

/// A program that runs machines.
pub(crate) trait Hypervisor {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// The command that runs `machine`, connected by the descriptors above.
    fn command(&self, machine: &Machine) -> Command;
}
