//! What an answer costs by the number of its targets.

use crate::cluster::{Cluster, Shape};
use crate::load::{Client, Way};
use crate::peers::{LibraryServer, Stage};
use crate::pipelined;
use crate::queries::{self, Kind, Question};
use crate::support::dns;
use crate::tables::cell;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::Path;
use std::time::Duration;

/// What CoreDNS's `bufsize` takes if nothing is said, and most clients.
const PAYLOAD: u16 = 1232;

pub(crate) struct Targets {
    library: LibraryServer,
    rows: Vec<Row>,
}

/// A question, and what its answers cost over UDP and TCP.
struct Row {
    title: String,
    question: Question,
    samples: [Vec<f64>; 2],
    octets: [f64; 2],
}

impl Targets {
    pub(crate) fn start(stage: &Stage) -> Self {
        let library = stage.library(Shape::Targets, &["--bufsize", &PAYLOAD.to_string()]);
        let cluster = Cluster::generate(Shape::Targets, stage.cluster_seed);
        let mut services: Vec<_> = cluster.services.iter().collect();
        services.sort_by_key(|service| service.pods.len());
        let rows = [Kind::HeadlessA, Kind::Srv].into_iter().flat_map(|kind| {
            services.iter().map(move |service| {
                let question = Question::about(kind, service, &mut StdRng::seed_from_u64(0));
                let title = format!("{}, {}", dns::type_text(question.rtype), service.pods.len());
                Row { title, question, samples: [Vec::new(), Vec::new()], octets: [0.0; 2] }
            })
        });
        Self { library, rows: rows.collect() }
    }

    /// Measures each once.
    pub(crate) fn round(&mut self, client: Client, folder: &Path) {
        let file = folder.join("targets");
        for row in &mut self.rows {
            let server = &self.library.server;
            std::fs::write(&file, queries::file([&row.question])).expect("a file of one question");
            let run = client.ask(server, &file, Way::Udp);
            if !run.is_void() {
                row.samples[0].push(run.cpu);
                row.octets[0] = run.mean_answer_octets;
            }
            let (query, time) = (row.question.query().to_bytes(), Duration::from_secs(client.seconds.into()));
            let before = server.cpu();
            let (answers, octets) = pipelined::ask(client.core, server.addr, &query, time);
            row.samples[1].push((server.cpu() - before).as_secs_f64() * 1e6 / answers as f64);
            row.octets[1] = octets as f64 / answers as f64;
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
