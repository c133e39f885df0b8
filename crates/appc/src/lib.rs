//! App Container types and parsers: names, image and pod manifests, isolators.
