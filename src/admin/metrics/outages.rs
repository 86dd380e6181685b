//! What is told of clusters that cannot be followed, or believed: how long, what is held back, and what is on disk.

use std::fmt;
use std::sync::Arc;

use super::All;
use super::out::Out;
use crate::admin::FollowedSource;
use crate::model::Kind;
use crate::snapshot::Written;

impl All {
    pub(super) fn outages(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let kinds = || {
            self.sources.iter().flat_map(|source| {
                source.health.kinds().map(move |kind: Kind| {
                    (source, kind, [("source", source.name.clone()), ("kind", kind.to_string())])
                })
            })
        };
        let lost = kinds().filter_map(|(source, kind, labels)| {
            let lost = source.health.status(kind)?.lost_for().unwrap_or_default();
            Some((labels, lost.as_secs_f64()))
        });
        let help = "Seconds since a kind was heard of, while no attempt to follow it succeeds; 0 while it is followed.";
        out.gauge("podzone_source_lost_seconds", help, lost)?;
        let held = kinds().map(|(source, kind, labels)| (labels, source.hold.objects(kind)));
        out.gauge("podzone_held_objects", "Objects that a listing left out and that are not removed yet.", held)?;
        let of = |value: fn(&FollowedSource) -> u64| {
            let each = move |source: &Arc<FollowedSource>| ([("source", source.name.clone())], value(source));
            self.sources.iter().map(each).collect::<Vec<_>>()
        };
        let began = of(|source| source.hold.began());
        out.counter("podzone_holds_total", "Listings that left out too much to be believed at once.", began)?;
        let removed = of(|source| source.hold.removed());
        let help = "Objects that were held back, did not come back, and were removed.";
        out.counter("podzone_hold_removed_total", help, removed)?;
        let writes = of(|source| source.snapshot.writes());
        out.counter("podzone_snapshot_writes_total", "Snapshots that were written.", writes)?;
        let failures = of(|source| source.snapshot.failures());
        out.counter("podzone_snapshot_write_failures_total", "Snapshots that could not be written.", failures)?;
        let labels = |source: &FollowedSource| [("source", source.name.clone())];
        let ages = self.sources.iter().map(|source| {
            let age = source.snapshot.taken().map(|taken| taken.age());
            (labels(source), age.unwrap_or_default().as_secs_f64())
        });
        let help = "Age of the snapshot that answers come from; 0 while none does.";
        out.gauge("podzone_snapshot_age_seconds", help, ages)?;
        let written = |value: fn(Option<Written>) -> f64| {
            let each = move |source: &Arc<FollowedSource>| (labels(source), value(source.snapshot.written()));
            self.sources.iter().map(each).collect::<Vec<_>>()
        };
        let ages = written(|it| it.map(|it| it.at.elapsed().unwrap_or_default().as_secs_f64()).unwrap_or_default());
        let help = "Since a snapshot was last written; 0 while none was.";
        out.gauge("podzone_snapshot_file_age_seconds", help, ages)?;
        let octets = written(|it| it.map(|it| it.octets as f64).unwrap_or_default());
        out.gauge("podzone_snapshot_bytes", "Size of the snapshot that was last written.", octets)?;
        let took = written(|it| it.map(|it| it.took.as_secs_f64()).unwrap_or_default());
        out.gauge("podzone_snapshot_write_duration_seconds", "How long the last snapshot took to be written.", took)
    }
}
