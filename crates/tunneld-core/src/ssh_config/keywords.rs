//! The keywords of ssh_config(5), up to OpenSSH 10.2, and what each of them means to a tunnel.

use std::time::Duration;

use super::judge::{self, Judge};
use super::lex::Word;
use super::setting::{Args, Setting, Wrong, address_family, count, flag, strictness, time};
use crate::config::nearest;

/// The keywords of forwards.
pub(crate) const FORWARDS: [&str; 3] = ["LocalForward", "RemoteForward", "DynamicForward"];

/// What becomes of a keyword.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// Begins a block.
    Host,
    /// Begins a block.
    Match,
    /// Other files.
    Include,
    /// Its value is taken over: a text, …
    Text(fn(String) -> Setting),
    /// … a yes or a no, …
    Flag(fn(bool) -> Setting),
    /// … a number, …
    Count(fn(u32) -> Setting),
    /// … a time, …
    Time(fn(Option<Duration>) -> Setting),
    /// … several words, …
    Words(fn(Vec<Word>) -> Setting),
    /// … or something else.
    Own(fn(&Args) -> Result<Setting, Wrong>),
    /// It has no effect on a tunnel.
    Harmless,
    /// It has one, and only some of its values are what tunneld does anyway.
    Judged(&'static Judge),
}

impl Known {
    /// What a line with this keyword says; `None` where that is not taken over.
    pub(super) fn read(self, args: &Args) -> Result<Option<Setting>, Wrong> {
        Ok(Some(match self {
            Known::Text(make) => make(args.one()?.to_owned()),
            Known::Flag(make) => make(args.parsed(flag)?),
            Known::Count(make) => make(args.parsed(count)?),
            Known::Time(make) => make(args.parsed(time)?),
            Known::Words(make) => make(args.several()?),
            Known::Own(read) => read(args)?,
            Known::Host | Known::Match | Known::Include => return Ok(None),
            Known::Harmless | Known::Judged(_) => return Ok(None),
        }))
    }
}

use Known::{Count, Flag, Harmless, Judged, Own, Text, Time, Words};

/// Each keyword as it is shown.
const KEYWORDS: &[(&str, Known)] = &[
    ("Host", Known::Host),
    ("Match", Known::Match),
    ("Include", Known::Include),
    ("IgnoreUnknown", Text(Setting::IgnoreUnknown)),
    // Where to go.
    ("HostName", Text(Setting::HostName)),
    ("Port", Own(Args::port)),
    ("User", Text(Setting::User)),
    (
        "AddressFamily",
        Own(|a| Ok(Setting::AddressFamily(a.parsed(address_family)?))),
    ),
    ("BindAddress", Text(Setting::BindAddress)),
    ("ProxyJump", Own(Args::jump)),
    ("ProxyCommand", Own(Args::command)),
    // Who we are.
    ("IdentityFile", Text(Setting::IdentityFile)),
    ("CertificateFile", Text(Setting::CertificateFile)),
    ("IdentityAgent", Text(Setting::IdentityAgent)),
    ("IdentitiesOnly", Flag(Setting::IdentitiesOnly)),
    // Who the host is.
    ("UserKnownHostsFile", Words(Setting::UserKnownHosts)),
    ("GlobalKnownHostsFile", Words(Setting::GlobalKnownHosts)),
    ("HostKeyAlias", Text(Setting::HostKeyAlias)),
    (
        "StrictHostKeyChecking",
        Own(|a| Ok(Setting::Strictness(a.parsed(strictness)?))),
    ),
    ("UpdateHostKeys", Own(Args::update_host_keys)),
    ("RequiredRSASize", Count(Setting::RequiredRsaSize)),
    // How it is spoken to.
    ("ConnectTimeout", Time(Setting::ConnectTimeout)),
    ("ServerAliveInterval", Time(Setting::AliveInterval)),
    ("ServerAliveCountMax", Count(Setting::AliveCountMax)),
    ("Ciphers", Text(Setting::Ciphers)),
    ("MACs", Text(Setting::Macs)),
    ("KexAlgorithms", Text(Setting::Kex)),
    ("HostKeyAlgorithms", Text(Setting::HostKeyAlgorithms)),
    ("Compression", Own(Args::compression)),
    ("RekeyLimit", Own(Args::rekey_limit)),
    // What has an effect that tunneld does not have.
    ("BindInterface", Judged(&judge::BIND_INTERFACE)),
    (
        "CASignatureAlgorithms",
        Judged(&judge::CA_SIGNATURE_ALGORITHMS),
    ),
    (
        "CanonicalizeHostname",
        Judged(&judge::CANONICALIZE_HOSTNAME),
    ),
    (
        "CanonicalizePermittedCNAMEs",
        Judged(&judge::CANONICALIZE_PERMITTED_CNAMES),
    ),
    ("CheckHostIP", Judged(&judge::CHECK_HOST_IP)),
    (
        "HostbasedAuthentication",
        Judged(&judge::HOSTBASED_AUTHENTICATION),
    ),
    (
        "KbdInteractiveAuthentication",
        Judged(&judge::PASSWORD_AUTHENTICATION),
    ),
    ("KnownHostsCommand", Judged(&judge::KNOWN_HOSTS_COMMAND)),
    (
        "NoHostAuthenticationForLocalhost",
        Judged(&judge::NO_HOST_AUTHENTICATION),
    ),
    ("PKCS11Provider", Judged(&judge::PKCS11_PROVIDER)),
    (
        "PasswordAuthentication",
        Judged(&judge::PASSWORD_AUTHENTICATION),
    ),
    (
        "PreferredAuthentications",
        Judged(&judge::PREFERRED_AUTHENTICATIONS),
    ),
    ("ProxyUseFdpass", Judged(&judge::PROXY_USE_FDPASS)),
    (
        "PubkeyAcceptedAlgorithms",
        Judged(&judge::PUBKEY_ACCEPTED_ALGORITHMS),
    ),
    (
        "PubkeyAuthentication",
        Judged(&judge::PUBKEY_AUTHENTICATION),
    ),
    ("RefuseConnection", Judged(&judge::REFUSE_CONNECTION)),
    ("RevokedHostKeys", Judged(&judge::REVOKED_HOST_KEYS)),
    ("SecurityKeyProvider", Judged(&judge::SECURITY_KEY_PROVIDER)),
    ("VerifyHostKeyDNS", Judged(&judge::VERIFY_HOST_KEY_DNS)),
    // What concerns terminals, shells and other things that a tunnel does not have; what only says
    // how ssh reports; what only allows something; forwards, which are in tunneld.toml.
    ("AddKeysToAgent", Harmless),
    ("BatchMode", Harmless),
    ("CanonicalDomains", Harmless),
    ("CanonicalizeFallbackLocal", Harmless),
    ("CanonicalizeMaxDots", Harmless),
    ("ChannelTimeout", Harmless),
    ("ClearAllForwardings", Harmless),
    ("ConnectionAttempts", Harmless),
    ("ControlMaster", Harmless),
    ("ControlPath", Harmless),
    ("ControlPersist", Harmless),
    ("DynamicForward", Harmless),
    ("EnableEscapeCommandline", Harmless),
    ("EnableSSHKeysign", Harmless),
    ("EscapeChar", Harmless),
    ("ExitOnForwardFailure", Harmless),
    ("FingerprintHash", Harmless),
    ("ForkAfterAuthentication", Harmless),
    ("ForwardAgent", Harmless),
    ("ForwardX11", Harmless),
    ("ForwardX11Timeout", Harmless),
    ("ForwardX11Trusted", Harmless),
    ("GatewayPorts", Harmless),
    ("GSSAPIAuthentication", Harmless),
    ("GSSAPIDelegateCredentials", Harmless),
    ("HashKnownHosts", Harmless),
    ("HostbasedAcceptedAlgorithms", Harmless),
    ("IPQoS", Harmless),
    ("KbdInteractiveDevices", Harmless),
    ("LocalCommand", Harmless),
    ("LocalForward", Harmless),
    ("LogLevel", Harmless),
    ("LogVerbose", Harmless),
    ("NumberOfPasswordPrompts", Harmless),
    ("ObscureKeystrokeTiming", Harmless),
    ("PermitLocalCommand", Harmless),
    ("PermitRemoteOpen", Harmless),
    ("RemoteCommand", Harmless),
    ("RemoteForward", Harmless),
    ("RequestTTY", Harmless),
    ("SendEnv", Harmless),
    ("SessionType", Harmless),
    ("SetEnv", Harmless),
    ("StdinNull", Harmless),
    ("StreamLocalBindMask", Harmless),
    ("StreamLocalBindUnlink", Harmless),
    ("SyslogFacility", Harmless),
    ("TCPKeepAlive", Harmless),
    ("Tag", Harmless),
    ("Tunnel", Harmless),
    ("TunnelDevice", Harmless),
    ("VersionAddendum", Harmless),
    ("VisualHostKey", Harmless),
    ("WarnWeakCrypto", Harmless),
    ("XAuthLocation", Harmless),
    // Of the GSSAPI patch that Debian, Fedora and others have.
    ("GSSAPIClientIdentity", Harmless),
    ("GSSAPIKexAlgorithms", Harmless),
    ("GSSAPIKeyExchange", Harmless),
    ("GSSAPIRenewalForcesRekey", Harmless),
    ("GSSAPIServerIdentity", Harmless),
    ("GSSAPITrustDNS", Harmless),
    // What ssh itself passes over.
    ("AFSTokenPassing", Harmless),
    ("Cipher", Harmless),
    ("CompressionLevel", Harmless),
    ("FallBackToRsh", Harmless),
    ("GlobalKnownHostsFile2", Harmless),
    ("KerberosAuthentication", Harmless),
    ("KerberosTgtPassing", Harmless),
    ("Protocol", Harmless),
    ("RhostsAuthentication", Harmless),
    ("RhostsRSAAuthentication", Harmless),
    ("RSAAuthentication", Harmless),
    ("UseBlacklistedKeys", Harmless),
    ("UsePrivilegedPort", Harmless),
    ("UseRoaming", Harmless),
    ("UserKnownHostsFile2", Harmless),
    ("UseRsh", Harmless),
];

/// Other names of keywords, and those that are meant.
const ALIASES: &[(&str, &str)] = &[
    (
        "ChallengeResponseAuthentication",
        "KbdInteractiveAuthentication",
    ),
    ("DSAAuthentication", "PubkeyAuthentication"),
    ("HostbasedKeyTypes", "HostbasedAcceptedAlgorithms"),
    ("IdentityFile2", "IdentityFile"),
    ("KeepAlive", "TCPKeepAlive"),
    ("PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms"),
    ("RSAMinSize", "RequiredRSASize"),
    ("SKeyAuthentication", "KbdInteractiveAuthentication"),
    ("SmartcardDevice", "PKCS11Provider"),
    ("TISAuthentication", "KbdInteractiveAuthentication"),
];

/// A keyword, whatever its case, as it is shown.
pub(super) fn known(written: &str) -> Option<(&'static str, Known)> {
    let alias = ALIASES
        .iter()
        .find(|(a, _)| a.eq_ignore_ascii_case(written));
    let name = alias.map_or(written, |(_, name)| name);
    let found = KEYWORDS.iter().find(|(k, _)| k.eq_ignore_ascii_case(name));
    found.copied()
}

/// The keyword that somebody may have meant.
pub(super) fn similar(written: &str) -> Option<&'static str> {
    let names: Vec<&'static str> = KEYWORDS.iter().map(|(name, _)| *name).collect();
    nearest(&names, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_is_known_by_each_of_its_names_and_in_any_case() {
        assert_eq!(known("hostNAME").unwrap().0, "HostName");
        assert_eq!(known("identityfile2").unwrap().0, "IdentityFile");
        for (alias, name) in ALIASES {
            assert_eq!(known(alias).unwrap().0, *name);
        }
        assert!(known("Hostnam").is_none());
        assert_eq!(similar("hostnam"), Some("HostName"));
        assert_eq!(similar("UseKeychain"), None);
    }

    #[test]
    fn no_keyword_is_listed_twice() {
        let names = KEYWORDS.iter().map(|(name, _)| name);
        let names = names.chain(ALIASES.iter().map(|(alias, _)| alias));
        let mut names: Vec<_> = names.map(|n| n.to_lowercase()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
