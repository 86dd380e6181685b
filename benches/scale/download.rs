//! A bare download of what a server reads to start: all Services and EndpointSlices in protobuf, over TLS, both at once,
//! and nothing decoded.

use crate::api::{self, LIST, SERVICES, SLICES, WATCH};
use crate::frames::{Frames, ends_list};
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

/// How long it took, connections included, and how many octets came.
pub(crate) fn all(plane: &ControlPlane, form: Form) -> (Duration, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let both = [SERVICES, SLICES].map(|collection| {
            let client = plane.client();
            tokio::spawn(async move { one(&client, collection, form).await })
        });
        let mut octets = 0;
        for one in both {
            octets += one.await.expect("a download");
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
