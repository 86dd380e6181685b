//! Saying a thing once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{Kind, ObjectKey};

/// How long the same cause of failure is not repeated.
const QUIET: Duration = Duration::from_secs(30);

/// Decides when a lasting failure is worth a line: when its cause changes, else at most every 30 s.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    /// Whether to log this cause now.
    pub(super) fn is_due(&mut self, cause: &str, now: Instant) -> bool {
        let due = self.last.as_ref().is_none_or(|(last, at)| last != cause || now.duration_since(*at) >= QUIET);
        if due {
            self.last = Some((cause.to_owned(), now));
        }
        due
    }

    /// Ends the failure; whether there was one that was logged.
    pub(super) fn settle(&mut self) -> bool {
        self.last.take().is_some()
    }
}

/// The objects that are remembered as complained about; beyond them, nothing more is logged, only counted.
const REMARKS_MAX: usize = 1000;

/// What has been said about which object, so that a relist does not say it again.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    said: HashMap<Option<ObjectKey>, String>,
}

impl Remarks {
    /// Logs `text` about an object, unless that was the last thing said about it.
    pub(super) fn say(&mut self, kind: Kind, key: Option<&ObjectKey>, text: &str) {
        let key = key.cloned();
        if self.said.get(&key).is_some_and(|said| said == text)
            || (self.said.len() >= REMARKS_MAX && !self.said.contains_key(&key))
        {
            return;
        }
        match &key {
            Some(key) => tracing::warn!("{kind} {key}: {text}"),
            None => tracing::warn!("a {kind} without a readable name: {text}"),
        }
        self.said.insert(key, text.to_owned());
    }

    /// Forgets an object that is in order again, or gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        // Nearly always empty: a change must not cost a clone of its key for this.
        if !self.said.is_empty() {
            self.said.remove(&Some(key.clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_repeated_only_after_a_while() {
        let start = Instant::now();
        let mut complaint = Complaint::default();
        assert!(complaint.is_due("refused", start));
        assert!(!complaint.is_due("refused", start + QUIET / 2));
        assert!(complaint.is_due("forbidden", start + QUIET / 2));
        assert!(complaint.is_due("forbidden", start + QUIET * 2));
        assert!(complaint.settle());
        assert!(!complaint.settle());
        assert!(complaint.is_due("forbidden", start + QUIET * 2));
    }

    #[test]
    fn remarks_are_bounded() {
        let mut remarks = Remarks::default();
        for n in 0..2 * REMARKS_MAX {
            remarks.say(Kind::Service, Some(&ObjectKey::new("n", n.to_string())), "odd");
        }
        assert_eq!(remarks.said.len(), REMARKS_MAX);
        remarks.forget(&ObjectKey::new("n", "0"));
        assert_eq!(remarks.said.len(), REMARKS_MAX - 1);
    }
}
