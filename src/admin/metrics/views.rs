//! What is told of views, and of their transfers.

use std::fmt;
use std::sync::Arc;

use super::out::Out;
use super::{All, ServedView};
use crate::transfer::{Counters, Outcome};
use crate::zone::conflicts;

impl All {
    pub(super) fn views(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let view = |view: &ServedView, value: u64| {
            let labels = [("server", view.server.clone()), ("zone", view.zone.clone())];
            (labels, value)
        };
        let synced = self.views.iter().map(|served| view(served, served.view.current().is_synced().into()));
        out.gauge("podzone_synced", "1 once everything that a view needs was listed.", synced)?;
        let services = self.views.iter().map(|served| view(served, served.view.current().service_count() as u64));
        out.gauge("podzone_services", "Services that have records in a view.", services)?;
        let endpoints = self.views.iter().map(|served| view(served, served.view.current().size().endpoints as u64));
        out.gauge("podzone_endpoints", "Endpoints of a view, by their names.", endpoints)?;
        let names = self.views.iter().map(|served| view(served, served.view.current().size().names as u64));
        out.gauge("podzone_names", "Names of Services and of endpoints that a view answers.", names)?;
        let kinds = |served: &ServedView| {
            conflicts::Kind::ALL.map(|kind| {
                let labels = [
                    ("server", served.server.clone()),
                    ("zone", served.zone.clone()),
                    ("kind", kind.name().to_owned()),
                ];
                (labels, served.view.conflicts().count(kind) as u64)
            })
        };
        let help = "Names that several pods claim, and names that longer pod names were cut to.";
        out.gauge("podzone_name_conflicts", help, self.views.iter().flat_map(kinds))?;
        let octets = self.views.iter().map(|served| {
            let content = served.view.current();
            view(served, (content.size().octets + content.table_octets()) as u64)
        });
        out.gauge("podzone_index_bytes", "Bytes of memory that what a view answers from takes.", octets)
    }

    pub(super) fn transfers(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let outcomes = [
            ("soa", Outcome::Soa),
            ("incremental", Outcome::Incremental),
            ("full", Outcome::Full),
            ("refused", Outcome::Refused),
            ("failed", Outcome::Failed),
            ("cut_off", Outcome::CutOff),
        ];
        let counted = || self.views.iter().filter_map(|view| Some((view, view.transfers.as_ref()?)));
        let labels = |view: &ServedView| [("server", view.server.clone()), ("zone", view.zone.clone())];
        let of_view = |(view, counters): (&ServedView, &Arc<Counters>)| {
            let [server, zone] = labels(view);
            let with = |(name, outcome): (&'static str, Outcome)| {
                ([server.clone(), zone.clone(), ("outcome", name.to_owned())], counters.get(outcome))
            };
            outcomes.map(with)
        };
        let help = "Questions for transfers by what became of them.";
        out.counter("podzone_transfers_total", help, counted().flat_map(of_view))?;
        let records = counted().map(|(view, counters)| (labels(view), counters.records()));
        out.counter("podzone_transferred_records_total", "Records of transfers that were given.", records)?;
        let octets = counted().map(|(view, counters)| (labels(view), counters.octets()));
        out.counter("podzone_transferred_bytes_total", "Bytes of transfers that were given.", octets)?;
        let notified = |(view, counters): (&ServedView, &Arc<Counters>)| {
            let [server, zone] = labels(view);
            let with = |(name, outcome): (&'static str, Outcome)| {
                ([server.clone(), zone.clone(), ("outcome", name.to_owned())], counters.get(outcome))
            };
            [("taken", Outcome::Notified), ("unheard", Outcome::Unheard)].map(with)
        };
        let help = "Zones' new versions that secondaries were told of, and took, or never answered.";
        out.counter("podzone_notifies_total", help, counted().flat_map(notified))?;
        let serials = counted().map(|(view, _)| (labels(view), u64::from(view.view.current().serial())));
        out.gauge("podzone_zone_serial", "The SOA serial.", serials)
    }
}
