//! The grammar as data: every section and every key that a file may have.
//!
//! What reads a section asks for keys by these lists, unknown keys are refused and suggestions are
//! made from them, and a test holds the documentation to them.

/// A table of the file and the keys that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// How it is written in a file, as in `[[network.subnet]]`; for the whole file, `the file`.
    pub header: &'static str,
    /// Its keys, sections under it included.
    pub keys: &'static [&'static str],
}

/// The file itself.
pub const FILE: Section = Section {
    header: "the file",
    keys: &[
        "server",
        "leases",
        "options",
        "option",
        "class",
        "profile",
        "network",
        "gate",
        "dns",
        "api",
        "captive",
        "portal",
        "events",
        "history",
        "webhook",
        "registration",
        "failover",
        "agent",
    ],
};

/// `[server]`
pub const SERVER: Section = Section {
    header: "[server]",
    keys: &["name", "state-dir", "relay-listen", "interfaces", "receive-buffer"],
};

/// `[leases]`
pub const LEASES: Section = Section {
    header: "[leases]",
    keys: &[
        "lifetime",
        "lifetime-unregistered",
        "decline-quarantine",
        "cache-threshold",
        "rapid-commit",
        "pressure-threshold",
        "lifetime-under-pressure",
        "limit-per-circuit",
        "limit-per-owner",
    ],
};

/// `[[option]]`
pub const OPTION: Section = Section { header: "[[option]]", keys: &["name", "code", "type"] };

/// What a class can ask for, in the class itself and in its alternatives.
macro_rules! with_conditions {
    ($($key:literal),*) => {
        &[
            $($key,)*
            "vendor-class",
            "vendor-class-prefix",
            "user-class",
            "circuit-id",
            "circuit-id-prefix",
            "remote-id",
            "remote-id-prefix",
            "mac-prefix",
            "architecture",
            "registration",
            "role",
            "option",
        ]
    };
}

/// `[[class]]`
pub const CLASS: Section =
    Section { header: "[[class]]", keys: with_conditions!("name", "options", "lifetime", "any") };

/// `[[class.any]]`
pub const CLASS_ALTERNATIVE: Section =
    Section { header: "[[class.any]]", keys: with_conditions!() };

/// `[[class.option]]`
pub const CLASS_OPTION: Section =
    Section { header: "[[class.option]]", keys: &["name", "is", "begins", "contains"] };

/// `[[profile]]`
pub const PROFILE: Section =
    Section { header: "[[profile]]", keys: &["name", "options", "lifetime"] };

/// `[[network]]`
pub const NETWORK: Section = Section {
    header: "[[network]]",
    keys: &[
        "name",
        "gated",
        "gate-by",
        "ipv6",
        "ipv6-prefixes",
        "randomised-addresses",
        "options",
        "options-registered",
        "options-unregistered",
        "subnet",
    ],
};

/// `[[network.subnet]]`
pub const SUBNET: Section = Section {
    header: "[[network.subnet]]",
    keys: &[
        "prefix",
        "pools",
        "pools-registered",
        "pools-unregistered",
        "options",
        "options-registered",
        "options-unregistered",
        "profile",
        "pool",
        "reservation",
    ],
};

/// `[[network.subnet.reservation]]`
pub const RESERVATION: Section = Section {
    header: "[[network.subnet.reservation]]",
    keys: &["mac", "client-identifier", "circuit-id", "address", "host-name", "profile", "options"],
};

/// `[[network.subnet.pool]]`
pub const POOL: Section = Section {
    header: "[[network.subnet.pool]]",
    keys: &["ranges", "classes", "registration", "options"],
};

/// `[gate]`
pub const GATE: Section = Section {
    header: "[gate]",
    keys: &["mode", "lying-resolver", "portal", "walled-garden", "garden-socket", "redirect"],
};

/// `gate.portal`
pub const PORTAL: Section = Section { header: "[gate.portal]", keys: &["address", "url"] };

/// `[dns]`
pub const DNS: Section = Section {
    header: "[dns]",
    keys: &["listen", "redirect-listen", "upstream", "lie-ttl", "metrics-listen"],
};

/// `[api]`
pub const API: Section = Section {
    header: "[api]",
    keys: &["listen", "token-file", "token", "tls-listen", "tls-certificate", "tls-key"],
};

/// `[[api.token]]`
pub const API_TOKEN: Section =
    Section { header: "[[api.token]]", keys: &["name", "file", "scope"] };

/// `[captive]`
pub const CAPTIVE: Section = Section {
    header: "[captive]",
    keys: &[
        "url",
        "listen",
        "tls-certificate",
        "tls-key",
        "trusted-proxies",
        "proxy-header",
        "lease-token",
        "can-extend-session",
        "venue-info-url",
    ],
};

/// `[portal]`
pub const BUILTIN_PORTAL: Section = Section {
    header: "[portal]",
    keys: &[
        "mode",
        "listen",
        "tls-listen",
        "tls-certificate",
        "tls-key",
        "title",
        "contact",
        "terms-file",
        "terms-files",
        "languages",
        "identify",
        "role",
        "lifetime",
        "extendable",
        "continue-url",
    ],
};

/// `[portal.terms-files]`
pub const TERMS_FILES: Section =
    Section { header: "[portal.terms-files]", keys: &["en", "de", "fr", "es", "zh", "ar"] };

/// `[history]`
pub const HISTORY: Section =
    Section { header: "[history]", keys: &["keep-days", "owner-keep-days", "drop", "max-size"] };

/// `[events]`
pub const EVENTS: Section =
    Section { header: "[events]", keys: &["retention", "expiring-ahead", "pool-low"] };

/// `[[webhook]]`
pub const WEBHOOK: Section = Section {
    header: "[[webhook]]",
    keys: &["name", "url", "secret-file", "events", "timeout", "ca-file"],
};

/// `[registration]`
pub const REGISTRATION: Section = Section {
    header: "[registration]",
    keys: &["device-limit", "lifetime", "lifetime-randomised", "role"],
};

/// `[[registration.role]]`
pub const ROLE: Section = Section {
    header: "[[registration.role]]",
    keys: &["name", "device-limit", "lifetime", "quarantine", "portal-url"],
};

/// `[agent]`
pub const AGENT: Section = Section {
    header: "[agent]",
    keys: &["server", "when-silent", "silent-after", "status-listen"],
};

/// `[[agent.server]]`
pub const AGENT_SERVER: Section =
    Section { header: "[[agent.server]]", keys: &["url", "token-file", "ca-file"] };

/// One route of the option `classless-static-route`.
pub const ROUTE: Section =
    Section { header: "a route of classless-static-route", keys: &["prefix", "router"] };

/// `[failover]`
pub const FAILOVER: Section = Section {
    header: "[failover]",
    keys: &[
        "name",
        "role",
        "address",
        "port",
        "peer",
        "peer-port",
        "mclt",
        "split",
        "max-unacked-updates",
        "max-response-delay",
        "load-balance-max-seconds",
        "auto-partner-down",
        "max-lease-misbalance",
        "max-lease-ownership",
        "min-balance",
        "max-balance",
        "registrations",
        "token-file",
        "ca-file",
    ],
};

/// All of them, in the order of the documentation.
pub const SECTIONS: [Section; 29] = [
    FILE,
    SERVER,
    LEASES,
    OPTION,
    CLASS,
    CLASS_ALTERNATIVE,
    CLASS_OPTION,
    PROFILE,
    NETWORK,
    SUBNET,
    POOL,
    RESERVATION,
    GATE,
    PORTAL,
    DNS,
    API,
    API_TOKEN,
    CAPTIVE,
    BUILTIN_PORTAL,
    TERMS_FILES,
    EVENTS,
    HISTORY,
    WEBHOOK,
    REGISTRATION,
    ROLE,
    FAILOVER,
    AGENT,
    AGENT_SERVER,
    ROUTE,
];

/// The nearest of `known` to `unknown`, if it is near enough to be what was meant.
pub(crate) fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Only the beginning is compared: a key may be as long as the file.
    let unknown: String = unknown.chars().take(64).collect::<String>().to_ascii_lowercase();
    let unknown = unknown.replace('_', "-");
    known
        .map(|key| (strsim::jaro_winkler(&unknown, key), key))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_understood_and_far_ones_left() {
        let leases = || LEASES.keys.iter().copied();
        assert_eq!(nearest("lifetme", leases()), Some("lifetime"));
        assert_eq!(nearest("rapid_commit", leases()), Some("rapid-commit"));
        assert_eq!(nearest("LIFETIME", leases()), Some("lifetime"));
        assert_eq!(nearest("colour", leases()), None);
        assert_eq!(nearest("", leases()), None);
    }
}
