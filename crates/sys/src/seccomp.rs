//! Installing a seccomp filter; see seccomp(2).

use crate::{Result, check};

/// One instruction of a filter, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump when true.
    pub jt: u8,
    /// Jump when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs `program` on this thread and on all that it starts from here on. It cannot be taken back.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` or no-new-privileges; `EINVAL` for a program that the kernel refuses.
pub fn install(program: &[Instruction]) -> Result<()> {
    let fprog = self::program(program)?;
    // SAFETY: rustix has no seccomp. `Instruction` has the layout of `sock_filter` (repr(C), same fields), the
    // slice outlives the call, its true length is passed, and the kernel copies it without writing.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&fprog))
    })?;
    Ok(())
}

/// The filter as the kernel takes it; it points at the slice.
pub(crate) fn program(instructions: &[Instruction]) -> Result<libc::sock_fprog> {
    let len = u16::try_from(instructions.len()).map_err(|_| rustix::io::Errno::INVAL)?;
    let filter = instructions.as_ptr().cast::<libc::sock_filter>().cast_mut();
    Ok(libc::sock_fprog { len, filter })
}
