//! What an answer costs by the number of its targets.

use crate::cluster::{Cluster, Shape};
use crate::load::{Client, Way};
use crate::peers::{LibraryServer, Stage};
use crate::report::cell;
use std::path::Path;

/// What CoreDNS's `bufsize` takes if nothing is said, and most clients.
const PAYLOAD: u16 = 1232;

pub(crate) struct Targets {
    library: LibraryServer,
    rows: Vec<Row>,
}

/// A question, and what its answers cost over UDP and TCP.
struct Row {
    title: String,
    question: String,
    samples: [Vec<f64>; 2],
    octets: [f64; 2],
}

impl Targets {
    pub(crate) fn start(stage: &Stage) -> Self {
        let library = stage.library(Shape::Targets, Some(PAYLOAD));
        let cluster = Cluster::generate(Shape::Targets, stage.cluster_seed);
        let mut services: Vec<_> = cluster.services.iter().collect();
        services.sort_by_key(|service| service.pods.len());
        let rows = ["A", "SRV"].into_iter().flat_map(|rtype| {
            services.iter().map(move |service| Row {
                title: format!("{rtype}, {}", service.pods.len()),
                question: match rtype {
                    "A" => format!("{}. A\n", service.fqdn()),
                    _ => format!("_http._tcp.{}. SRV\n", service.fqdn()),
                },
                samples: [Vec::new(), Vec::new()],
                octets: [0.0; 2],
            })
        });
        Self { library, rows: rows.collect() }
    }

    /// Measures each once.
    pub(crate) fn round(&mut self, client: Client, folder: &Path) {
        let file = folder.join("targets");
        for row in &mut self.rows {
            std::fs::write(&file, &row.question).expect("a file of one question");
            for (index, way) in [Way::Udp, Way::Tcp].into_iter().enumerate() {
                let run = client.ask(&self.library.server, &file, way);
                if !run.is_void() {
                    row.samples[index].push(run.cpu);
                    row.octets[index] = run.mean_answer_octets;
                }
            }
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "\n| targets | UDP, {PAYLOAD} octets at most: CPU an answer, us | octets | TCP: CPU an answer, us | octets |"
        );
        println!("|---|---|---|---|---|");
        for Row { title, samples: [udp, tcp], octets, .. } in &self.rows {
            println!(
                "| {title} | {} | {:.0} | {} | {:.0} |",
                cell(Some(udp), 2),
                octets[0],
                cell(Some(tcp), 2),
                octets[1]
            );
        }
    }
}
