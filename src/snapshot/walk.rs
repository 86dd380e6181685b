//! Going through a cluster while it changes, so that what is written is of one moment all the same.
//!
//! What changes behind the walk is noted, and written once more at its end. Who reads the records in their order has the
//! cluster as it was at the last step.

use super::record::{Record, encode};
use crate::model::{Cluster, Kind, ObjectKey};

/// How many octets of a step make up for an object that changed meanwhile, of which all are written in the last step.
const OCTETS_PER_CHANGE: usize = 256;

/// A walk through a cluster. Only one goes through it at a time: a cluster notes its changes for one.
#[derive(Debug)]
pub struct Walk {
    kinds: std::vec::IntoIter<Kind>,
    /// Objects that are next.
    keys: std::vec::IntoIter<(Kind, ObjectKey)>,
}

impl Walk {
    /// Begins one through the objects of these kinds.
    pub fn begin(kinds: &[Kind], cluster: &mut Cluster) -> Self {
        cluster.track(true);
        Self { kinds: Vec::from(kinds).into_iter(), keys: Vec::new().into_iter() }
    }

    /// Goes on by some records, which have about so many octets together; the cluster's revision that all of them make up,
    /// if these were the last.
    pub fn step(&mut self, cluster: &mut Cluster, octets: usize, out: &mut Vec<u8>) -> Option<u64> {
        let until = out.len() + octets;
        while out.len() < until {
            if let Some((kind, key)) = self.keys.next() {
                write(cluster, kind, key, out);
            } else if let Some(kind) = self.kinds.next() {
                let keys = cluster.keys(kind).into_iter();
                self.keys = keys.map(|key| (kind, key)).collect::<Vec<_>>().into_iter();
            } else if cluster.touched() > octets / OCTETS_PER_CHANGE {
                self.keys = cluster.take_touched().into_iter().collect::<Vec<_>>().into_iter();
            } else {
                // From here to the end nothing changes.
                for (kind, key) in cluster.take_touched() {
                    write(cluster, kind, key, out);
                }
                cluster.track(false);
                return Some(cluster.revision());
            }
        }
        None
    }
}

fn write(cluster: &Cluster, kind: Kind, key: ObjectKey, out: &mut Vec<u8>) {
    let record = match cluster.kept(kind, &key) {
        Some(kept) => Record::Kept(Box::new(kept)),
        None => Record::Gone(kind, key),
    };
    encode(&record, out);
}
