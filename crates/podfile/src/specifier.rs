//! Specifiers: `%i` and the like in values; see systemd.unit(5), "Specifiers".

use crate::name::PodName;

/// What specifiers stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifiers {
    /// The pod.
    pub name: PodName,
    /// The host.
    pub host: HostFacts,
}

/// What specifiers say about the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// `%H`, and up to its first dot `%l`.
    pub hostname: String,
    /// `%m`
    pub machine_id: String,
    /// `%b`
    pub boot_id: String,
    /// `%v`
    pub kernel: String,
}

/// Those that there are, for documents and messages.
pub const KNOWN: &[(char, &str)] = &[
    ('%', "a percent sign"),
    ('i', "the instance: what stands behind @ in the name of the pod"),
    ('I', "the same, unescaped"),
    ('p', "the prefix: what stands before @ in the name of the pod"),
    ('P', "the same, unescaped"),
    ('j', "what stands behind the last dash of the prefix"),
    ('J', "the same, unescaped"),
    ('N', "the name of the pod"),
    ('H', "the host's name"),
    ('l', "the host's name up to its first dot"),
    ('m', "the host's machine ID"),
    ('b', "the ID of the running boot"),
    ('v', "the release of the kernel"),
    ('a', "the processor's architecture"),
    ('t', "/run"),
    ('S', "/var/lib"),
    ('C', "/var/cache"),
    ('L', "/var/log"),
    ('E', "/etc"),
    ('T', "/tmp"),
    ('V', "/var/tmp"),
];

impl Specifiers {
    /// Replaces the specifiers in `text`.
    ///
    /// # Errors
    /// With the position of one that there is not, in bytes.
    pub fn expand(&self, text: &str) -> Result<String, usize> {
        let mut expanded = String::with_capacity(text.len());
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            let letter = characters.next().map(|(_, letter)| letter);
            expanded.push_str(&letter.and_then(|letter| self.value(letter)).ok_or(at)?);
        }
        Ok(expanded)
    }

    /// What `%letter` stands for.
    fn value(&self, letter: char) -> Option<String> {
        let last = |text: &str| text.rsplit('-').next().unwrap_or_default().to_owned();
        let (prefix, instance) = (self.name.prefix(), self.name.instance().unwrap_or_default());
        Some(match letter {
            '%' => "%".to_owned(),
            'i' => instance.to_owned(),
            'I' => unescape(instance),
            'p' => prefix.to_owned(),
            'P' => unescape(prefix),
            'j' => last(prefix),
            'J' => unescape(&last(prefix)),
            'N' => self.name.as_str().to_owned(),
            'H' => self.host.hostname.clone(),
            'l' => self.host.hostname.split('.').next().unwrap_or_default().to_owned(),
            'm' => self.host.machine_id.clone(),
            'b' => self.host.boot_id.clone(),
            'v' => self.host.kernel.clone(),
            'a' => std::env::consts::ARCH.replace("x86_64", "x86-64").replace("aarch64", "arm64"),
            't' => "/run".to_owned(),
            'S' => "/var/lib".to_owned(),
            'C' => "/var/cache".to_owned(),
            'L' => "/var/log".to_owned(),
            'E' => "/etc".to_owned(),
            'T' => "/tmp".to_owned(),
            'V' => "/var/tmp".to_owned(),
            _ => return None,
        })
    }

    /// Replaces in a value of a section that systemd reads what would mean the unit there and not the pod:
    /// the instance of `rkt-pod@db@one.service` is `db@one`. The rest is for systemd.
    pub fn expand_names(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match characters.next() {
                Some(letter @ ('i' | 'I' | 'p' | 'P' | 'j' | 'J')) => {
                    let value = self.value(letter).unwrap_or_default();
                    expanded.push_str(&value.replace('%', "%%"));
                }
                Some(letter) => expanded.extend(['%', letter]),
                None => expanded.push('%'),
            }
        }
        expanded
    }
}

/// Undoes the escaping of unit names: `-` is `/`, `\x2d` is `-`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hex = rest.strip_prefix("\\x").and_then(|rest| rest.get(..2));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            // A value with control characters in it would end its line.
            Some(byte) if byte >= b' ' => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            _ => {
                let plain = if c == '-' { '/' } else { c };
                bytes.extend(plain.encode_utf8(&mut [0; 4]).bytes());
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specifiers(name: &str) -> Specifiers {
        let host = HostFacts {
            hostname: "box.example.com".to_owned(),
            machine_id: "0123".to_owned(),
            boot_id: "4567".to_owned(),
            kernel: "6.1".to_owned(),
        };
        Specifiers { name: name.parse().unwrap(), host }
    }

    #[test]
    fn each_known_one_has_a_value() {
        let specifiers = specifiers("db-main@srv-a\\x2db");
        for (letter, text) in [
            ('i', "srv-a\\x2db"),
            ('I', "srv/a-b"),
            ('p', "db-main"),
            ('P', "db/main"),
            ('j', "main"),
            ('N', "db-main@srv-a\\x2db"),
            ('l', "box"),
            ('H', "box.example.com"),
            ('m', "0123"),
            ('%', "%"),
            ('S', "/var/lib"),
        ] {
            assert_eq!(specifiers.expand(&format!("a%{letter}b")).unwrap(), format!("a{text}b"));
        }
        for (letter, _) in KNOWN {
            assert!(specifiers.expand(&format!("%{letter}")).is_ok(), "{letter}");
        }
        assert_eq!(specifiers.expand("é%n"), Err(2));
        assert_eq!(specifiers.expand("a%"), Err(1));
    }

    #[test]
    fn systemd_gets_the_rest() {
        let specifiers = specifiers("db@one");
        assert_eq!(specifiers.expand_names("%p %i %n %% %H %"), "db one %n %% %H %");
        assert_eq!(specifiers.expand_names("%%i"), "%%i");
    }
}
