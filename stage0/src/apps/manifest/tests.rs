use super::*;

fn arch() -> &'static str {
    os_arch::host_arch().unwrap()
}

const ID: &str = "sha512-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn image(app: &str) -> ImageManifest {
    let arch = arch();
    let json = format!(
        r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/web-server","labels":[
            {{"name":"os","value":"linux"}},{{"name":"arch","value":"{arch}"}},{{"name":"version","value":"1"}}]
            {app}}}"#
    );
    ImageManifest::parse(json.as_bytes()).unwrap()
}

fn server() -> ImageManifest {
    image(
        r#","app":{"exec":["/bin/server","-x"],"user":"www","group":"www","workingDirectory":"/srv",
            "environment":[{"name":"A","value":"image"},{"name":"B","value":"image"}],
            "isolators":[{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_KILL"]}},
                {"name":"resource/memory","value":{"limit":"1G"}}]}"#,
    )
}

fn requests(words: &[&str]) -> Vec<AppRequest> {
    super::super::grammar::tests::parse(words).unwrap()
}

fn make(pod: PodRequest, words: &[&str], manifest: &ImageManifest) -> Result<PodManifest> {
    let id: ImageId = ID.parse().unwrap();
    let facts = ImageFacts { id: &id, manifest };
    let apps: Vec<_> = requests(words).into_iter().map(|request| (request, facts)).collect();
    generate(pod, &apps)
}

fn only_app(words: &[&str], manifest: &ImageManifest) -> RuntimeApp {
    make(PodRequest::default(), words, manifest).unwrap().apps.remove(0)
}

#[test]
fn what_nobody_overrides_is_the_images() {
    let pod = make(PodRequest::default(), &["web"], &server()).unwrap();
    let json = serde_json::to_string(&pod).unwrap();
    assert_eq!(
        json,
        format!(
            concat!(
                r#"{{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{{"name":"web-server","image":{{"#,
                r#""name":"example.com/web-server","id":"{id}","labels":[{{"name":"os","value":"linux"}},"#,
                r#"{{"name":"arch","value":"{arch}"}},{{"name":"version","value":"1"}}]}},"#,
                r#""app":{{"exec":["/bin/server","-x"],"user":"www","group":"www","workingDirectory":"/srv","#,
                r#""environment":[{{"name":"A","value":"image"}},{{"name":"B","value":"image"}}],"#,
                r#""isolators":[{{"name":"os/linux/capabilities-remove-set","value":{{"set":["CAP_KILL"]}}}},"#,
                r#"{{"name":"resource/memory","value":{{"limit":"1G"}}}}]}}}}],"volumes":[],"isolators":[],"#,
                r#""annotations":[{{"name":"coreos.com/rkt/stage1/mutable","value":"false"}}],"ports":[]}}"#
            ),
            id = ID,
            arch = arch()
        )
    );
    assert_eq!(PodManifest::parse(json.as_bytes()).unwrap(), pod);
}

#[test]
fn arguments_are_appended_and_exec_replaces() {
    for (words, exec) in [
        (&["web"] as &[&str], &["/bin/server", "-x"] as &[&str]),
        (&["web", "--", "-y"], &["/bin/server", "-x", "-y"]),
        (&["web", "--exec=/bin/other"], &["/bin/other"]),
        (&["web", "--exec=/bin/other", "--", "-y"], &["/bin/other", "-y"]),
    ] {
        assert_eq!(only_app(words, &server()).app.unwrap().exec, exec, "{words:?}");
    }
}

#[test]
fn each_flag_overrides_its_field() {
    let words = [
        "web",
        "--name=api",
        "--user=0",
        "--group=/etc",
        "--supplementary-gids=1,2",
        "--working-dir=/tmp",
        "--readonly-rootfs",
        "--annotation=example.com/a=b",
        "--user-annotation=x=y",
        "--user-label=l=m",
        "--memory=16Mi",
        "--cpu=500m",
        "--cpu-shares=512",
        "--oom-score-adj=-5",
        "--caps-retain=CAP_NET_ADMIN",
        "--seccomp=mode=retain,@rkt/default-whitelist",
    ];
    let runtime = only_app(&words, &server());
    assert_eq!(runtime.name.as_str(), "api");
    assert!(runtime.read_only_root_fs);
    assert_eq!(runtime.annotations.get("example.com/a"), Some("b"));
    let app = runtime.app.unwrap();
    assert_eq!((app.user.as_str(), app.group.as_str()), ("0", "/etc"));
    assert_eq!(app.supplementary_gids, [1, 2]);
    assert_eq!(app.working_directory.as_deref(), Some("/tmp"));
    assert_eq!(app.user_annotations["x"], "y");
    assert_eq!(app.user_labels["l"], "m");
    assert_eq!(
        serde_json::to_string(&app.isolators).unwrap(),
        concat!(
            r#"[{"name":"resource/memory","value":{"request":"16Mi","limit":"16Mi"}},"#,
            r#"{"name":"resource/cpu","value":{"request":"500m","limit":"500m"}},"#,
            r#"{"name":"os/linux/cpu-shares","value":512},{"name":"os/linux/oom-score-adj","value":-5},"#,
            r#"{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_NET_ADMIN"]}},"#,
            r#"{"name":"os/linux/seccomp-retain-set","value":{"set":["@rkt/default-whitelist"]}}]"#
        )
    );
}

#[test]
fn environment_priorities() {
    let variables = |list: &[&str]| appc::Environment(list.iter().map(|one| one.parse().unwrap()).collect());
    let environment = PodEnvironment {
        inherited: variables(&["A=inherited", "C=inherited", "D=inherited"]),
        from_files: variables(&["D=file", "E=file"]),
        explicit: variables(&["E=set", "F=set"]),
    };
    let pod = PodRequest { environment, ..PodRequest::default() };
    let pod = make(pod, &["web", "--environment=F=app"], &server()).unwrap();
    let found = pod.apps[0].app.as_ref().unwrap();
    let found: Vec<String> =
        found.environment.iter().map(|one| format!("{}={}", one.name, one.value)).collect();
    assert_eq!(found, ["A=image", "B=image", "C=inherited", "D=file", "E=set", "F=app"]);
}

#[test]
fn mounts_of_the_app_win() {
    let mount = |text: &str| {
        let (volume, path) = text.split_once(':').unwrap();
        Mount { volume: volume.parse().unwrap(), path: path.to_owned(), app_volume: None }
    };
    let merged = merge_mounts(&[mount("a:/x"), mount("b:/y/")], &[mount("c:/y"), mount("d:/z")]);
    assert_eq!(merged, [mount("a:/x"), mount("c:/y"), mount("d:/z")]);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let pod = PodRequest { mounts: vec!["volume=data,target=/d".parse().unwrap()], ..PodRequest::default() };
    let error = pod.check(&[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "dangling mount point \"/d\": volume \"data\" not found (--volume=data,kind=host,source=/PATH)"
    );
    let apps = requests(&["web", "--mount=volume=x,target=/y"]);
    let error = PodRequest::default().check(&apps).unwrap_err().to_string();
    assert_eq!(
        error,
        "dangling mount point \"/y\": volume \"x\" not found (--volume=x,kind=host,source=/PATH)"
    );

    let error = make(PodRequest::default(), &["web", "web"], &server()).unwrap_err().to_string();
    assert_eq!(error, "multiple apps with name \"web-server\": give each its own --name");

    let bare = image("");
    let error = make(PodRequest::default(), &["web"], &bare).unwrap_err();
    assert!(error.root_cause().to_string().contains("no app section"), "{error:#}");
    let app = only_app(&["web", "--exec=/bin/sh"], &bare).app.unwrap();
    assert_eq!(app.exec, ["/bin/sh"]);
    assert_eq!(app.user, rustix::process::getuid().as_raw().to_string());
}

#[test]
fn images_for_other_hosts_are_refused() {
    let labels = |json: &str| {
        let mut manifest = image("");
        manifest.labels = serde_json::from_str(json).unwrap();
        check_platform(&manifest).map_err(|error| error.to_string())
    };
    let arch = arch();
    let good = format!(r#"[{{"name":"os","value":"linux"}},{{"name":"arch","value":"{arch}"}}]"#);
    assert_eq!(labels(&good), Ok(()));
    for (json, message) in [
        ("[]", "missing os label in the image manifest".to_owned()),
        (r#"[{"name":"os","value":"linux"}]"#, "missing arch label in the image manifest".to_owned()),
        (
            r#"[{"name":"os","value":"freebsd"},{"name":"arch","value":"amd64"}]"#,
            "bad os \"freebsd\" (must be one of: [linux])".to_owned(),
        ),
        (
            r#"[{"name":"os","value":"linux"},{"name":"arch","value":"ppc64"}]"#,
            format!("bad arch \"ppc64\" for linux (must be one of: [{arch}])"),
        ),
    ] {
        assert_eq!(labels(json), Err(message), "{json}");
    }
}

#[test]
fn a_given_manifest_is_checked_too() {
    let id: ImageId = ID.parse().unwrap();
    let (with, without) = (server(), image(""));
    let pod = |apps: &str| {
        let json = format!(r#"{{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{apps}]}}"#);
        PodManifest::parse(json.as_bytes()).unwrap()
    };
    let plain = format!(r#"{{"name":"a","image":{{"id":"{ID}"}}}}"#);
    let dangling =
        format!(r#"{{"name":"a","image":{{"id":"{ID}"}},"mounts":[{{"volume":"v","path":"/p"}}]}}"#);
    for (apps, manifest, part) in [
        (plain.as_str(), &with, None),
        (&plain, &without, Some("no app section in the pod manifest or the image manifest")),
        (&dangling, &with, Some("dangling mount point \"/p\"")),
        ("", &with, Some("has no apps")),
    ] {
        let found = check_given(&pod(apps), |_| Ok(ImageFacts { id: &id, manifest }));
        match part {
            None => found.unwrap(),
            Some(part) => assert!(format!("{:#}", found.unwrap_err()).contains(part), "{part}"),
        }
    }
}
