//! The processor's own clock.

/// The time stamp counter; `None` on processors without one.
///
/// It counts at a constant rate since the start of the machine. What the rate is has to be measured.
pub fn time_stamp() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_counts() {
        if let Some(before) = super::time_stamp() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(super::time_stamp() > Some(before));
        }
    }
}
