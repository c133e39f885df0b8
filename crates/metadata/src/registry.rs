//! What is known of pods.

use std::collections::{BTreeMap, HashMap};

use appc::{Annotations, ImageManifest, PodManifest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Pods that are known at one time. Each costs what its manifests cost.
const PODS_MAX: usize = 100_000;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uuid: String,
    /// As it was registered.
    pub(crate) json: Vec<u8>,
    pub(crate) manifest: PodManifest,
    /// Image manifests by the app's name: as registered, and read.
    images: BTreeMap<String, (Vec<u8>, ImageManifest)>,
}

/// All pods, and the key that signs for them.
pub(crate) struct Registry {
    by_token: HashMap<String, Pod>,
    tokens: HashMap<String, String>,
    key: hmac::Key,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the key nor the tokens.
        out.debug_struct("Registry").field("pods", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// Why something cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not what it should be.
    Malformed(&'static str),
    /// The pod is not known.
    Unknown,
}

impl Registry {
    /// An empty one. `key` is secret and random.
    pub(crate) fn new(key: [u8; 64]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA512, &key);
        Registry { by_token: HashMap::new(), tokens: HashMap::new(), key }
    }

    /// Remembers a pod, whose apps name it by `token`.
    pub(crate) fn register(&mut self, uuid: &str, token: &str, json: Vec<u8>) -> Result<(), Refusal> {
        if !is_uuid(uuid) {
            return Err(Refusal::Malformed("no UUID of a pod"));
        }
        // Whoever guesses a token is the pod.
        if token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Refusal::Malformed("the token must be 32 letters and digits, or more"));
        }
        if self.by_token.get(token).is_some_and(|pod| pod.uuid != uuid) {
            return Err(Refusal::Malformed("the token is another pod's"));
        }
        if self.tokens.len() >= PODS_MAX {
            return Err(Refusal::Malformed("too many pods are registered"));
        }
        let manifest = PodManifest::parse(&json).map_err(|_| Refusal::Malformed("no pod manifest"))?;
        self.forget(uuid);
        self.tokens.insert(uuid.to_owned(), token.to_owned());
        let pod = Pod { uuid: uuid.to_owned(), json, manifest, images: BTreeMap::new() };
        self.by_token.insert(token.to_owned(), pod);
        Ok(())
    }

    /// Remembers the image of an app.
    pub(crate) fn register_image(&mut self, uuid: &str, app: &str, json: Vec<u8>) -> Result<(), Refusal> {
        let pod =
            self.tokens.get(uuid).and_then(|token| self.by_token.get_mut(token)).ok_or(Refusal::Unknown)?;
        if pod.manifest.app(app).is_none() {
            return Err(Refusal::Unknown);
        }
        let image = ImageManifest::parse(&json).map_err(|_| Refusal::Malformed("no image manifest"))?;
        pod.images.insert(app.to_owned(), (json, image));
        Ok(())
    }

    /// Forgets a pod. One that is not known is forgotten already.
    pub(crate) fn forget(&mut self, uuid: &str) {
        if let Some(token) = self.tokens.remove(uuid) {
            self.by_token.remove(&token);
        }
    }

    /// The pod that `token` is of.
    pub(crate) fn pod(&self, token: &str) -> Option<&Pod> {
        self.by_token.get(token)
    }

    /// Signs `content` in the name of a pod.
    pub(crate) fn sign(&self, uuid: &str, content: &[u8]) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.key, &signed(uuid, content)))
    }

    /// Whether `signature` is that of the pod `uuid` of `content`.
    pub(crate) fn verify(&self, uuid: &str, content: &[u8], signature: &str) -> bool {
        let signature = BASE64_STANDARD.decode(signature);
        is_uuid(uuid)
            && signature
                .is_ok_and(|signature| hmac::verify(&self.key, &signed(uuid, content), &signature).is_ok())
    }
}

/// What a signature is of.
fn signed(uuid: &str, content: &[u8]) -> Vec<u8> {
    [uuid.as_bytes(), content].concat()
}

impl Pod {
    /// The manifest of the image of `app`, as it was registered.
    pub(crate) fn image_json(&self, app: &str) -> Option<&[u8]> {
        self.images.get(app).map(|(json, _)| json.as_slice())
    }

    /// The annotations of `app`: those of its image, and over them those that the pod gives it.
    pub(crate) fn annotations(&self, app: &str) -> Option<Annotations> {
        let runtime = self.manifest.app(app)?;
        let mut all = self.images.get(app).map(|(_, image)| image.annotations.clone()).unwrap_or_default();
        for annotation in &runtime.annotations {
            all.set(annotation.name.clone(), &annotation.value);
        }
        Some(all)
    }
}

/// A UUID is all that goes before the content under a signature: one that could be longer could take some of it.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const UUID: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    pub(crate) const POD: &str = r#"{"acVersion":"0.8.11","acKind":"PodManifest","annotations":[{"name":"a/b","value":"of the pod"}],"apps":[{"name":"web","image":{"id":"sha512-aa"},"annotations":[{"name":"both","value":"of the app"}]}]}"#;
    pub(crate) const IMAGE: &str = r#"{"acVersion":"0.8.11","acKind":"ImageManifest","name":"example.com/web","annotations":[{"name":"both","value":"of the image"},{"name":"one","value":"1"}]}"#;

    pub(crate) fn registry() -> Registry {
        let mut registry = Registry::new([7; 64]);
        registry.register(UUID, TOKEN, POD.into()).unwrap();
        registry.register_image(UUID, "web", IMAGE.into()).unwrap();
        registry
    }

    #[test]
    fn pods_come_and_go() {
        let mut registry = registry();
        assert_eq!(registry.pod(TOKEN).unwrap().uuid, UUID);
        assert!(registry.pod("other").is_none());
        let annotations = registry.pod(TOKEN).unwrap().annotations("web").unwrap();
        assert_eq!((annotations.get("both"), annotations.get("one")), (Some("of the app"), Some("1")));
        assert!(registry.pod(TOKEN).unwrap().annotations("db").is_none());
        // Again, with another token: the old one is nobody's.
        let new = TOKEN.replace('0', "9");
        registry.register(UUID, &new, POD.into()).unwrap();
        assert!(registry.pod(TOKEN).is_none() && registry.pod(&new).is_some());
        registry.forget(UUID);
        registry.forget(UUID);
        assert!(registry.pod(&new).is_none());
        assert_eq!(registry.register_image(UUID, "web", IMAGE.into()), Err(Refusal::Unknown));
    }

    #[test]
    fn what_is_not_registered() {
        let mut registry = registry();
        let other = UUID.replace('6', "7");
        for (uuid, token, json) in [
            ("x", TOKEN, POD),
            ("6BA7B810-9DAD-41D1-80B4-00C04FD430C8", TOKEN, POD),
            (UUID, "short", POD),
            (UUID, "0123456789abcdef0123456789abcde/", POD),
            (UUID, TOKEN, "{}"),
            (&other, TOKEN, POD),
        ] {
            assert!(
                matches!(registry.register(uuid, token, json.into()), Err(Refusal::Malformed(_))),
                "{uuid} {token}"
            );
        }
        assert!(matches!(registry.register_image(UUID, "web", b"{}".to_vec()), Err(Refusal::Malformed(_))));
        assert_eq!(registry.register_image(UUID, "db", IMAGE.into()), Err(Refusal::Unknown));
    }

    #[test]
    fn signatures_are_of_one_pod_and_one_content() {
        let registry = registry();
        let signature = registry.sign(UUID, b"content");
        assert_eq!(BASE64_STANDARD.decode(&signature).unwrap().len(), 64);
        assert!(registry.verify(UUID, b"content", &signature));
        assert!(!registry.verify(UUID, b"contents", &signature));
        assert!(!registry.verify(&UUID.replace('6', "7"), b"content", &signature));
        assert!(!registry.verify(UUID, b"content", "no base64!"));
        // Nor does some of the content pass for the pod.
        assert!(!registry.verify(&format!("{UUID}con"), b"tent", &signature));
        assert!(!Registry::new([8; 64]).verify(UUID, b"content", &signature));
    }
}
