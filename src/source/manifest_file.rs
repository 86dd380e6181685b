//! Reading one file of manifests.
//!
//! A file is taken whole or not at all: a manifest that is wrong says so with file, line and reason, and what the
//! file said before stays in force.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::lean::Lean;
use crate::model::{Kind, Object, ObjectKey, ServiceKind};

/// The largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("not a file")]
    NotAFile,
    #[error("not UTF-8 text (at byte {0})")]
    NotText(usize),
    #[error("line {line}: {reason}")]
    Manifest { line: u64, reason: String },
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) objects: Vec<Arc<Object>>,
    /// Things worth a line in the log that do not spoil the file.
    pub(super) notes: Vec<String>,
}

/// Reads the file at `path`, which must be a regular file (or a link to one) of at most [`FILE_BYTES_MAX`] bytes.
/// Blocks on the disk.
pub(super) fn read(path: &Path) -> Result<Contents, FileError> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| FileError::NotText(error.valid_up_to()))?;
    parse(text, path.extension().is_some_and(|extension| extension == "json"))
}

/// Reads manifests of text, in JSON or YAML.
pub(super) fn parse(text: &str, json: bool) -> Result<Contents, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = if json { json_documents(text)? } else { yaml_documents(text) };
    let mut contents = Contents::default();
    for document in documents {
        document.read_into(&mut contents)?;
    }
    Ok(contents)
}

/// One document of a file.
struct Document<'a> {
    text: &'a str,
    /// The lines of the file before it.
    lines_before: u64,
    json: bool,
}

/// Splits a YAML stream. A line that begins with `---` or `...` ends a document wherever it stands, even within a
/// block scalar (YAML 1.2.2, 9.1.2, `c-forbidden`), so that no parser is needed to find the ends, and a document may
/// be read more than once.
fn yaml_documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut at = 0;
    for (lines_before, line) in (0..).zip(text.split_inclusive('\n')) {
        let ends = line.starts_with("---") || line.starts_with("...");
        let ends = ends && line[3..].chars().next().is_none_or(char::is_whitespace);
        // A directive belongs to the document that its `---` begins. Looked back for at marks only: a long file of
        // comments must not be read over and over.
        let only_directives = || text[start..at].lines().all(|line| line.is_empty() || line.starts_with(['%', '#']));
        if ends && !(line.starts_with('-') && only_directives()) {
            documents.push(Document { text: &text[start..at], lines_before: start_line, json: false });
            (start, start_line) =
                if line.starts_with('-') { (at, lines_before) } else { (at + line.len(), lines_before + 1) };
        }
        at += line.len();
    }
    documents.push(Document { text: &text[start..], lines_before: start_line, json: false });
    documents.retain(|document| !is_blank(document.text));
    documents
}

/// Whether a YAML document has no content at all.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#')
    })
}

/// Splits concatenated JSON values, which `kubectl` takes as well.
fn json_documents(text: &str) -> Result<Vec<Document<'_>>, FileError> {
    let mut documents = Vec::new();
    let (mut counted, mut lines_before) = (0, 0);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    while let Some(value) = values.next() {
        let value = value.map_err(|error| FileError::Manifest { line: error.line() as u64, reason: plain(&error) })?;
        let end = values.byte_offset();
        let start = end - value.get().len();
        lines_before += text[counted..start].bytes().filter(|byte| *byte == b'\n').count() as u64;
        counted = start;
        documents.push(Document { text: value.get(), lines_before, json: true });
    }
    Ok(documents)
}

/// The line is said elsewhere; serde_json repeats it at the end, relative to the document.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or_else(|| text.clone(), |(reason, _)| reason.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct ListHeader {
    items: Option<Vec<Header>>,
}

/// What to make of an object with this `apiVersion` and `kind`.
enum Wanted {
    Object(Kind),
    /// A list of anything, each item with its own kind.
    List,
    /// A list of one kind, whose items need not repeat it.
    ListOf(Kind),
    No,
}

fn wanted(api_version: &str, kind: &str) -> Wanted {
    match (api_version, kind) {
        ("v1", "Namespace") => Wanted::Object(Kind::Namespace),
        ("v1", "Service") => Wanted::Object(Kind::Service),
        ("v1", "Pod") => Wanted::Object(Kind::Pod),
        ("discovery.k8s.io/v1", "EndpointSlice") => Wanted::Object(Kind::EndpointSlice),
        // Both versions have the same fields.
        ("multicluster.x-k8s.io/v1alpha1" | "multicluster.x-k8s.io/v1beta1", "ServiceImport") => {
            Wanted::Object(Kind::ServiceImport)
        }
        ("v1", "List") => Wanted::List,
        ("v1", "NamespaceList") => Wanted::ListOf(Kind::Namespace),
        ("v1", "ServiceList") => Wanted::ListOf(Kind::Service),
        ("v1", "PodList") => Wanted::ListOf(Kind::Pod),
        ("discovery.k8s.io/v1", "EndpointSliceList") => Wanted::ListOf(Kind::EndpointSlice),
        ("multicluster.x-k8s.io/v1alpha1" | "multicluster.x-k8s.io/v1beta1", "ServiceImportList") => {
            Wanted::ListOf(Kind::ServiceImport)
        }
        _ => Wanted::No,
    }
}

impl Document<'_> {
    fn read_into(&self, contents: &mut Contents) -> Result<(), FileError> {
        // kind may come after spec, so that what the document is has to be read first.
        let Some(header) = self.deserialize(Whole::<Option<Header>>::new())? else { return Ok(()) };
        let (Some(api_version), Some(kind)) = (header.api_version, header.kind) else {
            return Err(self.error("not a manifest: apiVersion or kind is missing"));
        };
        let leans = match wanted(&api_version, &kind) {
            Wanted::Object(kind) => vec![self.deserialize(LeanSeed(kind))?],
            Wanted::No => {
                tracing::debug!("a manifest of {api_version} {kind} is passed over");
                return Ok(());
            }
            list => {
                let items = self.deserialize(Whole::<ListHeader>::new())?.items.unwrap_or_default();
                let kinds: Vec<Option<Kind>> = items
                    .iter()
                    .map(|item| match (&list, &item.api_version, &item.kind) {
                        (Wanted::ListOf(kind), _, _) => Some(*kind),
                        (_, Some(api_version), Some(kind)) => match wanted(api_version, kind) {
                            Wanted::Object(kind) => Some(kind),
                            _ => None,
                        },
                        _ => None,
                    })
                    .collect();
                self.deserialize(ListSeed(&kinds))?
            }
        };
        for lean in leans {
            self.take(lean, contents)?;
        }
        Ok(())
    }

    fn take(&self, mut lean: Lean, contents: &mut Contents) -> Result<(), FileError> {
        lean.default_namespace();
        if lean.is_finished_pod() {
            return Ok(());
        }
        let key = lean.meta().key();
        let mut notes = Vec::new();
        let object = lean.into_object(&mut notes).map_err(|error| match &key {
            Some(key) => self.error(&format!("{key}: {error}")),
            None => self.error(&error.to_string()),
        })?;
        let kind = object.kind();
        if let Object::Service(service) = &object
            && service.kind == ServiceKind::ClusterIp(Vec::new())
            && notes.is_empty()
        {
            notes.push(
                "it has no clusterIP, so that its name has no address; the API server would allot one, in a manifest \
                 write spec.clusterIP (an address, or None for a headless Service)"
                    .to_owned(),
            );
        }
        let key = key.unwrap_or_else(|| ObjectKey::new("", ""));
        contents.notes.extend(notes.into_iter().map(|note| format!("{kind} {key}: {note}")));
        contents.objects.push(Arc::new(object));
        Ok(())
    }

    /// An error about the document as a whole, at its first line of content.
    fn error(&self, reason: &str) -> FileError {
        let blank = self.text.lines().take_while(|line| is_blank(line)).count() as u64;
        FileError::Manifest { line: self.lines_before + blank + 1, reason: reason.to_owned() }
    }

    fn deserialize<S: for<'de> DeserializeSeed<'de, Value = T>, T>(&self, seed: S) -> Result<T, FileError> {
        if self.json {
            let mut from = serde_json::Deserializer::from_str(self.text);
            return seed.deserialize(&mut from).map_err(|error| FileError::Manifest {
                line: self.lines_before + (error.line() as u64).max(1),
                reason: plain(&error),
            });
        }
        let options = serde_saphyr::options! {
            with_snippet: false,
            // A file is bounded by its size; what is bounded here is how much aliases and nesting make of it.
            budget: serde_saphyr::budget! {
                max_documents: 2,
                max_events: 8_000_000,
                max_nodes: 4_000_000,
                max_aliases: 10_000,
                max_depth: 64,
            },
        };
        serde_saphyr::with_deserializer_from_str_with_options(self.text, options, |from| seed.deserialize(from))
            .map_err(|error| {
                let line = error.location().map_or(1, |location| location.line().max(1));
                FileError::Manifest { line: self.lines_before + line, reason: yaml_reason(&error) }
            })
    }
}

/// serde-saphyr's message without its place, which counts from the document's begin, and without the advice that it
/// has for programmers.
fn yaml_reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    let text = text.split_once(", set DuplicateKeyPolicy").map_or(text, |(reason, _)| reason);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a type that needs no seed.
struct Whole<T>(std::marker::PhantomData<T>);

impl<T> Whole<T> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Whole<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

/// Reads an object of a kind.
struct LeanSeed(Kind);

impl<'de> DeserializeSeed<'de> for LeanSeed {
    type Value = Lean;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Lean, D::Error> {
        Lean::deserialize(self.0, from)
    }
}

/// Reads a list whose items are of these kinds; `None` is passed over.
struct ListSeed<'k>(&'k [Option<Kind>]);

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<Lean>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Lean>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<Lean>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Lean>, A::Error> {
        let mut leans = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                leans = map.next_value_seed(ItemsSeed(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(leans)
    }
}

struct ItemsSeed<'k>(&'k [Option<Kind>]);

impl<'de> DeserializeSeed<'de> for ItemsSeed<'_> {
    type Value = Vec<Lean>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Lean>, D::Error> {
        if self.0.is_empty() {
            // `items: null` and `items: []`.
            IgnoredAny::deserialize(from)?;
            return Ok(Vec::new());
        }
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed<'_> {
    type Value = Vec<Lean>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the items of a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Lean>, A::Error> {
        let mut leans = Vec::new();
        for kind in self.0 {
            match kind {
                Some(kind) => leans.extend(seq.next_element_seed(LeanSeed(*kind))?),
                None => drop(seq.next_element::<IgnoredAny>()?),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(leans)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str, json: bool) -> Vec<String> {
        let contents = parse(text, json).unwrap();
        contents.objects.iter().map(|object| format!("{}:{}", object.kind(), name(object))).collect()
    }

    fn name(object: &Object) -> String {
        match object {
            Object::Namespace(object) => object.name.to_string(),
            Object::Service(object) => object.key.to_string(),
            Object::EndpointSlice(object) => object.key.to_string(),
            Object::Pod(object) => object.key.to_string(),
            Object::ServiceImport(object) => object.key.to_string(),
        }
    }

    #[test]
    fn streams_split_where_yaml_says() {
        let text = "# head\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: a}\n--- # next\nkind: ConfigMap\n\
                    apiVersion: v1\ndata:\n  x: |\n    a\n    ---\n    b\n...\n---\n---\n# nothing\n--- \
                    {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\r\nkind: Namespace\r\napiVersion: v1\r\n\
                    metadata:\r\n  name: c\r\n---";
        assert_eq!(names(text, false), ["Namespace:a", "Namespace:b", "Namespace:c"]);
        let text = "%YAML 1.2\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: a}\n";
        assert_eq!(names(text, false), ["Namespace:a"]);
    }

    #[test]
    fn concatenated_json_is_read() {
        let text = "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\"}}\n\n{\"metadata\":\
                    {\"name\":\"b\"},\"kind\":\"Service\",\"apiVersion\":\"v1\"}";
        assert_eq!(names(text, true), ["Namespace:a", "Service:default/b"]);
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = String::from("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nx0: &a0 [x, x, x, x, x, x]\n");
        for n in 1..20 {
            let alias = format!("*a{}, ", n - 1).repeat(9);
            text.push_str(&format!("x{n}: &a{n} [{alias}]\n"));
        }
        assert!(matches!(parse(&text, false), Err(FileError::Manifest { .. })));
        assert!(parse(&"[".repeat(100_000), false).is_err());
        assert!(parse(&"[".repeat(100_000), true).is_err());
    }

    #[test]
    fn marks_and_values_without_end_take_no_time() {
        let start = std::time::Instant::now();
        assert!(parse(&"# nothing\n".repeat(200_000), false).unwrap().objects.is_empty());
        assert!(parse(&"---\n".repeat(200_000), false).unwrap().objects.is_empty());
        assert!(parse(&"{}\n".repeat(200_000), true).is_err());
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn text_never_panics(text: String, json: bool) {
            let _ = parse(&text, json);
        }

        #[test]
        fn broken_manifests_never_panic(at in 0..400_usize, with in "[-:\\n{}\\[\\]&*!|> a\"'%#.]{0,4}", json: bool) {
            let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: a\n\
                        \x20 spec:\n    clusterIP: 10.0.0.1\n    ports:\n    - {port: 80, name: http}\n---\n\
                        {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"b\"}}\n";
            let at = at % text.len();
            let text = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            let _ = parse(&text, json);
        }
    }
}
