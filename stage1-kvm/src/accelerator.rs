//! Whether the processor runs the guest, or a program that does what it would do.

use rustix::fs::{Mode, OFlags};
use stage1::{Error, Result};

use crate::settings::Accelerate;

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's emulation, which is many times slower.
    Tcg,
}

/// What was found out about KVM on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether `/dev/kvm` opens, or why not.
    pub(crate) device: std::result::Result<(), String>,
    /// The processor has Intel's VMX or AMD's SVM.
    pub(crate) extensions: bool,
    /// `kvm_pvm` is loaded: KVM without the processor's help. Guests were seen to hang with it.
    pub(crate) pvm: bool,
}

impl Facts {
    /// Looks.
    pub(crate) fn gather() -> Self {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/kvm", flags, Mode::empty());
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Facts {
            device: device.map(drop).map_err(executor::program::describe),
            extensions: has_extensions(&text),
            pvm: std::path::Path::new("/sys/module/kvm_pvm").exists(),
        }
    }

    /// Why KVM cannot be used.
    fn obstacle(&self) -> Option<String> {
        match self {
            Facts { device: Err(why), .. } => Some(format!("/dev/kvm does not open ({why})")),
            Facts { extensions: false, .. } => {
                Some("the processor has neither VMX nor SVM, or hides them".to_owned())
            }
            Facts { pvm: true, .. } => {
                Some("the module kvm_pvm is loaded, under which guests hang".to_owned())
            }
            _ => None,
        }
    }
}

fn has_extensions(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.flat_map(str::split_whitespace).any(|flag| flag == "vmx" || flag == "svm")
}

/// Decides. Emulation is never chosen without being asked for.
///
/// # Errors
/// When KVM cannot be used and emulation was not asked for; the text says what can be done.
pub(crate) fn choose(asked: Accelerate, facts: &Facts) -> Result<Accelerator> {
    match (asked, facts.obstacle()) {
        (Accelerate::Tcg, _) => Ok(Accelerator::Tcg),
        (Accelerate::Kvm, None) => Ok(Accelerator::Kvm),
        (Accelerate::Kvm, Some(obstacle)) => Err(Error::Refused(format!(
            "KVM cannot be used on this host: {obstacle}. Run the pod elsewhere or with another stage1, or, much slower, in \
             software emulation (RKT_KVM_ACCEL=tcg, or \"accelerator\": \"tcg\" in /etc/rkt/kvm.d)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_table() {
        let device = [Ok(()), Err("Permission denied".to_owned()), Err("No such device".to_owned())];
        for device in &device {
            for extensions in [false, true] {
                for pvm in [false, true] {
                    let facts = Facts { device: device.clone(), extensions, pvm };
                    assert_eq!(choose(Accelerate::Tcg, &facts).unwrap(), Accelerator::Tcg);
                    let chosen = choose(Accelerate::Kvm, &facts).map_err(|error| error.to_string());
                    let why = match (device, extensions, pvm) {
                        (Err(why), ..) => why.as_str(),
                        (Ok(()), false, _) => "neither VMX nor SVM",
                        (Ok(()), true, true) => "kvm_pvm",
                        (Ok(()), true, false) => {
                            assert_eq!(chosen, Ok(Accelerator::Kvm));
                            continue;
                        }
                    };
                    let error = chosen.unwrap_err();
                    assert!(error.contains(why) && error.contains("RKT_KVM_ACCEL=tcg"), "{facts:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn extensions_are_words_of_the_flags() {
        for (text, found) in [
            ("processor\t: 0\nflags\t\t: fpu vmx sse\n", true),
            ("flags\t\t: fpu svm\n", true),
            ("flags\t\t: fpu svm_lock vmxnet\n", false),
            ("vmx flags\t: vmx\nmodel name : vmx\n", false),
            ("", false),
        ] {
            assert_eq!(has_extensions(text), found, "{text:?}");
        }
    }
}
