//! Registering pods with the metadata service, over its unix socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use pod::{PodDir, PodUuid};

use crate::report;

/// Where the service listens for root.
const SOCKET: &str = "/run/rkt/metadata-svc.sock";

/// In a pod directory: the pod is registered.
const MARKER: &str = "mds-registered";

/// How often a request is made until it works, and how long the service may take for one.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// Registers the pod `dir` and returns the token by which its apps name it.
pub(crate) fn register(dir: &PodDir, uuid: PodUuid) -> Result<String> {
    let token = token()?;
    let pod = dir.manifest_json()?.context("the pod has no manifest")?;
    let manifest = dir.manifest()?;
    dir.write(MARKER, b"")?;
    ask("PUT", &format!("/pods/{uuid}?token={token}"), &pod)?;
    for app in &manifest.apps {
        let name = app.name.as_str();
        let image = dir.image_manifest_json(name)?;
        let image = image.with_context(|| format!("the pod has no image manifest of app {name:?}"))?;
        ask("PUT", &format!("/pods/{uuid}/{name}"), &image)?;
    }
    Ok(token)
}

/// Takes the pod out of the service, if it was registered. A service that is not there has forgotten it.
pub(crate) fn unregister(dir: &PodDir, uuid: PodUuid) -> Result<()> {
    if !dir.exists(MARKER)? {
        return Ok(());
    }
    match UnixStream::connect(SOCKET) {
        Ok(stream) => exchange(stream, "DELETE", &format!("/pods/{uuid}"), b""),
        Err(_) => Ok(()),
    }
}

/// Who has it is the pod.
fn token() -> Result<String> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .context("Cannot get random bytes")?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn ask(method: &str, path: &str, body: &[u8]) -> Result<()> {
    let mut attempt = 1;
    loop {
        let result = match UnixStream::connect(SOCKET) {
            Ok(stream) => exchange(stream, method, path, body),
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "the metadata service is not there: {SOCKET} does not exist. Start it with systemctl start rkt-metadata.socket, or \
                 rkt metadata-service"
            ),
            Err(error) => Err(error.into()),
        };
        match result {
            Err(error) if attempt < ATTEMPTS => {
                report::notice(
                    "run",
                    format_args!("the metadata service did not answer, trying again: {error:#}"),
                );
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result.context("Cannot register the pod with the metadata service"),
        }
    }
}

/// One request, and whether it was granted.
fn exchange(mut stream: UnixStream, method: &str, path: &str, body: &[u8]) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: rkt\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(&answer).map_err(|error| anyhow!("its answer is no HTTP: {error}"))?;
    let httparse::Status::Complete(length) = parsed else { bail!("its answer ends early") };
    match response.code {
        Some(200) => Ok(()),
        code => bail!(
            "it answers {}: {}",
            code.unwrap_or_default(),
            String::from_utf8_lossy(&answer[length..]).trim()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answer: &'static [u8]) -> Result<()> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let service = std::thread::spawn(move || {
            let mut request = [0; 4096];
            let length = theirs.read(&mut request).unwrap();
            theirs.write_all(answer).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let result = exchange(ours, "PUT", "/pods/x?token=y", b"");
        assert!(service.join().unwrap().starts_with("PUT /pods/x?token=y HTTP/1.1\r\n"));
        result
    }

    #[test]
    fn answers_of_the_service() {
        answered(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        for (answer, why) in [
            (&b"HTTP/1.1 400 Bad\r\n\r\nno pod manifest\n"[..], "400: no pod manifest"),
            (b"HTTP/1.1 200 OK\r\n", "ends early"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
            (b"", "ends early"),
        ] {
            let error = answered(answer).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn tokens_are_long_and_new() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert!(one.len() == 32 && one != two && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
