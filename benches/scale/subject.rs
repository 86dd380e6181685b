//! The two servers that are compared.

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Podzone,
    Coredns,
}

pub(crate) const SUBJECTS: [Subject; 2] = [Subject::Podzone, Subject::Coredns];

impl Subject {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Podzone => "podzone",
            Self::Coredns => "CoreDNS",
        }
    }
}
