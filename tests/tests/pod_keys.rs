//! Every key of pod files has a test that sees its effect in a running pod.

use std::path::Path;

/// Keys of `[Pod]`, and where their effect is seen: a function of the end-to-end suite, or of the machine's (`vm`).
const POD: &[(&str, &str)] = &[
    ("Isolation", "pod_files::the_wall_is_switched_by_a_drop_in"),
    ("Stage1", "pod_file_keys::a_stage1_has_other_names"),
    ("Service", "pod_files::a_service_of_ones_own_is_wired"),
    ("Manifest", "pod_file_keys::a_manifest_takes_the_place_of_apps"),
    ("Network", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("PublishPort", "pod_file_walls::switch"),
    ("HostName", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("DNS", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("DNSSearch", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("DNSOption", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("DNSDomain", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("AddHost", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Volume", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Mount", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("IPC", "pod_file_keys::ipc_is_the_pods_or_the_hosts"),
    ("PrivateUsers", "pod_file_keys::users_are_the_pods_own"),
    ("Sysctl", "pod_file_keys::kernel_parameters_are_the_pods_own"),
    ("Overlay", "pod_file_keys::roots_are_copies_where_that_is_asked_for"),
    ("Pull", "pod_file_images::a_tag_is_looked_at_when_the_file_says_so"),
    ("InsecureOptions", "pod_file_keys::images_are_verified"),
    ("Environment", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("EnvironmentFile", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("PassEnvironment", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Annotation", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Proxy", "pod_file_sockets::connections_are_proxied"),
    ("StopTimeout", "pod_files::stops_in_time"),
    ("ReadyTimeout", "pod_files::is_ready_when_the_app_says_so"),
    ("Watchdog", "pod_files::a_frozen_app_fails_the_unit"),
    ("MemoryMax", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("MemoryHigh", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("MemorySwapMax", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("CPUQuota", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("CPUWeight", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("IOWeight", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("TasksMax", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
];

/// Keys of `[App]`, in the same way.
const APP: &[(&str, &str)] = &[
    ("Name", "pod_file_keys::images_are_verified"),
    ("Image", "pod_files::pinned_images_stay"),
    ("ImageID", "pod_files::pinned_images_stay"),
    ("Signature", "pod_file_keys::images_are_verified"),
    ("Exec", "pod_file_keys::a_stage1_has_other_names"),
    ("Command", "pod_file_images::a_tag_is_looked_at_when_the_file_says_so"),
    ("Args", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("WorkingDirectory", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("User", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Group", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("SupplementaryGroups", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Environment", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("EnvironmentFile", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Mount", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Bind", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Tmpfs", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("ReadOnly", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Capabilities", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("AddCapability", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("DropCapability", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Seccomp", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("NoNewPrivileges", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Memory", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("CPU", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("CPUShares", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("OOMScoreAdjust", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("PidsLimit", "vm::pod_files::an_enabled_pod_is_up_after_a_reboot"),
    ("Ulimit", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Restart", "pod_files::an_app_starts_again_in_its_pod"),
    ("StopSignal", "pod_files::stops_in_time"),
    ("Annotation", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Label", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("UserAnnotation", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("StandardInput", "pod_file_keys::streams_are_attached_to"),
    ("StandardOutput", "pod_file_keys::streams_are_attached_to"),
    ("StandardError", "pod_files::keys_of_the_pod_and_its_app_have_an_effect"),
    ("Ready", "pod_files::is_ready_when_the_app_says_so"),
    ("ReadyCommand", "pod_files::is_ready_when_the_probe_succeeds"),
    ("ReadyInterval", "pod_file_keys::a_probe_waits_between_two_tries"),
    ("HealthCommand", "pod_files::an_unhealthy_app_fails_the_unit"),
    ("HealthInterval", "pod_files::an_unhealthy_app_fails_the_unit"),
    ("HealthTimeout", "pod_file_keys::checks_of_health_are_as_they_are_asked_for"),
    ("HealthRetries", "pod_file_keys::checks_of_health_are_as_they_are_asked_for"),
    ("HealthStartPeriod", "pod_file_keys::checks_of_health_are_as_they_are_asked_for"),
    ("OnUnhealthy", "pod_file_keys::checks_of_health_are_as_they_are_asked_for"),
    ("ReloadSignal", "pod_files::reloads"),
    ("ReloadCommand", "pod_files::reloads"),
    ("Sockets", "pod_file_sockets::sockets_are_passed_by_name"),
    ("Credentials", "pod_files::credentials_are_the_apps_alone"),
];

/// The text of a function of a test program.
fn function(test: &str) -> Result<String, String> {
    let (program, rest) = test.strip_prefix("vm::").map_or(("e2e", test), |rest| ("vm", rest));
    let (module, name) = rest.split_once("::").ok_or_else(|| format!("{test} is no module::function"))?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{program}/{module}.rs"));
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let start = text.find(&format!("\nfn {name}(")).ok_or_else(|| format!("there is no {test}"))?;
    let end = text[start + 1..].find("\n}\n").ok_or_else(|| format!("{test} has no end"))?;
    Ok(text[start + 1..][..end].to_owned())
}

/// Whether a text has an assignment to this key, and not only to one whose name ends like it.
fn says(text: &str, key: &str) -> bool {
    text.match_indices(&format!("{key}=")).any(|(at, _)| {
        let before = &text[..at];
        before.ends_with("\\n") || !before.ends_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// What is wrong with a table for the keys of a section.
fn faults(section: &str, known: &[&str], table: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for name in known {
        if !table.iter().any(|(key, _)| key == name) {
            faults.push(format!("{name}= of [{section}] has no test"));
        }
    }
    for (at, (key, test)) in table.iter().enumerate() {
        if !known.contains(key) || table[..at].iter().any(|(other, _)| other == key) {
            faults.push(format!("{key}= is no key of [{section}], or stands here twice"));
        }
        match function(test) {
            Ok(text) if says(&text, key) => {}
            Ok(_) => faults.push(format!("{test} does not say {key}=")),
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

#[test]
fn every_key_has_a_test_that_sees_its_effect() {
    let pod: Vec<&str> = podfile::keys::POD.iter().map(|key| key.name).collect();
    let app: Vec<&str> = podfile::keys::APP.iter().map(|key| key.name).collect();
    let faults = [faults("Pod", &pod, POD), faults("App", &app, APP)].concat();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
