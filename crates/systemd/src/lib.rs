//! systemd over D-Bus: units and scopes, machined, journal streams, readiness.
