//! Random flows: graphs, conditions, rounds, and runs that break off.

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent::{FlowDefinition, FlowNodeType, FlowValidationSeverity};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;

use super::super::Given;
use super::{Echo, Notes, flow, graph, looped, run};
use crate::definition::{Graph, validate};

/// Lines of a random flow without circles: each node takes from some before it.
fn dag() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::collection::btree_set(0..100_usize, 1..3), 1..12).prop_map(|sources| {
        let name = |at: usize| {
            if at == 0 { "In".to_owned() } else { format!("Node{}", "x".repeat(at % 5) + &at.to_string()) }
        };
        let mut lines = Vec::new();
        for (at, chosen) in sources.iter().enumerate() {
            let from: BTreeSet<usize> = chosen.iter().map(|source| source % (at + 1)).collect();
            let from: Vec<String> = from.into_iter().map(name).collect();
            lines.push(format!("{} < {}", name(at + 1), from.join(", ")));
        }
        lines.push(format!("Out < {}", name(sources.len())));
        lines
    })
}

/// A random flow with a condition: which nodes stand under which way of it, if any, and what they take from.
fn gated() -> impl Strategy<Value = Vec<(BTreeSet<usize>, Option<bool>)>> {
    let way = prop_oneof![3 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    prop::collection::vec((prop::collection::btree_set(0..100_usize, 1..3), way), 1..10)
}

/// Which of the nodes run, by what the words say and not by how the engine goes about it.
fn expected(nodes: &[(BTreeSet<usize>, Option<bool>)], urgent: bool) -> Vec<bool> {
    let mut runs = vec![true];
    for (at, (sources, way)) in nodes.iter().enumerate() {
        let sources = sources.iter().all(|source| runs[source % (at + 1)]);
        runs.push(sources && way.is_none_or(|way| way == urgent));
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With a condition, just those nodes run whose way was taken and whose sources ran, once each.
    #[test]
    fn conditions_decide_what_runs(nodes in gated(), urgent in any::<bool>()) {
        let name = |at: usize| if at == 0 { "In".to_owned() } else { format!("Node{at}") };
        let mut lines = vec!["If < In".to_owned()];
        for (at, (sources, way)) in nodes.iter().enumerate() {
            let from: BTreeSet<usize> = sources.iter().map(|source| source % (at + 1)).collect();
            let mut from: Vec<String> = from.into_iter().map(name).collect();
            from.extend(way.map(|way| if way { "If?urgent" } else { "If?default" }.to_owned()));
            lines.push(format!("{} < {}", name(at + 1), from.join(", ")));
            lines.push(format!("Out{} < {}", at + 1, name(at + 1)));
        }
        // Both ways lead somewhere.
        for (end, way) in [("Loud", "urgent"), ("Calm", "default")] {
            lines.push(format!("{end} < In, If?{way}"));
            lines.push(format!("Out{end} < {end}"));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        // Some nodes can never run, which is a warning and not an error.
        let definition: FlowDefinition = serde_json::from_value(flow(&lines, "String")).unwrap();
        let errors = validate(&definition).into_iter().filter(|it| it.severity == FlowValidationSeverity::Error);
        prop_assert_eq!(errors.count(), 0);
        let graph = Graph::compile(&definition).unwrap();
        let (worker, notes) = (Echo::default(), Notes::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let input = json!(if urgent { "urgent" } else { "later" });
        prop_assert_eq!(runtime.block_on(run(&graph, input, &worker, &notes)), Ok(true));
        let log = worker.log.into_inner();
        for (at, runs) in expected(&nodes, urgent).into_iter().enumerate().skip(1) {
            let begun = log.iter().filter(|line| **line == format!("+{}", name(at))).count();
            prop_assert_eq!(begun, usize::from(runs), "{}: {:?}", name(at), lines);
        }
    }

    /// In an iterator's rounds and in a loop, a run that breaks off anywhere is taken up where it was, and comes to
    /// the same.
    #[test]
    fn rounds_that_break_off_are_taken_up_where_they_were(
        lines in dag(), items in 0..4_usize, kept in 0..40_usize, loops in any::<bool>(),
    ) {
        let (definition, input) = if loops {
            (looped(10), json!("a"))
        } else {
            // The random graph stands in the rounds: what it took from the input, it takes from the item.
            let mut inside: Vec<String> = vec!["Each < In".to_owned()];
            for line in &lines {
                let (name, sources) = line.split_once(" < ").unwrap();
                let sources: Vec<&str> =
                    sources.split(", ").map(|source| if source == "In" { "Each" } else { source }).collect();
                inside.push(format!("{name} < {}", sources.join(", ")));
            }
            let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
            (flow(&inside, "Array"), (0..items).map(|n| json!(format!("{n}"))).collect())
        };
        let graph = graph(&definition);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (worker, whole) = (Echo::default(), Notes::default());
        prop_assert_eq!(runtime.block_on(run(&graph, input.clone(), &worker, &whole)), Ok(true));
        let mut begun: Vec<String> = worker.log.lock().iter().filter(|it| it.starts_with('+')).cloned().collect();
        let runs = begun.len();
        begun.sort();
        begun.dedup();
        prop_assert_eq!(begun.len(), runs, "each node once a round");
        let kept: BTreeMap<String, Given> = whole.order.lock().iter().take(kept)
            .map(|key| (key.clone(), whole.done.lock()[key].clone())).collect();
        let worker = Echo::default();
        let again = Notes { done: Mutex::new(kept.clone()), ..Notes::default() };
        prop_assert_eq!(runtime.block_on(run(&graph, input, &worker, &again)), Ok(true));
        prop_assert_eq!(&*again.done.lock(), &*whole.done.lock());
        for key in kept.keys() {
            let ran = worker.log.lock().contains(&format!("+{key}"));
            prop_assert!(!ran, "{} ran again", key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every node runs once, and begins after all that it takes from have ended.
    #[test]
    fn random_graphs_run_each_node_once_and_in_order(lines in dag()) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let graph = graph(&flow(&lines, "String"));
        let (worker, notes) = (Echo::default(), Notes::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        prop_assert_eq!(runtime.block_on(run(&graph, json!("x"), &worker, &notes)), Ok(true));
        let log = worker.log.into_inner();
        let at = |line: String| log.iter().position(|it| *it == line);
        for node in graph.nodes.iter().filter(|node| node.kind == FlowNodeType::LambdaFunction) {
            let begun = log.iter().filter(|line| **line == format!("+{}", node.name)).count();
            prop_assert_eq!(begun, 1, "{}", node.name);
            for source in node.inputs.iter().filter_map(|input| input.source.as_ref()) {
                let source = &graph.nodes[source.node];
                if source.kind == FlowNodeType::LambdaFunction {
                    let (ended, began) = (at(format!("-{}", source.name)), at(format!("+{}", node.name)));
                    prop_assert!(ended < began);
                }
            }
        }
        prop_assert_eq!(notes.outputs.into_inner().len(), 1);
    }

    /// A run that breaks off anywhere and is taken up again runs no node that had ended, and ends as if it had not.
    #[test]
    fn runs_that_break_off_are_taken_up_where_they_were(lines in dag(), kept in 0..14_usize) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let graph = graph(&flow(&lines, "String"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let whole = Notes::default();
        prop_assert_eq!(runtime.block_on(run(&graph, json!("x"), &Echo::default(), &whole)), Ok(true));
        // What had ended before some node's end, in the order in which nodes can end.
        let mut ended: Vec<String> = vec!["In".to_owned()];
        ended.extend(lines.iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()));
        let kept: BTreeMap<String, Given> = ended.iter().take(kept)
            .map(|name| (name.clone(), whole.done.lock()[name].clone())).collect();
        let worker = Echo::default();
        let again = Notes { done: Mutex::new(kept.clone()), ..Notes::default() };
        prop_assert_eq!(runtime.block_on(run(&graph, json!("x"), &worker, &again)), Ok(true));
        prop_assert_eq!(&*again.done.lock(), &*whole.done.lock());
        for name in kept.keys() {
            let ran = worker.log.lock().contains(&format!("+{name}"));
            prop_assert!(!ran, "{} ran again", name);
        }
    }
}
