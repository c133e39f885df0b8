use super::*;

fn parse(json: &str) -> Result<Network> {
    Network::parse("x.conf", json.as_bytes())
}

#[test]
fn files_of_one_plugin_and_of_several() {
    let one = parse(r#"{"name":"a","type":"ptp","ipMasq":true,"ipam":{"type":"host-local"}}"#).unwrap();
    assert_eq!((one.name.as_str(), one.version, one.plugins.len()), ("a", Version::FIRST, 1));
    assert!(one.masquerades() && !one.plugins[0].contains_key("name"));
    let list = parse(
        r#"{"cniVersion":"1.0.0","name":"b","disableCheck":true,"plugins":[{"type":"bridge"},{"type":"tuning"}]}"#,
    )
    .unwrap();
    assert_eq!((list.version, list.plugins.len(), list.disable_check), (Version(1, 0, 0), 2, true));
    let again = Network::parse("x.conf", &list.to_json()).unwrap();
    assert_eq!((again.plugins, again.version), (list.plugins, list.version));
}

#[test]
fn the_newest_version_that_both_know() {
    for (json, version) in [
        (r#"{"name":"a","type":"t","cniVersion":"0.3.1"}"#, Some("0.3.1")),
        (r#"{"name":"a","type":"t","cniVersions":["1.0.0","1.1.0","2.0.0"]}"#, Some("1.1.0")),
        (r#"{"name":"a","type":"t","cniVersion":"2.0.0"}"#, None),
        (r#"{"name":"a","type":"t","cniVersion":1}"#, None),
    ] {
        assert_eq!(parse(json).ok().map(|network| network.version.to_string()).as_deref(), version, "{json}");
    }
}

#[test]
fn what_an_administrator_forbids() {
    for (field, forbidden) in [
        ("", (false, false)),
        (r#","disableCheck":true"#, (true, false)),
        (r#","disableGC":true"#, (false, true)),
        (r#","disableCheck":"True","disableGC":"false""#, (true, false)),
    ] {
        let network = parse(&format!(r#"{{"name":"a","plugins":[{{"type":"t"}}]{field}}}"#)).unwrap();
        assert_eq!((network.disable_check, network.disable_gc), forbidden, "{field}");
    }
}

#[test]
fn nonsense_is_named() {
    for (json, why) in [
        ("", "EOF"),
        ("[]", "expected a map"),
        (r#"{"type":"ptp"}"#, "needs a name"),
        (r#"{"name":"../a","type":"ptp"}"#, "needs a name"),
        (r#"{"name":7,"type":"ptp"}"#, "name must be a string"),
        (r#"{"name":"a"}"#, "needs a type"),
        (r#"{"name":"a","type":"../../bin/sh"}"#, "needs a type"),
        (r#"{"name":"a","plugins":[]}"#, "at least one"),
        (r#"{"name":"a","plugins":[7]}"#, "must be an object"),
        (r#"{"name":"a","type":"t","disableGC":"perhaps"}"#, "disableGC must be true or false"),
    ] {
        let error = parse(json).unwrap_err().to_string();
        assert!(error.contains("x.conf") && error.contains(why), "{json}: {error}");
    }
}

#[test]
fn the_administrators_network_replaces_others_of_its_name() {
    let (local, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, file, name) in [
        (&local, "20-b.conf", "b"),
        (&local, "10-default.conflist", "default"),
        (&local, "30-b.conf", "b"),
        (&local, "readme.txt", "?"),
        (&system, "00-b.conf", "b"),
        (&system, "05-c.conf", "c"),
    ] {
        let dir = dir.path().join("net.d");
        fs::create_dir_all(&dir).unwrap();
        let type_or_list =
            if file.ends_with("list") { r#""plugins":[{"type":"t"}]"# } else { r#""type":"t""# };
        fs::write(dir.join(file), format!(r#"{{"name":"{name}",{type_or_list}}}"#)).unwrap();
    }
    let configured = load(&[local.path().into(), system.path().into(), "/nonexistent".into()]).unwrap();
    let names: Vec<_> = configured.networks.iter().map(|n| format!("{} {}", n.file, n.name)).collect();
    assert_eq!(
        names,
        [
            "05-c.conf c",
            "10-default.conflist default",
            "20-b.conf b",
            "99-default-restricted.conf default-restricted"
        ]
    );
    assert_eq!(configured.messages.len(), 3);
    assert!(configured.messages[2].starts_with("overriding \"default\""), "{:?}", configured.messages);
}

#[test]
fn the_list_of_networks() {
    let all = || load(&[]).unwrap().networks;
    let chosen = |list: &str| {
        choose(all(), &list.parse().unwrap())
            .map(|wanted| {
                wanted.iter().map(|w| format!("{}({})", w.network.name, w.args)).collect::<Vec<_>>().join(" ")
            })
            .map_err(|error| error.to_string())
    };
    assert_eq!(chosen("default:IP=1.2.3.4;A=b").unwrap(), "default(IP=1.2.3.4;A=b)");
    assert_eq!(chosen("all").unwrap(), "default-restricted() default()");
    assert_eq!(chosen("default,x,y").unwrap_err(), "networks not found: x, y");
}
