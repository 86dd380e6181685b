//! Faults that can be planted in the zone's rules.
//!
//! The differential test must notice a wrong rule. With the cargo feature `planted-faults`, the environment variable
//! `PODZONE_FAULT` names one rule to break; without the feature, which no release has, nothing here does anything.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A rule to break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every fault with the name that `PODZONE_FAULT` takes.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

faults! {
    /// Endpoints of other clusters have no cluster's id in their names.
    ClusterIdIgnored = "cluster-id-ignored",
    /// Multicluster zones name the cluster's own Services.
    ImportsAreServices = "imports-are-services",
    /// An endpoint and its cluster are read as a port and its protocol.
    ClusterIsProtocol = "cluster-is-protocol",
    /// `hostname` is not looked at.
    HostnameIgnored = "hostname-ignored",
    /// `endpoint_pod_names` means its opposite.
    PodNamesInverted = "pod-names-inverted",
    /// A pod's name of exactly 63 characters is no label.
    PodNameOf63Refused = "pod-name-of-63-refused",
    /// The label of an IPv6 address that ends in `::` ends in a dash.
    TrailingColonsUnfilled = "trailing-colons-unfilled",
    /// Only a Service's first slice counts.
    FirstSliceOnly = "first-slice-only",
    /// Only a Service's first cluster IP counts.
    FirstClusterIpOnly = "first-cluster-ip-only",
    /// Endpoints that are not ready are answered.
    NotReadyAnswered = "not-ready-answered",
    /// No word on readiness means not ready.
    NilIsNotReady = "nil-is-not-ready",
    /// Ready endpoints that are terminating are left out.
    TerminatingLeftOut = "terminating-left-out",
    /// Every port's name matches.
    AnyPortMatches = "any-port-matches",
    /// Every protocol matches.
    AnyProtocolMatches = "any-protocol-matches",
    /// Addresses are not made unique.
    DuplicateAddresses = "duplicate-addresses",
    /// The SRV weight is taken after duplicates are dropped.
    WeightOverDistinct = "weight-over-distinct",
    /// SRV answers have no glue.
    NoGlue = "no-glue",
    /// Glue holds IPv4 addresses only.
    GlueIpv4Only = "glue-ipv4-only",
    /// A name of a topology zone selects all endpoints.
    TopologyZoneUnchecked = "topology-zone-unchecked",
    /// An empty topology zone is empty for `prefer` too.
    PreferMeansPin = "prefer-means-pin",
    /// `ignore empty_service` does nothing.
    EmptyServiceShown = "empty-service-shown",
    /// `noendpoints` does nothing.
    EndpointsShown = "endpoints-shown",
    /// `namespace_labels` does nothing.
    NamespaceLabelsUnchecked = "namespace-labels-unchecked",
    /// A headless Service without endpoints exists.
    EmptyHeadlessExists = "empty-headless-exists",
    /// A Service's namespace need not exist.
    NamespaceUnchecked = "namespace-unchecked",
    /// `ns.svc` does not exist.
    NamespaceNodeMissing = "namespace-node-missing",
    /// TXT of a name without text is NODATA even where there is no such record set.
    TxtAlwaysNodata = "txt-always-nodata",
    /// SOA below the apex says NXDOMAIN.
    SoaBelowApexNxdomain = "soa-below-apex-nxdomain",
    /// The SOA's own TTL is its minimum without the cap at 300 seconds.
    SoaTtlUncapped = "soa-ttl-uncapped",
    /// The `AA` bit is missing in negative answers.
    NegativeNotAuthoritative = "negative-not-authoritative",
    /// PTR of a cluster IP also names endpoints.
    PtrMixesEndpoints = "ptr-mixes-endpoints",
    /// PTR names one endpoint only.
    PtrFirstOnly = "ptr-first-only",
    /// Aliases within the zone are not followed.
    AliasNotFollowed = "alias-not-followed",
    /// SRV lists aliases.
    AliasInSrv = "alias-in-srv",
    /// The leading underscore of a port or protocol must be there.
    UnderscoreRequired = "underscore-required",
    /// Three labels below a Service are read as two.
    LongNamesAnswered = "long-names-answered",
    /// `pods insecure` takes dashed IPv4 addresses only.
    PodIpv4Only = "pod-ipv4-only",
    /// `pods verified` does not look at the namespace.
    PodNamespaceUnchecked = "pod-namespace-unchecked",
    /// The payload size that the client offers is not looked at.
    PayloadSizeIgnored = "payload-size-ignored",
    /// The `DO` bit is not copied.
    DoNotCopied = "do-not-copied",
}

#[cfg(feature = "planted-faults")]
static PLANTED: std::sync::LazyLock<Option<Fault>> = std::sync::LazyLock::new(|| {
    let wanted = std::env::var("PODZONE_FAULT").ok()?;
    Fault::ALL.iter().find(|(_, name)| *name == wanted).map(|(fault, _)| *fault)
});

/// Whether a fault is planted.
#[cfg(feature = "planted-faults")]
pub fn planted(fault: Fault) -> bool {
    *PLANTED == Some(fault)
}

/// Whether any fault is planted: then all answers are composed, since rules are broken where they are composed.
#[cfg(feature = "planted-faults")]
pub fn any_planted() -> bool {
    PLANTED.is_some()
}

/// Whether a fault is planted: never, in this build.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub fn planted(_: Fault) -> bool {
    false
}

/// Whether any fault is planted: never, in this build.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub fn any_planted() -> bool {
    false
}
