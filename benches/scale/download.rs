//! A bare download of what a server reads to start: all objects of the kinds that it follows, in protobuf, over TLS, all
//! kinds at once, and nothing decoded.

use crate::api::{self, LIST, WATCH};
use crate::frames::{Frames, ends_list};
use crate::report::Row;
use crate::support::kube::ControlPlane;
use http_body_util::BodyExt;
use std::time::{Duration, Instant};

/// How the API server is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As one body.
    List,
    /// As a watch that begins with everything there is (`sendInitialEvents`).
    Stream,
}

pub(crate) const FORMS: [(Row, Form); 2] = [(Row::List, Form::List), (Row::Stream, Form::Stream)];

/// How long it took, connections included, and how many octets came.
pub(crate) fn all(plane: &ControlPlane, form: Form, collections: &[&'static str]) -> (Duration, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let one_of = |collection: &&'static str| {
            let (client, collection) = (plane.client(), *collection);
            tokio::spawn(async move { one(&client, collection, form).await })
        };
        let downloads: Vec<_> = collections.iter().map(one_of).collect();
        let mut octets = 0;
        for download in downloads {
            octets += download.await.expect("a download");
        }
        (begin.elapsed(), octets)
    })
}

async fn one(client: &kube::Client, collection: &str, form: Form) -> usize {
    let (path, accept) = match form {
        Form::List => (collection.to_owned(), LIST),
        Form::Stream => {
            let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
            (format!("{collection}?{query}&timeoutSeconds=60"), WATCH)
        }
    };
    let mut body = api::open(client, &path, accept).await.into_body();
    let (mut frames, mut octets) = (Frames::default(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let Ok(data) = frame.into_data() else { continue };
        octets += data.len();
        if form == Form::Stream {
            frames.push(&data);
            while let Some(frame) = frames.next() {
                if ends_list(&frame) {
                    return octets;
                }
            }
        }
    }
    assert_eq!(form, Form::List, "GET {path} ended before the list did");
    octets
}
