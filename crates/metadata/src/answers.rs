//! Which request gets which answer. No I/O: a request is a method, a path, and a body.

use hyper::{Method, StatusCode};

use crate::registry::{Pod, Refusal, Registry};

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn text(body: impl Into<Vec<u8>>) -> Self {
        Answer { status: StatusCode::OK, content_type: "text/plain; charset=us-ascii", body: body.into() }
    }

    fn json(body: impl Into<Vec<u8>>) -> Self {
        Answer { status: StatusCode::OK, content_type: "application/json", body: body.into() }
    }

    fn error(status: StatusCode, why: &str) -> Self {
        Answer { status, content_type: "text/plain; charset=us-ascii", body: format!("{why}\n").into_bytes() }
    }

    fn not_found() -> Self {
        Answer::error(StatusCode::NOT_FOUND, "not found")
    }
}

/// What root says on the unix socket.
pub(crate) fn registration(
    registry: &mut Registry,
    method: &Method,
    path: &str,
    query: &str,
    body: Vec<u8>,
) -> Answer {
    let Some(segments) = path.strip_prefix("/pods/").map(|rest| rest.split('/').collect::<Vec<_>>()) else {
        return Answer::not_found();
    };
    let done = match (method, segments.as_slice()) {
        (&Method::PUT, [uuid]) => {
            let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
            registry.register(uuid, token.as_ref().map_or("", |(_, token)| token), body)
        }
        (&Method::PUT, [uuid, app]) => registry.register_image(uuid, app, body),
        (&Method::DELETE, [uuid]) => {
            registry.forget(uuid);
            Ok(())
        }
        (_, [_] | [_, _]) => return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        _ => return Answer::not_found(),
    };
    match done {
        Ok(()) => Answer::text(""),
        Err(Refusal::Unknown) => {
            Answer::error(StatusCode::NOT_FOUND, "the pod, or its app, is not registered")
        }
        Err(Refusal::Malformed(why)) => Answer::error(StatusCode::BAD_REQUEST, why),
    }
}

/// What an app asks, and whose it is.
pub(crate) fn answer(
    registry: &Registry,
    method: &Method,
    path: &str,
    body: &[u8],
) -> (Answer, Option<String>) {
    let mut parts = path.splitn(3, '/').skip(1);
    let (token, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(rest) = rest.strip_prefix("acMetadata/v1/") else { return (Answer::not_found(), None) };
    let Some(pod) = registry.pod(token) else {
        return (Answer::error(StatusCode::UNAUTHORIZED, "unknown token"), None);
    };
    let answer = match *method {
        Method::GET => get(pod, rest),
        Method::POST => post(registry, pod, rest, body),
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
    };
    (answer, Some(pod.uuid.clone()))
}

fn get(pod: &Pod, path: &str) -> Answer {
    let value = |annotations: &appc::Annotations, name: &str| {
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        annotations.get(&name).map_or_else(Answer::not_found, Answer::text)
    };
    let all = |annotations: &appc::Annotations| {
        serde_json::to_vec(annotations).map_or_else(|_| Answer::not_found(), Answer::json)
    };
    match path.split_once('/') {
        Some(("pod", "uuid")) => Answer::text(pod.uuid.as_str()),
        Some(("pod", "manifest")) => Answer::json(pod.json.clone()),
        Some(("pod", "annotations" | "annotations/")) => all(&pod.manifest.annotations),
        Some(("pod", rest)) => match rest.strip_prefix("annotations/") {
            Some(name) => value(&pod.manifest.annotations, name),
            None => Answer::not_found(),
        },
        Some(("apps", rest)) => {
            let Some((app, what)) = rest.split_once('/') else { return Answer::not_found() };
            let (Some(runtime), Some(annotations)) = (pod.manifest.app(app), pod.annotations(app)) else {
                return Answer::not_found();
            };
            match what {
                "image/id" => Answer::text(runtime.image.id.as_str()),
                "image/manifest" => pod.image_json(app).map_or_else(Answer::not_found, Answer::json),
                "annotations" | "annotations/" => all(&annotations),
                what => match what.strip_prefix("annotations/") {
                    Some(name) => value(&annotations, name),
                    None => Answer::not_found(),
                },
            }
        }
        _ => Answer::not_found(),
    }
}

fn post(registry: &Registry, pod: &Pod, path: &str, body: &[u8]) -> Answer {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(body);
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    };
    let missing =
        |name: &str| Answer::error(StatusCode::BAD_REQUEST, &format!("the form has no field {name}"));
    match path {
        "pod/hmac/sign" => match field("content") {
            Some(content) => Answer::text(registry.sign(&pod.uuid, content.as_bytes())),
            None => missing("content"),
        },
        "pod/hmac/verify" => {
            let (Some(content), Some(uuid), Some(signature)) =
                (field("content"), field("uuid"), field("signature"))
            else {
                return missing("content, uuid or signature");
            };
            if registry.verify(&uuid, content.as_bytes(), &signature) {
                Answer::text("")
            } else {
                Answer::error(StatusCode::FORBIDDEN, "the signature is not the pod's")
            }
        }
        _ => Answer::not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::{IMAGE, POD, TOKEN, UUID, registry};

    fn got(path: &str) -> (u16, String) {
        let (answer, _) = answer(&registry(), &Method::GET, &format!("/{TOKEN}/acMetadata/v1/{path}"), b"");
        (answer.status.as_u16(), String::from_utf8(answer.body).unwrap())
    }

    #[test]
    fn every_path_has_its_answer() {
        for (path, wanted) in [
            ("pod/uuid", UUID),
            ("pod/manifest", POD),
            ("pod/annotations", r#"[{"name":"a/b","value":"of the pod"}]"#),
            ("pod/annotations/a/b", "of the pod"),
            ("pod/annotations/a%2Fb", "of the pod"),
            ("apps/web/image/id", "sha512-aa"),
            ("apps/web/image/manifest", IMAGE),
            ("apps/web/annotations/both", "of the app"),
            ("apps/web/annotations/one", "1"),
            ("apps/web/annotations", r#"[{"name":"both","value":"of the app"},{"name":"one","value":"1"}]"#),
        ] {
            assert_eq!(got(path), (200, wanted.to_owned()), "{path}");
        }
        for path in [
            "",
            "pod",
            "pod/",
            "pod/other",
            "pod/annotations/c",
            "apps/web",
            "apps/db/image/id",
            "apps/web/image",
            "apps/web/x",
        ] {
            assert_eq!(got(path).0, 404, "{path}");
        }
    }

    #[test]
    fn who_has_no_token_gets_nothing() {
        let registry = registry();
        for (path, status) in [
            ("/acMetadata/v1/pod/uuid", 404),
            ("//acMetadata/v1/pod/uuid", 401),
            ("/0123/acMetadata/v1/pod/uuid", 401),
            ("/", 404),
            (&format!("/{TOKEN}/acMetadata/v2/pod/uuid"), 404),
        ] {
            let (answer, whose) = answer(&registry, &Method::GET, path, b"");
            assert_eq!((answer.status.as_u16(), whose), (status, None), "{path}");
        }
        let path = format!("/{TOKEN}/acMetadata/v1/pod/uuid");
        assert_eq!(answer(&registry, &Method::PUT, &path, b"").0.status, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn signing_and_verifying() {
        let registry = registry();
        let post = |path: &str, form: &str| {
            let (answer, _) = answer(
                &registry,
                &Method::POST,
                &format!("/{TOKEN}/acMetadata/v1/pod/hmac/{path}"),
                form.as_bytes(),
            );
            (answer.status.as_u16(), String::from_utf8(answer.body).unwrap())
        };
        let (status, signature) = post("sign", "content=a+b%26");
        assert_eq!((status, signature.as_str()), (200, registry.sign(UUID, b"a b&").as_str()));
        let encoded: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let form = |content: &str| format!("content={content}&uuid={UUID}&signature={encoded}");
        assert_eq!(post("verify", &form("a+b%26")).0, 200);
        assert_eq!(post("verify", &form("other")).0, 403);
        assert_eq!(post("verify", "content=x").0, 400);
        assert_eq!(post("sign", "").0, 400);
        assert_eq!(post("other", "content=x").0, 404);
    }

    #[test]
    fn registration_is_for_root() {
        let mut registry = Registry::new([0; 64]);
        let mut ask = |method: Method, path: &str, query: &str, body: &str| {
            registration(&mut registry, &method, path, query, body.into()).status.as_u16()
        };
        let (pod, app) = (format!("/pods/{UUID}"), format!("/pods/{UUID}/web"));
        assert_eq!(ask(Method::PUT, &app, "", IMAGE), 404);
        assert_eq!(ask(Method::PUT, &pod, "", POD), 400);
        assert_eq!(ask(Method::PUT, &pod, &format!("token={TOKEN}"), POD), 200);
        assert_eq!(ask(Method::PUT, &app, "", IMAGE), 200);
        assert_eq!(ask(Method::GET, &pod, "", ""), 405);
        assert_eq!(ask(Method::PUT, "/other", "", ""), 404);
        assert_eq!(ask(Method::DELETE, &pod, "", ""), 200);
        assert_eq!(ask(Method::PUT, &app, "", IMAGE), 404);
    }
}
