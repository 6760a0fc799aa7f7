//! The types of parameters whose value is one of a few names.

use super::setting::{Setting, Shape, Source};

macro_rules! enumeration {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident: $($text:literal)|+,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            const NAMES: &'static [(&'static str, $name)] = &[$($(($text, $name::$variant),)+)+];

            /// The name that CONFIG GET shows.
            pub fn name(self) -> &'static str {
                Self::NAMES.iter().find(|(_, value)| *value == self).map_or("unknown", |(name, _)| name)
            }
        }

        impl Setting for $name {
            fn parse(&self, _: &Shape, words: &[&str], _: Source) -> Result<Self, String> {
                let found = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(words[0]));
                found.map(|(_, value)| *value).ok_or_else(|| one_of(Self::NAMES.iter().map(|(name, _)| *name)))
            }

            fn show(&self, _: &Shape) -> String {
                self.name().into()
            }

            fn describe(_: &Shape) -> String {
                Self::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            }
        }
    };
}

/// The error for a name that is none of those.
pub(super) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!(
        "argument(s) must be one of the following: {}",
        names.collect::<Vec<_>>().join(", ")
    )
}

enumeration! {
    /// What happens to writes when `maxmemory` is reached.
    EvictionPolicy {
        /// Evict the key with an expiry that was used longest ago.
        VolatileLru: "volatile-lru",
        /// Evict the key with an expiry that is used least often.
        VolatileLfu: "volatile-lfu",
        /// Evict any key with an expiry.
        VolatileRandom: "volatile-random",
        /// Evict the key that expires next.
        VolatileTtl: "volatile-ttl",
        /// Evict the key that was used longest ago.
        AllkeysLru: "allkeys-lru",
        /// Evict the key that is used least often.
        AllkeysLfu: "allkeys-lfu",
        /// Evict any key.
        AllkeysRandom: "allkeys-random",
        /// Evict nothing, refuse writes.
        NoEviction: "noeviction",
    }
}

enumeration! {
    /// How much the server's log says.
    LogLevel {
        /// Everything.
        Debug: "debug",
        /// Rare details.
        Verbose: "verbose",
        /// What an operator wants to know.
        Notice: "notice",
        /// Only what needs attention.
        Warning: "warning",
        /// Nothing at all.
        Nothing: "nothing",
    }
}

enumeration! {
    /// Who may run a protected command or set a protected parameter.
    ProtectedAction {
        /// Nobody.
        No: "no",
        /// Everybody.
        Yes: "yes",
        /// Connections from this machine.
        Local: "local",
    }
}

enumeration! {
    /// Which service manager watches the process.
    Supervised {
        /// Upstart.
        Upstart: "upstart",
        /// systemd.
        Systemd: "systemd",
        /// Whichever the environment names.
        Auto: "auto",
        /// None.
        No: "no",
    }
}

enumeration! {
    /// The facility under which syslog files the messages.
    SyslogFacility {
        /// User-level messages.
        User: "user",
        /// Local use 0.
        Local0: "local0",
        /// Local use 1.
        Local1: "local1",
        /// Local use 2.
        Local2: "local2",
        /// Local use 3.
        Local3: "local3",
        /// Local use 4.
        Local4: "local4",
        /// Local use 5.
        Local5: "local5",
        /// Local use 6.
        Local6: "local6",
        /// Local use 7.
        Local7: "local7",
    }
}

enumeration! {
    /// When the append-only file is forced to disk.
    AppendFsync {
        /// Once a second.
        EverySecond: "everysec",
        /// Before each reply.
        Always: "always",
        /// When the kernel likes.
        No: "no",
    }
}

enumeration! {
    /// How a follower loads a full synchronisation.
    DisklessLoad {
        /// From a file.
        Disabled: "disabled",
        /// From the socket when it holds no data.
        OnEmptyDb: "on-empty-db",
        /// From the socket, beside the old data.
        SwapDb: "swapdb",
    }
}

enumeration! {
    /// Whether TLS clients show a certificate.
    TlsAuthClients {
        /// Never.
        No: "no",
        /// Always.
        Yes: "yes",
        /// If they like.
        Optional: "optional",
    }
}

enumeration! {
    /// How `oom-score-adj-values` are meant.
    OomScoreAdj {
        /// Not at all.
        No: "no",
        /// Relative to the value at the start.
        Relative: "yes" | "relative",
        /// As they are.
        Absolute: "absolute",
    }
}

enumeration! {
    /// The channels that a new ACL user may use.
    AclPubsubDefault {
        /// All.
        AllChannels: "allchannels",
        /// None.
        ResetChannels: "resetchannels",
    }
}

enumeration! {
    /// Whose serialised values are checked in depth.
    SanitizeDumpPayload {
        /// Nobody's.
        No: "no",
        /// Everybody's.
        Yes: "yes",
        /// Those of ordinary clients.
        Clients: "clients",
    }
}

enumeration! {
    /// What a node of a cluster tells clients about where it is.
    ClusterEndpointType {
        /// Its address.
        Ip: "ip",
        /// Its host name.
        Hostname: "hostname",
        /// Nothing: they stay at the address they used.
        UnknownEndpoint: "unknown-endpoint",
    }
}

enumeration! {
    /// What a follower does when the leader's stream makes an error.
    PropagationErrorBehavior {
        /// Go on.
        Ignore: "ignore",
        /// Stop the process.
        Panic: "panic",
        /// Stop the process on a follower.
        PanicOnReplicas: "panic-on-replicas",
    }
}
