//! The end-to-end suite: one program, one booted host, one module an intent.

/// Makes a test for each wall out of a function that takes a [`tests::case::Case`]: of the shared data directory, or
/// with `alone:` before the names of one of its own.
macro_rules! under_both_walls {
    (alone: $($name:ident),+ $(,)?) => { under_both_walls!(@alone $($name),+); };
    (@$make:ident $($name:ident),+) => {$(
        mod $name {
            use tests::case::{Case, Stage1};

            #[test]
            fn fly() {
                super::$name(&Case::$make(Stage1::Fly));
            }

            #[test]
            fn nspawn() {
                super::$name(&Case::$make(Stage1::Nspawn));
            }

            #[test]
            #[ignore = "emulates a machine: cargo xtask test kvm"]
            fn kvm() {
                if crate::applies_under_kvm(module_path!()) {
                    super::$name(&Case::$make(Stage1::Kvm));
                }
            }
        }
    )+};
    ($($name:ident),+ $(,)?) => { under_both_walls!(@new $($name),+); };
}

/// Makes a test for each wall that has a supervisor in the pod, as `under_both_walls`.
macro_rules! under_supervised_walls {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use tests::case::{Case, Stage1};

            #[test]
            fn nspawn() {
                super::$name(&Case::new(Stage1::Nspawn));
            }

            #[test]
            #[ignore = "emulates a machine: cargo xtask test kvm"]
            fn kvm() {
                if crate::applies_under_kvm(module_path!()) {
                    super::$name(&Case::new(Stage1::Kvm));
                }
            }
        }
    )+};
}

mod app;
/// Whether a case has a meaning for a machine; the table says why not.
fn applies_under_kvm(module: &str) -> bool {
    let case = module.split_once("::").map_or(module, |(_, case)| case);
    !tests::case::NOT_UNDER_KVM.iter().any(|(name, _)| *name == case)
}

mod attach;
mod bad_input;
mod cli;
mod confinement;
mod conformance;
mod cve;
mod enter;
mod fetcher;
mod file_system;
mod foreign_stage1;
mod full_disk;
mod garbage;
mod handlers;
mod hostile_images;
mod image_output;
mod images;
mod kill;
mod kvm;
mod kvm_networks;
mod lifecycle;
mod logs;
mod member;
mod metadata;
mod network;
mod network_choice;
mod network_collect;
mod network_faults;
mod network_names;
mod network_ports;
mod network_steps;
mod no_systemd;
mod oci_images;
mod pod_file_images;
mod pod_file_keys;
mod pod_file_sockets;
mod pod_file_units;
mod pod_file_walls;
mod pod_files;
mod private_users;
mod privileges;
mod product;
mod proxies;
mod registries;
mod remote;
mod run;
mod several_apps;
mod signatures;
mod test_host;
mod units;
mod volumes;
