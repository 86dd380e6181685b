//! What the nodes lost of each other, by what each of them wrote itself.

use super::kubelet::Node;
use super::nodes;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// What happened, and what it cost.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) losses: Losses,
    pub(crate) seconds: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// `nodedown` of peers that were alive, at both ends of a connection: of three nodes at most six at a time.
    pub(crate) downs: usize,
    /// Of peers that were alive, how many were left because an answer did not have them.
    pub(crate) left: usize,
    /// Answers that were errors, by what Erlang calls them.
    pub(crate) errors: BTreeMap<String, usize>,
    /// The longest that a node waited for an answer, in milliseconds.
    pub(crate) longest: u64,
}

impl Losses {
    /// What all nodes wrote in this time.
    pub(crate) fn between(nodes: &[Node], begin: u64, end: u64) -> Self {
        let was_alive = |node: &Node, at: u64| node.until.is_none_or(|until| at < until);
        let mut losses = Self::default();
        for node in nodes {
            let of_then = |at: u64| (begin..end).contains(&at) && was_alive(node, at);
            for line in nodes::lines(&node.process) {
                // Erlang's own reports have other lines.
                let Some(at) = line[0].parse().ok().filter(|at| of_then(*at)) else { continue };
                let is_of_alive = || nodes.iter().any(|peer| peer.name == line[2] && was_alive(peer, at));
                match line.get(1).map(String::as_str) {
                    Some("down") if is_of_alive() => losses.downs += 1,
                    Some("leaves") if is_of_alive() => losses.left += 1,
                    Some("error") => *losses.errors.entry(reason(&line[2])).or_default() += 1,
                    _ => {}
                }
            }
            let took = node.looks().into_iter().filter(|look| of_then(look.at)).map(|look| look.took);
            losses.longest = losses.longest.max(took.max().unwrap_or_default());
        }
        losses
    }

    pub(crate) fn is_nothing(&self) -> bool {
        (self.downs, self.left) == (0, 0)
    }
}

/// What Erlang calls an error, without what it says of it: `{servfail,{dns_rec,...` is `servfail`.
fn reason(term: &str) -> String {
    term.trim_start_matches('{').split([',', '}']).next().unwrap_or_default().to_owned()
}

/// A table of Markdown.
pub(crate) struct Table<'a>(pub(crate) &'a [Phase]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "| phase | seconds | losses | left | errors | longest answer, ms |\n|---|---|---|---|---|---|")?;
        for Phase { name, losses, seconds } in self.0 {
            let Losses { downs, left, errors, longest } = losses;
            let errors: Vec<_> = errors.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            writeln!(f, "| {name} | {seconds} | {downs} | {left} | {} | {longest} |", errors.join(", "))?;
        }
        Ok(())
    }
}
