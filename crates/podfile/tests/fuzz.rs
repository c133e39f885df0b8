//! The parser of pod files under spoilt input.

#![allow(clippy::unwrap_used)]

use std::rc::Rc;

use fuzz::{Target, shape};
use podfile::{HostFacts, Severity, Source, Specifiers, words};

const WORDS: &[&str] = &[
    "[Pod]\n",
    "[App]\n",
    "[App web]\n",
    "[Service]\n",
    "[Socket]\n",
    "[Install]\nWantedBy=multi-user.target\n",
    "Image=x\n",
    "Isolation=fly\n",
    "Network=host\n",
    "PublishPort=8080:80\n",
    "Volume=a:/b\n",
    "Mount=a:/c\n",
    "Bind=/a:/b:ro\n",
    "Tmpfs=/run:mode=1777\n",
    "Exec=/bin/sh -c 'a b'\n",
    "Environment=A=b \"C=d e\"\n",
    "StopTimeout=1min 30s\n",
    "AddCapability=NET_ADMIN\n",
    "Seccomp=mode=retain,@rkt/default-whitelist\n",
    "\\\n",
    "\\x41",
    "%i",
    "%",
    "=",
    "\"",
    "'",
    "infinity",
    "\u{fffd}",
];

const POD: &str = "[Pod]\nIsolation=nspawn\nNetwork=default:IP=10.1.1.1,other\nPublishPort=127.0.0.1:8080:80/tcp\nVolume=data:/srv:ro\n\
                   DNS=8.8.8.8\nAddHost=a:10.0.0.1\nMemoryMax=50%\nStopTimeout=1min\n[App web]\nImage=docker://nginx\nMount=data:/srv\n\
                   Exec=/bin/sh \\\n  -c 'x'\nEnvironment=A=1 'B=2 3'\nHealthCommand=/bin/true\nReloadSignal=HUP\n[App db]\nImage=x\n\
                   [Unit]\nDescription=%i\n[Service]\nRestart=always\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn fuzz_pod_files() {
    let specifiers = Specifiers { name: "db@one".parse().unwrap(), host: HostFacts::default() };
    Target::new("pod file", [POD]).words(WORDS).run(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines = text.split('\n').count();
        let source = Rc::new(Source { path: "x.pod".to_owned(), text });
        // Once as the file, once as a drop-in.
        let main = Rc::new(Source { path: "main.pod".to_owned(), text: POD.to_owned() });
        podfile::read(&main, &[Rc::clone(&source)], &specifiers);
        let outcome = podfile::read(&source, &[], &specifiers);
        for diagnostic in &outcome.diagnostics {
            let place = &diagnostic.place;
            assert!(place.line >= 1 && place.line <= lines && place.column >= 1, "{place:?}");
            assert!(diagnostic.to_string().lines().count() >= 3);
        }
        let worst = outcome.diagnostics.iter().find(|one| one.severity == Severity::Error);
        (outcome.file.apps.len(), worst.map(|one| shape(&one.message)))
    });
}

#[test]
fn fuzz_words() {
    Target::new("words", ["a 'b c' \"d\\x41\" \\u00e9 \\101"]).words(WORDS).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match words::split(&text) {
            Ok(found) => {
                let again: Vec<String> = found.iter().map(|word| words::quote(&word.text)).collect();
                let read = words::split(&again.join(" ")).unwrap();
                assert!(read.iter().map(|word| &word.text).eq(found.iter().map(|word| &word.text)));
                found.len().to_string()
            }
            Err(error) => shape(error.message),
        }
    });
}
